#include "supervisor/gateway/kept_event.h"

#include <doctest/doctest.h>

#include <limits>

#include "supervisor/task.h"

namespace kurultai::kept_event_test {

namespace {

std::string as_sent(const Event& event) {
  return "id: " + std::to_string(event.id) + "\nevent: " + std::string(name_of(event)) +
         "\ndata: " + to_json(event) + "\n\n";
}

Task task_in(TaskState state) {
  Task task;
  task.id = "1m7yp4h8z96ea5mp";
  task.agent = "count";
  task.state = state;
  task.worker_id = "w3";
  task.ran = Duration(12);
  task.peak = mebibytes(3);
  return task;
}

const WallTime noon{std::chrono::milliseconds(1'800'000'000'123)};

}  // namespace

TEST_CASE("an event that is kept is told as it was, whatever has become of its task") {
  for (const auto kind : {TaskEvent::Kind::queued, TaskEvent::Kind::completed, TaskEvent::Kind::failed,
                          TaskEvent::Kind::progress, TaskEvent::Kind::preempted}) {
    Task task = task_in(kind == TaskEvent::Kind::completed ? TaskState::completed
                        : kind == TaskEvent::Kind::failed  ? TaskState::failed
                                                           : TaskState::queued);
    if (kind == TaskEvent::Kind::failed) task.error = TaskError{FailReason::timeout, "too \"long\""};
    const std::string correlation = kind == TaskEvent::Kind::queued ? task.id : "g4";
    const Event event{7, noon, correlation,
                      TaskEvent{.kind = kind, .task = task, .why = "preempt", .chosen_by = "g3"}};
    const KeptEvent kept(event);
    const std::string sent = as_sent(event);
    task.state = TaskState::running;
    task.id = task.agent = task.worker_id = "another";
    task.error.reset();
    CHECK(kept.text() == sent);
    CHECK(kept.task_id() == "1m7yp4h8z96ea5mp");
    CHECK(kept.agent() == "count");
    CHECK(kept.name() == name_of(event));
    CHECK(kept.size() >= sent.size());
  }
}

TEST_CASE("events about no task are kept as well") {
  const Event event{8, noon, "w3", BreakerChanged{"called", "openai", "closed", "open"}};
  const KeptEvent kept(event);
  CHECK(kept.text() == as_sent(event));
  CHECK(kept.task_id().empty());
  CHECK(kept.agent().empty());
  CHECK(kept.name() == "breakerChanged");
  CHECK(kept.size() == kept.text().size());
}

TEST_CASE("no event is longer than its size, and 1,024 ordinary ones stay below 512 KiB") {
  constexpr auto most = std::numeric_limits<std::int64_t>::min();  // with its sign
  Task task = task_in(TaskState::cancelled);
  task.priority = Priority::heartbeat;
  task.attempt = std::numeric_limits<int>::min();
  task.ran = task.waited = Duration(most);
  task.peak = {most};
  const Event longest{std::numeric_limits<std::uint64_t>::max(), noon, "",
                      TaskEvent{.kind = TaskEvent::Kind::cancelled, .task = task}};
  const KeptEvent kept(longest);
  CHECK(kept.size() >= kept.text().size());

  task.agent = std::string(64, 'a');
  CHECK(KeptEvent(longest).size() <= 512);
}

}  // namespace kurultai::kept_event_test
