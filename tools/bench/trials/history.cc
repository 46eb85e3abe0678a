#include "tools/bench/trials/history.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/kurultai/text.h"

namespace kurultai::bench {

namespace {

using nlohmann::json;

double moment_of(const json& event) {
  const auto time = parse_rfc3339(event.value("time", ""));
  return time ? std::chrono::duration<double, std::milli>(time->time_since_epoch()).count() : 0;
}

int decision_of(const json& event) {
  const std::string id = event.value("chosenBy", "");
  return id.starts_with("g") ? std::atoi(id.c_str() + 1) : 0;
}

std::string failure_of(const json& event) {
  const json error = event.value("error", json::object());
  return error.value("reason", "") + ", " + error.value("message", "");
}

/// A task can give way before it was started: while its worker starts.
void tell_of_giving_way(Subject& subject, const json& event) {
  if (subject.turns.empty() || subject.turns.back().ended < never) subject.turns.emplace_back();
  Turn& turn = subject.turns.back();
  turn.ended = moment_of(event);
  turn.decided = turn.ended - event.value("reactionMs", 0.0);
  turn.decision = decision_of(event);
  turn.why = event.value("reason", "unknown");
}

void tell(Subject& subject, const std::string& type, const json& event) {
  if (type == "taskStarted") subject.turns.emplace_back();
  subject.finished =
      type == "taskCompleted" || type == "taskFailed" || type == "taskCancelled" || type == "taskEvicted";
  if (type == "taskFailed" || type == "taskEvicted") subject.failure = failure_of(event);
  if (type == "taskPreempted") return tell_of_giving_way(subject, event);
  if (subject.turns.empty()) return;
  Turn& turn = subject.turns.back();
  if (type == "taskProgress") turn.holding = std::min(turn.holding, moment_of(event));
  if (subject.finished) turn.ended = std::min(turn.ended, moment_of(event));
}

}  // namespace

std::vector<Subject> told_by(const std::vector<json>& events, std::vector<Subject> subjects) {
  for (const json& event : events) {
    const auto subject = std::ranges::find(subjects, event.value("taskId", ""), &Subject::id);
    if (subject != subjects.end()) tell(*subject, event.value("type", ""), event);
  }
  return subjects;
}

}  // namespace kurultai::bench
