#include "tools/kurultai/run/input.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <iterator>

#include "protocol/utf8.h"

namespace kurultai {

std::optional<std::string> fault_of(std::string_view argument) {
  if (argument.size() > max_argument) return "is longer than 128KiB";
  if (argument.find('\0') != std::string_view::npos) return "holds a NUL byte";
  if (!is_utf8(argument)) return "is not UTF-8";
  return std::nullopt;
}

Input::Input(std::vector<std::string> arguments)
    : ready_(std::make_move_iterator(arguments.begin()), std::make_move_iterator(arguments.end())),
      seen_(ready_.size()) {}

std::optional<std::string> Input::next() {
  if (ready_.empty()) return std::nullopt;
  std::string out = std::move(ready_.front());
  ready_.pop_front();
  return out;
}

std::optional<std::size_t> Input::total() const {
  if (fd_ >= 0) return std::nullopt;
  return seen_;
}

void Input::take(std::string_view line) {
  ++seen_;
  if (auto fault = fault_of(line)) fault_ = "line " + std::to_string(seen_) + " of the input " + *fault;
  ready_.emplace_back(line);
}

void Input::end() {
  fd_ = -1;
  if (!splitter_.rest().empty()) take(splitter_.rest());
}

Result<void> Input::read_some() {
  std::array<char, 65536> buffer{};
  const ssize_t got = read(fd_, buffer.data(), buffer.size());
  if (got < 0) {
    if (errno == EINTR || errno == EAGAIN) return {};
    return system_failure("read stdin", errno);
  }
  if (got == 0) end();
  splitter_.feed({buffer.data(), static_cast<std::size_t>(got)}, [this](const LineSplitter::Line& line) {
    if (line.kind == LineSplitter::Kind::line) {
      take(line.text);
    } else {
      fault_ = "line " + std::to_string(seen_ + 1) + " of the input is longer than 128KiB";
    }
    return fault_.empty();
  });
  if (!fault_.empty()) return failure(fault_);
  return {};
}

}  // namespace kurultai
