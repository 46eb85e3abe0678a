#include "tools/kurultai/task_view.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

namespace kurultai::task_view_test {
using nlohmann::json;

TEST_CASE("a failed task is described by reason, message and peak") {
  const auto task =
      decode_task(json::parse(R"({"taskId":"a","state":"failed","attempt":2,"peakMemoryBytes":268435456,
    "error":{"reason":"memory_cap","message":"exceeded its 256MiB cap","exitCode":null,"signal":9}})"));
  CHECK(task.finished());
  CHECK(task.attempt == 2);
  CHECK(task.signal == 9);
  CHECK_FALSE(task.exit_code);
  CHECK(describe_failure(task) == "memory_cap: exceeded its 256MiB cap (peak 256MiB)");
}

TEST_CASE("a peak that the message names is not repeated") {
  auto task = decode_task(json::parse(R"({"state":"failed","peakMemoryBytes":1048576,
    "error":{"reason":"memory_budget","message":"ended at its peak of 1MiB","quarantined":true}})"));
  CHECK(describe_failure(task) == "memory_budget: ended at its peak of 1MiB; it will not be tried again");
  CHECK(describe_failure(decode_task(json{{"state", "cancelled"}})) == "cancelled");
}

TEST_CASE("a result is inline or elsewhere or absent") {
  CHECK(decode_task(json{{"result", ""}}).has_result);
  CHECK(decode_task(json{{"resultBytes", 7}}).result_bytes == Bytes{7});
  CHECK(decode_task(json{{"resultBytes", 7}}).has_result);
  CHECK_FALSE(decode_task(json{{"result", nullptr}}).has_result);
}

TEST_CASE("an object of an unknown shape is an empty task, not an exception") {
  for (const json& object : {json(), json(3), json::array({1}),
                             json{{"taskId", 5}, {"state", "dreaming"}, {"error", "x"}, {"attempt", "y"}}}) {
    const auto task = decode_task(object);
    CHECK(task.id.empty());
    CHECK_FALSE(task.state);
    CHECK_FALSE(task.finished());
    CHECK(task.attempt == 1);
  }
}

}  // namespace kurultai::task_view_test
