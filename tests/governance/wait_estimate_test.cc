#include "governance/wait_estimate.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace kurultai::wait_estimate_test {
namespace {

using namespace std::chrono_literals;

const TimePoint start{1000h};

ServiceTime observed(const std::vector<Duration>& services) {
  ServiceTime time;
  TimePoint now = start;
  for (const Duration service : services) time.finished(service, now += 1ms);
  return time;
}

Turns::Line full_queue(Duration service, std::size_t parallel = 2) {
  return {.ahead = 5, .free = 0, .places = 5, .parallel = parallel, .service = service};
}

std::chrono::seconds answer(const Turns::Line& line) {
  return Turns().expected(line, Priority::normal, start);
}

TEST_CASE("the service time is a mean of the last eight, and at least the age of the newest run") {
  const struct {
    std::vector<Duration> services;
    Duration youngest;
    Duration expected;
  } table[] = {
      {{}, 0ms, 0ms},
      {{}, 3s, 6s},  // nothing observed: it may be half way
      {{}, -3s, 0ms},
      {{10s}, 0ms, 10s},
      {{10s}, 9s, 10s},
      {{10s}, 60s, 60s},  // even the newest takes longer than was ever observed
      {{8s, 16s}, 0ms, 12s},
      {{0ms}, 0ms, 0ms},
      {{-5s}, 0ms, 0ms},
      {{Duration::max()}, 0ms, 1h},
      {{1s, 1s, 1s, 1s, 1s, 1s, 1s, 9s}, 0ms, 2s},
      {{1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 9s}, 0ms, 2s},
  };
  for (const auto& row : table) {
    CAPTURE(row.services.size());
    CAPTURE(row.youngest.count());
    CHECK(observed(row.services).expected(row.youngest) == row.expected);
  }
}

TEST_CASE("what was observed before a long pause counts for little, before a long task as usual") {
  ServiceTime paused = observed(std::vector<Duration>(8, 100s));
  ServiceTime busy = paused;
  CHECK(paused.expected(0ms) == 100s);  // and is still the best that is known
  paused.finished(2s, start + 2h);
  CHECK(paused.expected(0ms) < 3s);
  busy.finished(2h, start + 2h);
  CHECK(busy.expected(0ms) == 987500ms);
}

TEST_CASE("the answer follows from those ahead, the service time and how many run, in whole seconds") {
  const struct {
    Turns::Line line;
    std::chrono::seconds answer;
  } table[] = {
      {full_queue(1s), 3s},
      {full_queue(10s), 30s},
      {full_queue(334ms), 2s},
      {full_queue(333ms), 1s},
      {full_queue(0ms), 1s},
      {full_queue(10s, 1), 60s},
      {full_queue(10s, 0), 60s},  // nothing runs: somebody will
      {{.ahead = 0, .free = 0, .places = 5, .parallel = 1, .service = 10s}, 10s},
      {{.ahead = 50, .free = 0, .places = 50, .parallel = 1, .service = 10s}, 510s},
      {{.ahead = 3, .free = 2, .places = 5, .parallel = 1, .service = 10s}, 1s},
      {{.ahead = 3, .free = 2, .places = 5, .parallel = 1, .service = 10s, .closed = 7s}, 7s},
      {{.ahead = 5, .free = 0, .places = 5, .parallel = 1, .service = 10s, .closed = 7s}, 67s},
      {{.ahead = 5, .free = 0, .places = 0, .parallel = 1, .service = 1s}, 6s},
      {full_queue(1h), 3600s},
      {{.ahead = std::numeric_limits<std::size_t>::max() - 1,
        .free = 0,
        .places = 5,
        .parallel = 1,
        .service = 1h},
       3600s},
  };
  for (const auto& row : table) {
    CAPTURE(row.line.ahead);
    CAPTURE(row.line.service.count());
    CHECK(answer(row.line) == row.answer);
  }
}

TEST_CASE("rates ten times apart give answers at least five times apart") {
  for (Duration service = 150ms; service < 100s; service += 50ms) {  // below, both are a second or two
    CAPTURE(service.count());
    CHECK(answer(full_queue(observed({10 * service}).expected(0ms))) >=
          5 * answer(full_queue(observed({service}).expected(0ms))));
  }
}

TEST_CASE("who is refused later is promised a later turn, until the earlier ones are over") {
  Turns turns;
  const auto line = full_queue(2s);
  CHECK(turns.promise(line, Priority::normal, start) == 6s);
  CHECK(turns.promise(line, Priority::normal, start) == 7s);
  CHECK(turns.expected(line, Priority::normal, start) == 8s);
  CHECK(turns.expected(line, Priority::normal, start) == 8s);  // asking promises nothing
  CHECK(turns.promise(line, Priority::high, start) == 6s);     // the less important ones come after it
  CHECK(turns.promise(line, Priority::low, start) == 9s);
  CHECK(turns.expected(line, Priority::normal, start + 6s) == 7s);
  CHECK(turns.expected(line, Priority::normal, start + 7s) == 6s);
}

TEST_CASE("those who were promised one of the free places leave less of them") {
  Turns turns;
  const Turns::Line line{.ahead = 3, .free = 2, .places = 5, .parallel = 1, .service = 10s, .closed = 3s};
  CHECK(turns.promise(line, Priority::normal, start) == 3s);
  CHECK(turns.promise(line, Priority::normal, start) == 3s);
  CHECK(turns.promise(line, Priority::normal, start) == 43s);
  CHECK(turns.promise(line, Priority::normal, start) == 53s);
}

TEST_CASE("no more than the queue holds are sent to the same second") {
  Turns turns;
  std::vector<int> at(20);
  for (int i = 0; i < 16; ++i)
    at.at(static_cast<std::size_t>(turns.promise(full_queue(1ms), Priority::normal, start).count())) += 1;
  CHECK(at[1] == 5);
  CHECK(at[2] == 5);
  CHECK(at[3] == 5);
  CHECK(at[4] == 1);
}

TEST_CASE("who never waits cannot put off the others without end") {
  Turns turns;
  auto line = full_queue(1s);
  for (const std::size_t places : {std::size_t{5}, std::size_t{50}}) {
    line.places = places;
    std::chrono::seconds last{};
    for (int i = 0; i < 10000; ++i) last = turns.promise(line, Priority::normal, start);
    const auto most = Turns::most_promises(line);
    CHECK(most == 4 * places);
    CHECK(last == std::chrono::seconds((5 + most + 2) / 2));
  }
}

TEST_CASE("a time of pressure is expected to last as long as those before it") {
  Spells spells;
  CHECK(spells.left(9s, start) == 0s);
  spells.ended(start);
  spells.began(start);
  CHECK(spells.left(9s, start) == 9s);  // none before: the guess
  CHECK(spells.left(9s, start + 4s) == 5s);
  CHECK(spells.left(9s, start + 20s) == 20s);  // as long again
  CHECK(spells.left(9s, start + 10min) == 60s);
  CHECK(spells.left(5min, start + 10min) == 5min);
  spells.ended(start + 30s);
  CHECK(spells.left(9s, start + 31s) == 0s);
  spells.began(start + 40s);
  CHECK(spells.left(9s, start + 40s) == 30s);
  CHECK(spells.left(9s, start + 50s) == 20s);
}

struct Spike {
  Duration service;
  Duration apart;     // from one client to the next
  bool known = true;  // how long a task takes was observed before
  bool even = true;   // or some take three times as long as others
};

/// 20 clients that obey, a queue of 5, two workers: how often the unluckiest had to come again.
int most_tries(const Spike& spike) {
  constexpr std::size_t clients = 20;
  ServiceTime time;
  if (spike.known) time.finished(spike.service, start);
  Turns turns;
  std::vector<TimePoint> comes(clients);
  for (std::size_t i = 0; i < clients; ++i) comes[i] = start + i * spike.apart;
  std::vector<int> tries(clients, 0);
  std::vector<std::pair<TimePoint, TimePoint>> running;  // since, until
  std::size_t waiting = 0;
  std::size_t begun = 0;
  const auto service = [&] {
    begun += 1;
    return spike.even ? spike.service : spike.service * static_cast<int>(5 + begun * 7 % 11) / 10;
  };
  for (TimePoint now = start; std::ranges::any_of(comes, [](TimePoint at) { return at != TimePoint::max(); });
       now += 10ms) {
    for (const auto& [since, until] : running) {
      if (until <= now) time.finished(std::chrono::duration_cast<Duration>(until - since), now);
    }
    std::erase_if(running, [&](const auto& run) { return run.second <= now; });
    const auto begin = [&] {
      for (; waiting > 0 && running.size() < 2; --waiting) running.emplace_back(now, now + service());
    };
    begin();
    for (std::size_t i = 0; i < clients; ++i) {
      if (comes[i] > now) continue;
      if (waiting < 5) {
        comes[i] = TimePoint::max();
        waiting += 1;
        begin();
        continue;
      }
      TimePoint youngest = start;
      for (const auto& [since, until] : running) youngest = std::max(youngest, since);
      const auto age = std::chrono::duration_cast<Duration>(now - youngest);
      const Turns::Line line{.ahead = waiting,
                             .free = 0,
                             .places = 5,
                             .parallel = running.size(),
                             .service = time.expected(age)};
      comes[i] = now + turns.promise(line, Priority::normal, now);
      tries[i] += 1;
    }
  }
  return std::ranges::max(tries);
}

TEST_CASE(
    "in a spike of 20 everybody who obeys gets in with the first further try, at the latest the second") {
  for (const Duration service : {10ms, 50ms, 100ms, 200ms, 300ms, 500ms, 700ms, 1000ms, 3000ms, 30000ms}) {
    for (const Duration apart : {0ms, 10ms, 100ms, 500ms}) {
      CAPTURE(service.count());
      CAPTURE(apart.count());
      CHECK(most_tries({service, apart}) <= 1);
      CHECK(most_tries({service, apart, true, false}) <= 2);
      if (service <= 3s) CHECK(most_tries({service, apart, false}) <= 2);
    }
  }
}

}  // namespace
}  // namespace kurultai::wait_estimate_test
