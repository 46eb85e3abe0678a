// The process of an MCP server and its pipes. The owner polls the descriptors and calls the function that
// belongs to each; nothing here blocks. Reaping the process is the owner's. Its stderr is the host's own.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "worker/fd.h"
#include "worker/launch.h"

namespace kurultai {

class ServerProcess {
 public:
  static std::expected<ServerProcess, Mishap> start(const Launch& launch, const std::vector<char*>& argv);

  pid_t pid() const { return pid_; }
  /// stdin while something is left to write, else -1; stdout, -1 after its end.
  int input_fd() const { return unwritten() > 0 ? in_.get() : -1; }
  int output_fd() const { return out_.get(); }

  /// Writes what the pipe takes and keeps the rest. Dropped when the server has closed its side.
  void write(std::string_view line);
  void flush();
  std::size_t unwritten() const { return unwritten_.size() - written_; }
  /// What is unwritten is lost.
  void close_input();

  /// Reads once; the bytes are valid until the next call. Empty: there is nothing for now, or its output has
  /// ended.
  std::string_view read();

 private:
  ServerProcess(pid_t pid, Fd in, Fd out) : pid_(pid), in_(std::move(in)), out_(std::move(out)) {}

  pid_t pid_;
  Fd in_;
  Fd out_;
  std::string unwritten_;
  std::size_t written_ = 0;                              // of it
  std::vector<char> buffer_ = std::vector<char>(65536);  // what a pipe holds
};

}  // namespace kurultai
