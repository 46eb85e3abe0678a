// kurultaid: reads its configuration, puts the parts together, runs the loop.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "config/listen_address.h"
#include "config/policy_rules_of.h"
#include "protocol/version.h"
#include "supervisor/backstop.h"
#include "supervisor/doctor/diagnosis.h"
#include "supervisor/event_log.h"
#include "supervisor/gateway/gateway.h"
#include "supervisor/guardian.h"
#include "supervisor/health.h"
#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/cpu_time.h"
#include "supervisor/options.h"
#include "supervisor/recorder.h"
#include "supervisor/schedules.h"
#include "supervisor/state_directory.h"
#include "supervisor/store/sqlite_journal.h"
#include "supervisor/workers/ask_launcher.h"
#include "supervisor/workers/places.h"

extern char** environ;

namespace kurultai {

namespace {

constexpr int status_usage = 2;
constexpr int status_failed = 1;
constexpr Duration drain_limit{30000};
constexpr Duration health_pace{5000};
constexpr Duration hung_disk{2000};    // at the end, what is being written has so long
constexpr Duration last_chance{1000};  // of running tasks, when the supervisor is to end at once

int complain(const std::string& what, int status) {
  std::fprintf(stderr, "kurultaid: %s\n", what.c_str());
  return status;
}

ConfigResult<Config> read_config(const Options& options) {
  auto config = options.config.empty() ? parse_config("", "defaults", process_environment())
                                       : load_config(options.config, process_environment());
  if (config && !options.listen.empty()) config->gateway.listen = options.listen;
  if (config && options.is_private) {
    // Commands of one person, run once: what keeps a service from harm would only be in the way.
    config->flags.circuit_breakers = false;
    config->exec.env_pass = {"*"};
  }
  return config;
}

std::string absolute(const std::string& path) {
  std::error_code error;
  return path.empty() ? path : std::filesystem::absolute(path, error).lexically_normal().string();
}

std::string own_directory() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

std::vector<std::string> own_environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

/// 64 of those that systemd keeps for users of one service (DynamicUser=), by the instance.
OwnUsers own_users(const StateDirectory& state) {
  static constexpr unsigned first = 61184, count = 64, sets = 67;
  return {first + static_cast<unsigned>(std::stoul(state.instance, nullptr, 16) % sets) * count, count};
}

/// Of homes and tmps: where the agents of other users can get to, too.
PlaceSettings places_of(const StateDirectory& state) {
  PlaceSettings places;
  places.own = absolute(state.path) + "/places";
  if (::geteuid() == 0) places.shared = shared_places(state.instance);
  places.start = std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
  return places;
}

/// What the supervisor itself may use of the budget; the workers' parent group gets the rest.
Bytes reserve() {
  const std::int64_t mib = mebibytes(1).count;
  const std::int64_t own = own_rss().value_or(Bytes{}).count;
  return std::max(mebibytes(16), Bytes{(own + mib - 1) / mib * mib});
}

/// What TCP asks for; empty: nothing.
struct Token {
  std::string text;
  std::string file;
};

/// Where the scheduler shares by session (CONFIG_SCHED_AUTOGROUP), niceness counts inside of one only, and
/// the session itself has another (sched(7)). Whoever started us in a session with others meant us to be one
/// of them: it is left as it is.
void raise_own_session(int nice) {
  if (::getsid(0) != ::getpid()) return;
  const int file = ::open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;  // the kernel has none
  const std::string text = std::to_string(nice);
  [[maybe_unused]] const ssize_t written = ::write(file, text.data(), text.size());
  ::close(file);
}

/// Ahead of the agents: a worker that waits at its edge, or whose kill is due, must not wait for those that
/// keep the processors busy. Measured with both busy, edge to answer at the 99th percentile: 80 ms without
/// niceness, 25 with it in a session shared with what kept them busy, 0.2 in one of its own. Returns the
/// niceness to give to workers; nothing when we may not (it needs CAP_SYS_NICE).
std::optional<int> come_first() {
  static constexpr int step = 10;
  const int usual = ::getpriority(PRIO_PROCESS, 0);
  const int ahead = std::max(usual - step, -20);
  if (::setpriority(PRIO_PROCESS, 0, ahead) != 0) return std::nullopt;
  raise_own_session(ahead);
  return usual;
}

/// When the machine itself runs out of memory, whoever keeps order is to be the last. Needs
/// CAP_SYS_RESOURCE; without it we stay as we are, and agents are above us.
void be_the_last_to_go() { ignore_failure(write_file("/proc/self/oom_score_adj", "-900")); }

class Supervisor {
 public:
  Supervisor(uv::Loop& loop, const Options& options, std::shared_ptr<const Config> config,
             const StateDirectory& state, const Token& token, Controller& controller, Guardian& guardian,
             Bytes machine, PlaceSettings places)
      : options_(options),
        state_(state),
        places_(std::move(places)),
        loop_(loop),
        config_(std::move(config)),
        controller_(controller),
        guardian_(guardian),
        machine_(machine),
        budget_(configured_budget()),
        told_budget_(budget_),
        events_([this] { return loop_.wall_now(); }, first_event_id(loop_.wall_now())),
        dispatcher_(loop_, config_, controller, events_, pool_settings(state), state.spool, state.logs),
        monitor_(
            loop_, controller, monitor_settings(), [this] { return dispatcher_.activity(); },
            [this](const MemorySnapshot& snapshot) {
              log_snapshot(snapshot);
              note_budget(snapshot);
              dispatcher_.on_reading(snapshot);
            }),
        schedules_(loop_, dispatcher_),
        metrics_(dispatcher_, monitor_, schedules_),
        gateway_(
            loop_, dispatcher_, monitor_, controller, metrics_, schedules_, gateway_settings(token),
            [this] { return reload(); }, [this]() -> const Health& { return look_at_health(); }),
        backstop_(loop_, controller, dispatcher_) {
    dispatcher_.attach(monitor_);
    dispatcher_.on_drained([this] { leave(); });
    if (!options.is_private) dispatcher_.keep_footprints(state.path + "/footprints.json");
    events_.add_sink([](const Event& event) { log_event(event); });
    events_.add_sink([this](const Event& event) { metrics_.on_event(event); });
    events_.add_sink([this](const Event& event) { gateway_.on_event(event); });
    events_.add_sink([this](const Event& event) { schedules_.on_event(event); });
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

  PoolSettings pool_settings(const StateDirectory& state) const {
    PoolSettings settings;
    settings.launcher = own_directory() + "/kurultai-worker";
    settings.instance = state.instance;
    settings.environment = own_environment();
    settings.nice = usual_nice_;
    settings.payloads = state.payloads;
    settings.state = absolute(state.path);
    settings.socket = absolute(options_.socket);
    settings.places = places_;
    settings.max_line = static_cast<std::size_t>(config_->ipc.max_line.count);
    // Of systemd's range for dynamic users (61184…65519), a block of 64 by the instance's name.
    settings.own_users = own_users(state);
    return settings;
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

  GatewaySettings gateway_settings(const Token& token) const {
    GatewaySettings settings;
    settings.socket = options_.socket;
    settings.listen = config_->gateway.listen == "none" ? "" : config_->gateway.listen;
    settings.token = token.text;
    settings.token_file = token.file;
    settings.version = project_version;
    settings.payloads = state_.payloads;
    return settings;
  }

  ConfigResult<ConfigChange> reload() {
    auto fresh = read_config(options_);
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
    note("machine", "", short_machine());
    note("workers", "", dispatcher_.trouble());
    note("backstop", "", backstop_.trouble());
    note("guardian", "",
         guardian_.is_there()
             ? ""
             : "the guardian has ended: nobody would end the workers of a supervisor that is killed");
    note("logs", "logs of tasks cannot be written down: ", dispatcher_.logs().trouble());
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
    monitor_.stop();
    schedules_.stop();
    health_timer_.stop();
    hurry_.stop();
    stdin_.reset();
    gateway_.stop();
    if (recorder_ != nullptr) recorder_->close();
    // What was answered just now still has to reach the clients.
    last_words_.start(Duration(50));
  }

  const Options& options_;
  const StateDirectory& state_;
  const PlaceSettings places_;
  const std::optional<int> usual_nice_ = come_first();
  uv::Loop& loop_;
  std::shared_ptr<const Config> config_;
  Controller& controller_;
  Guardian& guardian_;
  Health health_;
  Bytes machine_;      // what `budget: auto` is at most
  Bytes budget_;       // in effect
  Bytes told_budget_;  // by the last event
  Events events_;
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
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

Result<Token> token_for(const Config& config, const StateDirectory& state) {
  if (config.gateway.listen == "none") return Token{};
  if (!config.gateway.auth) {
    const auto address = parse_listen(config.gateway.listen);  // --listen was not there when it was checked
    if (address && *address && is_loopback((*address)->host)) return Token{};
    return failure("gateway.auth: none is for loopback addresses only, and it would listen on " +
                   config.gateway.listen);
  }
  const std::string& named = config.gateway.token_file;
  const std::string file =
      named.empty() ? state.path + "/token" : std::filesystem::absolute(named).lexically_normal().string();
  auto text = read_or_make_token(file);
  if (!text) return std::unexpected(text.error());
  return Token{std::move(*text), file};
}

Result<void> make_socket_directory(const std::string& socket) {
  const auto directory = std::filesystem::path(socket).parent_path();
  struct stat status{};
  if (directory.empty()) return {};
  if (::lstat(directory.c_str(), &status) == 0) {
    // Below /tmp anybody may have made it first, to put a socket of their own in the place of ours.
    const bool trusted = status.st_uid == 0 || status.st_uid == ::geteuid() || ::geteuid() == 0;
    if (trusted) return {};
    return failure("socket directory " + directory.string() + ": belongs to another user");
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return failure("make directory " + directory.string() + ": " + error.message());
  return {};
}

TmpRight find_tmp(const Config& config) {
  const TmpAnswer answer = ask_for_tmp(own_directory() + "/kurultai-worker");
  begin_counting_workers();
  const bool is_wanted =
      std::ranges::any_of(config.agents, [](const auto& entry) { return entry.second.tmp.is_private; });
  if (is_wanted && answer.right == TmpRight::directory)
    log_warning("tmp: private is looked at once a second, and can be full for so long: " + answer.why);
  return answer.right;
}

int supervise(const Options& options, Config config) {
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(077);
  auto state = open_state_directory(options.state_dir);
  if (!state) return complain(state.error().message, status_failed);
  auto token = token_for(config, *state);
  if (!token) return complain(token.error().message, status_failed);
  if (auto made = make_socket_directory(options.socket); !made)
    return complain(made.error().message, status_failed);

  ControllerOptions groups;
  groups.instance = state->instance;
  groups.cgroup_parent = config.memory.cgroup_parent;
  PlaceSettings places = places_of(*state);
  // Forked while this process is small, has one thread and sits in the group it was started in.
  const GuardianTask care{groups,
                          options.is_private ? options.state_dir : "",
                          state->lock_fd,
                          {places.own, places.shared},
                          own_users(*state)};
  auto guardian = start_guardian(care);
  if (!guardian) return complain(guardian.error().message, status_failed);
  const Bytes machine = machine_memory(groups).value_or(gibibytes(1));
  groups.companions = {guardian->pid()};
  be_the_last_to_go();
  const auto controller = choose_controller(groups);
  MachineReading around{machine, machine};
  controller->tighten(around);  // the workers need not be below the group we were started in

  if (auto log = start_log(options.log_level); !log) return complain(log.error().message, status_usage);
  // `kurultai run` has no agents of its own, and is to start at once.
  if (!options.is_private) {
    places.tmp = find_tmp(config);
    if (::geteuid() == 0) remove_left_in_memory(own_users(*state), std::chrono::seconds(1));
  }
  uv::Loop loop;
  if (const auto& made = loop.is_open(); !made) return complain(made.error().message, status_failed);
  Result<void> ended;
  std::string last_line;
  {
    Supervisor supervisor(loop, options, std::make_shared<const Config>(std::move(config)), *state, *token,
                          *controller, *guardian, around.total, std::move(places));
    ended = supervisor.run();
    if (ended) last_line = supervisor.last_line();
  }
  const bool is_over = loop.close(hung_disk);
  if (!guardian->is_there()) clear_without_guardian(care);
  if (!is_over) log_warning("a file operation hangs; it is left to itself");
  stop_log();
  std::fputs(last_line.c_str(), stdout);
  const int status = ended ? 0 : complain(ended.error().message, status_failed);
  if (is_over) return status;
  std::fflush(stdout);
  ::_exit(status);
}

int see_doctor(const Options& options, const Config& config) {
  ::umask(077);
  const MachineFacts facts = examine(config, options.state_dir);
  const std::vector<Check> checks = diagnose(facts, config);
  std::fputs(options.json ? (to_json(checks, facts.guarantee) + "\n").c_str() : to_report(checks).c_str(),
             stdout);
  if (std::fflush(stdout) != 0)
    return complain(std::string("write to stdout: ") + std::strerror(errno), status_failed);
  return worst(checks) == CheckStatus::problem ? status_failed : 0;
}

/// A stream that our caller has closed would be the first file we open, and the log be written into it.
void fill_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", O_RDWR);
  }
}

int run(int argc, char** argv) {
  fill_standard_streams();
  const auto parsed = parse_options(argc, argv);
  if (!parsed) return complain(parsed.error().message, status_usage);
  if (const auto* print = std::get_if<PrintAndLeave>(&*parsed)) {
    std::fputs(print->text.c_str(), stdout);
    return 0;
  }
  const Options& options = std::get<Options>(*parsed);
  auto config = read_config(options);
  if (!config) {
    for (const ConfigError& error : config.error()) std::fprintf(stderr, "%s\n", to_string(error).c_str());
    return status_usage;
  }
  if (options.check) {
    std::printf("%s is good\n",
                options.config.empty() ? "the built-in configuration" : options.config.c_str());
    return 0;
  }
  if (options.doctor) return see_doctor(options, *config);
  return supervise(options, std::move(*config));
}

}  // namespace

}  // namespace kurultai

int main(int argc, char** argv) { return kurultai::run(argc, argv); }
