#include "tools/bench/packing/table.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace kurultai::bench {

namespace {

using nlohmann::json;

constexpr double mib = 1024.0 * 1024;

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

double over(Bytes most, Bytes budget) {
  return most > budget ? static_cast<double>((most - budget).count) / mib : 0;
}

std::string row(const Outcome& outcome, const Floor& floor) {
  return formatted("%-34s %8.1f s %8.2f %8.2f %8.2f %7d %9d %7.0f MiB %6.0f MiB%s\n", outcome.name.c_str(),
                   outcome.seconds, outcome.seconds / floor.packed, outcome.seconds / floor.bare,
                   outcome.seconds / floor.packed_all, outcome.killed, outcome.restarts,
                   static_cast<double>(outcome.most.count) / mib, over(outcome.most, floor.budget),
                   outcome.undone == 0 ? "" : (", " + std::to_string(outcome.undone) + " NOT DONE").c_str());
}

std::string floor_row(const std::string& name, double seconds, const Floor& floor) {
  return formatted("%-34s %8.1f s %8.2f %8.2f %8.2f\n", name.c_str(), seconds, seconds / floor.packed,
                   seconds / floor.bare, seconds / floor.packed_all);
}

}  // namespace

std::string to_table(const Floor& floor, const std::vector<Outcome>& outcomes,
                     const std::vector<Skipped>& skipped) {
  const std::string usable = to_string(floor.usable);
  std::string text = std::to_string(floor.tasks) + " tasks, " + std::to_string(floor.leaks) +
                     " of them leaks, under " + to_string(floor.budget) + "; packing: clairvoyant, into " +
                     usable + ", computed (" + floor.rule + "); bare: the same, really run\n";
  text += formatted("%-34s %10s %8s %8s %8s %7s %9s %11s %10s\n", "", "makespan", "/packing", "/bare",
                    "/whole", "killed", "restarted", "most held", "over");
  text += floor_row("no packing into " + usable + " is shorter", floor.least, floor);
  text += floor_row("packing into all " + to_string(floor.budget), floor.packed_all, floor);
  text += floor_row("packing into " + usable, floor.packed, floor);
  for (const Outcome& outcome : outcomes) text += row(outcome, floor);
  for (const Skipped& one : skipped) text += "SKIPPED: " + one.name + ": " + one.why + "\n";
  return text;
}

json to_json(const Floor& floor, const std::vector<Outcome>& outcomes, const std::vector<Skipped>& skipped) {
  json runs = json::array();
  for (const Outcome& outcome : outcomes) {
    runs.push_back({{"name", outcome.name},
                    {"seconds", outcome.seconds},
                    {"ratio", outcome.seconds / floor.packed},
                    {"ratioToBare", outcome.seconds / floor.bare},
                    {"ratioToWhole", outcome.seconds / floor.packed_all},
                    {"undone", outcome.undone},
                    {"killed", outcome.killed},
                    {"restarts", outcome.restarts},
                    {"mostBytes", outcome.most.count}});
  }
  json left_out = json::array();
  for (const Skipped& one : skipped) left_out.push_back({{"name", one.name}, {"why", one.why}});
  return {{"tasks", floor.tasks},
          {"leaks", floor.leaks},
          {"budgetBytes", floor.budget.count},
          {"usableBytes", floor.usable.count},
          {"packing",
           {{"rule", floor.rule},
            {"seconds", floor.packed},
            {"wholeBudgetSeconds", floor.packed_all},
            {"leastPossibleSeconds", floor.least},
            {"bareSeconds", floor.bare}}},
          {"runs", runs},
          {"skipped", left_out}};
}

}  // namespace kurultai::bench
