#include "worker/tmp_mount.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

namespace kurultai {
namespace {

constexpr const char* tmp_path = "/tmp";
// A file costs the kernel about a KiB beside its pages: with one for each 4 KiB of the size, empty files
// cannot take much more than the size.
constexpr std::int64_t bytes_per_file = 4096;

bool write_to(const char* file, const std::string& text) {
  const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int code = errno;
  ::close(fd);
  errno = code;
  return written;
}

bool map_ids(const TmpMount& mount) {
  return write_to("/proc/self/uid_map", mount.uid_map) && write_to("/proc/self/setgroups", "deny") &&
         write_to("/proc/self/gid_map", mount.gid_map);
}

/// By a descriptor that was opened before: the path leads into the new /tmp.
bool bind(int from, const char* to) {
  std::array<char, 32> source{};
  std::snprintf(source.data(), source.size(), "/proc/self/fd/%d", from);
  return ::mount(source.data(), to, nullptr, MS_BIND | MS_REC, nullptr) == 0;
}

void close_all(const std::array<int, TmpMount::most_kept>& fds) {
  for (const int fd : fds)
    if (fd >= 0) ::close(fd);
}

const char* mount_and_keep(const TmpMount& mount) {
  std::array<int, TmpMount::most_kept> from{};
  from.fill(-1);
  for (std::size_t i = 0; i < mount.kept.size(); ++i)
    from[i] = ::open(mount.kept[i].c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  const char* failed = nullptr;
  if (::mount("tmpfs", tmp_path, "tmpfs", MS_NOSUID | MS_NODEV, mount.options.c_str()) != 0) failed = "mount";
  for (const std::string& directory : mount.made)
    if (failed == nullptr && ::mkdir(directory.c_str(), 0711) == 0) ::chmod(directory.c_str(), 0711);
  for (std::size_t i = 0; i < mount.kept.size() && failed == nullptr; ++i)
    if (from[i] >= 0 && !bind(from[i], mount.kept[i].c_str())) failed = "keep";
  const int code = errno;
  close_all(from);
  errno = code;
  return failed;
}

std::string attempt(MountRight right) {
  if (const char* failed = enter_tmp(tmp_mount(right, mebibytes(1), ::geteuid(), ::getegid(), {})))
    return std::string(failed) + ": " + std::generic_category().message(errno);
  return {};
}

}  // namespace

TmpMount tmp_mount(MountRight right, Bytes size, uid_t uid, gid_t gid, const std::vector<std::string>& kept) {
  TmpMount mount;
  mount.right = right;
  mount.options = "mode=1777,size=" + std::to_string(size.count) +
                  ",nr_inodes=" + std::to_string(std::max<std::int64_t>(64, size.count / bytes_per_file)) +
                  ",uid=" + std::to_string(uid) + ",gid=" + std::to_string(gid);
  mount.uid_map = std::to_string(uid) + " " + std::to_string(uid) + " 1";
  mount.gid_map = std::to_string(gid) + " " + std::to_string(gid) + " 1";
  const std::string below = std::string(tmp_path) + "/";
  for (const std::string& path : kept) {
    if (!path.starts_with(below) || mount.kept.size() == TmpMount::most_kept) continue;
    for (std::size_t end = path.find('/', below.size()); end != std::string::npos;
         end = path.find('/', end + 1))
      mount.made.push_back(path.substr(0, end));
    mount.made.push_back(path);
    mount.kept.push_back(path);
  }
  return mount;
}

const char* enter_tmp(const TmpMount& mount) {
  const bool by_user = mount.right == MountRight::user_namespace;
  if (::unshare(by_user ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS) != 0) return "unshare";
  if (by_user && !map_ids(mount)) return "map";
  // Or it would be everybody's /tmp.
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "mount";
  return mount_and_keep(mount);
}

std::string try_tmp() {
  const std::string by_root = attempt(MountRight::root);
  if (by_root.empty()) return "root";
  // Of root's user namespace an agent would be root, too, and could take the tmpfs away.
  if (::geteuid() == 0) return "directory: " + by_root;
  const std::string by_user = attempt(MountRight::user_namespace);
  return by_user.empty() ? "userns" : "directory: " + by_user;
}

}  // namespace kurultai
