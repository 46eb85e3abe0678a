#include "tools/kurultai/run/batch.h"

#include <algorithm>

namespace kurultai {

bool Batch::has_ended(State state) {
  return state == State::ended_well || state == State::ended_badly || state == State::held;
}

bool Batch::has_room() const {
  return commands_.size() - ended_.size() - held_ < limits_.unfinished && ended_.size() < limits_.ended &&
         held_ < limits_.held;
}

Batch::Sequence Batch::add(std::string label) {
  commands_[++last_] = {"", std::move(label), State::submitting};
  count(State::submitting, 1);
  return last_;
}

void Batch::count(State state, int by) {
  const auto add = [by](std::size_t& counter) { counter += static_cast<std::size_t>(by); };
  switch (state) {
    case State::submitting:
      return add(submitting_), add(counts_.waiting);
    case State::waiting:
      return add(counts_.waiting);
    case State::running:
      return add(counts_.running);
    case State::ended_well:
      return add(counts_.done);
    case State::ended_badly:
      return add(counts_.failed);
    case State::held:
      return add(held_);
  }
}

void Batch::move(Command& command, State to) {
  count(command.state, -1);
  count(to, 1);
  command.state = to;
}

Batch::Command* Batch::find(const std::string& id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &commands_.at(found->second);
}

void Batch::accepted(Sequence sequence, const std::string& id) {
  Command& command = commands_.at(sequence);
  command.id = id;
  by_id_[id] = sequence;
  move(command, State::waiting);
  const auto early = early_.extract(id);
  if (submitting_ == 0) early_.clear();
  if (early.empty()) return;
  if (early.mapped() == State::waiting) return;
  if (early.mapped() == State::running) return started(id);
  ended(id, early.mapped() == State::ended_well);
}

void Batch::forget(Sequence sequence) {
  by_id_.erase(commands_.at(sequence).id);
  commands_.erase(sequence);
}

void Batch::refused(Sequence sequence) {
  count(commands_.at(sequence).state, -1);
  forget(sequence);
  ++counts_.failed;
}

void Batch::given_up(Sequence sequence) {
  count(commands_.at(sequence).state, -1);
  forget(sequence);
  ++counts_.not_run;
}

void Batch::remember(const std::string& id, State state) {
  if (submitting_ > 0) early_[id] = state;
}

void Batch::started(const std::string& id) {
  Command* command = find(id);
  if (command == nullptr) return remember(id, State::running);
  if (command->state == State::waiting) move(*command, State::running);
}

void Batch::sent_back(const std::string& id) {
  Command* command = find(id);
  if (command == nullptr) return remember(id, State::waiting);
  if (command->state == State::running) move(*command, State::waiting);
}

void Batch::ended(const std::string& id, bool well) {
  const State end = well ? State::ended_well : State::ended_badly;
  Command* command = find(id);
  if (command == nullptr) return remember(id, end);
  if (has_ended(command->state)) return;
  move(*command, end);
  ended_.push_back(by_id_.at(id));
}

void Batch::cancelled(const std::string& id) {
  const Command* command = find(id);
  if (command == nullptr) return remember(id, State::ended_badly);
  if (has_ended(command->state)) return;
  given_up(by_id_.at(id));
}

std::optional<Batch::Next> Batch::next_to_collect() const {
  if (ended_.empty()) return std::nullopt;
  const Command& command = commands_.at(ended_.front());
  return Next{ended_.front(), command.id, command.label};
}

void Batch::collected(Sequence sequence, bool well) {
  Command& command = commands_.at(sequence);
  count(command.state, -1);
  ++(well ? counts_.done : counts_.failed);
  std::erase(ended_, sequence);
  if (!limits_.keep_order) return forget(sequence);
  command.state = State::held;
  count(State::held, 1);
}

std::optional<Batch::Sequence> Batch::next_to_print() const {
  if (commands_.empty() || commands_.begin()->second.state != State::held) return std::nullopt;
  return commands_.begin()->first;
}

void Batch::printed(Sequence sequence) {
  count(State::held, -1);
  forget(sequence);
}

std::set<std::string> Batch::waiting_ids() const {
  std::set<std::string> out;
  for (const auto& [sequence, command] : commands_) {
    if (command.state == State::waiting) out.insert(command.id);
  }
  return out;
}

std::set<std::string> Batch::unfinished_ids() const {
  std::set<std::string> out = waiting_ids();
  for (const auto& [sequence, command] : commands_) {
    if (command.state == State::running) out.insert(command.id);
  }
  return out;
}

int exit_status(const Batch::Counts& counts) {
  if (counts.failed == 0) return counts.not_run > 0 ? 130 : 0;
  return counts.failed > 100 ? 101 : static_cast<int>(counts.failed);
}

}  // namespace kurultai
