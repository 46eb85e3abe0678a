#include "tools/soak/outcome.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tools/kurultai/text.h"

namespace kurultai::soak {
namespace {

// Until then history and events fill the room that they have, and a page in five minutes would be 48 KiB an
// hour.
constexpr double shortest_judged_seconds = 1800;

// What is surely no more than this over all the time that was judged is no leak: pages that are touched for
// the first time late. A supervisor with two tasks a minute was seen to take 68 KiB that way in 45 minutes,
// with the same heap.
constexpr double negligible_bytes = 256.0 * 1024;

std::string size_text(double bytes) { return brief(Bytes{std::llround(bytes)}); }

std::string milliseconds_text(double value) { return brief(Duration(std::llround(value))); }

std::uint64_t sum_of(const std::map<std::string, std::uint64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& entry) { return sum + entry.second; });
}

Judgement judged(bool is_good) { return is_good ? Judgement::passed : Judgement::failed; }

class Bench {
 public:
  void at_most(std::string name, std::uint64_t found, std::int64_t most) {
    criteria_.push_back({std::move(name), std::to_string(found),
                         most == 0 ? "0" : "at most " + std::to_string(most),
                         judged(found <= static_cast<std::uint64_t>(most))});
  }

  void at_least(std::string name, std::uint64_t found, const std::optional<std::int64_t>& fewest) {
    criteria_.push_back({std::move(name), std::to_string(found),
                         fewest ? "at least " + std::to_string(*fewest) : "",
                         fewest ? judged(found >= static_cast<std::uint64_t>(*fewest)) : Judgement::shown});
  }

  void memory(std::string name, const Reservoir& found, const std::optional<Bytes>& most) {
    criteria_.push_back({std::move(name),
                         "p50 " + size_text(found.percentile(0.5)) + ", p95 " +
                             size_text(found.percentile(0.95)) + ", p99 " +
                             size_text(found.percentile(0.99)) + ", max " + size_text(found.most()),
                         most ? "max " + brief(*most) : "",
                         most ? judged(found.most() <= static_cast<double>(most->count)) : Judgement::shown});
  }

  void latency(std::string name, const Reservoir& found, const std::optional<Duration>& most) {
    const double p99 = found.percentile(0.99);
    criteria_.push_back({std::move(name),
                         found.count() == 0
                             ? "none"
                             : "p50 " + milliseconds_text(found.percentile(0.5)) + ", p95 " +
                                   milliseconds_text(found.percentile(0.95)) + ", p99 " +
                                   milliseconds_text(p99) + ", max " + milliseconds_text(found.most()),
                         most ? "p99 " + brief(*most) : "",
                         most ? judged(p99 <= static_cast<double>(most->count())) : Judgement::shown});
  }

  void count(std::string name, const Count& found, std::int64_t more) {
    criteria_.push_back({std::move(name),
                         std::to_string(found.before) + " before, " + std::to_string(found.after) + " after",
                         more == 0 ? "no more" : "at most " + std::to_string(more) + " more",
                         judged(found.after - found.before <= more)});
  }

  void add(Criterion criterion) { criteria_.push_back(std::move(criterion)); }
  std::vector<Criterion> take() { return std::move(criteria_); }

 private:
  std::vector<Criterion> criteria_;
};

Criterion growth(const Outcome& outcome, const std::optional<Bytes>& most) {
  const LeakSlope& slope = outcome.slope;
  Criterion found{.name = "supervisor growth", .found = "too short to tell", .wanted = {}};
  if (slope.seconds > 0)
    found.found = size_text(slope.per_hour) + "/h, 95 % within " + size_text(slope.low) + "/h to " +
                  size_text(slope.high) + "/h, over " + brief(Duration(std::llround(slope.seconds * 1000)));
  if (!most) return found;
  found.wanted = "max " + brief(*most) + "/h, 0 within";
  if (slope.seconds < shortest_judged_seconds) {
    found.note = "judged from 30 minutes on";
    return found;
  }
  const bool is_certain = slope.low > 0 && slope.high * slope.seconds / 3600 > negligible_bytes;
  found.judgement = judged(!is_certain && slope.per_hour <= static_cast<double>(most->count));
  return found;
}

Criterion refusals(const Outcome& outcome, const Criteria& wanted) {
  const double share = outcome.submitted == 0
                           ? 0
                           : static_cast<double>(outcome.refused()) / static_cast<double>(outcome.submitted);
  Criterion found{.name = "refused",
                  .found = std::to_string(outcome.refused()) + " of " + std::to_string(outcome.submitted),
                  .wanted = {}};
  for (const auto& [code, count] : outcome.refusals) found.found += ", " + std::to_string(count) + " " + code;
  if (wanted.refused_most) {
    found.wanted = "at most " + percent(*wanted.refused_most);
    found.judgement = judged(share <= *wanted.refused_most);
  }
  if (wanted.refused_fewest) {
    found.wanted += (found.wanted.empty() ? "" : ", ") + std::string("at least ") +
                    std::to_string(*wanted.refused_fewest);
    if (found.judgement != Judgement::failed)
      found.judgement = judged(outcome.refused() >= static_cast<std::uint64_t>(*wanted.refused_fewest));
  }
  return found;
}

Criterion recovery(const Outcome& outcome, const std::optional<Duration>& most) {
  Criterion found{.name = "recovered in", .found = "never", .wanted = most ? "max " + brief(*most) : ""};
  if (outcome.recovery_seconds) found.found = milliseconds_text(*outcome.recovery_seconds * 1000);
  if (!most) return found;
  if (outcome.seconds + 1 < outcome.planned && !outcome.recovery_seconds) {
    found.found = "not tried";
    return found;
  }
  found.judgement = judged(outcome.recovery_seconds &&
                           *outcome.recovery_seconds * 1000 <= static_cast<double>(most->count()));
  return found;
}

}  // namespace

std::uint64_t Outcome::refused() const { return sum_of(refusals); }
std::uint64_t Outcome::rightful_kills() const { return std::max(capped_leak_workers, tasks.capped_leaks); }
std::uint64_t Outcome::wrongful_kills() const {
  return std::max(capped_other_workers, tasks.capped_others) + kernel_kills;
}
std::uint64_t Outcome::unexpected_count() const { return sum_of(unexpected); }

std::vector<Criterion> judge(const Outcome& outcome, const Criteria& wanted) {
  Bench bench;
  bench.memory("memory of the tree", outcome.memory.tree(), wanted.tree_max);
  bench.memory("memory of the supervisor", outcome.memory.supervisor(), wanted.supervisor_max);
  bench.add(growth(outcome, wanted.growth_per_hour));
  bench.latency("due to answered", outcome.answers_ms, wanted.answer_p99);
  bench.latency("due to started", outcome.starts_ms, wanted.start_p99);
  bench.latency("due to completed", outcome.ends_ms, std::nullopt);
  bench.add(refusals(outcome, wanted));
  bench.at_most("tasks lost", outcome.tasks.lost, wanted.lost);
  bench.at_most("tasks duplicated", outcome.tasks.duplicated, wanted.duplicated);
  bench.at_most("tasks failed without cause", outcome.tasks.failed, wanted.failed);
  bench.at_least("OOM kills, over their own cap", outcome.rightful_kills(), wanted.rightful_fewest);
  bench.at_most("OOM kills, wrongful", outcome.wrongful_kills(), wanted.wrongful_kills);
  bench.at_most("unexpected answers", outcome.unexpected_count(), wanted.unexpected);
  bench.at_most("supervisor's own deaths", outcome.deaths, 0);
  bench.at_most("arrivals not submitted", outcome.overrun, 0);
  bench.add(recovery(outcome, wanted.recovery));
  bench.count("supervisor's descriptors", outcome.fds, wanted.fds);
  bench.count("groups of workers", outcome.groups, wanted.groups);
  bench.at_most("left behind at the end", static_cast<std::uint64_t>(outcome.left_behind),
                wanted.left_behind);
  return bench.take();
}

bool has_passed(const std::vector<Criterion>& criteria) {
  return std::ranges::none_of(criteria,
                              [](const Criterion& one) { return one.judgement == Judgement::failed; });
}

}  // namespace kurultai::soak
