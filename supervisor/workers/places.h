// The directories of private homes and private tmp: where they are, that they are removed once nothing runs
// in them any more, and how much is in them where no mount limits it. kurultai-worker makes them.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "supervisor/uv/job_thread.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

/// How a private tmp is had here; found out by trying (ask_launcher).
enum class TmpRight : unsigned char { root, user_namespace, directory };

struct PlaceSettings {
  std::string own;     // of agents that run as the supervisor's user: in the state directory
  std::string shared;  // of others, who cannot pass through that; absolute
  std::string start;   // a name that no other start of the supervisor has: what lies beside it is left over
  TmpRight tmp = TmpRight::directory;
};

/// Where places of other users' agents are. Its owner is looked at before it is used.
std::string shared_places(const std::string& instance);

class Places {
 public:
  /// `on_full` is told, once, of a worker whose tmp holds more than it may, and what it holds.
  using OnFull = std::function<void(const std::string& worker_id, Bytes holds, Bytes limit)>;

  Places(uv::Loop& loop, PlaceSettings settings, OnFull on_full);
  ~Places();

  TmpRight tmp() const { return settings_.tmp; }
  std::string of_worker(const std::string& worker_id, bool other_user) const;

  /// In a while, in the order of the calls, on a thread. What cannot be removed, and what would be one too
  /// many that waits, is left to the next start.
  void remove(std::string directory);
  /// Leftovers of earlier starts.
  void remove_old();

  /// Looks at `directory` about once a second, until it is forgotten with its worker or by its own name.
  void watch(std::string directory, const std::string& worker_id, Bytes limit);
  void forget(const std::string& directory) { watched_.erase(directory); }
  void forget_worker(const std::string& worker_id);

 private:
  struct Watched {
    std::string worker_id;
    Bytes limit;
  };

  void work();
  bool has_thread();

  uv::Loop& loop_;
  PlaceSettings settings_;
  OnFull on_full_;
  std::deque<std::string> to_remove_;
  std::map<std::string, Watched> watched_;  // by directory
  bool is_due_ = false;                     // to look
  bool is_working_ = false;
  uv::Timer timer_;
  std::unique_ptr<uv::JobThread> thread_;  // from the first use on
};

}  // namespace kurultai
