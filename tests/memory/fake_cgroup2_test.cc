// cgroup v2 on a tree of plain files: what is written where, and every refusal.
#include <doctest/doctest.h>

#include <cerrno>

#include "supervisor/memory/cgroup.h"
#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/group_tree.h"
#include "tests/memory/support.h"

namespace kurultai::fake_cgroup2_test {
using namespace kurultai::test;

namespace {

class FakeMachine {
 public:
  FakeMachine() {
    tree.write("proc/self/mountinfo", fixture("cgroup2/unified.mountinfo"));
    tree.write("proc/self/cgroup", fixture("cgroup2/unified.cgroup"));
    tree.write("proc/1/stat", fixture("proc/stat"));
    for (const char* directory : {"", "/system.slice", "/system.slice/kurultai.service"})
      group("cgroup" + std::string(directory));
    for (const char* directory : {"", "/supervisor", "/workers", "/workers/w1"}) group(top + directory);
  }

  void group(const std::string& directory) const {
    tree.write(directory + "/cgroup.controllers", "cpu io memory pids\n");
    tree.write(directory + "/cgroup.subtree_control", "\n");
    tree.write(directory + "/cgroup.procs", "");
    tree.write(directory + "/memory.current", "125829120\n");
    tree.write(directory + "/memory.stat", fixture("cgroup2/memory.stat"));
    tree.write(directory + "/memory.events", fixture("cgroup2/memory.events"));
    tree.write(directory + "/memory.swap.current", "4096\n");
    tree.write(directory + "/memory.peak", "130000000\n");
    for (const char* file : {"memory.max", "memory.swap.max", "pids.max"})
      tree.write(directory + "/" + file, "max\n");
    tree.write(directory + "/memory.oom.group", "0\n");
    tree.write(directory + "/cgroup.kill", "");
  }

  ControllerOptions options() const { return {"x", "self", tree.at("cgroup"), tree.at("proc"), {}}; }
  Result<std::unique_ptr<Controller>> make() const { return make_cgroup2(options(), ""); }

  Tree tree;
  const std::string own = "cgroup/system.slice/kurultai.service";
  const std::string top = own + "/kurultai-x";
  const std::string w1 = top + "/workers/w1";
};

}  // namespace

TEST_CASE("on a unified machine version 2 is chosen and controllers are passed down") {
  const FakeMachine machine;
  const auto controller = choose_controller(machine.options());
  CHECK(controller->guarantee() == Guarantee::cgroup2);
  CHECK(controller->explanation().starts_with("cgroup v2 in " + machine.tree.at(machine.top)));
  CHECK(machine.tree.read(machine.top + "/supervisor/cgroup.procs") == std::to_string(::getpid()));
  for (const std::string& directory : {machine.own, machine.top, machine.top + "/workers"})
    CHECK(machine.tree.read(directory + "/cgroup.subtree_control") == "+pids");  // after +memory
  CHECK(machine.tree.read(machine.top + "/workers/memory.max") == "max");
  CHECK(controller->watch({mebibytes(1)}).value() == -1);
  CHECK(controller->set_workers_limit(mebibytes(256)).has_value());
  CHECK(machine.tree.read(machine.top + "/workers/memory.max") == "268435456");
  CHECK_FALSE(controller->set_workers_limit({0}).has_value());
  CHECK(controller->group_paths().size() == 3);
}

TEST_CASE("a group of version 2 gets every limit") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 20}).value();
  CHECK(machine.tree.read(machine.w1 + "/memory.max") == "67108864");
  CHECK(machine.tree.read(machine.w1 + "/memory.swap.max") == "0");
  CHECK(machine.tree.read(machine.w1 + "/memory.oom.group") == "1");
  CHECK(machine.tree.read(machine.w1 + "/pids.max") == "20");
  CHECK(group->launch_options() ==
        std::vector<std::string>{"--join", machine.tree.at(machine.w1 + "/cgroup.procs")});
  CHECK(group->oom_fd() >= 0);
  CHECK(group->set_limit(mebibytes(32)).has_value());
  CHECK(machine.tree.read(machine.w1 + "/memory.max") == "33554432");
}

TEST_CASE("the kernel may be left to kill one process only") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  REQUIRE(controller->make_group("w1", {mebibytes(64), 0, false}).has_value());
  CHECK(machine.tree.read(machine.w1 + "/memory.oom.group") == "0");
}

TEST_CASE("a reading of version 2 is the charge less inactive file pages, whatever is in swap") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  const GroupReading reading = group->read().value();
  CHECK(reading.raw == mebibytes(120));
  CHECK(reading.used == mebibytes(104));
  CHECK(reading.swap == Bytes{4096});
  CHECK(group->high_water() == Bytes{130000000});
  CHECK(reading.oom_kills == 2);
  CHECK(group->oom_kills() == 2);
  CHECK(controller->reading_job(true)()->groups.size() == 1);
}

TEST_CASE("CPU time on version 2 is the workers' group's own counter") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto job = controller->cpu_job();
  machine.tree.write(machine.top + "/workers/cpu.stat",
                     "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n");
  CHECK(job().value() == std::chrono::microseconds(1234567));
  machine.tree.write(machine.top + "/workers/cpu.stat", "user_usec 1000000\n");
  CHECK_FALSE(job().has_value());
  machine.tree.remove(machine.top + "/workers/cpu.stat");
  CHECK_FALSE(job().has_value());
}

TEST_CASE("older kernels lack some files of version 2") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  for (const char* file : {"memory.swap.current", "memory.peak", "memory.swap.max", "memory.oom.group"})
    machine.tree.remove(machine.w1 + "/" + file);
  const auto group = controller->make_group("w1", {mebibytes(64), 0});
  REQUIRE(group);
  CHECK((*group)->read()->used == mebibytes(104));
  CHECK((*group)->high_water() == Bytes{0});
}

TEST_CASE("a reading of version 2 that fails is an error that names the file") {
  for (const char* file : {"memory.current", "memory.stat", "memory.events", "memory.swap.current"}) {
    CAPTURE(file);
    const FakeMachine machine;
    const auto controller = machine.make().value();
    const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
    machine.tree.write(machine.w1 + "/" + file, "garbage\n");
    CHECK(group->read().error().message.starts_with(machine.tree.at(machine.w1 + "/" + file) + ": "));
  }
}

TEST_CASE("a group of version 2 that cannot be furnished is an error") {
  for (const char* file : {"memory.max", "pids.max", "memory.current", "memory.stat", "memory.events"}) {
    CAPTURE(file);
    const FakeMachine machine;
    const auto controller = machine.make().value();
    machine.tree.remove(machine.w1 + "/" + file);
    CHECK(controller->make_group("w1", {mebibytes(64), 7}).error().message.contains(file));
  }
  const FakeMachine machine;
  const auto controller = machine.make().value();
  machine.tree.remove(machine.w1 + "/memory.oom.group");
  std::filesystem::create_directory(machine.tree.at(machine.w1 + "/memory.oom.group"));
  CHECK(controller->make_group("w1", {mebibytes(64), 0}).error().code == EISDIR);
  CHECK(controller->make_group("a.b", {mebibytes(64), 0}).error().message.contains("cannot name"));
}

TEST_CASE("killing in version 2 uses cgroup.kill, or the loop where there is none") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  CHECK(group->kill_all().value());
  CHECK(machine.tree.read(machine.w1 + "/cgroup.kill").empty());
  Child child([] {
    for (;;) ::pause();
  });
  machine.tree.write(machine.w1 + "/cgroup.procs", std::to_string(child.pid()) + "\n");
  CHECK_FALSE(group->kill_all().value());
  CHECK(machine.tree.read(machine.w1 + "/cgroup.kill") == "1");
  CHECK(is_alive(child.pid()));  // a plain file kills nobody
  machine.tree.remove(machine.w1 + "/cgroup.kill");
  CHECK_FALSE(group->kill_all().value());
  CHECK(WTERMSIG(child.wait()) == SIGKILL);
  machine.tree.remove(machine.w1 + "/cgroup.procs");
  std::filesystem::create_directory(machine.tree.at(machine.w1 + "/cgroup.procs"));
  CHECK_FALSE(group->kill_all().has_value());
}

TEST_CASE(
    "who was moved out of a group of version 2 is still found and killed, and a group that went is lost") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  Child child([] {
    for (;;) ::pause();
  });
  const std::string pid = std::to_string(child.pid());
  machine.tree.write("proc/" + pid + "/stat", read_text("/proc/" + pid + "/stat"));
  group->started(child.pid());
  machine.tree.write(machine.w1 + "/cgroup.procs", pid + "\n");
  CHECK(group->processes().value() == std::vector{child.pid()});
  CHECK_FALSE(group->is_lost());
  machine.tree.write(machine.w1 + "/cgroup.procs", "");
  CHECK(group->processes().value() == std::vector{child.pid()});
  machine.tree.remove(machine.w1);
  CHECK(group->is_lost());
  CHECK_FALSE(group->kill_all().value());
  CHECK(WTERMSIG(child.wait()) == SIGKILL);
  machine.tree.remove("proc/" + pid);
  CHECK(group->kill_all().value());
}

TEST_CASE("controllers are passed down from the root where the parent lacks them") {
  const FakeMachine machine;
  machine.tree.write(machine.own + "/cgroup.controllers", "cpu\n");
  REQUIRE(machine.make().has_value());
  CHECK(machine.tree.read("cgroup/cgroup.subtree_control") == "+pids");
  CHECK(machine.tree.read("cgroup/system.slice/cgroup.subtree_control") == "+pids");
}

TEST_CASE("controllers that are passed down already are left alone") {
  const FakeMachine machine;
  machine.tree.write(machine.own + "/cgroup.subtree_control", "cpu pids memory\n");
  REQUIRE(machine.make().has_value());
  CHECK(machine.tree.read(machine.own + "/cgroup.subtree_control") == "cpu pids memory\n");
}

TEST_CASE("version 2 without pids goes on and says so") {
  const FakeMachine machine;
  for (const std::string& directory : {std::string("cgroup"), machine.own})
    machine.tree.write(directory + "/cgroup.controllers", "memory\n");
  const auto controller = machine.make();
  REQUIRE(controller);
  CHECK((*controller)->explanation().contains("numbers of processes are not limited: "));
  CHECK((*controller)->make_group("w1", {mebibytes(64), 20}).has_value());
  CHECK(machine.tree.read(machine.w1 + "/pids.max") == "max\n");
}

TEST_CASE("companions in the same group come along") {
  const FakeMachine machine;
  auto options = machine.options();
  options.companions = {4242};
  REQUIRE(make_cgroup2(options, "").has_value());
  CHECK(machine.tree.read(machine.top + "/supervisor/cgroup.procs") == "4242");
}

TEST_CASE("version 2 that cannot be used says why") {
  const FakeMachine machine;
  std::string why;
  SUBCASE("not mounted") {
    machine.tree.write("proc/self/mountinfo", "");
    why = "not mounted";
  }
  SUBCASE("no memory controller") {
    for (const std::string& directory : {std::string("cgroup"), machine.own})
      machine.tree.write(directory + "/cgroup.controllers", "cpu hugetlb\n");
    why = machine.tree.at("cgroup/cgroup.controllers: no memory controller");
  }
  SUBCASE("parent is not there") {
    machine.tree.remove(machine.own);
    why = "cgroup.controllers: No such file or directory";
  }
  SUBCASE("root is not there") {
    machine.tree.write(machine.own + "/cgroup.controllers", "cpu\n");
    machine.tree.remove("cgroup/cgroup.controllers");
    why = "open " + machine.tree.at("cgroup/cgroup.controllers");
  }
  SUBCASE("on the way down controllers cannot be enabled") {
    machine.tree.write(machine.own + "/cgroup.controllers", "cpu\n");
    machine.tree.remove("cgroup/system.slice/cgroup.subtree_control");
    why = "system.slice/cgroup.subtree_control: No such file or directory";
  }
  SUBCASE("controllers cannot be enabled") {
    machine.tree.remove(machine.own + "/cgroup.subtree_control");
    why = "kurultai.service/cgroup.subtree_control: No such file or directory";
  }
  SUBCASE("groups cannot be made") {
    machine.tree.remove(machine.top);
    machine.tree.write(machine.top + "x", "");
    std::filesystem::permissions(machine.tree.at(machine.own), std::filesystem::perms(0555));
    why = ::getuid() == 0 ? "supervisor/cgroup.procs: No such file or directory" : "mkdir";
  }
  SUBCASE("supervisor cannot be moved") {
    machine.tree.remove(machine.top + "/supervisor/cgroup.procs");
    why = "supervisor/cgroup.procs: No such file or directory";
  }
  SUBCASE("limits cannot be written") {
    machine.tree.remove(machine.top + "/workers/memory.max");
    why = "workers/memory.max: No such file or directory";
  }
  SUBCASE("charges cannot be read") {
    machine.tree.remove(machine.top + "/workers/memory.swap.current");
    machine.tree.remove(machine.top + "/workers/memory.current");
    why = "workers/memory.current: No such file or directory";
  }
  const auto controller = machine.make();
  REQUIRE_FALSE(controller);
  CAPTURE(controller.error().message);
  CHECK(controller.error().message.contains(why));
}

}  // namespace kurultai::fake_cgroup2_test
