// How much memory there is: for us alone, and on the machine.
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/controller.h"
#include "supervisor/memory/hierarchies.h"
#include "supervisor/memory/proc.h"

namespace kurultai {
namespace {

/// One line of meminfo, such as `MemTotal:       24683912 kB`.
Result<Bytes> figure_in(std::string_view text, const std::string& name, const std::string& file) {
  const std::size_t at = text.find(name + ":");
  const std::size_t digits = at == std::string::npos ? at : text.find_first_of("0123456789", at);
  const std::size_t end = digits == std::string::npos ? digits : text.find_first_not_of("0123456789", digits);
  if (end == std::string::npos || text.substr(end, 3) != " kB") return failure(file + ": no " + name);
  auto kilobytes = parse_number(text.substr(digits, end - digits), file);
  if (!kilobytes) return std::unexpected(kilobytes.error());
  if (*kilobytes > unlimited / 1024) return failure(file + ": no " + name);
  return kibibytes(*kilobytes);
}

Result<Bytes> memory_figure(const std::string& proc_root, const std::string& name) {
  const std::string file = proc_root + "/meminfo";
  auto text = read_file(file);
  return text ? figure_in(*text, name, file) : std::unexpected(text.error());
}

/// The lowest limit from our own group up to where the hierarchy is mounted. Groups without the file (the
/// real root, or where the controller is off) have none; what cannot be read does not bind us visibly.
std::int64_t lowest_limit(const Hierarchy& hierarchy) {
  std::int64_t lowest = unlimited;
  const char* file = hierarchy.version == 2 ? "/memory.max" : "/memory.limit_in_bytes";
  std::string directory = hierarchy.directory + hierarchy.own.value_or("");
  if (hierarchy.version == 1)  // counts ancestors beyond the mount as well
    if (auto stat = read_file(directory + "/memory.stat"))
      lowest = flat_number(*stat, "hierarchical_memory_limit", directory).value_or(unlimited);
  for (; directory.size() >= hierarchy.directory.size(); directory.erase(directory.rfind('/'))) {
    lowest = std::min(lowest, read_number(directory + file).value_or(unlimited));
    if (directory.find('/') == std::string::npos) break;
  }
  return lowest;
}

}  // namespace

Result<Bytes> own_rss() {
  static const std::string file = "/proc/self/statm";
  auto text = read_file(file);
  if (!text) return std::unexpected(text.error());
  auto statm = parse_statm(*text, file);
  if (!statm) return std::unexpected(statm.error());
  return statm->resident;
}

Result<MachineReading> read_machine(const std::string& proc_root) {
  const std::string file = proc_root + "/meminfo";
  const auto text = read_file(file);
  if (!text) return std::unexpected(text.error());
  const auto total = figure_in(*text, "MemTotal", file);
  if (!total) return std::unexpected(total.error());
  const auto available = figure_in(*text, "MemAvailable", file);
  if (!available) return std::unexpected(available.error());
  return MachineReading{*total, *available};
}

Result<Fd> watch_stalls(const std::string& proc_root) {
  const std::string path = proc_root + "/pressure/memory";
  Fd file(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!file.is_open()) return system_failure("open " + path, errno);
  static constexpr char trigger[] =
      "some 200000 2000000";  // microseconds; with its end, as the kernel wants it
  if (::write(file.get(), trigger, sizeof(trigger)) < 0) return system_failure("write " + path, errno);
  return file;
}

Result<Bytes> machine_swap(const std::string& proc_root) { return memory_figure(proc_root, "SwapFree"); }

OwnHeap own_heap() {
  const auto heap = ::mallinfo2();
  return {{static_cast<std::int64_t>(heap.uordblks + heap.hblkhd)},
          {static_cast<std::int64_t>(heap.arena + heap.hblkhd)}};
}

Result<Bytes> machine_memory(const ControllerOptions& options) {
  auto total = memory_figure(options.proc_root, "MemTotal");
  if (!total) return total;
  const auto hierarchies = read_hierarchies(options);
  if (!hierarchies) return total;  // no cgroups, no limits
  for (const Hierarchy* hierarchy : {find_cgroup1(*hierarchies, "memory"), find_cgroup2(*hierarchies)})
    if (hierarchy) total->count = std::min(total->count, lowest_limit(*hierarchy));
  return total;
}

}  // namespace kurultai
