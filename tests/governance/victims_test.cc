#include "governance/victims.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace kurultai::victims_test {
namespace {

using namespace std::chrono_literals;

const TimePoint now{1h};

Candidate candidate(std::string id, Priority priority, std::int64_t mib, double work_lost = 0) {
  Candidate task{.task_id = std::move(id), .priority = priority, .memory = mebibytes(mib)};
  task.work_lost = work_lost;
  return task;
}

Candidate fixed(Candidate task) { return task.preemptable = false, task; }
Candidate shielded(Candidate task) { return task.is_protected = true, task; }
Candidate grown(Candidate task) { return task.outgrown = true, task; }
Candidate preempted(Candidate task) { return task.back_by = now + 5s, task; }
Candidate overdue(Candidate task) { return task.back_by = now - 5s, task; }
Candidate dying(Candidate task) { return task.back_by = now + 1s, task.dying = true, task; }

std::string names(const std::vector<const Candidate*>& tasks) {
  std::string text;
  for (const Candidate* task : tasks) text += (text.empty() ? "" : " ") + task->task_id;
  return text;
}

std::string ranked(const std::vector<Candidate>& tasks, bool kill = true) {
  return names(rank_victims(tasks, kill));
}

std::string chosen(const std::vector<Candidate>& tasks, Bytes need, bool kill = true) {
  return names(choose_victims(tasks, need, kill));
}

TEST_CASE("work lost counts from the last save, more of it the nearer the end, and the start of a worker") {
  const struct {
    Duration ago;
    double progress;
    Duration cold_start;
    double lost;
  } table[] = {
      {0s, 0, 0s, 0},   {10s, 0, 0s, 10},     {10s, 0.5, 0s, 15},  {10s, 1, 0s, 20},
      {10s, 1, 3s, 23}, {0s, 1, 1500ms, 1.5}, {10ms, 0, 0s, 0.01}, {24h, 0.25, 2s, 108'002},
      {10s, 7, 0s, 20}, {10s, -1, 0s, 10},    {-10s, 0.5, 2s, 2},
  };
  for (const auto& row : table) {
    CAPTURE(row.ago.count());
    CAPTURE(row.progress);
    CHECK(work_lost(now - row.ago, row.progress, row.cold_start, now) == doctest::Approx(row.lost));
  }
}

TEST_CASE("a fresh checkpoint makes an old task cheap to end") {
  CHECK(work_lost(now - 10ms, 0.9, 0s, now) < work_lost(now - 2s, 0.1, 0s, now));
  CHECK(work_lost(now - 1min, 0.9, 0s, now) > work_lost(now - 1min, 0.1, 0s, now));
  CHECK(work_lost(now - 1s, 0, 8s, now) > work_lost(now - 5s, 0, 0s, now));
}

TEST_CASE("a score is the bytes freed for each second lost, and tasks that have just begun are alike") {
  CHECK(score(candidate("a", Priority::low, 10, 9)) == mebibytes(1).count);
  CHECK(score(candidate("a", Priority::low, 0, 9)) == 0);
  const double newest = score(candidate("a", Priority::low, 10, 0.001));
  CHECK(score(candidate("b", Priority::low, 10, 0.1)) > newest / 2);
}

TEST_CASE("inside a level those that have outgrown their footprint go before all that kept to it") {
  const Candidate cheap = candidate("cheap", Priority::normal, 400, 0);
  const Candidate leak = grown(candidate("leak", Priority::normal, 90, 3600));
  const Candidate low = candidate("low", Priority::low, 10, 60);
  const Candidate high_leak = grown(candidate("high_leak", Priority::high, 900));
  CHECK(ranked({cheap, leak, low, high_leak}) == "low leak cheap high_leak");
  CHECK(chosen({cheap, leak}, mebibytes(50)) == "leak");
  CHECK(chosen({cheap, leak}, mebibytes(100)) == "leak cheap");
  CHECK(chosen({cheap, leak, grown(candidate("worse", Priority::normal, 200))}, mebibytes(100)) == "worse");
}

TEST_CASE("lowest priority first, then most memory freed for each second lost, then the id") {
  const Candidate critical = candidate("critical", Priority::critical, 900);
  const Candidate high = candidate("high", Priority::high, 400);
  const Candidate normal = candidate("normal", Priority::normal, 10, 3600);
  const Candidate low = candidate("low", Priority::low, 10);
  const Candidate low_big = candidate("low_big", Priority::low, 11);
  const Candidate low_old = candidate("low_old", Priority::low, 11, 60);
  const Candidate low_huge_old = candidate("low_huge_old", Priority::low, 1100, 60);
  const Candidate beat = candidate("beat", Priority::heartbeat, 1, 7200);
  const struct {
    std::vector<Candidate> running;
    std::string killed;
    std::string preempted;
  } table[] = {
      {{}, "", ""},
      {{critical}, "critical", "critical"},
      {{critical, beat, high, low, normal}, "beat low normal high critical", "beat low normal high critical"},
      {{low, low_big}, "low_big low", "low_big low"},
      {{low_old, low, low_big}, "low_big low low_old", "low_big low low_old"},
      {{low, low_huge_old, low_big}, "low_huge_old low_big low", "low_huge_old low_big low"},
      {{candidate("01", Priority::low, 10), candidate("03", Priority::low, 10),
        candidate("02", Priority::low, 10)},
       "03 02 01",
       "03 02 01"},
      {{fixed(beat), low}, "beat low", "low"},
      {{fixed(beat)}, "beat", ""},
      {{preempted(beat), low}, "beat low", "low"},
      {{overdue(beat), low}, "beat low", "low"},
      {{dying(beat), low}, "low", "low"},
      {{dying(beat)}, "", ""},
      {{shielded(beat), high}, "high", "high"},
      {{shielded(fixed(beat)), shielded(critical)}, "", ""},
      {{shielded(preempted(beat))}, "", ""},
  };
  for (const auto& row : table) {
    CHECK(ranked(row.running) == row.killed);
    CHECK(ranked(row.running, false) == row.preempted);
  }
}

TEST_CASE("what a task reports and what its worker costs to start decide inside a level") {
  const auto ran = [](const char* id, Duration since_save, double progress, Duration cold_start) {
    return candidate(id, Priority::normal, 100, work_lost(now - since_save, progress, cold_start, now));
  };
  CHECK(ranked({ran("almost_done", 60s, 0.95, 0s), ran("begun", 60s, 0.05, 0s)}) == "begun almost_done");
  CHECK(ranked({ran("unsaved", 60s, 0, 0s), ran("saved", 2s, 0, 0s)}) == "saved unsaved");
  CHECK(ranked({ran("slow_start", 10s, 0, 30s), ran("quick_start", 10s, 0, 20ms)}) ==
        "quick_start slow_start");
}

TEST_CASE("the order does not depend on the order of the workers") {
  std::mt19937 random(7);
  std::vector<Candidate> running;
  for (int i = 0; i < 40; ++i)
    running.push_back(
        candidate(std::to_string(100 + i), all_priorities[random() % priority_count], 1 + random() % 3));
  const std::string order = ranked(running);
  for (int round = 0; round < 50; ++round) {
    std::ranges::shuffle(running, random);
    CHECK(ranked(running) == order);
  }
}

TEST_CASE("as many are chosen as together hold the need, to the byte") {
  const std::vector<Candidate> running = {
      candidate("high", Priority::high, 500), candidate("a", Priority::low, 30, 9),
      candidate("b", Priority::low, 100, 9), candidate("beat", Priority::heartbeat, 20)};
  const Bytes byte{1};
  const struct {
    Bytes need;
    std::string chosen;
  } table[] = {
      {Bytes{} - gibibytes(1), ""},
      {Bytes{}, ""},
      {byte, "beat"},
      {mebibytes(20), "beat"},
      {mebibytes(20) + byte, "beat b"},
      {mebibytes(120), "beat b"},
      {mebibytes(120) + byte, "beat b a"},
      {mebibytes(150) + byte, "beat b a high"},
      {mebibytes(650), "beat b a high"},
      {gibibytes(100), "beat b a high"},
      {{std::numeric_limits<std::int64_t>::max()}, "beat b a high"},
  };
  for (const auto& row : table) {
    CAPTURE(row.need.count);
    CHECK(chosen(running, row.need) == row.chosen);
  }
  CHECK(chosen({}, gibibytes(1)) == "");
}

TEST_CASE("a victim of the last level that the next one makes needless is spared") {
  const std::vector<Candidate> running = {
      candidate("small", Priority::low, 30), candidate("large", Priority::low, 100, 9),
      candidate("beat", Priority::heartbeat, 20), candidate("high", Priority::high, 500)};
  CHECK(chosen(running, mebibytes(20)) == "beat");
  CHECK(chosen(running, mebibytes(50)) == "beat small");
  CHECK(chosen(running, mebibytes(60)) == "beat large");  // 30 of the small one are not needed beside 100
  CHECK(chosen(running, mebibytes(120)) == "beat large");
  CHECK(chosen(running, mebibytes(121)) == "beat small large");
  CHECK(chosen(running, mebibytes(151)) ==
        "beat small large high");  // a lower level is not spared for a higher
}

TEST_CASE("what may not be chosen is passed over, and the need is taken from the next") {
  const std::vector<Candidate> running = {
      shielded(candidate("shielded", Priority::heartbeat, 500)),
      dying(candidate("dying", Priority::heartbeat, 500)), fixed(candidate("fixed", Priority::low, 50)),
      preempted(candidate("preempted", Priority::low, 40)), candidate("normal", Priority::normal, 30)};
  CHECK(chosen(running, mebibytes(50)) == "fixed");
  CHECK(chosen(running, mebibytes(51)) == "fixed preempted");
  CHECK(chosen(running, gibibytes(1)) == "fixed preempted normal");
  CHECK(chosen(running, mebibytes(10), false) == "normal");
  CHECK(chosen(running, gibibytes(1), false) == "normal");
}

TEST_CASE("a task that holds nothing is not ended for nothing") {
  const std::vector<Candidate> running = {candidate("new", Priority::low, 0),
                                          candidate("a", Priority::normal, 10)};
  CHECK(chosen(running, mebibytes(5)) == "a");
  CHECK(chosen(running, mebibytes(500)) == "a");
  CHECK(chosen({candidate("new", Priority::low, 0)}, mebibytes(5)) == "");
}

}  // namespace
}  // namespace kurultai::victims_test
