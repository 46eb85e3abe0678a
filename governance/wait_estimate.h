// How long a refused client should wait, from the observed rate of service.
#pragma once

#include "protocol/duration.h"

namespace kurultai {

class WaitEstimate {
 public:
  /// A task left its slot after running for `run`. The last few count most (exponentially weighted, 1/8).
  void finished(Duration run);

  /// The expected time until `ahead` tasks were served by `slots` slots; whole seconds, 1 to 3600. Without
  /// any observation: 1 s.
  std::chrono::seconds retry_after(std::size_t ahead, int slots) const;

 private:
  double mean_ms_ = 0;
  bool any_ = false;
};

}  // namespace kurultai
