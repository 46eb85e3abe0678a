// The dispatcher's side of a recording: what the policies saw and decided, as records.
#include "supervisor/dispatcher.h"

namespace kurultai {

/// After the decision, since a kill may have been put off.
void Dispatcher::record_reading(const MemorySnapshot& snapshot, const Situation& seen, TimePoint now,
                                std::span<const Action> actions, bool put_off) {
  if (recorder_ == nullptr) return;
  std::vector<RunningSeen> running;
  running.reserve(seen.running.size());
  for (const Candidate& task : seen.running) running.push_back({&task, runs_.at(task.task_id).agent->name});
  ReadingSeen reading{now, seen.used, snapshot.supervisor_rss, pool_.idle_memory(), seen.ending};
  reading.starving = seen.starving;
  reading.lowered = seen.lowered;
  reading.put_off = put_off;
  reading.time_to_act = seen.time_to_act;
  reading.running = running;
  reading.actions = actions;
  recorder_->note(reading);
}

void Dispatcher::record_submitted(const Task& task, std::span<const std::string> evicted) {
  if (recorder_ == nullptr) return;
  const TimePoint now = loop_.now();
  recorder_->note(SubmittedSeen{now, task.id, task.agent, task.priority, false, evicted.size()});
  for (const std::string& id : evicted) recorder_->note(EndedSeen{now, id, to_string(TaskState::evicted)});
}

void Dispatcher::record_returned(const Task& task, std::string_view why) {
  if (recorder_ != nullptr)
    recorder_->note(ReturnedSeen{loop_.now(), task.id, task.agent, task.priority, why});
}

void Dispatcher::record_ended(const Task& task, TaskState state) {
  if (recorder_ != nullptr) recorder_->note(EndedSeen{loop_.now(), task.id, to_string(state)});
}

}  // namespace kurultai
