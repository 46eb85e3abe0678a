#include "supervisor/recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "supervisor/event_log.h"

namespace kurultai {

namespace {

constexpr Duration pace{200};
constexpr std::size_t worth_writing = std::size_t{64} << 10;
constexpr std::size_t last_lines = 256;  // what the end takes at most

}  // namespace

/// Touched by one thread at a time: the one that writes, or the loop's while none does.
struct Recorder::File {
  explicit File(int opened, std::string its_path) : fd(opened), path(std::move(its_path)) {}
  ~File() { ::close(fd); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// All of it, or the file stays as it was.
  void append(std::string_view text) {
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t count =
          ::pwrite(fd, text.data() + done, text.size() - done, size + static_cast<std::int64_t>(done));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return give_up(count == 0 ? ENOSPC : errno);
      done += static_cast<std::size_t>(count);
    }
    size += std::ssize(text);
    outcome = {};
  }

  const int fd;
  const std::string path;
  std::int64_t size = 0;
  Result<void> outcome;

 private:
  void give_up(int code) {
    outcome = system_failure("write " + path, code);
    // A line that is cut off would end the recording for whoever reads it.
    if (::ftruncate(fd, size) != 0) outcome = system_failure("truncate " + path, errno);
  }
};

Result<std::unique_ptr<Recorder>> Recorder::start(uv::Loop& loop, const std::string& file, Bytes limit,
                                                  LifeHeader header) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return system_failure("record to " + file, errno);
  auto opened = std::make_shared<File>(fd, file);
  auto thread = uv::JobThread::start(loop, "recorder");
  if (!thread) return std::unexpected(thread.error());
  std::unique_ptr<Recorder> recorder(new Recorder(loop, std::move(*thread), opened, limit));
  header.started_at = to_rfc3339(loop.wall_now());
  std::string first;
  recorder->writer_.write(first, header);
  opened->append(first);
  recorder->given_ = opened->size;
  if (!opened->outcome) return std::unexpected(opened->outcome.error());
  return recorder;
}

Recorder::Recorder(uv::Loop& loop, std::unique_ptr<uv::JobThread> thread, std::shared_ptr<File> file,
                   Bytes limit)
    : loop_(loop),
      writer_(loop.now()),
      thread_(std::move(thread)),
      file_(std::move(file)),
      limit_(limit),
      timer_(loop, [this] { write(); }) {}

/// What still waits is written behind the loop's back: the thread's end waits for it, and not for ever.
Recorder::~Recorder() {
  if (is_writing_ || waiting_.empty()) return;
  thread_->run([file = file_, text = std::move(waiting_)] { file->append(text); }, [] {});
}

void Recorder::close() {
  if (is_closed_) return;
  note(ClosedSeen{loop_.now(), "ended"});
  is_closed_ = true;
  if (!is_writing_) write();
}

/// The record from `before` on is there: it is kept, or it is not.
void Recorder::noted(TimePoint at, std::size_t before) {
  const bool has_room = waiting_.size() <= most_waiting;
  const std::int64_t size = given_ + std::ssize(waiting_) + static_cast<std::int64_t>(last_lines);
  if (!has_room || size > limit_.count) {
    waiting_.resize(before);
    drop(1);
    if (has_room) end_at_limit(at);
  } else {
    waiting_records_ += 1;
    if (dropped_ > 0) tell_of_dropped(at, before);
  }
  if (is_writing_) return;
  if (waiting_.size() >= worth_writing) return write();
  if (!timer_.is_running()) timer_.start(pace);
}

void Recorder::tell_of_dropped(TimePoint at, std::size_t before) {
  std::string line;
  writer_.write(line, DroppedSeen{at, std::exchange(dropped_, 0)});
  waiting_.insert(before, line);
}

void Recorder::end_at_limit(TimePoint at) {
  is_closed_ = true;
  dropped_ = 0;  // what is not there any more comes behind the end
  writer_.write(waiting_, ClosedSeen{at, "limit"});
  log_warning("the recording " + file_->path + " has reached its limit of " + to_string(limit_) +
              " and ends here");
}

void Recorder::drop(std::uint64_t records) {
  dropped_ += records;
  writer_.forget_tasks();
}

void Recorder::write() {
  timer_.stop();
  if (waiting_.empty()) return;
  is_writing_ = true;
  given_ += std::ssize(waiting_);
  const std::uint64_t records = std::exchange(waiting_records_, 0);
  thread_->run([file = file_, text = std::exchange(waiting_, {})] { file->append(text); },
               [this, records] { written(records); });
}

void Recorder::written(std::uint64_t records) {
  is_writing_ = false;
  given_ = file_->size;
  const std::string why = file_->outcome ? "" : file_->outcome.error().message;
  if (!why.empty()) {  // what came meanwhile may speak of what is lost
    drop(records + std::exchange(waiting_records_, 0));
    waiting_.clear();
  }
  if (const std::string before = std::exchange(trouble_, why); before.empty() != why.empty())
    log_warning(why.empty() ? "the recording goes on: " + file_->path : "the recording has gaps: " + why);
  if (waiting_.empty()) return;
  if (is_closed_ || waiting_.size() >= worth_writing) return write();
  timer_.start(pace);
}

}  // namespace kurultai
