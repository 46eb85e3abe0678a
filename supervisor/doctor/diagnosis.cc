#include "supervisor/doctor/diagnosis.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace kurultai {

namespace {

Check caps(const MachineFacts& facts, const Config& config, Guarantee required) {
  const std::string found = std::string(to_string(facts.guarantee)) + ": " + facts.explanation;
  const std::string advice =
      facts.guarantee == Guarantee::rlimit
          ? "a cap holds for each process by itself, and what an agent's processes use together is only "
            "watched; start kurultaid as root, or as a systemd service with Delegate=memory pids"
          : "";
  if (facts.guarantee > required) {
    return {"memory caps", CheckStatus::problem,
            found + "; " + std::string(to_string(required)) + " is required",
            advice.empty() ? "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)" : advice};
  }
  if (facts.guarantee != Guarantee::rlimit) return {"memory caps", CheckStatus::good, found, ""};
  const std::string& parent = config.memory.cgroup_parent;
  if (parent != "self")
    return {"memory caps", CheckStatus::problem, found,
            "memory.cgroup_parent asks for groups in " + parent + "; " + advice};
  return {"memory caps", CheckStatus::warning, found, advice};
}

Check budget(const MachineFacts& facts, const Config& config) {
  const std::string there_is = to_string(facts.memory);
  if (!config.memory.budget) return {"memory budget", CheckStatus::good, "auto: " + there_is, ""};
  const std::string wanted = to_string(*config.memory.budget);
  if (*config.memory.budget > facts.memory) {
    return {"memory budget", CheckStatus::problem, wanted + " of the " + there_is + " that there are",
            "set memory.budget to less than " + there_is + ", or to auto"};
  }
  return {"memory budget", CheckStatus::good, wanted + " of " + there_is, ""};
}

Check swap(const MachineFacts& facts) {
  if (!facts.free_swap) return {"swap", CheckStatus::warning, "cannot be read", "mount /proc"};
  if (facts.free_swap->count > 0)
    return {"swap", CheckStatus::good, to_string(*facts.free_swap) + " free, for suspended tasks", ""};
  return {"swap", CheckStatus::good, "none: to suspend a task frees nothing, it gives way by preemption", ""};
}

Check pressure(const MachineFacts& facts) {
  if (facts.pressure)
    return {"pressure (PSI)", CheckStatus::good, "told by the kernel: memory is read when tasks wait for it",
            ""};
  return {"pressure (PSI)", CheckStatus::good, "not told by this kernel; nothing depends on it", ""};
}

Check machine_oom(const MachineFacts& facts) {
  if (facts.panic_on_oom == 0)
    return {"machine out of memory", CheckStatus::good, "the kernel ends a process", ""};
  return {"machine out of memory", CheckStatus::problem,
          "the kernel stops the whole machine (vm.panic_on_oom)", "sysctl vm.panic_on_oom=0"};
}

Check order_of_ends(const MachineFacts& facts) {
  if (facts.may_keep_oom_order)
    return {"order of ends", CheckStatus::good, "agents go before the supervisor, and cannot change that",
            ""};
  return {"order of ends", CheckStatus::warning, "an agent may put itself behind others (oom_score_adj)",
          "give kurultaid CAP_SYS_RESOURCE, as root has"};
}

Check promptness(const MachineFacts& facts) {
  if (facts.may_come_first)
    return {"promptness", CheckStatus::good, "the supervisor comes before its agents", ""};
  return {"promptness", CheckStatus::warning, "agents that keep the processors busy delay the supervisor",
          "give kurultaid CAP_SYS_NICE, as root has"};
}

std::string names(const std::vector<std::string>& all) {
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(all.size(), most); ++i) text += (i > 0 ? ", " : "") + all[i];
  return all.size() > most ? text + " and " + std::to_string(all.size() - most) + " more" : text;
}

Check users(const MachineFacts& facts, const Config& config) {
  std::vector<std::string> unasked;
  std::vector<std::string> denied;
  for (const auto& [name, agent] : config.agents) {
    if (agent.user.empty()) unasked.push_back(name);
    if (!agent.user.empty() && !facts.is_root) denied.push_back(name);
  }
  if (!denied.empty()) {
    return {"agents' users", CheckStatus::problem,
            names(denied) + ": only root can start a program as another user",
            "start kurultaid as root, or leave out user:"};
  }
  if (!unasked.empty()) {
    return {"agents' users", CheckStatus::warning,
            names(unasked) + ": run as the supervisor's own user, so they can reach it and each other",
            "user: auto gives each worker a user of its own (kurultaid has to be root for it)"};
  }
  return {"agents' users", CheckStatus::good, "none is the supervisor's own", ""};
}

/// Three pipes, and the files of its group.
constexpr std::uint64_t files_of_worker = 10;
constexpr std::uint64_t files_of_supervisor = 64;

Check open_files(const MachineFacts& facts, const Config& config) {
  const auto workers =
      static_cast<std::uint64_t>(most_workers(config, config.memory.budget.value_or(facts.memory)));
  const std::uint64_t wanted = files_of_supervisor + workers * files_of_worker +
                               static_cast<std::uint64_t>(config.gateway.max_connections);
  const std::string found = std::to_string(facts.open_files);
  if (facts.open_files >= wanted) return {"open files", CheckStatus::good, found, ""};
  return {"open files", CheckStatus::warning,
          found + "; " + std::to_string(workers) + " workers and " +
              std::to_string(config.gateway.max_connections) + " connections may take " +
              std::to_string(wanted),
          "ulimit -n " + std::to_string(wanted) + ", or LimitNOFILE=" + std::to_string(wanted)};
}

std::string milliseconds(std::chrono::microseconds time) {
  const auto tenths = (time.count() + 50) / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " ms";
}

Check state(const MachineFacts& facts, const Config& config) {
  const std::string& directory = facts.state_directory;
  if (!facts.state_trouble.empty()) {
    return {"state directory", CheckStatus::problem, facts.state_trouble,
            "choose another with --state-dir, or make it writable"};
  }
  const std::string room = directory + ": " + to_string(facts.state_room) + " free";
  if (facts.state_in_memory) {
    return {"state directory", CheckStatus::warning, room + ", in memory",
            "tasks do not outlive the machine there: choose a directory on a disk with --state-dir"};
  }
  if (facts.state_room < config.store.max_spool) {
    return {"state directory", CheckStatus::warning,
            room + ", and payloads and results may take " + to_string(config.store.max_spool),
            "set store.max_spool to less than what is free"};
  }
  return {"state directory", CheckStatus::good,
          room + (facts.sync ? ", written for good in " + milliseconds(*facts.sync) : ""), ""};
}

Check token(const MachineFacts& facts, const Config& config) {
  if (config.gateway.listen == "none")
    return {"token", CheckStatus::good, "not needed: the socket alone", ""};
  if (!config.gateway.auth) {
    return {"token", CheckStatus::warning, "none: every user of this machine may submit over TCP",
            "leave out gateway.auth: none"};
  }
  if (facts.token_is_open)
    return {"token", CheckStatus::problem, "its file can be read by others", "chmod 600 the token's file"};
  return {"token", CheckStatus::good, "asked for over TCP, its file is private", ""};
}

Check programs(const MachineFacts& facts, const Config& config) {
  if (facts.missing.empty()) {
    const std::size_t count = config.agents.size();
    return {"agents' programs", CheckStatus::good,
            count == 0 ? "no agent is configured" : "found, of " + std::to_string(count) + " agents", ""};
  }
  std::vector<std::string> all;
  all.reserve(facts.missing.size());
  for (const MissingProgram& one : facts.missing) all.push_back(one.agent + " (" + one.program + ")");
  return {"agents' programs", CheckStatus::problem, "not found or not executable: " + names(all),
          "install them, or name them with their whole path in command:"};
}

template <typename Wants>
std::vector<std::string> agents_that(const Config& config, const Wants& wants) {
  std::vector<std::string> found;
  for (const auto& [name, agent] : config.agents)
    if (wants(agent)) found.push_back(name);
  return found;
}

Check private_tmp(const MachineFacts& facts, const Config& config) {
  if (facts.tmp_trouble.empty()) return {"private tmp", CheckStatus::good, "mounted, with a hard limit", ""};
  const std::string found = "cannot be mounted (" + facts.tmp_trouble + ")";
  const auto wanted = agents_that(config, [](const AgentConfig& agent) { return agent.tmp.is_private; });
  if (wanted.empty()) return {"private tmp", CheckStatus::good, found + "; no agent asks for it", ""};
  return {"private tmp", CheckStatus::warning,
          found + ": " + names(wanted) + " get a directory that is looked at once a second",
          "start kurultaid as root, or allow user namespaces"};
}

Check sandbox(const MachineFacts& facts, const Config& config) {
  if (facts.sandbox_trouble.empty()) return {"sandbox", CheckStatus::good, "bubblewrap works", ""};
  const auto wanted = agents_that(
      config, [](const AgentConfig& agent) { return agent.sandbox.kind == SandboxKind::bubblewrap; });
  if (wanted.empty())
    return {"sandbox", CheckStatus::good, facts.sandbox_trouble + "; no agent asks for it", ""};
  return {"sandbox", CheckStatus::problem, names(wanted) + ": " + facts.sandbox_trouble,
          "install bubblewrap, and allow user namespaces where kurultaid is not root"};
}

}  // namespace

std::string_view to_string(CheckStatus status) {
  switch (status) {
    case CheckStatus::good:
      return "ok";
    case CheckStatus::warning:
      return "warning";
    case CheckStatus::problem:
      return "problem";
  }
  return "";
}

std::vector<Check> diagnose(const MachineFacts& facts, const Config& config, Guarantee required) {
  return {caps(facts, config, required),
          budget(facts, config),
          swap(facts),
          pressure(facts),
          machine_oom(facts),
          order_of_ends(facts),
          promptness(facts),
          users(facts, config),
          open_files(facts, config),
          state(facts, config),
          token(facts, config),
          programs(facts, config),
          private_tmp(facts, config),
          sandbox(facts, config)};
}

CheckStatus worst(const std::vector<Check>& checks) {
  const auto found = std::ranges::max_element(checks, {}, &Check::status);
  return found == checks.end() ? CheckStatus::good : found->status;
}

std::string to_report(const std::vector<Check>& checks) {
  constexpr std::size_t status_width = 9;
  constexpr std::size_t name_width = 23;
  std::string text;
  for (const Check& check : checks) {
    std::string status(to_string(check.status));
    status.resize(status_width, ' ');
    std::string name = check.name;
    name.resize(name_width, ' ');
    text += status + name + check.finding + "\n";
    if (!check.advice.empty())
      text += std::string(status_width, ' ') + "to change it: " + check.advice + "\n";
  }
  return text;
}

std::string to_json(const std::vector<Check>& checks, Guarantee guarantee) {
  auto list = nlohmann::json::array();
  for (const Check& check : checks) {
    nlohmann::json one{
        {"check", check.name}, {"status", to_string(check.status)}, {"finding", check.finding}};
    if (!check.advice.empty()) one["advice"] = check.advice;
    list.push_back(std::move(one));
  }
  const nlohmann::json whole{
      {"status", to_string(worst(checks))}, {"guarantee", to_string(guarantee)}, {"checks", std::move(list)}};
  return whole.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace kurultai
