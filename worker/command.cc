#include "worker/command.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "protocol/oom_order.h"

namespace kurultai {
namespace {

/// What the host was told is that of a task of normal priority. Empty: nothing was told.
std::string oom_score_adj_for(Priority priority, const std::string& usual) {
  int number = 0;
  const auto read = std::from_chars(usual.data(), usual.data() + usual.size(), number);
  return read.ec == std::errc() ? std::to_string(oom_score_adj_of(priority, number)) : usual;
}

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_failure("pipe", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

/// Our end only: the command's own would be a surprise to it.
void unblock(const Fd& fd) { ::fcntl(fd.get(), F_SETFL, O_NONBLOCK); }

bool may_work_later(int code) { return code == EINTR || code == EAGAIN; }

struct Input {
  Fd theirs;  // absent: /dev/null
  Fd ours;    // absent: nothing to write
};

Result<Input> open_input(const TaskMessage& task) {
  if (task.payload_file && !task.input) {
    Fd file(::open(task.payload_file->c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return system_failure("open " + *task.payload_file, errno);
    return Input{std::move(file), {}};
  }
  if ((task.input ? *task.input : task.payload).empty()) return Input{};
  auto pipe = make_pipe();
  if (!pipe) return std::unexpected(pipe.error());
  unblock(pipe->write);
  return Input{std::move(pipe->read), std::move(pipe->write)};
}

Result<std::vector<char*>> to_argv(std::vector<std::string>& arguments) {
  if (arguments.empty()) return failure("the task names no command");
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    if (argument.find('\0') != std::string::npos) return failure("an argument holds a NUL byte");
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  return argv;
}

}  // namespace

Result<Command> Command::start(TaskMessage task, const Launch& launch, int nothing, bool logs_only) {
  const auto argv = to_argv(task.argv);
  if (!argv) return std::unexpected(argv.error());
  auto input = open_input(task);
  if (!input) return std::unexpected(input.error());
  auto output = logs_only ? Pipe{} : make_pipe();
  if (!output) return std::unexpected(output.error());
  Launch placed = launch;
  if (!task.cwd.empty()) placed.cwd = task.cwd;
  placed.oom_score_adj = oom_score_adj_for(task.priority, launch.oom_score_adj);
  // Named as its result, which no other run of it shares.
  if (auto furnished = furnish(placed, task.result_file.substr(task.result_file.rfind('/') + 1)); !furnished)
    return std::unexpected(furnished.error());
  const int in = input->theirs ? input->theirs.get() : nothing;
  const auto pid = spawn(placed, in, logs_only ? STDERR_FILENO : output->write.get(), *argv);
  if (!pid) return failure(to_string(pid.error()), pid.error().code);
  if (output->read) unblock(output->read);
  return Command(std::move(task), *pid, std::move(input->ours), std::move(output->read));
}

Command::Command(TaskMessage task, pid_t pid, Fd input, Fd output)
    : task_(std::move(task)),
      pid_(pid),
      input_(std::move(input)),
      stdout_(std::move(output)),
      output_(task_.result_file, task_.inline_limit, task_.result_limit) {
  if (input_) feed();
}

void Command::feed() {
  const std::string_view rest = unwritten();
  const ssize_t count = ::write(input_.get(), rest.data(), rest.size());
  if (count < 0 && may_work_later(errno)) return;
  fed_ += count > 0 ? static_cast<std::size_t>(count) : 0;
  if (count >= 0 && !unwritten().empty()) return;
  input_.reset();  // also when the command closed its side: not to read its input is its own affair
  task_.payload = {};
  task_.input.reset();
  fed_ = 0;
}

Result<void> Command::collect(const Take& take) {
  const auto more = read_once(take);
  return more ? Result<void>{} : std::unexpected(more.error());
}

Result<void> Command::drain(const Take& take) {
  // The bound is for a descriptor that was handed to a process outside: it could go on writing.
  for (int reads = 0; stdout_ && reads < 1024; ++reads) {
    const auto more = read_once(take);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
  }
  stdout_.reset();
  return {};
}

Result<bool> Command::read_once(const Take& take) {
  char buffer[65536];  // what a pipe holds
  const ssize_t count = ::read(stdout_.get(), buffer, sizeof buffer);
  if (count < 0 && may_work_later(errno)) return false;
  if (count <= 0) return stdout_.reset(), false;
  if (dropping_) return true;
  if (auto taken = take({buffer, static_cast<std::size_t>(count)}); !taken) {
    dropping_ = true;
    return std::unexpected(taken.error());
  }
  return true;
}

}  // namespace kurultai
