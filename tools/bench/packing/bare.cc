#include "tools/bench/packing/bare.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>

#include "tools/bench/child.h"
#include "tools/bench/packing/tree_memory.h"

extern char** environ;

namespace kurultai::bench {

namespace {

pid_t start(std::vector<std::string> command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (::posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0)
    give_up("start " + command[0]);
  return pid;
}

}  // namespace

Outcome run_bare(const Course& course, const Packing& packing, int capacity_mib) {
  const std::string journal = course.directory + "/bare";
  std::map<pid_t, std::size_t> running;
  TreeMemory memory(::getpid());
  const auto begin = std::chrono::steady_clock::now();
  for (auto next = packing.order.begin(); next != packing.order.end() || !running.empty();) {
    if (next != packing.order.end() && course.tasks[*next].mib <= capacity_mib) {
      capacity_mib -= course.tasks[*next].mib;
      running[start(command_of(*next, course.tasks[*next], course.cap_mib, journal))] = *next;
      ++next;
      continue;
    }
    int status = 0;
    const auto ended = running.extract(::waitpid(-1, &status, 0));
    if (ended.empty() || status != 0) give_up("a task did not end well");
    capacity_mib += course.tasks[ended.mapped()].mib;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  Outcome outcome =
      outcome_of("the same packing, run bare", course, read_journal(journal, course.tasks.size()));
  outcome.seconds = took.count();
  outcome.most = memory.most();
  return outcome;
}

}  // namespace kurultai::bench
