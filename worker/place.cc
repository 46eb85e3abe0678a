#include "worker/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "worker/fd.h"
#include "worker/launch.h"
#include "worker/sandbox.h"

namespace kurultai {
namespace {

struct Follower {
  const char* name;
  const char* below;  // HOME
};
constexpr std::array<Follower, 4> followers{{{"XDG_CONFIG_HOME", "/.config"},
                                             {"XDG_CACHE_HOME", "/.cache"},
                                             {"XDG_DATA_HOME", "/.local/share"},
                                             {"XDG_STATE_HOME", "/.local/state"}}};

/// How many levels of a place are ours: the instance's, the supervisor's, the worker's.
constexpr int own_levels = 3;

/// Ours, and only to pass through: others find in it what was made for them by name.
Result<void> make_passage(const std::string& path) {
  if (::mkdir(path.c_str(), 0711) == 0 && ::chmod(path.c_str(), 0711) == 0) return {};
  if (errno != EEXIST) return system_failure("make " + path, errno);
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return system_failure("look at " + path, errno);
  // Below /var/tmp anybody may have been first.
  if (S_ISDIR(status.st_mode) && status.st_uid == ::geteuid()) return {};
  return failure(path + " is not ours");
}

Result<void> make_passages(const std::string& path, int levels) {
  const std::size_t slash = path.rfind('/');
  if (levels > 1 && slash != std::string::npos && slash > 0) {
    if (auto above = make_passages(path.substr(0, slash), levels - 1); !above) return above;
  }
  return make_passage(path);
}

Result<void> make_own(const std::string& path, const std::optional<Launch::Identity>& identity) {
  if (::mkdir(path.c_str(), 0700) != 0) return system_failure("make " + path, errno);
  if (identity && ::lchown(path.c_str(), identity->uid, identity->gid) != 0)
    return system_failure("give " + path + " to its user", errno);
  return {};
}

void set_home(const std::string& home, const std::vector<std::string>& xdg) {
  ::setenv("HOME", home.c_str(), 1);
  for (const Follower& follower : followers) {
    for (const std::string& name : xdg)
      if (name == follower.name) ::setenv(follower.name, (home + follower.below).c_str(), 1);
  }
}

std::string absolute(const std::string& path) {
  if (path.empty() || path.starts_with('/')) return path;
  std::array<char, PATH_MAX> here{};
  if (::getcwd(here.data(), here.size()) == nullptr) return path;
  return std::string(here.data()) + "/" + path;
}

std::string all_of(int fd, std::size_t most) {
  std::string text(most, '\0');
  std::size_t size = 0;
  while (size < most) {
    const ssize_t count = ::read(fd, text.data() + size, most - size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    size += static_cast<std::size_t>(count);
  }
  text.resize(size);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

std::vector<std::string> unset_xdg() {
  std::vector<std::string> names;
  for (const Follower& follower : followers)
    if (std::getenv(follower.name) == nullptr) names.emplace_back(follower.name);
  return names;
}

Result<void> furnish(Launch& launch, const std::string& name) {
  const PlacePlan& plan = launch.place;
  if (!plan.is_any()) return {};
  const std::string directory = name.empty() ? plan.directory : plan.directory + "/" + name;
  const bool has_tmp_directory = plan.tmp && !plan.mount && !plan.sandbox;
  if (plan.private_home || has_tmp_directory) {
    if (auto made = make_passages(directory, own_levels + (name.empty() ? 0 : 1)); !made) return made;
  }
  SandboxPlan sandbox{.network = plan.network, .hidden = plan.hidden, .masked = plan.masked};
  if (plan.private_home) {
    sandbox.home = directory + "/home";
    if (auto made = make_own(sandbox.home, launch.identity); !made) return made;
    set_home(sandbox.home, plan.xdg);
  }
  if (plan.tmp || plan.sandbox) ::setenv("TMPDIR", "/tmp", 1);
  if (has_tmp_directory) {
    if (auto made = make_own(directory + "/tmp", launch.identity); !made) return made;
    ::setenv("TMPDIR", (directory + "/tmp").c_str(), 1);
  }
  const uid_t uid = launch.identity ? launch.identity->uid : ::geteuid();
  const gid_t gid = launch.identity ? launch.identity->gid : ::getegid();
  const std::string cwd = absolute(launch.cwd);
  if (plan.sandbox) {
    sandbox.is_root = uid == 0;
    sandbox.cwd = cwd;
    sandbox.tmp = plan.tmp;
    sandbox.payloads = plan.payloads;
    launch.before = sandbox_words(sandbox);
  } else if (plan.tmp && plan.mount) {
    launch.tmp_mount = tmp_mount(*plan.mount, *plan.tmp, uid, gid, {cwd, sandbox.home, plan.payloads});
  }
  return {};
}

Result<void> try_sandbox(const Launch& launch) {
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  int ends[2];
  if (!nothing || ::pipe2(ends, O_CLOEXEC) != 0) return system_failure("sandbox", errno);
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  Fd kept(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 5));
  if (!kept || ::dup2(writing.get(), STDERR_FILENO) < 0) return system_failure("sandbox", errno);
  const auto pid = spawn(launch, nothing.get(), nothing.get(), {nullptr});
  ::dup2(kept.get(), STDERR_FILENO);
  writing.reset();
  if (!pid) return failure("sandbox: " + to_string(pid.error()), pid.error().code);
  const std::string words = all_of(reading.get(), 1024);
  int status = 0;
  while (::waitpid(*pid, &status, __WALL) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return failure("sandbox: " + (words.empty() ? "bwrap failed without a word" : words));
}

}  // namespace kurultai
