// What a command printed: kept in memory up to the inline limit, in the result file beyond it, never buffered
// whole. For readers who cannot wait for the end the file holds the little too, once it is shown. A file that
// was not delivered is removed.
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

  /// Whether there is something that is in memory only, and could be in the file.
  bool is_hidden() const { return !file_ && !text_.empty() && !path_.empty(); }
  /// Puts it there; what comes later follows at once. Where the disk takes nothing it stays in memory.
  void show();

  struct Delivery {
    JsonText result;              // a JSON string when the bytes are UTF-8 and few
    std::int64_t file_bytes = 0;  // else their number in the file
  };
  Result<Delivery> deliver();
  /// In the place of what was printed; the bytes in the file are the JSON text.
  Result<Delivery> deliver_json(JsonText value);

 private:
  Result<void> spill();
  void hide();
  Result<void> write(std::string_view bytes);

  std::string path_;
  Bytes inline_limit_;
  Bytes total_limit_;
  std::string text_;  // all of it, while that is not more than the inline limit
  Fd file_;
  Bytes total_{};
  bool delivered_ = false;
};

}  // namespace kurultai
