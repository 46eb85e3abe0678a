#include "tools/kurultai/process_memory.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace kurultai::process_memory_test {
namespace {

/// A /proc of our own; goes with it.
class FakeProc {
 public:
  FakeProc() { REQUIRE(mkdtemp(root_.data()) != nullptr); }
  ~FakeProc() { std::filesystem::remove_all(root_); }
  FakeProc(const FakeProc&) = delete;
  FakeProc& operator=(const FakeProc&) = delete;

  void process(int pid, int resident, int shared, const std::string& children = "", char state = 'S',
               int start = 77) {
    const std::string directory = root_ + "/" + std::to_string(pid);
    const std::string thread = directory + "/task/" + std::to_string(pid);
    std::filesystem::create_directories(thread);
    std::ofstream(thread + "/children") << children;
    std::ofstream(directory + "/statm") << "9999 " << resident << " " << shared << " 1 0 5 0\n";
    std::ofstream(directory + "/stat")
        << pid << " (a) b) " << state << " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 " << start
        << " 20 21\n";
  }
  void end(int pid) { std::filesystem::remove_all(root_ + "/" + std::to_string(pid)); }
  const std::string& root() const { return root_; }

 private:
  std::string root_ = "/tmp/kurultai-proc-XXXXXX";
};

Bytes pages(int count) { return {count * sysconf(_SC_PAGESIZE)}; }

TEST_CASE("of one process it is the resident memory, of a tree what is shared counts once") {
  FakeProc proc;
  proc.process(5, 100, 40);
  const auto process = WatchedProcess::find(5, proc.root());
  REQUIRE(process);
  CHECK(process->read() == pages(100));
  proc.process(5, 100, 40, "6 7 ");
  proc.process(6, 50, 45);
  proc.process(7, 20, 10, "8");
  CHECK(process->read() == pages(60 + 5 + 10 + 45));  // 8 has ended meanwhile
}

TEST_CASE("a process that has ended, or whose number is another's, is not read") {
  FakeProc proc;
  proc.process(5, 100, 40);
  const auto process = WatchedProcess::find(5, proc.root());
  REQUIRE(process);
  SUBCASE("gone") { proc.end(5); }
  SUBCASE("waits to be reaped") { proc.process(5, 0, 0, "", 'Z'); }
  SUBCASE("another one") { proc.process(5, 100, 40, "", 'S', 78); }
  CHECK_FALSE(process->read());
}

TEST_CASE("there is no such process") {
  const FakeProc proc;
  const auto process = WatchedProcess::find(5, proc.root());
  REQUIRE_FALSE(process);
  CHECK(process.error().code == ESRCH);
  CHECK(process.error().message == "no process 5");
}

}  // namespace
}  // namespace kurultai::process_memory_test
