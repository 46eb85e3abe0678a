// What a process and its descendants hold, read from /proc by a client that watches it from outside. Any
// process that the kernel lets us see; nothing needs to be ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "protocol/bytes.h"
#include "protocol/error.h"

namespace kurultai {

class WatchedProcess {
 public:
  /// ESRCH when there is none, or it has ended and only waits to be reaped.
  static Result<WatchedProcess> find(int pid, std::string proc_root = "/proc");

  /// The pages of each process that are its own, and once those that are shared (files, shared memory: those
  /// of the process that has the most). Of one process that is its resident memory; it stays steady while
  /// others come and go, and costs microseconds, where PSS takes milliseconds. Pages of a fork that nobody
  /// has written yet count for parent and child. Nothing when the process has ended, also when its number is
  /// another's now; descendants that end meanwhile count no more.
  std::optional<Bytes> read() const;

 private:
  WatchedProcess(int pid, std::uint64_t start, std::string proc_root)
      : pid_(pid), start_(start), proc_root_(std::move(proc_root)) {}

  int pid_;
  std::uint64_t start_;  // clock ticks after boot
  std::string proc_root_;
};

}  // namespace kurultai
