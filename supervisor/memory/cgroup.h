// What cgroup v1 and v2 share: the supervisor's seat in a leaf of its own, the living groups, those whose
// removal has to wait, and a group's processes. The versions add how limits are written and charges read.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/memory/controller.h"
#include "supervisor/memory/hierarchies.h"
#include "supervisor/memory/proc.h"
#include "supervisor/memory/surroundings.h"

namespace kurultai {

/// The open files that hold one group's charge. Shared by the group and the reading jobs under way, which may
/// outlive it: reads then fail with ENODEV.
class Charge {
 public:
  virtual ~Charge() = default;
  virtual Result<GroupReading> read() const = 0;
  /// Like read(). One whose charge is what it was the last time is taken to be as it was then, up to seven
  /// times in a row: memory.stat costs twenty times as much (measured), and most of many groups stand still.
  /// Loop thread only.
  Result<GroupReading> read_again() const;
  /// The `nth` of many: not all of them shall be read anew at the same time.
  void stagger(std::size_t nth) { repeated_ = static_cast<int>(nth % (most_repeated + 1)); }
  virtual Result<Bytes> current() const = 0;
  virtual Result<Bytes> high_water() const = 0;  // 0 where the kernel keeps none
  virtual Result<std::int64_t> oom_kills() const = 0;

 private:
  static constexpr int most_repeated = 7;

  mutable std::optional<GroupReading> last_;
  mutable int repeated_ = 0;
};

/// This process, and those that come along, in the instance's `supervisor` leaf; its destructor takes them
/// back.
class SupervisorSeat {
 public:
  static Result<SupervisorSeat> take(const InstancePaths& paths, const std::string& former,
                                     const std::vector<int>& companions);
  SupervisorSeat(SupervisorSeat&& other) noexcept
      : paths_(std::move(other.paths_)),
        former_(std::move(other.former_)),
        seated_(std::exchange(other.seated_, {})) {}
  SupervisorSeat& operator=(SupervisorSeat&&) = delete;
  ~SupervisorSeat() { leave(); }

  void leave();

 private:
  SupervisorSeat(InstancePaths paths, std::string former)
      : paths_(std::move(paths)), former_(std::move(former)) {}

  InstancePaths paths_;
  std::string former_;
  std::vector<int> seated_;
};

/// The keys of memory.stat for a group with all below it.
struct CacheKeys {
  const char* inactive;
  const char* active;
  const char* dirty;
  const char* writeback;
};

/// File pages that do not count as used: the inactive ones, and those that reclaim made active only because
/// they are not written yet (shrink_folio_list in mm/vmscan.c): writing a large file would look like a leak.
Result<std::int64_t> unused_cache(std::string_view stat, const CacheKeys& keys, const std::string& path);

inline Result<Bytes> as_bytes(Result<std::int64_t> number) {
  return number ? Result<Bytes>(Bytes{*number}) : std::unexpected(number.error());
}

/// mkdir; what exists already is used.
Result<void> make_directory(const std::string& path);

class CgroupController : public Controller {
 public:
  ~CgroupController() override;

  std::string explanation() const override { return explanation_; }
  bool slow() const override { return false; }
  std::function<Result<WorkersReading>()> reading_job(bool each_group) const override;
  std::vector<std::string> group_paths() const override;
  void tighten(MachineReading& machine) const override { surroundings_.tighten(machine); }

  /// Called by a group that ends: removes its directories, or keeps them for another try.
  void retire(const std::string& name, const std::vector<std::string>& directories);

  const std::string& proc_root() const { return proc_root_; }

 protected:
  /// `hierarchies`: memory first (it has the seat), then what else was made (v1's pids).
  CgroupController(int version, std::vector<InstancePaths> hierarchies, SupervisorSeat seat,
                   std::shared_ptr<Charge> total, std::string proc_root, std::string explanation);

  /// Checks the name, tries once more what could not be removed, and makes the group in every hierarchy.
  Result<std::vector<std::string>> make_directories(const std::string& name);
  void enlist(const std::string& name, std::shared_ptr<Charge> charge) {
    charge->stagger(living_.size());
    living_[name] = std::move(charge);
  }

  const InstancePaths& memory_paths() const { return hierarchies_.front(); }

 private:
  void remove_retired();

  std::vector<InstancePaths> hierarchies_;
  SupervisorSeat seat_;
  std::shared_ptr<Charge> total_;
  Surroundings surroundings_;
  std::string proc_root_;
  std::string explanation_;
  std::map<std::string, std::shared_ptr<Charge>> living_;
  std::set<std::string> retired_;  // directories that were busy
};

/// Processes and removal of one worker's group. Must end before its Controller.
class CgroupGroup : public WorkerGroup {
 public:
  ~CgroupGroup() override { controller_.retire(name_, directories_); }

  std::vector<std::string> launch_options() const override;
  void started(int pid) override;
  bool is_lost() const override;
  int escaped() const override;
  Result<GroupReading> read() const override { return charge_->read_again(); }
  Bytes high_water() const override { return charge_->high_water().value_or(Bytes{}); }
  std::uint64_t oom_kills() const override {
    return static_cast<std::uint64_t>(charge_->oom_kills().value_or(0));
  }
  Result<bool> kill_all() override;
  void signal_all(int signal) override;
  Result<std::vector<int>> processes() const override;

 protected:
  CgroupGroup(CgroupController& controller, std::string name, std::vector<std::string> directories,
              std::shared_ptr<Charge> charge)
      : controller_(controller),
        name_(std::move(name)),
        directories_(std::move(directories)),
        charge_(std::move(charge)) {}

  const std::string& memory_directory() const { return directories_.front(); }

  /// The worker's own tree, if its first process is not among those `inside` any more, or another was seen
  /// outside.
  std::vector<int> moved_out(const std::vector<int>& inside) const;

 private:
  CgroupController& controller_;
  std::string name_;
  std::vector<std::string> directories_;
  std::shared_ptr<Charge> charge_;
  mutable ProcessTree tree_;
  mutable ProcessId outside_;  // whom the last look found there
};

/// Each fails with the reason why that version cannot be used here, and leaves nothing behind then.
Result<std::unique_ptr<Controller>> make_cgroup2(const ControllerOptions& options, const std::string& remark);
/// `remark` ends the explanation.
Result<std::unique_ptr<Controller>> make_cgroup1(const ControllerOptions& options, const std::string& remark);

}  // namespace kurultai
