// Records what the policies see and decide into a file (`kurultaid --record FILE`; docs/replay.md), for
// `kurultai replay`. Loop thread only; the file is written on a thread of its own. A disk that is slow or
// full costs records, which are counted in the file, and never holds anybody up.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "governance/life_writer.h"
#include "supervisor/uv/job_thread.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

class Recorder {
 public:
  /// Of records that wait for the disk.
  static constexpr std::size_t most_waiting = std::size_t{1} << 20;

  /// Makes `file` (0600); one that is there already is an error. No more than `limit` bytes are written.
  static Result<std::unique_ptr<Recorder>> start(uv::Loop& loop, const std::string& file, Bytes limit,
                                                 LifeHeader header);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  template <typename Record>
  void note(const Record& record) {
    if (is_closed_) return;
    const std::size_t before = waiting_.size();
    writer_.write(waiting_, record);
    noted(record.at, before);
  }

  /// Why the last piece could not be written; empty: it was.
  const std::string& trouble() const { return trouble_; }

  /// The last line, on its way to the disk; nothing is noted any more.
  void close();

 private:
  struct File;
  Recorder(uv::Loop& loop, std::unique_ptr<uv::JobThread> thread, std::shared_ptr<File> file, Bytes limit);

  void noted(TimePoint at, std::size_t before);
  void tell_of_dropped(TimePoint at, std::size_t before);
  void end_at_limit(TimePoint at);
  void drop(std::uint64_t records);
  void write();
  void written(std::uint64_t records);

  uv::Loop& loop_;
  LifeWriter writer_;
  std::unique_ptr<uv::JobThread> thread_;
  std::shared_ptr<File> file_;
  Bytes limit_;
  std::int64_t given_ = 0;  // bytes that the file has, or is to have
  uv::Timer timer_;
  std::string waiting_;
  std::uint64_t waiting_records_ = 0;
  std::uint64_t dropped_ = 0;  // since the last one that was kept
  bool is_writing_ = false;
  bool is_closed_ = false;
  std::string trouble_;
};

}  // namespace kurultai
