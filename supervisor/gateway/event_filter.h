// Which events a reader wants to hear of. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.h"
#include "supervisor/gateway/kept_event.h"

namespace kurultai {

struct EventFilter {
  std::string task_id;             // only those about this task; empty: all, and those about none
  std::string agent;               // likewise
  std::vector<std::string> types;  // empty: all

  bool wants(const KeptEvent& event) const;
};

/// `taskFailed,breakerChanged`; an error names the type that there is none of, and the nearest that there is.
Result<std::vector<std::string>> parse_event_types(std::string_view text);

}  // namespace kurultai
