#include "supervisor/store/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <memory>
#include <string_view>

namespace kurultai {
namespace {

using Clock = std::chrono::steady_clock;

/// Deeper directories are moved to the top first: a descriptor is held for each level.
constexpr int most_levels = 48;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

/// Neither through a symlink nor into what is mounted there.
int open_beneath(int parent, const char* name, int flags) {
  const int all = flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  open_how how{};
  how.flags = static_cast<std::uint64_t>(all);
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  const auto fd = static_cast<int>(::syscall(SYS_openat2, parent, name, &how, sizeof how));
  if (fd >= 0 || errno != ENOSYS) return fd;
  struct stat above{}, here{};
  if (::fstat(parent, &above) != 0 || ::fstatat(parent, name, &here, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  if (above.st_dev != here.st_dev) return errno = EXDEV, -1;
  return ::openat(parent, name, all);
}

/// The owner may read, enter and empty it, and move it.
void allow(int parent, const char* name) {
  const int fd = open_beneath(parent, name, O_PATH);
  if (fd < 0) return;
  ::chmod(("/proc/self/fd/" + std::to_string(fd)).c_str(), 0700);
  ::close(fd);
}

Directory open_below(int parent, const char* name) {
  int fd = open_beneath(parent, name, O_RDONLY);
  if (fd < 0) return nullptr;
  Directory directory(::fdopendir(fd));
  if (!directory) ::close(fd);
  return directory;
}

bool is_dots(std::string_view name) { return name == "." || name == ".."; }

class Remover {
 public:
  explicit Remover(std::chrono::milliseconds patience) : until_(Clock::now() + patience) {}

  Removal remove(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos || slash + 1 == path.size()) return Removal::stuck;
    const int parent = ::open(path.substr(0, slash + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return errno == ENOENT ? Removal::done : Removal::stuck;
    const std::string name = path.substr(slash + 1);
    const bool gone = unlink_any(parent, name.c_str()) || remove_directory(parent, name.c_str());
    ::close(parent);
    if (gone) return Removal::done;
    return is_late() ? Removal::more : Removal::stuck;
  }

 private:
  bool is_late() { return late_ = late_ || Clock::now() > until_; }

  static bool unlink_any(int parent, const char* name) {
    return ::unlinkat(parent, name, 0) == 0 || errno == ENOENT;
  }

  bool remove_directory(int parent, const char* name) {
    if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return true;
    allow(parent, name);
    const Directory top = open_below(parent, name);
    if (!top) return false;
    top_ = ::dirfd(top.get());
    // What was moved up, and what a directory did not list while it changed, waits for the next round.
    do {
      progress_ = false;
      ::rewinddir(top.get());
      empty(top.get(), 1);
      if (::unlinkat(parent, name, AT_REMOVEDIR) == 0) return true;
    } while (progress_ && !is_late());
    return false;
  }

  void empty(DIR* directory, int level) {
    const int fd = ::dirfd(directory);
    while (const dirent* entry = is_late() ? nullptr : ::readdir(directory)) {
      const char* const name = entry->d_name;
      if (is_dots(name) || unlinked(fd, name, 0) || unlinked(fd, name, AT_REMOVEDIR)) continue;
      allow(fd, name);
      if (level == most_levels) {
        move_up(fd, name);
        continue;
      }
      if (const Directory below = open_below(fd, name)) empty(below.get(), level + 1);
      unlinked(fd, name, AT_REMOVEDIR);
    }
  }

  bool unlinked(int fd, const char* name, int flags) {
    const bool gone = ::unlinkat(fd, name, flags) == 0;
    progress_ = progress_ || gone;
    return gone;
  }

  void move_up(int fd, const char* name) {
    // A name that is there already is somebody's attempt to keep it, and the next number is free.
    for (int tries = 0; tries < 1000; ++tries) {
      const std::string to = ".kurultai-deep-" + std::to_string(next_++);
      if (::syscall(SYS_renameat2, fd, name, top_, to.c_str(), 1U /* RENAME_NOREPLACE */) == 0) {
        progress_ = true;
        return;
      }
      if (errno != EEXIST) return;
    }
  }

  Clock::time_point until_;
  bool late_ = false;
  bool progress_ = false;  // in this round
  int top_ = -1;
  std::uint64_t next_ = 0;
};

class Measure {
 public:
  explicit Measure(std::size_t most) : left_(most) {}

  void add(DIR* directory, int level) {
    const int fd = ::dirfd(directory);
    while (const dirent* entry = ::readdir(directory)) {
      if (is_dots(entry->d_name)) continue;
      if (left_ == 0 || level > most_levels) {
        endless_ = true;
        return;
      }
      --left_;
      struct stat status{};
      if (::fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
      sum_ += status.st_blocks * 512;
      if (!S_ISDIR(status.st_mode)) continue;
      if (const Directory below = open_below(fd, entry->d_name)) add(below.get(), level + 1);
    }
  }

  Bytes sum() const { return endless_ ? Bytes{std::numeric_limits<std::int64_t>::max()} : Bytes{sum_}; }

 private:
  std::size_t left_;
  std::int64_t sum_ = 0;
  bool endless_ = false;
};

}  // namespace

Removal remove_tree(const std::string& directory, std::chrono::milliseconds patience) {
  return Remover(patience).remove(directory);
}

Bytes disk_use(const std::string& directory, std::size_t most_entries) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const Directory top(fd < 0 ? nullptr : ::fdopendir(fd));
  if (!top) return {};
  Measure measure(most_entries);
  measure.add(top.get(), 1);
  return measure.sum();
}

}  // namespace kurultai
