#include "supervisor/store/task_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

namespace kurultai::task_table_test {
using namespace std::chrono_literals;

namespace {

const WallTime noon{std::chrono::hours(24 * 365 * 50 + 12)};

Task task_of(const std::string& agent, const std::string& key = {}) {
  Task task;
  task.agent = agent;
  task.idempotency_key = key;
  return task;
}

struct Table {
  std::vector<std::string> dropped;
  TaskTable tasks;
  explicit Table(std::size_t max_finished, Duration age = std::chrono::hours(1), Bytes bytes = mebibytes(8))
      : tasks({age, max_finished, bytes}, [this](const Task& task) { dropped.push_back(task.id); }) {}
};

}  // namespace

TEST_CASE("ids sort in the order of submission, also inside one millisecond and when the clock steps back") {
  Table table(10);
  std::vector<std::string> ids;
  for (const WallTime now : {noon, noon, noon + 1ms, noon - 1h, noon - 1h, noon + 2ms}) {
    ids.push_back(table.tasks.add(task_of("a"), now).id);
  }
  CHECK(std::is_sorted(ids.begin(), ids.end()));
  CHECK(std::set<std::string>(ids.begin(), ids.end()).size() == ids.size());
  for (const auto& id : ids) CHECK(id.size() == 16);
}

TEST_CASE("only the newest finished tasks are kept, and every one that leaves is told") {
  Table table(2);
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(table.tasks.add(task_of("a"), noon).id);
  for (int i = 0; i < 3; ++i) table.tasks.finished(*table.tasks.find(ids[static_cast<std::size_t>(i)]), noon);
  CHECK(table.dropped == std::vector<std::string>{ids[0]});
  CHECK(table.tasks.find(ids[0]) == nullptr);
  CHECK(table.tasks.find(ids[3]) != nullptr);  // unfinished: never dropped
}

TEST_CASE("finished tasks are dropped by age and by the bytes they hold, but the newest stays") {
  Table old(100, 10min);
  const std::string first = old.tasks.add(task_of("a"), noon).id;
  old.tasks.finished(*old.tasks.find(first), noon);
  old.tasks.expire(noon + 10min);
  CHECK(old.tasks.find(first) != nullptr);
  old.tasks.expire(noon + 10min + 1ms);
  CHECK(old.tasks.find(first) == nullptr);

  Table large(100, 10min, kibibytes(64));
  for (int i = 0; i < 3; ++i) {
    Task task = task_of("a");
    task.payload = std::string(60 * 1024, 'x');
    large.tasks.finished(large.tasks.add(std::move(task), noon), noon);
  }
  CHECK(large.tasks.size() == 1);
}

TEST_CASE("an idempotency key belongs to its agent and lives as long as its task") {
  Table table(1);
  const std::string id = table.tasks.add(task_of("a", "k"), noon).id;
  REQUIRE(table.tasks.find_key("a", "k") != nullptr);
  CHECK(table.tasks.find_key("a", "k")->id == id);
  CHECK(table.tasks.find_key("b", "k") == nullptr);
  table.tasks.finished(*table.tasks.find(id), noon);
  table.tasks.finished(table.tasks.add(task_of("a"), noon), noon);
  CHECK(table.tasks.find_key("a", "k") == nullptr);
}

TEST_CASE("a list goes on behind its cursor") {
  Table table(10);
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(table.tasks.add(task_of(i % 2 == 0 ? "a" : "b"), noon).id);
  const auto all = [](const Task&) { return true; };
  const auto page = table.tasks.list("", 2, all);
  REQUIRE(page.size() == 2);
  CHECK(page[1]->id == ids[1]);
  CHECK(table.tasks.list(page[1]->id, 10, all).size() == 3);
  CHECK(table.tasks.list("", 10, [](const Task& task) { return task.agent == "b"; }).size() == 2);
}

TEST_CASE("a list from the newest goes on behind its cursor, also when that task is gone") {
  Table table(2);
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(table.tasks.add(task_of("a"), noon).id);
  const auto ids_behind = [&](const std::string& after, std::size_t limit) {
    std::vector<std::string> found;
    for (const Task* task :
         table.tasks.list(after, limit, [](const Task&) { return true; }, TaskTable::Order::newest_first)) {
      found.push_back(task->id);
    }
    return found;
  };
  CHECK(ids_behind("", 2) == std::vector<std::string>{ids[4], ids[3]});
  CHECK(ids_behind(ids[3], 10) == std::vector<std::string>{ids[2], ids[1], ids[0]});
  CHECK(ids_behind(ids[0], 10).empty());
  for (const std::size_t i : {2U, 3U, 4U}) table.tasks.finished(*table.tasks.find(ids[i]), noon);
  CHECK(ids_behind(ids[2], 10) == std::vector<std::string>{ids[1], ids[0]});
}

TEST_CASE("the oldest results in files make room for newer ones, and for payloads") {
  std::vector<std::string> dropped;
  Retention retention{std::chrono::hours(1), 100, mebibytes(1), Bytes{1000}};
  TaskTable table(retention, [&](const Task& task) { dropped.push_back(task.agent); });
  const WallTime now{};
  const auto finish = [&](const char* agent, std::int64_t bytes) {
    Task task;
    task.agent = agent;
    task.state = TaskState::completed;
    task.result = {"", bytes > 0 ? "file" : "", bytes};
    table.finished(table.add(std::move(task), now), now);
  };
  finish("first", 400);
  finish("second", 0);
  finish("third", 600);
  CHECK(dropped.empty());
  finish("fourth", 1);
  CHECK(dropped == std::vector<std::string>{"first"});
  retention.max_spooled = Bytes{600};
  table.set_retention(retention);
  CHECK(dropped == std::vector<std::string>{"first", "second", "third"});
  finish("too large", 5000);  // the newest stays
  CHECK(dropped.size() == 4);
  CHECK(table.size() == 1);
}

}  // namespace kurultai::task_table_test
