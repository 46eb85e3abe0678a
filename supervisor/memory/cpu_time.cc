#include "supervisor/memory/cpu_time.h"

#include <sys/resource.h>

namespace kurultai {
namespace {

std::chrono::microseconds microseconds_of(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

std::chrono::microseconds of_ended_children() {
  rusage ended{};
  ::getrusage(RUSAGE_CHILDREN, &ended);
  return microseconds_of(ended.ru_utime) + microseconds_of(ended.ru_stime);
}

std::chrono::microseconds before_workers{};  // as the kernel counts: of the whole process

}  // namespace

void begin_counting_workers() { before_workers = of_ended_children(); }

Result<std::chrono::microseconds> cpu_time_of_workers(
    const std::function<Result<std::vector<ProcessState>>()>& list) {
  // The dead first: one that dies in between is missing until the next look, and never counts twice.
  std::chrono::microseconds sum = of_ended_children() - before_workers;
  const auto living = list();
  if (!living) return std::unexpected(living.error());
  for (const ProcessState& process : *living) sum += process.cpu;
  return sum;
}

}  // namespace kurultai
