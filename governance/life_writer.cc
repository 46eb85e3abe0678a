#include "governance/life_writer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr std::size_t none = SIZE_MAX;

template <typename Number>
void append_number(std::string& out, Number number) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

/// With the blank before it.
template <typename Number>
void append_field(std::string& out, Number number) {
  out += ' ';
  append_number(out, number);
}

void append_field(std::string& out, Bytes bytes) { append_field(out, bytes.count); }

/// A client may have sent any name.
void append_word(std::string& out, std::string_view word) {
  static constexpr std::size_t longest = 64;
  const bool good = !word.empty() && word.size() <= longest &&
                    std::ranges::all_of(word, [](char c) { return c > ' ' && c < 0x7f; });
  out += ' ';
  out += good ? word : "?";
}

void append_flags(std::string& out, std::initializer_list<std::pair<bool, char>> flags) {
  out += ' ';
  const std::size_t before = out.size();
  for (const auto& [is_set, letter] : flags) {
    if (is_set) out += letter;
  }
  if (out.size() == before) out += '-';
}

void append_running(std::string& out, std::size_t number, const Candidate& task) {
  append_field(out, number);
  out += ':';
  append_number(out, task.memory.count);
  out += ':';
  append_number(out, task.work_lost);
  if (task.growth.lasted <= Duration(0)) return;
  out += ':';
  append_number(out, task.growth.per_second.count);
  out += ':';
  append_number(out, task.growth.lasted.count());
}

struct ActionText {
  std::string& out;
  const std::map<std::string, std::size_t, std::less<>>& numbers;

  void operator()(const Crossed& crossed) const {
    out += crossed.crossing.direction == Direction::up ? " !u" : " !d";
    append_number(out, static_cast<int>(crossed.crossing.threshold));
  }
  void operator()(const HintPressure&) const {}  // follows from the crossing
  void operator()(const Foreseen&) const { out += " !f"; }
  void operator()(const RoomAgain&) const { out += " !r"; }
  void operator()(const EndIdleWorkers& end) const { out += end.at_once ? " !I" : " !i"; }
  void operator()(const SuspendTask& suspend) const { victim('s', suspend.task_id); }
  void operator()(const PreemptTask& preempt) const { victim('p', preempt.task_id); }
  void operator()(const KillTask& kill) const { victim('k', kill.task_id); }

 private:
  void victim(char letter, const std::string& task_id) const {
    const auto found = numbers.find(task_id);
    if (found == numbers.end()) return;
    out += " !";
    out += letter;
    append_number(out, found->second);
  }
};

}  // namespace

void LifeWriter::begin(std::string& out, char letter, TimePoint at) const {
  out += letter;
  append_field(out, std::chrono::nanoseconds(at - began_).count());
}

void LifeWriter::write(std::string& out, const LifeHeader& header) {
  out += to_text({{"kurultaiLife", LifeHeader::version},
                  {"startedAt", header.started_at},
                  {"guarantee", header.guarantee},
                  {"machineBytes", header.machine.count},
                  {"rules", to_json(header.rules)}});
  out += '\n';
}

void LifeWriter::write(std::string& out, const ReadingSeen& reading) {
  readings_ += 1;
  std::vector<std::size_t> numbers;
  numbers.reserve(reading.running.size());
  for (const RunningSeen& running : reading.running) {
    numbers.push_back(slot_of(running.task->task_id));
    if (numbers.back() != none) describe(out, numbers.back(), running);
  }
  begin(out, 'r', reading.at);
  append_field(out, reading.used);
  append_field(out, reading.supervisor);
  append_field(out, reading.idle);
  append_field(out, reading.ending);
  append_flags(out, {{reading.starving, 's'}, {reading.lowered, 'l'}, {reading.put_off, 'p'}});
  if (reading.time_to_act) {
    out += " @";
    append_number(out, reading.time_to_act->count());
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] != none) append_running(out, numbers[i], *reading.running[i].task);
  }
  for (const Action& action : reading.actions) std::visit(ActionText{out, numbers_}, action);
  out += '\n';
  free_unseen();
}

/// `none` when there are too many.
std::size_t LifeWriter::slot_of(const std::string& task_id) {
  auto found = numbers_.find(task_id);
  if (found == numbers_.end()) {
    if (free_.empty() && slots_.size() >= most_life_tasks) return none;
    if (free_.empty()) {
      free_.push_back(slots_.size());
      slots_.emplace_back();
    }
    found = numbers_.emplace(task_id, free_.back()).first;
    free_.pop_back();
    slots_[found->second] = {task_id, {}, 0};
  }
  slots_[found->second].seen = readings_;
  return found->second;
}

void LifeWriter::describe(std::string& out, std::size_t number, const RunningSeen& running) {
  const Candidate& task = *running.task;
  std::string line = "t";
  append_field(line, number);
  append_word(line, task.task_id);
  append_word(line, running.agent);
  append_word(line, to_string(task.priority));
  append_flags(line, {{task.preemptable, 'p'},
                      {task.suspendable, 's'},
                      {task.is_protected, 'x'},
                      {task.outgrown, 'o'},
                      {task.dying, 'd'},
                      {task.may_leave_early, 'e'}});
  if (task.back_by) {
    append_field(line, std::chrono::nanoseconds(*task.back_by - began_).count());
  } else {
    line += " -";
  }
  append_field(line, task.most);
  append_field(line, task.grace.count());
  line += '\n';
  Slot& slot = slots_[number];
  if (slot.described == line) return;
  out += line;
  slot.described = std::move(line);
}

void LifeWriter::free_unseen() {
  for (std::size_t number = 0; number < slots_.size(); ++number) {
    Slot& slot = slots_[number];
    if (slot.seen == readings_ || slot.task_id.empty()) continue;
    numbers_.erase(slot.task_id);
    slot = {};
    free_.push_back(number);
  }
}

void LifeWriter::forget_tasks() {
  for (Slot& slot : slots_) slot.described.clear();
}

void LifeWriter::write(std::string& out, const SubmittedSeen& task) {
  begin(out, task.is_known ? 'w' : 's', task.at);
  append_word(out, task.task_id);
  append_word(out, task.agent);
  append_word(out, to_string(task.priority));
  append_field(out, task.evicted);
  out += '\n';
}

void LifeWriter::write(std::string& out, const RefusedSeen& refused) {
  begin(out, 'f', refused.at);
  append_word(out, refused.agent);
  append_word(out, to_string(refused.priority));
  append_word(out, refused.code);
  out += '\n';
}

void LifeWriter::write(std::string& out, const BegunSeen& begun) {
  begin(out, 'b', begun.at);
  append_word(out, begun.task_id);
  append_word(out, to_string(begun.priority));
  append_field(out, begun.committed);
  append_flags(out, {{begun.alone, 'a'}});
  out += '\n';
}

void LifeWriter::write(std::string& out, const RoomSeen& room) {
  const std::size_t before = out.size();
  begin(out, 'q', room.at);
  json receipt = to_json(room.receipt);
  receipt.erase("memory");  // the readings tell that
  receipt.erase("rungs");
  out += ' ';
  out += to_text(receipt);
  out += '\n';
  if (out.size() - before > longest_life_line) out.resize(before);  // of thousands of workers
}

void LifeWriter::write(std::string& out, const ReturnedSeen& returned) {
  begin(out, 'p', returned.at);
  append_word(out, returned.task_id);
  append_word(out, returned.agent);
  append_word(out, to_string(returned.priority));
  append_word(out, returned.why);
  out += '\n';
}

void LifeWriter::write(std::string& out, const EndedSeen& ended) {
  begin(out, 'e', ended.at);
  append_word(out, ended.task_id);
  append_word(out, ended.state);
  out += '\n';
}

void LifeWriter::write(std::string& out, const SkippedSeen& skipped) {
  begin(out, 'h', skipped.at);
  append_word(out, skipped.task_id);
  out += '\n';
}

void LifeWriter::write(std::string& out, const RulesSeen& rules) {
  begin(out, 'c', rules.at);
  out += ' ';
  out += to_text(to_json(rules.rules));
  out += '\n';
}

void LifeWriter::write(std::string& out, const DroppedSeen& dropped) {
  begin(out, 'd', dropped.at);
  append_field(out, dropped.count);
  out += '\n';
}

void LifeWriter::write(std::string& out, const ClosedSeen& closed) {
  begin(out, 'z', closed.at);
  append_word(out, closed.why);
  out += '\n';
}

}  // namespace kurultai
