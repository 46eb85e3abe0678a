#include "tests/simulation/agent.h"

#include <signal.h>

#include <algorithm>
#include <utility>

namespace kurultai::simulation {

void Agent::start() {
  if (nature_.has_helper) {
    helper_ = std::make_unique<SecondProcess>(pid + 1, [this] { one_less(); });
    kernel_.enter(group->name, *helper_);
  }
  Child::start();
}

void Agent::on_message(const ToAgent& message) {
  std::visit([this](const auto& each) { hear(each); }, message);
}

void Agent::on_shutdown() {
  if (nature_.heeds_shutdown) later(nature_.leaves_in, [this] { exit(0, 0); });
}

void Agent::let_go() {
  for (auto& [id, work] : works_) loop_.schedule.cancel(work.ticket);
}

void Agent::hear(const TaskMessage& task) {
  if (works_.contains(task.task_id)) return onlooker_.task_came_twice(*this, task.task_id);
  const auto part = onlooker_.task_came(*this, task);
  Work& work = works_[task.task_id] = {.whim = part.whim, .run = part.run};
  if (!task.checkpoint.empty()) {
    work.progress = std::stod(task.checkpoint);
    work.whim.work = Duration(
        static_cast<std::int64_t>(static_cast<double>(work.whim.work.count()) * (1 - work.progress / 100)));
  }
  plan(task.task_id, work.whim.pace);
}

void Agent::hear(const Cancel& cancel) {
  const auto found = works_.find(cancel.task_id);
  if (found == works_.end() || !found->second.whim.heeds_cancel) return;
  later(found->second.whim.answers_in, [this, id = cancel.task_id] {
    answer(id, Failed{.task_id = id, .error = "cancelled", .retryable = false});
  });
}

void Agent::hear(const Preempt& preempt) {
  onlooker_.preempt_came(*this, preempt.task_id);
  const auto found = works_.find(preempt.task_id);
  if (found == works_.end() || found->second.whim.on_preempt == Whim::OnPreempt::ignores) return;
  found->second.stopping = true;
  later(found->second.whim.answers_in, [this, id = preempt.task_id] { answer_preempt(id); });
}

void Agent::answer_preempt(const std::string& task_id) {
  const auto found = works_.find(task_id);
  if (found == works_.end()) return;
  Work& work = found->second;
  switch (work.whim.on_preempt) {
    case Whim::OnPreempt::saves:
      return answer(task_id, Preempted{task_id, work.whim.checkpoints ? std::to_string(work.progress) : ""});
    case Whim::OnPreempt::completes:
      return answer(task_id, Complete{.task_id = task_id, .result = std::to_string(work.run)});
    case Whim::OnPreempt::crashes:
      onlooker_.went_wrong(*this, "crashes when it is preempted");
      return exit(0, SIGSEGV);
    case Whim::OnPreempt::ignores:
      return;
  }
}

void Agent::hear(const PressureHint&) {
  if (loop_.dice.one_in(4)) kernel_.shrink(*this, {memory.count / 10});
}

void Agent::hear(const Ping& ping) { say(Pong{ping.seq}); }

void Agent::plan(const std::string& task_id, Duration in) {
  works_.at(task_id).ticket = later(in, [this, task_id] { work_on(task_id); });
}

void Agent::take_up() {
  Child::take_up();
  if (wanted_ <= Bytes{} || waits || is_over()) return;
  const auto waiting = works_.find(waiting_task_);
  if (waiting != works_.end()) grow(waiting_task_, waiting->second, std::exchange(wanted_, {}));
}

void Agent::work_on(const std::string& task_id) {
  const auto found = works_.find(task_id);
  if (found == works_.end()) return;
  Work& work = found->second;
  const bool leaks = work.whim.course == Whim::Course::leaks;
  const Bytes missing = leaks ? work.whim.step : work.whim.memory - work.grown;
  if (missing > Bytes{}) return grow(task_id, work, std::min(work.whim.step, missing));
  if (work.began == TimePoint{}) {
    work.began = loop_.schedule.now();
    if (work.whim.cache > Bytes{}) kernel_.read_files(*this, work.whim.cache);
    if (work.whim.files > Bytes{}) kernel_.write_files(*this, work.whim.files);
  }
  const auto left = std::chrono::ceil<Duration>(work.began + work.whim.work - loop_.schedule.now());
  if (left <= Duration(0)) return end_work(task_id, work);
  if (work.whim.reports > Duration(0)) report(task_id, work);
  plan(task_id, work.whim.reports > Duration(0) ? std::min(left, work.whim.reports) : left);
}

/// Where it does not get all, it waits, and goes on from there.
void Agent::grow(const std::string& task_id, Work& work, Bytes step) {
  const Bytes got = kernel_.grow(*this, step);
  work.grown += got;
  if (got == step) return plan(task_id, work.whim.pace);
  wanted_ = step - got;
  waiting_task_ = task_id;
}

void Agent::report(const std::string& task_id, Work& work) {
  const std::chrono::duration<double> since = loop_.schedule.now() - work.began;
  const std::chrono::duration<double> all = work.whim.work;
  work.progress = std::clamp(100 * since.count() / all.count(), work.progress, 99.0);
  say(Progress{task_id, work.progress, ""});
  if (work.whim.checkpoints) say(Checkpoint{task_id, std::to_string(work.progress)});
}

void Agent::end_work(const std::string& task_id, Work& work) {
  switch (work.whim.course) {
    case Whim::Course::leaks:
    case Whim::Course::goes_silent:
      return;
    case Whim::Course::completes:
      return answer(task_id, Complete{.task_id = task_id, .result = std::to_string(work.run)});
    case Whim::Course::fails:
      return answer(task_id,
                    Failed{.task_id = task_id, .error = "simulated", .retryable = work.whim.retryable});
    case Whim::Course::crashes:
      onlooker_.went_wrong(*this, "crashes");
      return exit(0, SIGSEGV);
    case Whim::Course::leaves:
      onlooker_.went_wrong(*this, "leaves");
      return exit(0, 0);
    case Whim::Course::babbles:
      onlooker_.went_wrong(*this, "babbles");
      return babble("{\"type\":\"PROGRESS\",\"taskId\":7}\n");
  }
}

void Agent::answer(const std::string& task_id, const FromAgent& message) {
  auto ended = works_.extract(task_id);
  if (ended.empty()) return;
  const Work& work = ended.mapped();
  loop_.schedule.cancel(work.ticket);
  if (waiting_task_ == task_id) wanted_ = {};
  kernel_.shrink(*this, work.grown - std::min(work.grown, work.whim.keeps));
  say(message);
  if (!work.whim.late_word) return;
  later(Duration(loop_.dice.between(1, 500)), [this, task_id] {
    if (!onlooker_.is_given(*this, task_id)) say(Complete{.task_id = task_id, .result = "0"});
  });
}

}  // namespace kurultai::simulation
