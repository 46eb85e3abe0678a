// Memory traces: CSV files of `seconds,bytes`, as `record` writes them. Read in a stream and in bounded room,
// however many lines there are.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "governance/leak_series.h"
#include "tools/kurultai/complaint.h"

namespace kurultai {

struct TraceReading {
  double seconds = 0;
  double bytes = 0;  // NaN where the reading is missing
};

/// Nothing when the line is not two numbers, or its bytes are negative; `nan` and nothing at all are a
/// missing value.
std::optional<TraceReading> parse_trace_line(std::string_view line);

struct Trace {
  LeakSeries series;
  std::size_t left_out = 0;  // readings that are missing, or of the same moment as the one before
};

/// A heading and empty lines are skipped. The complaint names the file, and the line at fault; a file without
/// a single reading is at fault too.
Answer<Trace> read_trace(const std::string& file);

/// Every reading that `file` has, in its order; the complaints are the same.
Answer<std::size_t> for_each_reading(const std::string& file, const std::function<void(TraceReading)>& take);

}  // namespace kurultai
