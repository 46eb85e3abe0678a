#include "supervisor/store/whole_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace kurultai {

Result<std::string> read_whole(const std::string& path, std::size_t largest) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_failure("open " + path, errno);
  std::string text;
  std::array<char, 65536> block;
  ssize_t count = 1;
  while (count != 0 && text.size() <= largest) {
    count = ::read(fd, block.data(), block.size());
    if (count < 0 && errno != EINTR) break;
    if (count > 0) text.append(block.data(), static_cast<std::size_t>(count));
  }
  const int code = errno;
  ::close(fd);
  if (text.size() > largest) return failure(path + " is too large");
  if (count < 0) return system_failure("read " + path, code);
  return text;
}

Result<void> write_whole(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR) return system_failure("write " + path, errno);
    if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Result<void> copy_file(const std::string& from, const std::string& to) {
  const int source = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (source < 0) return system_failure("open " + from, errno);
  const int target = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  Result<void> copied = target < 0 ? system_failure("open " + to, errno) : Result<void>{};
  std::array<char, 65536> block;
  for (ssize_t count = 1; copied && count != 0;) {
    count = ::read(source, block.data(), block.size());
    if (count > 0) copied = write_whole(target, to, {block.data(), static_cast<std::size_t>(count)});
    if (count < 0 && errno != EINTR) copied = system_failure("read " + from, errno);
  }
  ::close(source);
  if (target >= 0) ::close(target);
  return copied;
}

Result<void> rewrite_file(const std::string& path) {
  const std::string fresh = path + ".new";
  auto copied = copy_file(path, fresh);
  if (copied && ::rename(fresh.c_str(), path.c_str()) != 0) copied = system_failure("rename " + fresh, errno);
  if (!copied) ::unlink(fresh.c_str());
  return copied;
}

Result<void> replace_file(const std::string& path, std::string_view bytes) {
  const std::string fresh = path + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return system_failure("open " + fresh, errno);
  Result<void> written = write_whole(fd, fresh, bytes);
  if (written && ::fsync(fd) != 0) written = system_failure("fsync " + fresh, errno);
  ::close(fd);
  if (written && ::rename(fresh.c_str(), path.c_str()) != 0)
    written = system_failure("rename " + fresh, errno);
  if (!written) ::unlink(fresh.c_str());
  return written;
}

}  // namespace kurultai
