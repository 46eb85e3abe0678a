#include "tools/kurultai/event_text.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;

std::string count_in(const json& object, const char* name) {
  return std::to_string(int_field(object, name).value_or(0));
}

std::string size_in(const json& object, const char* name) {
  return brief(bytes_field(object, name).value_or(Bytes{}));
}

/// `before` and the text, or nothing where there is none.
std::string with(const std::string& before, const std::string& text) {
  return text.empty() ? "" : before + text;
}

std::string ratio(const json& event) { return percent(number_field(event, "ratio").value_or(0)); }

/// `leak (task 1m7ygq9gbjh9nn0n, low)`.
std::string task_name(const json& event) {
  return text_field(event, "agent") + " (task " + text_field(event, "taskId") +
         with(", ", text_field(event, "priority")) + ")";
}

std::string worker_name(const json& event) {
  return "worker " + text_field(event, "workerId") + with(" of ", text_field(event, "agent"));
}

std::string peak(const json& event) {
  const auto bytes = bytes_field(event, "peakMemoryBytes");
  return bytes && bytes->count > 0 ? ", peak " + brief(*bytes) : "";
}

std::string names(const json& list) {
  std::string out;
  for (const auto& item : list) {
    if (item.is_string()) out += (out.empty() ? "" : ", ") + item.get<std::string>();
  }
  return out;
}

/// `, attempt 2`; the first goes without saying.
std::string attempt(const json& event) {
  return int_field(event, "attempt").value_or(1) > 1 ? ", attempt " + count_in(event, "attempt") : "";
}

/// `: exceeded its 192MiB cap (memory_cap)`. Some messages are no more than their reason.
std::string cause(const json& holder) {
  const std::string reason = text_field(holder, "reason");
  const std::string message = text_field(holder, "message");
  if (message.empty()) return with(": ", reason);
  return ": " + message + (reason.empty() ? "" : " (" + reason + ")");
}

std::string queued(const json& event) { return task_name(event) + " was queued" + attempt(event); }

std::string started(const json& event) {
  return task_name(event) + " started" + with(" on worker ", text_field(event, "workerId")) + attempt(event);
}

std::string progress(const json& event) {
  return task_name(event) + " is at " + percent(number_field(event, "percent").value_or(0) / 100) +
         with(": ", text_field(event, "message"));
}

std::string why_sent_back(const std::string& reason) {
  static constexpr std::array<std::pair<std::string_view, const char*>, 5> known = {
      {{"preempt", "was preempted to free memory"},
       {"kill", "was killed to free memory"},
       {"kernel", "was killed by the kernel, which needed its memory,"},
       {"drain", "was stopped for the drain"},
       {"worker_lost", "lost its worker"}}};
  const auto* const found =
      std::ranges::find(known, reason, &std::pair<std::string_view, const char*>::first);
  return found != known.end() ? found->second : "was stopped" + with(" for ", reason);
}

std::string preempted(const json& event) {
  const auto reaction = ms_field(event, "reactionMs");
  return task_name(event) + " " + why_sent_back(text_field(event, "reason")) + " and waits again" +
         (reaction && reaction->count() > 0 ? ", after " + brief(*reaction) : "");
}

std::string suspended(const json& event) {
  return task_name(event) + " was suspended to free memory, and goes on when there is room";
}

std::string resumed(const json& event) { return task_name(event) + " goes on"; }

std::string completed(const json& event) {
  return task_name(event) + " completed in " + brief(ms_field(event, "runMs").value_or(Duration(0))) +
         peak(event);
}

std::string failed(const json& event) {
  return task_name(event) + " failed after " + brief(ms_field(event, "runMs").value_or(Duration(0))) +
         cause(field(event, "error")) + peak(event);
}

// Here the reason only repeats the verb.
std::string cancelled(const json& event) {
  return task_name(event) + " was cancelled" + with(": ", text_field(field(event, "error"), "message"));
}

std::string evicted(const json& event) {
  return task_name(event) + " was evicted" + with(": ", text_field(field(event, "error"), "message"));
}

std::string rejected(const json& event) {
  return "a task for " + text_field(event, "agent") + " (" + text_field(event, "priority") +
         ") was refused: " + text_field(event, "message") + " (" + text_field(event, "code") + ")";
}

std::string skipped(const json& event) {
  return task_name(event) + " is skipped: memory is at " + ratio(event);
}

std::string crossed(const json& event) {
  struct Words {
    std::string_view threshold;
    const char* up;
    const char* down;
  };
  static constexpr std::array<Words, 4> known = {
      {{"skip_heartbeats", "heartbeats are skipped", "heartbeats run again"},
       {"preempt", "the least important tasks are preempted", "nothing more is preempted"},
       {"reject", "new tasks are refused", "new tasks are taken again"},
       {"kill", "the least important tasks are killed", "nothing more is killed"}}};
  const std::string threshold = text_field(event, "threshold");
  const bool up = text_field(event, "direction") == "up";
  const auto* const words = std::ranges::find(known, threshold, &Words::threshold);
  return std::string("memory ") + (up ? "rose to " : "fell to ") + ratio(event) +
         (up ? ", over " : ", clear of ") + threshold +
         (words == known.end() ? "" : std::string(": ") + (up ? words->up : words->down));
}

std::string spawned(const json& event) {
  return worker_name(event) + " starts, pid " + count_in(event, "pid");
}

std::string ready(const json& event) { return worker_name(event) + " is ready"; }

std::string exited(const json& event) {
  const std::string message = text_field(event, "message");
  return worker_name(event) + " ended" + with(": ", message.empty() ? text_field(event, "reason") : message) +
         peak(event);
}

/// Events without a worker are of the supervisor itself.
std::string process_name(const json& event) {
  return text_field(event, "workerId").empty() ? "the supervisor" : worker_name(event);
}

std::string warned(const json& event) {
  if (!text_field(event, "mark").empty())
    return process_name(event) + " uses " + size_in(event, "usedBytes") + ", more than the " +
           text_field(event, "mark") + " mark of " + size_in(event, "warningBytes");
  return worker_name(event) + " uses " + size_in(event, "usedBytes") + " of its " +
         size_in(event, "limitBytes") + " cap, more than its warning of " + size_in(event, "warningBytes");
}

std::string leaks(const json& event) {
  return process_name(event) + " seems to leak: " + size_in(event, "growthBytesPerHour") + " an hour, " +
         size_in(event, "usedBytes") + " now";
}

std::string swept(const json& event) {
  const bool one = int_field(event, "count") == 1;
  return count_in(event, "count") + (one ? " process" : " processes") + " left over by " +
         worker_name(event) + with(" and task ", text_field(event, "taskId")) +
         (one ? " was ended" : " were ended");
}

std::string breaker(const json& event) {
  return "circuit breaker " + text_field(event, "name") + " went from " + text_field(event, "from") + " to " +
         text_field(event, "to");
}

std::string reloaded(const json& event) {
  const std::string live = names(field(event, "live"));
  const std::string later = names(field(event, "needsRestart"));
  return "the configuration was read again" +
         (live.empty() && later.empty()
              ? ": nothing has changed"
              : with("; now in effect: ", live) + with("; needs a restart: ", later));
}

std::string draining(const json& event) {
  return "draining: no new tasks are taken, " + count_in(event, "initial") + " are to end";
}

std::string drained(const json& event) {
  const auto seconds = number_field(event, "durationSeconds").value_or(0);
  return "drained (" + text_field(event, "status") + ") in " +
         brief(Duration(static_cast<std::int64_t>(seconds * 1000))) + ": " + count_in(event, "completed") +
         " ended, " + count_in(event, "remaining") + " remain";
}

std::string withheld(const json& event) {
  return "memory governance is off: would " + text_field(event, "action") +
         with(" task ", text_field(event, "taskId")) + " at " + ratio(event);
}

std::string budget_changed(const json& event) {
  const std::string group = text_field(event, "machineGroup");
  return "the budget is " + size_in(event, "budgetBytes") + " of " + size_in(event, "configuredBytes") +
         ": " + (group.empty() ? "the machine" : "the group " + group) + " has " +
         size_in(event, "machineAvailableBytes") + " available, and " +
         size_in(event, "machineReserveBytes") + " are left to others";
}

std::string lost(const json& event) {
  return "events after " + count_in(event, "after") + " were missed, and are no longer remembered";
}

struct Sentence {
  std::string_view type;
  Tone tone;
  std::string (*text)(const json& event);
};

constexpr std::array<Sentence, 26> sentences = {{{"taskSuspended", Tone::notice, suspended},
                                                 {"taskResumed", Tone::plain, resumed},
                                                 {"taskQueued", Tone::plain, queued},
                                                 {"taskStarted", Tone::plain, started},
                                                 {"taskProgress", Tone::detail, progress},
                                                 {"taskPreempted", Tone::notice, preempted},
                                                 {"taskCompleted", Tone::good, completed},
                                                 {"taskFailed", Tone::bad, failed},
                                                 {"taskCancelled", Tone::notice, cancelled},
                                                 {"taskEvicted", Tone::bad, evicted},
                                                 {"taskRejected", Tone::bad, rejected},
                                                 {"heartbeatSkipped", Tone::notice, skipped},
                                                 {"thresholdCrossed", Tone::notice, crossed},
                                                 {"budgetChanged", Tone::notice, budget_changed},
                                                 {"memoryWarning", Tone::notice, warned},
                                                 {"leakSuspected", Tone::bad, leaks},
                                                 {"workerSpawned", Tone::detail, spawned},
                                                 {"workerReady", Tone::detail, ready},
                                                 {"workerExited", Tone::detail, exited},
                                                 {"orphanSwept", Tone::notice, swept},
                                                 {"breakerChanged", Tone::notice, breaker},
                                                 {"configReloaded", Tone::plain, reloaded},
                                                 {"draining", Tone::plain, draining},
                                                 {"drained", Tone::plain, drained},
                                                 {"governanceWithheld", Tone::notice, withheld},
                                                 {"eventsLost", Tone::bad, lost}}};

/// `somethingNew  growth=12 workerId=w3`.
std::string fields_text(std::string_view type, const json& event) {
  std::string out(type);
  if (!event.is_object()) return out;
  std::string gap = "  ";
  for (const auto& [name, value] : event.items()) {
    if (name == "id" || name == "time" || name == "type" || name == "correlationId" || value.is_null())
      continue;
    out += std::exchange(gap, " ") + name + "=" +
           (value.is_string() ? value.get<std::string>() : to_text(value));
  }
  return out;
}

std::string_view colour(Tone tone) {
  switch (tone) {
    case Tone::plain:
      return "";
    case Tone::good:
      return "\x1b[32m";
    case Tone::notice:
      return "\x1b[33m";
    case Tone::bad:
      return "\x1b[31m";
    case Tone::detail:
      return "\x1b[2m";
  }
  return "";
}

}  // namespace

EventText describe_event(std::string_view type, const json& event) {
  const auto* const known = std::ranges::find(sentences, type, &Sentence::type);
  if (known == sentences.end()) return {printable(fields_text(type, event)), Tone::plain};
  return {printable(known->text(event)), known->tone};
}

std::string clock_text(WallTime time, WallTime now) {
  const auto local = [](WallTime at) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(at);
    std::tm parts{};
    localtime_r(&seconds, &parts);
    return parts;
  };
  const auto since_epoch = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
  const std::tm then = local(time);
  const std::tm today = local(now);
  const bool same_day = then.tm_year == today.tm_year && then.tm_yday == today.tm_yday;
  std::array<char, 48> whole{};
  std::strftime(whole.data(), whole.size(), same_day ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &then);
  const std::string fraction = std::to_string(1000 + since_epoch.count() % 1000);
  return whole.data() + ("." + fraction.substr(1));
}

std::string event_line(std::string_view type, const json& event, WallTime now, bool coloured) {
  const EventText text = describe_event(type, event);
  const auto time = parse_rfc3339(text_field(event, "time"));
  const std::string clock = time ? clock_text(*time, now) : "-";
  if (!coloured) return clock + "  " + text.sentence;
  const auto in = [](Tone tone, const std::string& words) {
    return tone == Tone::plain ? words : std::string(colour(tone)) + words + "\x1b[0m";
  };
  return in(Tone::detail, clock) + "  " + in(text.tone, text.sentence);
}

}  // namespace kurultai
