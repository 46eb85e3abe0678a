#include "supervisor/gateway/event_filter.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "protocol/event_names.h"
#include "supervisor/task.h"

namespace kurultai::event_filter_test {

namespace {

KeptEvent kept(EventBody body) { return KeptEvent(Event{7, WallTime{}, "", std::move(body)}); }

Task task_of(const std::string& id, const std::string& agent) {
  Task task;
  task.id = id;
  task.agent = agent;
  return task;
}

}  // namespace

TEST_CASE("a filter wants what all of it is true of") {
  const Task task = task_of("1", "count");
  const KeptEvent failed = kept(TaskEvent{.kind = TaskEvent::Kind::failed, .task = task});
  const KeptEvent ready = kept(WorkerEvent{WorkerEvent::Kind::ready, "w1", "count", 12});
  const KeptEvent breaker = kept(BreakerChanged{"agent", "count", "closed", "open"});
  const KeptEvent called = kept(BreakerChanged{"called", "count", "closed", "open"});
  const KeptEvent drained = kept(DrainEvent{true, DrainStatistics{}});

  const EventFilter all;
  for (const KeptEvent* event : {&failed, &ready, &breaker, &called, &drained}) CHECK(all.wants(*event));

  const EventFilter by_task{.task_id = "1", .agent = {}, .types = {}};
  CHECK(by_task.wants(failed));
  for (const KeptEvent* event : {&ready, &breaker, &drained}) CHECK_FALSE(by_task.wants(*event));

  const EventFilter by_agent{.task_id = {}, .agent = "count", .types = {}};
  for (const KeptEvent* event : {&failed, &ready, &breaker}) CHECK(by_agent.wants(*event));
  for (const KeptEvent* event : {&called, &drained}) CHECK_FALSE(by_agent.wants(*event));

  const EventFilter by_type{.task_id = {}, .agent = {}, .types = {"workerReady", "drained"}};
  for (const KeptEvent* event : {&ready, &drained}) CHECK(by_type.wants(*event));
  for (const KeptEvent* event : {&failed, &breaker}) CHECK_FALSE(by_type.wants(*event));

  const EventFilter both{.task_id = "1", .agent = "count", .types = {"taskFailed"}};
  CHECK(both.wants(failed));
  CHECK_FALSE(both.wants(ready));
  CHECK_FALSE(EventFilter{.task_id = "1", .agent = "other", .types = {}}.wants(failed));
}

TEST_CASE("types are told apart by commas, and each is known") {
  CHECK(parse_event_types("").value().empty());
  CHECK(parse_event_types("taskFailed,drained,taskFailed").value() ==
        std::vector<std::string>{"taskFailed", "drained"});
  CHECK(parse_event_types("taskFailed,taskFialed").error().message ==
        "types: there is no event 'taskFialed', did you mean 'taskFailed'?");
  CHECK(parse_event_types(",drained")
            .error()
            .message.starts_with("types: there is no event ''; known here: taskQueued"));
  CHECK_FALSE(parse_event_types(std::string(100'000, 'x')));
}

TEST_CASE("all names of events are known") {
  const auto known = [](std::string_view name) {
    return std::ranges::find(event_names, name) != std::end(event_names);
  };
  for (int kind = 0; kind <= static_cast<int>(TaskEvent::Kind::evicted); ++kind)
    CHECK(known(name_of(static_cast<TaskEvent::Kind>(kind))));
  const Task task = task_of("1", "count");
  const DrainStatistics statistics;
  const std::vector<std::string> live;
  const LeakVerdict verdict;
  const KeptEvent events[] = {kept(Withheld{"wait", "", 0.5}),
                              kept(TaskRejected{"count", Priority::normal, "queue_full", ""}),
                              kept(HeartbeatSkipped{task, 0.7}),
                              kept(WorkerEvent{WorkerEvent::Kind::spawned, "w1", "count", 12}),
                              kept(WorkerEvent{WorkerEvent::Kind::ready, "w1", "count", 12}),
                              kept(WorkerEvent{WorkerEvent::Kind::exited, "w1", "count", 12}),
                              kept(MemoryWarning{"w1", "count", {}, {}, {}}),
                              kept(LeakSuspected{"w1", "count", {}, verdict}),
                              kept(BudgetChanged{}),
                              kept(OrphanSwept{"w1", "", 1}),
                              kept(ConfigReloaded{live, live}),
                              kept(DrainEvent{false, statistics}),
                              kept(DrainEvent{true, statistics}),
                              kept(BreakerChanged{"agent", "count", "closed", "open"})};
  for (const KeptEvent& event : events) {
    CAPTURE(event.name());
    CHECK(known(event.name()));
  }
}

}  // namespace kurultai::event_filter_test
