// The journal on a real file: what is written is what is read, and what happens when it cannot be.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "supervisor/store/sqlite_journal.h"
#include "supervisor/store/task_rows.h"

namespace kurultai::journal_test {

namespace {

struct Place {
  std::string directory;
  std::string file;
  uv::Loop loop;
  std::unique_ptr<SqliteJournal> journal;

  Place() {
    std::string name = "/tmp/kurultai-test-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    directory = name;
    file = directory + "/journal.db";
    CHECK(open().empty());
  }
  ~Place() {
    journal.reset();
    loop.run();
    std::filesystem::remove_all(directory);
  }
  std::vector<Task> open() {
    journal.reset();
    auto opened = SqliteJournal::open(loop, file);
    REQUIRE_MESSAGE(opened.has_value(), (opened ? "" : opened.error().message));
    journal = std::move(opened->journal);
    return std::move(opened->tasks);
  }
  /// The answer to `accept`.
  Result<void> accept(const Task& task, const std::vector<const Task*>& evicted = {}) {
    Result<void> answer = failure("none came");
    journal->accept(task, evicted, [&](const Result<void>& kept) {
      answer = kept;
      loop.stop();
    });
    loop.run();
    return answer;
  }
  void change(const Task& task) {
    journal->change(task, [this] { loop.stop(); });
    loop.run();
  }
};

Task simple(const std::string& id) {
  Task task;
  task.id = id;
  task.agent = "a";
  task.accepted = true;
  return task;
}

Task everything() {
  Task task = simple("0123456789abcdef");
  task.payload = R"({"text":"a\u0000b"})";
  task.priority = Priority::high;
  task.timeout = Duration(1234);
  task.retries = 3;
  task.memory_limit = mebibytes(64);
  task.idempotency_key = "key";
  task.size_class = "large";
  task.state = TaskState::failed;
  task.attempt = 2;
  task.preemptions = 4;
  task.submitted_at = WallTime(std::chrono::milliseconds(1'000'000'000'001));
  task.started_at = WallTime(std::chrono::milliseconds(1'000'000'000'002));
  task.finished_at = WallTime(std::chrono::milliseconds(1'000'000'000'003));
  task.waited = Duration(5);
  task.ran = Duration(6);
  task.worker_id = "w7";
  task.progress = 50;
  task.message = "half way";
  task.peak = mebibytes(8);
  task.checkpoint = R"({"at":9})";
  task.result = {R"("text")", "/elsewhere/spool/name", 10};
  task.error = TaskError{FailReason::exit_code, "it failed", "at x", 11, 12};
  task.error->quarantined = true;
  task.grown_limit = mebibytes(96);
  task.memory_deaths = {{mebibytes(64), mebibytes(65), Duration(7), task.submitted_at},
                        {mebibytes(96), mebibytes(97), Duration(8), *task.started_at}};
  task.cancel_asked = true;
  return task;
}

}  // namespace

TEST_CASE("a task is read as it was written") {
  Place place;
  const Task written = everything();
  REQUIRE(place.accept(written));
  place.change(written);
  const std::vector<Task> read = place.open();
  REQUIRE(read.size() == 1);
  const Task& task = read.front();
  CHECK(to_json(task) == to_json(written));
  CHECK(task.payload == written.payload);
  CHECK(task.timeout == written.timeout);
  CHECK(task.retries == written.retries);
  CHECK(task.memory_limit == written.memory_limit);
  CHECK(task.grown_limit == written.grown_limit);
  CHECK(to_json(task.memory_deaths) == to_json(written.memory_deaths));
  CHECK(task.checkpoint == written.checkpoint);
  CHECK(task.result.file == "name");
  CHECK(task.result.inline_json == written.result.inline_json);
  CHECK(task.cancel_asked);
  CHECK(task.durable);
  CHECK(task.accepted);
}

TEST_CASE("a task that was only accepted waits, and an end that is being written down is the end") {
  Place place;
  Task task = simple("1");
  Task evicted = simple("0");
  REQUIRE(place.accept(evicted));
  evicted.ends_as = TaskState::evicted;
  evicted.error = TaskError{FailReason::evicted, "made room"};
  REQUIRE(place.accept(task, {&evicted}));
  const std::vector<Task> read = place.open();
  REQUIRE(read.size() == 2);
  CHECK(read[0].state == TaskState::evicted);
  CHECK(read[0].error->reason == FailReason::evicted);
  CHECK(read[1].state == TaskState::queued);
}

TEST_CASE("changes reach the file in their order, and of one task only the newest waits") {
  Place place;
  Task task = simple("1");
  REQUIRE(place.accept(task));
  std::vector<int> told;
  for (int i = 0; i < 1000; ++i) {
    task.preemptions = i;
    place.journal->change(task, [&told, i] { told.push_back(i); });
  }
  place.journal->forget(simple("unknown"));
  CHECK_FALSE(place.journal->is_settled());
  place.change(task);
  CHECK(place.journal->is_settled());
  REQUIRE(told.size() == 1000);
  CHECK(std::ranges::is_sorted(told));
  CHECK(place.open().front().preemptions == 999);
}

TEST_CASE("a forgotten task is not in the file") {
  Place place;
  const Task task = simple("1");
  REQUIRE(place.accept(task));
  place.journal->forget(task);
  place.change(simple("2"));  // unknown to the file: without what it was submitted with it is none
  CHECK(place.open().empty());
}

TEST_CASE("a file that was removed is made again with all that is to be kept") {
  Place place;
  const Task task = simple("1");
  REQUIRE(place.accept(task));
  place.journal->on_lost([&] { return std::vector<const Task*>{&task}; });
  std::filesystem::remove(place.file);
  const auto refused = place.accept(simple("2"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == place.file + ": somebody removed it");
  CHECK(place.journal->trouble() == refused.error().message);
  place.change(task);
  CHECK(place.journal->trouble().empty());
  REQUIRE(place.accept(simple("3")));
  const std::vector<Task> read = place.open();
  REQUIRE(read.size() == 2);
  CHECK(read[0].id == "1");
  CHECK(read[1].id == "3");
}

TEST_CASE("while it cannot be written new tasks are refused and changes wait until it can") {
  Place place;
  Task task = simple("1");
  REQUIRE(place.accept(task));
  std::filesystem::remove_all(place.directory);
  CHECK_FALSE(place.accept(simple("2")));
  CHECK(place.journal->trouble().starts_with(place.file));
  CHECK_FALSE(place.accept(simple("3")));
  task.attempt = 2;
  bool told = false;
  place.journal->change(task, [&] {
    told = true;
    place.loop.stop();
  });
  CHECK_FALSE(place.journal->is_settled());
  place.journal->on_lost([&] { return std::vector<const Task*>{&task}; });
  std::filesystem::create_directory(place.directory);
  place.loop.run();
  CHECK(told);
  const std::vector<Task> read = place.open();
  REQUIRE(read.size() == 1);
  CHECK(read.front().attempt == 2);
}

TEST_CASE("what is no journal of ours is refused, with the next step") {
  Place place;
  place.journal.reset();
  const auto refusal = [&] {
    const auto opened = SqliteJournal::open(place.loop, place.file);
    return opened ? std::string() : opened.error().message;
  };
  std::ofstream(place.file)
      << "not a database at all, but long enough to be taken for the head of one ........."
         "................................................";
  CHECK(refusal().contains("move it away to start with an empty one"));
  std::filesystem::remove(place.file);
  {
    auto other = Database::open(place.file).value();
    REQUIRE(other.execute("CREATE TABLE others(x); PRAGMA user_version = 1;"));
  }
  CHECK(refusal().contains("another program"));
  std::filesystem::remove(place.file);
  CHECK(place.open().empty());
  place.journal.reset();
  {
    auto newer = Database::open(place.file).value();
    REQUIRE(newer.execute("PRAGMA user_version = 4;"));
  }
  CHECK(refusal().contains("newer kurultaid (schema 4, this one knows up to 3)"));
}

TEST_CASE("a journal of an older schema is brought forward") {
  // As the first release wrote it.
  constexpr const char* first = R"(
CREATE TABLE submitted(
  id TEXT PRIMARY KEY NOT NULL, agent TEXT NOT NULL, payload TEXT NOT NULL, priority TEXT NOT NULL,
  timeout_ms INTEGER NOT NULL, retries INTEGER NOT NULL, memory_limit INTEGER, idempotency_key TEXT NOT NULL,
  size_class TEXT NOT NULL, submitted_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE progress(
  id TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL, cancel_asked INTEGER NOT NULL, attempt INTEGER NOT NULL,
  preemptions INTEGER NOT NULL, started_ms INTEGER, finished_ms INTEGER, waited_ms INTEGER NOT NULL,
  ran_ms INTEGER NOT NULL, worker TEXT NOT NULL, percent REAL, message TEXT NOT NULL,
  peak_bytes INTEGER NOT NULL, checkpoint TEXT NOT NULL, result TEXT NOT NULL, result_file TEXT NOT NULL,
  result_bytes INTEGER NOT NULL, error TEXT NOT NULL, receipts TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO submitted VALUES('1m7zws0d7dj5xpm4', 'count', '{"to":3}', 'high', 1000, 2, NULL, 'k', '', 1700000000000);
INSERT INTO progress VALUES('1m7zws0d7dj5xpm4', 'completed', 0, 2, 1, 1700000001000, 1700000002000, 1, 1000, 'w1', 100, '', 0,
  '', '3', '', 0, '', '');
PRAGMA application_id = 0x4b75726c;
PRAGMA user_version = 1;
)";
  Place place;
  place.journal.reset();
  std::filesystem::remove(place.file);
  REQUIRE(Database::open(place.file)->execute(first));
  for (int opened = 0; opened < 2; ++opened) {
    const std::vector<Task> known = place.open();
    REQUIRE(known.size() == 1);
    CHECK(known.front().agent == "count");
    CHECK(known.front().priority == Priority::high);
    CHECK(known.front().payload_file.path.empty());
    CHECK(known.front().state == TaskState::completed);
    CHECK(known.front().past.kept.empty());
    place.journal.reset();
  }
  CHECK(Database::open(place.file)->number("PRAGMA user_version").value() == 3);
}

}  // namespace kurultai::journal_test
