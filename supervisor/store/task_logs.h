// What tasks wrote to stderr and logged, on disk: STATE/logs/TASK. Written on libuv's threads, everything in
// its order, so that a reader sees what was there before he asked. Nothing waits for it: what comes faster
// than the disk takes it, or finds no room there, is lost, and a line in its place says how much. A task that
// says nothing has no file. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/store/log_file.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

/// The newest bytes of a text that grows.
struct LogTail {
  std::string text;
  std::uint64_t dropped = 0;  // bytes before `text` that are no longer kept

  void append(std::string_view more, std::size_t limit);
};

class TaskLogs {
 public:
  /// Bytes that wait to be written: of one task, and of all.
  static constexpr std::size_t most_of_one = 128 * 1024;
  static constexpr std::size_t most_of_all = 1024 * 1024;

  /// `written` is told after each write how much of the task's log is kept by then.
  TaskLogs(uv::Loop& loop, std::string directory,
           std::function<void(const std::string& task, std::int64_t kept)> written);
  ~TaskLogs();

  /// Of all that was written, at most `limit` bytes are kept.
  void append(const std::string& task, std::string_view text, std::size_t limit);
  /// See `read_log`. A log that cannot be read gives a line that says why.
  void read(const std::string& task, std::uint64_t from, std::size_t most,
            std::function<void(LogPiece)> done);
  /// The task is known no longer; `has_files`: some of its log was written.
  void remove(const std::string& task, bool has_files);
  /// Why nothing could be written the last time; empty: it could.
  const std::string& trouble() const { return trouble_; }
  /// Whether everything is written.
  bool is_settled() const { return waiting_.empty() && !busy_; }

 private:
  struct Job;
  Job& new_job(const std::string& task);
  void start_when_due();
  void start();
  void finished(std::vector<Job>& jobs);
  void append_finished(Job& job);

  uv::Loop& loop_;
  std::string directory_;
  std::function<void(const std::string&, std::int64_t)> written_;
  std::vector<Job> waiting_;
  std::unordered_map<std::string, std::size_t> appends_;  // where in it, by task
  std::unordered_map<std::string, std::uint64_t> lost_;   // bytes nobody was told of, by task
  std::size_t bytes_ = 0;                                 // that wait or are being written
  bool busy_ = false;
  bool hurries_ = false;  // somebody waits, or there is much of it
  std::string trouble_;   // why nothing could be written the last time
  uv::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// How much is kept of each task's log in such a directory. Files of other tasks than `known` are removed.
/// Blocks.
std::map<std::string, std::int64_t> sweep_logs(const std::string& directory,
                                               const std::set<std::string>& known);

}  // namespace kurultai
