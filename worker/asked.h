// What an MCP server was asked and has not answered. Ids are given once and ascend. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "protocol/mcp_call.h"
#include "protocol/messages.h"

namespace kurultai {

struct Asked {
  enum class What { initialize, tools, call, alive, ping } what = What::call;
  // Of a call.
  TaskMessage task{};  // without its payload
  McpCall call{};
  std::optional<std::string> cancelled{};  // why; what it still answers does not matter then
  // Of a ping.
  std::int64_t other = 0;  // alive: the cancelled call that it was sent behind
  std::uint64_t seq = 0;   // ping: of the supervisor's own
};

class AskedRequests {
 public:
  std::int64_t add(Asked asked);
  /// Null when there is none; valid until it is taken or given up.
  Asked* find(std::int64_t id);
  Asked take(std::int64_t id);
  /// Its answer may still come, and is no surprise then. The newest 1024 are remembered.
  void give_up(std::int64_t id);
  bool was_given_up(std::int64_t id) const;

  std::optional<std::int64_t> call_of_task(const std::string& task_id) const;
  const Asked* any_call() const;
  std::size_t calls() const;
  std::size_t size() const { return open_.size(); }

 private:
  std::map<std::int64_t, Asked> open_;
  std::deque<std::int64_t> given_up_;
  std::int64_t last_ = 0;
};

}  // namespace kurultai
