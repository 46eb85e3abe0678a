#include "supervisor/store/left_in_memory.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <set>
#include <string>

#include "supervisor/memory/proc.h"

namespace kurultai {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

union SemaphoreArgument {  // the caller of semctl has to define it
  int value;
  semid_ds* about;
  unsigned short* all;
};

/// One that has ended may wait for long to be reaped, where init is lazy.
bool is_alive(const std::string& name) {
  int pid = 0;
  const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error != std::errc() || stop != name.data() + name.size()) return false;
  const auto process = read_process("/proc", pid);
  return process && !process->is_dead();
}

std::set<unsigned> living_among(const OwnUsers& users) {
  std::set<unsigned> living;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    struct stat status{};
    if (::stat(entry->path().c_str(), &status) == 0 && users.contains(status.st_uid) &&
        is_alive(entry->path().filename()))
      living.insert(status.st_uid);
  }
  return living;
}

class Cleaner {
 public:
  Cleaner(const OwnUsers& users, std::chrono::milliseconds patience)
      : users_(users), living_(living_among(users)), until_(Clock::now() + patience) {}

  // Who made it: its owner may have given it away, to be spared.
  bool is_left(unsigned maker) const { return users_.contains(maker) && !living_.contains(maker); }

  void remove_shared_memory() const {
    shmid_ds about{};
    shm_info info{};
    const int last = ::shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&info));
    for (int index = 0; index <= last; ++index) {
      const int id = ::shmctl(index, SHM_STAT, &about);
      if (id >= 0 && is_left(about.shm_perm.cuid)) ::shmctl(id, IPC_RMID, nullptr);
    }
  }

  void remove_queues() const {
    msqid_ds about{};
    msginfo info{};
    const int last = ::msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&info));
    for (int index = 0; index <= last; ++index) {
      const int id = ::msgctl(index, MSG_STAT, &about);
      if (id >= 0 && is_left(about.msg_perm.cuid)) ::msgctl(id, IPC_RMID, nullptr);
    }
  }

  void remove_semaphores() const {
    semid_ds about{};
    seminfo info{};
    const int last = ::semctl(0, 0, SEM_INFO, SemaphoreArgument{.about = reinterpret_cast<semid_ds*>(&info)});
    for (int index = 0; index <= last; ++index) {
      const int id = ::semctl(index, 0, SEM_STAT, SemaphoreArgument{.about = &about});
      if (id >= 0 && is_left(about.sem_perm.cuid)) ::semctl(id, 0, IPC_RMID);
    }
  }

  Removal remove_files(const std::string& directory) const {
    Removal outcome = Removal::done;
    std::error_code error;
    for (fs::directory_iterator entry(directory, error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
      struct stat status{};
      if (::lstat(entry->path().c_str(), &status) != 0 || !is_left(status.st_uid)) continue;
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until_ - Clock::now());
      if (left.count() <= 0) return Removal::more;
      const Removal removal = remove_tree(entry->path(), left);
      if (removal == Removal::more) return removal;
      if (removal == Removal::stuck) outcome = removal;
    }
    return outcome;
  }

 private:
  const OwnUsers& users_;
  std::set<unsigned> living_;
  Clock::time_point until_;
};

}  // namespace

Removal remove_left_in_memory(const OwnUsers& users, std::chrono::milliseconds patience) {
  if (users.count == 0) return Removal::done;
  const Cleaner cleaner(users, patience);
  cleaner.remove_shared_memory();
  cleaner.remove_queues();
  cleaner.remove_semaphores();
  const Removal files = cleaner.remove_files("/dev/shm");
  const Removal queues = cleaner.remove_files("/dev/mqueue");
  if (files == Removal::more || queues == Removal::more) return Removal::more;
  return files == Removal::done ? queues : files;
}

}  // namespace kurultai
