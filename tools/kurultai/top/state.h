// What `kurultai top` shows, as values. Decoded from the supervisor's objects; what they leave out is empty.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "tools/kurultai/event_text.h"

namespace kurultai {

struct TopWorker {
  std::string id, agent, state, leak;
  Bytes memory, limit;
  std::optional<WallTime> started;
};

struct TopTask {
  std::string id, agent, priority, state, message;
  Bytes memory;  // of its worker; of several tasks in one worker each shows all of it
  std::optional<double> progress;
  std::optional<WallTime> started;
};

struct TopLevel {
  std::string priority;
  std::int64_t waiting = 0, limit = 0;
};

/// A threshold's name and its part of the budget.
struct TopMark {
  std::string name;
  double at = 0;
};

struct TopState {
  std::string status, guarantee;
  std::vector<std::string> troubles;
  bool draining = false;
  Duration up{};
  Bytes used, budget, supervisor, workers_used, swap;
  std::vector<TopMark> marks;     // the lowest first
  std::vector<std::string> over;  // names of those that memory is above
  std::vector<TopWorker> workers;
  std::vector<TopTask> tasks;  // that run or are suspended; the supervisor may have more
  std::vector<TopLevel> levels;
  std::int64_t waiting = 0, most_waiting = 0, returned = 0;
};

/// From `/health`, `/v1/workers`, `/v1/queue` and a page of `/v1/tasks`.
TopState decode_top(const nlohmann::json& health, const nlohmann::json& workers, const nlohmann::json& queue,
                    const nlohmann::json& tasks);

}  // namespace kurultai
