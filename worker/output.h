// What a command printed: kept in memory up to the inline limit, in the result file beyond it, never buffered
// whole. A file that was not delivered is removed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/messages.h"
#include "worker/fd.h"

namespace kurultai {

class Output {
 public:
  /// `file` must not exist yet; without one nothing beyond `inline_limit` is taken. A `total_limit` of 0 is
  /// none.
  Output(std::string file, Bytes inline_limit, Bytes total_limit);
  Output(Output&&) = default;
  Output& operator=(Output&&) = delete;
  ~Output();

  /// After a failure (`result larger than 1MiB`, `write FILE: No space left on device`) nothing more is
  /// taken.
  Result<void> append(std::string_view bytes);

  struct Delivery {
    JsonText result;              // a JSON string when the bytes are UTF-8 and few
    std::int64_t file_bytes = 0;  // else their number in the file
  };
  Result<Delivery> deliver();

 private:
  Result<void> spill();
  Result<void> write(std::string_view bytes);

  std::string path_;
  Bytes inline_limit_;
  Bytes total_limit_;
  std::string text_;
  Fd file_;
  Bytes written_{};
  bool delivered_ = false;
};

}  // namespace kurultai
