// The journal in a SQLite file (WAL, synchronous=FULL: a commit is on disk). Changes that come while one
// commit is under way are the next, on a thread of its own. A change that nobody waits for goes with the next
// that somebody does, or 20 ms later: the start of a short task costs no commit.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "supervisor/store/journal.h"
#include "supervisor/uv/job_thread.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

class SqliteJournal : public Journal {
 public:
  struct Opened {
    std::unique_ptr<SqliteJournal> journal;
    std::vector<Task> tasks;  // in the order of their submission
  };
  /// Blocks: to be called before the loop runs. Fails for a file that is damaged, of a newer release or of
  /// another program, and says what to do.
  static Result<Opened> open(uv::Loop& loop, const std::string& path);
  ~SqliteJournal() override;

  /// Asked for all tasks that are to be kept when somebody has removed the file: it is made again.
  void on_lost(std::function<std::vector<const Task*>()> all) { all_ = std::move(all); }

  void accept(const Task& task, const std::vector<const Task*>& evicted,
              std::function<void(Result<void>)> done) override;
  void change(const Task& task, std::function<void()> done = {}) override;
  void forget(const Task& task) override;
  void in_one_commit(const std::function<void()>& together) override;
  const std::string& trouble() const override { return trouble_; }
  bool is_settled() const override { return waiting_.empty() && !is_writing_; }

 private:
  struct Change;
  struct Writer;
  SqliteJournal(uv::Loop& loop, std::shared_ptr<Writer> writer, std::unique_ptr<uv::JobThread> thread);
  void put(Change change, bool awaited);
  void append(Change change);
  void write_when_due();
  void write();
  void written(std::vector<Change>& batch, const Result<void>& outcome, bool lost);

  uv::Loop& loop_;
  std::shared_ptr<Writer> writer_;  // of the thread, while it writes
  std::function<std::vector<const Task*>()> all_;
  std::vector<Change> waiting_;                           // at most one change of a task: the newest
  std::unordered_map<std::string, std::size_t> changes_;  // where in it, by task id
  bool is_writing_ = false;
  bool awaited_ = false;  // something of what waits is
  bool gathers_ = false;  // more is coming for the same commit
  std::string trouble_;
  uv::Timer later_;  // the next try, or the next write that nobody waits for
  std::unique_ptr<uv::JobThread> thread_;
};

}  // namespace kurultai
