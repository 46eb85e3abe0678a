#include <algorithm>
#include <array>

#include "tools/kurultai/chart.h"
#include "tools/kurultai/replay_report.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/text.h"

namespace kurultai {

namespace {

constexpr std::size_t chart_width = 72;
constexpr std::size_t chart_height = 10;
constexpr std::size_t most_shown = 20;
constexpr std::array<const char*, threshold_count> threshold_names = {"skip_heartbeats", "preempt", "reject",
                                                                      "kill"};
constexpr std::array<char, deed_kinds> marks = {'i', 's', 'p', 'r', 'k'};

/// One column of the table: life, or a policy.
struct Told {
  std::string title;
  const PolicyTally* tally;
  const PolicyRules* rules;
};

std::string brief_time(TimePoint::duration time) { return brief(std::chrono::duration_cast<Duration>(time)); }

std::string brief_time(TimePoint at) { return brief_time(at.time_since_epoch()); }

std::string title_of(const TriedPolicy& policy) {
  return policy.name.empty() ? "REPLAYED" : printable(policy.name);
}

std::vector<Told> columns_of(const ReplayReport& report) {
  std::vector<Told> told = {{"AS IT WAS", &report.life.tally(), &report.life.rules()}};
  for (const TriedPolicy& policy : report.policies)
    told.push_back({title_of(policy), &policy.replay.tally(), &policy.replay.rules()});
  return told;
}

std::string lines_text(const Thresholds& thresholds) {
  std::string text;
  for (const double ratio : thresholds.ratio) {
    const std::string share = percent(ratio);
    text += (text.empty() ? "" : "/") + share.substr(0, share.find(' '));
  }
  return text + " %";
}

std::string over_text(const PolicyTally& tally, std::size_t threshold) {
  const std::uint64_t times = tally.crossed_up.at(threshold);
  if (times == 0) return "0";
  return std::to_string(times) + ", " + brief_time(tally.over.at(threshold));
}

std::string table_text(const std::vector<Told>& told) {
  std::vector<Column> titles = {{""}};
  for (const Told& one : told) titles.push_back({one.title, Align::right});
  Table table(titles);
  const auto row = [&](const std::string& name, const auto& cell) {
    std::vector<std::string> cells = {name};
    for (const Told& one : told) cells.push_back(cell(one));
    table.add(std::move(cells));
  };
  const auto count = [&](const std::string& name, const auto& figure) {
    row(name, [&](const Told& one) { return std::to_string(figure(*one.tally)); });
  };
  row("budget", [](const Told& one) { return brief(one.rules->budget); });
  row("thresholds", [](const Told& one) { return lines_text(one.rules->thresholds); });
  row("most used", [](const Told& one) {
    return brief(one.tally->peak_used) + " (" + percent(one.tally->peak_ratio) + ")";
  });
  for (std::size_t i = 0; i < threshold_count; ++i) {
    row(std::string("over ") + threshold_names.at(i) + ": times, for",
        [i](const Told& one) { return over_text(*one.tally, i); });
  }
  count("idle workers ended", [](const PolicyTally& tally) { return tally.count(DeedKind::end_idle); });
  count("suspended", [](const PolicyTally& tally) { return tally.count(DeedKind::suspend); });
  count("preempted", [](const PolicyTally& tally) { return tally.count(DeedKind::preempt); });
  count("preempted for another's room", [](const PolicyTally& tally) { return tally.count(DeedKind::room); });
  count("killed", [](const PolicyTally& tally) { return tally.count(DeedKind::kill); });
  count("accepted", [](const PolicyTally& tally) { return tally.accepted; });
  count("refused for memory", [](const PolicyTally& tally) { return tally.refused_for_memory; });
  count("refused, queue full", [](const PolicyTally& tally) { return tally.refused_for_queue; });
  count("heartbeats held back", [](const PolicyTally& tally) { return tally.heartbeats_held; });
  count("heartbeats evicted", [](const PolicyTally& tally) { return tally.evicted; });
  count("started", [](const PolicyTally& tally) { return tally.starts; });
  count("  held: above preempt", [](const PolicyTally& tally) { return tally.starts_held_by_pressure; });
  count("  held: no room", [](const PolicyTally& tally) { return tally.starts_without_room; });
  return table.text();
}

/// Under each column what was done in its time; `*` where that was more than one thing.
std::string marks_text(const PolicyTally& tally) {
  std::string text(chart_width, ' ');
  const auto length = std::max<TimePoint::duration>(tally.profile.length(), TimePoint::duration(1));
  for (const Deed& deed : tally.first_deeds) {
    const double share =
        static_cast<double>(deed.at.time_since_epoch().count()) / static_cast<double>(length.count());
    const auto column = std::min(static_cast<std::size_t>(share * chart_width), chart_width - 1);
    const char mark = marks.at(static_cast<std::size_t>(deed.kind));
    text[column] = text[column] == ' ' || text[column] == mark ? mark : '*';
  }
  return text.find_first_not_of(' ') == std::string::npos ? "" : "   " + text + "\n";
}

std::string chart_text(const Told& told) {
  const double budget = static_cast<double>(told.rules->budget.count);
  Chart chart{{}, std::max(budget, static_cast<double>(told.tally->peak_used.count)), {}};
  for (const Bytes used : told.tally->profile.columns(chart_width))
    chart.columns.push_back(static_cast<double>(used.count));
  for (std::size_t i = 0; i < threshold_count; ++i)
    chart.lines.emplace_back(told.rules->thresholds.ratio.at(i) * budget, threshold_names.at(i));
  const std::string length = brief_time(told.tally->profile.length());
  std::string text = told.title + ": memory up to " + brief(Bytes{static_cast<std::int64_t>(chart.top)}) +
                     " over " + length + "\n";
  return text + draw(chart, chart_height) + marks_text(*told.tally);
}

std::string deed_text(DeedKind kind) {
  return kind == DeedKind::room ? "preempt (room)" : std::string(to_string(kind));
}

std::string deeds_text(const PolicyTally& tally) {
  Table table({{"AFTER", Align::right},
               {"WHAT"},
               {"TASK"},
               {"AGENT"},
               {"PRIORITY"},
               {"MEMORY", Align::right},
               {"AT", Align::right}});
  for (const Deed& deed : tally.first_deeds) {
    const bool names_one = !deed.task_id.empty();
    table.add({brief_time(deed.at), deed_text(deed.kind), printable(deed.task_id), printable(deed.agent),
               names_one ? std::string(to_string(deed.priority)) : "", brief(deed.memory),
               percent(deed.ratio)});
    if (&deed - tally.first_deeds.data() + 1 == most_shown) break;
  }
  std::uint64_t all = 0;
  for (const std::uint64_t count : tally.deeds) all += count;
  const std::string more =
      all > most_shown ? "… and " + std::to_string(all - most_shown) + " more\n" : std::string();
  return table.text() + more;
}

/// Nothing where a policy decided as life did.
std::string policy_text(const TriedPolicy& policy, const Told& told) {
  const auto difference = policy.replay.first_difference();
  if (!difference) return told.title + ": decided as it was, the same at every reading.\n";
  std::string text = told.title + ": decided otherwise for the first time after " + brief_time(*difference) +
                     ".\n\n" + chart_text(told);
  if (told.tally->first_deeds.empty()) return text + "Nobody would have had to give way.\n";
  return text + deeds_text(*told.tally);
}

std::string heading(const ReplayReport& report) {
  const LifeTally& life = report.life;
  std::string text = printable(report.file) + ": " + brief_time(life.last()) + " from " +
                     printable(report.header.started_at) + ", " + printable(report.header.guarantee) + ", " +
                     std::to_string(life.readings()) + " readings, at most " +
                     brief_time(life.longest_gap()) + " apart\n";
  if (life.dropped() > 0) {
    text += std::to_string(life.dropped()) +
            " records are missing, since the disk was slow or full: what waited and ran then is not known\n";
  }
  if (life.closed().empty()) text += "its end is missing: the supervisor was killed, or records still\n";
  if (life.closed() == "limit") text += "it ends where its file had reached --record-limit\n";
  if (!life.rules().governs) text += "FF_MEMORY_GOVERNANCE was false: what was decided was not done\n";
  return text;
}

}  // namespace

std::string to_text(const ReplayReport& report) {
  const std::vector<Told> told = columns_of(report);
  std::string text = heading(report) + "\n" + table_text(told) + "\n" + chart_text(told.front());
  if (!told.front().tally->first_deeds.empty()) text += deeds_text(*told.front().tally);
  bool any_differs = false;
  for (std::size_t i = 0; i < report.policies.size(); ++i) {
    text += "\n" + policy_text(report.policies[i], told[i + 1]);
    any_differs = any_differs || report.policies[i].replay.first_difference();
  }
  if (any_differs) {
    text +=
        "\nReadings stay those of life, but for tasks that a policy would have ended or refused: these are "
        "not\ncounted from then on. What would have run in their place nobody knows (docs/replay.md).\n";
  }
  return text;
}

}  // namespace kurultai
