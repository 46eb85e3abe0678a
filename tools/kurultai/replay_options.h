// What `kurultai replay` was asked for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "tools/kurultai/complaint.h"

namespace kurultai {

struct ReplayOptions {
  std::vector<std::string> files;    // traces of processes with `leak`, else one recorded life
  std::vector<std::string> configs;  // to try on that; none: what was in effect
  std::optional<Bytes> cap;
  bool leak = false;
  bool fail = false;  // exit status 1 for a leak
  bool json = false;
};

/// What the policies of one or two configurations would have done in a recorded life.
Answer<ExitStatus> replay_life(const ReplayOptions& options);

}  // namespace kurultai
