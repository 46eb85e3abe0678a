// The house's view of the machine's memory: caps on workers and readings of what they use, over cgroup v2,
// cgroup v1 or, where neither can be written, rlimits and procfs. One Controller an instance, chosen once at
// start. All calls are made on the loop thread and cost microseconds, except where it says "on a thread".
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "governance/machine_room.h"
#include "protocol/bytes.h"
#include "protocol/error.h"
#include "protocol/words.h"
#include "supervisor/memory/fd.h"

namespace kurultai {

struct GroupLimits {
  Bytes memory;
  int processes = 0;  // 0: no limit
  bool whole_tree =
      true;  // v2: over the limit the kernel kills all inside; else one process, as v1 always does
};

struct GroupReading {
  Bytes raw;  // everything charged (cgroups), or the sum of rss (rlimit)
  // Working set: raw less inactive file pages and those not yet written; sum of PSS where there is no cgroup.
  // On v1 plus swap; on v2 only suspended groups are let into swap, and what they have there takes no memory.
  Bytes used;
  Bytes swap;
  Bytes active_cache;           // file pages that count as used and that reclaim could still take back
  std::uint64_t oom_kills = 0;  // processes of this group that the kernel killed for its cap, ever
};

struct NamedReading {
  std::string name;
  GroupReading reading;
};

/// All workers of the instance.
struct WorkersReading {
  GroupReading total;
  std::vector<NamedReading> groups;  // filled when asked for
};

/// The container of one worker. Its destructor removes it; it must be empty by then (else the Controller
/// keeps the name and tries again later).
class WorkerGroup {
 public:
  virtual ~WorkerGroup() = default;

  /// Options for kurultai-worker that put the new process in here (`--join FILE`, `--limit-data BYTES` …).
  virtual std::vector<std::string> launch_options() const = 0;

  /// Told once, when the first process is there, the root of the tree. In the rlimit level that is the
  /// launcher, which stays (`--hold`) as the subreaper of all below; it gets no signals of signal_all, and
  /// dies last in kill_all. With cgroups it finds those whom somebody moved out of their group.
  virtual void started(int pid) = 0;
  /// Told once, when that process was reaped: its exit status, and the signal that ended it, or 0. A launcher
  /// that ended badly may have left behind what it held together.
  virtual void ended(int /*status*/, int /*signal*/) {}

  virtual Result<GroupReading> read() const = 0;
  /// Only the counter of kills for the cap, as cheap as the level can: asked at the end of every task.
  virtual std::uint64_t oom_kills() const {
    const auto reading = read();
    return reading ? reading->oom_kills : 0;
  }
  /// The kernel's own maximum of what was charged since the group was made; 0 where it keeps none.
  virtual Bytes high_water() const { return {}; }
  virtual Result<void> set_limit(Bytes memory) = 0;

  /// All that is charged now, page cache included: the cheapest reading there is.
  virtual Result<Bytes> charge() const {
    const auto reading = read();
    return reading ? Result<Bytes>(reading->raw) : std::unexpected(reading.error());
  }
  /// Growth above `edge` waits until the edge is raised: nobody inside is killed for it. At or above the
  /// limit the limit rules alone. The kernel reclaims in the writer when the edge is below the charge, so
  /// callers keep it above; raising never waits. Without cgroups it does nothing.
  virtual Result<void> set_edge(Bytes) { return {}; }
  /// Whether something inside waits at the edge now.
  virtual bool waits_at_edge() const { return false; }

  /// Stops all that is inside, wherever it is, and lets it into swap. Only where Controller::free_swap says
  /// so.
  virtual Result<void> suspend() { return failure("this level cannot suspend", ENOTSUP); }
  /// A job for a thread: pages out what was suspended. It may take seconds; what it freed is seen by reading.
  virtual std::function<void()> page_out_job() const {
    return [] {};
  }
  /// Lets it go on; what is in swap comes back page by page as it is used, and nothing more goes there.
  virtual void resume() {}

  /// Whether somebody took the group away while it was in use: nothing caps what ran in it any more. It can
  /// still be killed.
  virtual bool is_lost() const { return false; }

  /// A process of the worker's that lives outside of the group, where nothing caps it, at this call and at
  /// the one before (somebody may be about to take the group away); 0: none was found. Looks at 64 at most.
  /// For those who could leave: root, or whoever the groups were delegated to.
  virtual int escaped() const { return 0; }

  /// Sends SIGKILL to all that is inside; true when nothing is left. Call again until it is (fork bombs).
  virtual Result<bool> kill_all() = 0;
  /// Sends `signal` once to all that is inside.
  virtual void signal_all(int signal) = 0;
  /// Processes inside now. Includes none that are dead.
  virtual Result<std::vector<int>> processes() const = 0;

  /// Becomes readable when the kernel killed for the cap, or something waits at the edge; -1: none such.
  virtual int oom_fd() const = 0;
  /// Clears the readiness of oom_fd.
  virtual void acknowledge_oom() = 0;
};

class Controller {
 public:
  virtual ~Controller() = default;

  virtual Guarantee guarantee() const = 0;
  /// One line for people: what is used and why not something better.
  virtual std::string explanation() const = 0;

  /// `name` without slash or dot (files of the kernel have dots), unique among the living. Groups must be
  /// gone before their Controller. ENOMEM: no room now, not a broken system. Never fails in the rlimit level.
  virtual Result<std::unique_ptr<WorkerGroup>> make_group(const std::string& name, GroupLimits limits) = 0;

  /// The backstop over all workers, on a thread: to take pages back may need its time. Nothing is enforced in
  /// the rlimit level. May be refused below present use (EBUSY on v1).
  virtual Result<void> set_workers_limit(Bytes limit) = 0;

  /// Whether groups have edges.
  virtual bool has_edges() const { return false; }
  /// How far workers may be beyond their edges before the supervisor can have made somebody give way: so much
  /// less is handed out than all may hold.
  virtual Bytes overrun() const { return {}; }
  /// A job, for a thread, that takes back up to `wanted` of page cache from all workers: it may take seconds.
  virtual std::function<void()> reclaim_job(Bytes) const {
    return [] {};
  }

  /// How much could be paged out of suspended groups now: none where they cannot be suspended, or where they
  /// would free nothing by it.
  virtual Bytes free_swap() const { return {}; }

  /// A job that reads all workers. `slow()` says whether it must run on a thread (rlimit: procfs walks); the
  /// job owns what it needs, so groups may come and go meanwhile.
  virtual bool slow() const = 0;
  virtual std::function<Result<WorkersReading>()> reading_job(bool each_group) const = 0;

  /// A job for a thread: the CPU time of all workers that are and were. Owns what it needs, like
  /// reading_job's. Where the kernel keeps no counter of it (v1, rlimit) what nobody waited for is missing,
  /// so it may fall a little.
  virtual std::function<Result<std::chrono::microseconds>()> cpu_job() const = 0;

  /// Asks the kernel for a wake-up whenever the workers' raw charge crosses one of `marks`, either way;
  /// replaces the marks asked for before. On a thread, one call at a time: a mark costs v1 up to 6 ms (RCU,
  /// measured). Returns an eventfd to poll, owned by the Controller, or -1 where
  /// the kernel has no such events (then readings are polled). The eventfd of the call before stays open
  /// until the next call, so that its poll can be ended in peace; the same marks again give the same one.
  virtual Result<int> watch(const std::vector<Bytes>& marks) = 0;

  /// Where the groups that the workers' lie in, as that of a container, have less to give than `machine`
  /// says, that counts.
  virtual void tighten(MachineReading& /*machine*/) const {}

  /// The group directories that belong to this instance, for the guardian: in order of removal (children
  /// first).
  virtual std::vector<std::string> group_paths() const = 0;
};

struct ControllerOptions {
  std::string instance;                        // groups are named kurultai-<instance>
  std::string cgroup_parent;                   // "self", or a path below the controller's root
  std::string cgroup_root = "/sys/fs/cgroup";  // another place in tests
  std::string proc_root = "/proc";
  std::vector<int> companions;  // processes of ours (the guardian) that may have to move along; never killed
};

/// Tries cgroup v2, then v1, by really making a group and writing a limit; else the rlimit level. Puts the
/// calling process in a leaf of its own outside the workers' parent group. Clears groups that an earlier run
/// of `instance` left (their processes are killed first). Never fails: `explanation()` says what was refused.
std::unique_ptr<Controller> choose_controller(const ControllerOptions& options);

/// Rss of this process (statm).
Result<Bytes> own_rss();
struct OwnHeap {
  Bytes used, total;
};
/// What this process's allocator has handed out, and has of the system.
OwnHeap own_heap();
/// MemTotal, or the limit of the group we were started in when that is lower: what `memory.budget: auto` may
/// use.
Result<Bytes> machine_memory(const ControllerOptions& options);
/// What the kernel says of the machine, whatever the groups are limited to. Takes some tens of microseconds.
Result<MachineReading> read_machine(const std::string& proc_root);
/// A descriptor with something urgent (POLLPRI) when tasks on the machine, some or other, stood still for
/// want of memory for a tenth of the last 2 s, at most once in 2 s: the least window that the kernel gives to
/// everybody (Documentation/accounting/psi.rst).
Result<Fd> watch_stalls(const std::string& proc_root);
/// SwapFree of the machine.
Result<Bytes> machine_swap(const std::string& proc_root);

}  // namespace kurultai
