#include "supervisor/supervisor.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>

#include "config/load.h"
#include "config/policy_rules_of.h"
#include "protocol/version.h"
#include "supervisor/backstop.h"
#include "supervisor/event_log.h"
#include "supervisor/health.h"
#include "supervisor/publishing/publishers.h"
#include "supervisor/recorder.h"
#include "supervisor/schedules.h"
#include "supervisor/store/sqlite_journal.h"

namespace kurultai {

namespace {

constexpr Duration drain_limit{30000};
constexpr Duration health_pace{5000};
constexpr Duration last_chance{1000};  // of running tasks, when the supervisor is to end at once
constexpr Duration last_events{2000};  // for those that publishers have not delivered yet

/// What the supervisor itself may use of the budget; the workers' parent group gets the rest.
Bytes reserve() {
  const std::int64_t mib = mebibytes(1).count;
  const std::int64_t own = own_rss().value_or(Bytes{}).count;
  return std::max(mebibytes(16), Bytes{(own + mib - 1) / mib * mib});
}

class Supervisor {
 public:
  Supervisor(uv::Loop& loop, SupervisorParts parts)
      : loop_(loop),
        options_(parts.options),
        state_(parts.state),
        controller_(parts.controller),
        guardian_(parts.guardian),
        read_config_(std::move(parts.read_config)),
        config_(std::move(parts.config)),
        machine_(parts.machine),
        budget_(configured_budget()),
        told_budget_(budget_),
        events_([this] { return loop_.wall_now(); }, first_event_id(loop_.wall_now())),
        publishers_(loop_, events_, std::move(parts.publisher), parts.pool.environment),
        dispatcher_(loop_, config_, controller_, events_, std::move(parts.pool), state_.spool, state_.logs),
        monitor_(
            loop_, controller_, monitor_settings(), [this] { return dispatcher_.activity(); },
            [this](const MemorySnapshot& snapshot) {
              log_snapshot(snapshot);
              note_budget(snapshot);
              dispatcher_.on_reading(snapshot);
            }),
        schedules_(loop_, dispatcher_),
        metrics_(dispatcher_, monitor_, schedules_, publishers_),
        gateway_(
            loop_, dispatcher_, monitor_, controller_, metrics_, schedules_, publishers_,
            std::move(parts.gateway), [this] { return reload(); },
            [this]() -> const Health& { return look_at_health(); }),
        backstop_(loop_, controller_, dispatcher_) {
    dispatcher_.attach(monitor_);
    dispatcher_.on_drained([this] { leave(); });
    if (!options_.is_private) dispatcher_.keep_footprints(state_.path + "/footprints.json");
    events_.add_sink([](const Event& event) { log_event(event); });
    events_.add_sink([this](const Event& event) { metrics_.on_event(event); });
    events_.add_sink([this](const Event& event) { gateway_.on_event(event); });
    events_.add_sink([this](const Event& event) { schedules_.on_event(event); });
    events_.add_sink([this](const Event& event) { publishers_.on_event(event); });
  }

  Result<void> run() {
    loop_.start_threads();
    std::vector<Task> known;
    if (!options_.is_private) {
      auto opened = SqliteJournal::open(loop_, state_.journal);
      if (!opened) return std::unexpected(opened.error());
      journal_ = std::move(opened->journal);
      journal_->on_lost([this] { return dispatcher_.tasks_to_keep(); });
      known = std::move(opened->tasks);
    }
    if (auto started = start_recording(); !started) return started;
    if (auto started = gateway_.start(); !started) return started;
    backstop_.set(share_of_workers());
    dispatcher_.remove_old_places();
    monitor_.start();
    keep_an_eye_on_health();
    publishers_.configure(*config_);
    go_on_with(std::move(known));
    schedules_.configure(*config_);
    {
      const uv::SignalWatch terminate(loop_, SIGTERM, [this] { shut_down(); });
      const uv::SignalWatch interrupt(loop_, SIGINT, [this] { shut_down(); });
      const uv::SignalWatch hangup(loop_, SIGHUP, [this] { reload_and_log(); });
      if (options_.is_private) watch_stdin();
      log_info("kurultaid " + std::string(project_version) + " on " + options_.socket +
               (gateway_.address().empty() ? "" : " and http://" + gateway_.address()) + ", budget " +
               to_string(budget_) + ", guarantee " + std::string(to_string(controller_.guarantee())) + ": " +
               controller_.explanation());
      loop_.run();
    }
    // One more signal on the way out must not turn a proper end into a death.
    for (const int late : {SIGTERM, SIGINT, SIGHUP}) ::signal(late, SIG_IGN);
    return {};
  }

  /// What came of the tasks at the end, on one line; empty for a client that asks for itself.
  std::string last_line() const {
    return options_.is_private ? "" : to_json(dispatcher_.drain_statistics()) + "\n";
  }

 private:
  Result<void> start_recording() {
    if (options_.record.empty()) return {};
    LifeHeader header;
    header.guarantee = to_string(controller_.guarantee());
    header.machine = machine_;
    header.rules = rules();
    auto recorder = Recorder::start(loop_, options_.record, options_.record_limit, std::move(header));
    if (!recorder) return std::unexpected(recorder.error());
    recorder_ = *std::move(recorder);
    dispatcher_.record(*recorder_);
    log_info("recording to " + options_.record + ", at most " + to_string(options_.record_limit));
    return {};
  }

  Bytes configured_budget() const { return config_->memory.budget.value_or(machine_); }

  Monitor::Settings monitor_settings() const {
    return {.budget = configured_budget(),
            .thresholds = config_->memory.thresholds,
            .slow_tick = config_->memory.check_interval,
            .machine_reserve = config_->memory.machine_reserve};
  }

  Bytes share_of_workers() const { return std::max(budget_ - reserve(), mebibytes(1)); }

  /// What others take of the machine is taken from what workers may hold, and given back to them. It is told
  /// when it has changed by an eighth, or begins or ends.
  void note_budget(const MemorySnapshot& snapshot) {
    if (snapshot.budget == budget_) return;
    budget_ = snapshot.budget;
    backstop_.set(share_of_workers());
    if (recorder_ != nullptr) recorder_->note(RulesSeen{loop_.now(), rules()});
    const bool flips = (budget_ < snapshot.configured) != (told_budget_ < snapshot.configured);
    const std::int64_t change = std::abs(budget_.count - told_budget_.count);
    if (!snapshot.machine || (!flips && change < told_budget_.count / 8)) return;
    told_budget_ = budget_;
    events_.emit("machine", BudgetChanged{budget_, snapshot.configured, *snapshot.machine,
                                          monitor_.machine_room().reserve()});
  }

  PolicyRules rules() const {
    PolicyRules rules = policy_rules_of(*config_, machine_);
    rules.budget = budget_;
    return rules;
  }

  /// With `budget: auto` it is what the machine gives, and a trouble only when that is less than half of it.
  std::string short_machine() const {
    if (const std::string& unread = monitor_.machine_trouble(); !unread.empty())
      return "the machine's memory cannot be read, so the budget stays as it is: " + unread;
    const MachineRoom& room = monitor_.machine_room();
    const auto& machine = monitor_.last().machine;
    if (!machine) return {};
    const Bytes half{(machine->total - room.reserve()).count / 2};
    if (room.budget() >= (config_->memory.budget ? room.configured() : half)) return {};
    const std::string where = machine->group.empty() ? "the machine" : "the group " + machine->group;
    return "others use " + where + ": " + to_string(machine->available) + " of its " +
           to_string(machine->total) + " are available, so the budget is " + to_string(room.budget()) +
           " instead of " + to_string(room.configured()) + " (memory.machine_reserve leaves them " +
           to_string(room.reserve()) + ")";
  }

  /// Only where nothing but readings holds memory back, or where nobody may give way.
  std::string over_budget() const {
    const MemorySnapshot& now = monitor_.last();
    if (now.used <= now.budget) return {};
    return to_string(now.used) + " of " + to_string(now.budget) + " are used";
  }

  /// Where a group was asked for by its name, rlimits are not what was asked for.
  std::string weaker_guarantee() const {
    const std::string& parent = config_->memory.cgroup_parent;
    if (parent == "self" || controller_.guarantee() != Guarantee::rlimit) return {};
    return "no memory group can be had in memory.cgroup_parent, " + parent +
           ": caps are held by rlimits and readings alone; see kurultai doctor";
  }

  ConfigResult<ConfigChange> reload() {
    auto fresh = read_config_();
    if (!fresh) return std::unexpected(fresh.error());
    ConfigChange change = compare(*config_, *fresh);
    // What needs a restart stays as it is, so that `config show` tells what is in effect.
    fresh->memory.cgroup_parent = config_->memory.cgroup_parent;
    fresh->gateway.listen = config_->gateway.listen;
    fresh->gateway.token_file = config_->gateway.token_file;
    fresh->gateway.auth = config_->gateway.auth;
    fresh->ipc = config_->ipc;
    config_ = std::make_shared<const Config>(std::move(*fresh));
    dispatcher_.configure(config_);
    monitor_.configure(monitor_settings());
    budget_ = monitor_.machine_room().budget();
    schedules_.configure(*config_);
    if (!is_leaving_) publishers_.configure(*config_);
    backstop_.set(share_of_workers());
    if (recorder_ != nullptr) recorder_->note(RulesSeen{loop_.now(), rules()});
    events_.emit("reload", ConfigReloaded{change.live, change.needs_restart});
    return change;
  }

  /// Also now and then without being asked, or `since` would be when somebody first asked.
  const Health& look_at_health() {
    const auto note = [&, now = loop_.wall_now()](std::string_view part, const std::string& what,
                                                  const std::string& why) {
      health_.note(part, why.empty() ? "" : what + why, now);
    };
    note("memory", "memory cannot be read: ", monitor_.trouble());
    note("guarantee", "", weaker_guarantee());
    note("governance", "",
         config_->flags.memory_governance
             ? ""
             : "FF_MEMORY_GOVERNANCE is off: nobody gives way before the machine runs out of memory");
    note("budget", "more than the budget: ", over_budget());
    note("machine", "", short_machine());
    note("workers", "", dispatcher_.trouble());
    note("backstop", "", backstop_.trouble());
    note("guardian", "",
         guardian_.is_there()
             ? ""
             : "the guardian has ended: nobody would end the workers of a supervisor that is killed");
    note("logs", "logs of tasks cannot be written down: ", dispatcher_.logs().trouble());
    note("publishers", "events are not delivered: ", publishers_.trouble());
    note("footprints", "what was learned of tasks is not kept: ", dispatcher_.footprint_trouble());
    note("schedules", "a task of a schedule was refused: ", schedules_.trouble());
    if (recorder_ != nullptr) note("recording", "the recording has gaps: ", recorder_->trouble());
    if (journal_ != nullptr) note("journal", "tasks cannot be written down: ", journal_->trouble());
    return health_;
  }

  void keep_an_eye_on_health() {
    look_at_health();
    health_timer_.start(health_pace);
  }

  /// With what an earlier supervisor of this state directory has left.
  void go_on_with(std::vector<Task> known) {
    std::set<std::string> results;
    std::set<std::string> payloads;
    std::set<std::string> ids;
    for (const Task& task : known) {
      ids.insert(task.id);
      results.insert(task.result.file);
      if (!is_final(task.state)) payloads.insert(task.payload_file.path);
    }
    sweep_spool(state_.spool, results);
    sweep_spool(state_.payloads, payloads);
    const auto logs = sweep_logs(state_.logs, ids);
    for (Task& task : known) {
      if (const auto log = logs.find(task.id); log != logs.end()) task.log_bytes = log->second;
    }
    if (journal_ == nullptr) return;
    const auto unfinished =
        std::ranges::count_if(known, [](const Task& task) { return !is_final(task.state); });
    if (!known.empty()) {
      log_info("journal " + state_.journal + ": " + std::to_string(known.size()) + " tasks, " +
               std::to_string(unfinished) + " of them to go on with");
    }
    dispatcher_.keep_tasks(*journal_, std::move(known));
  }

  void reload_and_log() {
    const auto change = reload();
    if (change) return;
    for (const ConfigError& error : change.error()) log_error(to_string(error));
    log_error("the configuration has mistakes; the old one stays in effect");
  }

  void shut_down() {
    const bool again = std::exchange(asked_to_leave_, true);  // a drain by a client is none of ours
    if (again) {
      log_info("second signal: ending at once");
      hurry_.start(last_chance);
      publishers_.hurry();
    }
    dispatcher_.drain(again ? Duration(0) : drain_limit, nullptr);
  }

  void watch_stdin() {
    auto stream = uv::Stream::open_pipe(loop_, ::dup(STDIN_FILENO));
    if (!stream) return log_error("stdin: " + stream.error().message);
    stdin_ = std::move(*stream);
    stdin_->read([](std::string_view) {}, [this](std::string_view) { shut_down_at_once(); });
  }

  // The client is gone: nobody wants the results.
  void shut_down_at_once() {
    for (const Task* task : dispatcher_.tasks().list("", dispatcher_.tasks().size(),
                                                     [](const Task& t) { return !is_final(t.state); })) {
      dispatcher_.cancel(task->id, "kurultai run has ended");
    }
    hurry_.start(last_chance);
    dispatcher_.drain(Duration(0), nullptr);
  }

  void leave() {
    is_leaving_ = true;
    monitor_.stop();
    schedules_.stop();
    health_timer_.stop();
    hurry_.stop();
    stdin_.reset();
    gateway_.stop();
    if (recorder_ != nullptr) recorder_->close();
    // What was answered just now still has to reach the clients.
    publishers_.end(last_events, [this] { last_words_.start(Duration(50)); });
  }

  uv::Loop& loop_;
  const Options& options_;
  const StateDirectory& state_;
  Controller& controller_;
  Guardian& guardian_;
  const std::function<ConfigResult<Config>()> read_config_;
  std::shared_ptr<const Config> config_;
  Health health_;
  Bytes machine_;      // what `budget: auto` is at most
  Bytes budget_;       // in effect
  Bytes told_budget_;  // by the last event
  Events events_;
  Publishers publishers_;
  std::unique_ptr<Recorder> recorder_;  // none: nobody asked for it
  Dispatcher dispatcher_;
  Monitor monitor_;
  Schedules schedules_;
  Metrics metrics_;
  Gateway gateway_;
  Backstop backstop_;
  std::unique_ptr<SqliteJournal> journal_;  // none where the tasks are to end with their client
  uv::Timer health_timer_{loop_, [this] { keep_an_eye_on_health(); }};
  uv::Timer last_words_{loop_, [this] { loop_.stop(); }};
  uv::Timer hurry_{loop_, [this] { dispatcher_.kill_workers(); }};
  std::unique_ptr<uv::Stream> stdin_;
  bool asked_to_leave_ = false;
  bool is_leaving_ = false;
};

}  // namespace

Result<std::string> run_supervisor(uv::Loop& loop, SupervisorParts parts) {
  Supervisor supervisor(loop, std::move(parts));
  if (auto ended = supervisor.run(); !ended) return std::unexpected(ended.error());
  return supervisor.last_line();
}

}  // namespace kurultai
