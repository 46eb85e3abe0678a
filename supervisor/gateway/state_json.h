// How answers show a worker and a circuit breaker, wherever they appear.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "governance/circuit_breaker.h"
#include "governance/health_checks.h"
#include "protocol/duration.h"
#include "supervisor/workers/worker.h"

namespace kurultai {

/// `now` and `wall_now` are one moment, on the loop's clock and on the wall's.
nlohmann::json worker_json(const Worker& worker, const WorkerHealth& health, TimePoint now,
                           WallTime wall_now);

/// Without a name.
nlohmann::json breaker_json(const CircuitBreaker& breaker, TimePoint now);

}  // namespace kurultai
