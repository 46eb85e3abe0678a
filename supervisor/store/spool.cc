#include "supervisor/store/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace kurultai {

namespace {

Result<void> write_all(const std::string& path, std::string_view bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return system_failure("open " + path, errno);
  Result<void> result;
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      result = system_failure("write " + path, errno);
      break;
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  ::close(fd);
  return result;
}

Result<std::string> read_piece(const std::string& path, std::int64_t offset, std::size_t length) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
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

struct SpoolFile::Shared {
  std::string path;
  std::string waiting;      // touched on the loop only
  std::size_t writing = 0;  // bytes a thread has in hand
  Result<void> outcome;     // the first failure stays
  std::function<void()> on_progress;
  std::function<void(Result<void>)> done;
};

SpoolFile::SpoolFile(uv::Loop& loop, std::string path)
    : loop_(loop), path_(std::move(path)), shared_(std::make_shared<Shared>()) {
  shared_->path = path_;
}

SpoolFile::~SpoolFile() { shared_->on_progress = nullptr; }

void SpoolFile::append(std::string bytes) {
  size_ += static_cast<std::int64_t>(bytes.size());
  if (shared_->waiting.empty()) {
    shared_->waiting = std::move(bytes);
  } else {
    shared_->waiting += bytes;
  }
  if (shared_->writing == 0) write_next(loop_, shared_);
}

std::size_t SpoolFile::pending() const { return shared_->waiting.size() + shared_->writing; }

void SpoolFile::on_progress(std::function<void()> callback) { shared_->on_progress = std::move(callback); }

void SpoolFile::finish(std::function<void(Result<void>)> done) {
  if (pending() == 0) return done(shared_->outcome);
  shared_->done = std::move(done);
}

void SpoolFile::write_next(uv::Loop& loop, const std::shared_ptr<Shared>& shared) {
  auto bytes = std::make_shared<std::string>(std::exchange(shared->waiting, {}));
  auto outcome = std::make_shared<Result<void>>();
  shared->writing = bytes->size();
  run_on_thread(
      loop, [path = shared->path, bytes, outcome] { *outcome = write_all(path, *bytes); },
      [&loop, shared, outcome] {
        shared->writing = 0;
        if (!*outcome && shared->outcome) shared->outcome = *outcome;
        if (!shared->outcome) shared->waiting.clear();  // the file has a hole already: nothing more is kept
        if (!shared->waiting.empty()) write_next(loop, shared);
        if (shared->on_progress) shared->on_progress();
        if (shared->writing == 0 && shared->done) std::exchange(shared->done, nullptr)(shared->outcome);
      });
}

void remove_file(uv::Loop& loop, std::string path) {
  run_on_thread(loop, [path = std::move(path)] { ::unlink(path.c_str()); }, [] {});
}

void read_file(uv::Loop& loop, std::string path, std::int64_t offset, std::size_t length,
               std::function<void(Result<std::string>)> done) {
  auto piece = std::make_shared<Result<std::string>>();
  run_on_thread(
      loop, [piece, path = std::move(path), offset, length] { *piece = read_piece(path, offset, length); },
      [piece, done = std::move(done)] { done(std::move(*piece)); });
}

}  // namespace kurultai
