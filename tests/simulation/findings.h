// What a run has shown: the first invariant that did not hold, and where one is wanted, the trace that led to
// it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/duration.h"
#include "tests/simulation/uv.h"

namespace kurultai::simulation {

struct Violation {
  std::string invariant;
  std::string what;
};

class Findings {
 public:
  Findings(const uv_loop_s& loop, bool traces) : loop_(loop), traces_(traces) {}

  void violated(const char* invariant, std::string what) {
    if (!violation_) violation_ = Violation{invariant, std::move(what)};
  }
  const std::optional<Violation>& violation() const { return violation_; }

  /// Building a line costs more than most steps: ask first.
  bool traces() const { return traces_; }
  void trace(const std::string& line) {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    const Milliseconds at = loop_.schedule.now() - start_;
    std::string time = std::to_string(at.count());
    time.resize(time.find('.') + 3);
    lines_.push_back(std::string(12 - std::min<std::size_t>(12, time.size()), ' ') + time + " ms  " + line);
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  const uv_loop_s& loop_;
  bool traces_;
  TimePoint start_ = loop_.schedule.now();
  std::optional<Violation> violation_;
  std::vector<std::string> lines_;
};

}  // namespace kurultai::simulation
