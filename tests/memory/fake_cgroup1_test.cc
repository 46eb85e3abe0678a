// cgroup v1 on a tree of plain files: what is written where, and every refusal.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <cerrno>

#include "supervisor/memory/cgroup.h"
#include "supervisor/memory/cgroup_file.h"
#include "tests/memory/support.h"

namespace kurultai::fake_cgroup1_test {
using namespace kurultai::test;

namespace {

class FakeMachine {
 public:
  FakeMachine() {
    tree.write("proc/self/mountinfo", fixture("cgroup1/hybrid.mountinfo"));
    tree.write("proc/self/cgroup", fixture("cgroup1/hybrid.cgroup"));
    tree.write("proc/1/stat", fixture("proc/stat"));
    tree.write("cgroup/unified/cgroup.controllers", "hugetlb\n");
    tree.write("cgroup/memory/service/agents/cgroup.procs", "");
    group(top);
    group(top + "/supervisor");
    group(top + "/workers");
    group(top + "/workers/w1");
    for (const char* name : {"", "/workers", "/workers/w1"}) {
      tree.write("cgroup/pids/kurultai-x" + std::string(name) + "/pids.max", "max\n");
      tree.write("cgroup/pids/kurultai-x" + std::string(name) + "/cgroup.procs", "");
    }
  }

  void group(const std::string& directory) const {
    for (const char* file : {"memory.stat", "memory.oom_control", "memory.usage_in_bytes",
                             "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
                             "memory.max_usage_in_bytes", "memory.use_hierarchy", "memory.swappiness"})
      tree.write(directory + "/" + file, fixture("cgroup1/" + std::string(file)));
    tree.write(directory + "/cgroup.procs", "");
    tree.write(directory + "/cgroup.event_control", "");
  }

  ControllerOptions options() const { return {"x", "self", tree.at("cgroup"), tree.at("proc"), {}}; }
  Result<std::unique_ptr<Controller>> make() const { return make_cgroup1(options(), "; remark"); }

  Tree tree;
  const std::string top = "cgroup/memory/service/agents/kurultai-x";
  const std::string w1 = top + "/workers/w1";
};

}  // namespace

TEST_CASE("CPU time on version 1 is that of the living processes and of the children that ended") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto job = controller->cpu_job();
  const auto before = job().value();
  machine.tree.write(machine.w1 + "/cgroup.procs", "18580\n18581\n");  // the second is gone
  machine.tree.write("proc/18580/stat", fixture("proc/stat"));
  CHECK(job().value() - before == std::chrono::milliseconds(80));  // 8 ticks
}

TEST_CASE("on a hybrid machine version 1 is chosen and the supervisor sits in its leaf") {
  const FakeMachine machine;
  const auto controller = choose_controller(machine.options());
  CHECK(controller->guarantee() == Guarantee::cgroup1);
  CHECK_FALSE(controller->slow());
  CHECK(controller->explanation().starts_with("cgroup v1 in " + machine.tree.at(machine.top)));
  CHECK(controller->explanation().contains(
      "cgroup v2 is not usable: " +
      machine.tree.at("cgroup/unified/cgroup.controllers: no memory controller")));
  CHECK(machine.tree.read(machine.top + "/supervisor/cgroup.procs") == std::to_string(::getpid()));
  CHECK(machine.tree.read(machine.top + "/workers/memory.limit_in_bytes") == "-1");
  const std::vector<std::string> paths{
      machine.tree.at(machine.top + "/workers"), machine.tree.at(machine.top + "/supervisor"),
      machine.tree.at(machine.top), machine.tree.at("cgroup/pids/kurultai-x/workers"),
      machine.tree.at("cgroup/pids/kurultai-x")};
  CHECK(controller->group_paths() == paths);
}

TEST_CASE("the supervisor goes back where it came from") {
  const FakeMachine machine;
  {
    const auto controller = machine.make();
  }
  CHECK(machine.tree.read("cgroup/memory/service/agents/cgroup.procs") == std::to_string(::getpid()));
}

TEST_CASE("a group gets its limits and tells how to join it") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 20});
  REQUIRE(group);
  CHECK(machine.tree.read(machine.w1 + "/memory.limit_in_bytes") == "67108864");
  CHECK(machine.tree.read(machine.w1 + "/memory.memsw.limit_in_bytes") == "67108864");
  CHECK(machine.tree.read("cgroup/pids/kurultai-x/workers/w1/pids.max") == "20");
  const std::vector<std::string> join{"--join", machine.tree.at(machine.w1 + "/cgroup.procs"), "--join",
                                      machine.tree.at("cgroup/pids/kurultai-x/workers/w1/cgroup.procs")};
  CHECK((*group)->launch_options() == join);
  CHECK((*group)->oom_fd() >= 0);
  CHECK(machine.tree.read(machine.w1 + "/cgroup.event_control")
            .starts_with(std::to_string((*group)->oom_fd()) + " "));
  (*group)->started(1);
  (*group)->acknowledge_oom();
}

TEST_CASE("a reading is the charge less inactive file pages plus swap") {
  const FakeMachine machine;
  machine.tree.write(machine.w1 + "/memory.usage_in_bytes", "50000000\n");
  machine.tree.write(machine.w1 + "/memory.stat",
                     "inactive_file 1\ntotal_swap 300\ntotal_inactive_file 20000000\n");
  machine.tree.write(machine.w1 + "/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 4\n");
  machine.tree.write(machine.w1 + "/memory.max_usage_in_bytes", "60000000\n");
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  const GroupReading reading = group->read().value();
  CHECK(reading.raw == Bytes{50000000});
  CHECK(reading.used == Bytes{30000300});
  CHECK(reading.swap == Bytes{300});
  CHECK(group->high_water() == Bytes{60000000});
  CHECK(reading.oom_kills == 4);
  CHECK(group->oom_kills() == 4);

  const auto workers = controller->reading_job(true)();
  REQUIRE(workers);
  CHECK(workers->total.raw == Bytes{41213952});
  REQUIRE(workers->groups.size() == 1);
  CHECK(workers->groups[0].name == "w1");
  CHECK(workers->groups[0].reading.used == Bytes{30000300});
  CHECK(controller->reading_job(false)()->groups.empty());
}

TEST_CASE("file pages that are active only because they are not written yet are not used") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  int charge = 300;  // another each time, or the reading before counts
  struct Row {
    int active, dirty, writeback, used;
  };
  for (const Row row : {Row{180, 0, 180, 20}, Row{180, 150, 30, 20}, Row{180, 5, 0, 195},
                        Row{180, 250, 50, 20}, Row{0, 200, 0, 200}, Row{180, 0, 0, 200}}) {
    CAPTURE(row.dirty);
    machine.tree.write(machine.w1 + "/memory.usage_in_bytes", std::to_string(++charge) + "\n");
    machine.tree.write(machine.w1 + "/memory.stat", "total_dirty " + std::to_string(row.dirty) +
                                                        "\ntotal_writeback " + std::to_string(row.writeback) +
                                                        "\ntotal_inactive_file 100\ntotal_active_file " +
                                                        std::to_string(row.active) + "\n");
    CHECK(group->read()->used == Bytes{row.used + charge - 300});
  }
}

TEST_CASE("a group that stands still is not read anew each time, one that moved is") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  const auto set_inactive = [&](int bytes) {
    machine.tree.write(machine.w1 + "/memory.stat",
                       "total_inactive_file " + std::to_string(bytes) + "\ntotal_active_file 0\n");
  };
  machine.tree.write(machine.w1 + "/memory.usage_in_bytes", "1000\n");
  set_inactive(0);
  CHECK(group->read()->used == Bytes{1000});
  set_inactive(400);
  for (int i = 0; i < 7; ++i) CHECK(group->read()->used == Bytes{1000});
  CHECK(group->read()->used == Bytes{600});
  set_inactive(500);
  CHECK(group->read()->used == Bytes{600});
  machine.tree.write(machine.w1 + "/memory.usage_in_bytes", "1001\n");
  CHECK(group->read()->used == Bytes{501});
}

TEST_CASE("more inactive pages than charge is nothing used, not less") {
  const FakeMachine machine;
  machine.tree.write(machine.w1 + "/memory.usage_in_bytes", "100\n");
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  CHECK(group->read()->used == Bytes{0});
}

TEST_CASE("numbers at the end of what can be counted stay there") {
  const FakeMachine machine;
  machine.tree.write(machine.w1 + "/memory.usage_in_bytes", "9223372036854775807\n");
  const auto used_with = [&](const std::string& inactive) {
    machine.tree.write(machine.w1 + "/memory.stat",
                       "total_inactive_file " + inactive +
                           "\ntotal_active_file 9223372036854775807\ntotal_dirty 9223372036854775807\n"
                           "total_writeback 9223372036854775807\ntotal_swap 9223372036854775807\n");
    const auto controller = machine.make().value();
    return controller->make_group("w1", {mebibytes(64), 0}).value()->read()->used;
  };
  CHECK(used_with("0") == Bytes{INT64_MAX});
  CHECK(used_with("9223372036854775807") == Bytes{INT64_MAX});
}

TEST_CASE("a reading that fails is an error that names the file") {
  struct Row {
    const char* file;
    const char* text;
    const char* error;
  };
  for (const Row& row : {Row{"memory.usage_in_bytes", "x\n", ": not a number: 'x'"},
                         Row{"memory.stat", "cache 4\n", ": no 'total_inactive_file'"},
                         Row{"memory.stat", "total_inactive_file 4", ": cut short at 'total_inactive_file'"},
                         Row{"memory.oom_control", "under_oom 0\n", ": no 'oom_kill'"}}) {
    CAPTURE(row.file);
    const FakeMachine machine;
    const auto controller = machine.make().value();
    const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
    machine.tree.write(machine.w1 + "/" + row.file, row.text);
    const std::string message = machine.tree.at(machine.w1 + "/" + row.file) + row.error;
    CHECK(group->read().error().message == message);
    CHECK(controller->reading_job(true)().error().message == message);
    machine.tree.write(machine.top + "/workers/" + row.file, row.text);
    CHECK_FALSE(controller->reading_job(false)().has_value());
  }
}

TEST_CASE("raising writes memsw first and lowering last") {
  // Plain files keep no order, so each first write is made to fail and the second must not have happened.
  struct Row {
    const char* present;
    const char* missing;
    const char* untouched;
  };
  for (const Row& row : {Row{"1048576\n", "memory.memsw.limit_in_bytes", "memory.limit_in_bytes"},
                         Row{"1073741824\n", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}}) {
    const FakeMachine machine;
    const auto controller = machine.make().value();
    const std::string workers = machine.top + "/workers/";
    machine.tree.write(workers + "memory.limit_in_bytes", row.present);
    machine.tree.write(workers + "memory.memsw.limit_in_bytes", row.present);
    CHECK(controller->set_workers_limit(mebibytes(64)).has_value());
    CHECK(machine.tree.read(workers + "memory.limit_in_bytes") == "67108864");
    CHECK(machine.tree.read(workers + "memory.memsw.limit_in_bytes") == "67108864");
  }
}

TEST_CASE("without swap accounting swappiness is the next best") {
  const FakeMachine machine;
  machine.tree.remove(machine.w1 + "/memory.memsw.limit_in_bytes");
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  CHECK(machine.tree.read(machine.w1 + "/memory.swappiness") == "0");
  CHECK(group->set_limit(mebibytes(32)).has_value());
  CHECK(machine.tree.read(machine.w1 + "/memory.limit_in_bytes") == "33554432");
}

TEST_CASE("a limit that is not positive is refused, for -1 would mean none") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  for (const std::int64_t bad : {0L, -1L}) {
    CHECK(controller->set_workers_limit({bad}).error().message ==
          "limit of " + machine.tree.at(machine.top + "/workers") + ": must be positive");
    CHECK_FALSE(controller->make_group("w1", {{bad}, 0}).has_value());
  }
}

TEST_CASE("hierarchical accounting is switched on where it is off") {
  const FakeMachine machine;
  machine.tree.write(machine.top + "/memory.use_hierarchy", "0\n");
  REQUIRE(machine.make().has_value());
  CHECK(machine.tree.read(machine.top + "/memory.use_hierarchy") == "1");
}

TEST_CASE("names that cannot be groups, or are taken, are refused") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  for (const std::string bad : {"", "a/b", "..", "memory.stat"})
    CHECK(controller->make_group(bad, {mebibytes(64), 0}).error().message ==
          "'" + bad + "' cannot name a worker's group");
  auto group = controller->make_group("w1", {mebibytes(64), 0});
  REQUIRE(group);
  CHECK(controller->make_group("w1", {mebibytes(64), 0}).error().code == EBUSY);
  group->reset();
  // Plain directories cannot be removed by rmdir: like a busy group the name stays taken.
  CHECK(controller->make_group("w1", {mebibytes(64), 0}).error().code == EBUSY);
  machine.tree.remove(machine.w1);
  machine.tree.remove("cgroup/pids/kurultai-x/workers/w1");
  machine.group(machine.w1);
  machine.tree.remove(machine.w1);
  CHECK(controller->make_group("w1", {mebibytes(64), 0}).error().code == ENOENT);  // a new one, without files
}

TEST_CASE("a group that cannot be furnished is an error and takes no name") {
  struct Row {
    const char* missing;
    int processes;
  };
  for (const Row& row :
       {Row{"memory.limit_in_bytes", 0}, Row{"memory.usage_in_bytes", 0}, Row{"memory.stat", 0},
        Row{"memory.oom_control", 0}, Row{"memory.max_usage_in_bytes", 0}, Row{"cgroup.event_control", 0}}) {
    CAPTURE(row.missing);
    const FakeMachine machine;
    const auto controller = machine.make().value();
    machine.tree.remove(machine.w1 + "/" + row.missing);
    const auto group = controller->make_group("w1", {mebibytes(64), row.processes});
    REQUIRE_FALSE(group);
    CHECK(group.error().message.contains(machine.tree.at(machine.w1 + "/" + row.missing)));
    CHECK(controller->reading_job(true)()->groups.empty());
  }
  const FakeMachine machine;
  const auto controller = machine.make().value();
  machine.tree.remove("cgroup/pids/kurultai-x/workers/w1/pids.max");
  CHECK(controller->make_group("w1", {mebibytes(64), 5}).error().message.contains("pids.max"));
  machine.tree.remove("cgroup/pids/kurultai-x/workers");
  CHECK(controller->make_group("w2", {mebibytes(64), 5}).error().message.starts_with("mkdir "));
  CHECK_FALSE(std::filesystem::exists(machine.tree.at(machine.top + "/workers/w2")));
}

TEST_CASE("marks are handed to the kernel and the same marks are not asked for twice") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const std::string control = machine.top + "/workers/cgroup.event_control";
  const int first = controller->watch({mebibytes(10), mebibytes(20)}).value();
  const std::string line = machine.tree.read(control);
  CHECK(line.starts_with(std::to_string(first) + " "));
  CHECK(line.ends_with(" 20971520"));
  CHECK(controller->watch({mebibytes(10), mebibytes(20)}).value() == first);
  const int second = controller->watch({mebibytes(30)}).value();
  CHECK(second != first);
  CHECK(::fcntl(first, F_GETFD) >= 0);  // still open: its poll is ended after this
  CHECK(controller->watch({}).value() != second);
  machine.tree.remove(control);
  CHECK(controller->watch({mebibytes(1)}).error().message.contains("cgroup.event_control"));
  machine.tree.remove(machine.top + "/workers/memory.usage_in_bytes");
  CHECK(controller->watch({mebibytes(2)}).error().message.contains("memory.usage_in_bytes"));
}

TEST_CASE("killing spares this process, init and those of other pid namespaces") {
  const FakeMachine machine;
  const auto controller = machine.make().value();
  const auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
  CHECK(group->kill_all().value());
  Child child([] {
    for (;;) ::pause();
  });
  machine.tree.write(machine.w1 + "/nested/cgroup.procs", std::to_string(child.pid()) + "\n");
  machine.tree.write(machine.w1 + "/cgroup.procs", "0\n1\n" + std::to_string(::getpid()) + "\ngarbage\n");
  CHECK(group->processes().value() == std::vector{0, 1, ::getpid(), child.pid()});
  group->signal_all(0);
  CHECK_FALSE(group->kill_all().value());
  CHECK(WTERMSIG(child.wait()) == SIGKILL);
  machine.tree.remove(machine.w1 + "/cgroup.procs");
  std::filesystem::create_directory(machine.tree.at(machine.w1 + "/cgroup.procs"));
  CHECK(group->kill_all().error().code == EISDIR);
  CHECK(group->processes().error().code == EISDIR);
  group->signal_all(SIGTERM);
}

TEST_CASE(
    "who was moved out of a group of version 1 is still found and killed, and a group that went is lost") {
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

TEST_CASE("without pids the caps go on and the explanation says so") {
  const FakeMachine machine;
  SUBCASE("not writable") {
    machine.tree.remove("cgroup/pids/kurultai-x");
    machine.tree.write("cgroup/pids/kurultai-x", "in the way");
  }
  SUBCASE("limits not writable") {
    machine.tree.remove("cgroup/pids/kurultai-x/workers/pids.max");
    std::filesystem::create_directory(machine.tree.at("cgroup/pids/kurultai-x/workers/pids.max"));
  }
  SUBCASE("not mounted") {
    machine.tree.write("proc/self/mountinfo",
                       "1 2 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  }
  SUBCASE("own group not visible") {
    machine.tree.write("proc/self/cgroup", "4:memory:/service/agents\n8:pids:/../x\n");
  }
  const auto controller = machine.make();
  REQUIRE(controller);
  CHECK((*controller)->explanation().contains("numbers of processes are not limited: "));
  CHECK((*controller)->explanation().ends_with("; remark"));
  const auto group = (*controller)->make_group("w1", {mebibytes(64), 20});
  REQUIRE(group);
  CHECK((*group)->launch_options().size() == 2);
}

TEST_CASE("version 1 that cannot be used says why and the rlimit level takes over") {
  const FakeMachine machine;
  std::string why;
  SUBCASE("no memory controller") {
    machine.tree.write("proc/self/mountinfo", fixture("cgroup2/unified.mountinfo"));
    why = "no memory controller is mounted";
  }
  SUBCASE("parent is not there") {
    machine.tree.remove("cgroup/memory/service");
    why = "mkdir " + machine.tree.at(machine.top) + ": No such file or directory";
  }
  SUBCASE("workers' limit cannot be written") {
    machine.tree.remove(machine.top + "/workers/memory.limit_in_bytes");
    why = "memory.limit_in_bytes: No such file or directory";
  }
  SUBCASE("charge cannot be read") {
    machine.tree.remove(machine.top + "/workers/memory.stat");
    why = "memory.stat: No such file or directory";
  }
  SUBCASE("supervisor cannot be moved") {
    machine.tree.remove(machine.top + "/supervisor/cgroup.procs");
    why = "supervisor/cgroup.procs: No such file or directory";
  }
  SUBCASE("hierarchical accounting cannot be had") {
    machine.tree.remove(machine.top + "/memory.use_hierarchy");
    machine.tree.write(machine.top + "/memory.use_hierarchy", "0");
    std::filesystem::permissions(machine.tree.at(machine.top + "/memory.use_hierarchy"),
                                 std::filesystem::perms::owner_read);
    if (::getuid() == 0) return;  // root may write it all the same
    why = "memory.use_hierarchy: Permission denied";
  }
  SUBCASE("own group is not visible") {
    machine.tree.write("proc/self/cgroup", "4:memory:/../elsewhere\n");
    why = "this process's own group is not visible";
  }
  SUBCASE("nothing can be read") {
    machine.tree.remove("proc/self");
    why = "mountinfo: No such file or directory";
  }
  const auto controller = choose_controller(machine.options());
  CHECK(controller->guarantee() == Guarantee::rlimit);
  CHECK(controller->explanation().contains("cgroup v1 is not usable: "));
  CAPTURE(controller->explanation());
  CHECK(controller->explanation().contains(why));
}

}  // namespace kurultai::fake_cgroup1_test
