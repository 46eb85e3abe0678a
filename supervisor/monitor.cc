#include "supervisor/monitor.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "governance/reading_pace.h"

namespace kurultai {

namespace {

constexpr Duration busy_sample{500};     // peaks of running tasks come from these
constexpr Duration warning_sample{100};  // while a worker may be near its warning mark
constexpr Duration retry_after_failure{1000};

/// What we hold and the kernel could not take back by itself. On v1 what is in swap counts as used.
Bytes held(const MemorySnapshot& snapshot, Guarantee guarantee) {
  const GroupReading& workers = snapshot.workers.total;
  const Bytes swapped = guarantee == Guarantee::cgroup1 ? workers.swap : Bytes{};
  return std::max(snapshot.used - workers.active_cache - swapped, snapshot.supervisor_rss);
}

}  // namespace

Monitor::Monitor(uv::Loop& loop, Controller& controller, const Settings& settings,
                 std::function<Activity()> activity, std::function<void(const MemorySnapshot&)> on_reading)
    : loop_(loop),
      controller_(controller),
      settings_(settings),
      room_(room_settings()),
      activity_(std::move(activity)),
      on_reading_(std::move(on_reading)),
      timer_(loop, [this] { read(); }),
      overdue_(loop,
               [this] { trouble_ = "a reading has not ended in " + to_string(settings_.longest_reading); }) {
  last_.budget = settings_.budget;
  last_.configured = settings_.budget;
}

void Monitor::start() {
  running_ = true;
  set_marks();
  watch_stalls();
  read();
}

void Monitor::stop() {
  running_ = false;
  timer_.stop();
  overdue_.stop();
  marks_watch_.reset();
  stall_watch_.reset();
}

void Monitor::configure(Settings settings) {
  settings_ = std::move(settings);
  room_.configure(room_settings());
  if (!running_) return;
  set_marks();
  nudge();
}

/// Each threshold and the line at which it clears, less what the supervisor itself uses: the kernel counts
/// the workers.
std::vector<Bytes> Monitor::marks() const {
  const Bytes own = own_rss().value_or(Bytes{});
  std::vector<Bytes> marks;
  for (const double ratio : settings_.thresholds.ratio) {
    for (const double line : {ratio, ratio - settings_.thresholds.hysteresis}) {
      const Bytes mark = share_of(room_.budget(), line) - own;
      if (mark.count > 0) marks.push_back(mark);
    }
  }
  return marks;
}

/// Until they are set readings are polled.
void Monitor::set_marks() {
  marks_are_old_ = true;
  if (setting_marks_) return;
  marks_are_old_ = false;
  setting_marks_ = true;
  auto fd = std::make_shared<Result<int>>(-1);
  run_on_thread(
      loop_, [&controller = controller_, marks = marks(), fd] { *fd = controller.watch(marks); },
      [this, fd, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        setting_marks_ = false;
        marks_watch_.reset();
        if (!running_) return;
        if (marks_are_old_) return set_marks();
        watch_marks(fd->value_or(-1));
        nudge();  // one may have been crossed meanwhile
      });
}

void Monitor::watch_marks(int fd) {
  kernel_events_ = fd >= 0;
  if (!kernel_events_) return;
  auto watch = uv::FdWatch::start(loop_, fd, [this, fd] {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(fd, &count, sizeof(count));
    read();
  });
  if (watch) marks_watch_ = std::move(*watch);
}

/// Whoever waits for memory waits for a reading, too: it comes at once, whatever the pace is. No more than
/// that, for how long tasks stood still says nothing about how full the budget is.
void Monitor::watch_stalls() {
  auto file = kurultai::watch_stalls(settings_.proc_root);
  if (!file) return;
  auto watch = uv::FdWatch::start(
      loop_, file->get(),
      [this] {
        stalls_ += 1;
        nudge();
      },
      uv::FdWatch::For::urgent);
  if (!watch) return;
  stall_file_ = std::move(*file);
  stall_watch_ = std::move(*watch);
}

void Monitor::nudge() {
  if (running_ && !reading_) read_in(Duration(0));
}

void Monitor::task_began() {
  if (running_ && !reading_ && next_ > loop_.now() + busy_sample) read_in(busy_sample);
}

void Monitor::read_in(Duration wait) {
  next_ = loop_.now() + wait;
  timer_.start(wait);
}

void Monitor::read() {
  if (!running_ || reading_) return;
  auto job = controller_.reading_job(true);
  if (!controller_.slow()) return take(job());
  reading_ = true;
  machine_before_ = look_at_machine();
  overdue_.start(settings_.longest_reading);
  auto result = std::make_shared<Result<WorkersReading>>();
  run_on_thread(
      loop_, [job = std::move(job), result] { *result = job(); },
      [this, result, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        reading_ = false;
        overdue_.stop();
        if (running_) take(std::move(*result));
      });
}

void Monitor::take(Result<WorkersReading> reading) {
  auto snapshot = reading ? complete(std::move(*reading)) : std::unexpected(reading.error());
  if (!snapshot) {
    trouble_ = snapshot.error().message;
    return read_in(retry_after_failure);
  }
  trouble_.clear();
  fit_into_machine(*snapshot);
  last_ = std::move(*snapshot);
  on_reading_(last_);
  schedule();
}

Result<MemorySnapshot> Monitor::complete(WorkersReading reading) const {
  const auto rss = own_rss();
  if (!rss) return std::unexpected(rss.error());
  const OwnHeap heap = own_heap();
  MemorySnapshot snapshot;
  snapshot.at = loop_.wall_now();
  snapshot.budget = room_.budget();
  snapshot.configured = settings_.budget;
  snapshot.machine = last_.machine;
  snapshot.supervisor_rss = *rss;
  snapshot.heap_used = heap.used;
  snapshot.heap_total = heap.total;
  snapshot.workers = std::move(reading);
  snapshot.used = snapshot.supervisor_rss + snapshot.workers.total.used;
  return snapshot;
}

Result<MachineReading> Monitor::read_surroundings() const {
  auto machine = read_machine(settings_.proc_root);
  if (machine) controller_.tighten(*machine);
  return machine;
}

MachineRoom::Settings Monitor::room_settings() const {
  if (settings_.machine_reserve) return {settings_.budget, *settings_.machine_reserve};
  const auto machine = read_surroundings();
  return {settings_.budget, usual_machine_reserve(machine ? machine->total : settings_.budget)};
}

std::optional<MachineReading> Monitor::look_at_machine() {
  if (room_.reserve().count <= 0) return std::nullopt;
  const auto machine = read_surroundings();
  machine_trouble_ = machine ? std::string() : machine.error().message;
  return machine ? std::optional(*machine) : std::nullopt;
}

/// A reading of the workers that took its time is set against the better of what the machine had before and
/// after it: what they took or gave back meanwhile is not what others did.
void Monitor::fit_into_machine(MemorySnapshot& snapshot) {
  snapshot.machine = look_at_machine();
  const auto before = std::exchange(machine_before_, std::nullopt);
  if (!snapshot.machine) return;
  if (before) snapshot.machine->available = std::max(snapshot.machine->available, before->available);
  const Bytes was = room_.budget();
  snapshot.budget = room_.update(held(snapshot, controller_.guarantee()), *snapshot.machine, loop_.now());
  if (snapshot.budget != was) set_marks();
}

Result<MemorySnapshot> Monitor::read_now() {
  if (controller_.slow()) return last_;
  auto reading = controller_.reading_job(true)();
  if (!reading) return std::unexpected(reading.error());
  return complete(std::move(*reading));
}

void Monitor::schedule() {
  const Activity activity = activity_();
  PaceInput input;
  input.raw = last_.workers.total.raw + last_.supervisor_rss;
  input.used = last_.used;
  input.budget = last_.budget;
  input.kernel_events = kernel_events_;
  input.any_worker = activity.workers > 0;
  input.slow_tick = settings_.slow_tick;
  Duration next = next_reading_in(input, settings_.thresholds);
  if (activity.busy) next = std::min(next, busy_sample);
  if (last_.machine && activity.workers > 0)
    next = std::min(next, next_machine_look_in(last_.machine->available));
  if (activity.lowest_warning && last_.workers.total.used >= *activity.lowest_warning) {
    next = std::min(next, warning_sample);
  }
  read_in(next);
}

}  // namespace kurultai
