// A payload on its way from a client to a file of the spool, as it comes, so that its size does not matter to
// the supervisor's memory. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/store/spool.h"
#include "supervisor/task.h"

namespace kurultai {

class Upload {
 public:
  /// Its source sends at most `max_bytes`. Nothing is on disk before the first piece.
  Upload(uv::Loop& loop, std::string path, std::int64_t max_bytes);
  /// Removes the file, unless it was kept.
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  void take(std::string_view piece);
  std::int64_t max_bytes() const { return max_bytes_; }
  /// Whether the disk is behind, and the client should wait.
  bool is_full() const;
  /// Calls back once when it is not any more.
  void when_room(std::function<void()> then);
  /// Calls back when the file is on disk, where that is wanted (`durable`), or written.
  void finish(bool durable, std::function<void(Result<PayloadFile>)> done);
  /// The file is somebody else's from now on.
  void keep() { kept_ = true; }

 private:
  struct Digest;

  SpoolFile file_;
  std::int64_t max_bytes_;
  std::unique_ptr<Digest> digest_;
  std::function<void()> then_;
  bool kept_ = false;
};

}  // namespace kurultai
