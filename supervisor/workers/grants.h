// Keeps the workers' edges (governance/edges.h): looks at what they are charged as often as the nearest edge
// asks for, and hands out what nobody holds before it is needed. Loop thread only; a look costs half a
// microsecond a worker, a new edge two.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "governance/edges.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

class Worker;

class Grants {
 public:
  /// `starved` is called, again and again, while some worker waits at its edge and there is nothing to give
  /// it.
  Grants(uv::Loop& loop, std::function<void()> starved);

  /// What all workers together may hold. Takes effect with the next look.
  void set_total(Bytes total);
  Bytes total() const { return total_; }
  /// What is charged to all workers and to none of them: files in memory that outlived their worker.
  void set_stray(Bytes stray) { stray_ = stray; }
  /// Whether there is room for the start of one more worker, which is then unheld until the loop's next turn.
  bool make_room();
  /// What a new worker is to be started with.
  static Bytes first_edge(Bytes cap);
  /// Before the worker has grown, with its first edge; it must be removed before it is destroyed.
  void add(Worker& worker);
  void remove(Worker& worker);
  /// It will want so much at once: what it held before it was suspended, and is read back from swap. Kept for
  /// it for ten seconds.
  void expect(const Worker& worker, Bytes size);
  /// It will not, any more.
  void forget(const Worker& worker);
  /// A worker was given a task: from now on it is looked at more often.
  void busy() { schedule(); }
  /// Something waits at the edge of a worker, or memory has come back.
  void look();
  bool starving() const { return starving_; }
  /// Empty unless the kernel has refused a worker's edge for a while, then what it says, or nobody has given
  /// way to those who wait.
  std::string trouble() const;
  /// More is held than there is, since the total was lowered: that is taken back as it is not used.
  bool is_overdrawn() const { return unheld() < Bytes{}; }

 private:
  struct Held {
    Worker* worker;
    Bytes edge;
    Bytes slack;   // that was given with it
    Bytes charge;  // at the last look; of one that starts at least what its start needs
    bool growing = false;
    Bytes expected = {};  // before `until`
    TimePoint until = {};
    std::optional<TimePoint> refused_since = {};  // no edge could be written since then
    std::string refusal = {};

    /// No more is charged to it, but for what it has grown since the last look.
    Bytes surely() const;
  };

  void read();
  /// All but `reserve`, which stays unheld if that can be had.
  void share(Bytes reserve = {});
  void move_edge(Held& held, Bytes edge);
  Bytes shared() const { return total_ - stray_; }
  Bytes unheld() const;  // below zero: too much is held, since there was more to hand out or less was left
  bool any_waits() const;
  void schedule();

  uv::Loop& loop_;
  std::function<void()> starved_;
  uv::Timer timer_;
  std::vector<Held> held_;
  Bytes total_;
  Bytes stray_;
  bool waiting_ = false;   // somebody does, at his edge
  bool starving_ = false;  // and there is nothing to give
  TimePoint starving_since_ = {};
};

}  // namespace kurultai
