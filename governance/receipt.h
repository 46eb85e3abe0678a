// Why tasks had to give way: the reading, the lines, everybody who ran with the figures he was ranked by,
// what was tried before, and who was chosen. It holds all that the governor decided on, so it can decide
// again. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "governance/admission.h"
#include "governance/governor.h"
#include "protocol/error.h"

namespace kurultai {

/// A milder step that was taken in the same episode of pressure.
struct Rung {
  std::string name;  // hint, reclaim, end_idle, suspend
  TimePoint at;
  Bytes used;                         // of the budget when it was taken
  std::optional<Bytes> freed = {};    // measured after it; absent while that is not known
  std::optional<Duration> took = {};  // of those that take their time: reclaim, suspend
};

struct UsedAt {
  TimePoint at;
  Bytes used;
};

/// A task that was to start and did not fit: the question that admission was asked (RoomQuestion), and which
/// idle workers ended for it.
struct RoomAsked {
  std::string task_id;
  Priority priority = Priority::normal;
  Bytes footprint, line, elsewhere;
  std::string worker = {};  // where it would run; empty: in a new one
  std::vector<WorkerLoad> workers;
  std::vector<std::string> end_workers;
};

struct Receipt {
  std::string id;  // the correlation id of the decision
  WallTime time;
  TimePoint now;
  bool kill = false;  // else suspended or preempted
  Thresholds thresholds;
  Bytes used, budget, idle, ending;  // as in Situation
  bool starving = false, lowered = false;
  std::optional<Duration> time_to_act = {};
  std::vector<Candidate> running;
  std::vector<std::string> chosen;
  std::optional<Prediction> prediction = {};  // that decided; else a threshold did
  std::vector<Rung> rungs;
  std::vector<UsedAt> memory;  // of the last minute, oldest first
  /// Present where admission decided and not the governor: they gave way to a task that was to start. Then
  /// `running` are those that it could take from, each with what is committed to it.
  std::optional<RoomAsked> room = {};
};

/// Puts down who was chosen by these actions of the governor, and whether to be killed.
void note_decision(Receipt& receipt, std::span<const Action> actions);

/// The same figures, with what a fresh governor, or admission, makes of them.
Receipt decide_again(Receipt receipt);

/// The candidates come in the order in which they would give way. Times are milliseconds before (negative:
/// after) the decision.
nlohmann::json to_json(const Receipt& receipt);
/// The reverse, as far as deciding again needs it. The error names the field.
Result<Receipt> parse_receipt(const nlohmann::json& object);

}  // namespace kurultai
