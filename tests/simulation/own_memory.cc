// What the supervisor itself uses: constant, or no two runs of a seed would be the same. Being defined here,
// it takes the place of supervisor/memory/machine.cc.
#include "supervisor/memory/controller.h"

namespace kurultai {

Result<Bytes> own_rss() { return mebibytes(12); }
OwnHeap own_heap() { return {mebibytes(4), mebibytes(6)}; }
/// Nobody else is there.
Result<MachineReading> read_machine(const std::string&) {
  return MachineReading{gibibytes(1024), gibibytes(1024)};
}
/// Time stands still while the kernel works.
Result<Fd> watch_stalls(const std::string&) { return failure("there are none"); }

}  // namespace kurultai
