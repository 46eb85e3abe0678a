// A result on its way to the file that the supervisor named for it. It has no name of its own until it is
// complete and its task is known, so nothing is left when this process is killed.
#pragma once

#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "worker/fd.h"

namespace kurultai {

class ReplyFile {
 public:
  /// On the file system of `beside`, the path of some task's result file.
  static Result<ReplyFile> make(const std::string& beside);
  ReplyFile(ReplyFile&&) = default;
  ReplyFile& operator=(ReplyFile&&) = delete;
  ~ReplyFile();

  Result<void> append(std::string_view bytes);
  Bytes size() const { return size_; }
  /// Nothing may be there yet.
  Result<void> keep_as(const std::string& path);

 private:
  ReplyFile(Fd file, std::string name) : file_(std::move(file)), name_(std::move(name)) {}

  Fd file_;
  std::string name_;  // where the file system knows no file without one
  Bytes size_{};
};

}  // namespace kurultai
