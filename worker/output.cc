#include "worker/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "protocol/json_text.h"
#include "protocol/utf8.h"

namespace kurultai {
namespace {

Bytes size_of(std::string_view bytes) { return {static_cast<std::int64_t>(bytes.size())}; }

}  // namespace

Output::Output(std::string file, Bytes inline_limit, Bytes total_limit)
    : path_(std::move(file)), inline_limit_(inline_limit), total_limit_(total_limit) {
  // Who gives neither a file nor a limit still wants to hear what was printed.
  if (path_.empty() && inline_limit_.count == 0) inline_limit_ = kibibytes(64);
  if (path_.empty()) total_limit_ = inline_limit_;
}

Output::~Output() {
  if (file_ && !delivered_) ::unlink(path_.c_str());
}

Result<void> Output::append(std::string_view bytes) {
  const Bytes total = total_ + size_of(bytes);
  if (total_limit_.count > 0 && total > total_limit_) {
    return failure("result larger than " + to_string(total_limit_));
  }
  const bool was_small = total_ <= inline_limit_;
  total_ = total;
  if (was_small && total <= inline_limit_) {
    text_.append(bytes);
    if (file_ && !write(bytes)) hide();
    return {};
  }
  if (!file_) {
    if (auto spilled = spill(); !spilled) return spilled;
  }
  text_ = {};
  return write(bytes);
}

void Output::show() { [[maybe_unused]] const auto shown = is_hidden() ? spill() : Result<void>{}; }

/// The file has a hole, or is not to be had.
void Output::hide() {
  file_.reset();
  ::unlink(path_.c_str());
}

Result<Output::Delivery> Output::deliver() {
  if (total_ <= inline_limit_ && is_utf8(text_)) {
    Delivery delivery;
    append_quoted(delivery.result, text_);
    return delivery;
  }
  if (!file_) {
    if (path_.empty()) return failure("result is not UTF-8, and there is no file for it");
    if (auto spilled = spill(); !spilled) return std::unexpected(spilled.error());
  }
  delivered_ = true;
  return Delivery{{}, total_.count};
}

Result<Output::Delivery> Output::deliver_json(JsonText value) {
  if (size_of(value) <= inline_limit_) return Delivery{std::move(value), 0};
  if (auto taken = append(value); !taken) return std::unexpected(taken.error());
  return deliver();
}

Result<void> Output::spill() {
  file_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file_) return system_failure("open " + path_, errno);
  auto written = write(text_);
  if (!written) hide();
  return written;
}

Result<void> Output::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_failure("write " + path_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace kurultai
