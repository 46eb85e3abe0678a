#include "supervisor/memory/cpu_time.h"

#include <sys/resource.h>

namespace kurultai {
namespace {

std::chrono::microseconds microseconds_of(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

Result<std::chrono::microseconds> cpu_time_of_workers(
    const std::function<Result<std::vector<ProcessState>>()>& list) {
  // The dead first: one that dies in between is missing until the next look, and never counts twice.
  rusage ended{};
  ::getrusage(RUSAGE_CHILDREN, &ended);
  std::chrono::microseconds sum = microseconds_of(ended.ru_utime) + microseconds_of(ended.ru_stime);
  const auto living = list();
  if (!living) return std::unexpected(living.error());
  for (const ProcessState& process : *living) sum += process.cpu;
  return sum;
}

}  // namespace kurultai
