#include "governance/wait_estimate.h"

#include <algorithm>
#include <cmath>

namespace kurultai {
namespace {

constexpr int averaged = 8;
constexpr double memory_ms = 10.0 * 60 * 1000;  // after a pause of this length the old mean counts for 1/e
constexpr Duration longest_doubling{60000};
constexpr double longest_s = 3600;
constexpr std::size_t fewest_promises = 16;
constexpr double crowd_ms = 500;

double ms(Duration duration) { return static_cast<double>(duration.count()); }

double ms(TimePoint::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double rounds(std::size_t tasks, const Turns::Line& line) {
  return static_cast<double>(tasks) / static_cast<double>(std::max<std::size_t>(line.parallel, 1));
}

}  // namespace

void ServiceTime::finished(Duration service, TimePoint now) {
  const double took = std::max(0.0, ms(service));
  const double pause = count_ == 0 ? 0 : std::max(0.0, ms(now - last_) - took);
  count_ = std::min(count_ + 1, averaged);
  mean_ms_ += (took - mean_ms_) * std::max(1.0 / count_, 1 - std::exp(-pause / memory_ms));
  last_ = now;
}

Duration ServiceTime::expected(Duration youngest) const {
  if (count_ == 0) return 2 * std::max(youngest, Duration(0));
  const double limited = std::min(mean_ms_, longest_s * 1000);
  return std::max(Duration(std::llround(limited)), youngest);
}

void Spells::began(TimePoint now) { since_ = now; }

void Spells::ended(TimePoint now) {
  if (!since_) return;
  lengths_.finished(std::chrono::duration_cast<Duration>(now - *since_), now);
  any_ = true;
  since_.reset();
}

Duration Spells::left(Duration guess, TimePoint now) const {
  if (!since_) return Duration(0);
  const Duration expected = any_ ? lengths_.expected(Duration(0)) : guess;
  const auto lasted = std::max(std::chrono::ceil<Duration>(now - *since_), Duration(0));
  return lasted < expected ? expected - lasted : std::min(lasted, std::max(expected, longest_doubling));
}

std::size_t Turns::most_promises(const Line& line) { return std::max(fewest_promises, 4 * line.places); }

std::chrono::seconds Turns::expected(const Line& line, Priority priority, TimePoint now) const {
  const auto before = static_cast<std::size_t>(std::ranges::count_if(
      promises_, [&](const Promise& one) { return one.at > now && one.priority <= priority; }));
  const bool finds_room = before < line.free;
  const std::size_t tasks = finds_room ? 0 : line.ahead + (before - line.free) + 1;
  const double wait_s = (ms(line.closed) + rounds(tasks, line) * ms(line.service)) / 1000;
  double answer = std::clamp(std::ceil(wait_s), 1.0, longest_s);
  // Answers are whole seconds, so many short tasks fall on one: no more than the queue holds. While it
  // empties once, others may come.
  const std::size_t places = std::max<std::size_t>(line.places, 1);
  const double together = std::min(crowd_ms, rounds(places, line) * ms(line.service));
  const auto is_crowded = [&] {
    const auto others = std::ranges::count_if(promises_, [&](const Promise& one) {
      return one.at > now && std::abs(ms(one.at - now) - answer * 1000) <= together;
    });
    return static_cast<std::size_t>(others) >= places;
  };
  while (answer < longest_s && is_crowded()) answer += 1;
  return std::chrono::seconds(static_cast<int>(answer));
}

std::chrono::seconds Turns::promise(const Line& line, Priority priority, TimePoint now) {
  std::erase_if(promises_, [&](const Promise& one) { return one.at <= now; });
  const auto answer = expected(line, priority, now);
  const auto same = std::ranges::count(promises_, priority, &Promise::priority);
  if (static_cast<std::size_t>(same) < most_promises(line)) promises_.push_back({priority, now + answer});
  return answer;
}

}  // namespace kurultai
