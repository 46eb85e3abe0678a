// Real supervisors that are killed, and what their guardians leave: nothing.
#include "supervisor/guardian.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <bit>

#include "supervisor/memory/cgroup.h"
#include "supervisor/memory/group_tree.h"
#include "supervisor/memory/sweep.h"
#include "tests/memory/support.h"

namespace kurultai::guardian_test {
using namespace kurultai::test;

namespace {

/// What a supervisor tells the test about itself.
struct Report {
  int guardian = 0;
  int worker = 0;
  int orphan = 0;
  bool grouped = false;
};

struct Channel {
  Channel() {
    if (::pipe2(ends, O_CLOEXEC) != 0) ::abort();
  }
  ~Channel() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  int ends[2];
};

/// A worker that joins, starts a daemon of its own and sleeps; both with the instance's mark.
void run_worker(const std::vector<std::string>& options, const std::string& instance, int report_fd) {
  for (std::size_t i = 0; i + 1 < options.size(); ++i)
    if (options[i] == "--join") std::ofstream(options[i + 1]) << ::getpid() << std::flush;
  ::setenv("KURULTAI_INSTANCE", instance.c_str(), 1);
  if (::fork() == 0) {
    ::setsid();
    if (::fork() == 0) {
      const int self = ::getpid();
      (void)!::write(report_fd, &self, sizeof self);
      ::execl("/bin/sleep", "sleep", "60", nullptr);
    }
    ::_exit(0);
  }
  ::execl("/bin/sleep", "sleep", "60", nullptr);
  ::_exit(127);
}

struct Supervisor {
  Supervisor(ControllerOptions wanted, const std::string& remove_dir, bool orderly = false, int lock_fd = -1)
      : options(std::move(wanted)), process([&] { run(options, remove_dir, orderly, lock_fd); }) {
    options.instance = instance_of(process.pid());
    std::array<char, sizeof(Report)> bytes;
    REQUIRE(::read(reports.ends[0], bytes.data(), bytes.size()) == sizeof report);
    report = std::bit_cast<Report>(bytes);
  }

  static std::string instance_of(int pid) { return "testguard-" + std::to_string(pid); }

  void run(ControllerOptions own, const std::string& remove_dir, bool orderly, int lock_fd) const {
    own.instance = instance_of(::getpid());
    if (own.cgroup_parent == "self") enter_service(own);
    auto guardian = start_guardian({own, remove_dir, lock_fd});
    if (!guardian) ::_exit(9);
    Report told;
    told.guardian = guardian->pid();
    own.companions = {guardian->pid()};
    const auto controller = choose_controller(own);
    told.grouped = controller->guarantee() != Guarantee::rlimit;
    if (orderly) {
      (void)!::write(reports.ends[1], &told, sizeof told);
      char go = 0;
      (void)!::read(orders.ends[0], &go, 1);
      guardian->done();
      ::_exit(3);  // the groups are still there
    }
    auto group = controller->make_group("w1", {mebibytes(64), 0}).value();
    const Channel orphan;
    told.worker = ::fork();
    if (told.worker == 0) run_worker(group->launch_options(), own.instance, orphan.ends[1]);
    (void)!::read(orphan.ends[0], &told.orphan, sizeof told.orphan);
    (void)!::write(reports.ends[1], &told, sizeof told);
    for (;;) ::pause();
  }

  /// Like a service manager: a group that holds nothing but the supervisor.
  static std::vector<std::string> service_of(ControllerOptions own) {
    own.cgroup_parent = "/";
    std::vector<std::string> groups;
    for (const InstancePaths& paths : all_instance_paths(own)) groups.push_back(paths.top + "-service");
    return groups;
  }
  static void enter_service(const ControllerOptions& own) {
    for (const std::string& group : service_of(own))
      if (make_directory(group)) std::ofstream(group + "/cgroup.procs") << ::getpid() << std::flush;
  }
  /// Success when no group below them was left.
  bool leave_service() const {
    for (const std::string& group : service_of(options)) (void)::rmdir(group.c_str());
    return std::ranges::none_of(service_of(options),
                                [](const auto& group) { return std::filesystem::exists(group); });
  }

  /// The guardian has become our child when its supervisor is gone.
  bool guardian_ends() const {
    return eventually([&] { return ::waitpid(report.guardian, nullptr, WNOHANG) == report.guardian; }, 5);
  }
  bool groups_exist() const {
    std::vector<std::string> tops;
    if (options.cgroup_parent == "self")
      for (const std::string& group : service_of(options))
        tops.push_back(group + "/kurultai-" + options.instance);
    else
      for (const InstancePaths& paths : all_instance_paths(options)) tops.push_back(paths.top);
    return std::ranges::any_of(tops, [](const std::string& top) { return std::filesystem::exists(top); });
  }

  Channel reports, orders;
  ControllerOptions options;
  Report report;
  Child process;
};

void reap() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

/// Orphans of the supervisors come to the test, which can wait for them.
ControllerOptions options_of_orphans() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  return real_options();
}

}  // namespace

TEST_CASE("after kill -9 of a supervisor its workers, orphans, groups and directory are gone") {
  auto options = options_of_orphans();
  const Tree state;
  state.write("private/spool/file", "x");
  bool wants_groups = false;
  SUBCASE("with groups") { wants_groups = true; }
  SUBCASE("with groups below its own") {
    wants_groups = true;
    if (real_cgroup_parent() == "/") options.cgroup_parent = "self";
  }
  SUBCASE("in the rlimit level") { options.cgroup_parent = "/kurultai-no-such-parent"; }
  Supervisor supervisor(options, state.at("private"));
  if (wants_groups && !supervisor.report.grouped) MESSAGE("SKIPPED groups: none can be written here");
  CHECK(is_alive(supervisor.report.orphan));
  CHECK(read_text("/proc/" + std::to_string(supervisor.report.guardian) + "/comm") == "kurultai-guard\n");
  for (const int ignored : {SIGINT, SIGTERM, SIGHUP}) ::kill(supervisor.report.guardian, ignored);
  CHECK(is_alive(supervisor.report.guardian));
  CHECK(supervisor.groups_exist() == supervisor.report.grouped);

  const auto killed = std::chrono::steady_clock::now();
  ::kill(supervisor.process.pid(), SIGKILL);
  supervisor.process.wait();
  CHECK(supervisor.guardian_ends());
  CHECK(std::chrono::steady_clock::now() - killed < std::chrono::seconds(3 * patience()));
  reap();
  CHECK_FALSE(is_alive(supervisor.report.worker));
  CHECK_FALSE(is_alive(supervisor.report.orphan));
  CHECK_FALSE(supervisor.groups_exist());
  CHECK(supervisor.leave_service());
  CHECK_FALSE(std::filesystem::exists(state.at("private")));
  CHECK(std::filesystem::exists(state.root()));
}

TEST_CASE("after done the guardian removes the groups and leaves the exit status alone") {
  const Tree state;
  state.write("private/file", "x");
  auto options = options_of_orphans();
  SUBCASE("at the root") {}
  SUBCASE("below its own group") {
    if (real_cgroup_parent() == "/") options.cgroup_parent = "self";
  }
  Supervisor supervisor(options, state.at("private"), true);
  (void)!::write(supervisor.orders.ends[1], "g", 1);
  const int status = supervisor.process.wait();
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 3);
  CHECK(supervisor.guardian_ends());
  CHECK_FALSE(supervisor.groups_exist());
  CHECK(supervisor.leave_service());
  CHECK_FALSE(std::filesystem::exists(state.at("private")));
}

TEST_CASE("the guardian holds nothing open but stderr and the lock") {
  const Tree state;
  state.write("lock", "");
  const int lock = ::open(state.at("lock").c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(::flock(lock, LOCK_EX | LOCK_NB) == 0);
  Supervisor supervisor(options_of_orphans(), "", true, lock);
  ::close(lock);
  std::vector<std::string> held;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(supervisor.report.guardian) + "/fd"))
    held.push_back(std::filesystem::read_symlink(entry).string());
  CHECK(std::ranges::count(held, state.at("lock")) == 1);
  CHECK(std::ranges::count(held, "/dev/null") >= 2);
  CHECK(held.size() <= 5);  // with stderr and the pipe
  ::kill(supervisor.process.pid(), SIGKILL);
  supervisor.process.wait();
  CHECK(supervisor.guardian_ends());
  const int again = ::open(state.at("lock").c_str(), O_RDWR | O_CLOEXEC);
  CHECK(::flock(again, LOCK_EX | LOCK_NB) == 0);
  ::close(again);
}

TEST_CASE("a guardian does not take what it must not remove") {
  for (const char* bad : {"/", "//", "/..", "relative/path", "."})
    CHECK(start_guardian({real_options(), bad, -1}).error().message ==
          "guardian: '" + std::string(bad) + "' is not to be removed");
}

}  // namespace kurultai::guardian_test
