// A child process on the loop. Its stdin, stdout and stderr are real pipes, not socket pairs: programs open
// /dev/stdout and /dev/stderr by name, which fails on sockets (ENXIO).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "protocol/error.h"
#include "supervisor/uv/stream.h"

struct uv_process_s;

namespace kurultai::uv {

struct SpawnOptions {
  std::vector<std::string> argv;         // argv[0] is the file, an absolute path
  std::vector<std::string> environment;  // NAME=value; nothing else is passed
};

class Process {
 public:
  using OnExit = std::function<void(int status, int signal)>;

  struct Spawned {
    std::unique_ptr<Process> process;
    std::unique_ptr<Stream> in;   // write end of its stdin
    std::unique_ptr<Stream> out;  // read ends
    std::unique_ptr<Stream> err;
  };
  /// The parent's descriptors are close-on-exec: a child has 0, 1 and 2 only.
  static Result<Spawned> spawn(Loop& loop, const SpawnOptions& options, OnExit on_exit);

  /// The process must have exited, or nobody will reap it.
  ~Process();
  int pid() const;

 private:
  Process() = default;
  OnExit on_exit_;
  std::unique_ptr<uv_process_s, CloseHandle> handle_;
};

}  // namespace kurultai::uv
