// cgroup v2: caps, charges and kills of one unified tree.
// Rules of the kernel used here: Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint",
// "Memory".
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "supervisor/memory/cgroup.h"
#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/fd.h"
#include "supervisor/memory/group_tree.h"

namespace kurultai {
namespace {

bool has_word(std::string_view text, std::string_view word) {
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(" \n");
    if (text.substr(0, end) == word) return true;
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return false;
}

class Charge2 : public Charge {
 public:
  static Result<std::shared_ptr<Charge2>> open(const std::string& directory) {
    auto current = KernelFile::open(directory + "/memory.current");
    if (!current) return std::unexpected(current.error());
    auto stat = KernelFile::open(directory + "/memory.stat");
    if (!stat) return std::unexpected(stat.error());
    auto events = KernelFile::open(directory + "/memory.events");
    if (!events) return std::unexpected(events.error());
    auto swap = open_if_there(directory + "/memory.swap.current");  // without swap accounting there is none
    if (!swap) return std::unexpected(swap.error());
    auto peak = open_if_there(directory + "/memory.peak");  // since 5.19
    if (!peak) return std::unexpected(peak.error());
    return std::shared_ptr<Charge2>(new Charge2(std::move(*current), std::move(*stat), std::move(*events),
                                                std::move(*swap), std::move(*peak)));
  }

  Result<GroupReading> read() const override {
    KernelFile::Buffer buffer;
    auto current = current_.read_number();
    if (!current) return std::unexpected(current.error());
    auto stat = stat_.read(buffer);
    if (!stat) return std::unexpected(stat.error());
    const auto cache =
        unused_cache(*stat, {"inactive_file", "active_file", "file_dirty", "file_writeback"}, stat_.path());
    if (!cache) return std::unexpected(cache.error());
    const auto active = flat_number(*stat, "active_file", stat_.path()).value_or(0);
    auto kills = oom_kills();
    if (!kills) return std::unexpected(kills.error());
    auto swap = read_if_there(swap_);
    if (!swap) return std::unexpected(swap.error());
    // Current and stat are counted in batches of their own: the difference may dip below zero.
    const std::int64_t working = std::max<std::int64_t>(*current - *cache, 0);
    return GroupReading{{*current}, {working}, {*swap}, {active}, static_cast<std::uint64_t>(*kills)};
  }

  Result<Bytes> current() const override { return as_bytes(current_.read_number()); }
  Result<Bytes> high_water() const override { return as_bytes(read_if_there(peak_)); }

  Result<std::int64_t> oom_kills() const override {
    KernelFile::Buffer buffer;
    auto events = events_.read(buffer);
    if (!events) return std::unexpected(events.error());
    return flat_number(*events, "oom_kill", events_.path());
  }

 private:
  using Optional = std::optional<KernelFile>;

  static Result<Optional> open_if_there(const std::string& path) {
    auto file = KernelFile::open(path);
    if (file) return Optional(std::move(*file));
    if (file.error().code == ENOENT) return Optional();
    return std::unexpected(file.error());
  }

  static Result<std::int64_t> read_if_there(const Optional& file) {
    return file ? file->read_number() : Result<std::int64_t>(0);
  }

  Charge2(KernelFile current, KernelFile stat, KernelFile events, Optional swap, Optional peak)
      : current_(std::move(current)),
        stat_(std::move(stat)),
        events_(std::move(events)),
        swap_(std::move(swap)),
        peak_(std::move(peak)) {}

  KernelFile current_, stat_, events_;
  Optional swap_, peak_;
};

Result<void> write_limit2(const std::string& directory, Bytes limit) {
  if (limit.count <= 0) return failure("limit of " + directory + ": must be positive");
  return write_file(directory + "/memory.max", std::to_string(limit.count));
}

/// Writes where the kernel has such a file; kernels without swap accounting, or before 4.19, lack some.
Result<void> write_if_there(const std::string& path, std::string_view text) {
  auto written = write_file(path, text);
  if (!written && written.error().code == ENOENT) return {};
  return written;
}

/// Readable while `file` has changed since it was last read. The file itself polls as readable always
/// (kernfs_generic_poll), and only POLLPRI says that it changed: whoever waited for both never slept.
Result<Fd> changes_of(const KernelFile& file) {
  Fd changes(::epoll_create1(EPOLL_CLOEXEC));
  if (!changes.is_open()) return system_failure("epoll_create1", errno);
  epoll_event changed{.events = EPOLLPRI, .data = {}};
  // A plain file (a captured tree's) cannot be polled, and never changes.
  if (::epoll_ctl(changes.get(), EPOLL_CTL_ADD, file.fd(), &changed) != 0 && errno != EPERM)
    return system_failure("poll " + file.path(), errno);
  return changes;
}

class Group2 : public CgroupGroup {
 public:
  Group2(CgroupController& controller, std::string name, std::vector<std::string> directories,
         std::shared_ptr<Charge2> charge, KernelFile events, Fd changes, Bytes limit)
      : CgroupGroup(controller, std::move(name), std::move(directories), charge),
        charge_(std::move(charge)),
        events_(std::move(events)),
        changes_(std::move(changes)),
        limit_(limit),
        edge_(limit) {}

  Result<void> set_limit(Bytes memory) override {
    limit_ = memory;
    return write_limit2(memory_directory(), memory);
  }

  Result<Bytes> charge() const override { return charge_->current(); }

  /// memory.high: whoever grows above it is slowed down to about 1 MiB/s, and raising it does not wake one
  /// that sleeps (measured: up to 2 s). So it must bite only when there is nothing left to give.
  Result<void> set_edge(Bytes edge) override {
    const std::string text = edge < limit_ ? std::to_string(edge.count) : "max";
    auto written = write_if_there(memory_directory() + "/memory.high", text);
    if (written) edge_ = std::min(edge, limit_);
    return written;
  }
  /// Over the edge with what the kernel cannot take back by itself.
  bool waits_at_edge() const override {
    if (edge_ >= limit_) return false;
    const auto reading = charge_->read();
    return reading && reading->used + mebibytes(1) >= edge_;
  }

  Result<void> suspend() override {
    if (auto opened = write_file(memory_directory() + "/memory.swap.max", "max"); !opened) return opened;
    return write_file(memory_directory() + "/cgroup.freeze", "1");
  }
  /// Asked for all of it, memory.reclaim (5.19) gives up early, with EAGAIN, and has freed a part: so again,
  /// as long as that helps.
  std::function<void()> page_out_job() const override {
    return [directory = memory_directory()] {
      static constexpr std::int64_t worthwhile = mebibytes(1).count;
      std::int64_t before = unlimited;
      std::int64_t left = read_number(directory + "/memory.current").value_or(0);
      for (int round = 0; round < 10 && left > 0 && left + worthwhile < before; ++round) {
        ignore_failure(write_file(directory + "/memory.reclaim", std::to_string(left)));
        before = std::exchange(left, read_number(directory + "/memory.current").value_or(0));
      }
    };
  }
  void resume() override {
    ignore_failure(write_file(memory_directory() + "/memory.swap.max", "0"));
    ignore_failure(write_file(memory_directory() + "/cgroup.freeze", "0"));
  }

  Result<bool> kill_all() override {
    auto inside = processes_below(memory_directory());
    if (!inside) return std::unexpected(inside.error());
    const auto moved = moved_out(*inside);
    if (inside->empty() && moved.empty()) return true;
    signal_each(moved, SIGKILL);
    // cgroup.kill (5.14) catches what forks meanwhile; without it we kill what we have listed, again and
    // again.
    if (write_file(memory_directory() + "/cgroup.kill", "1")) return false;
    return CgroupGroup::kill_all();
  }

  int oom_fd() const override { return changes_.get(); }
  void acknowledge_oom() override {
    KernelFile::Buffer buffer;
    ignore_failure(events_.read(buffer));  // reading is what rearms the poll
  }

 private:
  std::shared_ptr<Charge2> charge_;
  KernelFile events_;  // apart from the one that readings use: each open file is polled for itself
  Fd changes_;         // of events_
  Bytes limit_;
  Bytes edge_;
};

class Controller2 : public CgroupController {
 public:
  Controller2(InstancePaths paths, SupervisorSeat seat, std::shared_ptr<Charge> total, bool limits_processes,
              std::string proc_root, std::string explanation)
      : CgroupController(2, {std::move(paths)}, std::move(seat), std::move(total), std::move(proc_root),
                         std::move(explanation)),
        limits_processes_(limits_processes) {}

  Guarantee guarantee() const override { return Guarantee::cgroup2; }
  Result<void> set_workers_limit(Bytes limit) override { return write_limit2(memory_paths().workers, limit); }
  Result<int> watch(const std::vector<Bytes>&) override { return -1; }
  bool has_edges() const override { return true; }
  /// Edges only slow down; at the limit of all workers the kernel would kill by its own order.
  Bytes overrun() const override { return mebibytes(4); }
  /// What is free on the machine, less where a group above has a limit of its own.
  Bytes free_swap() const override {
    const std::string workers = memory_paths().workers;
    if (::access((workers + "/memory.reclaim").c_str(), W_OK) != 0) return {};
    std::int64_t free = machine_swap(proc_root()).value_or(Bytes{}).count;
    for (std::string at = workers; free > 0; at.erase(at.rfind('/'))) {
      const auto most = read_number(at + "/memory.swap.max");  // the root has none
      if (!most) break;
      if (*most == unlimited) continue;
      free = std::min(free, *most - read_number(at + "/memory.swap.current").value_or(0));
    }
    return {std::max<std::int64_t>(free, 0)};
  }
  /// memory.reclaim is there since 5.19; EAGAIN says that it freed less than was wanted.
  std::function<void()> reclaim_job(Bytes wanted) const override {
    return [file = memory_paths().workers + "/memory.reclaim", wanted] {
      ignore_failure(write_file(file, std::to_string(wanted.count)));
    };
  }

  /// cpu.stat is there without the cpu controller, and keeps what removed groups below have used.
  std::function<Result<std::chrono::microseconds>()> cpu_job() const override {
    return [file = memory_paths().workers + "/cpu.stat"]() -> Result<std::chrono::microseconds> {
      const auto text = read_file(file);
      if (!text) return std::unexpected(text.error());
      const auto used = flat_number(*text, "usage_usec", file);
      if (!used) return std::unexpected(used.error());
      return std::chrono::microseconds(*used);
    };
  }

  Result<std::unique_ptr<WorkerGroup>> make_group(const std::string& name, GroupLimits limits) override {
    auto directories = make_directories(name);
    if (!directories) return std::unexpected(directories.error());
    auto group = furnish(name, *directories, limits);
    if (!group) retire(name, *directories);
    return group;
  }

 private:
  Result<std::unique_ptr<WorkerGroup>> furnish(const std::string& name,
                                               const std::vector<std::string>& directories,
                                               GroupLimits limits) {
    const std::string& directory = directories.front();
    if (auto written = write_limit2(directory, limits.memory); !written)
      return std::unexpected(written.error());
    // Swap that may be used is memory beyond the cap; the whole tree dies of it, not one process at random.
    for (const auto& [file, value] :
         {std::pair{"/memory.swap.max", "0"}, std::pair{"/memory.oom.group", limits.whole_tree ? "1" : "0"}})
      if (auto written = write_if_there(directory + file, value); !written)
        return std::unexpected(written.error());
    if (limits.processes > 0 && limits_processes_)
      if (auto written = write_file(directory + "/pids.max", std::to_string(limits.processes)); !written)
        return std::unexpected(written.error());
    auto charge = Charge2::open(directory);
    if (!charge) return std::unexpected(charge.error());
    auto events = KernelFile::open(directory + "/memory.events");
    if (!events) return std::unexpected(events.error());
    auto changes = changes_of(*events);
    if (!changes) return std::unexpected(changes.error());
    enlist(name, *charge);
    auto group = std::make_unique<Group2>(*this, name, directories, *charge, std::move(*events),
                                          std::move(*changes), limits.memory);
    group->acknowledge_oom();  // a file that was never read polls as changed
    return group;
  }

  bool limits_processes_;
};

/// Lets the children of `directory` have `controller`.
Result<void> enable(const std::string& directory, std::string_view controller) {
  const std::string file = directory + "/cgroup.subtree_control";
  auto enabled = read_file(file);
  if (!enabled) return std::unexpected(enabled.error());
  if (has_word(*enabled, controller)) return {};
  auto written = write_file(file, std::string(1, '+').append(controller));
  if (!written && written.error().code == EBUSY)
    return failure(written.error().message +
                       " (other processes are in this group; start the supervisor in a group of its own)",
                   EBUSY);
  return written;
}

/// Groups on the way down to the parent may have to pass the controller on first.
Result<void> provide(const Hierarchy& hierarchy, const std::string& parent, std::string_view controller) {
  auto offered = read_file(parent + "/cgroup.controllers");
  if (!offered) return std::unexpected(offered.error());
  if (has_word(*offered, controller)) return {};
  auto exists = read_file(hierarchy.directory + "/cgroup.controllers");
  if (!exists) return std::unexpected(exists.error());
  if (!has_word(*exists, controller))
    return failure(hierarchy.directory + "/cgroup.controllers: no " + std::string(controller) +
                   " controller");
  for (std::size_t at = hierarchy.directory.size(); at != std::string::npos && at < parent.size();
       at = parent.find('/', at + 1))
    if (auto enabled = enable(parent.substr(0, at), controller); !enabled) return enabled;
  return {};
}

Result<void> enable_down(const InstancePaths& paths, std::string_view controller) {
  for (const std::string* directory : {&paths.parent, &paths.top, &paths.workers})
    if (auto enabled = enable(*directory, controller); !enabled) return enabled;
  return {};
}

struct Seated2 {
  SupervisorSeat seat;
  std::shared_ptr<Charge> total;
  Result<void> pids;
};

Result<Seated2> settle(const Hierarchy& hierarchy, const InstancePaths& paths,
                       const ControllerOptions& options) {
  for (const std::string* directory : {&paths.top, &paths.supervisor, &paths.workers})
    if (auto made = make_directory(*directory); !made) return std::unexpected(made.error());
  const std::string former = hierarchy.directory + hierarchy.own.value_or("");
  // A group that passes controllers on may hold no process: companions in the same group have to come along.
  auto seat =
      SupervisorSeat::take(paths, former, former == paths.parent ? options.companions : std::vector<int>());
  if (!seat) return std::unexpected(seat.error());
  if (auto enabled = enable_down(paths, "memory"); !enabled) return std::unexpected(enabled.error());
  auto pids = provide(hierarchy, paths.parent, "pids");
  if (pids) pids = enable_down(paths, "pids");
  if (auto written = write_file(paths.workers + "/memory.max", "max"); !written)
    return std::unexpected(written.error());  // may we write limits?
  auto total = Charge2::open(paths.workers);
  if (!total) return std::unexpected(total.error());
  return Seated2{std::move(*seat), std::move(*total), std::move(pids)};
}

}  // namespace

Result<std::unique_ptr<Controller>> make_cgroup2(const ControllerOptions& options,
                                                 const std::string& remark) {
  auto hierarchies = read_hierarchies(options);
  if (!hierarchies) return std::unexpected(hierarchies.error());
  const Hierarchy* hierarchy = find_cgroup2(*hierarchies);
  if (!hierarchy) return failure("not mounted");
  auto paths = instance_paths(*hierarchy, options);
  if (!paths) return std::unexpected(paths.error());
  // Before anything is made: on hybrid machines the memory controller belongs to version 1.
  if (auto provided = provide(*hierarchy, paths->parent, "memory"); !provided)
    return std::unexpected(provided.error());
  auto seated = settle(*hierarchy, *paths, options);
  if (!seated) {
    ignore_failure(remove_below(paths->top));
    return std::unexpected(seated.error());
  }
  std::string explanation = "cgroup v2 in " + paths->top;
  if (!seated->pids) explanation += "; numbers of processes are not limited: " + seated->pids.error().message;
  explanation += remark;
  return std::make_unique<Controller2>(*paths, std::move(seated->seat), std::move(seated->total),
                                       seated->pids.has_value(), options.proc_root, std::move(explanation));
}

}  // namespace kurultai
