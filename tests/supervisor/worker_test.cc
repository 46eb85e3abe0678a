// One worker's life with real processes (plain shells in place of kurultai-worker) and a fake group around
// them.
#include "supervisor/workers/worker.h"

#include <doctest/doctest.h>
#include <signal.h>

#include "protocol/codec.h"

namespace kurultai::worker_test {

namespace {

/// A group of one process, whose readings and kernel kills the test decides.
struct Kernel {
  GroupReading reading;
  Bytes high_water;
  int pid = 0;
  std::vector<int> signals;
};

class FakeGroup : public WorkerGroup {
 public:
  explicit FakeGroup(Kernel& kernel) : kernel_(kernel) {}
  std::vector<std::string> launch_options() const override { return {}; }
  void started(int pid) override { kernel_.pid = pid; }
  Result<GroupReading> read() const override { return kernel_.reading; }
  Bytes high_water() const override { return kernel_.high_water; }
  Result<void> set_limit(Bytes) override { return {}; }
  Result<bool> kill_all() override {
    if (kernel_.pid == 0 || ::kill(kernel_.pid, SIGKILL) != 0) return true;
    return false;
  }
  void signal_all(int signal) override {
    kernel_.signals.push_back(signal);
    if (kernel_.pid != 0) ::kill(kernel_.pid, signal);
  }
  Result<std::vector<int>> processes() const override { return std::vector<int>{}; }
  int oom_fd() const override { return -1; }
  void acknowledge_oom() override {}

 private:
  Kernel& kernel_;
};

/// Runs one worker to its end and remembers what it said of itself.
struct Life : WorkerListener {
  uv::Loop loop;
  Kernel kernel;
  AgentConfig agent;
  std::unique_ptr<Worker> worker;
  std::function<void(Worker&)> when_ready = [](Worker&) {};
  std::function<void(Worker&)> when_said = [](Worker&) {};
  std::vector<FromAgent> said;
  std::string log;
  std::string noise;
  std::optional<WorkerEnd> end;
  bool ready = false;
  int gone = 0;

  Life() { ::signal(SIGPIPE, SIG_IGN); }  // as the supervisor does

  WorkerEnd live(const std::string& script, std::size_t max_line = 1000) {
    agent.name = "a";
    agent.command = {"script"};
    WorkerSpec spec{"w1", std::make_shared<const AgentConfig>(agent), mebibytes(100), mebibytes(50), max_line,
                    1};
    worker =
        std::make_unique<Worker>(loop, std::move(spec), std::make_unique<FakeGroup>(kernel),
                                 uv::SpawnOptions{{"/bin/sh", "-c", script}, {"PATH=/usr/bin:/bin"}}, *this);
    loop.run();
    REQUIRE(gone == 1);
    CHECK(worker->state() == Worker::State::gone);
    worker.reset();
    loop.run();
    return *end;
  }

  void worker_ready(Worker& ready_one) override {
    ready = true;
    when_ready(ready_one);
  }
  void worker_said(Worker& speaker, FromAgent message) override {
    said.push_back(std::move(message));
    when_said(speaker);
  }
  void worker_logged(Worker&, std::string_view text, bool is_noise) override {
    (is_noise ? noise : log) += text;
  }
  void worker_at_edge(Worker&) override {}
  void worker_oom(Worker&) override {}
  void worker_swept(Worker&, int) override {}
  void worker_ending(Worker&) override {}
  void worker_gone(Worker&, const WorkerEnd& how) override {
    gone += 1;
    end = how;
  }
};

const std::string ready_line = R"(echo '{"type":"READY","protocol":1,"name":"a"}'; )";

}  // namespace

TEST_CASE("a worker says READY, takes a task, answers, and ends when its input does") {
  Life life;
  life.when_ready = [](Worker& worker) {
    worker.take_slot("t1");
    CHECK(worker.free_slots() == 0);
    worker.send(Ping{7});
  };
  life.when_said = [&](Worker& worker) {
    worker.free_slot("t1", life.loop.now());
    CHECK(worker.free_slots() == 1);
    CHECK(worker.tasks_done() == 1);
    worker.end(std::chrono::seconds(30));
  };
  const WorkerEnd end = life.live(
      ready_line +
      R"(read hello; read ping; echo "$hello" >&2; echo '{"type":"PONG","seq":7}'; cat >/dev/null; exit 3)");
  CHECK(life.ready);
  REQUIRE(life.said.size() == 1);
  CHECK(std::get<Pong>(life.said[0]).seq == 7);
  CHECK(life.log.find("\"HELLO\"") != std::string::npos);
  CHECK(end.cause == WorkerEnd::Cause::asked);
  CHECK(end.exit_code == 3);
}

TEST_CASE("what is no message is log and counted, what is unknown is counted") {
  Life life;
  life.when_said = [](Worker& worker) {
    CHECK(worker.noise_lines == 2);
    CHECK(worker.unknown_messages == 1);
    worker.kill();
  };
  const WorkerEnd end = life.live(
      ready_line +
      R"(echo hello; echo '{"no":1}'; echo '{"type":"NEW"}'; echo '{"type":"PONG","seq":1}'; sleep 100)");
  CHECK(life.noise == "hello\n{\"no\":1}\n");
  CHECK(end.cause == WorkerEnd::Cause::asked);
  CHECK(end.signal == SIGKILL);
}

TEST_CASE("lines that break the protocol end the worker with what was wrong") {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"head -c 2000 /dev/zero | tr '\\0' x", "longer than ipc.max_line"},
      {R"(echo '{"type":"PROGRESS","taskId":"t"}')", "PROGRESS"},
      {"exec >&-", "closed its stdout"},
  };
  for (const auto& [script, what] : table) {
    CAPTURE(script);
    Life life;
    const WorkerEnd end = life.live(ready_line + script + "; sleep 100");
    CHECK(end.cause == WorkerEnd::Cause::protocol_error);
    CHECK(end.message.find(what) != std::string::npos);
  }
}

TEST_CASE("a start that fails says why") {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"exit 4", "exited with status 4 before READY"},
      {"kill -9 $$", "Killed before READY"},
      {"echo 'kurultai-worker: exec nothing: No such file' >&2; exit 127", "exec nothing: No such file"},
      {R"(echo '{"type":"READY","protocol":2,"name":"a"}'; sleep 100)", "speaks protocol 2"},
      {"exec >&-; sleep 100", "closed its stdout before READY"},
  };
  for (const auto& [script, what] : table) {
    CAPTURE(script);
    Life life;
    const WorkerEnd end = life.live(script);
    CHECK(end.cause == WorkerEnd::Cause::start_failed);
    CAPTURE(end.message);
    CHECK(end.message.find(what) != std::string::npos);
    CHECK_FALSE(life.ready);
  }
  Life silent;
  silent.agent.start_timeout = Duration(1);
  CHECK(silent.live("sleep 100").message.find("no READY within 1ms") != std::string::npos);
}

TEST_CASE("an end by itself tells status or signal, and a kill by the kernel the cap") {
  Life status;
  CHECK(status.live(ready_line + "exit 5").message == "script: exited with status 5");
  Life signal;
  const WorkerEnd end = signal.live(ready_line + "kill -SEGV $$");
  CHECK(end.signal == SIGSEGV);
  CHECK(end.cause == WorkerEnd::Cause::exited);
  for (const auto& [high_water, cause] : {std::pair{mebibytes(100), WorkerEnd::Cause::memory_cap},
                                          {mebibytes(60), WorkerEnd::Cause::memory_budget}}) {
    Life oom;
    oom.when_ready = [&oom, most = high_water](Worker&) {
      oom.kernel.reading.oom_kills = 1;
      oom.kernel.high_water = most;
    };
    CHECK(oom.live(ready_line + "read hello; exit 1").cause == cause);
  }
}

TEST_CASE("a worker that ignores the end of its input is terminated, and killed if it ignores that too") {
  Life stubborn;
  stubborn.when_ready = [](Worker& worker) {
    worker.end(Duration(1));
    worker.end(Duration(1));  // the second asks for nothing new
  };
  const WorkerEnd end = stubborn.live("trap '' TERM; " + ready_line + "while :; do sleep 0.01; done");
  CHECK(end.signal == SIGKILL);
  CHECK(stubborn.kernel.signals == std::vector<int>{SIGTERM});
  Life polite;
  polite.when_ready = [](Worker& worker) { worker.terminate(std::chrono::seconds(30)); };
  CHECK(polite.live("trap 'exit 9' TERM; " + ready_line + "while :; do sleep 0.01; done").exit_code == 9);
}

TEST_CASE("readings raise the peak, and the warning is told once for each time it is crossed") {
  Life life;
  life.when_ready = [](Worker& worker) {
    const auto used = [](int mib) {
      GroupReading reading;
      reading.used = mebibytes(mib);
      return reading;
    };
    CHECK_FALSE(worker.note_reading(used(49)));
    CHECK(worker.note_reading(used(50)));
    CHECK_FALSE(worker.note_reading(used(70)));
    CHECK_FALSE(worker.note_reading(used(10)));
    CHECK(worker.note_reading(used(60)));
    CHECK(worker.peak() == mebibytes(70));
    worker.reset_peak();
    CHECK(worker.peak() == mebibytes(60));
    worker.kill();
  };
  life.live(ready_line + "sleep 100");
}

TEST_CASE("a program that is not there is a start that failed, told in a later turn") {
  Life life;
  life.agent.name = "a";
  WorkerSpec spec{"w1", std::make_shared<const AgentConfig>(life.agent), mebibytes(100), mebibytes(50), 1000,
                  1};
  Worker worker(life.loop, std::move(spec), std::make_unique<FakeGroup>(life.kernel),
                uv::SpawnOptions{{"/nonexistent"}, {}}, life);
  CHECK(life.gone == 0);
  life.loop.run();
  REQUIRE(life.gone == 1);
  CHECK(life.end->cause == WorkerEnd::Cause::start_failed);
  CHECK(life.end->message.find("/nonexistent") != std::string::npos);
}

}  // namespace kurultai::worker_test
