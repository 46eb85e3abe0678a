#include "tools/bench/packing/tree_memory.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

namespace kurultai::bench {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds pace{20};

/// Resident pages that are of no file.
Bytes memory_of(const std::string& process) {
  std::ifstream statm(process + "/statm");
  std::int64_t size = 0;
  std::int64_t resident = 0;
  std::int64_t shared = 0;
  if (!(statm >> size >> resident >> shared)) return {};
  return {(resident - shared) * ::sysconf(_SC_PAGESIZE)};
}

}  // namespace

Bytes memory_of_tree(pid_t root) {
  const std::string process = "/proc/" + std::to_string(root);
  Bytes sum = memory_of(process);
  std::error_code error;
  for (fs::directory_iterator thread(process + "/task", error), end; !error && thread != end;
       thread.increment(error)) {
    std::ifstream children(thread->path() / "children");
    for (pid_t child = 0; children >> child;) sum += memory_of_tree(child);
  }
  return sum;
}

TreeMemory::TreeMemory(pid_t root, std::function<void(Bytes)> on_look)
    : thread_([this, root, on_look = std::move(on_look)](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          const Bytes now = memory_of_tree(root);
          most_ = std::max(most_, now);
          if (on_look) on_look(now);
          std::this_thread::sleep_for(pace);
        }
      }) {}

Bytes TreeMemory::most() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  return most_;
}

}  // namespace kurultai::bench
