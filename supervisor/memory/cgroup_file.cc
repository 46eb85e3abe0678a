#include "supervisor/memory/cgroup_file.h"

#include <fcntl.h>

#include <cerrno>
#include <charconv>

namespace kurultai {
namespace {

Result<Fd> open_file(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd.is_open()) return system_failure("open " + path, errno);
  return fd;
}

ssize_t read_some(int fd, char* data, std::size_t size, off_t offset) {
  ssize_t count;
  do count = offset < 0 ? ::read(fd, data, size) : ::pread(fd, data, size, offset);
  while (count < 0 && errno == EINTR);
  return count;
}

Result<void> write_at_once(int fd, const std::string& path, std::string_view text) {
  ssize_t count;
  do count = ::pwrite(fd, text.data(), text.size(), 0);
  while (count < 0 && errno == EINTR);
  if (count == static_cast<ssize_t>(text.size())) return {};
  return system_failure("write '" + std::string(text) + "' to " + path, count < 0 ? errno : EIO);
}

Result<std::int64_t> not_a_number(std::string_view text, const std::string& file) {
  return failure(file + ": not a number: '" + std::string(text.substr(0, 40)) + "'");
}

Result<std::int64_t> parse_word(std::string_view word, const std::string& file) {
  if (word == "max") return unlimited;
  std::int64_t number = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (end != word.data() + word.size() || word.empty() || number < 0) return not_a_number(word, file);
  if (error == std::errc::result_out_of_range && word.front() != '-') return unlimited;
  if (error != std::errc()) return not_a_number(word, file);
  return number;
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  auto fd = open_file(path, O_RDONLY);
  if (!fd) return std::unexpected(fd.error());
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t count = read_some(fd->get(), part.data(), part.size(), -1);
    if (count < 0) return system_failure("read " + path, errno);
    if (count == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(count));
  }
}

Result<void> write_file(const std::string& path, std::string_view text) {
  // O_TRUNC means nothing to the kernel's files; the captured trees of the tests are plain ones.
  auto fd = open_file(path, O_WRONLY | O_TRUNC);
  if (!fd) return std::unexpected(fd.error());
  return write_at_once(fd->get(), path, text);
}

Result<KernelKnob> KernelKnob::open(std::string path) {
  auto fd = open_file(path, O_WRONLY);
  if (!fd) return std::unexpected(fd.error());
  return KernelKnob(std::move(*fd), std::move(path));
}

Result<void> KernelKnob::write(std::string_view text) const {
  // As O_TRUNC above.
  [[maybe_unused]] const int cut = ::ftruncate(fd_.get(), 0);
  return write_at_once(fd_.get(), path_, text);
}

Result<KernelFile> KernelFile::open(std::string path) {
  auto fd = open_file(path, O_RDONLY);
  if (!fd) return std::unexpected(fd.error());
  return KernelFile(std::move(*fd), std::move(path));
}

Result<std::string_view> KernelFile::read(Buffer& buffer) const {
  const ssize_t count = read_some(fd_.get(), buffer.data(), buffer.size(), 0);
  if (count < 0) return system_failure("read " + path_, errno);
  if (static_cast<std::size_t>(count) == buffer.size()) return system_failure("read " + path_, EFBIG);
  return std::string_view(buffer.data(), static_cast<std::size_t>(count));
}

Result<std::int64_t> KernelFile::read_number() const {
  Buffer buffer;
  auto text = read(buffer);
  if (!text) return std::unexpected(text.error());
  return parse_number(*text, path_);
}

Result<std::int64_t> parse_number(std::string_view text, const std::string& file) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return parse_word(text, file);
}

Result<std::int64_t> flat_number(std::string_view text, std::string_view key, const std::string& file) {
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find('\n', start);
    const std::string_view line = text.substr(start, end - start);
    if (line.starts_with(key) && line.substr(key.size()).starts_with(' ')) {
      if (end == std::string_view::npos) return failure(file + ": cut short at '" + std::string(key) + "'");
      return parse_word(line.substr(key.size() + 1), file);
    }
    if (end == std::string_view::npos) break;
    start = end + 1;
  }
  return failure(file + ": no '" + std::string(key) + "'");
}

Result<std::int64_t> read_number(const std::string& path) {
  auto text = read_file(path);
  if (!text) return std::unexpected(text.error());
  return parse_number(*text, path);
}

}  // namespace kurultai
