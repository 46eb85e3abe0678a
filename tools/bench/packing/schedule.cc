#include "tools/bench/packing/schedule.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <queue>
#include <tuple>
#include <utility>

#include "tools/bench/child.h"

namespace kurultai::bench {

namespace {

using Order = std::vector<std::size_t>;

double seconds_of(const PackedTask& task) { return std::chrono::duration<double>(task.time).count(); }
double area_of(const PackedTask& task) { return task.mib * seconds_of(task); }

/// Which of the waiting start in so much free memory, together.
using NextTask = std::function<Order(const Order& waiting, int free_mib)>;

/// All that fit, in the order in which they wait.
Order those_that_fit(std::span<const PackedTask> tasks, const Order& waiting, int free_mib) {
  Order chosen;
  for (const std::size_t task : waiting) {
    if (tasks[task].mib > free_mib) continue;
    free_mib -= tasks[task].mib;
    chosen.push_back(task);
  }
  return chosen;
}

/// Those that together leave the least memory free; of such, those that come first.
Order those_that_fill(std::span<const PackedTask> tasks, const Order& waiting, int free_mib) {
  static constexpr std::size_t none = SIZE_MAX;
  // By sum: the place in `waiting` of the last task that reaches it.
  std::vector<std::size_t> last(static_cast<std::size_t>(free_mib) + 1, none);
  last[0] = waiting.size();
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    const auto size = static_cast<std::size_t>(tasks[waiting[i]].mib);
    for (std::size_t sum = last.size(); sum-- > size;) {
      if (last[sum] == none && last[sum - size] != none) last[sum] = i;
    }
  }
  std::size_t sum = last.size() - 1;
  while (last[sum] == none) --sum;
  Order chosen;
  for (; sum > 0; sum -= static_cast<std::size_t>(tasks[chosen.back()].mib))
    chosen.push_back(waiting[last[sum]]);
  return chosen;
}

Packing play(std::span<const PackedTask> tasks, int capacity_mib, Order waiting, const NextTask& choose) {
  using End = std::pair<double, std::size_t>;
  std::priority_queue<End, std::vector<End>, std::greater<>> running;
  Packing packing;
  for (double now = 0; !waiting.empty() || !running.empty();) {
    for (const std::size_t task : choose(waiting, capacity_mib)) {
      capacity_mib -= tasks[task].mib;
      running.emplace(now + seconds_of(tasks[task]), task);
      packing.order.push_back(task);
      std::erase(waiting, task);
    }
    if (running.empty()) give_up("a task is larger than what is to be packed");
    now = packing.seconds = running.top().first;
    for (; !running.empty() && running.top().first <= now; running.pop())
      capacity_mib += tasks[running.top().second].mib;
  }
  return packing;
}

}  // namespace

Packing pack(std::span<const PackedTask> tasks, int capacity_mib) {
  Order arrival(tasks.size());
  std::iota(arrival.begin(), arrival.end(), std::size_t{0});
  const auto by = [&](auto measure) {
    Order order = arrival;
    std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t task) { return measure(tasks[task]); });
    return order;
  };
  const Order longest = by(seconds_of);
  const NextTask fit = [&](const Order& waiting, int free) { return those_that_fit(tasks, waiting, free); };
  const NextTask fill = [&](const Order& waiting, int free) { return those_that_fill(tasks, waiting, free); };
  const std::array<std::tuple<const char*, Order, NextTask>, 5> rules = {{
      {"arrival, with backfill", arrival, fit},
      {"longest first", longest, fit},
      {"largest first", by([](const PackedTask& task) { return task.mib; }), fit},
      {"largest times longest first", by(area_of), fit},
      {"fullest, of those the longest", longest, fill},
  }};
  Packing best;
  for (const auto& [name, order, choice] : rules) {
    Packing packing = play(tasks, capacity_mib, order, choice);
    packing.rule = name;
    if (best.order.empty() || packing.seconds < best.seconds) best = std::move(packing);
  }
  return best;
}

double least_possible(std::span<const PackedTask> tasks, int capacity_mib) {
  double area = 0;
  double longest = 0;
  for (const PackedTask& task : tasks) {
    area += area_of(task);
    longest = std::max(longest, seconds_of(task));
  }
  return std::max(area / capacity_mib, longest);
}

}  // namespace kurultai::bench
