// The small text files through which the kernel speaks (cgroupfs and procfs): read, write, parse. Every error
// names the file. Nothing here caches or locks; a KernelFile may be read from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/error.h"
#include "supervisor/memory/fd.h"

namespace kurultai {

/// The whole file, however long (environ, cgroup.procs).
Result<std::string> read_file(const std::string& path);
/// One write(2) of the whole text, as cgroupfs wants it. Never creates the file.
Result<void> write_file(const std::string& path, std::string_view text);

/// Says in the code that a failure of the call does not matter there.
template <typename T>
void ignore_failure(const Result<T>& result) {
  static_cast<void>(result);
}

/// A file that is read over and over: opened once, read by pread (0.35 µs instead of 5 µs for open, read,
/// close). After its group was removed reads fail with ENODEV.
class KernelFile {
 public:
  using Buffer = std::array<char, 8192>;  // the longest, memory.stat, has about 2 KiB

  static Result<KernelFile> open(std::string path);

  /// The content, in `buffer`. A file that does not fit is an error, never a part of it.
  Result<std::string_view> read(Buffer& buffer) const;
  Result<std::int64_t> read_number() const;

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }

 private:
  KernelFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Fd fd_;
  std::string path_;
};

/// A file that is written over and over: opened once.
class KernelKnob {
 public:
  static Result<KernelKnob> open(std::string path);

  /// One write(2) of the whole text.
  Result<void> write(std::string_view text) const;

 private:
  KernelKnob(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Fd fd_;
  std::string path_;
};

/// What `max` and numbers beyond 63 bits mean here.
inline constexpr std::int64_t unlimited = INT64_MAX;
/// Of two such numbers.
constexpr std::int64_t sum_of(std::int64_t a, std::int64_t b) {
  return a > unlimited - b ? unlimited : a + b;
}

/// A file that holds one number, or `max`.
Result<std::int64_t> parse_number(std::string_view text, const std::string& file);
/// The number behind `key` in lines of `key value`. A missing key, no number, or a last line that was cut
/// short is an error.
Result<std::int64_t> flat_number(std::string_view text, std::string_view key, const std::string& file);
/// Reads the file and takes one number out of it.
Result<std::int64_t> read_number(const std::string& path);

}  // namespace kurultai
