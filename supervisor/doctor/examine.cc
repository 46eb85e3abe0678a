#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "supervisor/doctor/facts.h"
#include "supervisor/guardian.h"
#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/controller.h"
#include "supervisor/workers/ask_launcher.h"

namespace kurultai {

namespace {

namespace fs = std::filesystem;

/// None that a supervisor has: those are kept, this one is made up anew each time.
std::string passing_instance() {
  std::uint32_t number = 0;
  [[maybe_unused]] const auto count = ::getrandom(&number, sizeof(number), 0);
  std::array<char, 9> text{};
  std::snprintf(text.data(), text.size(), "%08x", number);
  return text.data();
}

void examine_memory(const Config& config, MachineFacts& facts) {
  ControllerOptions groups;
  groups.instance = passing_instance();
  groups.cgroup_parent = config.memory.cgroup_parent;
  // It removes the groups once we are out of them, that is, gone.
  const auto guardian = start_guardian({groups, "", -1});
  if (guardian) groups.companions = {guardian->pid()};
  facts.memory = machine_memory(groups).value_or(Bytes{});
  if (guardian) {
    const auto controller = choose_controller(groups);
    facts.guarantee = controller->guarantee();
    MachineReading around{facts.memory, facts.memory};
    controller->tighten(around);
    facts.memory = around.total;
    facts.explanation = controller->explanation();
  } else {
    facts.explanation = guardian.error().message;
  }
  if (const auto swap = machine_swap("/proc")) facts.free_swap = *swap;
  facts.pressure = read_file("/proc/pressure/memory").has_value();
  facts.panic_on_oom = read_number("/proc/sys/vm/panic_on_oom").value_or(0);
}

/// The effective ones, as in `CapEff:	000001ffffffffff`.
std::uint64_t own_capabilities() {
  const auto status = read_file("/proc/self/status");
  static constexpr std::string_view key = "CapEff:\t";
  const std::size_t at = status ? status->find(key) : std::string::npos;
  std::uint64_t capabilities = 0;
  if (at != std::string::npos) {
    const char* const first = status->data() + at + key.size();
    std::from_chars(first, status->data() + status->size(), capabilities, 16);
  }
  return capabilities;
}

void examine_rights(MachineFacts& facts) {
  const std::uint64_t capabilities = own_capabilities();
  facts.is_root = ::geteuid() == 0;
  facts.may_keep_oom_order = (capabilities >> CAP_SYS_RESOURCE & 1) != 0;
  facts.may_come_first = (capabilities >> CAP_SYS_NICE & 1) != 0;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) facts.open_files = limit.rlim_cur;
}

/// The median of some: one may meet another program's writes.
std::optional<std::chrono::microseconds> time_of_sync(int fd) {
  using Clock = std::chrono::steady_clock;
  const std::string block(4096, 'k');
  std::array<std::chrono::microseconds, 9> times{};
  for (auto& time : times) {
    const auto begin = Clock::now();
    if (::pwrite(fd, block.data(), block.size(), 0) < 0 || ::fdatasync(fd) != 0) return std::nullopt;
    time = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
  }
  std::ranges::nth_element(times, times.begin() + times.size() / 2);
  return times[times.size() / 2];
}

void examine_state(const std::string& directory, MachineFacts& facts) {
  facts.state_directory = directory;
  fs::path there(directory);
  std::error_code error;
  while (!fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  if (!fs::is_directory(there, error)) {
    facts.state_trouble = there.string() + ": is no directory";
    return;
  }
  std::string file = there / "kurultai-doctor-XXXXXX";
  const Fd fd(::mkostemp(file.data(), O_CLOEXEC));
  if (!fd.is_open()) {
    facts.state_trouble = system_failure("write to " + there.string(), errno).error().message;
    return;
  }
  ::unlink(file.c_str());
  facts.sync = time_of_sync(fd.get());
  struct statfs kind{};
  if (::fstatfs(fd.get(), &kind) != 0) return;
  facts.state_in_memory = kind.f_type == TMPFS_MAGIC || kind.f_type == RAMFS_MAGIC;
  facts.state_room = {static_cast<std::int64_t>(kind.f_bavail) * static_cast<std::int64_t>(kind.f_frsize)};
}

void examine_token(const Config& config, MachineFacts& facts) {
  const std::string& named = config.gateway.token_file;
  struct stat status{};
  if (::stat((named.empty() ? facts.state_directory + "/token" : named).c_str(), &status) != 0) return;
  facts.token_is_open = (status.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

bool is_program(const std::string& file) {
  std::error_code error;
  return fs::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0;
}

bool is_found(const AgentConfig& agent) {
  const std::string& program = agent.command.front();
  if (program.find('/') != std::string::npos)
    return is_program(fs::path(agent.cwd.empty() ? "." : agent.cwd) / program);
  const auto own = agent.env.find("PATH");
  const char* inherited = std::getenv("PATH");
  std::string path = own != agent.env.end() ? own->second.text
                     : inherited != nullptr ? inherited
                                            : "/bin:/usr/bin";
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    if (is_program(fs::path(path.substr(begin, end - begin)) / program)) return true;
    begin = end + 1;
  }
  return false;
}

void examine_programs(const Config& config, MachineFacts& facts) {
  for (const auto& [name, agent] : config.agents) {
    // A place that the payload names is not known yet.
    const bool is_open = agent.command.empty() || agent.cwd.find('{') != std::string::npos;
    if (!is_open && !is_found(agent)) facts.missing.push_back({name, agent.command.front()});
  }
}

}  // namespace

MachineFacts examine(const Config& config, const std::string& state_directory) {
  MachineFacts facts;
  examine_rights(facts);
  examine_state(state_directory, facts);
  examine_token(config, facts);
  examine_programs(config, facts);
  std::error_code error;
  const std::string launcher = fs::read_symlink("/proc/self/exe", error).parent_path() / "kurultai-worker";
  facts.tmp_trouble = ask_for_tmp(launcher).why;
  facts.sandbox_trouble = ask_for_sandbox(launcher);
  examine_memory(config, facts);
  return facts;
}

}  // namespace kurultai
