#include "tools/kurultai/event_text.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "tools/kurultai/text.h"

namespace kurultai::event_text_test {
using nlohmann::json;

namespace {

struct Row {
  const char* type;
  const char* event;
  const char* sentence;
  Tone tone;
};

// What the supervisor sends (supervisor/events.cc), and what a person reads.
const Row rows[] = {
    {"taskQueued", R"({"agent":"leak","taskId":"7","priority":"low","state":"queued","attempt":1})",
     "leak (task 7, low) was queued", Tone::plain},
    {"taskQueued", R"({"agent":"leak","taskId":"7","priority":"low","attempt":2})",
     "leak (task 7, low) was queued, attempt 2", Tone::plain},
    {"taskStarted", R"({"agent":"leak","taskId":"7","priority":"low","attempt":3,"workerId":"w2"})",
     "leak (task 7, low) started on worker w2, attempt 3", Tone::plain},
    {"taskProgress", R"({"agent":"a","taskId":"7","priority":"low","percent":50,"message":"half"})",
     "a (task 7, low) is at 50 %: half", Tone::detail},
    {"taskProgress", R"({"agent":"a","taskId":"7","priority":"low","percent":5})",
     "a (task 7, low) is at 5 %", Tone::detail},
    {"taskPreempted", R"({"agent":"a","taskId":"7","priority":"low","reason":"preempt","reactionMs":46})",
     "a (task 7, low) was preempted to free memory and waits again, after 46ms", Tone::notice},
    {"taskPreempted", R"({"agent":"a","taskId":"7","priority":"low","reason":"kernel","reactionMs":0})",
     "a (task 7, low) was killed by the kernel, which needed its memory, and waits again", Tone::notice},
    {"taskPreempted", R"({"agent":"a","taskId":"7","priority":"low","reason":"else"})",
     "a (task 7, low) was stopped for else and waits again", Tone::notice},
    {"taskCompleted",
     R"({"agent":"a","taskId":"7","priority":"high","runMs":45,"waitMs":22,"peakMemoryBytes":1884160})",
     "a (task 7, high) completed in 45ms, peak 1.8MiB", Tone::good},
    {"taskFailed",
     R"({"agent":"leak","taskId":"7","priority":"low","runMs":3622,"peakMemoryBytes":201326592,
         "error":{"reason":"memory_cap","message":"exceeded its 192MiB cap"}})",
     "leak (task 7, low) failed after 3.6s: exceeded its 192MiB cap (memory_cap), peak 192MiB", Tone::bad},
    {"taskCancelled",
     R"({"agent":"a","taskId":"7","priority":"low","error":{"reason":"cancelled","message":"by a client"}})",
     "a (task 7, low) was cancelled: by a client", Tone::notice},
    {"taskEvicted",
     R"({"agent":"a","taskId":"7","priority":"low","error":{"reason":"evicted","message":"made room"}})",
     "a (task 7, low) was evicted: made room", Tone::bad},
    {"taskRejected", R"({"agent":"a","priority":"low","code":"queue_full","message":"5 wait"})",
     "a task for a (low) was refused: 5 wait (queue_full)", Tone::bad},
    {"heartbeatSkipped", R"({"agent":"beat","taskId":"7","ratio":0.749})",
     "beat (task 7) is skipped: memory is at 75 %", Tone::notice},
    {"thresholdCrossed", R"({"threshold":"preempt","direction":"up","ratio":0.851})",
     "memory rose to 85 %, over preempt: the least important tasks are preempted", Tone::notice},
    {"thresholdCrossed", R"({"threshold":"skip_heartbeats","direction":"down","ratio":0.586})",
     "memory fell to 59 %, clear of skip_heartbeats: heartbeats run again", Tone::notice},
    {"thresholdCrossed", R"({"threshold":"novel","direction":"up","ratio":0.5})",
     "memory rose to 50 %, over novel", Tone::notice},
    {"memoryWarning",
     R"({"workerId":"w5","agent":"leak","usedBytes":105369600,"warningBytes":104857600,"limitBytes":201326592})",
     "worker w5 of leak uses 100MiB of its 192MiB cap, more than its warning of 100MiB", Tone::notice},
    {"memoryWarning",
     R"({"workerId":"w5","agent":"leak","usedBytes":272629760,"warningBytes":256000000,"limitBytes":536870912,"mark":"warning"})",
     "worker w5 of leak uses 260MiB, more than the warning mark of 244MiB", Tone::notice},
    {"memoryWarning", R"({"usedBytes":545259520,"warningBytes":512000000,"mark":"critical"})",
     "the supervisor uses 520MiB, more than the critical mark of 488MiB", Tone::notice},
    {"workerSpawned", R"({"workerId":"w5","agent":"leak","pid":12})", "worker w5 of leak starts, pid 12",
     Tone::detail},
    {"workerReady", R"({"workerId":"w5","agent":"leak","pid":12})", "worker w5 of leak is ready",
     Tone::detail},
    {"workerExited",
     R"({"workerId":"w5","agent":"leak","pid":12,"reason":"asked","message":"asked to end","peakMemoryBytes":0})",
     "worker w5 of leak ended: asked to end", Tone::detail},
    {"orphanSwept", R"({"workerId":"w5","taskId":"7","count":2})",
     "2 processes left over by worker w5 and task 7 were ended", Tone::notice},
    {"orphanSwept", R"({"workerId":"w5","count":1})", "1 process left over by worker w5 was ended",
     Tone::notice},
    {"budgetChanged",
     R"({"budgetBytes":268435456,"configuredBytes":536870912,"machineTotalBytes":536870912,"machineAvailableBytes":134217728,"machineReserveBytes":33554432,"machineGroup":""})",
     "the budget is 256MiB of 512MiB: the machine has 128MiB available, and 32MiB are left to others",
     Tone::notice},
    {"breakerChanged", R"({"name":"leak","from":"closed","to":"open"})",
     "circuit breaker leak went from closed to open", Tone::notice},
    {"configReloaded", R"({"live":["queue.max_depth"],"needsRestart":["ipc.max_line","gateway"]})",
     "the configuration was read again; now in effect: queue.max_depth; needs a restart: ipc.max_line, "
     "gateway",
     Tone::plain},
    {"configReloaded", R"({"live":[],"needsRestart":[]})",
     "the configuration was read again: nothing has changed", Tone::plain},
    {"draining", R"({"status":"draining","initial":3,"completed":0,"remaining":3,"durationSeconds":0})",
     "draining: no new tasks are taken, 3 are to end", Tone::plain},
    {"drained", R"({"status":"completed","initial":3,"completed":3,"remaining":0,"durationSeconds":1.25})",
     "drained (completed) in 1.2s: 3 ended, 0 remain", Tone::plain},
    {"governanceWithheld", R"({"action":"preempt","taskId":"7","ratio":0.86})",
     "memory governance is off: would preempt task 7 at 86 %", Tone::notice},
    {"leakSuspected",
     R"({"workerId":"w1","agent":"crawl","level":"warning","usedBytes":104857600,"growthBytesPerHour":73400320})",
     "worker w1 of crawl seems to leak: 70MiB an hour, 100MiB now", Tone::bad},
    {"leakSuspected", R"({"level":"critical","usedBytes":10485760,"growthBytesPerHour":104857600})",
     "the supervisor seems to leak: 100MiB an hour, 10MiB now", Tone::bad},
    {"somethingNew", R"({"id":9,"time":"x","type":"somethingNew","workerId":"w1","growth":12})",
     "somethingNew  growth=12 workerId=w1", Tone::plain},
};

/// Local time is that of the process: fixed for the test.
struct InZone {
  explicit InZone(const char* zone) {
    setenv("TZ", zone, 1);
    tzset();
  }
  ~InZone() {
    unsetenv("TZ");
    tzset();
  }
};

}  // namespace

TEST_CASE("every event is a sentence made of its own fields") {
  for (const auto& row : rows) {
    CAPTURE(row.sentence);
    const EventText text = describe_event(row.type, json::parse(row.event));
    CHECK(text.sentence == row.sentence);
    CHECK(text.tone == row.tone);
  }
}

TEST_CASE("an event without its fields, or of another shape, is still one line") {
  for (const auto& row : rows) {
    for (const char* event : {"{}", "[]", "null", R"({"agent":7,"error":[],"ratio":"high","live":3})"}) {
      CHECK(describe_event(row.type, json::parse(event)).sentence.find('\n') == std::string::npos);
    }
  }
}

TEST_CASE("what an agent wrote cannot steer the terminal") {
  const json event = {{"agent", "a"}, {"taskId", "7"}, {"message", "x\x1b[2J\ny"}};
  CHECK(describe_event("taskProgress", event).sentence == "a (task 7) is at 0 %: x [2J y");
}

TEST_CASE("times are local, and carry their date only when it is another day") {
  const InZone zone("XYZ-2");  // two hours east
  const auto time = parse_rfc3339("2026-03-01T10:03:04.117Z");
  REQUIRE(time);
  CHECK(clock_text(*time, *time) == "12:03:04.117");
  CHECK(clock_text(*time, *time + std::chrono::hours(11)) == "12:03:04.117");
  CHECK(clock_text(*time, *time + std::chrono::hours(12)) == "2026-03-01 12:03:04.117");
}

TEST_CASE("a line is the time and the sentence, in colours where they are wanted") {
  const InZone zone("UTC");
  const json event = {{"time", "2026-03-01T12:03:04.117Z"}, {"workerId", "w1"}, {"agent", "a"}};
  const auto now = *parse_rfc3339("2026-03-01T13:00:00Z");
  CHECK(event_line("workerReady", event, now, false) == "12:03:04.117  worker w1 of a is ready");
  CHECK(event_line("workerReady", event, now, true) ==
        "\x1b[2m12:03:04.117\x1b[0m  \x1b[2mworker w1 of a is ready\x1b[0m");
  CHECK(event_line("taskQueued", {{"agent", "a"}, {"taskId", "7"}}, now, false) ==
        "-  a (task 7) was queued");
}

}  // namespace kurultai::event_text_test
