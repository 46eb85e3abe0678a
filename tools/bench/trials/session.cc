#include "tools/bench/trials/session.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/bench/trials/history.h"

namespace kurultai::bench {

namespace {

using nlohmann::json;

constexpr double longest_good_pause_ms = 50;

KurultaidOptions options_for(const SessionOptions& options) {
  const std::string budget = to_string(options.budget);
  return {.config = "memory: {budget: " + budget + "}\nworkers: {max: " + std::to_string(options.tasks + 1) +
                    ", memory_limit: " + budget + ", memory_warning: " + budget + "}\n" +
                    "queue: {max_depth: 100, limits: {critical: 100, high: 100, normal: 100, low: 100, "
                    "heartbeat: 2}}\nadmission: none\ncircuit_breakers: {failures: 1000}\n" +
                    "agents: {trial: {protocol: jsonl, grace: 500ms, command: [" + own_path() +
                    ", --agent]}}\n",
          .log_level = options.log_file.empty() ? "error" : "debug",
          .log_file = options.log_file};
}

std::int64_t number_in(const std::string& path) {
  std::int64_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

std::int64_t number_in(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::int64_t number = 0;
  for (std::string word; file >> word >> number;) {
    if (word == key) return number;
  }
  return 0;
}

/// The group that limits memory: on version 1 the processes are limited in another one.
std::string memory_group(const Kurultaid& kurultaid) {
  for (const std::string& group : kurultaid.workers_groups()) {
    if (std::filesystem::exists(group + "/memory.stat")) return group;
  }
  return {};
}

}  // namespace

Session::Session(const SessionOptions& options)
    : options_(options),
      kurultaid_(options_for(options)),
      group_(memory_group(kurultaid_)),
      conversation_(kurultaid_.socket()),
      control_(start_piped({own_path(), "--control",
                            std::to_string((options.budget.count >> 20) / 2 / options.tasks), "--pause",
                            std::to_string(options.pause_ms)})),
      gate_(kurultaid_.directory() + "/gate") {}

Session::~Session() { finish(control_); }

std::vector<Subject> Session::told() const { return told_by(conversation_.events(), subjects_); }

void Session::start(const Part& part, bool grows) {
  const json payload = {{"role", grows ? "grow" : "hold"},
                        {"mib", part.mib},
                        {"gate", gate_},
                        {"deaf", part.deaf},
                        {"pauseMs", options_.pause_ms}};
  const json body = {{"agent", "trial"}, {"priority", to_string(part.priority)}, {"payload", payload}};
  subjects_.push_back(
      {.id = conversation_.submit(body), .priority = part.priority, .mib = part.mib, .grows = grows});
}

json Session::result_of(const std::string& id) {
  const json result = conversation_.task(id).value("result", json());
  return result.is_object() ? result : json::object();
}

bool Session::play(const Plan& plan) {
  subjects_.clear();
  conversation_.forget_events();
  const std::ofstream gate(gate_);
  for (const Part& holder : plan.holders) start(holder, false);
  const bool ready = conversation_.wait_until([&] {
    return std::ranges::all_of(told(), [](const Subject& subject) {
      return !subject.turns.empty() && subject.turns.front().holding < never;
    });
  });
  bool done = ready;
  if (ready) {
    start(plan.grower, true);
    done = conversation_.wait_until([&] {
      const Subject grower = told().back();
      return grower.finished || grower.gave_way();
    });
    if (!told().back().finished) conversation_.cancel(subjects_.back().id);
  }
  std::filesystem::remove(gate_);
  return conversation_.wait_until([&] { return std::ranges::all_of(told(), &Subject::finished); }) && done;
}

Round Session::run(const Plan& plan) {
  Round round;
  const GroupCounts before = counts();
  (void)take_control_pause();
  round.stuck = !play(plan);
  round.control_pause_ms = take_control_pause();
  round.subjects = told();
  round.faults = faults_of(round.subjects);
  round.counts = all_overlapped(round.subjects) && std::ranges::any_of(round.subjects, &Subject::gave_way);
  if (round.stuck) round.faults.push_back("the round was not over in time");
  take_kernel(round, before);
  collect(round);
  return round;
}

void Session::collect(Round& round) {
  for (const Subject& subject : round.subjects) {
    if (subject.gave_way() || !subject.finished) continue;
    const json record = result_of(subject.id);
    if (!subject.grows) {
      take_bystander(round, subject, record);
    } else if (record.contains("longestWaitMs")) {
      round.growers_wait_ms = record.value("longestWaitMs", 0.0);
    }
  }
}

void Session::take_bystander(Round& round, const Subject& subject, const json& record) const {
  const double pause = record.value("longestPauseMs", 0.0);
  round.bystander_turns += record.value("turns", 0U);
  round.pauses_ms.push_back(pause);
  for (const json& error : record.value("errors", json::array()))
    round.faults.push_back("bystander " + subject.id + ": " + error.get<std::string>());
  if (record.contains("memoryWaitMs")) {
    round.memory_waits_ms.push_back(record.value("memoryWaitMs", 0.0));
    if (round.memory_waits_ms.back() > longest_good_pause_ms)
      round.faults.push_back("bystander " + subject.id + " waited for memory for " +
                             std::to_string(std::lround(round.memory_waits_ms.back())) + " ms");
  }
  // Where all of the machine was slow, as an emulated one is, one that is in no group tells by how much.
  if (!options_.judges_pauses || pause <= std::max(longest_good_pause_ms, 2 * round.control_pause_ms)) return;
  round.faults.push_back("bystander " + subject.id + " paused for " + std::to_string(std::lround(pause)) +
                         " ms in " + record.value("pausedIn", "") + ", one outside for " +
                         std::to_string(std::lround(round.control_pause_ms)) + " ms");
}

void Session::take_kernel(Round& round, const GroupCounts& before) const {
  const GroupCounts now = counts();
  if (now.limit_reached > before.limit_reached)
    round.faults.push_back("the limit of all workers was reached");
  if (now.kernel_kills > before.kernel_kills) round.faults.push_back("the kernel killed");
}

double Session::take_control_pause() const {
  write_all(control_.in, "\n");
  const auto record = parse_json(read_line(control_));
  return record ? record->value("longestPauseMs", 0.0) : 0;
}

json Session::grow_alone(int mib) {
  subjects_.clear();
  conversation_.forget_events();
  start({.priority = Priority::normal, .mib = mib}, true);
  if (!conversation_.wait_until([&] { return told().back().finished; }))
    give_up("growing alone takes too long");
  return result_of(subjects_.back().id);
}

GroupCounts Session::counts() const {
  if (group_.empty()) return {};
  const bool unified = std::filesystem::exists(group_ + "/memory.events");
  GroupCounts counts;
  counts.path = group_;
  counts.limit = {number_in(group_ + (unified ? "/memory.max" : "/memory.limit_in_bytes"))};
  counts.highest = {number_in(group_ + (unified ? "/memory.peak" : "/memory.max_usage_in_bytes"))};
  counts.limit_reached =
      unified ? number_in(group_ + "/memory.events.local", "max") : number_in(group_ + "/memory.failcnt");
  counts.kernel_kills = number_in(group_ + (unified ? "/memory.events" : "/memory.oom_control"), "oom_kill");
  return counts;
}

}  // namespace kurultai::bench
