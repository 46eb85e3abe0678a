#include "supervisor/store/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "supervisor/store/whole_file.h"

namespace kurultai {

namespace {

Result<void> sync_once(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | open_plainly);
  if (fd < 0) return system_failure("open " + path, errno);
  const bool synced = ::fsync(fd) == 0;
  const int code = errno;
  ::close(fd);
  return synced ? Result<void>{} : system_failure("fsync " + path, code);
}

Result<void> sync_path(const std::string& path) {
  if (sync_once(path)) return {};
  if (auto rewritten = rewrite_file(path); !rewritten) return rewritten;
  return sync_once(path);
}

/// A file that is open for as long as this lives. Used by one thread at a time.
class Appender {
 public:
  explicit Appender(std::string path) : path_(std::move(path)) {}
  ~Appender() {
    if (fd_ >= 0) ::close(fd_);
  }
  Appender(const Appender&) = delete;
  Appender& operator=(const Appender&) = delete;

  Result<void> write(std::string_view bytes) {
    if (auto opened = open(); !opened) return opened;
    const std::int64_t from = written_;
    if (auto all = write_whole(fd_, path_, bytes); !all) return all;
    written_ += static_cast<std::int64_t>(bytes.size());
    // The disk begins now, and not with all of it at the end. It is no promise, so its failure is none.
    ::sync_file_range(fd_, from, written_ - from, SYNC_FILE_RANGE_WRITE);
    return {};
  }

  Result<void> sync() {
    if (auto opened = open(); !opened) return opened;
    return sync_path(path_);
  }

 private:
  Result<void> open() {
    if (fd_ < 0) fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | open_plainly, 0600);
    return fd_ >= 0 ? Result<void>{} : system_failure("open " + path_, errno);
  }

  std::string path_;
  int fd_ = -1;
  std::int64_t written_ = 0;
};

Result<std::string> read_piece(const std::string& path, std::int64_t offset, std::size_t length) {
  const int fd = ::open(path.c_str(), O_RDONLY | open_plainly);
  if (fd < 0) return system_failure("open " + path, errno);
  std::string bytes(length, '\0');
  std::size_t got = 0;
  while (got < length) {
    const ssize_t count =
        ::pread(fd, bytes.data() + got, length - got, offset + static_cast<std::int64_t>(got));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int code = errno;
      ::close(fd);
      return system_failure("read " + path, code);
    }
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  ::close(fd);
  bytes.resize(got);
  return bytes;
}

}  // namespace

/// Touched on the loop only, but for the file while `busy`.
struct SpoolFile::Shared {
  explicit Shared(const std::string& name) : path(name), file(name) {}
  std::string path;
  Appender file;
  std::string waiting;
  std::size_t writing = 0;  // bytes a thread has in hand
  bool busy = false;        // a thread has the file
  bool to_sync = false;
  bool discarded = false;
  Result<void> outcome;  // the first failure stays
  std::function<void()> on_progress;
  std::function<void(Result<void>)> done;
};

SpoolFile::SpoolFile(uv::Loop& loop, std::string path)
    : loop_(loop), path_(std::move(path)), shared_(std::make_shared<Shared>(path_)) {}

SpoolFile::~SpoolFile() { shared_->on_progress = nullptr; }

void SpoolFile::append(std::string bytes) {
  size_ += static_cast<std::int64_t>(bytes.size());
  if (shared_->waiting.empty()) {
    shared_->waiting = std::move(bytes);
  } else {
    shared_->waiting += bytes;
  }
  if (!shared_->busy) write_next(loop_, shared_);
}

std::size_t SpoolFile::pending() const { return shared_->waiting.size() + shared_->writing; }

void SpoolFile::on_progress(std::function<void()> callback) { shared_->on_progress = std::move(callback); }

void SpoolFile::finish(Until until, std::function<void(Result<void>)> done) {
  shared_->to_sync = until == Until::synced;
  shared_->done = std::move(done);
  if (!shared_->busy) go_on(loop_, shared_);
}

void SpoolFile::discard() {
  shared_->discarded = true;
  shared_->waiting.clear();
  shared_->done = nullptr;
  if (!shared_->busy) go_on(loop_, shared_);
}

void SpoolFile::write_next(uv::Loop& loop, const std::shared_ptr<Shared>& shared) {
  auto bytes = std::make_shared<std::string>(std::exchange(shared->waiting, {}));
  auto outcome = std::make_shared<Result<void>>();
  const bool syncs = bytes->empty();
  shared->busy = true;
  shared->writing = bytes->size();
  run_on_thread(
      loop,
      [shared, bytes, outcome, syncs] {
        *outcome = syncs ? shared->file.sync() : shared->file.write(*bytes);
      },
      [&loop, shared, outcome, syncs] {
        shared->busy = false;
        shared->writing = 0;
        if (syncs) shared->to_sync = false;
        if (!*outcome && shared->outcome) shared->outcome = *outcome;
        if (!shared->outcome) shared->waiting.clear();  // the file has a hole already: nothing more is kept
        go_on(loop, shared);
        if (shared->on_progress) shared->on_progress();
      });
}

/// No thread has the file.
void SpoolFile::go_on(uv::Loop& loop, const std::shared_ptr<Shared>& shared) {
  if (shared->discarded) return remove_file(loop, shared->path);
  const bool to_sync = shared->to_sync && shared->done && shared->outcome;
  if (!shared->waiting.empty() || to_sync) return write_next(loop, shared);
  if (shared->done) std::exchange(shared->done, nullptr)(shared->outcome);
}

void remove_file(uv::Loop& loop, std::string path) {
  run_on_thread(loop, [path = std::move(path)] { ::unlink(path.c_str()); }, [] {});
}

void sync_file(uv::Loop& loop, std::string path, std::function<void(Result<void>)> done) {
  auto outcome = std::make_shared<Result<void>>();
  run_on_thread(
      loop, [outcome, path = std::move(path)] { *outcome = sync_path(path); },
      [outcome, done = std::move(done)] { done(*outcome); });
}

void hand_over_file(uv::Loop& loop, std::string path, unsigned uid, std::function<void(Result<void>)> done) {
  auto outcome = std::make_shared<Result<void>>();
  run_on_thread(
      loop,
      [outcome, path = std::move(path), uid] {
        if (::chown(path.c_str(), uid, static_cast<gid_t>(-1)) != 0)
          *outcome = system_failure("give " + path + " to user " + std::to_string(uid), errno);
      },
      [outcome, done = std::move(done)] { done(*outcome); });
}

void read_file(uv::Loop& loop, std::string path, std::int64_t offset, std::size_t length,
               std::function<void(Result<std::string>)> done) {
  auto piece = std::make_shared<Result<std::string>>();
  run_on_thread(
      loop, [piece, path = std::move(path), offset, length] { *piece = read_piece(path, offset, length); },
      [piece, done = std::move(done)] { done(std::move(*piece)); });
}

}  // namespace kurultai
