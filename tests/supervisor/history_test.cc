#include "supervisor/history.h"

#include <doctest/doctest.h>

#include <string>

#include "supervisor/task.h"

namespace kurultai::history_test {
using namespace std::chrono_literals;

namespace {

const WallTime noon{std::chrono::hours(24 * 365 * 50 + 12)};

struct Life {
  Task task;
  WallTime now = noon;

  Life() { task.submitted_at = noon; }
  void run(const std::string& worker) {
    task.state = TaskState::running;
    task.started_at = now += 1s;
    task.worker_id = worker;
  }
  void come_back(std::string_view why) {
    enter(task, TaskState::queued, now += 1s, why);
    task.worker_id.clear();
  }
  void end(TaskState state) {
    task.state = state;
    task.finished_at = now += 1s;
  }
  std::string words() const {
    std::string all;
    for (const Transition& one : history_of(task).transitions) {
      all += (all.empty() ? "" : ", ") + std::string(to_string(one.state)) + std::to_string(one.attempt);
      if (!one.why.empty()) all += " " + one.why;
    }
    return all;
  }
};

}  // namespace

TEST_CASE("a task that runs once has no past beside itself") {
  Life life;
  CHECK(life.words() == "queued1");
  life.run("w1");
  CHECK(life.words() == "queued1, running1 w1");
  life.end(TaskState::completed);
  CHECK(life.words() == "queued1, running1 w1, completed1");
  CHECK(life.task.past.kept.empty());
}

TEST_CASE("each run and each return is told with its own attempt, worker and reason") {
  Life life;
  life.run("w1");
  leave_run(life.task);
  life.task.attempt = 2;
  life.come_back("exit_code");
  CHECK(life.words() == "queued1, running1 w1, queued2 exit_code");
  life.run("w2");
  life.come_back("preempt");
  life.run("w3");
  life.task.error = TaskError{FailReason::timeout};
  life.end(TaskState::failed);
  CHECK(
      life.words() ==
      "queued1, running1 w1, queued2 exit_code, running2 w2, queued2 preempt, running2 w3, failed2 timeout");
}

TEST_CASE("a run that stood still is told once") {
  Life life;
  life.run("w1");
  enter(life.task, TaskState::suspended, life.now += 1s, "");
  enter(life.task, TaskState::running, life.now += 1s, "w1");
  life.end(TaskState::completed);
  CHECK(life.words() == "queued1, running1 w1, suspended1, running1 w1, completed1");
}

TEST_CASE("a task that ends while it waits again did not run a last time") {
  Life life;
  life.run("w1");
  life.come_back("preempt");
  life.task.error = TaskError{FailReason::cancelled};
  life.end(TaskState::cancelled);
  CHECK(life.words() == "queued1, running1 w1, queued1 preempt, cancelled1 cancelled");
}

TEST_CASE("the newest are kept, and how many are missing") {
  Life life;
  for (int number = 0; number < 20; ++number) {
    life.run("w" + std::to_string(number));
    life.come_back("preempt");
  }
  const TaskHistory history = history_of(life.task);
  CHECK(life.task.past.kept.size() == TaskPast::most);
  CHECK(history.dropped == 8);
  CHECK(history.transitions.size() == TaskPast::most + 1);
  CHECK(history.transitions.at(1).why == "w4");
  CHECK(history.transitions.back() == Transition{TaskState::queued, life.now, 1, "preempt"});
}

}  // namespace kurultai::history_test
