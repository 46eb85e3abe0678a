#include "governance/suspension.h"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

namespace kurultai::suspension_test {
namespace {

using namespace std::chrono_literals;

Suspended suspended(const char* worker, Duration since, Bytes size) {
  return {.worker_id = worker, .since = TimePoint{} + since, .size = size, .paged_out = true};
}

std::string next(const std::vector<Suspended>& all, Bytes used, bool others_run = true) {
  const Suspended* found = next_to_resume({used, mebibytes(800), others_run, all});
  return found == nullptr ? "" : found->worker_id;
}

TEST_CASE("the one that has waited longest goes on when it fits, and no other before it") {
  const std::vector<Suspended> all{suspended("later", 20s, mebibytes(10)),
                                   suspended("first", 10s, mebibytes(300))};
  CHECK(next(all, mebibytes(500)) == "first");
  CHECK(next(all, mebibytes(500) + Bytes{1}).empty());
  CHECK(next({}, {}).empty());
}

TEST_CASE("where nothing else runs it goes on however large it is") {
  const std::vector<Suspended> all{suspended("large", 10s, gibibytes(2))};
  CHECK(next(all, mebibytes(500), false) == "large");
  CHECK(next(all, mebibytes(500), true).empty());
}

TEST_CASE("one that is still being paged out is waited for") {
  std::vector<Suspended> all{suspended("first", 10s, mebibytes(1)), suspended("later", 20s, mebibytes(1))};
  all[0].paging = true;
  CHECK(next(all, {}).empty());
  CHECK(next(all, {}, false).empty());
}

TEST_CASE("several that are suspended together fit into swap together, the first to give way first") {
  std::vector<Candidate> running(4);
  const std::array priorities{Priority::high, Priority::low, Priority::normal, Priority::normal};
  const std::array sizes{mebibytes(10), mebibytes(60), mebibytes(50), mebibytes(30)};
  for (std::size_t i = 0; i < running.size(); ++i) {
    running[i] = {.task_id = std::to_string(i), .priority = priorities.at(i), .memory = sizes.at(i)};
    running[i].suspendable = true;
  }
  fit_into_swap(running, mebibytes(100));
  CHECK(running[1].suspendable);
  CHECK_FALSE(running[2].suspendable);  // the larger of two alike goes first, and 40 MiB are left
  CHECK(running[3].suspendable);
  CHECK(running[0].suspendable);  // to the byte
  fit_into_swap(running, mebibytes(99));
  CHECK_FALSE(running[0].suspendable);
}

TEST_CASE("a gigabyte may take twenty seconds to page out, and nothing takes less than two") {
  CHECK(page_out_time({}) == 2s);
  CHECK(page_out_time({1'000'000'000}) == 22s);
}

}  // namespace
}  // namespace kurultai::suspension_test
