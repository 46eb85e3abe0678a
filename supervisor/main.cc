// kurultaid: from the command line to a supervisor that can run, and out again.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "config/listen_address.h"
#include "protocol/version.h"
#include "supervisor/doctor/diagnosis.h"
#include "supervisor/event_log.h"
#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/cpu_time.h"
#include "supervisor/supervisor.h"
#include "supervisor/workers/ask_launcher.h"
#include "supervisor/workers/places.h"

extern char** environ;

namespace kurultai {

namespace {

constexpr int status_usage = 2;
constexpr int status_failed = 1;
constexpr Duration hung_disk{2000};  // at the end, what is being written has so long

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
    config->publishers.clear();
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

PoolSettings pool_settings(const Options& options, const Config& config, const StateDirectory& state,
                           PlaceSettings places) {
  PoolSettings settings;
  settings.launcher = own_directory() + "/kurultai-worker";
  settings.instance = state.instance;
  settings.environment = own_environment();
  settings.max_line = static_cast<std::size_t>(config.ipc.max_line.count);
  settings.nice = come_first();
  settings.payloads = state.payloads;
  settings.state = absolute(state.path);
  settings.socket = absolute(options.socket);
  settings.places = std::move(places);
  settings.own_users = own_users(state);
  return settings;
}

GatewaySettings gateway_settings(const Options& options, const Config& config, const StateDirectory& state,
                                 const Token& token) {
  GatewaySettings settings;
  settings.socket = options.socket;
  settings.listen = config.gateway.listen == "none" ? "" : config.gateway.listen;
  settings.token = token.text;
  settings.token_file = token.file;
  settings.version = project_version;
  settings.payloads = state.payloads;
  return settings;
}

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
  const auto shared = std::make_shared<const Config>(std::move(config));
  const auto ended = run_supervisor(loop, {.options = options,
                                           .state = *state,
                                           .controller = *controller,
                                           .guardian = *guardian,
                                           .config = shared,
                                           .read_config = [&options] { return read_config(options); },
                                           .machine = around.total,
                                           .pool = pool_settings(options, *shared, *state, std::move(places)),
                                           .gateway = gateway_settings(options, *shared, *state, *token),
                                           .publisher = own_directory() + "/kurultai-publisher"});
  const bool is_over = loop.close(hung_disk);
  if (!guardian->is_there()) clear_without_guardian(care);
  if (!is_over) log_warning("a file operation hangs; it is left to itself");
  stop_log();
  if (ended) std::fputs(ended->c_str(), stdout);
  const int status = ended ? 0 : complain(ended.error().message, status_failed);
  if (is_over) return status;
  std::fflush(stdout);
  ::_exit(status);
}

int see_doctor(const Options& options, const Config& config) {
  ::umask(077);
  const MachineFacts facts = examine(config, options.state_dir);
  const std::vector<Check> checks = diagnose(facts, config, options.required);
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
