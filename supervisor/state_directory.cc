#include "supervisor/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <thread>

#include "supervisor/store/whole_file.h"

namespace kurultai {

namespace {

namespace fs = std::filesystem;

constexpr auto lock_patience = std::chrono::seconds(4);

std::string random_hex(std::size_t bytes) {
  std::string raw(bytes, '\0');
  [[maybe_unused]] const auto count = ::getrandom(raw.data(), raw.size(), 0);
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const char c : raw) {
    text += digits[static_cast<unsigned char>(c) >> 4];
    text += digits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

Result<std::string> read_word(const std::string& file) {
  std::ifstream stream(file);
  std::string word;
  if (!(stream >> word)) return failure("read " + file + ": it is empty or cannot be read");
  return word;
}

Result<int> take_lock(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return system_failure("open " + file, errno);
  const auto until = std::chrono::steady_clock::now() + lock_patience;
  // Before the loop runs: nothing else waits for this.
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) {
      const int code = errno;
      ::close(fd);
      return system_failure("lock " + file, code);
    }
    if (std::chrono::steady_clock::now() > until) {
      const std::string holder = read_word(file).value_or("unknown");
      ::close(fd);
      return failure("state directory " + fs::path(file).parent_path().string() +
                     " is in use by another supervisor (pid " + holder +
                     "); choose another with --state-dir");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  auto written =
      ::ftruncate(fd, 0) == 0 ? write_whole(fd, file, pid) : system_failure("write " + file, errno);
  if (!written) {
    ::close(fd);
    return std::unexpected(written.error());
  }
  return fd;
}

Result<void> make_private_directory(const std::string& path, mode_t mode = 0700) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    return failure("make directory " + path + ": " + error.message() + "; choose another with --state-dir",
                   error.value());
  }
  if (::chmod(path.c_str(), mode) != 0) return system_failure("set the mode of directory " + path, errno);
  return {};
}

/// It is made private and its spool swept: /var and the like must not be taken for it by mistake.
Result<void> refuse_foreign(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error) || fs::is_empty(path, error) || error) return {};
  for (const char* own : {"/lock", "/instance", "/token"}) {
    if (fs::exists(path + own, error)) return {};
  }
  const fs::perms of_others =
      fs::status(path, error).permissions() & (fs::perms::group_all | fs::perms::others_all);
  const bool is_private = of_others == fs::perms::none;
  if (is_private && !fs::exists(path + "/spool", error)) return {};
  return failure("state directory " + path + ": serves another purpose; choose another with --state-dir");
}

}  // namespace

Result<StateDirectory> open_state_directory(const std::string& path) {
  StateDirectory state{path, "", path + "/spool", path + "/payloads", path + "/logs", path + "/journal.db"};
  if (auto own = refuse_foreign(path); !own) return std::unexpected(own.error());
  if (auto made = make_private_directory(path); !made) return std::unexpected(made.error());
  const auto lock = take_lock(path + "/lock");
  if (!lock) return std::unexpected(lock.error());
  state.lock_fd = *lock;
  const std::string instance_file = path + "/instance";
  auto instance = read_word(instance_file);
  if (!instance || instance->size() != 8 ||
      instance->find_first_not_of("0123456789abcdef") != std::string::npos) {
    instance = random_hex(4);
    if (auto written = replace_file(instance_file, *instance + "\n"); !written)
      return std::unexpected(written.error());
  }
  state.instance = *instance;
  if (auto made = make_private_directory(state.spool); !made) return std::unexpected(made.error());
  if (auto made = make_private_directory(state.logs); !made) return std::unexpected(made.error());
  // Names in it can be used, by whoever was let in, and not listed.
  if (auto made = make_private_directory(state.payloads, 0711); !made) return std::unexpected(made.error());
  return state;
}

void sweep_spool(const std::string& directory, const std::set<std::string>& kept) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
    if (!kept.contains(entry.path().filename())) fs::remove_all(entry.path(), ignored);
  }
}

Result<std::string> read_or_make_token(const std::string& file) {
  if (::access(file.c_str(), F_OK) == 0) return read_word(file);
  std::string token = random_hex(32);
  if (auto written = replace_file(file, token + "\n"); !written) return std::unexpected(written.error());
  return token;
}

}  // namespace kurultai
