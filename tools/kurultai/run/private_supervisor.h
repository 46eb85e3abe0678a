// A kurultaid of our own, for the time of one run: found beside this program or in PATH, told by a generated
// configuration, in a directory of its own. It ends when the pipe to its stdin closes, so also when we are
// killed; its guardian holds the pipe of its stderr, so the end of that pipe says that every process of it is
// gone.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/error.h"
#include "tools/kurultai/endpoint.h"

namespace kurultai {

/// Beside our own binary, else wherever PATH has it (posix_spawnp and execvp look).
std::string find_kurultaid();

struct PrivateLimits {
  Bytes budget;
  Bytes memory;  // cap of one command
  int jobs = 2;
  std::size_t queue = 16;     // waiting commands
  std::size_t finished = 64;  // ended commands whose results are kept
};

/// The generated memory.yaml. Pure.
std::string private_configuration(const PrivateLimits& limits);

/// `environment` (NAME=value) without the settings that a run decides itself. Pure.
std::vector<std::string> without_overrides(const std::vector<std::string>& environment);

class PrivateSupervisor {
 public:
  PrivateSupervisor() = default;
  ~PrivateSupervisor() { stop(); }
  PrivateSupervisor(const PrivateSupervisor&) = delete;
  PrivateSupervisor& operator=(const PrivateSupervisor&) = delete;

  /// Starts the process; it is not yet ready to answer.
  Result<void> start(const PrivateLimits& limits);
  /// The same with a memory.yaml of one's own.
  Result<void> start(const std::string& configuration);

  /// Ends it and waits until nothing of it is left: its own way out first, then by force. False when
  /// something still held its stderr after all that. Its directory is gone afterwards. Called twice it does
  /// nothing.
  bool stop();

  Endpoint endpoint() const;
  /// Its own and the run's, gone at the end.
  const std::string& directory() const { return directory_; }
  /// Its stderr: to be read with `read_stderr` when readable.
  int stderr_fd() const { return stderr_fd_; }
  /// False at the end of the pipe: it and its guardian are gone.
  bool read_stderr();
  /// For an error: the last thing it said, or how it ended.
  std::string last_words() const;

 private:
  Result<void> choose_directory();
  Result<void> spawn(const std::string& program, int configuration);
  bool wait_for_end(Duration at_most);

  std::string directory_;
  pid_t pid_ = -1;
  int stdin_fd_ = -1;
  int stderr_fd_ = -1;
  std::string last_line_, partial_line_;
};

}  // namespace kurultai
