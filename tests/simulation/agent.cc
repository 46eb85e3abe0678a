#include "tests/simulation/agent.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "protocol/codec.h"

namespace kurultai::simulation {

namespace {

/// Outlives the process that made it, holds some memory and the output, and dies only when it is killed.
class SecondProcess : public Process {
 public:
  SecondProcess(int number, std::function<void()> died) : Process(number), died_(std::move(died)) {}
  void on_signal(int) override {}
  void on_death(int) override { died_(); }
  void on_room() override {}

 private:
  std::function<void()> died_;
};

}  // namespace

Agent::Agent(uv_loop_s& loop, Kernel& kernel, Onlooker& onlooker, Identity identity, Nature nature,
             AgentPipes pipes, std::function<void(Agent&)> gone)
    : Process(identity.pid),
      loop_(loop),
      kernel_(kernel),
      onlooker_(onlooker),
      identity_(std::move(identity)),
      nature_(nature),
      pipes_(std::move(pipes)),
      gone_(std::move(gone)) {
  pipes_.in->wake_reader = [this] { wake(); };
}

Agent::~Agent() { pipes_.in->wake_reader = nullptr; }

void Agent::start() {
  if (nature_.has_helper) {
    helper_ = std::make_unique<SecondProcess>(pid + 1, [this] {
      if (ended_) release_output();
    });
    kernel_.enter(group->name, *helper_);
  }
  later(nature_.starts_in, [this] {
    wanted_ = nature_.base;
    work_on("");
    later(Duration(1), [this] {
      switch (nature_.start) {
        case Nature::Start::ready:
          return say(Ready{protocol_version, identity_.name});
        case Nature::Start::speaks_another_protocol:
          onlooker_.went_wrong(*this, "speaks another protocol");
          return say(Ready{protocol_version + 1, identity_.name});
        case Nature::Start::exits:
          onlooker_.went_wrong(*this, "exits before READY");
          return exit(3, 0);
        case Nature::Start::never_ready:
        case Nature::Start::cannot_be_launched:
          return onlooker_.went_wrong(*this, "is never READY");
      }
    });
  });
}

/// An action of its own: one that comes due while it waits is made up for later, one after its end never.
void Agent::later(Duration in, std::function<void()> action) {
  loop_.schedule.after(in, [this, alive = std::weak_ptr(alive_), action = std::move(action)]() mutable {
    if (alive.expired() || is_over()) return;
    if (waits) {
      postponed_.push_back(std::move(action));
    } else {
      action();
    }
  });
}

void Agent::say(const FromAgent& message) {
  if (is_over()) return;
  onlooker_.said(*this, message);
  pipes_.out->write(encode(message));
}

void Agent::wake() {
  if (is_over() || loop_.schedule.waits(reading_)) return;
  reading_ = loop_.schedule.after(std::chrono::microseconds(loop_.dice.skewed(5, 1500)), [this] {
    if (waits) return postponed_.push_back([this] { read_input(); });
    read_input();
  });
}

void Agent::read_input() {
  if (is_over()) return;
  const std::string bytes = std::exchange(pipes_.in->bytes, {});
  if (bytes.empty() && pipes_.in->writer_gone && nature_.heeds_shutdown) {
    later(nature_.leaves_in, [this] { exit(0, 0); });
  }
  lines_.feed(bytes, [this](LineSplitter::Line line) {
    on_line(line.text);
    return !is_over();
  });
  if (!bytes.empty() && pipes_.in->writer_gone) wake();
}

void Agent::on_line(std::string_view line) {
  const auto decoded = decode_to_agent(line);
  const auto* message = std::get_if<ToAgent>(&decoded);
  if (message == nullptr) return onlooker_.went_wrong(*this, "was sent a line that is no message");
  std::visit([this](const auto& each) { on_message(each); }, *message);
}

void Agent::on_message(const TaskMessage& task) {
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

void Agent::on_message(const Cancel& cancel) {
  const auto found = works_.find(cancel.task_id);
  if (found == works_.end() || !found->second.whim.heeds_cancel) return;
  later(found->second.whim.answers_in, [this, id = cancel.task_id] {
    answer(id, Failed{.task_id = id, .error = "cancelled", .retryable = false});
  });
}

void Agent::on_message(const Preempt& preempt) {
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

void Agent::on_message(const PressureHint&) {
  if (loop_.dice.one_in(4)) kernel_.shrink(*this, {memory.count / 10});
}

void Agent::on_message(const Ping& ping) { say(Pong{ping.seq}); }

void Agent::on_message(const Shutdown&) {
  if (nature_.heeds_shutdown) later(nature_.leaves_in, [this] { exit(0, 0); });
}

void Agent::plan(const std::string& task_id, Duration in) {
  Work& work = works_.at(task_id);
  work.ticket = loop_.schedule.after(in, [this, task_id, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    if (waits) return postponed_.push_back([this, task_id] { work_on(task_id); });
    work_on(task_id);
  });
}

/// With an empty id: it only takes what it wants for itself.
void Agent::work_on(const std::string& task_id) {
  if (is_over()) return;
  if (wanted_ > Bytes{}) {
    const Bytes got = kernel_.grow(*this, wanted_);
    wanted_ -= got;
    if (const auto found = works_.find(task_id); found != works_.end()) found->second.grown += got;
    waiting_task_ = task_id;
    if (wanted_ > Bytes{}) return;  // it waits, or dies
  }
  const auto found = works_.find(task_id);
  if (found == works_.end()) return;
  Work& work = found->second;
  if (work.grown < work.whim.memory || work.whim.course == Whim::Course::leaks) return grow(task_id, work);
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

void Agent::grow(const std::string& task_id, Work& work) {
  const bool leaks = work.whim.course == Whim::Course::leaks;
  const Bytes step = leaks ? work.whim.step : std::min(work.whim.step, work.whim.memory - work.grown);
  const Bytes got = kernel_.grow(*this, step);
  work.grown += got;
  if (got < step) {
    wanted_ = step - got;
    waiting_task_ = task_id;
    return;
  }
  plan(task_id, work.whim.pace);
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
      pipes_.out->write("{\"type\":\"PROGRESS\",\"taskId\":7}\n");
      return;
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

void Agent::on_signal(int signal) {
  if (signal == SIGTERM && nature_.heeds_term) later(nature_.leaves_in, [this] { exit(0, SIGTERM); });
}

// The kernel wakes it 0.6 ms after its edge was raised (measured on version 1).
void Agent::on_room() {
  later(Duration(0), [this] {
    work_on(waiting_task_);
    while (!waits && !is_over() && !postponed_.empty()) {
      const auto action = std::move(postponed_.front());
      postponed_.erase(postponed_.begin());
      action();
    }
  });
}

void Agent::exit(int status, int signal) {
  if (is_over()) return;
  kernel_.leave(*this);
  ended_ = true;
  loop_.tell_exit(pid, status, signal);
  if (group->inside.empty()) release_output();
}

void Agent::on_death(int signal) {
  ended_ = true;
  loop_.tell_exit(pid, 0, signal);
  if (group->inside.empty()) release_output();
}

void Agent::release_output() {
  if (std::exchange(released_, true)) return;
  for (auto& [id, work] : works_) loop_.schedule.cancel(work.ticket);
  loop_.schedule.cancel(reading_);
  pipes_.in->wake_reader = nullptr;
  pipes_.in->reader_gone = true;
  pipes_.out->close_writer();
  pipes_.err->close_writer();
  gone_(*this);
}

}  // namespace kurultai::simulation
