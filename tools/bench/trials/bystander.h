// What a task that has nothing to do with the shortage of others goes on doing: fork and wait, write and read
// a pipe, write and read a file, read(2) into fresh memory. Each of these fails or stalls where memory is
// taken from the wrong one. Measures its own pauses; one thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace kurultai::bench {

/// Time that a process of one thread, or else the calling one, has been ready to run and waited for a
/// processor, ever; in nanoseconds. 0 where the kernel does not tell.
std::int64_t waited_for_processor(const std::string& process = "thread-self");

/// Milliseconds that the calling process's group has waited for memory, ever: for an edge, for reclaim. The
/// kernel tells it on cgroup v2 only. Unlike a pause it does not grow with whatever else makes a machine
/// slow.
std::optional<double> waited_for_memory_ms();

class Bystander {
 public:
  Bystander();
  ~Bystander();
  Bystander(const Bystander&) = delete;
  Bystander& operator=(const Bystander&) = delete;

  /// Each of these once.
  void turn();

  /// `{turns, errors: ["fork: Cannot allocate memory"…], longestPauseMs, pausedIn}` since the last call, and
  /// memoryWaitMs where the kernel tells it. A pause is the time of one thing of a turn, less what its
  /// processes waited for a processor: other load of the machine is not what is measured.
  nlohmann::json take_record();

 private:
  void time(const char* what, void (Bystander::*call)());
  void fork_and_wait();
  void pipe_there_and_back();
  void file_there_and_back();
  void read_into_fresh_memory();
  void note(const char* call);

  std::string file_;
  int zero_;
  std::int64_t child_waited_ = 0;  // for a processor
  std::uint64_t turns_ = 0;
  double longest_pause_ms_ = 0;
  const char* paused_in_ = "";
  std::optional<double> waited_before_ms_ = waited_for_memory_ms();
  std::vector<std::string> errors_;
};

}  // namespace kurultai::bench
