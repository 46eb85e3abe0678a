#include "supervisor/options.h"

#include <getopt.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "config/load.h"
#include "protocol/version.h"

namespace kurultai {

namespace {

constexpr std::string_view help = R"(kurultaid: runs agents in memory-capped workers under one memory budget

  kurultaid [--config FILE] [--listen HOST:PORT|none] [--socket PATH] [--state-dir DIR] [--log-level LEVEL] [--check]
            [--record FILE [--record-limit SIZE]]
  kurultaid --doctor [--require cgroup2|cgroup1|rlimit] [--json] [--config FILE] [--state-dir DIR]

  --config FILE      memory.yaml; without it ./config/memory.yaml, $XDG_CONFIG_HOME/kurultai/memory.yaml or
                     /etc/kurultai/memory.yaml, whichever exists first
  --listen ADDRESS   HTTP over TCP, instead of gateway.listen (127.0.0.1:7717); none for the socket alone
  --socket PATH      the Unix socket ($XDG_RUNTIME_DIR/kurultai.sock, for root /run/kurultai/kurultai.sock)
  --state-dir DIR    token, lock and spool ($XDG_STATE_HOME/kurultai, for root /var/lib/kurultai)
  --log-level LEVEL  trace, debug, info, warn, error or off
  --record FILE      records readings, submissions and what was decided into a new file, for `kurultai replay FILE`
  --record-limit SIZE
                     of that file (256MiB; at least 64KiB); when it is full the recording ends, and nothing else does
  --check            checks the configuration, says every mistake, and leaves (status 2 if there is any)
  --doctor           says what this machine can guarantee and what to change (status 1 if something will not work
                     as configured); --json for programs
  --require LEVEL    a guarantee below cgroup2, cgroup1 or rlimit is one of the things that will not work
  --private          for `kurultai run`: ends with its standard input and removes its state directory

Example: kurultaid --config config/memory.yaml --log-level debug
         kurultaid --config config/memory.yaml --record /var/tmp/night.life
)";

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string default_socket() {
  const std::string runtime = from_environment("XDG_RUNTIME_DIR");
  if (!runtime.empty()) return runtime + "/kurultai.sock";
  return ::geteuid() == 0 ? "/run/kurultai/kurultai.sock"
                          : "/tmp/kurultai-" + std::to_string(::geteuid()) + "/kurultai.sock";
}

std::string default_state_dir() {
  const std::string state = from_environment("XDG_STATE_HOME");
  if (!state.empty()) return state + "/kurultai";
  if (::geteuid() == 0) return "/var/lib/kurultai";
  return from_environment("HOME") + "/.local/state/kurultai";
}

Result<Bytes> record_limit(const char* text) {
  const auto limit = parse_bytes(text);
  if (!limit) return failure("--record-limit " + std::string(text) + ": " + limit.error().message);
  if (*limit < kibibytes(64)) return failure("--record-limit " + std::string(text) + ": at least 64KiB");
  return limit;
}

}  // namespace

Result<std::variant<Options, PrintAndLeave>> parse_options(int argc, char** argv) {
  static const std::array<option, 16> known = {{{"config", required_argument, nullptr, 'c'},
                                                {"listen", required_argument, nullptr, 'l'},
                                                {"socket", required_argument, nullptr, 's'},
                                                {"state-dir", required_argument, nullptr, 'd'},
                                                {"log-level", required_argument, nullptr, 'v'},
                                                {"check", no_argument, nullptr, 'n'},
                                                {"doctor", no_argument, nullptr, 'D'},
                                                {"require", required_argument, nullptr, 'q'},
                                                {"json", no_argument, nullptr, 'j'},
                                                {"private", no_argument, nullptr, 'p'},
                                                {"record", required_argument, nullptr, 'r'},
                                                {"record-limit", required_argument, nullptr, 'R'},
                                                {"help", no_argument, nullptr, 'h'},
                                                {"version", no_argument, nullptr, 'V'},
                                                {nullptr, 0, nullptr, 0}}};
  Options options;
  bool requires_level = false;
  opterr = 0;
  for (int letter = 0; (letter = ::getopt_long(argc, argv, ":", known.data(), nullptr)) != -1;) {
    switch (letter) {
      case 'c':
        options.config = optarg;
        break;
      case 'l':
        options.listen = optarg;
        break;
      case 's':
        options.socket = optarg;
        break;
      case 'd':
        options.state_dir = optarg;
        break;
      case 'v':
        options.log_level = optarg;
        break;
      case 'n':
        options.check = true;
        break;
      case 'D':
        options.doctor = true;
        break;
      case 'q': {
        const auto required = parse_guarantee(optarg);
        if (!required)
          return failure("--require " + std::string(optarg) +
                         ": cgroup2, cgroup1 or rlimit; see kurultaid --help");
        options.required = *required;
        requires_level = true;
        break;
      }
      case 'j':
        options.json = true;
        break;
      case 'p':
        options.is_private = true;
        break;
      case 'r':
        options.record = optarg;
        break;
      case 'R': {
        const auto limit = record_limit(optarg);
        if (!limit) return std::unexpected(limit.error());
        options.record_limit = *limit;
        break;
      }
      case 'h':
        return PrintAndLeave{std::string(help)};
      case 'V':
        return PrintAndLeave{"kurultaid " + std::string(project_version) + "\n"};
      case ':':
        return failure(std::string(argv[optind - 1]) + " needs a value; see kurultaid --help");
      default:
        return failure(std::string(argv[optind - 1]) + ": there is no such option; see kurultaid --help");
    }
  }
  if (optind < argc)
    return failure(std::string(argv[optind]) + ": kurultaid takes options only; see kurultaid --help");
  if (options.json && !options.doctor) return failure("--json goes with --doctor; see kurultaid --help");
  if (requires_level && !options.doctor) return failure("--require goes with --doctor; see kurultaid --help");
  if (!options.record.empty() && options.doctor)
    return failure("--record does not go with --doctor; see kurultaid --help");
  if (options.config.empty()) options.config = find_config(process_environment()).value_or("");
  if (options.socket.empty()) options.socket = default_socket();
  if (options.state_dir.empty()) options.state_dir = default_state_dir();
  options.state_dir = std::filesystem::absolute(options.state_dir).lexically_normal();
  return options;
}

}  // namespace kurultai
