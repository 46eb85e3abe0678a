#include "worker/server_output.h"

namespace kurultai {

void ServerOutput::feed(std::string_view bytes) {
  for (std::size_t newline = 0; (newline = bytes.find('\n')) != std::string_view::npos;) {
    end_line(bytes.substr(0, newline));
    bytes.remove_prefix(newline + 1);
  }
  keep(bytes);
}

void ServerOutput::finish() {
  if (long_ || !partial_.empty()) end_line({});
}

void ServerOutput::keep(std::string_view bytes) {
  if (!long_ && partial_.size() + bytes.size() > longest) {
    long_.emplace(reader_.begin_long());
    long_->feed(partial_);
    partial_ = {};
  }
  if (long_) {
    long_->feed(bytes);
  } else {
    partial_ += bytes;
  }
}

void ServerOutput::end_line(std::string_view tail) {
  if (long_ || !partial_.empty() || tail.size() > longest) {
    keep(tail);
    tail = partial_;
  }
  if (long_) {
    reader_.end_of_long(*long_);
    long_.reset();
    return;
  }
  if (tail.ends_with('\r')) tail.remove_suffix(1);
  if (!tail.empty()) reader_.line(tail);
  partial_.clear();
  // One line must not pin its size for good.
  if (partial_.capacity() > 65536) partial_.shrink_to_fit();
}

}  // namespace kurultai
