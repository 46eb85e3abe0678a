// The guardian: a tiny process that outlives the supervisor for a moment. It holds the read end of a pipe;
// when that ends without a word, the supervisor was killed, and the guardian kills, thaws and removes what
// belonged to the instance: nothing stays parked, frozen or orphaned. After `done` it removes the empty
// groups only.
#pragma once

#include <string>
#include <vector>

#include "protocol/error.h"
#include "supervisor/memory/controller.h"
#include "supervisor/memory/fd.h"
#include "supervisor/store/left_in_memory.h"

namespace kurultai {

struct GuardianTask {
  ControllerOptions groups;  // the very options that choose_controller gets (companions apart)
  std::string remove_dir;    // absolute; removed with all that is in it, at the end; empty: nothing
  /// The supervisor's lock on its state directory, or -1. Kept open, so that the flock lasts until the
  /// guardian has cleared up: a new supervisor of the same instance that finds it held tries again for 4 s.
  /// Without it the new one's groups could be cleared by the old one's guardian.
  int lock_fd = -1;
  /// Of workers' homes and tmps, removed with all that is in them, as far as that goes quickly: the next
  /// supervisor removes the rest. Absolute; empty ones are passed over.
  std::vector<std::string> places = {};
  /// Of `user: auto`: what they left in memory is removed.
  OwnUsers users = {};
};

/// The supervisor's side. Destroying it says `done`: only a death without destructors is a death without a
/// word.
class Guardian {
 public:
  Guardian(Fd pipe, int pid) : pipe_(std::move(pipe)), pid_(pid) {}
  Guardian(Guardian&&) noexcept = default;
  Guardian& operator=(Guardian&&) = delete;
  ~Guardian() { done(); }

  /// For ControllerOptions::companions.
  int pid() const { return pid_; }
  /// Whether it lives; reaps it where it does not.
  bool is_there();

  /// All workers are gone; what remains is to remove the groups once this process is gone too. May be called
  /// twice.
  void done();

 private:
  Fd pipe_;
  int pid_;
  bool is_gone_ = false;
};

/// Forks. Call it before there are threads and before choose_controller: "self" is the group we are in now.
/// The guardian is a child of ours, keeps stderr, ignores SIGINT, SIGTERM and SIGHUP, is named
/// kurultai-guard, and ends within 3 s after us. The environment must not carry this instance's
/// KURULTAI_INSTANCE.
Result<Guardian> start_guardian(const GuardianTask& task);

/// At a proper end of a supervisor whose guardian has gone before it: what that would have removed, but for
/// the groups, which the Controller has removed.
void clear_without_guardian(const GuardianTask& task);

}  // namespace kurultai
