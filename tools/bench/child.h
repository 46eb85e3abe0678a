// What both measuring programs start: themselves in another role, on pipes. All errors are thrown and end the
// program in its `main`: nothing can be measured then, but what was started is to be ended.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace kurultai::bench {

/// Throws std::runtime_error.
[[noreturn]] void give_up(const std::string& why);

/// Runs a program and gives its exit status; 1, with the reason on stderr, when it gave up.
int run_program(const std::function<int()>& program);

/// The program that runs now, as an absolute path.
std::string own_path();

void write_all(int fd, std::string_view bytes);

/// A process whose stdin and stdout are pipes to us. The caller closes them and waits for it.
struct Child {
  pid_t pid = 0;
  int in = -1;
  int out = -1;
};

Child start_piped(const std::vector<std::string>& command);

/// One line of what the child says, without its newline.
std::string read_line(const Child& child);

/// Closes the child's stdin, which ends it, and waits.
void finish(const Child& child);

/// Processor time of all threads that a process has now, in nanoseconds.
double cpu_time(pid_t process);

/// `share` 0…1 of the way through the sorted values; 0 when there are none.
double percentile(std::vector<double> values, double share);

}  // namespace kurultai::bench
