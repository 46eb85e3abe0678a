// What a client is told of a task's progress. MCP wants figures that grow with each notification, and a
// task's percent may be told twice, fall back (a new attempt), or not be known at all. Pure.
#pragma once

#include <optional>
#include <string>

namespace kurultai {

struct ProgressNote {
  double progress = 0;
  std::optional<double> total;
  std::string message;
  bool operator==(const ProgressNote&) const = default;
};

class ProgressTold {
 public:
  /// `percent` is 0 where it is not known: then the steps are counted. Nothing where none was made.
  std::optional<ProgressNote> next(double percent, const std::string& message);

 private:
  double last_ = 0;
  std::string message_;
};

}  // namespace kurultai
