// Expected failures are values. An Error's message names the object and the cause
// ("open /sys/fs/cgroup/x/memory.max: Permission denied"); it is written once, where the failure is seen.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace kurultai {

struct Error {
  std::string message;
  int code = 0;  // errno of the failed call, 0 where there was none
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> failure(std::string message, int code = 0) {
  return std::unexpected(Error{std::move(message), code});
}

/// `doing` names the call and the object ("open /proc/1/statm"); the text of `code` (an errno) is added.
std::unexpected<Error> system_failure(std::string_view doing, int code);

}  // namespace kurultai
