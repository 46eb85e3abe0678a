#include "worker/secrets.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "worker/fd.h"

namespace kurultai {
namespace {

Result<std::string> read_secret(const std::string& file) {
  // Without waiting: a FIFO would have us wait for somebody who writes.
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return system_failure("open " + file, errno);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return system_failure("look at " + file, errno);
  if (!S_ISREG(status.st_mode)) return failure(file + " is no regular file");
  const auto most = static_cast<std::size_t>(longest_secret.count);
  std::string text(most + 2, '\0');  // the newline; and one more, which is too many
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = ::read(fd.get(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_failure("read " + file, errno);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  text.resize(size);
  if (text.ends_with('\n')) text.pop_back();
  if (text.size() > most) return failure(file + " is larger than " + to_string(longest_secret));
  if (text.find('\0') != std::string::npos) return failure(file + " holds a NUL byte");
  return text;
}

}  // namespace

Result<void> set_from_file(const std::string& variable) {
  const std::size_t equals = variable.find('=');
  if (equals == 0 || equals == std::string::npos) return failure("a secret needs NAME=FILE");
  const std::string name = variable.substr(0, equals);
  const auto text = read_secret(variable.substr(equals + 1));
  if (!text) return failure("env " + name + ": " + text.error().message, text.error().code);
  if (::setenv(name.c_str(), text->c_str(), 1) != 0) return system_failure("env " + name, errno);
  return {};
}

}  // namespace kurultai
