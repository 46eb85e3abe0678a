// The dispatcher with a fake controller and plain shells as workers: what end-to-end tests cannot bring about
// at will.
#include "supervisor/dispatcher.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <future>

namespace kurultai::dispatcher_test {

namespace {

class OneProcess : public WorkerGroup {
 public:
  explicit OneProcess(const bool& lost) : lost_(lost) {}
  bool is_lost() const override { return lost_; }
  std::vector<std::string> launch_options() const override { return {}; }
  void started(int pid) override { pid_ = pid; }
  Result<GroupReading> read() const override { return GroupReading{}; }
  Result<void> set_limit(Bytes) override { return {}; }
  Result<bool> kill_all() override { return pid_ == 0 || ::kill(pid_, SIGKILL) != 0; }
  void signal_all(int signal) override {
    if (pid_ != 0) ::kill(pid_, signal);
  }
  Result<std::vector<int>> processes() const override { return std::vector<int>{}; }
  int oom_fd() const override { return -1; }
  void acknowledge_oom() override {}

 private:
  const bool& lost_;
  int pid_ = 0;
};

struct FakeController : Controller {
  int asked = 0;
  int refusal = 0;  // of a new group; 0: none
  bool groups_lost = false;
  bool takes_time = false;                // a reading does
  WorkersReading reading;                 // of whoever asks
  std::function<void()> reclaim = [] {};  // on its thread
  Guarantee guarantee() const override { return Guarantee::cgroup1; }
  std::string explanation() const override { return {}; }
  Result<std::unique_ptr<WorkerGroup>> make_group(const std::string&, GroupLimits) override {
    asked += 1;
    if (refusal != 0) return system_failure("mkdir", refusal);
    return std::make_unique<OneProcess>(groups_lost);
  }
  Result<void> set_workers_limit(Bytes) override { return {}; }
  bool slow() const override { return takes_time; }
  std::function<Result<WorkersReading>()> reading_job(bool) const override {
    return [this] { return reading; };
  }
  std::function<void()> reclaim_job(Bytes) const override { return reclaim; }
  std::function<Result<std::chrono::microseconds>()> cpu_job() const override {
    return [] { return std::chrono::microseconds(0); };
  }
  Result<int> watch(const std::vector<Bytes>&) override { return -1; }
  std::vector<std::string> group_paths() const override { return {}; }
};

struct FullDisk : Journal {
  std::function<void(Result<void>)> done;  // of the task that is being accepted
  std::string no_trouble;
  void accept(const Task&, const std::vector<const Task*>&, std::function<void(Result<void>)> told) override {
    done = std::move(told);
  }
  void change(const Task&, std::function<void()> told) override {
    if (told) told();
  }
  void forget(const Task&) override {}
  void in_one_commit(const std::function<void()>& together) override { together(); }
  const std::string& trouble() const override { return no_trouble; }
  bool is_settled() const override { return true; }
};

/// A dispatcher whose launcher is a shell script in place of kurultai-worker.
struct House {
  std::string directory;
  uv::Loop loop;
  FakeController controller;
  Events events{[] { return WallTime{}; }};
  std::vector<std::string> told;
  std::unique_ptr<Dispatcher> dispatcher;
  std::function<void(const Event&)> on_event = [](const Event&) {};

  explicit House(
      const std::string& script = "sleep 100", const std::function<void(Config&)>& change = [](Config&) {}) {
    ::signal(SIGPIPE, SIG_IGN);
    std::string name = "/tmp/kurultai-test-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    directory = name;
    const std::string launcher = directory + "/launcher";
    std::ofstream(launcher) << "#!/bin/sh\n" << script << "\n";
    ::chmod(launcher.c_str(), 0700);
    Config config;
    config.workers.max = 1;
    AgentConfig agent;
    agent.name = "a";
    agent.command = {"a"};
    config.agents["a"] = agent;
    change(config);
    PoolSettings pool;
    pool.launcher = launcher;
    pool.environment = {"PATH=/usr/bin:/bin"};
    pool.max_line = 1024 * 1024;
    events.add_sink([this](const Event& event) {
      told.emplace_back(name_of(event));
      on_event(event);
    });
    dispatcher = std::make_unique<Dispatcher>(loop, std::make_shared<const Config>(config), controller,
                                              events, pool, directory, directory + "/logs");
  }
  ~House() {
    dispatcher->drain(Duration(0), [this](const DrainStatistics&) { loop.stop(); });
    if (!dispatcher->pool().workers().empty()) loop.run();
    dispatcher.reset();
    uv::defer(loop, [] {});
    loop.run();
    std::filesystem::remove_all(directory);
  }
  const Task& submit(Priority priority = Priority::normal, const std::string& agent = "a") {
    Submission submission;
    submission.agent = agent;
    submission.priority = priority;
    const Task* accepted = nullptr;
    dispatcher->submit(std::move(submission), [&accepted](const auto& task) {
      REQUIRE(task.has_value());
      accepted = *task;
    });
    REQUIRE(accepted != nullptr);
    return *accepted;
  }
};

const std::string ready = "echo '{\"type\":\"READY\",\"protocol\":1,\"name\":\"a\"}'; read hello; ";
// The task's id is the only text of 16 characters that follows "taskId":".
const std::string take_task = "read task; id=${task#*taskId\\\":\\\"}; id=$(expr substr \"$id\" 1 16); ";

}  // namespace

TEST_CASE("a task that finds no room for a worker keeps its place and does not hold up the loop") {
  House house;
  house.controller.refusal = ENOMEM;
  const Task& first = house.submit();
  const Task& second = house.submit();
  CHECK(house.controller.asked == 1);
  CHECK(first.state == TaskState::queued);
  CHECK(house.dispatcher->queue().depth() == 2);
  CHECK(house.dispatcher->queue().returned() == 0);
  CHECK(house.dispatcher->queue().position(first.id) == 1);
  CHECK(house.dispatcher->queue().position(second.id) == 2);
}

TEST_CASE("a task that cannot be written down gives back its agent's probe") {
  FullDisk disk;
  House house("exit 1", [](Config& config) {
    config.circuit_breakers.failures = 1;
    config.circuit_breakers.backoff = {Duration(1)};
  });
  house.submit();
  house.on_event = [&](const Event& event) {
    if (name_of(event) == "taskFailed") house.loop.stop();
  };
  house.loop.run();
  house.on_event = [](const Event&) {};
  uv::Timer back_off(house.loop, [&] { house.loop.stop(); });
  back_off.start(Duration(5));
  house.loop.run();
  house.dispatcher->keep_tasks(disk, {});
  const auto refusal = [&] {
    std::optional<Refusal::Code> code;
    Submission submission;
    submission.agent = "a";
    house.dispatcher->submit(std::move(submission), [&](const auto& task) { code = task.error().code; });
    if (disk.done) std::exchange(disk.done, nullptr)(failure("no space"));
    return code;
  };
  for (int i = 0; i < 3; ++i) CHECK(refusal() == Refusal::Code::storage_unavailable);
  CHECK(house.dispatcher->breakers().at("a").state() == BreakerState::half_open);
}

TEST_CASE("a drain is over once; what only waits did not run out of time") {
  House house;
  house.controller.refusal = ENOMEM;
  house.submit();
  std::vector<DrainStatistics> told;
  const auto note = [&told](const DrainStatistics& statistics) { told.push_back(statistics); };
  house.dispatcher->drain(Duration(0), note);
  house.dispatcher->drain(Duration(1000), note);
  house.dispatcher->drain(Duration(0), nullptr);
  REQUIRE(told.size() == 2);
  CHECK(told[0].status == "completed");
  CHECK(told[0].initial == 1);
  CHECK(told[0].remaining == 1);
  CHECK(to_json(told[0]) == to_json(told[1]));
  CHECK(std::ranges::count(house.told, "drained") == 1);
}

TEST_CASE("a task that is cancelled while its worker starts leaves at once, with the reason") {
  House house;
  const Task& task = house.submit();
  CHECK(house.dispatcher->cancel(task.id, "not wanted") == CancelAnswer::accepted);
  CHECK(task.state == TaskState::cancelled);
  REQUIRE(task.error.has_value());
  CHECK(task.error->message == "not wanted");
  CHECK(house.dispatcher->cancel(task.id, "again") == CancelAnswer::already_finished);
}

TEST_CASE(
    "a cancellation that was accepted holds, though the answer was in and its result was being written") {
  House house(ready + take_task +
              "x=$(head -c 70000 /dev/zero | tr '\\0' x); "
              "echo '{\"type\":\"CHUNK\",\"taskId\":\"'$id'\",\"data\":\"'$x'\"}'; "
              "echo '{\"type\":\"COMPLETE\",\"taskId\":\"'$id'\"}'; cat >/dev/null");
  const Task& task = house.submit();
  // All threads that could write its result wait until it is cancelled: libuv has 4 of them.
  std::promise<void> cancelled;
  const std::shared_future<void> go_on = cancelled.get_future().share();
  for (int job = 0; job < 16; ++job) uv::run_on_thread(house.loop, [go_on] { go_on.wait(); }, [] {});
  bool asked = false;
  uv::Timer look(house.loop, [&] {
    const auto& workers = house.dispatcher->pool().workers();
    const bool answered = task.state == TaskState::running && workers.at(0)->tasks().empty();
    if (answered && !asked) {
      asked = true;
      CHECK(house.dispatcher->cancel(task.id, "late") == CancelAnswer::accepted);
      cancelled.set_value();
    }
    if (is_final(task.state)) return house.loop.stop();
    look.start(Duration(1));
  });
  look.start(Duration(1));
  house.loop.run();
  CHECK(asked);
  CHECK(task.state == TaskState::cancelled);
  CHECK(task.error->message == "late");
  CHECK(task.result.file.empty());
}

TEST_CASE("an agent that speaks of its progress all the time is listened to, and told of in measure") {
  House house(ready + take_task +
              "i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); "
              "echo '{\"type\":\"PROGRESS\",\"taskId\":\"'$id'\",\"percent\":3,\"message\":\"'$i'\"}'; done; "
              "echo '{\"type\":\"FAILED\",\"taskId\":\"'$id'\",\"error\":\"enough\"}'; cat >/dev/null");
  house.on_event = [&](const Event& event) {
    const auto* about = std::get_if<TaskEvent>(&event.body);
    if (about != nullptr && is_final(about->task.state)) house.loop.stop();
  };
  const Task& task = house.submit();
  house.loop.run();
  CHECK(task.message == "5000");
  const auto told = std::ranges::count(house.told, "taskProgress");
  CHECK(told >= 100);
  CHECK(told < 2000);  // 100, and 20 a second
}

namespace {

/// Room below the line for one cap of `a`, or three of `tiny`.
void tight(Config& config) {
  config.memory.budget = mebibytes(1000);
  config.workers.max.reset();
  config.agents["a"].memory_limit = mebibytes(600);
  config.agents["tiny"] = config.agents["a"];
  config.agents["tiny"].name = "tiny";
  config.agents["tiny"].memory_limit = mebibytes(200);
}

}  // namespace

TEST_CASE("a task that does not fit waits, and nothing behind it starts") {
  House house("sleep 100", tight);
  const Task& first = house.submit();
  house.submit();
  house.submit(Priority::normal, "tiny");
  house.submit(Priority::low, "tiny");
  CHECK(house.controller.asked == 1);
  CHECK(house.dispatcher->queue().depth() == 3);
  CHECK(house.dispatcher->footprint_of(first) == mebibytes(600));
}

TEST_CASE("with backfill smaller ones of its own level pass it, as often as is allowed") {
  House house("sleep 100", [](Config& config) {
    tight(config);
    config.overtaking = {true, 1};
    config.agents["tiny"].memory_limit = mebibytes(100);
  });
  house.submit();
  const Task& large = house.submit();
  house.submit(Priority::low, "tiny");
  CHECK(house.controller.asked == 1);
  const Task& passing = house.submit(Priority::normal, "tiny");
  CHECK(house.controller.asked == 2);
  CHECK(house.dispatcher->queue().position(passing.id) == std::nullopt);
  CHECK(large.passes == 1);
  house.submit(Priority::normal, "tiny");
  CHECK(house.controller.asked == 2);
  CHECK(house.dispatcher->queue().depth() == 3);
}

TEST_CASE("a higher task takes the place of a lower one at once, and of no more than it needs") {
  House house("sleep 100", tight);
  const Task& low = house.submit(Priority::low);
  const Task& lowest = house.submit(Priority::heartbeat, "tiny");
  CHECK(house.controller.asked == 2);
  const Task& high = house.submit(Priority::high);
  CHECK(house.dispatcher->queue().position(high.id) == std::nullopt);
  CHECK(house.dispatcher->queue().position(low.id) == 1);
  CHECK(low.preemptions == 1);
  CHECK(lowest.preemptions == 0);
}

TEST_CASE("without admission, or with governance off, nobody waits for room") {
  for (const bool rule : {false, true}) {
    House house("sleep 100", [rule](Config& config) {
      tight(config);
      if (rule) config.admission = AdmissionRule::none;
      config.flags.memory_governance = rule;
    });
    for (int i = 0; i < 4; ++i) house.submit();
    CHECK(house.controller.asked == 4);
    CHECK(std::ranges::count(house.told, "governanceWithheld") == (rule ? 0 : 3));
  }
}

TEST_CASE(
    "a group that the kernel has no room for now is waited for, and said so; other refusals are the task's") {
  for (const int code : {ENOMEM, ENOSPC, EAGAIN, EBUSY}) {
    CAPTURE(code);
    House house;
    house.controller.refusal = code;
    const Task& task = house.submit();
    CHECK(task.state == TaskState::queued);
    CHECK(house.dispatcher->trouble().starts_with("no worker can start: mkdir: "));
  }
  for (const int code : {EACCES, EROFS, EPERM}) {
    CAPTURE(code);
    House house;
    house.controller.refusal = code;
    const Task& task = house.submit();
    REQUIRE(task.state == TaskState::failed);
    CHECK(task.error->reason == FailReason::spawn_failed);
    CHECK(task.error->message.starts_with("mkdir: "));
    CHECK(house.dispatcher->trouble().empty());
  }
}

namespace {

bool gave_way(const Task& task) { return !task.receipts.empty(); }

/// A house with a budget of 1000 MiB in which tasks run, and a monitor that reads what the test says.
struct Pressed : House {
  Monitor monitor{loop,
                  controller,
                  {mebibytes(1000), Thresholds{}, Duration(1000)},
                  [] { return Monitor::Activity{}; },
                  [](const MemorySnapshot&) {}};
  Bytes budget = mebibytes(1000);
  Bytes cache;

  explicit Pressed(const std::function<void(Config&)>& change = [](Config&) {})
      : House(ready + "read task; cat >/dev/null", [&](Config& config) {
          config.memory.budget = mebibytes(1000);
          config.workers.max = 4;
          config.admission = AdmissionRule::none;
          config.agents["a"].memory_limit = mebibytes(900);
          config.agents["a"].grace = Duration(60'000);
          change(config);
        }) {
    dispatcher->attach(monitor);
    events.add_sink([this](const Event& event) {
      if (std::holds_alternative<ThresholdCrossed>(event.body)) correlation = event.correlation_id;
    });
  }
  ~Pressed() {
    on_event = [](const Event&) {};  // what it looks at is gone
    dispatcher->kill_workers();
  }

  const Task& run(Priority priority) {
    const Task& task = submit(priority);
    on_event = [&](const Event& event) {
      const auto* about = std::get_if<TaskEvent>(&event.body);
      if (about != nullptr && about->kind == TaskEvent::Kind::started && about->task.id == task.id)
        loop.stop();
    };
    loop.run();
    REQUIRE(task.state == TaskState::running);
    return task;
  }
  /// All that run hold the same.
  void read(int mib_each) {
    MemorySnapshot snapshot;
    snapshot.budget = budget;
    snapshot.configured = budget;
    for (const auto& worker : dispatcher->pool().workers()) {
      GroupReading one;
      one.raw = one.used = mebibytes(mib_each);
      snapshot.workers.groups.push_back({worker->id(), one});
      snapshot.workers.total.raw += one.raw;
      snapshot.workers.total.used += one.used;
    }
    controller.reading = snapshot.workers;
    snapshot.workers.total.active_cache = cache;
    snapshot.used = snapshot.workers.total.used;
    dispatcher->on_reading(snapshot);
  }
  void set_budget(Bytes bytes) {
    budget = bytes;
    monitor.configure({budget, Thresholds{}, Duration(1000)});
  }
  std::string correlation;  // of the last crossing
  bool is_killed(const Task& task) {
    const auto& workers = dispatcher->pool().workers();
    return std::ranges::none_of(
        workers, [&](const auto& worker) { return worker->id() == task.worker_id && !worker->killed(); });
  }
};

}  // namespace

TEST_CASE("where a reading takes its time, one that jumps kills nobody, and the next one does") {
  for (const bool slow : {true, false}) {
    CAPTURE(slow);
    Pressed house;
    house.controller.takes_time = slow;
    const Task& low = house.run(Priority::low);
    const Task& high = house.run(Priority::high);
    house.read(400);
    house.read(800);
    CHECK(house.is_killed(low) == !slow);
    if (slow) {
      CHECK_FALSE(gave_way(low));
      house.read(400);
      house.read(800);  // one jump after the other, with good readings in between
      CHECK_FALSE(house.is_killed(low));
      const std::string waited = house.correlation;
      house.read(800);
      CHECK(house.is_killed(low));
      CHECK(low.receipts.front().receipt->id == waited);
    }
    CHECK_FALSE(house.is_killed(high));
    REQUIRE(low.receipts.size() == 1);
    CHECK(low.receipts.front().receipt->kill);
  }
}

TEST_CASE("readings that fall to nothing and come back take nobody a second time") {
  Pressed house;
  const Task& low = house.run(Priority::low);
  const Task& high = house.run(Priority::high);
  house.read(490);
  CHECK(house.is_killed(low));
  for (const int mib : {0, 490, 0, 490}) house.read(mib);
  CHECK_FALSE(house.is_killed(high));
  CHECK_FALSE(gave_way(high));
}

TEST_CASE(
    "lines that were lowered below what is used let everybody leave in peace, for as long as that may take") {
  Pressed house([](Config& config) { config.agents["a"].grace = Duration(1000); });
  const Task& low = house.run(Priority::low);
  const Task& high = house.run(Priority::high);
  house.read(300);
  house.set_budget(mebibytes(500));
  house.read(300);
  REQUIRE(low.receipts.size() == 1);
  CHECK(low.receipts.front().receipt->lowered);
  CHECK_FALSE(low.receipts.front().receipt->kill);
  CHECK_FALSE(house.is_killed(low));
  CHECK(house.dispatcher->trouble().starts_with("more is used than the budget of"));
  house.read(300);
  CHECK_FALSE(house.is_killed(low));
  CHECK_FALSE(gave_way(high));
  house.read(200);  // below preempt: that was it, and what comes now is growth
  CHECK(house.dispatcher->trouble().empty());
  house.read(300);
  CHECK(house.is_killed(low));
}

TEST_CASE("a budget that was lowered where it does no harm is no excuse for growth") {
  Pressed house;
  const Task& low = house.run(Priority::low);
  house.read(300);
  house.set_budget(mebibytes(500));
  house.read(300);
  CHECK(house.dispatcher->trouble().empty());
  house.read(490);
  CHECK(house.is_killed(low));
}

TEST_CASE("page cache that does not come back is not waited for for ever") {
  Pressed house;
  std::promise<void> disk;
  house.controller.reclaim = [answer = disk.get_future().share()] { answer.wait(); };
  house.cache = mebibytes(100);
  const Task& low = house.run(Priority::low);
  house.read(960);
  CHECK_FALSE(house.is_killed(low));
  const TimePoint began = house.loop.now();
  uv::Timer look(house.loop, [&] {
    house.read(960);
    if (house.is_killed(low)) return house.loop.stop();
    look.start(Duration(20));
  });
  look.start(Duration(20));
  house.loop.run();
  CHECK(house.loop.now() - began >= std::chrono::milliseconds(2900));
  disk.set_value();
}

TEST_CASE("a worker whose group was taken away is ended, and its task runs again") {
  Pressed house;
  const Task& task = house.run(Priority::normal);
  house.controller.groups_lost = true;
  std::string why;
  house.on_event = [&](const Event& event) {
    const auto* about = std::get_if<TaskEvent>(&event.body);
    if (about == nullptr || about->kind != TaskEvent::Kind::preempted) return;
    why = about->why;
    house.loop.stop();
  };
  house.read(100);
  CHECK(house.is_killed(task));
  house.controller.groups_lost = false;
  house.loop.run();
  CHECK(why == "group_lost");
  CHECK(task.preemptions == 1);
  CHECK(task.attempt == 1);
}

TEST_CASE("ten thousand tasks are cancelled while some of them are being preempted") {
  Pressed house([](Config& config) {
    config.queue.max_depth = 20'000;
    config.queue.per_level.fill(20'000);
    config.store.max_finished = 20'000;
  });
  std::vector<const Task*> tasks;
  tasks.reserve(4);
  for (int i = 0; i < 4; ++i) tasks.push_back(&house.run(Priority::low));
  while (tasks.size() < 10'000) tasks.push_back(&house.submit(Priority::low));
  house.read(225);
  CHECK(std::ranges::any_of(tasks, [](const Task* task) { return gave_way(*task); }));
  for (const Task* task : tasks)
    CHECK(house.dispatcher->cancel(task->id, "all of them") == CancelAnswer::accepted);
  CHECK(house.dispatcher->queue().depth() == 0);
  house.on_event = [&](const Event&) {
    if (std::ranges::all_of(tasks, [](const Task* task) { return is_final(task->state); })) house.loop.stop();
  };
  house.dispatcher->kill_workers();
  house.loop.run();
  for (const Task* task : tasks) CHECK(task->state == TaskState::cancelled);
}

}  // namespace kurultai::dispatcher_test
