#include "supervisor/store/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include "supervisor/store/whole_file.h"

namespace kurultai {

namespace {

constexpr std::size_t head_size = 21;  // 20 digits and a newline
constexpr std::size_t room_for_notes =
    64;  // per file, so that an answer with a line about what is missing stays in bounds
constexpr std::size_t longest_line = 4096;  // that is looked for its end

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string older(const std::string& file) { return file + ".1"; }

std::string head_of(std::uint64_t before) {
  std::array<char, head_size + 1> text{};
  std::snprintf(text.data(), text.size(), "%020llu\n", static_cast<unsigned long long>(before));
  return {text.data(), head_size};
}

/// One of the two files; without any bytes if it is not there, or was not begun properly.
struct Part {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  std::uint64_t end() const { return begin + size; }
};

Result<std::string> read_at(int fd, const std::string& path, std::size_t from, std::size_t length) {
  std::string bytes(length, '\0');
  std::size_t got = 0;
  while (got < length) {
    const ssize_t count = ::pread(fd, bytes.data() + got, length - got, static_cast<off_t>(from + got));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_failure("read " + path, errno);
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  bytes.resize(got);
  return bytes;
}

Result<Part> part_in(int fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return system_failure("look at " + path, errno);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < head_size) return Part{};
  const auto head = read_at(fd, path, 0, head_size);
  if (!head) return std::unexpected(head.error());
  Part part{0, size - head_size};
  std::from_chars(head->data(), head->data() + head->size(), part.begin);
  return part;
}

Result<Part> part_of(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | open_plainly));
  if (file.get() < 0) return errno == ENOENT ? Result<Part>(Part{}) : system_failure("open " + path, errno);
  return part_in(file.get(), path);
}

/// `text` with the head before it, if it is the first there; else behind `old_size` bytes.
Result<void> write_part(const std::string& path, std::string_view text, std::uint64_t begin, bool is_first) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | open_plainly, 0600));
  if (file.get() < 0) return system_failure("open " + path, errno);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return system_failure("look at " + path, errno);
  const off_t old_size = is_first ? 0 : status.st_size;
  if (is_first && status.st_size > 0 && ::ftruncate(file.get(), 0) != 0)
    return system_failure("shorten " + path, errno);
  auto written =
      write_whole(file.get(), path, is_first ? head_of(begin) + std::string(text) : std::string(text));
  if (!written && ::ftruncate(file.get(), old_size) != 0 && is_first) ::unlink(path.c_str());
  return written;
}

std::string note_of_missing(std::uint64_t count) {
  return "[kurultai] " + std::to_string(count) + " bytes before this are no longer kept\n";
}

/// From one part; `from` is inside of it or at its end.
Result<std::string> read_part(const std::string& path, const Part& part, std::uint64_t from,
                              std::size_t most) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | open_plainly));
  if (file.get() < 0) return system_failure("open " + path, errno);
  const auto length = std::min<std::uint64_t>(most, part.end() - from);
  return read_at(file.get(), path, head_size + (from - part.begin), length);
}

}  // namespace

std::int64_t log_bytes_in(std::int64_t file_size) {
  return std::max<std::int64_t>(0, file_size - static_cast<std::int64_t>(head_size));
}

Result<std::int64_t> append_to_log(const std::string& file, std::string_view text, std::size_t limit) {
  const std::size_t half = limit / 2 > 4 * room_for_notes ? limit / 2 - room_for_notes : limit / 2;
  auto before = part_of(older(file));
  if (!before) return std::unexpected(before.error());
  auto now = part_of(file);
  if (!now) return std::unexpected(now.error());
  if (now->size == 0) now->begin = before->end();
  if (half == 0) return 0;
  while (!text.empty()) {
    if (now->size >= half) {
      if (::rename(file.c_str(), older(file).c_str()) != 0) return system_failure("rename " + file, errno);
      *before = *now;
      *now = {before->end(), 0};
    }
    const std::string_view piece = text.substr(0, half - now->size);
    if (auto written = write_part(file, piece, now->begin, now->size == 0); !written)
      return std::unexpected(written.error());
    now->size += piece.size();
    text.remove_prefix(piece.size());
  }
  return static_cast<std::int64_t>(before->size + now->size);
}

Result<LogPiece> read_log(const std::string& file, std::uint64_t from, std::size_t most) {
  auto before = part_of(older(file));
  if (!before) return std::unexpected(before.error());
  auto now = part_of(file);
  if (!now) return std::unexpected(now.error());
  if (now->size == 0) *now = {before->end(), 0};
  if (before->size == 0) *before = {now->begin, 0};
  const std::uint64_t first = before->begin;
  const std::uint64_t end = now->end();
  LogPiece piece;
  if (from == newest_of_log) from = end - std::min<std::uint64_t>(most, end - first);
  piece.next = std::clamp(from, first, end);
  for (const auto& [part, path] : {std::pair(*before, older(file)), std::pair(*now, file)}) {
    if (piece.next < part.begin || piece.next >= part.end() || piece.text.size() >= most) continue;
    const auto text = read_part(path, part, piece.next, most - piece.text.size());
    if (!text) return std::unexpected(text.error());
    piece.text += *text;
    piece.next += text->size();
  }
  piece.is_all = piece.next >= end || piece.text.empty();
  if (from < first) {
    const std::size_t newline = piece.text.substr(0, longest_line).find('\n');
    const std::size_t rest = newline == std::string::npos ? 0 : newline + 1;
    piece.text.replace(0, rest, note_of_missing(first - from + rest));
  }
  return piece;
}

void remove_log(const std::string& file) {
  ::unlink(file.c_str());
  ::unlink(older(file).c_str());
}

}  // namespace kurultai
