#include "supervisor/store/footprint_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "supervisor/event_log.h"

namespace kurultai {

namespace {

constexpr Duration write_pace{30000};
// A thousand keys of 32 samples take 1 MB.
constexpr std::size_t largest = 16 * 1024 * 1024;

Result<std::string> read_whole(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_failure("open " + path, errno);
  std::string text;
  std::array<char, 65536> block;
  ssize_t count = 1;
  while (count > 0 && text.size() <= largest) {
    count = ::read(fd, block.data(), block.size());
    if (count > 0) text.append(block.data(), static_cast<std::size_t>(count));
  }
  const int code = errno;
  ::close(fd);
  if (count < 0) return system_failure("read " + path, code);
  if (text.size() > largest) return failure(path + " is too large");
  return text;
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR) return system_failure("write", errno);
    if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::fsync(fd) != 0) return system_failure("fsync", errno);
  return {};
}

/// Whole or not at all: a crash in between leaves the old file.
Result<void> replace(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return system_failure("open " + fresh, errno);
  Result<void> written = write_all(fd, text);
  ::close(fd);
  if (!written) return failure(fresh + ": " + written.error().message);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return system_failure("rename " + fresh, errno);
  return {};
}

}  // namespace

FootprintFile::FootprintFile(uv::Loop& loop, std::string path, std::function<Footprints()> current)
    : loop_(loop), path_(std::move(path)), current_(std::move(current)), timer_(loop, [this] { write(); }) {}

Result<Footprints> FootprintFile::load() const {
  const auto text = read_whole(path_);
  if (!text) return std::unexpected(text.error());
  auto footprints = Footprints::parse(*text);
  if (!footprints) return failure(path_ + ": " + footprints.error().message);
  return footprints;
}

void FootprintFile::changed() {
  dirty_ = true;
  if (!writing_ && !timer_.is_running()) timer_.start(write_pace);
}

void FootprintFile::settle(std::function<void()> done) {
  if (is_settled()) return done();
  on_settled_ = std::move(done);
  if (!writing_) write();
}

void FootprintFile::write() {
  timer_.stop();
  dirty_ = false;
  writing_ = true;
  auto outcome = std::make_shared<Result<void>>();
  run_on_thread(
      loop_,
      [outcome, path = path_, footprints = current_()] { *outcome = replace(path, footprints.to_text()); },
      [this, outcome, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) written(*outcome);
      });
}

void FootprintFile::written(const Result<void>& outcome) {
  writing_ = false;
  if (!outcome) log_warning("what was learned of footprints is not kept: " + outcome.error().message);
  if (dirty_ && on_settled_) return write();
  if (dirty_) return timer_.start(write_pace);
  if (const auto done = std::exchange(on_settled_, nullptr)) done();
}

}  // namespace kurultai
