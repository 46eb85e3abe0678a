#include "supervisor/store/task_logs.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "supervisor/event_log.h"

namespace kurultai {

namespace {

/// A task that says one line after the other costs one write for all of them.
constexpr Duration pace{20};

std::string note_of_loss(std::uint64_t bytes, const std::string& why) {
  return "[kurultai] " + std::to_string(bytes) +
         " bytes are missing here: " + (why.empty() ? "they came faster than they could be written" : why) +
         "\n";
}

}  // namespace

void LogTail::append(std::string_view more, std::size_t limit) {
  if (more.size() > limit) {  // cut before it is copied: a string never gives its room back
    dropped += text.size() + more.size() - limit;
    text.clear();
    more.remove_prefix(more.size() - limit);
  }
  text.append(more);
  if (text.size() <= limit) return;
  // Cut to three quarters, so that a busy log is not moved with every line.
  const std::size_t cut = text.size() - limit * 3 / 4;
  text.erase(0, cut);
  dropped += cut;
}

/// One of three: text to append, a piece to read, a log to remove.
struct TaskLogs::Job {
  std::string task;
  LogTail text;
  std::size_t limit = 0;  // 0: nothing to append
  std::uint64_t from = 0;
  std::size_t most = 0;
  std::function<void(LogPiece)> done;  // none: nothing to read
  bool removes = false;
  Result<std::int64_t> kept = 0;
  Result<LogPiece> piece = LogPiece{};

  void run(const std::string& directory, const std::string& trouble) {
    const std::string file = directory + "/" + task;
    if (removes) return remove_log(file);
    if (done) {
      piece = read_log(file, from, most);
      return;
    }
    const std::string note = text.dropped > 0 ? note_of_loss(text.dropped, trouble) : std::string();
    kept = append_to_log(file, note + text.text, limit);
  }
};

TaskLogs::TaskLogs(uv::Loop& loop, std::string directory,
                   std::function<void(const std::string&, std::int64_t)> written)
    : loop_(loop), directory_(std::move(directory)), written_(std::move(written)), timer_(loop, [this] {
        if (!busy_ && !waiting_.empty()) start();
      }) {}

TaskLogs::~TaskLogs() = default;

TaskLogs::Job& TaskLogs::new_job(const std::string& task) {
  Job& job = waiting_.emplace_back();
  job.task = task;
  return job;
}

void TaskLogs::append(const std::string& task, std::string_view text, std::size_t limit) {
  if (limit == 0) return;
  const auto [at, fresh] = appends_.try_emplace(task, waiting_.size());
  Job& job = fresh ? new_job(task) : waiting_[at->second];
  job.limit = limit;
  if (fresh) job.text.dropped = lost_.contains(task) ? lost_.extract(task).mapped() : 0;
  const std::size_t before = job.text.text.size();
  if (bytes_ + text.size() > most_of_all) {
    job.text.dropped += text.size();
  } else {
    job.text.append(text, std::min(limit, most_of_one));
  }
  bytes_ += job.text.text.size() - before;
  hurries_ = hurries_ || job.text.text.size() >= std::min(limit, most_of_one) / 4;
  start_when_due();
}

void TaskLogs::read(const std::string& task, std::uint64_t from, std::size_t most,
                    std::function<void(LogPiece)> done) {
  if (lost_.contains(task) && !appends_.contains(task)) append(task, {}, most_of_one);
  Job& job = new_job(task);
  job.from = from;
  job.most = most;
  job.done = std::move(done);
  hurries_ = true;
  start_when_due();
}

void TaskLogs::remove(const std::string& task, bool has_files) {
  lost_.erase(task);
  if (!has_files) return;
  new_job(task).removes = true;
  start_when_due();
}

void TaskLogs::start_when_due() {
  if (busy_) return;
  if (hurries_) return start();
  if (!timer_.is_running()) timer_.start(pace);
}

void TaskLogs::start() {
  busy_ = true;
  hurries_ = false;
  timer_.stop();
  appends_.clear();
  auto jobs = std::make_shared<std::vector<Job>>(std::exchange(waiting_, {}));
  run_on_thread(
      loop_,
      [jobs, directory = directory_, trouble = trouble_] {
        for (Job& job : *jobs) job.run(directory, trouble);
      },
      [this, jobs, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) finished(*jobs);
      });
}

void TaskLogs::finished(std::vector<Job>& jobs) {
  busy_ = false;
  for (Job& job : jobs) {
    if (job.limit > 0) append_finished(job);
    if (job.removes) lost_.erase(job.task);
  }
  for (Job& job : jobs) {
    if (!job.done) continue;
    if (!job.piece)
      job.piece =
          LogPiece{"[kurultai] the log cannot be read: " + job.piece.error().message + "\n", job.from};
    const auto lost = lost_.find(job.task);
    if (lost != lost_.end() && job.piece->is_all) job.piece->text += note_of_loss(lost->second, trouble_);
    job.done(std::move(*job.piece));
  }
  if (!waiting_.empty()) start_when_due();
}

void TaskLogs::append_finished(Job& job) {
  bytes_ -= job.text.text.size();
  if (!job.kept) {
    lost_[job.task] += job.text.dropped + job.text.text.size();
    if (trouble_.empty()) log_error("logs of tasks cannot be written down: " + job.kept.error().message);
    trouble_ = job.kept.error().message;
    return;
  }
  if (!trouble_.empty()) log_info("logs of tasks can be written down again");
  trouble_.clear();
  written_(job.task, *job.kept);
}

std::map<std::string, std::int64_t> sweep_logs(const std::string& directory,
                                               const std::set<std::string>& known) {
  std::map<std::string, std::int64_t> kept;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const std::string task = entry.path().stem();  // without ".1"
    if (!known.contains(task)) {
      std::filesystem::remove_all(entry.path(), ignored);
    } else {
      const auto size = entry.file_size(ignored);
      if (!ignored) kept[task] += log_bytes_in(static_cast<std::int64_t>(size));
    }
  }
  return kept;
}

}  // namespace kurultai
