#include "tools/soak/watch.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "tools/kurultai/process_memory.h"

namespace kurultai::soak {
namespace {

namespace fs = std::filesystem;

std::optional<double> resident_bytes(pid_t process) {
  std::ifstream statm("/proc/" + std::to_string(process) + "/statm");
  double size = 0;
  double resident = 0;
  if (!(statm >> size >> resident) || resident == 0) return std::nullopt;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

std::int64_t count_entries(const std::string& directory) {
  std::int64_t count = 0;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) ++count;
  return count;
}

}  // namespace

void MemoryWatch::look(pid_t supervisor, TimePoint now) {
  const auto resident = resident_bytes(supervisor);
  const auto process = WatchedProcess::find(supervisor);
  if (!resident || !process) return;
  const auto all = process->read();
  if (!all) return;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  supervisor_curve_.add(seconds, *resident);
  tree_curve_.add(seconds, static_cast<double>(all->count));
  if (now > end_) return;
  supervisor_.add(*resident);
  tree_.add(static_cast<double>(all->count));
  if (now < judged_from_) return;
  if (supervisor != judged_) {
    if (life_.seconds() > longest_life_.seconds()) longest_life_ = life_;
    life_ = {};
    judged_ = supervisor;
  }
  life_.add(seconds, *resident);
}

LeakSlope MemoryWatch::slope() const {
  return slope_of((life_.seconds() > longest_life_.seconds() ? life_ : longest_life_).points());
}

std::int64_t count_fds(pid_t process) { return count_entries("/proc/" + std::to_string(process) + "/fd"); }

std::int64_t count_groups(const std::vector<std::string>& parents) {
  std::int64_t count = 0;
  for (const std::string& parent : parents) {
    std::error_code error;
    for (fs::recursive_directory_iterator at(parent, error), end; !error && at != end; at.increment(error))
      count += at->is_directory(error) ? 1 : 0;
  }
  return count;
}

bool is_marked(pid_t process, const std::string& instance) {
  std::ifstream file("/proc/" + std::to_string(process) + "/environ");
  std::ostringstream text;
  text << file.rdbuf();
  const std::string environment = std::string(1, '\0') + std::move(text).str();
  const std::string mark = std::string(1, '\0') + "KURULTAI_INSTANCE=" + instance + std::string(1, '\0');
  return environment.find(mark) != std::string::npos;
}

std::vector<pid_t> marked_processes(const std::string& instance) {
  std::vector<pid_t> found;
  std::error_code error;
  for (fs::directory_iterator at("/proc", error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename();
    pid_t process = 0;
    const auto [stop, wrong] = std::from_chars(name.data(), name.data() + name.size(), process);
    if (wrong != std::errc() || stop != name.data() + name.size()) continue;
    if (is_marked(process, instance)) found.push_back(process);
  }
  return found;
}

}  // namespace kurultai::soak
