// What was seen of one run, and the verdict on it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "governance/leak_slope.h"
#include "protocol/duration.h"
#include "tools/soak/ledger.h"
#include "tools/soak/profile.h"
#include "tools/soak/watch.h"

namespace kurultai::soak {

/// What the supervisor says of its own heap, at some moment.
struct HeapReading {
  std::string when;
  double seconds = 0;
  std::int64_t rss = 0, used = 0, total = 0;
};

struct Count {
  std::int64_t before = 0;
  std::int64_t after = 0;
};

struct Outcome {
  std::string profile;
  std::uint64_t seed = 0;
  double scale = 1;
  double seconds = 0;         // of the load
  double planned = 0;         // likewise
  double judged_seconds = 0;  // of the supervisor's memory
  std::string guarantee;
  Bytes budget;
  Thresholds thresholds;

  MemoryWatch memory{{}, {}, {}};
  LeakSlope slope;
  std::vector<HeapReading> heap;
  double supervisor_cpu = 0;  // share of one core

  LedgerCounts tasks;
  Reservoir answers_ms, starts_ms, ends_ms;
  std::uint64_t submitted = 0;
  std::map<int, std::uint64_t> statuses;             // of submissions
  std::map<std::string, std::uint64_t> refusals;     // by code
  std::map<std::string, std::uint64_t> unexpected;   // by what it was
  std::map<std::string, std::uint64_t> preemptions;  // by reason
  std::map<std::string, std::uint64_t> retries;      // by agent
  std::map<std::string, std::uint64_t> failures;     // without a cause: reason, agent, last words
  std::uint64_t capped_leak_workers = 0;
  std::uint64_t capped_other_workers = 0;
  std::uint64_t kernel_kills = 0;  // of tasks within their cap
  std::uint64_t deaths = 0;        // of the supervisor, that nobody wanted
  std::uint64_t overrun = 0;       // arrivals that were not submitted: there were too many on their way
  std::array<std::uint64_t, mischief_names.size()> mischief{};
  std::optional<double> recovery_seconds;
  Count fds, groups;
  std::int64_t left_behind = 0;

  std::uint64_t refused() const;
  std::uint64_t rightful_kills() const;
  std::uint64_t wrongful_kills() const;
  std::uint64_t unexpected_count() const;
};

enum class Judgement { passed, failed, shown };

struct Criterion {
  std::string name;
  std::string found;
  std::string wanted;  // empty: nothing
  Judgement judgement = Judgement::shown;
  std::string note = {};
};

std::vector<Criterion> judge(const Outcome& outcome, const Criteria& wanted);
bool has_passed(const std::vector<Criterion>& criteria);

/// For people.
std::string to_table(const Outcome& outcome, const std::vector<Criterion>& criteria);
nlohmann::json to_json(const Outcome& outcome, const std::vector<Criterion>& criteria);
/// Memory over time against the thresholds; a second panel has the supervisor alone.
std::string to_svg(const Outcome& outcome);

}  // namespace kurultai::soak
