// Whatever a file of readings holds, it is read within bounds: what is wrong is told with its line, what was
// read is judged with figures that make sense, and a reading comes back from a line as `record` writes it.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "governance/leak_verdict.h"
#include "protocol/utf8.h"
#include "tests/fuzz/check.h"
#include "tools/kurultai/life_file.h"
#include "tools/kurultai/trace.h"

using namespace kurultai;

namespace {

/// The input as a file, which is what the readers want.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view text) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    HOLDS(fd_ >= 0 && ::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

void told_well(const Complaint& complaint, const std::string& file, std::size_t lines) {
  HOLDS(complaint.text.starts_with(file) && is_utf8(complaint.text));
  HOLDS(std::ranges::none_of(complaint.text, [](char c) { return c == '\n' || c == '\x1b'; }));
  const std::string rest = complaint.text.substr(file.size());
  if (rest.starts_with(':') && rest.size() > 1 && rest[1] >= '0' && rest[1] <= '9')
    HOLDS(std::stoul(rest.substr(1)) <= lines);
}

/// As record.cc writes it.
void comes_back(const TraceReading& reading) {
  if (!std::isfinite(reading.seconds) || !std::isfinite(reading.bytes)) return;
  if (std::abs(reading.seconds) > 1e12 || reading.bytes > 9e18) return;
  char line[64];
  std::snprintf(line, sizeof line, "%.3f,%lld", reading.seconds, static_cast<long long>(reading.bytes));
  const auto again = parse_trace_line(line);
  HOLDS(again && std::abs(again->seconds - reading.seconds) <= 0.001);
  HOLDS(again->bytes == std::floor(reading.bytes));
}

void makes_sense(const LeakSeries& series) {
  HOLDS(series.points().size() <= LeakSeries::most_points);
  double newest = -1e300;
  for (const LeakPoint& point : series.points()) {
    HOLDS(point.first >= newest && point.last >= point.first && point.most >= point.least);
    HOLDS(point.least >= 0);
    newest = point.last;
  }
  LeakRules rules;
  rules.cap = mebibytes(100);
  const LeakVerdict verdict = judge_leak(series, rules);
  HOLDS(verdict.confidence >= 0 && verdict.confidence <= 1);
  HOLDS(std::isfinite(verdict.growth_per_hour));
  HOLDS(!verdict.seconds_to_cap || (std::isfinite(*verdict.seconds_to_cap) && *verdict.seconds_to_cap >= 0));
  HOLDS(verdict.level == LeakLevel::none || leak_growth(verdict) > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  const MemoryFile file(text);
  std::size_t taken = 0;
  const auto read = for_each_reading(file.path(), [&](TraceReading reading) {
    ++taken;
    HOLDS(!(reading.bytes < 0));
    comes_back(reading);
  });
  HOLDS(read ? *read == taken && taken > 0 && taken <= lines : true);
  if (!read) told_well(read.error(), file.path(), lines + size / 255);
  const auto trace = read_trace(file.path());
  HOLDS(!trace || read);
  if (trace) {
    HOLDS(trace->series.readings() + trace->left_out == taken);
    makes_sense(trace->series);
  }
  const auto life = for_each_record(file.path(), [](const LifeRecord&) {});
  if (!life) told_well(life.error(), file.path(), lines);
  return 0;
}
