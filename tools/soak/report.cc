#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tools/kurultai/table.h"
#include "tools/kurultai/text.h"
#include "tools/soak/outcome.h"

namespace kurultai::soak {
namespace {

using nlohmann::json;

std::string word_of(Judgement judgement) {
  switch (judgement) {
    case Judgement::passed:
      return "pass";
    case Judgement::failed:
      return "FAIL";
    case Judgement::shown:
      return "";
  }
  return "";
}

std::string counted(const std::map<std::string, std::uint64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + printable(name);
  return text;
}

std::string mischief_text(const Outcome& outcome) {
  std::string text;
  for (std::size_t i = 0; i < mischief_names.size(); ++i) {
    if (outcome.mischief.at(i) == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(outcome.mischief.at(i)) + " ";
    text += mischief_names.at(i);
  }
  return text;
}

std::string heap_text(const Outcome& outcome) {
  std::string text;
  for (const HeapReading& reading : outcome.heap)
    text += (text.empty() ? "" : ", ") + reading.when + " " + brief(Bytes{reading.used}) + " (RSS " +
            brief(Bytes{reading.rss}) + ")";
  return text;
}

std::string share_text(double share) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f %% of a core", share * 100);
  return text.data();
}

json memory_json(const Reservoir& found) {
  return {{"readings", found.count()},
          {"p50", found.percentile(0.5)},
          {"p95", found.percentile(0.95)},
          {"p99", found.percentile(0.99)},
          {"max", found.most()}};
}

json curve_json(const LeakSeries& curve) {
  json points = json::array();
  for (const LeakPoint& point : curve.points())
    points.push_back({{"seconds", point.first}, {"least", point.least}, {"most", point.most}});
  return points;
}

json heap_json(const Outcome& outcome) {
  json readings = json::array();
  for (const HeapReading& reading : outcome.heap)
    readings.push_back({{"when", reading.when},
                        {"seconds", reading.seconds},
                        {"rssBytes", reading.rss},
                        {"heapUsedBytes", reading.used},
                        {"heapTotalBytes", reading.total}});
  return readings;
}

json criteria_json(const std::vector<Criterion>& criteria) {
  json list = json::array();
  for (const Criterion& one : criteria) {
    json object = {{"name", one.name}, {"found", one.found}, {"wanted", one.wanted}};
    object["passed"] = one.judgement == Judgement::shown ? json() : json(one.judgement == Judgement::passed);
    list.push_back(std::move(object));
  }
  return list;
}

json tasks_json(const Outcome& outcome) {
  return {{"submitted", outcome.submitted},
          {"accepted", outcome.tasks.accepted},
          {"lost", outcome.tasks.lost},
          {"duplicated", outcome.tasks.duplicated},
          {"failedWithoutCause", outcome.tasks.failed},
          {"failures", outcome.failures},
          {"notSubmitted", outcome.overrun},
          {"ends", outcome.tasks.ends},
          {"retries", outcome.retries},
          {"preemptions", outcome.preemptions}};
}

json answers_json(const Outcome& outcome) {
  json statuses = json::object();
  for (const auto& [status, count] : outcome.statuses) statuses[std::to_string(status)] = count;
  return {
      {"statuses", std::move(statuses)}, {"refusals", outcome.refusals}, {"unexpected", outcome.unexpected}};
}

json mischief_json(const Outcome& outcome) {
  json counts = json::object();
  for (std::size_t i = 0; i < mischief_names.size(); ++i)
    counts[std::string(mischief_names.at(i))] = outcome.mischief.at(i);
  return counts;
}

}  // namespace

std::string to_table(const Outcome& outcome, const std::vector<Criterion>& criteria) {
  std::string text = facts({
      {"profile", outcome.profile + ", seed " + std::to_string(outcome.seed)},
      {"ran", brief(Duration(std::llround(outcome.seconds * 1000))) +
                  (outcome.scale == 1
                       ? ""
                       : ", times shortened to a " + std::to_string(std::lround(outcome.scale)) + "th") +
                  (outcome.seconds + 1 < outcome.planned ? ", ended early" : "")},
      {"guarantee", outcome.guarantee + ", budget " + brief(outcome.budget)},
      {"tasks", counted(outcome.tasks.ends)},
      {"sent back", counted(outcome.preemptions)},
      {"tried again", counted(outcome.retries)},
      {"chaos", mischief_text(outcome)},
      {"unexpected", counted(outcome.unexpected)},
      {"failures", counted(outcome.failures)},
      {"heap", heap_text(outcome)},
      {"processor", outcome.supervisor_cpu > 0 ? share_text(outcome.supervisor_cpu) : ""},
  });
  Table table({{"CRITERION"}, {"FOUND"}, {"WANTED"}, {"VERDICT"}});
  for (const Criterion& one : criteria)
    table.add({one.name, one.found, one.wanted, one.note.empty() ? word_of(one.judgement) : one.note});
  return text + "\n" + table.text() + "\n" + (has_passed(criteria) ? "passed" : "NOT passed") + "\n";
}

json to_json(const Outcome& outcome, const std::vector<Criterion>& criteria) {
  const LeakSlope& slope = outcome.slope;
  return {{"profile", outcome.profile},
          {"seed", outcome.seed},
          {"scale", outcome.scale},
          {"seconds", outcome.seconds},
          {"plannedSeconds", outcome.planned},
          {"passed", has_passed(criteria)},
          {"criteria", criteria_json(criteria)},
          {"guarantee", outcome.guarantee},
          {"budgetBytes", outcome.budget.count},
          {"memory",
           {{"supervisor", memory_json(outcome.memory.supervisor())},
            {"tree", memory_json(outcome.memory.tree())}}},
          {"heap", heap_json(outcome)},
          {"leak",
           {{"bytesPerHour", slope.per_hour},
            {"low", slope.low},
            {"high", slope.high},
            {"seconds", slope.seconds}}},
          {"latencyMs",
           {{"answered", memory_json(outcome.answers_ms)},
            {"started", memory_json(outcome.starts_ms)},
            {"completed", memory_json(outcome.ends_ms)}}},
          {"tasks", tasks_json(outcome)},
          {"answers", answers_json(outcome)},
          {"oomKills", {{"rightful", outcome.rightful_kills()}, {"wrongful", outcome.wrongful_kills()}}},
          {"supervisorDeaths", outcome.deaths},
          {"supervisorCpuShare", outcome.supervisor_cpu},
          {"recoverySeconds", outcome.recovery_seconds ? json(*outcome.recovery_seconds) : json()},
          {"fds", {{"before", outcome.fds.before}, {"after", outcome.fds.after}}},
          {"groups", {{"before", outcome.groups.before}, {"after", outcome.groups.after}}},
          {"leftBehind", outcome.left_behind},
          {"tried again", counted(outcome.retries)},
          {"chaos", mischief_json(outcome)},
          {"curves",
           {{"supervisor", curve_json(outcome.memory.supervisor_curve())},
            {"tree", curve_json(outcome.memory.tree_curve())}}}};
}

}  // namespace kurultai::soak
