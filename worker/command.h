// One running command of an exec task: its pipes, and what it printed. The owner polls the descriptors and
// calls the function that belongs to each; nothing here blocks. Reaping the process is the owner's.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string_view>

#include "protocol/messages.h"
#include "worker/fd.h"
#include "worker/launch.h"
#include "worker/output.h"

namespace kurultai {

class Command {
 public:
  /// `task.argv` is looked up along PATH. stdin is the payload file, else the payload's text, else `nothing`
  /// (/dev/null); `task.input` goes before both. Its stdout is our stderr when `logs_only`. The Error is why
  /// it did not start: `exec NAME: No such file or directory`.
  static Result<Command> start(TaskMessage task, const Launch& launch, int nothing, bool logs_only);

  const TaskMessage& task() const { return task_; }
  pid_t pid() const { return pid_; }
  Output& output() { return output_; }

  /// Payload that is left to write, -1 when there is none; stdout, -1 after its end.
  int input_fd() const { return input_.get(); }
  int output_fd() const { return stdout_.get(); }

  /// Writes what the pipe takes, and ends the input after the last byte or when the command closed its side.
  void feed();
  using Take = std::function<Result<void>(std::string_view bytes)>;
  /// Reads once. An Error of `take` says what became of the result; the rest is read and dropped then.
  Result<void> collect(const Take& take);
  /// Reads what is left in the pipe after all writers have ended.
  Result<void> drain(const Take& take);

 private:
  Command(TaskMessage task, pid_t pid, Fd input, Fd output);

  std::string_view unwritten() const {
    return std::string_view(task_.input ? *task_.input : task_.payload).substr(fed_);
  }
  /// Whether there may be more to read.
  Result<bool> read_once(const Take& take);

  TaskMessage task_;
  pid_t pid_;
  Fd input_;
  Fd stdout_;
  std::size_t fed_ = 0;  // bytes of the payload, or the input
  Output output_;
  bool dropping_ = false;
};

}  // namespace kurultai
