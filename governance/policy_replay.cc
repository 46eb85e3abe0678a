#include "governance/policy_replay.h"

#include <algorithm>

#include "governance/admission.h"

namespace kurultai {

namespace {

// Tasks that the rules would not have let in, and life did, are known by name as long as they are so many.
constexpr std::size_t most_refused = 100'000;

bool grows(const RunningSeen& seen) { return seen.task->growth.lasted > Duration(0); }
bool is_hint(const Action& action) { return std::holds_alternative<HintPressure>(action); }
bool is_kill(const Action& action) { return std::holds_alternative<KillTask>(action); }

/// The same thing done to the same task.
bool is_same(const Action& a, const Action& b) {
  if (a.index() != b.index()) return false;
  if (const auto* crossed = std::get_if<Crossed>(&a)) {
    const Crossing& other = std::get<Crossed>(b).crossing;
    return crossed->crossing.threshold == other.threshold && crossed->crossing.direction == other.direction;
  }
  const std::string* victim = victim_of(a);
  return victim == nullptr || *victim == *victim_of(b);
}

bool are_same(std::span<const Action> ours, std::span<const Action> theirs) {
  std::size_t next = 0;
  for (const Action& action : ours) {
    if (is_hint(action)) continue;
    if (next >= theirs.size() || !is_same(action, theirs[next])) return false;
    next += 1;
  }
  return next == theirs.size();
}

/// Nothing for what takes no memory from anybody.
std::optional<DeedKind> kind_of(const Action& action) {
  if (std::holds_alternative<EndIdleWorkers>(action)) return DeedKind::end_idle;
  if (std::holds_alternative<SuspendTask>(action)) return DeedKind::suspend;
  if (std::holds_alternative<PreemptTask>(action)) return DeedKind::preempt;
  if (std::holds_alternative<KillTask>(action)) return DeedKind::kill;
  return std::nullopt;
}

Deed deed_of(DeedKind kind, const Action& action, const ReadingSeen& life, double ratio) {
  Deed deed{.at = life.at, .kind = kind, .memory = life.idle, .ratio = ratio};
  const std::string* victim = victim_of(action);
  if (victim == nullptr) return deed;
  const auto found =
      std::ranges::find(life.running, *victim, [](const RunningSeen& seen) { return seen.task->task_id; });
  deed.task_id = *victim;
  if (found == life.running.end()) return deed;
  deed.agent = found->agent;
  deed.priority = found->task->priority;
  deed.memory = found->task->memory;
  return deed;
}

Deed deed_of(const std::string& victim, const RoomSeen& room, double ratio) {
  Deed deed{.at = room.at, .kind = DeedKind::room, .task_id = victim, .memory = {}, .ratio = ratio};
  const auto found = std::ranges::find(room.receipt.running, victim, &Candidate::task_id);
  if (found == room.receipt.running.end()) return deed;
  deed.priority = found->priority;
  deed.memory = found->memory;
  return deed;
}

bool is_for_memory(const RefusedSeen& refused) { return refused.code == "memory_pressure"; }
bool is_for_queue(const RefusedSeen& refused) { return refused.code == "queue_full"; }

}  // namespace

void LifeTally::take(const LifeRecord& record) {
  std::visit(
      [this](const auto& one) {
        if constexpr (requires { one.at; }) last_ = one.at;
      },
      record);
  if (const auto* header = std::get_if<LifeHeader>(&record)) rules_ = header->rules;
  if (const auto* changed = std::get_if<RulesSeen>(&record)) rules_ = changed->rules;
  if (const auto* reading = std::get_if<ReadingSeen>(&record)) return take(*reading);
  if (const auto* task = std::get_if<SubmittedSeen>(&record)) {
    if (!task->is_known) tally_.accepted += 1;
    tally_.evicted += task->evicted;
  }
  if (const auto* refused = std::get_if<RefusedSeen>(&record)) {
    if (is_for_memory(*refused)) tally_.refused_for_memory += 1;
    if (is_for_queue(*refused)) tally_.refused_for_queue += 1;
    if (!is_for_memory(*refused) && !is_for_queue(*refused)) refused_otherwise_ += 1;
  }
  if (std::holds_alternative<BegunSeen>(record)) tally_.starts += 1;
  if (std::holds_alternative<SkippedSeen>(record)) tally_.heartbeats_held += 1;
  if (const auto* room = std::get_if<RoomSeen>(&record)) {
    for (const std::string& victim : room->receipt.chosen)
      tally_.note(deed_of(victim, *room, ratio_of(room->receipt.used, room->receipt.budget)));
  }
  if (const auto* dropped = std::get_if<DroppedSeen>(&record)) dropped_ += dropped->count;
  if (const auto* closed = std::get_if<ClosedSeen>(&record)) closed_ = closed->why;
}

void LifeTally::take(const ReadingSeen& reading) {
  readings_ += 1;
  if (last_reading_) longest_gap_ = std::max(longest_gap_, reading.at - *last_reading_);
  last_reading_ = reading.at;
  tally_.note_reading(reading.at, reading.used, rules_.budget);
  for (const Action& action : reading.actions) {
    if (const auto* crossed = std::get_if<Crossed>(&action)) tally_.note_crossing(crossed->crossing);
    const auto kind = kind_of(action);
    if (!kind || (reading.put_off && is_kill(action))) continue;
    tally_.note(deed_of(*kind, action, reading, ratio_of(reading.used, rules_.budget)));
  }
}

void PolicyReplay::take(const LifeRecord& record) {
  std::visit([this](const auto& one) { take(one); }, record);
}

void PolicyReplay::use(const PolicyRules& rules) {
  governor_.configure(rules.thresholds);
  queue_.set_limits(rules.queue);
}

void PolicyReplay::take(const LifeHeader& header) {
  life_rules_ = header.rules;
  use(rules());
}

void PolicyReplay::take(const RulesSeen& changed) {
  life_rules_ = changed.rules;
  if (!own_rules_) use(life_rules_);
}

/// By what the rules say of its agent, where they say something; why else it could not be taken is life's.
Candidate PolicyReplay::as_judged(const Candidate& seen, std::string_view agent) const {
  Candidate judged = seen;
  if (!own_rules_) return judged;
  const auto ours = own_rules_->agents.find(agent);
  const auto theirs = life_rules_.agents.find(agent);
  const AgentRules then = theirs == life_rules_.agents.end() ? AgentRules{} : theirs->second;
  const AgentRules now = ours == own_rules_->agents.end() ? then : ours->second;
  const bool was_willing = life_rules_.preempts && then.preemptable;
  judged.preemptable = own_rules_->preempts && now.preemptable && (seen.preemptable || !was_willing);
  judged.suspendable = own_rules_->suspends && now.suspendable && seen.suspendable;
  judged.is_protected = now.is_protected;
  return judged;
}

/// What is out is told from what is left; `running_` is filled only where the governor looks at it.
Situation PolicyReplay::situation(const ReadingSeen& life) {
  const PolicyRules& rules = this->rules();
  idle_out_ = std::min(idle_out_, life.idle);
  out_ = idle_out_;
  const bool any_out = !ended_.empty() || !refused_.empty();
  for (const RunningSeen& seen : life.running) {
    if (any_out && is_out(seen.task->task_id)) out_ += seen.task->memory;
  }
  out_ = std::min(out_, std::max(life.used - life.supervisor, Bytes{}));
  Situation situation{life.used - out_, rules.budget, {}, {}, life.ending};
  if (rules.governs && rules.ends_idle) situation.idle = life.idle - idle_out_;
  // Whoever waited for memory in life would have got it from a larger budget, or of what is out.
  const Bytes left = rules.budget - situation.used;
  situation.starving = life.starving && left <= life_rules_.budget - life.used;
  situation.lowered = life.lowered && !own_rules_;
  if (rules.predicts) situation.time_to_act = life.time_to_act;
  const double line = rules.thresholds.at(Threshold::preempt);
  const bool foresees =
      situation.time_to_act && (governor_.predictions().is_open() || governor_.keeps_room() ||
                                std::ranges::any_of(life.running, grows));
  if (!situation.starving && !foresees && ratio_of(situation.used, rules.budget) < line) return situation;
  running_.clear();
  for (const RunningSeen& seen : life.running) {
    if (!any_out || !is_out(seen.task->task_id)) running_.push_back(as_judged(*seen.task, seen.agent));
  }
  situation.running = running_;
  return situation;
}

void PolicyReplay::take(const ReadingSeen& life) {
  const Situation situation = this->situation(life);
  const auto actions = governor_.decide(situation, life.at);
  tally_.note_reading(life.at, situation.used, situation.budget);
  if (!are_same(actions, life.actions)) differs(life.at);
  const bool life_kills = std::ranges::any_of(life.actions, is_kill);
  for (const Action& action : actions) {
    if (life.put_off && life_kills && is_kill(action) && rules().governs) continue;
    carry_out(action, life);
  }
}

void PolicyReplay::carry_out(const Action& action, const ReadingSeen& life) {
  if (const auto* crossed = std::get_if<Crossed>(&action)) {
    tally_.note_crossing(crossed->crossing);
    const bool held =
        crossed->crossing.threshold == Threshold::skip_heartbeats && governor_.skips_heartbeats();
    if (held && rules().governs) hold_back_waiting();
  }
  const auto kind = kind_of(action);
  if (!kind) return;
  tally_.note(deed_of(*kind, action, life, governor_.pressure().ratio()));
  const bool as_in_life =
      life_rules_.governs && !(life.put_off && is_kill(action)) &&
      std::ranges::any_of(life.actions, [&](const Action& other) { return is_same(action, other); });
  if (as_in_life || !rules().governs) return;
  if (const std::string* victim = victim_of(action)) {
    ended_.insert(*victim);
  } else {
    idle_out_ = life.idle;
  }
}

void PolicyReplay::differs(TimePoint at) {
  if (!first_difference_) first_difference_ = at;
}

void PolicyReplay::never_runs(std::string_view task_id) {
  if (refused_.size() < most_refused) refused_.emplace(task_id);
}

void PolicyReplay::take(const SubmittedSeen& task) {
  QueuedTask queued{std::string(task.task_id), std::string(task.agent), task.priority};
  if (task.is_known) return queue_.push_known(std::move(queued));
  if (rules().governs && governor_.refuses_work()) {
    tally_.refused_for_memory += 1;
    return never_runs(task.task_id);
  }
  const auto admission = queue_.push(queued, governor_.skips_heartbeats());
  const auto* accepted = std::get_if<TaskQueue::Accepted>(&admission);
  if (accepted == nullptr) {
    tally_.refused_for_queue += 1;
    return never_runs(task.task_id);
  }
  tally_.accepted += 1;
  tally_.evicted += accepted->evicted.size();
  for (const std::string& id : accepted->evicted) never_runs(id);
  const bool held = task.priority == Priority::heartbeat && governor_.skips_heartbeats();
  if (held && rules().governs) hold_back(std::move(queued.task_id));
}

/// One that these rules would have taken in is nowhere in the readings, and takes no place in the queue.
void PolicyReplay::take(const RefusedSeen& refused) {
  if (!is_for_memory(refused) && !is_for_queue(refused)) return;
  const auto admission =
      queue_.admits({"", std::string(refused.agent), refused.priority}, governor_.skips_heartbeats());
  if (rules().governs && governor_.refuses_work()) {
    tally_.refused_for_memory += 1;
  } else if (std::holds_alternative<TaskQueue::Full>(admission)) {
    tally_.refused_for_queue += 1;
  } else {
    tally_.accepted += 1;
  }
}

void PolicyReplay::take(const BegunSeen& begun) {
  const std::string id(begun.task_id);
  const bool anything_runs = !begun_.empty();
  begun_.insert(id);
  queue_.remove(id);
  held_.erase(id);
  if (refused_.contains(id)) return;
  tally_.starts += 1;
  const PolicyRules& rules = this->rules();
  if (!rules.governs) return;
  const Bytes line = share_of(rules.budget, rules.thresholds.at(Threshold::preempt));
  const bool fits = !rules.admits || begun.alone || !anything_runs || begun.committed - out_ <= line;
  if (!governor_.allows_start(begun.priority, anything_runs)) {
    tally_.starts_held_by_pressure += 1;
  } else if (!fits) {
    tally_.starts_without_room += 1;
  }
}

void PolicyReplay::take(const RoomSeen& room) {
  const PolicyRules& rules = this->rules();
  const RoomAsked& asked = *room.receipt.room;
  std::vector<Candidate> running = room.receipt.running;
  std::erase_if(running, [this](const Candidate& task) { return is_out(task.task_id); });
  RoomQuestion question{.line = share_of(rules.budget, rules.thresholds.at(Threshold::preempt)),
                        .elsewhere = asked.elsewhere - out_,
                        .workers = asked.workers,
                        .worker = asked.worker,
                        .priority = asked.priority,
                        .footprint = asked.footprint,
                        .running = running};
  MakeRoom made;
  if (rules.governs && rules.admits) {
    const auto answer = admit(question);
    if (const auto* make = std::get_if<MakeRoom>(&answer)) made = *make;
  }
  if (made.preempt != room.receipt.chosen) differs(room.at);
  for (const std::string& victim : made.preempt) {
    tally_.note(deed_of(victim, room, governor_.pressure().ratio()));
    if (std::ranges::find(room.receipt.chosen, victim) == room.receipt.chosen.end()) ended_.insert(victim);
  }
}

void PolicyReplay::take(const ReturnedSeen& returned) {
  const std::string id(returned.task_id);
  begun_.erase(id);
  ended_.erase(id);
  if (!refused_.contains(id)) queue_.push_returned({id, std::string(returned.agent), returned.priority});
}

void PolicyReplay::take(const EndedSeen& ended) {
  const std::string id(ended.task_id);
  for (auto* names : {&begun_, &ended_, &refused_, &held_}) names->erase(id);
  queue_.remove(id);
}

/// Of what waits and runs nobody can be sure any more.
void PolicyReplay::take(const DroppedSeen&) {
  for (auto* names : {&begun_, &ended_, &refused_, &held_}) names->clear();
  idle_out_ = {};
  queue_ = TaskQueue(rules().queue);
}

void PolicyReplay::hold_back(std::string heartbeat) {
  if (held_.insert(std::move(heartbeat)).second) tally_.heartbeats_held += 1;
}

void PolicyReplay::hold_back_waiting() {
  queue_.find_first([this](const QueuedTask& task) {
    if (task.priority == Priority::heartbeat) hold_back(task.task_id);
    return false;
  });
}

}  // namespace kurultai
