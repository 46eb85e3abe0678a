#include "tests/simulation/kernel.h"

#include <signal.h>

#include <algorithm>
#include <utility>

namespace kurultai::simulation {

bool Group::waits() const {
  return std::ranges::any_of(inside, [](const Process* process) { return process->waits; });
}

void Kernel::enter(const std::string& group, Process& process) {
  process.group = groups_.at(group).get();
  process.group->inside.push_back(&process);
}

void Kernel::charge(Group& group, Bytes more) {
  group.charge += more;
  charged_ += more;
  group.high_water = std::max(group.high_water, group.charge);
  look_at_marks();
}

void Kernel::take_cache(Group& group, Bytes wanted) {
  const Bytes taken = std::clamp(wanted, Bytes{}, group.cache);
  group.cache -= taken;
  charge(group, Bytes{} - taken);
}

Bytes Kernel::grow(Process& process, Bytes wanted) {
  Group& group = *process.group;
  if (process.dying) return {};
  take_cache(group, group.charge + wanted - group.ceiling());
  const Bytes room = std::max(group.ceiling() - group.charge, Bytes{});
  const Bytes got = std::min(wanted, room);
  process.memory += got;
  charge(group, got);
  if (charged_ > workers_limit_) kill_for_parent();
  if (got == wanted || process.dying) return got;
  if (group.edge >= group.limits.memory) {
    kill_for_cap(group, process);
    return got;
  }
  process.waits = true;
  waits_ += 1;
  loop_.make_ready(group.oom_descriptor);
  return got;
}

void Kernel::shrink(Process& process, Bytes less) {
  less = std::min(less, process.memory);
  process.memory -= less;
  charge(*process.group, Bytes{} - less);
}

bool Kernel::has_room(const Group& group, Bytes more) const {
  return group.charge + more <= group.ceiling() && charged_ + more <= workers_limit_;
}

// Without room it takes back its own.
void Kernel::read_files(Process& process, Bytes cache) {
  if (!has_room(*process.group, cache)) return;
  process.group->cache += cache;
  charge(*process.group, cache);
}

void Kernel::write_files(Process& process, Bytes files) {
  if (!has_room(*process.group, files)) return;
  process.group->files += files;
  charge(*process.group, files);
}

void Kernel::kill_for_cap(Group& group, Process& process) {
  group.oom_kills += 1;
  oom_kills_ += 1;
  if (on_cap_kill_) on_cap_kill_(group);
  loop_.make_ready(group.oom_descriptor);
  for (Process* each : std::vector(group.inside)) {
    if (group.limits.whole_tree || each == &process) kill(*each);
  }
}

// By size, not by priority: what the backstop does when it is reached.
void Kernel::kill_for_parent() {
  Process* largest = nullptr;
  for (const auto& [name, group] : groups_) {
    for (Process* process : group->inside) {
      if (process->dying) return;  // one at a time
      if (largest == nullptr || process->memory > largest->memory) largest = process;
    }
  }
  if (largest == nullptr) return;
  parent_kills_ += 1;
  largest->group->oom_kills += 1;
  // Nobody can tell these from a kill for its cap, or asks what it was for.
  const GroupLimits& limits = largest->group->limits;
  const bool at_cap = largest->group->high_water + mebibytes(1) >= limits.memory;
  if (on_cap_kill_ && (at_cap || !limits.whole_tree)) on_cap_kill_(*largest->group);
  loop_.make_ready(largest->group->oom_descriptor);
  kill(*largest);
}

void Kernel::kill(Process& process) {
  if (std::exchange(process.dying, true)) return;
  process.waits = false;
  std::chrono::microseconds takes(loop_.dice.skewed(50, 60'000));
  if (loop_.dice.one_in(faults_.slow_death)) takes = Duration(loop_.dice.between(100, 6000));
  loop_.schedule.after(takes, [this, &process] {
    free(process);
    process.on_death(SIGKILL);
  });
}

void Kernel::leave(Process& process) {
  if (std::exchange(process.dying, true)) return;  // a kill is under way
  free(process);
}

void Kernel::free(Process& process) {
  Group& group = *process.group;
  charge(group, Bytes{} - process.memory);
  process.memory = {};
  std::erase(group.inside, &process);
}

// Cache is forgotten; files fall to the parent, until somebody removes them.
void Kernel::remove(const std::string& name) {
  const auto group = groups_.extract(name);
  const Bytes files = group.mapped()->files;
  charged_ -= group.mapped()->charge - files;
  stray_ += files;
  look_at_marks();
  if (files <= Bytes{}) return;
  loop_.schedule.after(Duration(loop_.dice.between(1, 20'000)), [this, files] {
    stray_ -= files;
    charged_ -= files;
    look_at_marks();
  });
}

Result<void> Kernel::set_edge(Group& group, Bytes edge) {
  if (loop_.dice.one_in(faults_.edge_refused)) {
    edge_refused_at_ = loop_.schedule.now();
    return failure("set an edge: simulated", loop_.dice.one_in(2) ? EBUSY : ENOMEM);
  }
  if (edge < group.charge) take_cache(group, group.charge - edge);
  if (edge < group.charge) return failure("set an edge: it is below the charge", EBUSY);
  const bool raised = edge > group.edge;
  group.edge = edge;
  if (!raised) return {};
  for (Process* process : group.inside) {
    if (!std::exchange(process->waits, false)) continue;
    process->on_room();
  }
  return {};
}

Result<bool> Kernel::kill_all(Group& group) {
  for (Process* process : std::vector(group.inside)) kill(*process);
  return group.inside.empty();
}

Result<void> Kernel::set_workers_limit(Bytes limit) {
  if (!level_.edges) return {};
  if (charged_ > limit) {
    for (const auto& [name, group] : groups_) take_cache(*group, group->cache);
  }
  if (charged_ > limit) return failure("set the limit of all workers: simulated", EBUSY);
  workers_limit_ = limit;
  return {};
}

std::function<void()> Kernel::reclaim_job(Bytes wanted) const {
  return [self = const_cast<Kernel*>(this), wanted] {
    Bytes left = wanted;
    for (const auto& [name, group] : self->groups_) {
      const Bytes before = group->cache;
      // Dirty pages stay.
      self->take_cache(*group, std::min(left, {before.count * self->loop_.dice.between(0, 4) / 4}));
      left -= before - group->cache;
    }
  };
}

WorkersReading Kernel::reading_now() const {
  WorkersReading reading;
  for (const auto& [name, group] : groups_) {
    const GroupReading one{group->charge, group->charge,     {},
                           group->cache,  group->high_water, group->oom_kills};
    reading.total.active_cache += one.active_cache;
    reading.groups.push_back({name, one});
  }
  reading.total.raw = reading.total.used = charged_;
  return reading;
}

Result<WorkersReading> Kernel::read() {
  if (loop_.dice.one_in(faults_.reading_fails)) return failure("read memory.stat: simulated", EIO);
  WorkersReading fresh = reading_now();
  if (loop_.dice.one_in(faults_.reading_lags)) return last_;
  last_ = fresh;
  return fresh;
}

std::function<Result<WorkersReading>()> Kernel::reading_job(bool) const {
  return [self = const_cast<Kernel*>(this)] { return self->read(); };
}

std::function<Result<std::chrono::microseconds>()> Kernel::cpu_job() const {
  return [] { return std::chrono::microseconds(0); };
}

Result<int> Kernel::watch(const std::vector<Bytes>& marks) {
  if (!level_.events || !level_.edges) return -1;
  if (marks_descriptor_ < 0 || marks != marks_) marks_descriptor_ = loop_.next_descriptor++;
  marks_ = marks;
  std::ranges::sort(marks_);
  look_at_marks();
  return marks_descriptor_;
}

void Kernel::look_at_marks() {
  const auto below = static_cast<std::size_t>(std::ranges::upper_bound(marks_, charged_) - marks_.begin());
  if (std::exchange(marks_below_, below) != below) loop_.make_ready(marks_descriptor_);
}

/// What the supervisor holds of a group.
class SimulatedGroup : public WorkerGroup {
 public:
  SimulatedGroup(Kernel& kernel, Group& group) : kernel_(kernel), group_(group) {}
  ~SimulatedGroup() override { kernel_.remove(std::string(group_.name)); }

  std::vector<std::string> launch_options() const override { return {"--join", group_.name}; }
  void started(int) override {}
  Result<GroupReading> read() const override {
    return GroupReading{group_.charge, group_.charge, {}, group_.cache, group_.high_water, group_.oom_kills};
  }
  std::uint64_t oom_kills() const override { return group_.oom_kills; }
  Result<void> set_limit(Bytes memory) override {
    group_.limits.memory = memory;
    return {};
  }
  Result<Bytes> charge() const override { return group_.charge; }
  Result<void> set_edge(Bytes edge) override { return kernel_.set_edge(group_, edge); }
  bool waits_at_edge() const override { return group_.waits(); }
  Result<bool> kill_all() override { return kernel_.kill_all(group_); }
  void signal_all(int signal) override {
    for (Process* process : std::vector(group_.inside)) process->on_signal(signal);
  }
  Result<std::vector<int>> processes() const override {
    std::vector<int> pids;
    for (const Process* process : group_.inside) pids.push_back(process->pid);
    return pids;
  }
  int oom_fd() const override { return group_.oom_descriptor; }
  void acknowledge_oom() override {}

 private:
  Kernel& kernel_;
  Group& group_;
};

Result<std::unique_ptr<WorkerGroup>> Kernel::make_group(const std::string& name, GroupLimits limits) {
  if (loop_.dice.one_in(faults_.no_group)) {
    no_group_at_ = loop_.schedule.now();
    return failure("mkdir " + name + ": simulated", ENOMEM);
  }
  auto group = std::make_unique<Group>();
  group->name = name;
  group->limits = limits;
  group->edge = limits.memory;
  group->oom_descriptor = loop_.next_descriptor++;
  Group& made = *groups_.emplace(name, std::move(group)).first->second;
  return std::make_unique<SimulatedGroup>(*this, made);
}

}  // namespace kurultai::simulation
