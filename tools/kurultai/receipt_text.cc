#include "tools/kurultai/receipt_text.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "tools/kurultai/chart.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/text.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr double minute = 60000;  // milliseconds: what a chart shows
constexpr std::array<const char*, 4> thresholds_shown = {"skip_heartbeats", "preempt", "reject", "kill"};

std::string size_of(const json& object, const char* name) {
  const auto bytes = bytes_field(object, name);
  return bytes ? brief(*bytes) : "";
}

std::string seconds_text(double seconds) {
  return brief(Duration{static_cast<std::int64_t>(seconds * 1000)});
}

/// The most used in each of `width` slices of the minute before; -1 where nothing is known.
std::vector<double> columns_of(const json& decision, std::size_t width) {
  std::vector<double> columns(width, -1);
  for (const json& point : field(decision, "memory")) {
    const double before = number_field(point, "msBefore").value_or(0);
    if (before < 0 || before > minute) continue;
    const auto column = static_cast<std::size_t>((1 - before / minute) * static_cast<double>(width - 1));
    columns[column] = std::max(columns[column], number_field(point, "usedBytes").value_or(0));
  }
  return columns;
}

std::string standing_of(const json& task) {
  if (field(task, "chosen") == true) return field(task, "outgrown") == true ? "chosen: outgrown" : "chosen";
  if (field(task, "protected") == true) return "protected";
  if (field(task, "dying") == true) return "dying already";
  if (!field(task, "backInMs").is_null()) return "leaving already";
  if (field(task, "preemptable") == false) return "not preemptable";
  return "spared";
}

std::string ranking_text(const json& decision, const std::string& own) {
  Table table({{"RANK", Align::right},
               {"TASK"},
               {"PRIORITY"},
               {"MEMORY", Align::right},
               {"WORK LOST", Align::right},
               {"SCORE", Align::right},
               {"DECISION"}});
  int rank = 0;
  for (const json& task : field(decision, "ranking")) {
    const std::string id = text_field(task, "taskId");
    const double score = number_field(task, "score").value_or(0);
    table.add({std::to_string(++rank), id + (id == own ? " (this)" : ""), text_field(task, "priority"),
               size_of(task, "memoryBytes"), seconds_text(number_field(task, "workLostSeconds").value_or(0)),
               brief(Bytes{static_cast<std::int64_t>(score)}) + "/s", standing_of(task)});
  }
  return table.text();
}

std::string reaction_text(const json& decision) {
  const auto reaction = ms_field(decision, "reactionMs");
  return reaction ? "; done after " + brief(*reaction) : "";
}

std::string rungs_text(const json& decision) {
  std::string text;
  for (const json& rung : field(decision, "rungs")) {
    const std::string freed = size_of(rung, "freedBytes");
    text += "  " + seconds_text(number_field(rung, "msBefore").value_or(0) / 1000) +
            " before: " + text_field(rung, "rung") + " at " + size_of(rung, "usedBytes") +
            (freed.empty() ? "" : ", freed " + freed);
    if (const auto took = ms_field(rung, "tookMs")) text += " in " + brief(*took);
    text += "\n";
  }
  return text.empty() ? "" : "Tried before:\n" + text;
}

/// Of a decision before any threshold was reached.
std::string prediction_text(const json& prediction) {
  const auto time = [&](const char* name) { return brief(ms_field(prediction, name).value_or(Duration(0))); };
  return "; foreseen: it grew by " + size_of(prediction, "growthBytesPerSecond") +
         "/s and would have been at the kill threshold in " + time("leftMs") + ", less than " +
         time("toActMs") + " to act and " + time("graceMs") + " of grace";
}

/// Of a decision that made room for a task that was to start.
std::string room_text(const json& decision, const std::string& own) {
  const json& room = field(decision, "room");
  Bytes committed = bytes_field(room, "elsewhereBytes").value_or(Bytes{});
  for (const json& worker : field(room, "workers")) {
    if (text_field(worker, "workerId") == text_field(room, "workerId")) continue;
    committed += std::max(bytes_field(worker, "heldBytes").value_or(Bytes{}),
                          bytes_field(worker, "expectedBytes").value_or(Bytes{}));
  }
  return text_field(decision, "id") + "  " + text_field(decision, "time") + "  preempt: room for task " +
         text_field(room, "taskId") + " (" + text_field(room, "priority") + "), expected to use " +
         size_of(room, "footprintBytes") + " beside " + brief(committed) + " that others may use, of " +
         size_of(room, "lineBytes") + " below the preempt threshold" + reaction_text(decision) + "\n\n" +
         ranking_text(decision, own) + "\n" + memory_chart(decision, 60, 8);
}

/// Of attempts that gave it a larger cap.
std::string deaths_text(const json& why) {
  Table table({{"DIED OF A CAP OF", Align::right}, {"PEAK", Align::right}, {"AFTER", Align::right}, {"AT"}});
  for (const json& death : field(why, "memoryDeaths")) {
    const auto ran = ms_field(death, "ranMs");
    table.add({size_of(death, "capBytes"), size_of(death, "peakBytes"), ran ? brief(*ran) : "",
               text_field(death, "time")});
  }
  return table.empty() ? "" : table.text();
}

std::string decision_text(const json& decision, const std::string& own) {
  if (!field(decision, "room").is_null()) return room_text(decision, own);
  const json& reading = field(decision, "reading");
  const std::string action = text_field(decision, "action");
  const json& prediction = field(decision, "prediction");
  const double line =
      number_field(field(decision, "thresholds"), action == "kill" ? "kill" : "preempt").value_or(0);
  std::string text = text_field(decision, "id") + "  " + text_field(decision, "time") + "  " + action + ": " +
                     size_of(reading, "usedBytes") + " of " + size_of(reading, "budgetBytes") + " used (" +
                     percent(number_field(reading, "ratio").value_or(0)) + ", " + action + " at " +
                     percent(line) + ")";
  if (!prediction.is_null()) text += prediction_text(prediction);
  if (field(reading, "starving") == true) text += "; a worker waited for memory and there was none to give";
  if (field(reading, "lowered") == true) text += "; the lines had just been lowered";
  return text + reaction_text(decision) + "\n\n" + ranking_text(decision, own) + "\n" + rungs_text(decision) +
         memory_chart(decision, 60, 8);
}

}  // namespace

std::string memory_chart(const json& decision, std::size_t width, std::size_t height) {
  Chart chart{columns_of(decision, width), 0, {}};
  const double budget = number_field(field(decision, "reading"), "budgetBytes").value_or(0);
  chart.top = budget;
  for (const char* name : thresholds_shown) {
    const double at = number_field(field(decision, "thresholds"), name).value_or(-1);
    chart.lines.emplace_back(at * budget, name);
  }
  const std::string drawn = draw(chart, height);
  if (drawn.empty()) return "";
  return "Memory of the minute before, up to the budget of " +
         brief(Bytes{static_cast<std::int64_t>(budget)}) + ":\n" + drawn + "  └ 60 s ago" +
         std::string(width > 16 ? width - 16 : 0, ' ') + "now ┘\n";
}

std::string receipt_text(const json& why) {
  const std::string id = text_field(why, "taskId");
  std::string text = "Task " + id + " (" + text_field(why, "agent") + ", " + text_field(why, "priority") +
                     "): " + printable(text_field(why, "summary")) + "\n";
  const json& decisions = field(why, "decisions");
  for (const json& decision : decisions) text += "\n" + decision_text(decision, id);
  if (decisions.empty())
    text +=
        "The governor took nothing from it. Its largest use was " + size_of(why, "peakMemoryBytes") + ".\n";
  if (const std::string deaths = deaths_text(why); !deaths.empty()) text += "\n" + deaths;
  const std::string log = text_field(why, "log");
  if (log.empty()) return text;
  text += "\nLast lines of its log:\n";
  for (std::size_t from = 0; from < log.size();) {
    const std::size_t end = std::min(log.find('\n', from), log.size());
    text += "  " + printable(std::string_view(log).substr(from, end - from)) + "\n";
    from = end + 1;
  }
  return text;
}

}  // namespace kurultai
