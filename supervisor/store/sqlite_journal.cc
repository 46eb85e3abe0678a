#include "supervisor/store/sqlite_journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "supervisor/event_log.h"
#include "supervisor/store/task_rows.h"
#include "supervisor/store/whole_file.h"

namespace kurultai {

namespace {

constexpr Duration retry_pause{1000};
constexpr Duration patience{20};  // with what nobody waits for

/// One process uses the file, so no memory has to be shared for it (EXCLUSIVE).
constexpr const char* pragmas =
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1024;";

Result<void> sync_path(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? Result<void>{} : system_failure("open " + path, errno);
  const bool synced = ::fsync(fd) == 0;
  const int code = errno;
  ::close(fd);
  return synced ? Result<void>{} : system_failure("fsync " + path, code);
}

/// What is in the file is there by now, as a rule: a large one would hold up everybody's commit.
Result<void> sync_with_name(const std::string& path) {
  if (auto synced = sync_path(path, 0); !synced) return synced;
  return sync_path(path.substr(0, path.rfind('/')), O_DIRECTORY);
}

}  // namespace

struct SqliteJournal::Change {
  enum class Kind : unsigned char { accept, change, forget } kind;
  std::string id;
  std::vector<SubmittedRow> submitted;  // at most one, except where the whole file is written anew
  std::vector<ProgressRow> progress;
  std::string file;  // payload or result: to be on disk before
  std::function<void(Result<void>)> accepted = {};
  std::vector<std::function<void()>> done = {};
};

/// What the thread uses. Given to it for one job at a time.
struct SqliteJournal::Writer {
  std::string path;
  std::optional<Database> database;
  std::optional<TaskRows> rows;
  std::optional<Statement> begin, end;  // of a transaction
  bool lost = false;                    // the file had to be made anew: nothing was written yet
  std::set<std::string>
      unsure;  // results of which a sync failed; each belongs to a change that is still to come

  Result<void> open() {
    auto opened = Database::open(path);
    if (!opened) return std::unexpected(opened.error());
    if (auto set = opened->execute(pragmas); !set) return set;
    auto prepared = TaskRows::open(*opened);
    if (!prepared) return std::unexpected(prepared.error());
    auto beginning = opened->prepare("BEGIN IMMEDIATE");
    if (!beginning) return std::unexpected(beginning.error());
    auto ending = opened->prepare("COMMIT");
    if (!ending) return std::unexpected(ending.error());
    database.emplace(*std::move(opened));
    rows.emplace(*std::move(prepared));
    begin.emplace(*std::move(beginning));
    end.emplace(*std::move(ending));
    return {};
  }

  void close() {
    rows.reset();
    begin.reset();
    end.reset();
    database.reset();
  }

  Result<void> apply(const Change& change) {
    if (change.kind == Change::Kind::forget) return rows->remove(change.id);
    for (const SubmittedRow& row : change.submitted) {
      if (auto inserted = rows->insert(row); !inserted) return inserted;
    }
    for (const ProgressRow& row : change.progress) {
      if (auto replaced = rows->replace(row); !replaced) return replaced;
    }
    return {};
  }

  Result<void> commit(const std::vector<Change>& batch) {
    if (auto begun = begin->run(); !begun) return begun;
    for (const Change& change : batch) {
      if (auto applied = apply(change); !applied) return applied;
    }
    return end->run();
  }

  Result<void> sync(const std::string& result) {
    if (unsure.contains(result)) {
      // Somebody may have removed it: the others must not wait for that.
      if (auto written = rewrite_file(result); !written && written.error().code != ENOENT) return written;
    }
    auto synced = sync_with_name(result);
    if (synced) {
      unsure.erase(result);
    } else {
      unsure.insert(result);
    }
    return synced;
  }

  /// After a failure the file is opened anew for the next: what a failed commit left is unknown.
  Result<void> write(const std::vector<Change>& batch) {
    lost = false;
    if (database && !database->is_in_place()) close();
    if (!database) {
      if (auto opened = open(); !opened) return opened;
      if (rows->are_new()) {
        lost = true;
        return failure(path + ": somebody removed it");
      }
    }
    for (const Change& change : batch) {
      if (change.file.empty()) continue;
      if (auto synced = sync(change.file); !synced) return synced;
    }
    auto committed = commit(batch);
    if (!committed) close();
    return committed;
  }
};

Result<SqliteJournal::Opened> SqliteJournal::open(uv::Loop& loop, const std::string& path) {
  auto writer = std::make_shared<Writer>();
  writer->path = path;
  const auto hopeless = [&path](const Error& error) {
    const std::string what = error.message.starts_with(path) ? error.message : path + ": " + error.message;
    const char* step = is_lack_of_room(error)    ? "; make room there"
                       : is_of_the_system(error) ? "; it was left as it is: start again once that is repaired"
                                                 : "; move it away to start with an empty one";
    return failure("journal " + what + step, error.code);
  };
  if (auto opened = writer->open(); !opened) return hopeless(opened.error());
  auto tasks = TaskRows::load(*writer->database);
  if (!tasks) return hopeless(tasks.error());
  auto thread = uv::JobThread::start(loop, "journal");
  if (!thread) return std::unexpected(thread.error());
  return Opened{
      std::unique_ptr<SqliteJournal>(new SqliteJournal(loop, std::move(writer), *std::move(thread))),
      *std::move(tasks)};
}

SqliteJournal::SqliteJournal(uv::Loop& loop, std::shared_ptr<Writer> writer,
                             std::unique_ptr<uv::JobThread> thread)
    : loop_(loop),
      writer_(std::move(writer)),
      later_(loop,
             [this] {
               if (!is_writing_ && !waiting_.empty()) write();
             }),
      thread_(std::move(thread)) {}

SqliteJournal::~SqliteJournal() = default;

void SqliteJournal::accept(const Task& task, const std::vector<const Task*>& evicted,
                           std::function<void(Result<void>)> done) {
  if (!trouble_.empty()) {
    return uv::defer(loop_, [done = std::move(done), why = trouble_] { done(failure(why)); });
  }
  Change change{Change::Kind::accept, task.id, {submitted_row(task)}, {}, task.payload_file.path};
  for (const Task* one : evicted) change.progress.push_back(progress_row(*one));
  change.accepted = std::move(done);
  put(std::move(change), true);
}

void SqliteJournal::change(const Task& task, std::function<void()> done) {
  Change change{Change::Kind::change, task.id, {}, {progress_row(task)}, {}};
  if (task.ends_as) change.file = task.result.file;
  const bool awaited = static_cast<bool>(done);
  if (awaited) change.done.push_back(std::move(done));
  put(std::move(change), awaited);
}

void SqliteJournal::forget(const Task& task) { put({Change::Kind::forget, task.id, {}, {}, {}}, false); }

void SqliteJournal::append(Change change) {
  if (change.kind == Change::Kind::change) {
    const auto [at, fresh] = changes_.try_emplace(change.id, waiting_.size());
    if (!fresh) {  // an agent may leave checkpoints faster than the disk takes them
      Change& older = waiting_[at->second];
      if (!change.submitted.empty()) older.submitted = std::move(change.submitted);
      older.progress = std::move(change.progress);
      older.file = std::move(change.file);
      std::ranges::move(change.done, std::back_inserter(older.done));
      return;
    }
  }
  waiting_.push_back(std::move(change));
}

void SqliteJournal::put(Change change, bool awaited) {
  append(std::move(change));
  awaited_ = awaited_ || awaited;
  if (!is_writing_ && !gathers_ && trouble_.empty()) write_when_due();
}

// What is under way is another commit: all of this waits behind it, and so stays together there too.
void SqliteJournal::in_one_commit(const std::function<void()>& together) {
  gathers_ = true;
  together();
  gathers_ = false;
  if (!is_writing_ && trouble_.empty() && !waiting_.empty()) write_when_due();
}

void SqliteJournal::write_when_due() {
  if (awaited_) return write();
  if (!later_.is_running()) later_.start(patience);
}

void SqliteJournal::write() {
  is_writing_ = true;
  awaited_ = false;
  later_.stop();
  auto batch = std::make_shared<std::vector<Change>>(std::exchange(waiting_, {}));
  changes_.clear();
  auto outcome = std::make_shared<Result<void>>();
  thread_->run([writer = writer_, batch, outcome] { *outcome = writer->write(*batch); },
               [this, batch, outcome] { written(*batch, *outcome, writer_->lost); });
}

void SqliteJournal::written(std::vector<Change>& batch, const Result<void>& outcome, bool lost) {
  if (outcome) {
    if (!trouble_.empty()) log_info("tasks can be written down again");
    trouble_.clear();
  } else {
    if (trouble_.empty()) log_error("tasks cannot be written down: " + outcome.error().message);
    trouble_ = outcome.error().message;
    // Kept for the next time, in their order; what was not accepted is undone, in case it is there.
    auto later = std::exchange(waiting_, {});
    changes_.clear();
    if (lost && all_) {
      Change everything{Change::Kind::change, "", {}, {}, {}};
      for (const Task* task : all_()) {
        everything.submitted.push_back(submitted_row(*task));
        everything.progress.push_back(progress_row(*task));
      }
      waiting_.push_back(std::move(everything));
    }
    for (Change& change : batch) {
      if (change.kind == Change::Kind::accept) {
        append({Change::Kind::forget, change.id, {}, {}, {}});
      } else {
        append(std::move(change));
      }
    }
    for (Change& change : later) append(std::move(change));
    later_.start(lost ? Duration(0) : retry_pause);
  }
  for (Change& change : batch) {
    if (change.accepted) change.accepted(outcome);
    for (const auto& done : change.done) {
      if (outcome) done();
    }
  }
  is_writing_ = false;  // only now: what they put down shares the next commit
  if (outcome && !waiting_.empty()) write_when_due();
}

}  // namespace kurultai
