// What a soak does and what it demands: a profile, read from YAML. Every mistake is named with its line.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"
#include "governance/task_queue.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai::soak {

enum class Runs { python, node, shell };

template <typename T>
struct Range {
  T low{};
  T high{};
};

/// One kind of task, which is an agent of its own.
struct TaskKind {
  std::string name;
  Runs runs = Runs::python;
  int weight = 1;              // how often it comes, against the others
  Range<Bytes> memory{};       // that a task takes beside what its interpreter needs
  Range<Duration> takes{};     // that a task lasts
  Bytes cap = mebibytes(512);  // of its worker
  bool leaks = false;          // grows to 1.5 caps in its time: dies of the cap, rightfully
  Bytes keeps{};               // of each task its worker keeps so much
  int max_tasks = 0;           // a worker is replaced after so many; 0: never
  int retries = 0;
  std::optional<Priority> priority{};  // absent: mixed
};

enum class Arrivals { even, poisson };

/// What chaos may do, each so often on average; 0: never.
enum class Mischief : std::uint8_t {
  kill_worker,      // SIGKILL for some worker's process
  cancel,           // some open task
  preempt,          // a critical task of a third of the budget
  burst,            // as many tasks at once as the queue holds, and half as many again
  malformed,        // a request that is wrong, in one of many ways
  reload,           // another configuration, or a wrong one
  kill_supervisor,  // SIGKILL; the next one has its state
};
inline constexpr std::array<std::string_view, 7> mischief_names = {
    "kill_worker", "cancel", "preempt", "burst", "malformed", "reload", "kill_supervisor"};

/// Absent: shown, and not judged.
struct Criteria {
  std::optional<Bytes> tree_max;         // of all processes together, at any time
  std::optional<Bytes> supervisor_max;   // RSS
  std::optional<Bytes> growth_per_hour;  // of the supervisor; and zero must be within the interval
  std::optional<Duration> answer_p99;    // from the moment a task was due to the answer of its submission
  std::optional<Duration> start_p99;     // … to its start
  std::optional<Duration> recovery;      // from the end of the load to a task that was let in and done
  std::optional<double> refused_most;    // share of the submissions
  std::optional<std::int64_t> refused_fewest;  // that the load has to bring about, or it proves nothing
  std::optional<std::int64_t> rightful_fewest;
  std::int64_t lost = 0;
  std::int64_t duplicated = 0;
  std::int64_t wrongful_kills = 0;
  std::int64_t failed = 0;       // of tasks to which nothing was done
  std::int64_t unexpected = 0;   // answers
  std::int64_t fds = 0;          // more than before
  std::int64_t groups = 0;       // more than before
  std::int64_t left_behind = 0;  // processes and groups, when the supervisor has ended
};

struct Profile {
  std::string name;
  Duration length{};   // of the load
  Duration warm_up{};  // growth is judged after it
  Duration every{};    // a task comes
  Arrivals arrivals = Arrivals::even;
  Config supervisor;  // without agents
  std::vector<TaskKind> kinds;
  std::array<Duration, mischief_names.size()> chaos{};
  Criteria criteria;

  Duration every_so_often(Mischief what) const { return chaos.at(static_cast<std::size_t>(what)); }
  Duration& every_so_often(Mischief what) { return chaos.at(static_cast<std::size_t>(what)); }
};

/// `file` is the name used in errors.
ConfigResult<Profile> parse_profile(std::string_view text, const std::string& file,
                                    const Environment& environment);

/// What a profile demands in `seconds / scale`: all times that it names shortened, but for those that the
/// supervisor's own speed decides.
void compress(Profile& profile, double scale);

/// What an interpreter needs for itself, with a little room: a task is within its cap only with so much left.
Bytes own_memory(Runs runs);

std::string_view to_string(Runs runs);

}  // namespace kurultai::soak
