#include "tools/bench/packing/parallel.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tools/bench/child.h"
#include "tools/bench/packing/tree_memory.h"

namespace kurultai::bench {

namespace {

/// Of a machine that has nothing but the budget. The lines that parallel adds up: MemFree, Buffers, Cached,
/// SwapCached.
class FakeMeminfo {
 public:
  FakeMeminfo(std::string path, Bytes budget)
      : path_(std::move(path)),
        budget_(budget),
        fd_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    if (fd_ < 0) give_up("open " + path_);
    update({});
  }
  ~FakeMeminfo() { ::close(fd_); }
  FakeMeminfo(const FakeMeminfo&) = delete;
  FakeMeminfo& operator=(const FakeMeminfo&) = delete;

  const std::string& path() const { return path_; }
  /// Always as long, so that a reader never sees half of it, and never quite nothing: parallel gives up then.
  void update(Bytes held) const {
    const auto total = static_cast<long long>(budget_.count / 1024);
    const auto free = static_cast<long long>(std::max<std::int64_t>(budget_.count - held.count, 1024) / 1024);
    std::array<char, 512> text{};
    const int size = std::snprintf(text.data(), text.size(),
                                   "MemTotal:       %12lld kB\nMemFree:        %12lld kB\n"
                                   "MemAvailable:   %12lld kB\nBuffers:        %12d kB\n"
                                   "Cached:         %12d kB\nSwapCached:     %12d kB\n"
                                   "SwapTotal:      %12d kB\nSwapFree:       %12d kB\n",
                                   total, free, free, 0, 0, 0, 0, 0);
    if (::pwrite(fd_, text.data(), static_cast<std::size_t>(size), 0) != size) give_up("write " + path_);
  }

 private:
  std::string path_;
  Bytes budget_;
  int fd_;
};

int status_of(const std::vector<std::string>& command) {
  const Child child = start_piped(command);
  ::close(child.in);
  std::array<char, 4096> said{};
  while (::read(child.out, said.data(), said.size()) > 0) continue;
  ::close(child.out);
  int status = 0;
  ::waitpid(child.pid, &status, 0);
  return status;
}

std::string written_inputs(const Course& course, const std::string& path) {
  std::ofstream file(path);
  for (std::size_t i = 0; i < course.tasks.size(); ++i) {
    const PackedTask& task = course.tasks[i];
    file << i << ' ' << task.declared_mib << ' ' << task.time.count() << ' '
         << (task.leaks() ? course.cap_mib : 0) << '\n';
  }
  return path;
}

std::vector<std::string> command_for(const ParallelRule& rule, const std::string& inputs,
                                     const std::string& journal) {
  std::vector<std::string> command = {"parallel", "--will-cite", "--ungroup", "--jobs",
                                      std::to_string(rule.jobs)};
  if (rule.memfree_mib > 0) {
    const std::string size = std::to_string(rule.memfree_mib) + "M";
    command.insert(command.end(), {"--memfree", size, "--retries", "50"});
  }
  command.insert(command.end(), {"--colsep", " ", "--arg-file", inputs});
  command.insert(command.end(), {own_path(), "--task", "{1}", "{2}", "{3}", "{4}", journal});
  return command;
}

/// With the other /proc/meminfo before its eyes.
std::vector<std::string> in_small_machine(const FakeMeminfo& meminfo,
                                          const std::vector<std::string>& command) {
  std::vector<std::string> words = {
      "/usr/bin/env", "unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /proc/meminfo && exec \"$@\"",
      meminfo.path()};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

}  // namespace

Result<Outcome> run_parallel(const Course& course, const ParallelRule& rule) {
  const bool by_memory = rule.memfree_mib > 0;
  const std::string name = by_memory ? "parallel --memfree " + std::to_string(rule.memfree_mib) + "M"
                                     : "parallel --jobs " + std::to_string(rule.jobs);
  const std::string journal =
      course.directory + "/parallel-" + std::to_string(rule.memfree_mib);  // no spaces: by a shell
  const FakeMeminfo meminfo(course.directory + "/meminfo", course.budget);
  if (status_of({"/usr/bin/env", "parallel", "--version"}) != 0)
    return failure("GNU parallel is not installed");
  if (by_memory && status_of(in_small_machine(meminfo, {"true"})) != 0)
    return failure("a /proc/meminfo of its own cannot be mounted here");
  ::setenv("PARALLEL_HOME", course.directory.c_str(), 1);
  auto command = command_for(rule, written_inputs(course, course.directory + "/inputs"), journal);
  if (by_memory)
    command = in_small_machine(meminfo, command);
  else
    command.insert(command.begin(), "/usr/bin/env");

  const auto begin = std::chrono::steady_clock::now();
  const Child child = start_piped(command);
  TreeMemory memory(child.pid, [&](Bytes held) { meminfo.update(held); });
  finish(child);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  Outcome outcome = outcome_of(name, course, read_journal(journal, course.tasks.size()));
  outcome.seconds = took.count();
  outcome.most = memory.most();
  return outcome;
}

}  // namespace kurultai::bench
