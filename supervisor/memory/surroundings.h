// The groups that those of the workers lie in, as that of a container or of a systemd slice. Others may be in
// them, too, and when one is full the kernel kills in it: what is left there is what the machine has for us.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "governance/machine_room.h"
#include "protocol/error.h"
#include "supervisor/memory/cgroup_file.h"

namespace kurultai {

class Surroundings {
 public:
  /// From `directory` up to where its hierarchy is mounted. Version 1 or 2.
  Surroundings(int version, std::string directory);

  /// Where a group has less to give than `machine` says, that counts. One without a limit (now: it may be
  /// given one) changes nothing, nor one that cannot be read.
  void tighten(MachineReading& machine) const;

 private:
  struct Group {
    std::string directory;
    std::vector<KernelFile> limits;
    KernelFile usage, stat;

    std::int64_t limit() const;
    /// What is charged and the kernel could not take back by itself.
    Result<std::int64_t> held(int version) const;
  };
  void add(const std::string& directory);

  int version_;
  std::vector<Group> groups_;
};

}  // namespace kurultai
