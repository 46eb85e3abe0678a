#include <doctest/doctest.h>

#include "supervisor/memory/controller.h"
#include "tests/memory/support.h"

using namespace kurultai;
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
