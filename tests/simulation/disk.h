// The simulated disk: commits take their time, and fail for a while. Knows what is on it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "supervisor/store/journal.h"
#include "tests/simulation/dice.h"
#include "tests/simulation/uv.h"

namespace kurultai::simulation {

class Disk : public Journal {
 public:
  Disk(uv_loop_s& loop, Dice dice, bool fails) : loop_(loop), dice_(dice), fails_(fails) {}

  void accept(const Task& task, const std::vector<const Task*>& evicted,
              std::function<void(Result<void>)> done) override;
  void change(const Task& task, std::function<void()> done) override;
  void forget(const Task& task) override { put({{{task.id, {}, true}}, {}, {}}); }
  void in_one_commit(const std::function<void()>& together) override { together(); }
  const std::string& trouble() const override { return trouble_; }
  bool is_settled() const override { return waiting_.empty() && !is_writing_; }

  /// The state that a task has there; nullptr: it is not there.
  const TaskState* state_of(const std::string& task_id) const;

 private:
  struct Row {
    std::string id;
    TaskState state;
    bool removed = false;
  };
  struct Change {
    std::vector<Row> rows;
    std::function<void(Result<void>)> accepted;
    std::function<void()> done;
  };
  static Row row_of(const Task& task) { return {task.id, task.ends_as.value_or(task.state)}; }
  void put(Change change);
  void write();
  void written(const std::vector<Change>& batch);
  void failed(std::vector<Change> batch);
  void land(const Change& change);

  uv_loop_s& loop_;
  Dice dice_;
  bool fails_;
  std::unordered_map<std::string, TaskState> rows_;
  std::vector<Change> waiting_;
  bool is_writing_ = false;
  std::string trouble_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // what is planned may outlive this
};

}  // namespace kurultai::simulation
