#include "tools/kurultai/top/screen.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <tuple>

#include "protocol/words.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using Look = ScreenLine::Look;

constexpr std::size_t widest_bar = 60;
constexpr std::size_t wanted_events = 8;  // of a list that the others leave no more room for

/// The cell of `columns` in which a part of the whole ends.
std::size_t cell_of(double ratio, std::size_t columns) {
  const double cell = std::clamp(ratio, 0.0, 1.0) * static_cast<double>(columns);
  return std::min(columns - 1, static_cast<std::size_t>(cell));
}

Look look_of(Tone tone) {
  switch (tone) {
    case Tone::plain:
      return Look::plain;
    case Tone::good:
      return Look::good;
    case Tone::notice:
      return Look::notice;
    case Tone::bad:
      return Look::bad;
    case Tone::detail:
      return Look::detail;
  }
  return Look::plain;
}

std::string with_commas(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

double use_of_budget(const TopState& state) {
  if (state.budget.count <= 0) return 0;
  return static_cast<double>(state.used.count) / static_cast<double>(state.budget.count);
}

ScreenLine title_line(const TopState& state, const TopView& view) {
  std::string text = "kurultai  " + clock_text(view.now, view.now).substr(0, 8) + "  up " + brief(state.up) +
                     "  " + state.status + "  " + state.guarantee;
  if (state.draining) text += "  draining";
  if (view.paused) text += "  PAUSED";
  if (!state.troubles.empty()) text += "  " + with_commas(state.troubles);
  return {text, state.troubles.empty() ? Look::heading : Look::bad};
}

/// Full: somebody is refused, or worse.
Look memory_look(const TopState& state) {
  const auto is_over = [&state](std::string_view name) {
    return std::ranges::find(state.over, name) != state.over.end();
  };
  if (is_over("reject") || is_over("kill")) return Look::bad;
  return state.over.empty() ? Look::good : Look::notice;
}

/// `70` under its mark, and so on; one that would touch its neighbour is left out.
std::string mark_numbers(const std::vector<TopMark>& marks, std::size_t columns) {
  std::string out;
  for (const TopMark& mark : marks) {
    const std::size_t cell = cell_of(mark.at, columns);
    if (!out.empty() && cell < out.size() + 1) continue;
    out.resize(cell, ' ');
    out += std::to_string(std::lround(mark.at * 100));
  }
  return out;
}

std::string shares_text(const TopState& state) {
  std::string text = "workers " + brief(state.workers_used) + ", supervisor " + brief(state.supervisor);
  return state.swap.count > 0 ? text + ", swap " + brief(state.swap) : text;
}

/// The bar with the figures behind it, and below the marks' numbers and whose memory it is. The bar has what
/// is left of the line; where that would be too little it is left out, and before it what it is made of.
void append_memory(const TopState& state, const TopView& view, std::vector<ScreenLine>& lines) {
  constexpr std::size_t frame = std::string_view("Memory [] ").size();
  constexpr std::size_t narrowest_bar = 20;
  const std::string figures =
      brief(state.used) + " of " + brief(state.budget) + ", " + percent(use_of_budget(state));
  std::string shares = shares_text(state);
  const auto room_beside = [&view](std::size_t text) {
    return view.columns > frame + text ? std::min(widest_bar, view.columns - frame - text) : 0;
  };
  std::size_t bar = room_beside(std::max(width(figures), width(shares)));
  if (bar < narrowest_bar) bar = room_beside(width(figures)), shares.clear();
  if (bar < narrowest_bar) return lines.push_back({"Memory " + figures, memory_look(state)});
  lines.push_back(
      {"Memory [" + memory_bar(use_of_budget(state), state.marks, bar) + "] " + figures, memory_look(state)});
  std::string below = std::string(frame - 2, ' ') + mark_numbers(state.marks, bar);
  below.resize(std::max(below.size() + 1, frame + bar), ' ');
  lines.push_back({below + shares, Look::detail});
}

ScreenLine queue_line(const TopState& state) {
  std::string text = "Queue  " + std::to_string(state.waiting) + " of " + std::to_string(state.most_waiting);
  if (state.returned > 0) text += " and " + std::to_string(state.returned) + " sent back";
  std::string gap = ": ";
  for (const TopLevel& level : state.levels) {
    text += gap + level.priority + " " + std::to_string(level.waiting) + "/" + std::to_string(level.limit);
    gap = ", ";
  }
  return {text, state.waiting > 0 && state.waiting >= state.most_waiting ? Look::notice : Look::plain};
}

std::string age_of(const std::optional<WallTime>& since, WallTime now) {
  return since ? brief(std::max(Duration(0), std::chrono::duration_cast<Duration>(now - *since))) : "";
}

/// Lines of a table, without the newlines.
std::vector<std::string> lines_of(const Table& table) {
  std::vector<std::string> lines;
  const std::string text = table.text();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

int rank_of(const std::string& priority) {
  const auto known = parse_priority(priority);
  return known ? static_cast<int>(*known) : static_cast<int>(priority_count);
}

/// The row that comes first is less. One without a start is the youngest.
template <typename Row>
void sort_rows(std::vector<Row>& rows, TopOrder order, auto rank) {
  std::ranges::stable_sort(rows, [&](const Row& a, const Row& b) {
    const auto key = [&](const Row& row) {
      const auto age = row.started.value_or(WallTime::max());
      switch (order) {
        case TopOrder::memory:
          break;
        case TopOrder::priority:
          return std::tuple(rank(row), -row.memory.count, age);
        case TopOrder::age:
          return std::tuple(0, std::int64_t{0}, age);
      }
      return std::tuple(0, -row.memory.count, age);
    };
    return key(a) < key(b);
  });
}

std::vector<std::string> worker_lines(const TopState& state, const TopView& view) {
  std::vector<TopWorker> workers = state.workers;
  sort_rows(workers, view.order, [](const TopWorker&) { return 0; });
  Table table({{"WORKER"},
               {"MEMORY", Align::right},
               {"LIMIT", Align::right},
               {"USED", Align::right},
               {"AGE", Align::right},
               {"STATE"},
               {"LEAK"},
               {"AGENT"}});
  for (const TopWorker& worker : workers) {
    const bool has_limit = worker.limit.count > 0;
    const double used =
        has_limit ? static_cast<double>(worker.memory.count) / static_cast<double>(worker.limit.count) : 0;
    table.add({worker.id, brief(worker.memory), has_limit ? brief(worker.limit) : "",
               has_limit ? percent(used) : "", age_of(worker.started, view.now), worker.state,
               worker.leak == "none" ? "" : worker.leak, worker.agent});
  }
  return lines_of(table);
}

std::vector<std::string> task_lines(const TopState& state, const TopView& view) {
  std::vector<TopTask> tasks = state.tasks;
  sort_rows(tasks, view.order, [](const TopTask& task) { return rank_of(task.priority); });
  Table table({{"TASK"},
               {"PRIORITY"},
               {"MEMORY", Align::right},
               {"AGE", Align::right},
               {"DONE", Align::right},
               {"STATE"},
               {"AGENT"},
               {"MESSAGE"}});
  for (const TopTask& task : tasks) {
    table.add({task.id, task.priority, brief(task.memory), age_of(task.started, view.now),
               task.progress ? percent(*task.progress / 100) : "", task.state, task.agent, task.message});
  }
  return lines_of(table);
}

/// The heading and so many rows below it; the last one counts those that are left out.
void append_list(const std::vector<std::string>& list, std::size_t rows, std::vector<ScreenLine>& lines) {
  if (rows < 2) return;
  for (std::size_t i = 0; i < std::min(rows, list.size()); ++i) {
    const bool is_last = i + 1 == rows && list.size() > rows;
    const std::string text = is_last ? "… and " + std::to_string(list.size() - i) + " more" : list[i];
    lines.push_back({text, i == 0 ? Look::heading : is_last ? Look::detail : Look::plain});
  }
}

void append_events(const std::vector<TopEvent>& events, std::size_t rows, std::vector<ScreenLine>& lines) {
  if (rows < 2) return;
  lines.push_back({"EVENTS", Look::heading});
  const std::size_t shown = std::min(rows - 1, events.size());
  for (std::size_t i = events.size() - shown; i < events.size(); ++i)
    lines.push_back({events[i].text, look_of(events[i].tone)});
}

}  // namespace

std::string_view to_string(TopOrder order) {
  static constexpr std::array<std::string_view, 3> names = {"memory", "priority", "age"};
  return names.at(static_cast<std::size_t>(order));
}

TopOrder next(TopOrder order) { return static_cast<TopOrder>((static_cast<std::size_t>(order) + 1) % 3); }

std::string memory_bar(double ratio, const std::vector<TopMark>& marks, std::size_t columns) {
  if (columns == 0) return "";
  std::string cells(columns, '.');
  const auto filled =
      static_cast<std::size_t>(std::lround(std::clamp(ratio, 0.0, 1.0) * static_cast<double>(columns)));
  std::fill_n(cells.begin(), filled, '#');
  for (const TopMark& mark : marks) cells[cell_of(mark.at, columns)] = '|';
  return cells;
}

std::vector<std::size_t> share_rows(std::vector<std::size_t> wanted, std::size_t available) {
  std::size_t sum = std::accumulate(wanted.begin(), wanted.end(), std::size_t{0});
  for (; sum > available; --sum) *std::ranges::max_element(wanted) -= 1;
  return wanted;
}

std::vector<ScreenLine> draw_top(const TopState& state, const std::vector<TopEvent>& events,
                                 const TopView& view) {
  std::vector<ScreenLine> lines = {title_line(state, view)};
  append_memory(state, view, lines);
  lines.push_back(queue_line(state));
  const auto tasks = task_lines(state, view), workers = worker_lines(state, view);
  // An empty line before each list, and the last one for the keys.
  const std::size_t taken = lines.size() + 3 + (view.keys ? 1 : 0);
  const std::size_t left = view.rows > taken ? view.rows - taken : 0;
  const auto rows =
      share_rows({tasks.size(), workers.size(), 1 + std::min(events.size(), wanted_events)}, left);
  const auto append = [&lines](const auto& append_it) {
    const std::size_t before = lines.size();
    lines.push_back({"", Look::plain});
    append_it();
    if (lines.size() == before + 1) lines.pop_back();
  };
  append([&] { append_list(tasks, rows[0], lines); });
  append([&] { append_list(workers, rows[1], lines); });
  const std::size_t spare = left - rows[0] - rows[1];
  append([&] { append_events(events, std::max(rows[2], std::min(spare, events.size() + 1)), lines); });
  if (view.keys) {
    lines.resize(std::min(lines.size(), view.rows > 0 ? view.rows - 1 : 0));
    if (view.rows > 4) lines.resize(view.rows - 1);
    lines.push_back({"q quit   s sort: " + std::string(to_string(view.order)) + "   p " +
                         (view.paused ? "go on" : "pause"),
                     Look::detail});
  }
  lines.resize(std::min(lines.size(), view.rows));
  for (ScreenLine& line : lines) line.text = view.columns == 0 ? "" : shorten(line.text, view.columns);
  return lines;
}

}  // namespace kurultai
