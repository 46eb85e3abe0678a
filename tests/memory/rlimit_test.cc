#include "supervisor/memory/rlimit.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "supervisor/memory/sweep.h"
#include "tests/memory/support.h"

namespace kurultai::rlimit_test {
using namespace kurultai::test;

namespace {

const std::int64_t page = ::sysconf(_SC_PAGESIZE);

/// Process numbers that no kernel gives out, so that comparing their memory always fails.
constexpr int first = 900000001;

void add_process(const Tree& tree, int pid, int parent, const std::string& children, Bytes resident,
                 Bytes pss) {
  const std::string directory = std::to_string(pid);
  tree.write(directory + "/stat", directory + " (x) S " + std::to_string(parent) +
                                      " 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n");
  tree.write(directory + "/task/" + directory + "/stat", "");
  tree.write(directory + "/task/" + directory + "/children", children);
  tree.write(directory + "/statm", "999999 " + std::to_string(resident.count / page) + " 1 0 0 0 0\n");
  tree.write(directory + "/smaps_rollup",
             "Pss: " + std::to_string(pss.count / 1024) + " kB\nSwapPss: 1024 kB\n");
  tree.write(directory + "/status", "VmSwap:\t 2048 kB\n");
}

/// Two processes that share much: 40 + 40 MiB of rss, 40 MiB in truth.
struct Browser {
  Browser() {
    tree.write("swaps", "Filename Type\n");
    add_process(tree, first, 1, std::to_string(first + 1), mebibytes(40), mebibytes(25));
    add_process(tree, first + 1, first, "", mebibytes(40), mebibytes(15));
  }
  Result<WorkersReading> read(Bytes cap, Bytes budget) const {
    return read_trees(tree.root(), {{"w1", {{first, 100}, {}}, cap}}, budget);
  }
  Tree tree;
};

std::unique_ptr<Controller> real_controller() { return make_rlimit(real_options(), "; test"); }

/// Kills until nothing is left, as the supervisor does; reaps meanwhile.
bool kill_until_gone(WorkerGroup& group) {
  return eventually([&] {
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    return group.kill_all().value();
  });
}

struct Channel {
  Channel() {
    if (::pipe2(ends, O_CLOEXEC) != 0) ::abort();
  }
  ~Channel() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  void send(int number) const { (void)!::write(ends[1], &number, sizeof number); }
  int receive() const {
    int number = 0;
    return ::read(ends[0], &number, sizeof number) == sizeof number ? number : -1;
  }
  int ends[2];
};

[[noreturn]] void idle() {
  for (;;) ::pause();
}

}  // namespace

TEST_CASE("only groups that were begun below us are stopped as wholes, never our own") {
  const auto process = [](int pid, int session, int group, char state = 'S') {
    ProcessState one;
    one.id.pid = pid;
    one.session = session;
    one.group = group;
    one.state = state;
    return one;
  };
  constexpr int own_session = 10;
  constexpr int own_group = 11;
  CHECK(groups_to_stop({process(20, 20, 20), process(21, 20, 21), process(22, 22, 22, 'T')}, own_session,
                       own_group) == std::set{20, 21});
  CHECK(groups_to_stop({process(20, own_session, own_group), process(21, own_session, 21)}, own_session,
                       own_group)
            .empty());
  // In the middle of setsid.
  CHECK(groups_to_stop({process(20, 20, own_group)}, own_session, own_group).empty());
}

TEST_CASE("far from every limit rss is summed, which counts shared pages twice") {
  const Browser browser;
  const auto reading = browser.read(mebibytes(512), gibibytes(1));
  REQUIRE(reading);
  CHECK(reading->total.raw == mebibytes(80));
  CHECK(reading->total.used == mebibytes(80));
  REQUIRE(reading->groups.size() == 1);
  CHECK(reading->groups[0].name == "w1");
  CHECK(reading->groups[0].reading.raw == mebibytes(80));
}

TEST_CASE("near a limit PSS is summed") {
  const Browser browser;
  struct Row {
    Bytes cap, budget;
    Bytes used;
  };
  for (const Row& row :
       {Row{mebibytes(160), gibibytes(1), mebibytes(42)}, Row{mebibytes(161), gibibytes(1), mebibytes(80)},
        Row{mebibytes(512), mebibytes(160), mebibytes(42)}, Row{mebibytes(512), {0}, mebibytes(80)},
        Row{{0}, {0}, mebibytes(80)}}) {
    CAPTURE(row.cap.count);
    const auto reading = browser.read(row.cap, row.budget);
    REQUIRE(reading);
    CHECK(reading->total.raw == mebibytes(80));
    CHECK(reading->total.used == row.used);  // with 2 MiB of swap when PSS
  }
}

TEST_CASE("swapped memory is added where the machine has swap") {
  const Browser browser;
  browser.tree.write("swaps", "Filename Type\n/dev/zram0 partition\n");
  const auto reading = browser.read(mebibytes(512), gibibytes(1));
  REQUIRE(reading);
  CHECK(reading->total.used == mebibytes(84));
  CHECK(reading->total.swap == mebibytes(4));
  browser.tree.write(std::to_string(first) + "/status", "VmSwap:\n");
  CHECK_FALSE(browser.read(mebibytes(512), gibibytes(1)));
  browser.tree.remove(std::to_string(first) + "/status");
  CHECK(browser.read(mebibytes(512), gibibytes(1))->total.swap == mebibytes(2));
}

TEST_CASE("a child in vfork is counted once") {
  const Browser browser;
  const std::string parent = std::to_string(first);
  browser.tree.write(parent + "/stat", parent + " (x) D 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n");
  CHECK(browser.read(mebibytes(512), gibibytes(1))->total.raw == mebibytes(40));
}

TEST_CASE("processes that end meanwhile are skipped, errors are not") {
  const Browser browser;
  const std::string child = std::to_string(first + 1);
  browser.tree.remove(child + "/smaps_rollup");
  CHECK(browser.read(mebibytes(100), {0})->total.used == mebibytes(26));
  browser.tree.write(child + "/smaps_rollup", "Pss: what\n");
  CHECK(browser.read(mebibytes(100), {0}).error().message ==
        browser.tree.at(child + "/smaps_rollup") + ": 'Pss' holds no size");
  browser.tree.write(child + "/statm", "");
  CHECK(browser.read(mebibytes(100), {0}).error().message ==
        browser.tree.at(child + "/statm") + ": not a statm line");
  browser.tree.remove(child + "/statm");
  CHECK(browser.read(mebibytes(512), {0})->total.raw == mebibytes(40));
  browser.tree.write(child + "/stat", "");
  CHECK_FALSE(browser.read(mebibytes(512), {0}));
}

TEST_CASE("a process that may not be looked into counts with its rss") {
  if (::getuid() == 0) return;  // root may look into everything
  const Browser browser;
  std::filesystem::permissions(browser.tree.at(std::to_string(first + 1) + "/smaps_rollup"),
                               std::filesystem::perms::none);
  CHECK(browser.read(mebibytes(100), {0})->total.used == mebibytes(66));
}

TEST_CASE("the rlimit level has no events and tells the launcher what to do") {
  const auto controller = real_controller();
  CHECK(controller->guarantee() == Guarantee::rlimit);
  CHECK(controller->slow());
  CHECK(controller->explanation() == "RLIMIT_DATA and supervision of process trees; test");
  CHECK(controller->watch({mebibytes(1)}).value() == -1);
  CHECK(controller->group_paths().empty());
  CHECK(controller->set_workers_limit(mebibytes(1)).has_value());
  const auto group = controller->make_group("w1", {mebibytes(64), 5}).value();
  CHECK(group->launch_options() == std::vector<std::string>{"--limit-data", "67108864", "--hold"});
  CHECK(group->oom_fd() == -1);
  CHECK(group->oom_kills() == 0);
  group->acknowledge_oom();
  CHECK(group->kill_all().value());  // never started
  group->started(999999999);         // gone before we were told
  CHECK(group->kill_all().value());
  CHECK(group->read()->raw == Bytes{0});
}

TEST_CASE("a real tree is found though it left its session and its parent, and dies as a whole") {
  const Channel channel;
  Child launcher([&] {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (::fork() == 0) {
      // Like a daemon: a session of its own, and a parent that ends at once.
      ::setsid();
      if (::fork() == 0) {
        channel.send(::getpid());
        idle();
      }
      ::_exit(0);
    }
    if (::fork() == 0) {
      channel.send(::getpid());
      idle();
    }
    idle();
  });
  const std::set<int> expected{launcher.pid(), channel.receive(), channel.receive()};
  const auto controller = real_controller();
  auto group = controller->make_group("w1", {gibibytes(4), 0}).value();
  group->started(launcher.pid());
  CHECK(eventually([&] {
    const auto found = group->processes().value();
    return std::set<int>(found.begin(), found.end()) == expected;
  }));
  CHECK(group->read()->raw > kibibytes(100));
  const auto reading = controller->reading_job(true)();
  REQUIRE(reading);
  CHECK(reading->groups.size() == 1);
  CHECK(reading->total.used > kibibytes(100));
  CHECK(controller->reading_job(false)()->groups.empty());
  CHECK(controller->cpu_job()().has_value());

  group->signal_all(SIGTERM);  // not to the launcher
  CHECK(eventually([&] { return group->processes().value() == std::vector{launcher.pid()}; }));
  CHECK(kill_until_gone(*group));
  for (const int pid : expected) CHECK_FALSE(is_alive(pid));
}

TEST_CASE("what a killed launcher leaves behind is still known") {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const Channel channel;
  Child launcher([&] {
    if (::fork() == 0) {
      ::setsid();
      channel.send(::getpid());
      idle();
    }
    idle();
  });
  const int orphan = channel.receive();
  const auto controller = real_controller();
  auto group = controller->make_group("w1", {gibibytes(4), 0}).value();
  group->started(launcher.pid());
  CHECK(group->processes()->size() == 2);
  ::kill(launcher.pid(), SIGKILL);
  CHECK(eventually([&] { return group->processes().value() == std::vector{orphan}; }));
  CHECK(kill_until_gone(*group));
  CHECK_FALSE(is_alive(orphan));
}

TEST_CASE("what left the tree of a launcher that then died is found by its mark, and looked for only then") {
  const std::string instance = unique_instance();
  ControllerOptions options = real_options();
  options.instance = instance;
  const auto controller = make_rlimit(options, "");
  auto group = controller->make_group("w1", {gibibytes(4), 0}).value();
  Child launcher([] { idle(); });
  group->started(launcher.pid());
  Child stray([&] {
    ::setenv("KURULTAI_INSTANCE", instance.c_str(), 1);
    ::execl("/bin/sleep", "sleep", "60", nullptr);
    ::_exit(127);
  });
  CHECK(eventually([&] { return find_marked("/proc", instance)->size() == 1; }));
  ::kill(launcher.pid(), SIGKILL);
  launcher.wait();
  group->ended(0, 0);
  CHECK(group->kill_all().value());
  CHECK(is_alive(stray.pid()));
  group->ended(0, SIGKILL);
  CHECK_FALSE(group->kill_all().value());
  CHECK(kill_until_gone(*group));
  CHECK_FALSE(is_alive(stray.pid()));
}

TEST_CASE("a number that belongs to another process by now is none of the tree") {
  const Browser browser;
  browser.tree.write(std::to_string(first + 1) + "/stat",
                     std::to_string(first + 1) + " (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n");
  const auto tree = walk_tree(browser.tree.root(), {{first, 100}});
  REQUIRE(tree);
  CHECK(tree->size() == 1);
}

TEST_CASE("a tree that forks faster than it can be listed is stopped as a group, then killed") {
  Child launcher([] {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ::setsid();
    ::signal(SIGCHLD, SIG_IGN);  // no zombies
    // Each forks a successor and ends, so a list of them is out of date before it is read.
    for (int i = 0; i < 4; ++i)
      if (::fork() == 0)
        for (;;)
          if (::fork() != 0) ::_exit(0);
    for (;;) ::pause();
  });
  const auto controller = real_controller();
  auto group = controller->make_group("w1", {gibibytes(4), 0}).value();
  group->started(launcher.pid());
  CHECK(eventually([&] { return group->processes()->size() > 1; }));
  CHECK(kill_until_gone(*group));
}

TEST_CASE("a new limit reaches the processes that run") {
  const Channel channel;
  Child launcher([&] {
    if (::fork() == 0) {
      channel.send(::getpid());
      idle();
    }
    idle();
  });
  const int agent = channel.receive();
  const auto controller = real_controller();
  auto group = controller->make_group("w1", {gibibytes(1), 0}).value();
  group->started(launcher.pid());
  CHECK(group->set_limit(gibibytes(2)).has_value());
  rlimit limit{};
  REQUIRE(::prlimit(agent, RLIMIT_DATA, nullptr, &limit) == 0);
  CHECK(limit.rlim_cur == rlim_t{2} << 30);
  CHECK(group->launch_options()[1] == std::to_string(std::int64_t{2} << 30));
  CHECK(group->set_limit({0}).error().message == "limit of w1: must be positive");
  CHECK(kill_until_gone(*group));
}

TEST_CASE("trees that cannot be read are errors for every question") {
  const Tree tree;
  add_process(tree, first, 1, "", mebibytes(1), mebibytes(1));
  const auto controller = make_rlimit({"x", "/", "", tree.root(), {}}, "");
  auto group = controller->make_group("w1", {gibibytes(1), 0}).value();
  group->started(first);
  CHECK(group->read()->raw == mebibytes(1));
  tree.write(std::to_string(first) + "/statm", "x");
  CHECK_FALSE(group->read());
  tree.write(std::to_string(first) + "/stat", "x");
  CHECK_FALSE(group->read());
  CHECK_FALSE(group->processes());
  CHECK_FALSE(group->kill_all());
  CHECK_FALSE(group->set_limit(gibibytes(1)));
  CHECK_FALSE(controller->reading_job(true)());
  group->signal_all(SIGTERM);
}

}  // namespace kurultai::rlimit_test
