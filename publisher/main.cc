// kurultai-publisher: tells one webhook of events, in a process of its own, so that what a server far away
// answers, and the libraries that read it, are kept apart from the supervisor and its rights. The first line
// on stdin is the settings, each further one the body of a request; for each there is a line on stdout:
// {"status":200} or {"error":"why there was no answer"}. It ends with its stdin, or with its parent.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "protocol/json_text.h"
#include "publisher/webhook.h"

namespace kurultai {
namespace {

constexpr unsigned nobody = 65534;

int complain(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  return EXIT_FAILURE;
}

/// The next line of stdin without its end; nothing at the end of it.
std::optional<std::string> next_line() {
  struct Free {
    void operator()(char* text) const { std::free(text); }  // getline(3) has it from malloc
  };
  char* text = nullptr;
  std::size_t room = 0;
  const ssize_t got = ::getline(&text, &room, stdin);
  const std::unique_ptr<char, Free> owner(text);
  if (got <= 0) return std::nullopt;
  const bool is_ended = text[got - 1] == '\n';
  return std::string(text, static_cast<std::size_t>(is_ended ? got - 1 : got));
}

/// Without the white space around it.
Result<std::string> first_line_of(const std::string& path) {
  std::array<char, 16 * 1024> room{};
  std::ifstream file(path, std::ios::binary);
  file.read(room.data(), room.size());
  std::string line(room.data(), static_cast<std::size_t>(file.gcount()));
  line.resize(std::min(line.find('\n'), line.size()));
  constexpr const char* white = " \t\r";
  line.erase(0, std::min(line.find_first_not_of(white), line.size()));
  line.erase(line.find_last_not_of(white) + 1);
  if (line.empty()) return failure("cannot read a first line of " + path);
  return line;
}

Result<WebhookSettings> read_settings(const std::string& text) {
  const auto given = parse_json(text);
  if (!given || !given->is_object()) return failure("the first line is no settings");
  WebhookSettings settings;
  settings.timeout = std::chrono::milliseconds(given->value("timeoutMs", 10'000));
  settings.connect_timeout = std::chrono::milliseconds(given->value("connectTimeoutMs", 5000));
  settings.url = given->value("url", "");
  if (const std::string file = given->value("urlFile", ""); !file.empty()) {
    auto url = first_line_of(file);
    if (!url) return std::unexpected(url.error());
    if (!url->starts_with("https://") && !url->starts_with("http://"))
      return failure("the first line of " + file + " is no address: it begins with http:// or https://");
    settings.url = *std::move(url);
  }
  if (const std::string file = given->value("tokenFile", ""); !file.empty()) {
    auto token = first_line_of(file);
    if (!token) return std::unexpected(token.error());
    settings.token = *std::move(token);
  }
  return settings;
}

/// Where root is the only user there is (a namespace of one), nobody cannot be had.
Result<void> become_nobody() {
  const bool done = ::setgroups(0, nullptr) == 0 && ::setresgid(nobody, nobody, nobody) == 0 &&
                    ::setresuid(nobody, nobody, nobody) == 0;
  if (done || errno == EINVAL || errno == EPERM) return {};
  return system_failure("become nobody", errno);
}

Result<void> drop_capabilities() {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return system_failure("drop capabilities", errno);
  return {};
}

/// What the supervisor has and this process does not need: its user, its turn before everybody else, and
/// being the last to go when memory is short. Secrets that it has read stay out of core files.
Result<void> give_up_rights() {
  if (const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); file >= 0) {
    [[maybe_unused]] const ssize_t written = ::write(file, "0", 1);
    ::close(file);
  }
  ::setpriority(PRIO_PROCESS, 0, 0);
  if (::geteuid() == 0) {
    if (auto done = become_nobody(); !done) return done;
  }
  if (auto done = drop_capabilities(); !done) return done;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return system_failure("set no_new_privs", errno);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return system_failure("forbid core files", errno);
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
    return system_failure("set the parent's death signal", errno);
  return {};
}

int run() {
  ::signal(SIGPIPE, SIG_IGN);
  const auto first = next_line();
  if (!first) return EXIT_SUCCESS;
  const auto settings = read_settings(*first);
  if (!settings) return complain(settings.error().message);
  if (const auto given_up = give_up_rights(); !given_up) return complain(given_up.error().message);
  auto webhook = Webhook::open(*settings);
  if (!webhook) return complain(webhook.error().message);
  while (const auto body = next_line()) {
    const auto status = webhook->post(*body);
    nlohmann::json answer;
    if (status) {
      answer["status"] = *status;
    } else {
      answer["error"] = status.error().message;
    }
    std::printf("%s\n", to_text(answer).c_str());
    if (std::fflush(stdout) != 0) return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace kurultai

int main() { return kurultai::run(); }
