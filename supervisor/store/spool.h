// Files for results that are too large to be held in memory: STATE/spool/TASK-ATTEMPT. Written on libuv's
// threads in the order of the pieces; the loop never waits for a disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/error.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

inline constexpr std::size_t inline_result_limit = 64 * 1024;

/// One file that grows. Destroying it does not remove the file, and lets what was handed over be written.
class SpoolFile {
 public:
  SpoolFile(uv::Loop& loop, std::string path);
  ~SpoolFile();

  void append(std::string bytes);
  /// Bytes handed over and not yet on disk: above a limit the producer is paused.
  std::size_t pending() const;
  std::int64_t size() const { return size_; }  // pending ones included
  const std::string& path() const { return path_; }
  /// Called whenever a write has finished.
  void on_progress(std::function<void()> callback);
  /// Calls back on the loop when all is written, and on disk too where that is asked for, with the first
  /// failure if there was one. Once; nothing is appended after it.
  enum class Until : unsigned char { written, synced };
  void finish(Until until, std::function<void(Result<void>)> done);
  /// Nobody wants it: the file goes away when nothing is being written to it any more.
  void discard();

 private:
  struct Shared;  // outlives the object while a write is under way
  static void write_next(uv::Loop& loop, const std::shared_ptr<Shared>& shared);
  static void go_on(uv::Loop& loop, const std::shared_ptr<Shared>& shared);

  uv::Loop& loop_;
  std::string path_;
  std::int64_t size_ = 0;
  std::shared_ptr<Shared> shared_;
};

/// Removes a spooled file on a thread.
void remove_file(uv::Loop& loop, std::string path);

/// Brings a file that somebody else has written to disk, on a thread: what is large takes its time.
void sync_file(uv::Loop& loop, std::string path, std::function<void(Result<void>)> done);

/// Gives a file to the user `uid`, who alone may read it then, on a thread.
void hand_over_file(uv::Loop& loop, std::string path, unsigned uid, std::function<void(Result<void>)> done);

/// Up to `length` bytes from `offset`, read on a thread.
void read_file(uv::Loop& loop, std::string path, std::int64_t offset, std::size_t length,
               std::function<void(Result<std::string>)> done);

}  // namespace kurultai
