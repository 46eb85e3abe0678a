#include "supervisor/memory/proc.h"
#include "supervisor/memory/cpu_time.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <thread>

#include "tests/memory/support.h"

namespace kurultai::proc_test {
using namespace kurultai::test;

namespace {

std::string stat_line(int pid, int parent, char state = 'S', int threads = 1, int start = 100) {
  return std::to_string(pid) + " (x) " + state + " " + std::to_string(parent) +
         " 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 " + std::to_string(threads) + " 0 " + std::to_string(start) +
         " 0 0\n";
}

void add_process(const Tree& tree, int pid, int parent, const std::string& children, char state = 'S',
                 int threads = 1) {
  const std::string directory = std::to_string(pid);
  tree.write(directory + "/stat", stat_line(pid, parent, state, threads));
  tree.write(directory + "/task/" + directory + "/stat", "");
  tree.write(directory + "/task/" + directory + "/children", children);
}

std::vector<int> pids_of(const Result<std::vector<ProcessState>>& tree) {
  std::vector<int> pids;
  for (const ProcessState& process : tree.value()) pids.push_back(process.id.pid);
  return pids;
}

}  // namespace

TEST_CASE("a captured stat line is understood though the name holds brackets and blanks") {
  const auto process = parse_stat(fixture("proc/stat"), "stat");
  REQUIRE(process);
  CHECK(process->id.pid == 18580);
  CHECK(process->id.start == 257991);
  CHECK(process->state == 'S');
  CHECK(process->parent == 18571);
  CHECK(process->threads == 1);
  CHECK(process->cpu == std::chrono::microseconds(8 * (1000000 / ::sysconf(_SC_CLK_TCK))));  // 2 + 3 + 2 + 1
  CHECK_FALSE(process->is_dead());
}

TEST_CASE("CPU time of workers: the living as they are listed, and children that ended") {
  using std::chrono::microseconds;
  const auto nobody = [] { return std::vector<ProcessState>(); };
  const microseconds ended = cpu_time_of_workers(nobody).value();
  ProcessState one, two;
  one.cpu = microseconds(300);
  two.cpu = microseconds(40);
  CHECK(cpu_time_of_workers([&] { return std::vector{one, two}; }).value() - ended == microseconds(340));
  CHECK(cpu_time_of_workers([] { return failure("no list"); }).error().message == "no list");

  Child([] {
    while (::clock() < CLOCKS_PER_SEC / 100) {
    }
  }).wait();
  CHECK(cpu_time_of_workers(nobody).value() > ended);
}

TEST_CASE("a damaged stat line is an error") {
  for (const char* text : {"", "x", "12", "12 (sh", "12 (sh)", "12 (sh) ", "12 (sh) S", "12 (sh) S 1",
                           "12 (sh) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0", "12 (sh) S x 1 1",
                           "12 (sh) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 x 0 5",
                           "12 (sh) S 1 1 1 0 -1 0 0 0 0 0 -1 0 0 0 20 0 1 0 5",
                           "12 (sh) S 1 1 1 0 -1 0 0 0 0 0 9223372036854775807 0 0 0 20 0 1 0 5"}) {
    CAPTURE(text);
    CHECK(parse_stat(text, "/proc/12/stat").error().message == "/proc/12/stat: not a process's stat line");
  }
}

TEST_CASE("a process is dead when its last thread is") {
  struct Row {
    char state;
    int threads;
    bool dead;
  };
  for (const Row& row : {Row{'R', 1, false}, Row{'D', 1, false}, Row{'T', 3, false}, Row{'Z', 1, true},
                         Row{'Z', 2, false}, Row{'X', 1, true}, Row{'Z', 0, true}})
    CHECK(ProcessState{{1, 1}, 1, row.state, row.threads}.is_dead() == row.dead);
}

TEST_CASE("captured memory files are understood") {
  const auto statm = parse_statm(fixture("proc/statm"), "statm");
  REQUIRE(statm);
  const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  CHECK(statm->size.count == 10816 * page);
  CHECK(statm->resident.count == 10034 * page);
  CHECK(statm->shared.count == 1662 * page);
  const auto rollup = parse_smaps_rollup(fixture("proc/smaps_rollup"), "smaps_rollup");
  REQUIRE(rollup);
  CHECK(rollup->held == kibibytes(33488));  // of 38636 in all
  CHECK(rollup->swap == Bytes{0});
}

TEST_CASE("what a process holds is what is its own or shared, but no file's") {
  const auto held = [](const char* text) { return parse_smaps_rollup(text, "f")->held; };
  CHECK(held("Pss: 900 kB\nPss_Anon: 500 kB\nPss_File: 300 kB\nPss_Shmem: 100 kB\nSwapPss: 0 kB\n") ==
        kibibytes(600));
  CHECK(held("Pss: 900 kB\nSwapPss: 0 kB\n") == kibibytes(900));
  CHECK(held("Pss: 900 kB\nPss_Anon: 500 kB\nSwapPss: 0 kB\n") == kibibytes(900));
}

TEST_CASE("damaged memory files are errors, never zero") {
  CHECK(parse_statm("", "f").error().message == "f: not a statm line");
  CHECK(parse_statm("1 2", "f").error().message == "f: not a statm line");
  CHECK(parse_statm("1 x 3", "f").error().message == "f: not a statm line");
  CHECK(parse_statm("1 -2 3", "f").error().message == "f: not a statm line");
  CHECK(parse_statm("1 9223372036854775807 3", "f").error().message == "f: not a statm line");
  for (const char* number : {"-5", "9223372036854775807"}) {
    const std::string text = "Pss: " + std::string(number) + " kB\n";
    CHECK(parse_smaps_rollup(text, "f").error().message == "f: 'Pss' holds no size");
  }
  CHECK(parse_smaps_rollup("", "f").error().message == "f: no 'Pss'");
  CHECK(parse_smaps_rollup("Pss: 5 kB\n", "f").error().message == "f: no 'SwapPss'");
  CHECK(parse_smaps_rollup("Pss:\n", "f").error().message == "f: 'Pss' holds no size");
  CHECK(parse_smaps_rollup("Pss: 5 MB\n", "f").error().message == "f: 'Pss' holds no size");
  CHECK(parse_smaps_rollup("Pss: 99999999999999999999 kB\n", "f").error().message ==
        "f: 'Pss' holds no size");
}

TEST_CASE("a tree is walked from its roots, parents first, without the dead") {
  const Tree tree;
  add_process(tree, 10, 1, "11 12 ");
  add_process(tree, 11, 10, "13 ");
  add_process(tree, 12, 10, "", 'Z');
  // 99 has gone, 10's number was given away: it is no child of 13's. The circle does no harm.
  add_process(tree, 13, 11, "99 10 ");
  add_process(tree, 20, 1, "");
  CHECK(pids_of(walk_tree(tree.root(), {{10, 100}})) == std::vector{10, 11, 13});
  CHECK(pids_of(walk_tree(tree.root(), {{11, 100}, {20, 100}, {11, 100}})) == std::vector{11, 20, 13});
  CHECK(pids_of(walk_tree(tree.root(), {{10, 7}})).empty());  // the number belongs to another process now
  CHECK(pids_of(walk_tree(tree.root(), {{98, 100}})).empty());
  CHECK(pids_of(all_processes(tree.root())).size() == 4);
}

TEST_CASE("children are found through every thread") {
  const Tree tree;
  add_process(tree, 10, 1, "", 'Z', 2);
  tree.write("10/task/15/stat", "");
  tree.write("10/task/15/children", "11 ");
  add_process(tree, 11, 10, "");
  CHECK(pids_of(walk_tree(tree.root(), {{10, 100}})) == std::vector{10, 11});
}

TEST_CASE("a kernel without children files is asked for everybody's parents") {
  const Tree tree;
  for (const auto& [pid, parent] : {std::pair{10, 1}, {11, 10}, {12, 11}, {20, 1}}) {
    add_process(tree, pid, parent, "");
    tree.remove(std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  }
  CHECK(pids_of(walk_tree(tree.root(), {{10, 100}})) == std::vector{10, 11, 12});
}

TEST_CASE("what cannot be read is an error, not a smaller tree") {
  const Tree tree;
  add_process(tree, 10, 1, "11 ");
  add_process(tree, 11, 10, "");
  tree.write("11/stat", "garbage");
  const std::string damaged = tree.at("11/stat") + ": not a process's stat line";
  CHECK(walk_tree(tree.root(), {{10, 100}}).error().message == damaged);
  CHECK(walk_tree(tree.root(), {{11, 100}}).error().message == damaged);
  CHECK(all_processes(tree.root()).error().message == damaged);
  tree.remove("10/task/10/children");
  CHECK(walk_tree(tree.root(), {{10, 100}}).error().message == damaged);
  std::filesystem::create_directory(tree.at("10/task/10/children"));
  CHECK(walk_tree(tree.root(), {{10, 100}}).error().code == EISDIR);
  const Tree empty;
  CHECK(all_processes(empty.root()).error().message == "no process is visible in " + empty.root());
}

TEST_CASE("a leader that ended before its threads shows its memory through them") {
  const Tree tree;
  add_process(tree, 10, 1, "", 'Z', 2);
  tree.write("10/statm", "0 0 0 0 0 0 0\n");
  tree.write("10/task/15/statm", "9 5 1 0 0 0 0\n");
  const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  CHECK(read_statm(tree.root(), read_process(tree.root(), 10).value())->resident.count == 5 * page);
  tree.remove("10/task/15");
  CHECK(read_statm(tree.root(), read_process(tree.root(), 10).value())->resident.count == 0);
}

TEST_CASE("swapped memory, and what is no file's, come from the status file") {
  const Tree tree;
  tree.write("10/status", fixture("proc/status"));
  const ProcessState process{{10, 1}, 1, 'S', 1};
  CHECK(read_own_memory(tree.root(), process).value().swap == Bytes{0});
  CHECK(read_own_memory(tree.root(), process).value().held.has_value());
  tree.write("10/status", "Name:\tx\nVmSwap:\t  2048 kB\n");
  CHECK(read_own_memory(tree.root(), process).value().swap == mebibytes(2));
  CHECK_FALSE(read_own_memory(tree.root(), process).value().held.has_value());
  tree.write("10/status",
             "VmRSS:\t 900 kB\nRssAnon:\t 500 kB\nRssFile:\t 300 kB\nRssShmem:\t 100 kB\nVmSwap:\t 0 kB\n");
  CHECK(read_own_memory(tree.root(), process).value().held == kibibytes(600));
  tree.write("10/status", "Name:\tx\nState:\tX (dead)\n");
  CHECK(read_own_memory(tree.root(), process).value().swap == Bytes{0});
  CHECK(is_gone(read_own_memory(tree.root(), {{11, 1}, 1, 'S', 1}).error()));
}

TEST_CASE("this process can be read") {
  const auto self = read_process("/proc", ::getpid());
  REQUIRE(self);
  CHECK(self->parent == ::getppid());
  CHECK(read_statm("/proc", *self)->resident > mebibytes(1));
  CHECK(read_proportional("/proc", *self)->held > kibibytes(100));
  CHECK(is_gone(read_statm("/proc", {{999999999, 1}, 1, 'S', 1}).error()));
  CHECK(is_gone(read_proportional("/proc", {{999999999, 1}, 1, 'S', 1}).error()));
}

TEST_CASE("a signal reaches exactly the process that was meant") {
  Child child([] {
    for (;;) ::pause();
  });
  const ProcessId id = read_process("/proc", child.pid())->id;
  signal_process("/proc", {id.pid, id.start + 1}, SIGKILL);  // an earlier owner of the number
  signal_process("/proc", {999999999, 1}, SIGKILL);
  CHECK(is_alive(child.pid()));
  signal_process("/proc", id, SIGTERM);
  CHECK(WTERMSIG(child.wait()) == SIGTERM);
}

TEST_CASE("two processes share memory after vfork only") {
  const ProcessState self = read_process("/proc", ::getpid()).value();
  const Statm statm = read_statm("/proc", self).value();
  CHECK(shares_memory(self, statm, self, statm));
  Child forked([] {
    for (;;) ::pause();
  });
  const ProcessState child = read_process("/proc", forked.pid()).value();
  CHECK_FALSE(shares_memory(child, read_statm("/proc", child).value(), self, statm));
}

TEST_CASE("where memory cannot be compared a sleeping parent of the same size gives vfork away") {
  const ProcessState child{{999999998, 1}, 999999999, 'R', 1};
  const Statm size{mebibytes(9), mebibytes(5), mebibytes(1)};
  const Statm other{mebibytes(9), mebibytes(4), mebibytes(1)};
  CHECK(shares_memory(child, size, {{999999999, 1}, 1, 'D', 1}, size));
  CHECK_FALSE(shares_memory(child, size, {{999999999, 1}, 1, 'S', 1}, size));
  CHECK_FALSE(shares_memory(child, size, {{999999999, 1}, 1, 'D', 1}, other));
}

}  // namespace kurultai::proc_test
