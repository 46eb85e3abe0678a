// Whatever the files of cgroupfs and procfs hold (a container may have others put in their place, as lxcfs
// does), a reading is an error or makes sense: no number is negative, and none overflows.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/memory/cgroup.h"
#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/controller.h"
#include "supervisor/memory/hierarchies.h"
#include "supervisor/memory/proc.h"
#include "tests/fuzz/check.h"

using namespace kurultai;
namespace fs = std::filesystem;

namespace {

/// An input is several files, in lines of `--` apart.
class Parts {
 public:
  explicit Parts(std::string_view text) {
    for (;;) {
      const std::size_t end = text.find("--\n");
      parts_.push_back(text.substr(0, end));
      if (end == std::string_view::npos) return;
      text.remove_prefix(end + 3);
    }
  }
  std::string_view operator[](std::size_t index) const {
    return index < parts_.size() ? parts_[index] : std::string_view();
  }

 private:
  std::vector<std::string_view> parts_;
};

void write(const fs::path& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  HOLDS(fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  ::close(fd);
}

/// Directories that look like /proc and like both versions of cgroupfs, made once and removed at the end.
class Machine {
 public:
  Machine() {
    std::string pattern = "/tmp/kurultai-fuzz-XXXXXX";
    if (::access("/dev/shm", W_OK) == 0) pattern = "/dev/shm/kurultai-fuzz-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    fs::create_directories(root_ / "proc/self");
    fs::create_directories(root_ / "proc/7");
    mount("cgroup2 cgroup2 rw", "0::/\n");
    v2_ = groups("cgroup2");
    mount("cgroup cgroup rw,memory", "4:memory:/\n");
    v1_ = groups("cgroup1");
  }
  ~Machine() {
    v1_.reset();  // first: they leave their groups
    v2_.reset();
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }

  Result<WorkersReading> read_v2(const Parts& parts) {
    const fs::path group = root_ / "cgroup2/kurultai-f/workers";
    constexpr std::array names = {"memory.current", "memory.stat", "memory.events", "memory.swap.current"};
    for (std::size_t i = 0; i < names.size(); ++i) write(group / names[i], parts[i]);
    return v2_->reading_job(false)();
  }

  Result<WorkersReading> read_v1(const Parts& parts) {
    const fs::path group = root_ / "cgroup1/kurultai-f/workers";
    constexpr std::array names = {"memory.usage_in_bytes", "memory.stat", "memory.oom_control"};
    for (std::size_t i = 0; i < names.size(); ++i) write(group / names[i], parts[i]);
    return v1_->reading_job(false)();
  }

  Result<Bytes> memory(std::string_view meminfo) {
    write(root_ / "proc/meminfo", meminfo);
    return machine_memory(options(""));
  }
  Result<Bytes> swap() { return machine_swap(root_ / "proc"); }

  Result<OwnMemory> own_memory(std::string_view status) {
    write(root_ / "proc/7/status", status);
    ProcessState process;
    process.id.pid = 7;
    return read_own_memory(root_ / "proc", process);
  }

 private:
  ControllerOptions options(const std::string& name) const {
    ControllerOptions options;
    options.instance = "f";
    options.proc_root = root_ / "proc";
    options.cgroup_root = root_ / name;
    options.cgroup_parent = "/";
    return options;
  }

  void mount(const std::string& what, const std::string& own) const {
    write(root_ / "proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - " + what + "\n");
    write(root_ / "proc/self/cgroup", own);
  }

  std::unique_ptr<Controller> groups(const std::string& name) {
    for (const char* group : {".", "kurultai-f", "kurultai-f/supervisor", "kurultai-f/workers"}) {
      const fs::path at = root_ / name / group;
      fs::create_directories(at);
      for (const char* file : {"cgroup.procs", "cgroup.subtree_control", "memory.max", "memory.current",
                               "memory.stat", "memory.events", "memory.swap.current", "memory.usage_in_bytes",
                               "memory.max_usage_in_bytes", "memory.oom_control", "memory.limit_in_bytes"})
        write(at / file, "");
      write(at / "cgroup.controllers", "memory\n");
    }
    auto made = name == "cgroup2" ? make_cgroup2(options(name), "") : make_cgroup1(options(name), "");
    HOLDS(made.has_value());
    return *std::move(made);
  }

  fs::path root_;
  std::unique_ptr<Controller> v1_, v2_;
};

bool is_sound(const Result<Bytes>& read) { return !read || read->count >= 0; }

void numbers(std::string_view text) {
  if (const auto number = parse_number(text, "f")) {
    HOLDS(*number >= 0);
    HOLDS(parse_number(std::to_string(*number) + "\n", "f") == *number);
  }
  // The first line that begins so is the one that counts, wherever a key is part of another.
  for (const char* key : {"inactive_file", "oom_kill", "file"}) {
    const auto number = flat_number(text, key, "f");
    HOLDS(number ? *number >= 0 : !number.error().message.empty());
    const std::string first = std::string(key) + " 42\n";
    HOLDS(flat_number(first + std::string(text), key, "f") == 42);
    if (number && (text.empty() || text.ends_with('\n')))
      HOLDS(flat_number(std::string(text) + first, key, "f") == *number);
  }
}

void processes(std::string_view text) {
  if (const auto process = parse_stat(text, "f")) {
    HOLDS(process->cpu.count() >= 0);
    static_cast<void>(process->is_dead());
  }
  if (const auto statm = parse_statm(text, "f"))
    HOLDS(statm->size.count >= 0 && statm->resident.count >= 0 && statm->shared.count >= 0);
  if (const auto rollup = parse_smaps_rollup(text, "f"))
    HOLDS(rollup->held.count >= 0 && rollup->swap.count >= 0);
}

void hierarchies(std::string_view mountinfo, std::string_view own) {
  for (const Hierarchy& hierarchy : parse_hierarchies(mountinfo, own)) {
    HOLDS(hierarchy.version == 1 || hierarchy.version == 2);
    HOLDS(hierarchy.version == 2 ? hierarchy.controllers.empty() : !hierarchy.controllers.empty());
    HOLDS(!hierarchy.own || (*hierarchy.own != "/" && !hierarchy.own->starts_with("/../")));
    ControllerOptions options;
    options.instance = "f";
    for (const char* parent : {"self", "/", "/a/b/", "a", "../b"}) {
      options.cgroup_parent = parent;
      const auto paths = instance_paths(hierarchy, options);
      HOLDS(!paths || paths->workers.starts_with(hierarchy.directory));
    }
  }
}

void makes_sense(const Result<WorkersReading>& reading) {
  if (!reading) return;
  const GroupReading& total = reading->total;
  for (const Bytes one : {total.raw, total.used, total.swap, total.active_cache}) HOLDS(one.count >= 0);
  HOLDS(total.used.count <= total.raw.count || total.swap.count > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Machine machine;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Parts parts(text);
  numbers(text);
  processes(text);
  hierarchies(parts[0], parts[1]);
  makes_sense(machine.read_v2(parts));
  makes_sense(machine.read_v1(parts));
  HOLDS(is_sound(machine.memory(text)));
  HOLDS(is_sound(machine.swap()));
  if (const auto own = machine.own_memory(text))
    HOLDS(own->swap.count >= 0 && (!own->held || own->held->count >= 0));
  return 0;
}
