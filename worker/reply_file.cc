#include "worker/reply_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace kurultai {

Result<ReplyFile> ReplyFile::make(const std::string& beside) {
  const std::string directory = beside.substr(0, beside.rfind('/') + 1);
  Fd nameless(::open(directory.empty() ? "." : directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (nameless) return ReplyFile(std::move(nameless), {});
  std::string name = beside + "-reply";
  Fd named(::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!named) return system_failure("open " + name, errno);
  return ReplyFile(std::move(named), std::move(name));
}

ReplyFile::~ReplyFile() {
  if (file_ && !name_.empty()) ::unlink(name_.c_str());
}

Result<void> ReplyFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_failure("write a result", errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
    size_ += Bytes{count};
  }
  return {};
}

Result<void> ReplyFile::keep_as(const std::string& path) {
  const std::string self = "/proc/self/fd/" + std::to_string(file_.get());
  const char* const from = name_.empty() ? self.c_str() : name_.c_str();
  if (::linkat(AT_FDCWD, from, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0)
    return system_failure("link " + path, errno);
  return {};
}

}  // namespace kurultai
