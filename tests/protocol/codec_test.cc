// Rules of the decoder and forms of the encoder, line by line. That messages survive the way there and back
// is in round_trip_test.cc.
#include "protocol/codec.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <string_view>

#include "protocol/utf8.h"

namespace kurultai::codec_test {
using namespace std::string_literals;

namespace {

template <typename Message>
Message decoded(std::string_view line) {
  CAPTURE(line);
  const FromAgentLine result = decode_from_agent(line);
  if (const auto* malformed = std::get_if<Malformed>(&result)) FAIL(malformed->why);
  REQUIRE(std::holds_alternative<FromAgent>(result));
  REQUIRE(std::holds_alternative<Message>(std::get<FromAgent>(result)));
  return std::get<Message>(std::get<FromAgent>(result));
}

template <typename Message>
Message decoded_by_agent(std::string_view line) {
  CAPTURE(line);
  const ToAgentLine result = decode_to_agent(line);
  if (const auto* malformed = std::get_if<Malformed>(&result)) FAIL(malformed->why);
  REQUIRE(std::holds_alternative<ToAgent>(result));
  REQUIRE(std::holds_alternative<Message>(std::get<ToAgent>(result)));
  return std::get<Message>(std::get<ToAgent>(result));
}

bool is_noise(std::string_view line) {
  return decode_from_agent(line) == FromAgentLine(Noise{}) && decode_to_agent(line) == ToAgentLine(Noise{});
}

std::string fault(std::string_view line) {
  const FromAgentLine result = decode_from_agent(line);
  const auto* malformed = std::get_if<Malformed>(&result);
  return malformed == nullptr ? "none" : malformed->why;
}

std::string fault_of_supervisor(std::string_view line) {
  const ToAgentLine result = decode_to_agent(line);
  const auto* malformed = std::get_if<Malformed>(&result);
  return malformed == nullptr ? "none" : malformed->why;
}

}  // namespace

TEST_CASE("the example lines of the contract are understood") {
  CHECK(decoded<Progress>(R"({"type":"PROGRESS","taskId":"123","percent":50})") == Progress{"123", 50, ""});
  CHECK(decoded<Complete>(R"({"type":"COMPLETE","taskId":"123","result":{}})") ==
        Complete{"123", "{}", 0, {}});
  const auto failed = decoded<Failed>(R"({"type":"FAILED","taskId":"123","error":"no such page"})");
  CHECK(failed.error == "no such page");
  CHECK(failed.retryable);
}

TEST_CASE("lines that are no protocol message are noise") {
  for (const std::string& line : {""s,
                                  " "s,
                                  "hello"s,
                                  "[1]"s,
                                  "null"s,
                                  "\"{}\""s,
                                  "42"s,
                                  "{"s,
                                  "{}"s,
                                  "{hello}"s,
                                  R"({"a":1})"s,
                                  R"({"type":1})"s,
                                  R"({"type":null})"s,
                                  R"({"type":["PONG"]})"s,
                                  R"({"type":"PONG","seq":1} x)"s,
                                  R"({"type":"PONG","seq":1)"s,
                                  R"({"type":"PONG","seq":1e400})"s,
                                  "{\"type\":\"PONG\",\"seq\":\"\xFF\"}"s,
                                  "\0{}"s,
                                  "\x1B[31m{}"s,
                                  "\xEF\xBB\xBF{\"type\":\"PONG\",\"seq\":1}"s,
                                  R"(x {"type":"PONG","seq":1})"s,
                                  std::string(100'000, '[')}) {
    CAPTURE(line.substr(0, 80));
    CHECK(is_noise(line));
  }
}

TEST_CASE("blanks before and after a message do no harm") {
  CHECK(decoded<Pong>(" \t {\"type\":\"PONG\",\"seq\":7}  ").seq == 7);
}

TEST_CASE("unknown types are told with their name, and a long one is cut") {
  const auto type_of = [](const FromAgentLine& line) { return std::get<UnknownType>(line).type; };
  CHECK(type_of(decode_from_agent(R"({"type":"DANCE"})")) == "DANCE");
  CHECK(type_of(decode_from_agent(R"({"type":""})")).empty());
  CHECK(type_of(decode_from_agent(R"({"type":"pong"})")) == "pong");
  CHECK(type_of(decode_from_agent(R"({"type":")" + std::string(1000, 'x') + "\"}")).size() == 64);
  CHECK(type_of(decode_from_agent(R"({"type":"TASK","taskId":"echoed"})")) == "TASK");
  CHECK(std::holds_alternative<UnknownType>(decode_to_agent(R"({"type":"COMPLETE","taskId":"1"})")));
}

TEST_CASE("nesting deeper than 64 is malformed, however deep") {
  for (const int depth : {64, 1'000, 100'000}) {
    const std::string line = R"({"type":"COMPLETE","taskId":"1","result":)" + std::string(depth, '[');
    CHECK(fault(line) == "nesting deeper than 64");
    CHECK(fault_of_supervisor(line) == "nesting deeper than 64");
  }
  const std::string just = std::string(63, '[') + std::string(63, ']');
  CHECK(decoded<Complete>(R"({"type":"COMPLETE","taskId":"1","result":)" + just + "}").result == just);
}

TEST_CASE("a known type with wrong fields is malformed, and the fault names type and field") {
  struct Row {
    std::string line;
    std::string why;
  };
  for (const Row& row : std::initializer_list<Row>{
           {R"({"type":"PROGRESS","taskId":"1"})", "PROGRESS: percent is missing"},
           {R"({"type":"PROGRESS","percent":1})", "PROGRESS: taskId is missing"},
           {R"({"type":"PROGRESS","taskId":"1","percent":"50"})",
            "PROGRESS: percent is a string, not a number"},
           {R"({"type":"PROGRESS","taskId":"1","percent":null})", "PROGRESS: percent is null, not a number"},
           {R"({"type":"PROGRESS","taskId":"1","percent":true})",
            "PROGRESS: percent is a boolean, not a number"},
           {R"({"type":"PROGRESS","taskId":"1","percent":1,"message":[]})",
            "PROGRESS: message is an array, not a string"},
           {R"({"type":"PROGRESS","taskId":{},"percent":"x"})",
            "PROGRESS: taskId is an object, not a string"},
           {R"({"type":"COMPLETE"})", "COMPLETE: taskId is missing"},
           {R"({"type":"COMPLETE","taskId":true})", "COMPLETE: taskId is a boolean, not a string"},
           {R"({"type":"FAILED","taskId":"1"})", "FAILED: error is missing"},
           {R"({"type":"FAILED","taskId":"1","error":"x","stack":1})",
            "FAILED: stack is a number, not a string"},
           {R"({"type":"FAILED","taskId":"1","error":"x","retryable":"no"})",
            "FAILED: retryable is a string, not true or false"},
           {R"({"type":"CHUNK","taskId":"1"})", "CHUNK: data is missing"},
           {R"({"type":"CHUNK","taskId":"1","data":5})", "CHUNK: data is a number, not a string"},
           {R"({"type":"CHUNK","taskId":"1","data":"x","encoding":"hex"})",
            "CHUNK: encoding is neither utf8 nor base64"},
           {R"({"type":"CHUNK","taskId":"1","data":"x","encoding":"base64"})",
            "CHUNK: data is not base64: the length is no multiple of 4"},
           {R"({"type":"CHUNK","taskId":"1","data":"****","encoding":"base64"})",
            "CHUNK: data is not base64: byte 0 is no digit"},
           {R"({"type":"CHECKPOINT","taskId":"1"})", "CHECKPOINT: state is missing"},
           {R"({"type":"PREEMPTED"})", "PREEMPTED: taskId is missing"},
           {R"({"type":"MEMORY","heapUsed":"1"})", "MEMORY: heapUsed is a string, not a number"},
           {R"({"type":"MEMORY","heapTotal":-1})", "MEMORY: heapTotal is out of range"},
           {R"({"type":"MEMORY","external":1e300})", "MEMORY: external is out of range"},
           {R"({"type":"MEMORY","arrayBuffers":18446744073709551615})",
            "MEMORY: arrayBuffers is out of range"},
           {R"({"type":"METRIC","value":1})", "METRIC: name is missing"},
           {R"({"type":"METRIC","name":"x"})", "METRIC: value is missing"},
           {R"({"type":"METRIC","name":"x","value":1,"kind":"sum"})",
            "METRIC: kind is neither gauge nor counter"},
           {R"({"type":"LOG","level":"info"})", "LOG: message is missing"},
           {R"({"type":"LOG","level":3,"message":""})", "LOG: level is a number, not a string"},
           {R"({"type":"BREAKER","op":"acquire"})", "BREAKER: name is missing"},
           {R"({"type":"BREAKER","name":"x"})", "BREAKER: op is missing"},
           {R"({"type":"BREAKER","name":"x","op":"reset"})",
            "BREAKER: op is neither acquire, success, failure nor release"},
           {R"({"type":"PONG"})", "PONG: seq is missing"},
           {R"({"type":"PONG","seq":-1})", "PONG: seq is out of range"},
           {R"({"type":"PONG","seq":"1"})", "PONG: seq is a string, not a number"},
           {R"({"type":"READY","protocol":"1"})", "READY: protocol is a string, not a number"},
           {R"({"type":"READY","protocol":99999999999})", "READY: protocol is out of range"},
           {R"({"type":"READY","name":1})", "READY: name is a number, not a string"},
           {R"({"type":"SWEPT","taskId":"1"})", "SWEPT: count is missing"},
       }) {
    CAPTURE(row.line);
    CHECK(fault(row.line) == row.why);
  }
}

TEST_CASE("a supervisor's line with wrong fields is malformed too") {
  struct Row {
    std::string line;
    std::string why;
  };
  for (const Row& row : std::initializer_list<Row>{
           {R"({"type":"HELLO","workerId":"w"})", "HELLO: memoryLimitBytes is missing"},
           {R"({"type":"TASK","agent":"a"})", "TASK: taskId is missing"},
           {R"({"type":"TASK","taskId":"1"})", "TASK: agent is missing"},
           {R"({"type":"TASK","taskId":"1","agent":"a","priority":"urgent"})",
            "TASK: priority is no priority"},
           {R"({"type":"TASK","taskId":"1","agent":"a","attempt":-1})", "TASK: attempt is out of range"},
           {R"({"type":"TASK","taskId":"1","agent":"a","argv":"ls"})",
            "TASK: argv is a string, not a list of strings"},
           {R"({"type":"TASK","taskId":"1","agent":"a","argv":[1]})",
            "TASK: argv is an array, not a list of strings"},
           {R"({"type":"TASK","taskId":"1","agent":"a","payloadFile":1})",
            "TASK: payloadFile is a number, not a string"},
           {R"({"type":"CANCEL"})", "CANCEL: taskId is missing"},
           {R"({"type":"PREEMPT","taskId":"1"})", "PREEMPT: graceMs is missing"},
           {R"({"type":"PRESSURE","level":1})", "PRESSURE: ratio is missing"},
           {R"({"type":"PING"})", "PING: seq is missing"},
           {R"({"type":"SHUTDOWN","graceMs":-1})", "SHUTDOWN: graceMs is out of range"},
           {R"({"type":"BREAKER","allow":true})", "BREAKER: name is missing"},
       }) {
    CAPTURE(row.line);
    CHECK(fault_of_supervisor(row.line) == row.why);
  }
}

TEST_CASE("fields that are not known are ignored, and of a repeated key the last one counts") {
  CHECK(decoded<Pong>(R"({"x":[{}],"seq":1,"type":"PONG","y":null})").seq == 1);
  CHECK(decoded<Pong>(R"({"type":"PONG","seq":1,"seq":2})").seq == 2);
}

TEST_CASE("null counts as absent where a field may be absent") {
  CHECK(decoded<Ready>(R"({"type":"READY","protocol":null,"name":null})") == Ready{1, ""});
  const auto failed = decoded<Failed>(
      R"({"type":"FAILED","taskId":"1","error":"e","stack":null,"retryable":null,"reason":null,"exitCode":null})");
  CHECK(failed == Failed{.task_id = "1", .error = "e"});
  CHECK(decoded<HeapFigures>(R"({"type":"MEMORY","heapUsed":null,"external":3})") ==
        HeapFigures{.external = Bytes{3}});
}

TEST_CASE("a JSON value that is null is a value, and an absent one is none") {
  CHECK(decoded<Complete>(R"({"type":"COMPLETE","taskId":"1","result":null})").result == "null");
  CHECK(decoded<Complete>(R"({"type":"COMPLETE","taskId":"1"})").result.empty());
  CHECK(decoded<Checkpoint>(R"({"type":"CHECKPOINT","taskId":"1","state":null})").state == "null");
  CHECK(decoded<Preempted>(R"({"type":"PREEMPTED","taskId":"1"})").state.empty());
}

TEST_CASE("JSON values come out compact") {
  CHECK(
      decoded<Complete>(R"({"type":"COMPLETE","taskId":"1","result": { "b" : [ 1 , 2.5 ] , "a" : "x y" } })")
          .result == R"({"a":"x y","b":[1,2.5]})");
}

TEST_CASE("a number is taken for a task id") {
  CHECK(decoded<Complete>(R"({"type":"COMPLETE","taskId":17})").task_id == "17");
  CHECK(decoded_by_agent<Cancel>(R"({"type":"CANCEL","taskId":-3})").task_id == "-3");
}

TEST_CASE("percent is clamped to 0 to 100") {
  struct Row {
    std::string percent;
    double clamped;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"0", 0}, {"12.5", 12.5}, {"100", 100}, {"-1", 0}, {"101", 100}, {"1e300", 100}, {"-1e300", 0}}) {
    CHECK(decoded<Progress>(R"({"type":"PROGRESS","taskId":"1","percent":)" + row.percent + "}").percent ==
          row.clamped);
  }
}

TEST_CASE("whole numbers are taken however a runtime writes them") {
  CHECK(decoded<HeapFigures>(R"({"type":"MEMORY","heapUsed":5.0,"heapTotal":5e3,"external":5.9})") ==
        HeapFigures{.heap_used = Bytes{5}, .heap_total = Bytes{5000}, .external = Bytes{5}});
  CHECK(decoded<Pong>(R"({"type":"PONG","seq":18446744073709551615})").seq ==
        std::numeric_limits<std::uint64_t>::max());
  CHECK(decoded<Pong>(R"({"type":"PONG","seq":3.0})").seq == 3);
}

TEST_CASE("the error of FAILED may be any value") {
  CHECK(decoded<Failed>(R"({"type":"FAILED","taskId":"1","error":{"code":5}})").error == R"({"code":5})");
  CHECK(decoded<Failed>(R"({"type":"FAILED","taskId":"1","error":null})").error == "null");
  CHECK(decoded<Failed>(R"({"type":"FAILED","taskId":"1","error":404})").error == "404");
}

TEST_CASE("long texts are cut between two characters") {
  std::string euros;  // three bytes each
  for (int i = 0; i < 30'000; ++i) euros += "\xE2\x82\xAC";
  const auto failed = decoded<Failed>(R"({"type":"FAILED","taskId":"1","error":")" + euros +
                                      R"(","stack":")" + euros + "\"}");
  const auto whole_characters = [](std::size_t limit) { return limit / 3 * 3; };
  CHECK(failed.error.size() == whole_characters(4 * 1024));
  CHECK(failed.stack.size() == whole_characters(64 * 1024));
  CHECK(is_utf8(failed.error));
  CHECK(decoded<Progress>(R"({"type":"PROGRESS","taskId":"1","percent":1,"message":")" + euros + "\"}")
            .message.size() == whole_characters(1024));
  CHECK(decoded<Log>(R"({"type":"LOG","message":")" + euros + "\"}").message.size() ==
        whole_characters(16 * 1024));
  CHECK(decoded<Failed>(R"({"type":"FAILED","taskId":"1","error":[")" + euros + "\"]}").error.size() <=
        4 * 1024);
}

TEST_CASE("what only the exec host may say is ignored where it makes no sense") {
  const Failed plain{.task_id = "1", .error = "e"};
  CHECK(decoded<Failed>(R"({"type":"FAILED","taskId":"1","error":"e","reason":"because","exitCode":"1",
        "signal":-9,"fileBytes":"many","peakBytes":-1})") == plain);
  CHECK(decoded<Failed>(R"({"type":"FAILED","taskId":"1","error":"e","reason":5,"exitCode":99999999999})") ==
        plain);
  CHECK(decoded<Complete>(R"({"type":"COMPLETE","taskId":"1","fileBytes":[],"peakBytes":1e300})") ==
        Complete{.task_id = "1", .result = ""});
  const auto failed = decoded<Failed>(
      R"({"type":"FAILED","taskId":"1","error":"e","reason":"memory_cap","exitCode":137,"signal":9,"fileBytes":10,
          "result":"tail","peakBytes":4096})");
  CHECK(failed.reason == FailReason::memory_cap);
  CHECK(failed.exit_code == 137);
  CHECK(failed.signal == 9);
  CHECK(failed.file_bytes == 10);
  CHECK(failed.result == "\"tail\"");
  CHECK(failed.peak == Bytes{4096});
}

TEST_CASE("chunks carry text or base64") {
  CHECK(decoded<Chunk>(R"({"type":"CHUNK","taskId":"1","data":"a\nb"})").data == "a\nb");
  CHECK(decoded<Chunk>(R"({"type":"CHUNK","taskId":"1","data":"Zg==","encoding":"utf8"})").data == "Zg==");
  CHECK(decoded<Chunk>(R"({"type":"CHUNK","taskId":"1","data":"//8A","encoding":"base64"})").data ==
        "\xFF\xFF\0"s);
  CHECK(encode(FromAgent(Chunk{"1", "text"})) == "{\"type\":\"CHUNK\",\"taskId\":\"1\",\"data\":\"text\"}\n");
  CHECK(encode(FromAgent(Chunk{"1", "\xFF\xFF\0"s})) ==
        "{\"type\":\"CHUNK\",\"taskId\":\"1\",\"data\":\"//8A\",\"encoding\":\"base64\"}\n");
}

TEST_CASE("log levels of other loggers are taken for the nearest of the five") {
  struct Row {
    std::string given;
    std::string level;
  };
  for (const Row& row : std::initializer_list<Row>{{"trace", "trace"},
                                                   {"DEBUG", "debug"},
                                                   {"info", "info"},
                                                   {"warn", "warn"},
                                                   {"WARNING", "warn"},
                                                   {"error", "error"},
                                                   {"critical", "error"},
                                                   {"Fatal", "error"},
                                                   {"notice", "info"},
                                                   {"", "info"}}) {
    CHECK(decoded<Log>(R"({"type":"LOG","message":"m","level":")" + row.given + "\"}").level == row.level);
  }
  CHECK(decoded<Log>(R"({"type":"LOG","message":"m"})").level == "info");
}

TEST_CASE("an agent may leave out what has a sensible default") {
  CHECK(decoded<Ready>(R"({"type":"READY"})") == Ready{});
  CHECK(decoded<Metric>(R"({"type":"METRIC","name":"score","value":1.5})").kind == Metric::Kind::gauge);
  CHECK(decoded<HeapFigures>(R"({"type":"MEMORY"})") == HeapFigures{});
  CHECK(decoded_by_agent<TaskMessage>(R"({"type":"TASK","taskId":"1","agent":"a"})") ==
        TaskMessage{.task_id = "1", .agent = "a", .payload = "", .checkpoint = ""});
}

TEST_CASE("a task's line has the fields of the contract, and no others for an agent of its own") {
  TaskMessage task{.task_id = "t-1", .agent = "summarise", .payload = R"({"url":"x"})", .checkpoint = ""};
  task.attempt = 2;
  task.priority = Priority::high;
  task.deadline = Duration{600'000};
  CHECK(encode(ToAgent(task)) ==
        "{\"type\":\"TASK\",\"taskId\":\"t-1\",\"agent\":\"summarise\",\"payload\":{\"url\":\"x\"},"
        "\"attempt\":2,"
        "\"priority\":\"high\",\"deadlineMs\":600000}\n");
  task.payload.clear();
  task.payload_file = "/spool/t-1";
  task.checkpoint = "[1]";
  task.deadline = {};
  CHECK(encode(ToAgent(task)) ==
        "{\"type\":\"TASK\",\"taskId\":\"t-1\",\"agent\":\"summarise\",\"payloadFile\":\"/spool/"
        "t-1\",\"attempt\":2,"
        "\"priority\":\"high\",\"checkpoint\":[1]}\n");
  CHECK(encode(ToAgent(task)).find("resultFile") == std::string::npos);
}

TEST_CASE("a task for the mcp host says where its result goes, and whether it may run again") {
  TaskMessage task{.task_id = "1", .agent = "tools", .payload = R"({"tool":"echo"})", .checkpoint = ""};
  task.result_file = "/spool/1.result";
  task.inline_limit = kibibytes(64);
  task.grace = Duration{5'000};
  task.idempotent = false;
  CHECK(encode(ToAgent(task)) ==
        "{\"type\":\"TASK\",\"taskId\":\"1\",\"agent\":\"tools\",\"payload\":{\"tool\":\"echo\"},"
        "\"attempt\":1,\"priority\":\"normal\",\"resultFile\":\"/spool/1.result\",\"inlineLimitBytes\":65536,"
        "\"resultLimitBytes\":0,\"graceMs\":5000,\"idempotent\":false}\n");
}

TEST_CASE("of a list of tools so many are taken, and so much of their texts") {
  std::string list;
  for (std::size_t i = 0; i < Tools::most + 1; ++i)
    list += std::string(i == 0 ? "" : ",") + R"({"name":")" + std::string(i + 1, 'n') + R"("})";
  const auto tools = decoded<Tools>(R"({"type":"TOOLS","tools":[)" + list + "]}").tools;
  CHECK(tools.size() == Tools::most);
  CHECK(tools[127].name.size() == 128);
  CHECK(tools[128].name.size() == 128);
  CHECK(tools[0].description.empty());
  const std::string most(Tools::longest_description - 1, 'x');  // the sign behind it does not fit
  CHECK(decoded<Tools>(R"({"type":"TOOLS","tools":[{"description":")" + most + R"(€"},{"name":5}]})").tools ==
        std::vector<Tool>{{"", most}, {"", ""}});
  CHECK(fault(R"({"type":"TOOLS"})") == "TOOLS: tools is missing");
  CHECK(fault(R"({"type":"TOOLS","tools":{}})") == "TOOLS: tools is an object, not a list of objects");
  CHECK(fault(R"({"type":"TOOLS","tools":[1]})") == "TOOLS: tools is an array, not a list of objects");
}

TEST_CASE("a task for the exec host carries its command") {
  TaskMessage task{.task_id = "1", .agent = "shell", .payload = "", .checkpoint = ""};
  task.argv = {"sh", "-c", "echo \"a\"\n", ""};
  task.result_file = "/spool/1.result";
  task.inline_limit = kibibytes(64);
  task.result_limit = gibibytes(1);
  task.grace = Duration{5'000};
  CHECK(encode(ToAgent(task)) ==
        "{\"type\":\"TASK\",\"taskId\":\"1\",\"agent\":\"shell\",\"attempt\":1,\"priority\":\"normal\","
        "\"argv\":[\"sh\",\"-c\",\"echo \\\"a\\\"\\n\",\"\"],\"resultFile\":\"/spool/1.result\","
        "\"inlineLimitBytes\":65536,\"resultLimitBytes\":1073741824,\"graceMs\":5000}\n");
}

TEST_CASE("JSON text goes out as it is, but never breaks the line") {
  TaskMessage task{
      .task_id = "1", .agent = "a", .payload = "{ \"n\": 1.10,\n  \"big\": 123456789012345678901234567890 }"};
  const std::string line = encode(ToAgent(task));
  CHECK(line.find("{ \"n\": 1.10,   \"big\": 123456789012345678901234567890 }") != std::string::npos);
  CHECK(line.find('\n') == line.size() - 1);
}

TEST_CASE("HELLO says which protocol is spoken") {
  CHECK(encode(ToAgent(Hello{"w-1", mebibytes(512), mebibytes(300)})) ==
        "{\"type\":\"HELLO\",\"protocol\":1,\"workerId\":\"w-1\",\"memoryLimitBytes\":536870912,"
        "\"memoryWarningBytes\":314572800}\n");
}

TEST_CASE("the short messages have the fields of the contract") {
  CHECK(encode(ToAgent(Cancel{"1", "asked"})) ==
        "{\"type\":\"CANCEL\",\"taskId\":\"1\",\"reason\":\"asked\"}\n");
  CHECK(encode(ToAgent(Preempt{"1", Duration{5000}})) ==
        "{\"type\":\"PREEMPT\",\"taskId\":\"1\",\"graceMs\":5000}\n");
  CHECK(encode(ToAgent(PressureHint{2, 0.875})) == "{\"type\":\"PRESSURE\",\"level\":2,\"ratio\":0.875}\n");
  CHECK(encode(ToAgent(Ping{7})) == "{\"type\":\"PING\",\"seq\":7}\n");
  CHECK(encode(ToAgent(Shutdown{Duration{100}})) == "{\"type\":\"SHUTDOWN\",\"graceMs\":100}\n");
  CHECK(encode(ToAgent(BreakerAnswer{"api", false, Duration{1000}})) ==
        "{\"type\":\"BREAKER\",\"name\":\"api\",\"allow\":false,\"retryAfterMs\":1000}\n");
  CHECK(encode(FromAgent(HeapFigures{Bytes{1}, Bytes{2}, Bytes{3}, Bytes{4}})) ==
        "{\"type\":\"MEMORY\",\"heapUsed\":1,\"heapTotal\":2,\"external\":3,\"arrayBuffers\":4}\n");
  CHECK(encode(ToAgent(BreakerAnswer{"api", true, {}, 7, "not counted"})) ==
        "{\"type\":\"BREAKER\",\"name\":\"api\",\"allow\":true,\"retryAfterMs\":0,\"call\":7,"
        "\"note\":\"not counted\"}\n");
  CHECK(encode(FromAgent(BreakerRequest{"api", BreakerRequest::Op::release, 7})) ==
        "{\"type\":\"BREAKER\",\"name\":\"api\",\"op\":\"release\",\"call\":7}\n");
  CHECK(encode(FromAgent(BreakerRequest{"api", BreakerRequest::Op::failure})) ==
        "{\"type\":\"BREAKER\",\"name\":\"api\",\"op\":\"failure\"}\n");
}

TEST_CASE("values without a JSON form are written as one that has") {
  CHECK(encode(ToAgent(PressureHint{1, std::numeric_limits<double>::infinity()})) ==
        "{\"type\":\"PRESSURE\",\"level\":1,\"ratio\":0}\n");
  CHECK(encode(FromAgent(Metric{"x", std::numeric_limits<double>::quiet_NaN(), Metric::Kind::gauge})) ==
        "{\"type\":\"METRIC\",\"name\":\"x\",\"value\":0,\"kind\":\"gauge\"}\n");
  CHECK(encode(FromAgent(Checkpoint{"1", ""})) ==
        "{\"type\":\"CHECKPOINT\",\"taskId\":\"1\",\"state\":null}\n");
  CHECK(decoded<Log>(encode(FromAgent(Log{"info", "a\xFFz"}))).message == "a\xEF\xBF\xBDz");
}

}  // namespace kurultai::codec_test
