// What outlives the supervisor: each accepted task until its retention is over. Loop thread only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "protocol/error.h"
#include "supervisor/task.h"

namespace kurultai {

class Journal {
 public:
  virtual ~Journal() = default;

  /// A task that is to be accepted, and those that are evicted for it: all of it or nothing. `done` is told
  /// once it is on disk, or why it is not, and never inside this call. What failed is forgotten again.
  virtual void accept(const Task& task, const std::vector<const Task*>& evicted,
                      std::function<void(Result<void>)> done) = 0;
  /// An accepted task as it is now. Changes reach the disk in the order they were made; `done` is told when
  /// this one has, however long that takes: a full disk is tried again until there is room.
  virtual void change(const Task& task, std::function<void()> done = {}) = 0;
  virtual void forget(const Task& task) = 0;
  /// What is put down while `together` runs is on disk at once or not at all.
  virtual void in_one_commit(const std::function<void()>& together) = 0;

  /// Why nothing can be kept at present, naming the file; empty: it can.
  virtual const std::string& trouble() const = 0;
  /// Whether everything is on disk.
  virtual bool is_settled() const = 0;
};

}  // namespace kurultai
