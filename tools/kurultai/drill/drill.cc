// `kurultai drill oom`: a leak beside a healthy task and an important one, under the operator's own memory
// settings, in a supervisor of its own. Nothing of it is left.
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "config/load.h"
#include "protocol/json_text.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/drill/outcome.h"
#include "tools/kurultai/drill/part.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/run/private_supervisor.h"
#include "tools/kurultai/supervisor.h"

namespace kurultai {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr Duration longest_start{20000};
constexpr Duration longest_leak{60000};
constexpr Duration before_the_leak{500};  // the others are at work by then
constexpr Duration after_the_leak{500};
constexpr Duration look_pace{5};
constexpr std::int64_t bystander_part = 16;  // of the budget, each

struct DrillOptions {
  std::string config;           // empty: the one kurultaid would use, or the defaults
  Bytes budget = gibibytes(1);  // at most so much of the configuration's
  bool json = false;
};

class Drill {
 public:
  explicit Drill(const Config& config) : budget_(*config.memory.budget) {}

  Answer<DrillOutcome> run(const std::string& configuration);

 private:
  Answer<void> start(const std::string& configuration);
  Answer<std::string> submit(Http& http, const std::vector<std::string>& part, const char* priority,
                             Bytes cap);
  Answer<void> await_running(Http& http, const std::vector<std::string>& tasks);
  Answer<void> await_leak(Http& http, const std::string& leak);
  Answer<void> take_reaction(Http& http);
  Answer<DrillBystander> await_bystander(Http& http, const std::string& task, const char* priority);
  Answer<void> pause(Http& http, Duration length);
  Answer<void> look(Http& http);
  std::string end_file() const { return supervisor_.directory() + "/drill-ends"; }

  Bytes budget_;
  Interrupts interrupts_;
  PrivateSupervisor supervisor_;
  DrillOutcome outcome_;
};

std::string own_program() {
  std::error_code unknown;
  return std::filesystem::read_symlink("/proc/self/exe", unknown);
}

std::unexpected<Complaint> failed(const std::string& what) {
  return complaint(ExitStatus::task_failed, what);
}

Answer<void> Drill::start(const std::string& configuration) {
  if (const auto started = supervisor_.start(configuration); !started) return failed(started.error().message);
  Http http(supervisor_.endpoint());
  const auto until = steady_clock::now() + longest_start;
  std::array<Watch, 1> watches = {Watch{supervisor_.stderr_fd()}};
  while (steady_clock::now() < until && Interrupts::count() == 0) {
    if (const auto health = get_json(http, "/health")) {
      outcome_.guarantee = text_field(*health, "guarantee");
      outcome_.explanation = text_field(*health, "explanation");
      return {};
    }
    http.turn(watches, Duration(10));
    if (watches[0].readable && !supervisor_.read_stderr()) break;
  }
  return failed("the drill's supervisor did not start: " + supervisor_.last_words());
}

Answer<std::string> Drill::submit(Http& http, const std::vector<std::string>& part, const char* priority,
                                  Bytes cap) {
  std::vector<std::string> command = {own_program(), "drill", "part"};
  command.insert(command.end(), part.begin(), part.end());
  const json task = {{"agent", "exec"},
                     {"priority", priority},
                     {"payload", {{"command", command}, {"memoryLimitBytes", cap.count}}}};
  const auto answer = post(http, "/v1/tasks", task.dump());
  if (!answer) return std::unexpected(answer.error());
  const auto accepted = parse_answer(*answer);
  if (!accepted) return std::unexpected(accepted.error());
  return text_field(*accepted, "taskId");
}

/// Keeps the highest use that was seen.
Answer<void> Drill::look(Http& http) {
  const auto memory = get_json(http, "/v1/memory");
  if (!memory) return std::unexpected(memory.error());
  outcome_.highest = std::max(outcome_.highest, bytes_field(*memory, "usedBytes").value_or(Bytes{}));
  if (Interrupts::count() > 0) return complaint(ExitStatus::interrupted, "interrupted");
  std::this_thread::sleep_for(look_pace);
  return {};
}

Answer<void> Drill::pause(Http& http, Duration length) {
  const auto until = steady_clock::now() + length;
  while (steady_clock::now() < until) {
    if (auto looked = look(http); !looked) return looked;
  }
  return {};
}

Answer<void> Drill::await_running(Http& http, const std::vector<std::string>& tasks) {
  const auto until = steady_clock::now() + longest_start;
  for (const std::string& task : tasks) {
    for (;;) {
      const auto object = get_json(http, task_path(task));
      if (!object) return std::unexpected(object.error());
      if (text_field(*object, "state") == "running") break;
      if (steady_clock::now() > until) return failed("a task of the drill does not start");
      if (auto looked = look(http); !looked) return looked;
    }
  }
  return {};
}

/// Until it was made to give way, or died: it is not let in a second time.
Answer<void> Drill::await_leak(Http& http, const std::string& leak) {
  const auto begin = steady_clock::now();
  while (steady_clock::now() - begin < longest_leak) {
    const auto task = get_json(http, task_path(leak));
    if (!task) return std::unexpected(task.error());
    const std::string state = text_field(*task, "state");
    const bool gave_way = int_field(*task, "preemptions").value_or(0) > 0 || state == "suspended";
    if (!gave_way && state != "failed" && state != "completed") {
      if (auto looked = look(http); !looked) return looked;
      continue;
    }
    const auto why = get_json(http, task_path(leak) + "/why");
    if (!why) return std::unexpected(why.error());
    const json& decisions = field(*why, "decisions");
    if (decisions.is_array() && !decisions.empty()) {
      outcome_.leak_end = text_field(decisions.front(), "action");
      outcome_.leak_ratio = number_field(field(decisions.front(), "reading"), "ratio").value_or(0);
    } else {
      outcome_.leak_end = text_field(field(*task, "error"), "reason");
    }
    outcome_.leak_peak = bytes_field(*task, "peakMemoryBytes").value_or(Bytes{});
    outcome_.leak_ran = Duration(int_field(*task, "runMs").value_or(0));
    break;
  }
  Request cancel;
  cancel.method = "DELETE";
  cancel.path = task_path(leak);
  [[maybe_unused]] const auto ended = http.request(std::move(cancel));  // or it has ended by itself
  return {};
}

/// The value of `NAME VALUE` in a text of metrics.
std::optional<double> sample(const std::string& metrics, const std::string& name) {
  const std::size_t at = metrics.find("\n" + name + " ");
  if (at == std::string::npos) return std::nullopt;
  const char* const first = metrics.data() + at + name.size() + 2;
  double value = 0;
  const auto [end, error] = std::from_chars(first, metrics.data() + metrics.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

Answer<void> Drill::take_reaction(Http& http) {
  const auto metrics = get(http, "/metrics");
  if (!metrics) return std::unexpected(metrics.error());
  const auto count = sample(*metrics, "kurultai_governor_reaction_seconds_count");
  const auto sum = sample(*metrics, "kurultai_governor_reaction_seconds_sum");
  if (count && sum && *count > 0) outcome_.reaction_ms = *sum / *count * 1000;
  return {};
}

Answer<DrillBystander> Drill::await_bystander(Http& http, const std::string& task, const char* priority) {
  const auto answer = get_json(http, task_path(task) + "?wait=60s");
  if (!answer) return std::unexpected(answer.error());
  DrillBystander one;
  one.priority = priority;
  one.state = text_field(*answer, "state");
  const auto said = parse_json(text_field(*answer, "result"));
  if (!said) return one;
  one.rounds = int_field(*said, "rounds").value_or(0);
  one.errors = int_field(*said, "errors").value_or(0);
  one.longest_ms = number_field(*said, "longestMs").value_or(0);
  return one;
}

Answer<DrillOutcome> Drill::run(const std::string& configuration) {
  if (auto started = start(configuration); !started) return std::unexpected(started.error());
  outcome_.budget = budget_;
  Http http(supervisor_.endpoint());
  const Bytes part{budget_.count / bystander_part};
  const std::vector<std::string> bystander = {"bystander", std::to_string(part.count), end_file()};
  const auto important = submit(http, bystander, "critical", budget_);
  if (!important) return std::unexpected(important.error());
  const auto healthy = submit(http, bystander, "normal", budget_);
  if (!healthy) return std::unexpected(healthy.error());
  if (auto running = await_running(http, {*important, *healthy}); !running)
    return std::unexpected(running.error());
  if (auto waited = pause(http, before_the_leak); !waited) return std::unexpected(waited.error());
  const auto leak = submit(http, {"leak", std::to_string(2 * budget_.count)}, "low", budget_);
  if (!leak) return std::unexpected(leak.error());
  if (auto stopped = await_leak(http, *leak); !stopped) return std::unexpected(stopped.error());
  if (auto waited = pause(http, after_the_leak); !waited) return std::unexpected(waited.error());
  if (auto taken = take_reaction(http); !taken) return std::unexpected(taken.error());
  std::ofstream(end_file()) << "\n";
  for (const auto& [task, priority, to] : {std::tuple(*important, "critical", &outcome_.important),
                                           std::tuple(*healthy, "normal", &outcome_.healthy)}) {
    auto one = await_bystander(http, task, priority);
    if (!one) return std::unexpected(one.error());
    *to = std::move(*one);
  }
  return outcome_;
}

Answer<Config> configuration_of(const std::string& named) {
  const std::string file = named.empty() ? find_config(process_environment()).value_or("") : named;
  auto config = file.empty() ? parse_config("", "defaults", process_environment())
                             : load_config(file, process_environment());
  if (config) return std::move(*config);
  Complaint wrong;
  wrong.text = file + ": the configuration has mistakes";
  for (const auto& error : config.error()) wrong.details.push_back(to_string(error));
  return std::unexpected(std::move(wrong));
}

Answer<ExitStatus> drill_oom(const DrillOptions& options) {
  const auto config = configuration_of(options.config);
  if (!config) return std::unexpected(config.error());
  const Config drilled = drill_configuration(*config, options.budget);
  const auto outcome = Drill(drilled).run(config_to_yaml(drilled));
  if (!outcome) return std::unexpected(outcome.error());
  std::fputs((options.json ? to_json(*outcome) + "\n" : to_report(*outcome)).c_str(), stdout);
  return outcome->is_survived() ? ExitStatus::done : ExitStatus::task_failed;
}

void add_oom(Command& drill, DrillOptions& options) {
  Command oom = drill.add(
      "oom", "a leak beside a healthy task and an important one, under the configuration's memory settings",
      "kurultai drill oom --budget 512MiB\n\n"
      "Needs no supervisor: it starts one of its own and leaves nothing behind. Exit status: 0 when\n"
      "the leak alone paid, 1 when not.");
  oom.option("--config", options.config, "FILE", "the one kurultaid would use, when absent");
  const auto take = [&options](const std::string& text) -> std::optional<std::string> {
    const auto bytes = parse_bytes(text);
    if (!bytes) return bytes.error().message;
    if (*bytes < mebibytes(128)) return "a drill needs 128MiB at least";
    options.budget = *bytes;
    return std::nullopt;
  };
  oom.option("--budget", take, "SIZE", "at most so much of the configuration's (1GiB)");
  oom.json_flag(options.json, "for programs");
  oom.does("drill oom", [&options] { return drill_oom(options); });
}

/// `leak BYTES` or `bystander BYTES FILE`: what the tasks of a drill run.
void add_part(Commands& commands, Command& drill) {
  auto& words = commands.keep<std::vector<std::string>>();
  Command part = drill.add_hidden("part");
  part.arguments("words", words, "WORD", "leak BYTES, or bystander BYTES FILE");
  part.runs([&words] {
    const Bytes bytes{std::strtoll(words.at(1).c_str(), nullptr, 10)};
    return words.size() == 3 ? drill_bystander(bytes, words[2]) : drill_leak(bytes);
  });
}

}  // namespace

void add_drill(Commands& commands) {
  Command drill = commands.add("drill", "prove on this machine that a leak takes nobody else down",
                               "kurultai drill oom --config config/memory.yaml");
  add_oom(drill, commands.keep<DrillOptions>());
  add_part(commands, drill);
}

}  // namespace kurultai
