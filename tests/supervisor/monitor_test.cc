// The monitor with a controller that reads what the test says, when it says so.
#include "supervisor/monitor.h"

#include <doctest/doctest.h>

#include <future>

#include "tests/memory/support.h"

namespace kurultai::monitor_test {

namespace {

struct FakeController : Controller {
  std::function<Result<WorkersReading>()> job = [] { return WorkersReading{}; };
  bool takes_time = true;
  Guarantee guarantee() const override { return Guarantee::rlimit; }
  std::string explanation() const override { return {}; }
  Result<std::unique_ptr<WorkerGroup>> make_group(const std::string&, GroupLimits) override {
    return failure("none");
  }
  Result<void> set_workers_limit(Bytes) override { return {}; }
  bool slow() const override { return takes_time; }
  std::function<Result<WorkersReading>()> reading_job(bool) const override { return job; }
  std::function<Result<std::chrono::microseconds>()> cpu_job() const override {
    return [] { return std::chrono::microseconds(0); };
  }
  Result<int> watch(const std::vector<Bytes>&) override { return -1; }
  std::vector<std::string> group_paths() const override { return {}; }
};

struct Watched {
  uv::Loop loop;
  FakeController controller;
  int readings = 0;
  std::function<void()> on_reading = [] {};
  Monitor monitor{loop,
                  controller,
                  {gibibytes(1), Thresholds{}, Duration(5), Duration(20)},
                  [] { return Monitor::Activity{}; },
                  [this](const MemorySnapshot&) {
                    readings += 1;
                    on_reading();
                  }};

  /// Runs the loop until `holds`.
  void until(const std::function<bool()>& holds) {
    uv::Timer look(loop, [&] {
      if (holds()) return loop.stop();
      look.start(Duration(1));
    });
    look.start(Duration(1));
    loop.run();
  }
};

}  // namespace

TEST_CASE("a reading that does not end is said so, holds nothing up, and is forgotten when it has ended") {
  Watched watched;
  std::promise<void> kernel;
  watched.controller.job = [answer = kernel.get_future().share()] {
    answer.wait();
    return WorkersReading{};
  };
  watched.monitor.start();
  watched.until([&] { return !watched.monitor.trouble().empty(); });
  CHECK(watched.monitor.trouble() == "a reading has not ended in 20ms");
  CHECK(watched.readings == 0);
  kernel.set_value();
  watched.until([&] { return watched.readings > 1; });
  CHECK(watched.monitor.trouble().empty());
  watched.monitor.stop();
}

TEST_CASE("a machine that others use has less than the budget to give") {
  const test::Tree tree;
  const auto has = [&](int mib) {
    tree.write("proc/meminfo", "MemTotal: 2097152 kB\nMemAvailable: " + std::to_string(mib * 1024) + " kB\n");
  };
  has(1500);
  for (const bool slow : {true, false}) {
    CAPTURE(slow);
    Watched watched;
    watched.controller.takes_time = slow;
    watched.controller.job = [] {
      WorkersReading reading;
      reading.total.used = mebibytes(500);
      reading.total.active_cache = mebibytes(100);  // which the machine counts as available
      return Result<WorkersReading>(reading);
    };
    Monitor::Settings settings{gibibytes(1), Thresholds{}, Duration(5), Duration(1000)};
    settings.machine_reserve = mebibytes(64);
    settings.proc_root = tree.at("proc");
    watched.monitor.configure(settings);
    watched.monitor.start();
    watched.until([&] { return watched.readings > 0; });
    CHECK(watched.monitor.last().budget == gibibytes(1));
    CHECK_FALSE(watched.monitor.machine_room().is_limited());
    has(200);
    watched.until([&] { return watched.monitor.last().budget < gibibytes(1); });
    const MemorySnapshot& low = watched.monitor.last();
    CHECK(low.configured == gibibytes(1));
    const Bytes wanted = mebibytes(400 + 200 - 64);
    CHECK(low.budget >= wanted);
    CHECK(low.budget <= wanted + mebibytes(200));  // what this test itself uses
    tree.write("proc/meminfo", "nothing");
    watched.until([&] { return !watched.monitor.machine_trouble().empty(); });
    CHECK(watched.monitor.machine_trouble() == tree.at("proc/meminfo") + ": no MemTotal");
    CHECK(watched.monitor.trouble().empty());
    has(1500);
    watched.until([&] { return watched.monitor.machine_trouble().empty(); });
    watched.monitor.stop();
  }
}

TEST_CASE("a reading that fails is said so, is no reading of nothing, and is tried again") {
  for (const bool slow : {true, false}) {
    CAPTURE(slow);
    Watched watched;
    watched.controller.takes_time = slow;
    const auto good = [] {
      WorkersReading reading;
      reading.total.used = mebibytes(100);
      return Result<WorkersReading>(reading);
    };
    watched.controller.job = good;
    watched.monitor.start();
    watched.until([&] { return watched.readings > 0; });
    const int before = watched.readings;
    watched.controller.job = []() -> Result<WorkersReading> {
      return failure("read memory.stat: broken", EIO);
    };
    watched.until([&] { return !watched.monitor.trouble().empty(); });
    CHECK(watched.monitor.trouble() == "read memory.stat: broken");
    CHECK(watched.monitor.last().workers.total.used == mebibytes(100));
    CHECK(watched.readings >= before);
    watched.controller.job = good;
    const int failed = watched.readings;
    watched.until([&] { return watched.readings > failed; });
    CHECK(watched.monitor.trouble().empty());
    watched.monitor.stop();
  }
}

}  // namespace kurultai::monitor_test
