#include "supervisor/gateway/state_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace kurultai {

using nlohmann::json;

namespace {

std::string_view word_of_state(Worker::State state, bool busy) {
  switch (state) {
    case Worker::State::starting:
      return "starting";
    case Worker::State::serving:
      return busy ? "busy" : "idle";
    case Worker::State::ending:
      return "ending";
    case Worker::State::gone:
      return "gone";
  }
  return "gone";
}

std::string since_text(TimePoint when, TimePoint now, WallTime wall_now) {
  return to_rfc3339(wall_now - std::chrono::duration_cast<std::chrono::milliseconds>(now - when));
}

json health_json(const WorkerHealth& health, TimePoint started, TimePoint now, WallTime wall_now) {
  const double took = std::chrono::duration<double, std::milli>(health.took).count();
  return {{"status", to_string(health.status)},
          {"since", since_text(health.since.value_or(started), now, wall_now)},
          {"checkedAt", health.checked ? json(since_text(*health.checked, now, wall_now)) : json()},
          {"tookMs", took > 0 ? json(took) : json()},
          {"failures", health.failures},
          {"reason", health.reason.empty() ? json() : json(health.reason)}};
}

}  // namespace

json worker_json(const Worker& worker, const WorkerHealth& health, TimePoint now, WallTime wall_now) {
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - worker.started());
  return {{"workerId", worker.id()},
          {"agent", worker.agent().name},
          {"pid", worker.pid()},
          {"state", word_of_state(worker.state(), !worker.tasks().empty())},
          {"tasks", worker.tasks()},
          {"tasksDone", worker.tasks_done()},
          {"startedAt", to_rfc3339(wall_now - age)},
          {"memoryBytes", worker.memory().count},
          {"peakMemoryBytes", worker.peak().count},
          {"memoryLimitBytes", worker.spec().memory_limit.count},
          {"health", health_json(health, worker.started(), now, wall_now)},
          {"leak", to_string(worker.leak.verdict().level)},
          {"growthBytesPerHour", std::llround(leak_growth(worker.leak.verdict()))},
          {"noiseLines", worker.noise_lines},
          {"unknownMessages", worker.unknown_messages}};
}

json breaker_json(const CircuitBreaker& breaker, TimePoint now) {
  const auto wait = std::chrono::ceil<std::chrono::seconds>(breaker.retry_after(now));
  return {{"state", to_string(breaker.state())},
          {"failures", breaker.failures(now)},
          {"retryAfter", wait.count() > 0 ? json(wait.count()) : json()}};
}

}  // namespace kurultai
