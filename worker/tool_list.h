// The tools of an MCP server, as pages of tools/list bring them. Bounded; pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "protocol/messages.h"

namespace kurultai {

class ToolList {
 public:
  /// Forgets the pages of an earlier round, and the list itself only when this one is complete.
  void begin();
  /// Takes a page. The cursor of the next one; empty when there is none, and the list is complete.
  std::string add(const nlohmann::json& page);

  const Tools& tools() const { return complete_; }
  /// ` (its tools: a, b, …)` when there is a list and the tool is not on it, else empty.
  std::string hint(std::string_view tool) const;

 private:
  Tools complete_;
  Tools growing_;
  int pages_ = 0;
  std::size_t text_ = 0;  // bytes in growing_
};

}  // namespace kurultai
