#include "supervisor/workers/places.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "supervisor/store/remove_tree.h"

namespace kurultai {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds slice{200};  // of removing, before others get their turn
constexpr Duration between_looks{1000};          // between two looks; each starts after the one before
constexpr std::size_t most_entries = 100'000;    // of one look; more count as too much
constexpr std::size_t most_waiting = 100'000;    // directories to be removed

struct Found {
  Removal removal = Removal::done;
  std::vector<std::pair<std::string, Bytes>> uses;
};

}  // namespace

std::string shared_places(const std::string& instance) { return "/var/tmp/kurultai-" + instance; }

Places::Places(uv::Loop& loop, PlaceSettings settings, OnFull on_full)
    : loop_(loop), settings_(std::move(settings)), on_full_(std::move(on_full)), timer_(loop, [this] {
        is_due_ = true;
        work();
      }) {}

Places::~Places() = default;

std::string Places::of_worker(const std::string& worker_id, bool other_user) const {
  return (other_user ? settings_.shared : settings_.own) + "/" + settings_.start + "/" + worker_id;
}

void Places::remove(std::string directory) {
  if (to_remove_.size() >= most_waiting) return;
  to_remove_.push_back(std::move(directory));
  work();
}

void Places::remove_old() {
  for (const std::string& base : {settings_.own, settings_.shared}) {
    std::error_code error;
    // A link there would be somebody else's.
    if (base.empty() || fs::is_symlink(base, error)) continue;
    for (fs::directory_iterator entry(base, error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
      if (to_remove_.size() >= most_waiting) break;
      if (entry->path().filename() != settings_.start) to_remove_.push_back(entry->path());
    }
  }
  work();
}

void Places::watch(std::string directory, const std::string& worker_id, Bytes limit) {
  watched_[std::move(directory)] = {worker_id, limit};
  if (!is_working_ && !timer_.is_running()) timer_.start(between_looks);
}

void Places::forget_worker(const std::string& worker_id) {
  std::erase_if(watched_, [&](const auto& entry) { return entry.second.worker_id == worker_id; });
}

bool Places::has_thread() {
  if (thread_ != nullptr) return true;
  auto started = uv::JobThread::start(loop_, "kurultai-places");
  if (started) thread_ = std::move(*started);
  return thread_ != nullptr;
}

/// One job at a time: a look where one is due, and a slice of what is to be removed.
void Places::work() {
  const bool looks = std::exchange(is_due_, false) && !watched_.empty();
  if (is_working_ || (to_remove_.empty() && !looks)) {
    is_due_ = is_due_ || (is_working_ && looks);
    return;
  }
  if (!has_thread()) return timer_.start(between_looks);
  is_working_ = true;
  std::vector<std::string> measured;
  if (looks)
    for (const auto& entry : watched_) measured.push_back(entry.first);
  auto found = std::make_shared<Found>();
  const std::string removed = to_remove_.empty() ? "" : to_remove_.front();
  thread_->run(
      [found, removed, measured = std::move(measured)] {
        for (const std::string& one : measured) found->uses.emplace_back(one, disk_use(one, most_entries));
        if (!removed.empty()) found->removal = remove_tree(removed, slice);
      },
      [this, found, removed] {
        is_working_ = false;
        if (!removed.empty()) {
          to_remove_.pop_front();
          // A large one goes to the end: those behind it are soon done.
          if (found->removal == Removal::more) to_remove_.push_back(removed);
        }
        for (const auto& [directory, use] : found->uses) {
          const auto entry = watched_.find(directory);
          if (entry == watched_.end() || use <= entry->second.limit) continue;
          const Watched full = entry->second;
          watched_.erase(entry);
          on_full_(full.worker_id, use, full.limit);
        }
        if (!watched_.empty() && !timer_.is_running()) timer_.start(between_looks);
        work();
      });
}

}  // namespace kurultai
