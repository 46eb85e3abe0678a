#include "tools/kurultai/run/private_supervisor.h"

#include <doctest/doctest.h>

#include "config/load.h"

namespace kurultai::private_supervisor_test {

TEST_CASE("the configuration of a run is one that the supervisor accepts") {
  const PrivateLimits limits{gibibytes(1), mebibytes(256), 4, 16, 200};
  const auto config = parse_config(private_configuration(limits), "memory.yaml",
                                   [](std::string_view) { return std::nullopt; });
  REQUIRE(config);
  CHECK(config->memory.budget == gibibytes(1));
  CHECK(config->workers.max == 4);
  CHECK(config->workers.memory_limit == mebibytes(256));
  CHECK(config->workers.memory_warning <= mebibytes(256));
  CHECK(config->queue.max_depth == 16);
  CHECK(config->store.max_finished == 200);
  CHECK(config->store.max_held == mebibytes(400));
  CHECK(config->exec.allow);
  CHECK(config->gateway.listen == "none");
}

TEST_CASE("settings in the environment cannot overrule the options of a run, other variables pass") {
  const auto kept = without_overrides({"PATH=/bin", "KURULTAI_MEMORY_BUDGET=1MiB", "KURULTAI_MAX_WORKERS=9",
                                       "KURULTAI_WORKERS_MEMORY_LIMIT=1MiB", "KURULTAI_QUEUE_MAX_DEPTH=1",
                                       "KURULTAI_SOCKET=/x", "KURULTAI_MEMORY_CGROUP_PARENT=/", "EMPTY="});
  CHECK(kept == std::vector<std::string>{"PATH=/bin", "KURULTAI_SOCKET=/x", "KURULTAI_MEMORY_CGROUP_PARENT=/",
                                         "EMPTY="});
}

}  // namespace kurultai::private_supervisor_test
