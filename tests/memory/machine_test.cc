#include <doctest/doctest.h>

#include "supervisor/memory/controller.h"
#include "supervisor/memory/surroundings.h"
#include "tests/memory/support.h"

namespace kurultai::machine_test {
using namespace kurultai::test;

namespace {

const std::string no_limit = "9223372036854771712\n";

struct Machine {
  Machine() { tree.write("proc/meminfo", "MemTotal:       16384000 kB\nMemFree:        1 kB\n"); }

  void be(const std::string& version, const std::string& name) const {
    tree.write("proc/self/mountinfo", fixture(version + "/" + name + ".mountinfo"));
    tree.write("proc/self/cgroup", fixture(version + "/" + name + ".cgroup"));
  }
  Result<Bytes> memory() const { return machine_memory({"x", "/", tree.at("cgroup"), tree.at("proc"), {}}); }

  Tree tree;
};

}  // namespace

TEST_CASE("without limits the machine has what it has") {
  const Machine machine;
  CHECK(machine.memory().value() == kibibytes(16384000));  // no cgroups at all
  machine.be("cgroup1", "hybrid");
  machine.tree.write("cgroup/memory/service/agents/memory.limit_in_bytes", no_limit);
  machine.tree.write("cgroup/memory/memory.limit_in_bytes", no_limit);
  CHECK(machine.memory().value() == kibibytes(16384000));
}

TEST_CASE("the lowest limit up the tree counts in version 1") {
  const Machine machine;
  machine.be("cgroup1", "hybrid");
  machine.tree.write("cgroup/memory/service/agents/memory.limit_in_bytes", "1073741824\n");
  CHECK(machine.memory().value() == gibibytes(1));
  machine.tree.write("cgroup/memory/service/memory.limit_in_bytes", "536870912\n");
  CHECK(machine.memory().value() == mebibytes(512));
  machine.tree.write("cgroup/memory/service/agents/memory.stat", "hierarchical_memory_limit 268435456\n");
  CHECK(machine.memory().value() == mebibytes(256));  // an ancestor that we cannot see
}

TEST_CASE("the lowest limit up the tree counts in version 2") {
  const Machine machine;
  machine.be("cgroup2", "unified");
  machine.tree.write("cgroup/system.slice/kurultai.service/memory.max", "max\n");
  CHECK(machine.memory().value() == kibibytes(16384000));
  machine.tree.write("cgroup/memory.max", "2147483648\n");  // a container sees its own group as the root
  CHECK(machine.memory().value() == gibibytes(2));
  machine.tree.write("cgroup/system.slice/memory.max", "garbage\n");
  CHECK(machine.memory().value() == gibibytes(2));
}

TEST_CASE("a machine that does not tell its memory is an error") {
  const Machine machine;
  const std::string file = machine.tree.at("proc/meminfo");
  for (const char* text : {"", "MemFree: 5 kB\n", "MemTotal:\n", "MemTotal: 12", "MemTotal: 12 MB\n",
                           "MemTotal: 9223372036854775807 kB\n"}) {
    CAPTURE(text);
    machine.tree.write("proc/meminfo", text);
    CHECK(machine.memory().error().message == file + ": no MemTotal");
  }
  machine.tree.remove("proc/meminfo");
  CHECK(machine.memory().error().message == "open " + file + ": No such file or directory");
}

TEST_CASE("a captured meminfo and this process are understood") {
  const Machine machine;
  machine.tree.write("proc/meminfo", fixture("proc/meminfo"));
  CHECK(machine.memory().value() > gibibytes(1));
  CHECK(own_rss().value() > mebibytes(1));
  CHECK(machine_memory({"x", "/", "/sys/fs/cgroup", "/proc", {}}).value() > mebibytes(64));
}

TEST_CASE("what is available on the machine is read with its total") {
  const Machine machine;
  machine.tree.write("proc/meminfo", "MemTotal:  512 kB\nMemFree:   1 kB\nMemAvailable:   300 kB\n");
  const auto reading = read_machine(machine.tree.at("proc"));
  REQUIRE(reading);
  CHECK(reading->total == kibibytes(512));
  CHECK(reading->available == kibibytes(300));
}

TEST_CASE("a machine that does not tell what is available is an error") {
  const Machine machine;
  const std::string file = machine.tree.at("proc/meminfo");
  CHECK(read_machine(machine.tree.at("proc")).error().message == file + ": no MemAvailable");
  CHECK_FALSE(read_machine(machine.tree.at("nothing")));
}

namespace {

/// Groups of one version below cgroup/, with all that is read of them.
struct Groups {
  explicit Groups(int which) : version(which) {}

  void make(const std::string& below, const std::string& limit, Bytes used, const std::string& stat) const {
    const std::string group = "cgroup" + below;
    tree.write(group + "/cgroup.procs", "");
    tree.write(group + (version == 2 ? "/memory.max" : "/memory.limit_in_bytes"), limit + "\n");
    tree.write(group + (version == 2 ? "/memory.current" : "/memory.usage_in_bytes"),
               std::to_string(used.count) + "\n");
    tree.write(group + "/memory.stat", stat);
  }
  MachineReading tightened(const std::string& below) const {
    MachineReading machine{gibibytes(16), gibibytes(8)};
    Surroundings(version, tree.at("cgroup" + below)).tighten(machine);
    return machine;
  }

  int version;
  Tree tree;
};

std::string mebibytes_text(int count) { return std::to_string(mebibytes(count).count); }

}  // namespace

TEST_CASE("groups around that have no limit leave the machine as it is") {
  const Groups one(1), two(2);
  one.make("", no_limit.substr(0, no_limit.size() - 1), gibibytes(12), "");
  one.make("/agents", no_limit.substr(0, no_limit.size() - 1), gibibytes(12), "");
  two.tree.write("cgroup/cgroup.procs", "");  // a real root has no files of memory
  two.make("/agents", "max", gibibytes(12), "");
  for (const Groups* groups : {&one, &two}) {
    const MachineReading machine = groups->tightened("/agents");
    CHECK(machine.total == gibibytes(16));
    CHECK(machine.available == gibibytes(8));
    CHECK(machine.group.empty());
  }
}

TEST_CASE("the group around with the least left counts, wherever it is") {
  Groups groups(2);
  groups.make("", mebibytes_text(1024), mebibytes(900), "");
  groups.make("/slice", mebibytes_text(512), mebibytes(100), "");
  groups.make("/slice/agents", "max", mebibytes(100), "");
  MachineReading machine = groups.tightened("/slice/agents");
  CHECK(machine.total == mebibytes(512));
  CHECK(machine.available == mebibytes(124));
  CHECK(machine.group == groups.tree.at("cgroup"));
  groups.tree.write("cgroup/slice/memory.high", mebibytes_text(200) + "\n");  // nobody gets beyond it, either
  machine = groups.tightened("/slice/agents");
  CHECK(machine.total == mebibytes(200));
  CHECK(machine.available == mebibytes(100));
  CHECK(machine.group == groups.tree.at("cgroup/slice"));
}

TEST_CASE("page cache of a group around can be had, but for what is not written yet") {
  const std::string two =
      "inactive_file 20971520\nactive_file 10485760\nfile_dirty 5242880\nfile_writeback 1048576\n";
  const std::string one =
      "inactive_file 1\nactive_file 1\ntotal_inactive_file 20971520\ntotal_active_file 10485760\n"
      "total_dirty 5242880\ntotal_writeback 1048576\n";
  for (const int version : {1, 2}) {
    CAPTURE(version);
    const Groups groups(version);
    groups.make("", mebibytes_text(100), mebibytes(90), version == 1 ? one : two);
    CHECK(groups.tightened("").available == mebibytes(34));
  }
}

TEST_CASE("a group around that is over its limit, or cannot be read, leaves nothing or all") {
  const Groups groups(2);
  groups.make("", mebibytes_text(100), mebibytes(120), "");
  CHECK(groups.tightened("").available == Bytes{});
  groups.make("", "garbage", mebibytes(120), "");
  CHECK(groups.tightened("").available == gibibytes(8));
  groups.make("", mebibytes_text(100), mebibytes(120), "");
  groups.tree.write("cgroup/memory.current", "garbage\n");
  CHECK(groups.tightened("").available == gibibytes(8));
  CHECK(Groups(2).tightened("/nowhere").available == gibibytes(8));
}

}  // namespace kurultai::machine_test
