// The kernel's own groups, in whichever version this machine lets us write. Makes kurultai-test… groups below
// KURULTAI_MEMORY_CGROUP_PARENT (the root for root) and removes them.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <future>

#include "supervisor/memory/cgroup.h"
#include "supervisor/memory/group_tree.h"
#include "tests/memory/support.h"

namespace kurultai::real_cgroup_test {
using namespace kurultai::test;

namespace {

/// A controller, or null with a loud note.
std::unique_ptr<Controller> writable_controller(const std::string& what = "") {
  auto controller = choose_controller(real_options(what));
  if (controller->guarantee() != Guarantee::rlimit) return controller;
  MESSAGE("SKIPPED: no memory controller can be written here: " << controller->explanation());
  return nullptr;
}

bool kill_until_gone(WorkerGroup& group) {
  return eventually([&] {
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    return group.kill_all().value();
  });
}

bool exists(const std::string& path) { return std::filesystem::exists(path); }

void drain(int eventfd) {
  std::uint64_t count = 0;
  (void)!::read(eventfd, &count, sizeof count);
}

/// The directory of a worker's group, from how to join it.
std::string directory_of(const WorkerGroup& group) {
  return std::filesystem::path(group.launch_options()[1]).parent_path().string();
}

}  // namespace

TEST_CASE("a real process that joins a group is charged there, and the group goes with its object") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(128), 0}).value();
  const std::string directory = directory_of(*group);
  Actor actor(group->launch_options());
  CHECK(group->processes().value() == std::vector{actor.pid()});
  REQUIRE(actor.touch(40));
  const GroupReading reading = group->read().value();
  CHECK(reading.used > mebibytes(39));
  CHECK(reading.used < mebibytes(60));
  CHECK(reading.oom_kills == 0);
  const auto workers = controller->reading_job(true)();
  REQUIRE(workers);
  CHECK(workers->total.used > mebibytes(39));
  REQUIRE(workers->groups.size() == 1);
  CHECK(kill_until_gone(*group));
  group.reset();
  CHECK_FALSE(exists(directory));
}

TEST_CASE("the cap kills what grows beyond it, says so by its event, and counts") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("leak", {mebibytes(48), 0}).value();
  auto innocent = controller->make_group("good", {mebibytes(48), 0}).value();
  Actor leak(group->launch_options());
  Actor good(innocent->launch_options());
  CHECK(good.touch(16));
  CHECK_FALSE(becomes_ready(group->oom_fd(), 0));
  CHECK_FALSE(leak.touch(200));
  CHECK(WTERMSIG(leak.wait()) == SIGKILL);
  CHECK(becomes_ready(group->oom_fd(), 5000));
  group->acknowledge_oom();
  CHECK(eventually([&] { return group->oom_kills() >= 1; }));
  // Of several changes the kernel may tell some 10 ms later (CGROUP_FILE_NOTIFY_MIN_INTV).
  CHECK(eventually([&] {
    group->acknowledge_oom();
    return !becomes_ready(group->oom_fd(), 20);
  }));
  CHECK(group->read()->oom_kills >= 1);
  CHECK(group->high_water() <= mebibytes(48));
  CHECK(innocent->oom_kills() == 0);
  CHECK(good.touch(1));
  CHECK(kill_until_gone(*innocent));
}

TEST_CASE("a raised limit lets a process grow that would have died") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(32), 0}).value();
  CHECK(group->set_limit(mebibytes(128)).has_value());
  Actor actor(group->launch_options());
  CHECK(actor.touch(64));
  CHECK(group->set_limit(mebibytes(96)).has_value());
  CHECK(actor.touch(16));
  CHECK_FALSE(actor.touch(64));
  CHECK(kill_until_gone(*group));
}

TEST_CASE("an edge that is refused leaves the cap as it was, with its killer") {
  const auto controller = writable_controller();
  if (!controller || controller->guarantee() != Guarantee::cgroup1) return;  // version 2 refuses none
  auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  Actor actor(group->launch_options());
  REQUIRE(actor.touch(40));
  const auto refused = group->set_edge(mebibytes(16));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == EBUSY);
  CHECK_FALSE(actor.touch(60));
  CHECK(WTERMSIG(actor.wait()) == SIGKILL);
  CHECK(kill_until_gone(*group));
}

TEST_CASE("what grows above its edge waits, without harm to anybody, and goes on when the edge is raised") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("grower", {mebibytes(128), 0}).value();
  auto innocent = controller->make_group("good", {mebibytes(128), 0}).value();
  Actor grower(group->launch_options());
  Actor good(innocent->launch_options());
  REQUIRE(group->set_edge(mebibytes(32)).has_value());
  CHECK(grower.touch(16));
  CHECK_FALSE(group->waits_at_edge());
  group->acknowledge_oom();
  auto growth = std::async(std::launch::async, [&] { return grower.touch(60); });
  CHECK(becomes_ready(group->oom_fd(), 5000));
  CHECK(eventually([&] { return group->waits_at_edge(); }));
  CHECK(group->charge().value() > mebibytes(31));
  CHECK(growth.wait_for(std::chrono::milliseconds(200)) == std::future_status::timeout);
  CHECK(good.touch(32));
  CHECK_FALSE(innocent->waits_at_edge());
  REQUIRE(group->set_edge(mebibytes(128)).has_value());
  CHECK(growth.get());
  CHECK_FALSE(group->waits_at_edge());
  CHECK(group->oom_kills() == 0);
  CHECK(kill_until_gone(*group));
  CHECK(kill_until_gone(*innocent));
}

TEST_CASE("what waits at its edge can be killed") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(128), 0}).value();
  Actor grower(group->launch_options());
  REQUIRE(group->set_edge(mebibytes(24)).has_value());
  auto growth = std::async(std::launch::async, [&] { return grower.touch(60); });
  CHECK(eventually([&] { return group->waits_at_edge(); }));
  CHECK(kill_until_gone(*group));
  CHECK_FALSE(growth.get());
  CHECK(group->oom_kills() == 0);
}

TEST_CASE("with the edge back at the cap the cap kills as ever") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  Actor leak(group->launch_options());
  REQUIRE(group->set_edge(mebibytes(24)).has_value());
  REQUIRE(group->set_edge(mebibytes(200)).has_value());
  CHECK_FALSE(leak.touch(200));
  CHECK(WTERMSIG(leak.wait()) == SIGKILL);
  CHECK(eventually([&] { return group->oom_kills() >= 1; }));
  CHECK(group->high_water() <= mebibytes(64));
}

TEST_CASE("the backstop holds over all workers together") {
  const auto controller = writable_controller();
  if (!controller) return;
  REQUIRE(controller->set_workers_limit(mebibytes(64)).has_value());
  auto one = controller->make_group("one", {gibibytes(1), 0}).value();
  auto two = controller->make_group("two", {gibibytes(1), 0}).value();
  Actor first(one->launch_options());
  Actor second(two->launch_options());
  CHECK(first.touch(30));
  const bool survived = second.touch(60);
  CHECK_FALSE((survived && first.touch(1)));
  CHECK(controller->reading_job(false)()->total.raw <= mebibytes(64));
  CHECK(kill_until_gone(*one));
  CHECK(kill_until_gone(*two));
}

TEST_CASE("the number of processes is limited") {
  const auto controller = writable_controller();
  if (!controller || controller->explanation().contains("not limited")) return;
  auto group = controller->make_group("w1", {mebibytes(128), 3}).value();
  const auto options = group->launch_options();
  Child child([&] {
    for (std::size_t i = 1; i < options.size(); i += 2) std::ofstream(options[i]) << ::getpid() << std::flush;
    int made = 0;
    while (made < 10) {
      const int pid = ::fork();
      if (pid < 0) break;
      if (pid == 0) {
        ::pause();
        ::_exit(0);
      }
      ++made;
    }
    ::_exit(made);
  });
  CHECK(WEXITSTATUS(child.wait()) == 2);
  CHECK(kill_until_gone(*group));
}

TEST_CASE("usage events tell of a mark that is crossed, both ways") {
  const auto controller = writable_controller();
  if (!controller) return;
  const int events = controller->watch({mebibytes(32), mebibytes(200)}).value();
  if (controller->guarantee() == Guarantee::cgroup2) {
    CHECK(events == -1);
    return;
  }
  auto group = controller->make_group("w1", {mebibytes(256), 0}).value();
  Actor actor(group->launch_options());
  CHECK(actor.touch(8));
  drain(events);
  CHECK_FALSE(becomes_ready(events, 0));
  CHECK(actor.touch(60));
  CHECK(becomes_ready(events, 5000));
  drain(events);
  CHECK(actor.give_back());
  CHECK(becomes_ready(events, 5000));
  drain(events);

  const int replaced = controller->watch({mebibytes(100)}).value();
  CHECK(replaced != events);
  CHECK(actor.touch(60));  // the old mark: nobody hears of it here
  drain(replaced);
  CHECK_FALSE(becomes_ready(replaced, 50));
  CHECK(actor.touch(60));
  CHECK(becomes_ready(replaced, 5000));
  CHECK(kill_until_gone(*group));
}

TEST_CASE("page cache is charged but not used") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(96), 0}).value();
  const auto options = group->launch_options();
  const std::string file = std::filesystem::current_path() / ("cache-" + unique_instance());
  Child reader([&] {
    for (std::size_t i = 1; i < options.size(); i += 2) std::ofstream(options[i]) << ::getpid() << std::flush;
    const int fd = ::open(file.c_str(), O_CREAT | O_RDWR, 0600);
    const std::vector<char> block(1 << 20, 'x');
    for (int i = 0; i < 32; ++i) (void)!::write(fd, block.data(), block.size());
    ::fsync(fd);
    ::_exit(0);
  });
  reader.wait();
  const GroupReading reading = group->read().value();
  std::filesystem::remove(file);
  if (reading.raw < mebibytes(30)) {
    MESSAGE("SKIPPED: files here leave no page cache in the group (charged " << reading.raw.count << ")");
    return;
  }
  CHECK(reading.used < reading.raw - mebibytes(16));
}

/// A number that a test and what it forks have in common.
class SharedCount {
 public:
  SharedCount()
      : value_(static_cast<std::atomic<int>*>(::mmap(
            nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SharedCount() { ::munmap(value_, sizeof *value_); }
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;
  void add() { *value_ += 1; }
  int value() const { return *value_; }

 private:
  std::atomic<int>* value_;
};

TEST_CASE("a tree of sessions and orphans is killed as a whole") {
  const auto controller = writable_controller();
  if (!controller) return;
  SharedCount ready;
  const auto stay = [&ready] {
    ready.add();
    for (;;) ::pause();
  };
  auto group = controller->make_group("w1", {mebibytes(128), 0}).value();
  const auto options = group->launch_options();
  Child root([&] {
    for (std::size_t i = 1; i < options.size(); i += 2) std::ofstream(options[i]) << ::getpid() << std::flush;
    for (int i = 0; i < 3; ++i)
      if (::fork() == 0) {
        ::setsid();
        ::signal(SIGTERM, SIG_IGN);
        if (::fork() == 0) stay();
        if (i == 0) ::_exit(0);
        stay();
      }
    for (;;) ::pause();
  });
  CHECK(eventually([&] { return ready.value() == 5; }));
  const auto inside = group->processes().value();
  group->signal_all(SIGTERM);
  CHECK(WTERMSIG(root.wait()) == SIGTERM);
  CHECK(group->processes()->size() >= 4);
  CHECK(kill_until_gone(*group));
  for (const int pid : inside) CHECK_FALSE(is_alive(pid));
}

TEST_CASE("a chain of forks that is faster than any list dies in its group") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(128), 30}).value();
  const auto options = group->launch_options();
  Child root([&] {
    for (std::size_t i = 1; i < options.size(); i += 2) std::ofstream(options[i]) << ::getpid() << std::flush;
    ::signal(SIGCHLD, SIG_IGN);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int i = 0; i < 4; ++i)
      if (::fork() == 0)
        for (;;)
          if (::fork() > 0) ::_exit(0);
    for (;;) ::pause();
  });
  CHECK(eventually([&] { return group->processes()->size() > 1; }));
  CHECK(kill_until_gone(*group));
  CHECK(group->processes()->empty());
  Actor next(group->launch_options());  // may be used again
  CHECK(next.touch(1));
  CHECK(kill_until_gone(*group));
}

TEST_CASE("nested groups that an agent made are killed and removed too") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(128), 0}).value();
  const std::string directory = directory_of(*group);
  REQUIRE(make_directory(directory + "/nested").has_value());
  Actor actor({"--join", directory + "/nested/cgroup.procs"});
  CHECK(group->processes().value() == std::vector{actor.pid()});
  CHECK(kill_until_gone(*group));
  group.reset();
  CHECK_FALSE(exists(directory));
}

TEST_CASE("a group that is still busy is removed later") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(128), 0}).value();
  const std::string directory = directory_of(*group);
  Actor actor(group->launch_options());
  group.reset();  // kills what is inside and tries
  CHECK(WTERMSIG(actor.wait()) == SIGKILL);
  CHECK(eventually([&] { return controller->make_group("w1", {mebibytes(64), 0}).has_value(); }));
  CHECK_FALSE(exists(directory));
}

TEST_CASE("a reading job outlives a group") {
  const auto controller = writable_controller();
  if (!controller) return;
  auto group = controller->make_group("w1", {mebibytes(128), 0}).value();
  const auto job = controller->reading_job(true);
  CHECK(job()->groups.size() == 1);
  group.reset();
  const auto reading = job();
  REQUIRE(reading);
  CHECK(reading->groups.empty());
}

TEST_CASE("this process sits in a leaf of its own, and all is gone at the end") {
  std::vector<std::string> paths;
  {
    const auto controller = writable_controller();
    if (!controller) return;
    paths = controller->group_paths();
    const auto seat =
        std::ranges::find_if(paths, [](const auto& path) { return path.ends_with("/supervisor"); });
    REQUIRE(seat != paths.end());
    CHECK(processes_below(*seat).value() == std::vector{::getpid()});
    CHECK(processes_below(*std::ranges::find_if(paths, [](const auto& p) {
            return p.ends_with("/workers");
          }))->empty());
  }
  for (const std::string& path : paths) CHECK_FALSE(exists(path));
}

TEST_CASE("what an earlier run left is killed, thawed and removed") {
  const auto options = real_options("stale");
  std::string directory;
  {
    const auto earlier = choose_controller(options);
    if (earlier->guarantee() == Guarantee::rlimit) {
      MESSAGE("SKIPPED: no memory controller can be written here: " << earlier->explanation());
      return;
    }
    directory = earlier->group_paths().front() + "/left";
  }
  // As the earlier supervisor's workers would be found: groups with a frozen process in them.
  const std::string workers = std::filesystem::path(directory).parent_path().string();
  const std::string top = std::filesystem::path(workers).parent_path().string();
  for (const std::string& path : {top, workers, directory}) REQUIRE(make_directory(path).has_value());
  std::string frozen;
  for (const InstancePaths& paths : all_instance_paths(options))
    if (paths.top.contains("freezer") && make_directory(paths.top).has_value()) frozen = paths.top;
  Actor actor({"--join", directory + "/cgroup.procs"});
  if (!frozen.empty()) {
    std::ofstream(frozen + "/cgroup.procs") << actor.pid() << std::flush;
    std::ofstream(frozen + "/freezer.state") << "FROZEN" << std::flush;
  }
  {
    const auto controller = choose_controller(options);
    CHECK(controller->guarantee() != Guarantee::rlimit);
    CHECK_FALSE(controller->explanation().contains("earlier run"));
    CHECK_FALSE(exists(directory));
    if (!frozen.empty()) CHECK_FALSE(exists(frozen));
  }
  CHECK(WTERMSIG(actor.wait()) == SIGKILL);
}

TEST_CASE("a parent that is not there, or read-only, falls to the rlimit level with the reason") {
  auto options = real_options();
  options.cgroup_parent = "/kurultai-no-such-parent";
  const auto controller = choose_controller(options);
  CHECK(controller->guarantee() == Guarantee::rlimit);
  CHECK(controller->explanation().contains("cgroup v2 is not usable: "));
  CHECK(controller->explanation().contains("cgroup v1 is not usable: "));
}

TEST_CASE("version 2 does not share out a group with others in it, and says so") {
  auto options = real_options("busy");
  if (options.cgroup_parent != "/" || !writable_controller()) return;
  const std::string service = all_instance_paths(options).back().top + "-service";
  if (all_instance_paths(options).size() > 1) return;  // version 1 has no such rule
  REQUIRE(make_directory(service).has_value());
  {
    Actor neighbour({"--join", service + "/cgroup.procs"});
    Child supervisor([&] {
      std::ofstream(service + "/cgroup.procs") << ::getpid() << std::flush;
      options.cgroup_parent = "self";
      const auto controller = choose_controller(options);
      const bool said = controller->explanation().contains("other processes are in this group");
      ::_exit(said && controller->guarantee() == Guarantee::rlimit ? 0 : 1);
    });
    CHECK(supervisor.wait() == 0);
    CHECK(processes_below(service).value() == std::vector{neighbour.pid()});
  }
  CHECK(eventually([&] { return ::rmdir(service.c_str()) == 0; }));  // nothing below it was left
}

TEST_CASE("two instances do not meet") {
  const auto one = writable_controller("one");
  if (!one) return;
  // This process can sit in one leaf only, so the second instance is a child of ours.
  auto group = one->make_group("w1", {mebibytes(64), 0}).value();
  Actor actor(group->launch_options());
  Child other([] {
    const auto two = choose_controller(real_options("two"));
    const auto its = two->make_group("w1", {mebibytes(64), 0});
    ::_exit(its && (*its)->processes()->empty() ? 0 : 1);
  });
  CHECK(other.wait() == 0);
  CHECK(group->processes().value() == std::vector{actor.pid()});
  // The child ended like a killed supervisor; its groups are cleared as those of an earlier run.
  auto options = real_options("two");
  options.instance = "testtwo-" + std::to_string(other.pid());
  CHECK(clear_instance(all_instance_paths(options), {}).has_value());
  CHECK(kill_until_gone(*group));
}

}  // namespace kurultai::real_cgroup_test
