#include "tools/soak/agents.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "protocol/json_text.h"

namespace kurultai::soak {
namespace {

/// `{bytes}` are held by tail for so long as its input is open.
constexpr const char* shell_script =
    "(head -c {bytes} /dev/zero; sleep {seconds}) | tail -c {bytes} >/dev/null && echo {key} >>";

std::vector<std::string> command_line_of(const TaskKind& kind, const std::string& directory,
                                         const std::string& ledger) {
  switch (kind.runs) {
    case Runs::python:
      return {"python3", directory + "/soak.py", ledger};
    case Runs::node:
      return {"node", directory + "/soak.js", ledger};
    case Runs::shell:
      return {"sh", "-c", shell_script + ledger};
  }
  return {};
}

}  // namespace

Submission draw(const TaskKind& kind, std::string key, TimePoint due, bench::Dice& dice) {
  Submission task;
  task.key = std::move(key);
  task.kind = &kind;
  task.due = due;
  const auto level = static_cast<std::size_t>(dice.between(0, static_cast<double>(priority_count)));
  task.priority = kind.priority.value_or(all_priorities.at(std::min(level, priority_count - 1)));
  const auto between = [&dice](std::int64_t low, std::int64_t high) {
    return std::llround(dice.between(static_cast<double>(low), static_cast<double>(high)));
  };
  task.memory = kind.leaks ? Bytes{kind.cap.count * 3 / 2}
                           : Bytes{between(kind.memory.low.count, kind.memory.high.count)};
  task.takes = Duration(between(kind.takes.low.count(), kind.takes.high.count()));
  return task;
}

const TaskKind& draw_kind(const std::vector<TaskKind>& kinds, bench::Dice& dice) {
  const int all = std::accumulate(kinds.begin(), kinds.end(), 0,
                                  [](int sum, const TaskKind& kind) { return sum + kind.weight; });
  double left = dice.between(0, all);
  for (const TaskKind& kind : kinds) {
    left -= kind.weight;
    if (left < 0) return kind;
  }
  return kinds.front();
}

std::string to_body(const Submission& task) {
  nlohmann::json payload = {{"key", task.key},
                            {"bytes", task.memory.count},
                            {"seconds", static_cast<double>(task.takes.count()) / 1000}};
  if (task.kind->leaks) payload["leaks"] = true;
  if (task.kind->keeps.count > 0) payload["keeps"] = task.kind->keeps.count;
  return to_text({{"agent", task.kind->name},
                  {"priority", to_string(task.priority)},
                  {"idempotencyKey", task.key},
                  {"payload", std::move(payload)}});
}

std::vector<TaskKind> all_kinds(const Profile& profile) {
  std::vector<TaskKind> kinds = profile.kinds;
  TaskKind probe{.name = "soak.probe", .runs = Runs::shell, .weight = 0, .cap = mebibytes(32)};
  probe.priority = Priority::high;
  kinds.push_back(probe);
  if (profile.every_so_often(Mischief::preempt) == Duration(0)) return kinds;
  const Bytes third{profile.supervisor.memory.budget.value_or(gibibytes(1)).count / 3};
  TaskKind giant{.name = "soak.giant", .runs = Runs::shell, .weight = 0, .memory = {third, third}};
  giant.takes = {std::chrono::milliseconds(500), std::chrono::milliseconds(1500)};
  giant.cap = third + own_memory(Runs::shell);
  giant.priority = Priority::critical;
  giant.retries = 3;
  kinds.push_back(giant);
  return kinds;
}

AgentFiles::AgentFiles(std::string directory)
    : directory_(std::move(directory)), ledger_(directory_ + "/ledger") {
  for (const char* name : {"soak.py", "soak.js", "kurultai_agent.py", "kurultai-agent.js"})
    std::ofstream(directory_ + "/" + name) << embedded(name);
  std::ofstream(ledger_).flush();
}

Config AgentFiles::configuration(Config base, const std::vector<TaskKind>& kinds) const {
  base.agents.clear();
  base.schedules.clear();
  base.gateway.listen = "none";
  for (const TaskKind& kind : kinds) {
    AgentConfig agent;
    agent.name = kind.name;
    agent.protocol = kind.runs == Runs::shell ? AgentProtocol::exec : AgentProtocol::jsonl;
    agent.command = command_line_of(kind, directory_, ledger_);
    agent.memory_limit = kind.cap;
    agent.memory_warning = kind.cap;
    agent.retries = kind.retries;
    agent.max_tasks = kind.max_tasks;
    agent.grace = std::chrono::seconds(2);
    base.agents.emplace(kind.name, std::move(agent));
  }
  return base;
}

std::vector<std::string> LedgerReader::read() {
  std::vector<std::string> lines;
  std::ifstream file(path_);
  file.seekg(at_);
  std::string text;
  text.assign(std::istreambuf_iterator<char>(file), {});
  at_ += static_cast<std::int64_t>(text.size());
  partial_ += text;
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = partial_.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(partial_.substr(begin, end - begin));
  partial_.erase(0, begin);
  return lines;
}

}  // namespace kurultai::soak
