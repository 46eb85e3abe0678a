#include "tests/simulation/kernel.h"

#include <signal.h>

#include <algorithm>
#include <utility>

namespace kurultai::simulation {

namespace {

constexpr Bytes page = kibibytes(4);
constexpr int parts_of_paging = 8;
/// Whoever is beyond his edge for so long may meet the limit of all: nobody gave way in time, or nobody may.
constexpr Duration time_to_act{500};

}  // namespace

bool Group::waits() const {
  return std::ranges::any_of(inside, [](const Process* process) { return process->waits; });
}

Bytes Group::held() const {
  Bytes held;
  for (const Process* process : inside) held += process->memory + process->swapped;
  return held;
}

void Kernel::enter(const std::string& group, Process& process) {
  process.group = groups_.at(group).get();
  process.group->inside.push_back(&process);
}

void Kernel::charge(Group& group, Bytes more) {
  group.charge += more;
  charged_ += more;
  group.high_water = std::max(group.high_water, group.charge);
  if (group.charge <= group.edge) group.beyond_since = {};
  if (group.charge > group.edge && group.beyond_since == TimePoint{})
    group.beyond_since = loop_.schedule.now();
  look_at_marks();
}

TimePoint Kernel::beyond_since() const {
  TimePoint since = loop_.schedule.now();
  for (const auto& [name, group] : groups_) {
    if (group->beyond_since != TimePoint{}) since = std::min(since, group->beyond_since);
  }
  return since;
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
  Bytes got = std::min(wanted, room);
  const bool sleeps = level_.slows && got < wanted && group.edge < group.limits.memory;
  const Duration sleep = sleeps ? Duration(loop_.dice.between(10, 2000)) : Duration(0);
  if (sleeps) got += past_edge(group, wanted - got, sleep);
  process.memory += got;
  charge(group, got);
  if (charged_ > workers_limit_) kill_for_parent();
  if (got == wanted || process.dying) return got;
  if (group.edge >= group.limits.memory || group.charge >= group.limits.memory) {
    kill_for_cap(group, process);
    return got;
  }
  process.waits = true;
  waits_ += 1;
  loop_.make_ready(group.oom_descriptor);
  if (sleeps) slow_down(process, sleep);
  return got;
}

// About a mebibyte a second (measured), little at once. Never all that is wanted: who sleeps wants something.
Bytes Kernel::past_edge(const Group& group, Bytes wanted, Duration sleep) const {
  const Bytes below_cap = group.limits.memory - std::max(group.charge, group.ceiling());
  const Bytes pace = std::min(kibibytes(sleep.count()), kibibytes(512));
  return std::max(std::min({pace, wanted - page, below_cap}), Bytes{});
}

void Kernel::slow_down(Process& process, Duration sleep) {
  process.sleep = loop_.schedule.after(sleep, [&process] {
    process.waits = false;
    if (!process.group->frozen) process.on_room();
  });
}

Bytes Kernel::read_back(Process& process, Bytes wanted) {
  const Bytes got = grow(process, std::min(wanted, process.swapped));
  leave_swap(process, got);
  return got;
}

void Kernel::leave_swap(Process& process, Bytes bytes) {
  process.swapped -= bytes;
  swap_used_ -= bytes;
}

void Kernel::shrink(Process& process, Bytes less) {
  const Bytes resident = std::min(less, process.memory);
  leave_swap(process, std::min(less - resident, process.swapped));
  process.memory -= resident;
  charge(*process.group, Bytes{} - resident);
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
  const bool in_time = !level_.slows || loop_.schedule.now() - beyond_since() < time_to_act;
  if (in_time) parent_kills_ += 1;
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
  loop_.schedule.cancel(process.sleep);
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
  leave_swap(process, process.swapped);
  loop_.schedule.cancel(process.sleep);
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
  if (edge < group.charge && !level_.slows) return failure("set an edge: it is below the charge", EBUSY);
  const bool raised = edge > group.edge;
  group.edge = edge;
  if (group.charge <= edge) group.beyond_since = {};
  if (!raised || level_.slows) return {};
  for (Process* process : group.inside) {
    if (!std::exchange(process->waits, false)) continue;
    process->on_room();
  }
  return {};
}

// On version 2 nobody can tell who sleeps: whoever is near his edge is taken for one that waits.
bool Kernel::waits_at_edge(const Group& group) const {
  if (!level_.slows) return group.waits();
  return group.edge < group.limits.memory && group.charge + mebibytes(1) >= group.edge;
}

Result<void> Kernel::suspend(Group& group) {
  if (level_.swap <= Bytes{}) return failure("suspend: there is no swap", ENOTSUP);
  if (loop_.dice.one_in(faults_.no_suspension)) return failure("write cgroup.freeze: simulated", EBUSY);
  group.frozen = true;
  group.freezes += 1;
  suspensions_ += 1;
  group.paging = true;
  return {};
}

void Kernel::resume(Group& group) {
  if (!std::exchange(group.frozen, false)) return;
  group.paging = false;
  for (Process* process : group.inside) {
    if (!process->dying) process->on_thaw();
  }
}

// At the speed of a disk, in a few parts, so that much can happen before it is over.
std::function<void()> Kernel::page_out_job(const Group& group) {
  return [this, name = group.name, number = group.freezes] {
    const auto found = groups_.find(name);
    if (found == groups_.end()) return;
    const std::int64_t size = found->second->charge.count;
    Duration takes(size / loop_.dice.between(20'000, 1'000'000));
    if (loop_.dice.one_in(faults_.slow_paging)) takes = Duration(loop_.dice.between(3000, 60'000));
    const std::int64_t part = size / parts_of_paging + page.count;
    const std::int64_t percent = loop_.dice.one_in(faults_.pinned) ? loop_.dice.between(0, 90) : 100;
    for (int i = 1; i <= parts_of_paging; ++i) {
      loop_.schedule.after(takes * i / parts_of_paging,
                           [this, name, part, percent] { page_out(name, {part * percent / 100}); });
    }
    loop_.schedule.after(takes, [this, name, number] {
      const auto same = groups_.find(name);
      if (same != groups_.end() && same->second->freezes == number) same->second->paging = false;
    });
    loop_.thread_takes = takes;
  };
}

/// Of what stands still only: others are not let into swap.
void Kernel::page_out(const std::string& name, Bytes most) {
  const auto found = groups_.find(name);
  if (found == groups_.end()) return;
  Group& group = *found->second;
  const Bytes cache = std::min(most, group.cache);
  take_cache(group, cache);
  most -= cache;
  if (!group.frozen) return;
  for (Process* process : group.inside) {
    const Bytes out = std::min({most, process->memory, free_swap()});
    process->memory -= out;
    process->swapped += out;
    swap_used_ += out;
    most -= out;
    charge(group, Bytes{} - out);
  }
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
  if (charged_ > limit && !level_.slows) return failure("set the limit of all workers: simulated", EBUSY);
  workers_limit_ = limit;
  if (charged_ > limit) kill_for_parent();  // as the kernel does where it takes any limit
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
    const GroupReading one{group->charge, group->charge, {}, group->cache, group->oom_kills};
    reading.total.active_cache += one.active_cache;
    reading.groups.push_back({name, one});
  }
  reading.total.raw = reading.total.used = charged_;
  return reading;
}

Result<WorkersReading> Kernel::read() {
  if (loop_.dice.one_in(faults_.reading_fails)) return failure("read memory.stat: simulated", EIO);
  WorkersReading fresh = reading_now();
  if (loop_.dice.one_in(faults_.reading_lags)) {
    lagged_at_ = loop_.schedule.now();
    return last_;
  }
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
  if (!level_.events || !level_.edges || level_.slows) return -1;
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
    return GroupReading{group_.charge, group_.charge, {}, group_.cache, group_.oom_kills};
  }
  Bytes high_water() const override { return group_.high_water; }
  std::uint64_t oom_kills() const override { return group_.oom_kills; }
  Result<void> set_limit(Bytes memory) override {
    group_.limits.memory = memory;
    return {};
  }
  Result<Bytes> charge() const override { return group_.charge; }
  Result<void> set_edge(Bytes edge) override { return kernel_.set_edge(group_, edge); }
  bool waits_at_edge() const override { return kernel_.waits_at_edge(group_); }
  Result<void> suspend() override { return kernel_.suspend(group_); }
  void resume() override { kernel_.resume(group_); }
  std::function<void()> page_out_job() const override { return kernel_.page_out_job(group_); }
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
