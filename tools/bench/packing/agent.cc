#include "tools/bench/packing/agent.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "tools/bench/child.h"

namespace kurultai::bench {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds growth_step{10};

/// In one write of a line: the tasks share the file.
void note(const std::string& journal, char what, const std::string& id) {
  const int fd = ::open(journal.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) give_up("open " + journal);
  write_all(fd, what + (" " + id) + "\n");
  ::close(fd);
}

void touch(char* memory, std::size_t from, std::size_t to) {
  static constexpr std::size_t page = 4096;
  for (std::size_t at = from; at < to; at += page) memory[at] = 1;
}

std::size_t held_of(int mib) { return static_cast<std::size_t>(std::max(mib - own_mib, 0)) << 20; }

void hold(int mib, int grow_to, milliseconds time) {
  const auto start = Clock::now();
  const std::size_t first = held_of(mib);
  const std::size_t last = std::max(first, held_of(grow_to));
  void* mapped = ::mmap(nullptr, last + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) give_up("no address space");
  auto* memory = static_cast<char*>(mapped);
  touch(memory, 0, first);
  std::size_t held = first;
  while (held < last && Clock::now() < start + time) {
    std::this_thread::sleep_for(growth_step);
    const std::chrono::duration<double> since = Clock::now() - start;
    const double share = std::min(since / std::chrono::duration<double>(time), 1.0);
    const std::size_t wanted = first + static_cast<std::size_t>(share * static_cast<double>(last - first));
    touch(memory, held, wanted);
    held = std::max(held, wanted);
  }
  touch(memory, held, last);
  std::this_thread::sleep_until(start + time);
}

std::vector<std::string> words(const std::string& id, const std::string& mib, const std::string& ms,
                               const std::string& grow_to, const std::string& journal) {
  return {own_path(), "--task", id, mib, ms, grow_to, journal};
}

}  // namespace

std::vector<std::string> command_of(std::size_t id, const PackedTask& task, int leak_mib,
                                    const std::string& journal) {
  return words(std::to_string(id), std::to_string(task.declared_mib), std::to_string(task.time.count()),
               std::to_string(task.leaks() ? leak_mib : 0), journal);
}

std::vector<std::string> command_template(const std::string& journal) {
  return words("{id}", "{mib}", "{ms}", "{grow}", journal);
}

int run_task(const std::vector<std::string>& words) {
  if (words.size() != 5) give_up("--task ID MIB MS GROW JOURNAL");
  note(words[4], 's', words[0]);
  hold(std::atoi(words[1].c_str()), std::atoi(words[3].c_str()), milliseconds(std::atoi(words[2].c_str())));
  note(words[4], 'e', words[0]);
  // Nothing is left to clean up, and the exit of a process of this size takes its time.
  ::_exit(0);
}

std::vector<Told> read_journal(const std::string& journal, std::size_t tasks) {
  std::vector<Told> told(tasks);
  std::ifstream file(journal);
  char what = 0;
  for (std::size_t id = 0; file >> what >> id;) {
    if (id < tasks) ++(what == 's' ? told[id].starts : told[id].ends);
  }
  return told;
}

}  // namespace kurultai::bench
