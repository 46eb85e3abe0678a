#include "tools/bench/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

extern char** environ;

namespace kurultai::bench {

std::string own_path() { return std::filesystem::read_symlink("/proc/self/exe"); }

void give_up(const std::string& why) { throw std::runtime_error(why); }

int run_program(const std::function<int()>& program) {
  try {
    return program();
  } catch (const std::runtime_error& error) {
    std::fprintf(stderr, "%s: %s\n", std::filesystem::path(own_path()).filename().c_str(), error.what());
    return 1;
  }
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count <= 0) give_up(std::string("write: ") + std::strerror(errno));
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

Child start_piped(const std::vector<std::string>& command) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) give_up("pipe");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  Child child;
  if (::posix_spawn(&child.pid, argv[0], &actions, nullptr, argv.data(), environ) != 0)
    give_up("start " + command[0]);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  child.in = in[1];
  child.out = out[0];
  return child;
}

std::string read_line(const Child& child) {
  std::string line;
  for (char c = 0; ::read(child.out, &c, 1) == 1;) {
    if (c == '\n') return line;
    line += c;
  }
  give_up("a child of the measurement has left");
}

void finish(const Child& child) {
  ::close(child.in);
  ::close(child.out);
  ::waitpid(child.pid, nullptr, 0);
}

double cpu_time(pid_t process) {
  double sum = 0;
  for (const auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
    double time = 0;
    std::ifstream(thread.path() / "schedstat") >> time;
    sum += time;
  }
  return sum;
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

}  // namespace kurultai::bench
