#include "supervisor/memory/surroundings.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "supervisor/memory/cgroup.h"

namespace kurultai {
namespace {

/// What one version calls them. At memory.high the kernel makes everybody wait instead of killing: no room
/// either.
struct Names {
  std::vector<std::string> limits;
  const char* usage;
  CacheKeys keys;
};

const Names& names_of(int version) {
  static const Names version1{{"/memory.limit_in_bytes"},
                              "/memory.usage_in_bytes",
                              {"total_inactive_file", "total_active_file", "total_dirty", "total_writeback"}};
  static const Names version2{{"/memory.max", "/memory.high"},
                              "/memory.current",
                              {"inactive_file", "active_file", "file_dirty", "file_writeback"}};
  return version == 1 ? version1 : version2;
}

}  // namespace

Surroundings::Surroundings(int version, std::string directory) : version_(version) {
  for (; ::access((directory + "/cgroup.procs").c_str(), F_OK) == 0; directory.erase(directory.rfind('/')))
    add(directory);
}

/// A real root has no such files.
void Surroundings::add(const std::string& directory) {
  const Names& names = names_of(version_);
  std::vector<KernelFile> limits;
  for (const std::string& name : names.limits) {
    if (auto limit = KernelFile::open(directory + name)) limits.push_back(std::move(*limit));
  }
  auto usage = KernelFile::open(directory + names.usage);
  auto stat = KernelFile::open(directory + "/memory.stat");
  if (limits.empty() || !usage || !stat) return;
  groups_.push_back({directory, std::move(limits), std::move(*usage), std::move(*stat)});
}

std::int64_t Surroundings::Group::limit() const {
  std::int64_t lowest = unlimited;
  for (const KernelFile& file : limits) lowest = std::min(lowest, file.read_number().value_or(unlimited));
  return lowest;
}

Result<std::int64_t> Surroundings::Group::held(int version) const {
  KernelFile::Buffer buffer;
  const auto charged = usage.read_number();
  if (!charged) return charged;
  const auto text = stat.read(buffer);
  if (!text) return std::unexpected(text.error());
  const CacheKeys& keys = names_of(version).keys;
  const auto number = [&](const char* key) { return flat_number(*text, key, stat.path()).value_or(0); };
  const std::int64_t unwritten = sum_of(number(keys.dirty), number(keys.writeback));
  const std::int64_t cache = sum_of(number(keys.inactive), number(keys.active));
  return std::max<std::int64_t>(*charged - std::max<std::int64_t>(cache - unwritten, 0), 0);
}

void Surroundings::tighten(MachineReading& machine) const {
  for (const Group& group : groups_) {
    const Bytes limit{group.limit()};
    if (limit.count >= unlimited / 2) continue;  // version 1 says PAGE_COUNTER_MAX for none
    const auto held = group.held(version_);
    if (!held) continue;
    const Bytes available{std::max<std::int64_t>(limit.count - *held, 0)};
    machine.total = std::min(machine.total, limit);
    if (available >= machine.available) continue;
    machine.available = available;
    machine.group = group.directory;
  }
}

}  // namespace kurultai
