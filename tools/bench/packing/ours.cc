#include "tools/bench/packing/ours.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "protocol/json_text.h"
#include "tools/bench/child.h"
#include "tools/bench/conversation.h"
#include "tools/bench/kurultaid.h"
#include "tools/bench/packing/tree_memory.h"

namespace kurultai::bench {

namespace {

using nlohmann::json;

constexpr std::chrono::seconds patience{3600};
constexpr int beyond_cap_mib = 64;  // a leak has no end: its cap has to end it

KurultaidOptions options_for(const Course& course, const Pass& pass, const std::string& journal) {
  const json depth = course.tasks.size();
  const std::string cap = std::to_string(course.cap_mib) + "MiB";
  const json config = {
      {"memory", {{"budget", to_string(course.budget)}}},
      {"workers", {{"max", "auto"}, {"memory_limit", cap}, {"memory_warning", cap}}},
      {"queue", {{"max_depth", depth}, {"limits", {{"normal", depth}}}, {"backfill", pass.backfill}}},
      {"circuit_breakers", {{"failures", depth}}},
      {"agents", {{"packed", {{"protocol", "exec"}, {"command", command_template(journal)}}}}}};
  return {.config = to_text(config),  // JSON is YAML
          .log_level = pass.log_file.empty() ? "error" : "debug",
          .log_file = pass.log_file,
          .state_directory = pass.state_directory};
}

json submission_of(std::size_t id, const PackedTask& task, int cap_mib) {
  const json payload = {{"id", id},
                        {"mib", task.declared_mib},
                        {"ms", task.time.count()},
                        {"grow", task.leaks() ? cap_mib + beyond_cap_mib : 0}};
  return {{"agent", "packed"}, {"payload", payload}, {"sizeClass", task.size_class}};
}

/// Reads events on as they come, and knows how many tasks have come to their end.
class Followed {
 public:
  explicit Followed(const Course& course) : course_(course) {}

  void submitted(const std::string& id, std::size_t task) { tasks_[id] = task; }
  bool are_all_finished(const std::vector<json>& events) {
    for (; seen_ < events.size(); ++seen_) take(events[seen_]);
    return finished_ == course_.tasks.size();
  }

  void tell_of_wronged(Conversation& conversation) const {
    for (const std::string& id : wronged_)
      std::fprintf(stderr, "task %zu was wronged: %s\n", tasks_.at(id),
                   to_text(conversation.why(id)).c_str());
  }

 private:
  void take(const json& event) {
    const auto task = tasks_.find(event.value("taskId", ""));
    if (task == tasks_.end()) return;
    const std::string type = event.value("type", "");
    if (type == "taskCompleted" || type == "taskFailed") ++finished_;
    if (type != "taskFailed" && type != "taskPreempted") return;
    if (!course_.tasks[task->second].leaks()) wronged_.insert(task->first);
  }

  const Course& course_;
  std::map<std::string, std::size_t> tasks_;
  std::set<std::string> wronged_;
  std::size_t seen_ = 0;
  std::size_t finished_ = 0;
};

}  // namespace

Outcome run_ours(const Course& course, const Pass& pass) {
  const std::string journal = pass.state_directory + ".journal";
  std::filesystem::remove(journal);
  const Kurultaid kurultaid(options_for(course, pass, journal));
  Conversation conversation(kurultaid.socket());
  Followed followed(course);
  TreeMemory memory(kurultaid.pid());
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < course.tasks.size(); ++i)
    followed.submitted(conversation.submit(submission_of(i, course.tasks[i], course.cap_mib)), i);
  if (!conversation.wait_until([&] { return followed.are_all_finished(conversation.events()); }, patience))
    give_up("the tasks do not come to their end");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  followed.tell_of_wronged(conversation);
  Outcome outcome = outcome_of(pass.name, course, read_journal(journal, course.tasks.size()));
  outcome.seconds = took.count();
  outcome.most = memory.most();
  return outcome;
}

}  // namespace kurultai::bench
