// cgroup v1: memory hierarchy for caps, charges and events, pids hierarchy for the number of processes.
// Rules of the kernel used here: Documentation/admin-guide/cgroup-v1/memory.rst, sections 9 (thresholds), 10
// (OOM).
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "supervisor/memory/cgroup.h"
#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/cpu_time.h"
#include "supervisor/memory/group_tree.h"

namespace kurultai {
namespace {

class Charge1 : public Charge {
 public:
  static Result<std::shared_ptr<Charge1>> open(const std::string& directory) {
    auto usage = KernelFile::open(directory + "/memory.usage_in_bytes");
    if (!usage) return std::unexpected(usage.error());
    auto stat = KernelFile::open(directory + "/memory.stat");
    if (!stat) return std::unexpected(stat.error());
    auto oom = KernelFile::open(directory + "/memory.oom_control");
    if (!oom) return std::unexpected(oom.error());
    auto high = KernelFile::open(directory + "/memory.max_usage_in_bytes");
    if (!high) return std::unexpected(high.error());
    return std::shared_ptr<Charge1>(
        new Charge1(std::move(*usage), std::move(*stat), std::move(*oom), std::move(*high)));
  }

  Result<GroupReading> read() const override {
    KernelFile::Buffer buffer;
    auto usage = usage_.read_number();
    if (!usage) return std::unexpected(usage.error());
    auto stat = stat_.read(buffer);
    if (!stat) return std::unexpected(stat.error());
    const auto cache = unused_cache(
        *stat, {"total_inactive_file", "total_active_file", "total_dirty", "total_writeback"}, stat_.path());
    if (!cache) return std::unexpected(cache.error());
    const auto swap =
        flat_number(*stat, "total_swap", stat_.path()).value_or(0);  // absent when not accounted
    const auto active = flat_number(*stat, "total_active_file", stat_.path()).value_or(0);
    auto kills = oom_kills();
    if (!kills) return std::unexpected(kills.error());
    // Usage and stat are counted in batches of their own: the difference may dip below zero.
    const std::int64_t working = sum_of(std::max<std::int64_t>(*usage - *cache, 0), swap);
    return GroupReading{{*usage}, {working}, {swap}, {active}, static_cast<std::uint64_t>(*kills)};
  }

  Result<std::int64_t> oom_kills() const override { return oom_state("oom_kill"); }  // since 4.13
  Result<std::int64_t> under_oom() const { return oom_state("under_oom"); }
  Result<Bytes> current() const override { return as_bytes(usage_.read_number()); }
  Result<Bytes> high_water() const override { return as_bytes(high_.read_number()); }

 private:
  Result<std::int64_t> oom_state(const char* key) const {
    KernelFile::Buffer buffer;
    auto oom = oom_.read(buffer);
    if (!oom) return std::unexpected(oom.error());
    return flat_number(*oom, key, oom_.path());
  }

  Charge1(KernelFile usage, KernelFile stat, KernelFile oom, KernelFile high)
      : usage_(std::move(usage)), stat_(std::move(stat)), oom_(std::move(oom)), high_(std::move(high)) {}

  KernelFile usage_, stat_, oom_, high_;
};

Result<void> must_be_positive(const std::string& directory, Bytes limit) {
  return limit.count > 0 ? Result<void>{} : failure("limit of " + directory + ": must be positive");
}

/// The limit of one group. Where swap is accounted, memory and swap together get the same limit: no swap can
/// be used, and none disarms the cap. The kernel refuses (EINVAL) a moment in which memsw is below memory,
/// hence the order.
class Limit1 {
 public:
  static Result<Limit1> open(const std::string& directory) {
    const std::string path = directory + "/memory.limit_in_bytes";
    auto memory = KernelKnob::open(path);
    if (!memory) return std::unexpected(memory.error());
    auto present = read_number(path);
    if (!present) return std::unexpected(present.error());
    auto both = KernelKnob::open(directory + "/memory.memsw.limit_in_bytes");
    if (!both && both.error().code != ENOENT) return std::unexpected(both.error());
    if (!both) ignore_failure(write_file(directory + "/memory.swappiness", "0"));  // the next best
    return Limit1(directory, std::move(*memory), both ? std::optional(std::move(*both)) : std::nullopt,
                  *present);
  }

  Result<void> set(Bytes limit) {
    if (auto good = must_be_positive(directory_, limit); !good) return good;
    const std::string text = std::to_string(limit.count);
    const bool raising = limit.count > present_;
    if (both_ && raising) {
      if (auto first = both_->write(text); !first) return first;
    }
    if (auto written = memory_.write(text); !written) return written;
    present_ = limit.count;
    return both_ && !raising ? both_->write(text) : Result<void>{};
  }

 private:
  Limit1(std::string directory, KernelKnob memory, std::optional<KernelKnob> both, std::int64_t present)
      : directory_(std::move(directory)),
        memory_(std::move(memory)),
        both_(std::move(both)),
        present_(present) {}

  std::string directory_;
  KernelKnob memory_;
  std::optional<KernelKnob> both_;
  std::int64_t present_;
};

Result<void> write_limit1(const std::string& directory, Bytes limit) {
  if (auto good = must_be_positive(directory, limit); !good) return good;
  auto file = Limit1::open(directory);
  return file ? file->set(limit) : std::unexpected(file.error());
}

Result<void> write_pids(const std::string& directory, int processes) {
  return write_file(directory + "/pids.max", processes > 0 ? std::to_string(processes) : "max");
}

/// Has the kernel signal `eventfd` on events of `file`; the argument is a threshold.
Result<void> subscribe(int eventfd, const std::string& directory, const std::string& file,
                       const std::string& argument = {}) {
  auto source = KernelFile::open(directory + "/" + file);
  if (!source) return std::unexpected(source.error());
  std::string line = std::to_string(eventfd) + " " + std::to_string(source->fd());
  if (!argument.empty()) line += " " + argument;
  return write_file(directory + "/cgroup.event_control", line);
}

Result<Fd> new_eventfd() {
  Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.is_open()) return system_failure("eventfd", errno);
  return fd;
}

class Group1 : public CgroupGroup {
 public:
  Group1(CgroupController& controller, std::string name, std::vector<std::string> directories,
         std::shared_ptr<Charge1> charge, Limit1 memory_limit, Fd oom, GroupLimits limits)
      : CgroupGroup(controller, std::move(name), directories, charge),
        charge_(std::move(charge)),
        memory_limit_(std::move(memory_limit)),
        oom_(std::move(oom)),
        pids_directory_(directories.size() > 1 ? directories[1] : std::string()),
        processes_(limits.processes),
        limit_(limits.memory) {}

  Result<void> set_limit(Bytes memory) override {
    limit_ = memory;
    return memory_limit_.set(memory);
  }

  Result<Bytes> charge() const override { return charge_->current(); }

  /// The group's own limit with its killer off: whoever grows is parked in its page fault (memory.rst, 10),
  /// and nobody else is touched.
  Result<void> set_edge(Bytes edge) override {
    const bool below = edge < limit_;
    const bool was_off = killer_off_;
    if (below) {
      if (auto off = disable_killer(true); !off) return off;
    }
    if (auto written = memory_limit_.set(std::min(edge, limit_)); !written) {
      // Back to the cap, with the killer: whoever reached it without would wait there, and nobody would look.
      if (!was_off && memory_limit_.set(limit_)) ignore_failure(disable_killer(false));
      return written;
    }
    return below ? Result<void>{} : disable_killer(false);
  }
  bool waits_at_edge() const override { return killer_off_ && charge_->under_oom().value_or(0) != 0; }

  /// Version 1 cannot kill a group at once, and chains of processes that fork and end outrun every list. So
  /// nobody in here may fork until all are gone.
  Result<bool> kill_all() override {
    const bool first = !std::exchange(closed_, true);
    if (first && !pids_directory_.empty()) ignore_failure(write_file(pids_directory_ + "/pids.max", "0"));
    auto gone = CgroupGroup::kill_all();
    if (gone && *gone) reopen();
    return gone;
  }

  int oom_fd() const override { return oom_.get(); }
  void acknowledge_oom() override {
    std::uint64_t count = 0;
    (void)!::read(oom_.get(), &count, sizeof count);
  }

 private:
  Result<void> disable_killer(bool off) {
    if (off == killer_off_) return {};
    auto written = write_file(memory_directory() + "/memory.oom_control", off ? "1" : "0");
    if (written) killer_off_ = off;
    return written;
  }

  void reopen() {
    closed_ = false;
    if (!pids_directory_.empty()) ignore_failure(write_pids(pids_directory_, processes_));
  }

  std::shared_ptr<Charge1> charge_;
  Limit1 memory_limit_;
  Fd oom_;
  std::string pids_directory_;  // empty where pids are not limited
  int processes_;
  Bytes limit_;
  bool killer_off_ = false;
  bool closed_ = false;
};

Result<std::vector<ProcessState>> living_below(const std::string& proc_root, const std::string& directory) {
  const auto inside = processes_below(directory);
  if (!inside) return std::unexpected(inside.error());
  std::vector<ProcessState> living;
  for (const int pid : *inside)
    if (auto process = read_process(proc_root, pid)) living.push_back(*process);  // else gone meanwhile
  return living;
}

class Controller1 : public CgroupController {
 public:
  Controller1(std::vector<InstancePaths> hierarchies, SupervisorSeat seat, std::shared_ptr<Charge> total,
              std::string proc_root, std::string explanation)
      : CgroupController(1, std::move(hierarchies), std::move(seat), std::move(total), std::move(proc_root),
                         std::move(explanation)) {}

  Guarantee guarantee() const override { return Guarantee::cgroup1; }
  Result<void> set_workers_limit(Bytes limit) override { return write_limit1(memory_paths().workers, limit); }
  bool has_edges() const override { return true; }
  /// Version 1 cannot be told how much.
  std::function<void()> reclaim_job(Bytes) const override {
    return [file = memory_paths().workers + "/memory.force_empty"] { ignore_failure(write_file(file, "0")); };
  }

  Result<std::unique_ptr<WorkerGroup>> make_group(const std::string& name, GroupLimits limits) override {
    auto directories = make_directories(name);
    if (!directories) return std::unexpected(directories.error());
    auto group = furnish(name, *directories, limits);
    if (!group) retire(name, *directories);
    return group;
  }

  // A cpuacct group for each worker would be exact, and one more mkdir, join and rmdir for each process
  // started.
  std::function<Result<std::chrono::microseconds>()> cpu_job() const override {
    return [proc_root = proc_root(), workers = memory_paths().workers] {
      return cpu_time_of_workers([&] { return living_below(proc_root, workers); });
    };
  }

  Result<int> watch(const std::vector<Bytes>& marks) override {
    if (watched_.is_open() && marks == marks_) return watched_.get();
    auto fd = new_eventfd();
    if (!fd) return std::unexpected(fd.error());
    for (const Bytes mark : marks)
      if (auto done = subscribe(fd->get(), memory_paths().workers, "memory.usage_in_bytes",
                                std::to_string(mark.count));
          !done)
        return std::unexpected(done.error());
    replaced_ = std::exchange(watched_, std::move(*fd));
    marks_ = marks;
    return watched_.get();
  }

 private:
  Result<std::unique_ptr<WorkerGroup>> furnish(const std::string& name,
                                               const std::vector<std::string>& directories,
                                               GroupLimits limits) {
    auto limit = Limit1::open(directories.front());
    if (!limit) return std::unexpected(limit.error());
    if (auto written = limit->set(limits.memory); !written) return std::unexpected(written.error());
    if (directories.size() > 1)
      if (auto written = write_pids(directories[1], limits.processes); !written)
        return std::unexpected(written.error());
    auto charge = Charge1::open(directories.front());
    if (!charge) return std::unexpected(charge.error());
    auto oom = new_eventfd();
    if (!oom) return std::unexpected(oom.error());
    if (auto done = subscribe(oom->get(), directories.front(), "memory.oom_control"); !done)
      return std::unexpected(done.error());
    enlist(name, *charge);
    return std::make_unique<Group1>(*this, name, directories, *charge, *std::move(limit), std::move(*oom),
                                    limits);
  }

  std::vector<Bytes> marks_;
  Fd watched_;   // closing it unregisters it
  Fd replaced_;  // whoever polls it needs it open until he has heard of the new one
};

/// Limits of a group hold for its children only with use_hierarchy; always on since 5.11.
Result<void> make_memory_groups(const InstancePaths& paths) {
  if (auto made = make_directory(paths.top); !made) return made;
  const std::string hierarchical = paths.top + "/memory.use_hierarchy";
  if (read_number(hierarchical).value_or(1) == 0)
    if (auto written = write_file(hierarchical, "1"); !written) return written;
  for (const std::string* directory : {&paths.supervisor, &paths.workers})
    if (auto made = make_directory(*directory); !made) return made;
  return write_file(paths.workers + "/memory.limit_in_bytes", "-1");  // may we write limits?
}

Result<void> make_pids_groups(const InstancePaths& paths) {
  for (const std::string* directory : {&paths.top, &paths.workers})
    if (auto made = make_directory(*directory); !made) return made;
  return write_file(paths.workers + "/pids.max", "max");
}

/// Caps do without: the error ends up in the explanation.
Result<InstancePaths> settle_pids(const std::vector<Hierarchy>& hierarchies,
                                  const ControllerOptions& options) {
  const Hierarchy* pids = find_cgroup1(hierarchies, "pids");
  if (!pids) return failure("no pids controller is mounted");
  auto paths = instance_paths(*pids, options);
  if (!paths) return paths;
  auto made = make_pids_groups(*paths);
  if (made) return paths;
  ignore_failure(remove_below(paths->top));
  return std::unexpected(made.error());
}

struct Seated1 {
  SupervisorSeat seat;
  std::shared_ptr<Charge> total;
};

Result<Seated1> settle(const InstancePaths& paths, const std::string& former) {
  if (auto made = make_memory_groups(paths); !made) return std::unexpected(made.error());
  auto total = Charge1::open(paths.workers);
  if (!total) return std::unexpected(total.error());
  auto seat = SupervisorSeat::take(paths, former, {});
  if (!seat) return std::unexpected(seat.error());
  return Seated1{std::move(*seat), std::move(*total)};
}

}  // namespace

Result<std::unique_ptr<Controller>> make_cgroup1(const ControllerOptions& options,
                                                 const std::string& remark) {
  auto hierarchies = read_hierarchies(options);
  if (!hierarchies) return std::unexpected(hierarchies.error());
  const Hierarchy* memory = find_cgroup1(*hierarchies, "memory");
  if (!memory) return failure("no memory controller is mounted");
  auto paths = instance_paths(*memory, options);
  if (!paths) return std::unexpected(paths.error());
  auto seated = settle(*paths, memory->own ? memory->directory + *memory->own : memory->directory);
  if (!seated) {
    ignore_failure(remove_below(paths->top));
    return std::unexpected(seated.error());
  }

  std::string explanation = "cgroup v1 in " + paths->top;
  std::vector<InstancePaths> made{*paths};
  if (auto pids = settle_pids(*hierarchies, options))
    made.push_back(*pids);
  else
    explanation += "; numbers of processes are not limited: " + pids.error().message;
  explanation += remark;
  return std::make_unique<Controller1>(std::move(made), std::move(seated->seat), std::move(seated->total),
                                       options.proc_root, std::move(explanation));
}

}  // namespace kurultai
