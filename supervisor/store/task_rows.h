// A task as rows of the journal: what it was submitted with, written once, and how far it has come, written
// at each change. Copies, so that another thread can write them while the task goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/store/database.h"
#include "supervisor/task.h"

namespace kurultai {

struct SubmittedRow {
  std::string id, agent, payload, priority, key, size_class, payload_file, payload_digest;
  std::int64_t timeout_ms = 0, retries = 0, submitted_ms = 0, payload_bytes = 0;
  std::optional<std::int64_t> memory_limit;
};

struct ProgressRow {
  std::string id, state, worker, message, checkpoint, result, result_file, error, receipts, memory_deaths,
      past;
  std::int64_t cancel_asked = 0, attempt = 1, preemptions = 0, waited_ms = 0, ran_ms = 0, peak = 0,
               result_bytes = 0;
  std::optional<std::int64_t> started_ms, finished_ms, grown_limit;
  std::optional<double> percent;
};

/// Files of the spool stand in the rows by their names, without the directory.
SubmittedRow submitted_row(const Task& task);
/// Of a task whose end is being written down: that end.
ProgressRow progress_row(const Task& task);

class TaskRows {
 public:
  /// Makes the tables of a new file, or brings those of an older schema forward. Fails for a file of a newer
  /// one, and for one of another program.
  static Result<TaskRows> open(Database& database);

  Result<void> insert(const SubmittedRow& row);
  Result<void> replace(const ProgressRow& row);
  Result<void> remove(const std::string& id);
  /// All tasks, in the order of their submission. Not to be called while anything else reads or writes.
  static Result<std::vector<Task>> load(Database& database);

  /// Whether the tables were not there and had to be made.
  bool are_new() const { return are_new_; }

 private:
  TaskRows(Statement insert, Statement replace, Statement remove_submitted, Statement remove_progress,
           bool are_new)
      : insert_(std::move(insert)),
        replace_(std::move(replace)),
        remove_submitted_(std::move(remove_submitted)),
        remove_progress_(std::move(remove_progress)),
        are_new_(are_new) {}

  Statement insert_, replace_, remove_submitted_, remove_progress_;
  bool are_new_;
};

}  // namespace kurultai
