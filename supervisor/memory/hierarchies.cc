#include "supervisor/memory/hierarchies.h"

#include <algorithm>

#include "supervisor/memory/cgroup_file.h"

namespace kurultai {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// mountinfo writes space, tab, newline and backslash as \040 and the like.
std::string unescape(std::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct OwnGroup {
  std::vector<std::string_view> controllers;  // empty: version 2
  std::string_view path;
};

std::vector<OwnGroup> parse_own_groups(std::string_view text) {
  std::vector<OwnGroup> groups;
  for (std::string_view line : split(text, '\n')) {
    const std::size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    const std::size_t second = line.find(':', first + 1);  // the path itself may hold colons
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    OwnGroup group{{}, line.substr(second + 1)};
    if (!controllers.empty()) group.controllers = split(controllers, ',');
    groups.push_back(std::move(group));
  }
  return groups;
}

/// A container may mount only a part of the hierarchy: then `root` is where that part begins.
std::optional<std::string> below(std::string_view path, std::string_view root) {
  if (path == "/.." || path.starts_with("/../")) return std::nullopt;  // outside of our cgroup namespace
  if (root != "/") {
    if (!path.starts_with(root)) return std::nullopt;
    path.remove_prefix(root.size());
    if (!path.empty() && path.front() != '/') return std::nullopt;
  }
  return path == "/" ? std::string() : std::string(path);
}

bool belongs_to(const OwnGroup& group, const Hierarchy& hierarchy) {
  if (hierarchy.version == 2) return group.controllers.empty();
  return std::ranges::any_of(group.controllers, [&](std::string_view name) {
    return std::ranges::find(hierarchy.controllers, name) != hierarchy.controllers.end();
  });
}

std::optional<Hierarchy> parse_mount(std::string_view line, const std::vector<OwnGroup>& own_groups) {
  // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG…] - TYPE SOURCE SUPEROPTIONS
  const std::size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return std::nullopt;
  const auto before = split(line.substr(0, dash), ' ');
  const auto after = split(line.substr(dash + 3), ' ');
  if (before.size() < 6 || after.size() < 3) return std::nullopt;
  if (after[0] != "cgroup" && after[0] != "cgroup2") return std::nullopt;

  Hierarchy hierarchy;
  hierarchy.version = after[0] == "cgroup2" ? 2 : 1;
  hierarchy.directory = unescape(before[4]);
  if (hierarchy.version == 1)
    for (std::string_view option : split(after[2], ',')) hierarchy.controllers.emplace_back(option);
  for (const OwnGroup& group : own_groups)
    if (belongs_to(group, hierarchy)) hierarchy.own = below(group.path, unescape(before[3]));
  return hierarchy;
}

bool climbs(std::string_view path) {
  return std::ranges::any_of(split(path, '/'), [](std::string_view part) { return part == ".."; });
}

}  // namespace

std::vector<Hierarchy> parse_hierarchies(std::string_view mountinfo, std::string_view own_cgroups) {
  const auto own_groups = parse_own_groups(own_cgroups);
  std::vector<Hierarchy> hierarchies;
  for (std::string_view line : split(mountinfo, '\n'))
    if (auto hierarchy = parse_mount(line, own_groups)) hierarchies.push_back(std::move(*hierarchy));
  return hierarchies;
}

Result<std::vector<Hierarchy>> read_hierarchies(const ControllerOptions& options) {
  auto mountinfo = read_file(options.proc_root + "/self/mountinfo");
  if (!mountinfo) return std::unexpected(mountinfo.error());
  auto own = read_file(options.proc_root + "/self/cgroup");
  if (!own) return std::unexpected(own.error());
  auto hierarchies = parse_hierarchies(*mountinfo, *own);
  static constexpr std::string_view usual = "/sys/fs/cgroup";
  for (Hierarchy& hierarchy : hierarchies)
    if (hierarchy.directory.starts_with(usual))
      hierarchy.directory = options.cgroup_root + hierarchy.directory.substr(usual.size());
  return hierarchies;
}

const Hierarchy* find_cgroup2(const std::vector<Hierarchy>& hierarchies) {
  for (const Hierarchy& hierarchy : hierarchies)
    if (hierarchy.version == 2) return &hierarchy;
  return nullptr;
}

const Hierarchy* find_cgroup1(const std::vector<Hierarchy>& hierarchies, std::string_view controller) {
  for (const Hierarchy& hierarchy : hierarchies)
    if (std::ranges::find(hierarchy.controllers, controller) != hierarchy.controllers.end())
      return &hierarchy;
  return nullptr;
}

Result<std::string> parent_directory(const Hierarchy& hierarchy, const std::string& cgroup_parent) {
  if (cgroup_parent == "self") {
    if (!hierarchy.own)
      return failure("this process's own group is not visible under " + hierarchy.directory);
    return hierarchy.directory + *hierarchy.own;
  }
  if (climbs(cgroup_parent)) return failure("cgroup_parent '" + cgroup_parent + "' leaves the hierarchy");
  std::string path = cgroup_parent;
  while (path.ends_with('/')) path.pop_back();
  if (!path.empty() && !path.starts_with('/')) path.insert(path.begin(), '/');
  return hierarchy.directory + path;
}

Result<InstancePaths> instance_paths(const Hierarchy& hierarchy, const ControllerOptions& options) {
  if (!is_group_name(options.instance)) return failure("'" + options.instance + "' cannot name a group");
  auto parent = parent_directory(hierarchy, options.cgroup_parent);
  if (!parent) return std::unexpected(parent.error());
  const std::string top = *parent + "/kurultai-" + options.instance;
  return InstancePaths{*parent, top, top + "/supervisor", top + "/workers"};
}

std::vector<InstancePaths> all_instance_paths(const ControllerOptions& options) {
  std::vector<InstancePaths> all;
  const auto hierarchies = read_hierarchies(options);
  if (!hierarchies) return all;
  const auto add = [&](const Hierarchy* hierarchy) {
    if (!hierarchy) return;
    auto paths = instance_paths(*hierarchy, options);
    const auto same = [&](const InstancePaths& other) { return other.top == paths->top; };
    if (paths && std::ranges::none_of(all, same)) all.push_back(std::move(*paths));
  };
  for (const char* controller : {"memory", "pids", "freezer"}) add(find_cgroup1(*hierarchies, controller));
  add(find_cgroup2(*hierarchies));
  return all;
}

bool is_group_name(std::string_view name) {
  return !name.empty() && name.size() <= 200 && name.front() != '.' &&
         std::ranges::none_of(name, [](char c) { return c == '/' || c == '\n' || c == '\0'; });
}

}  // namespace kurultai
