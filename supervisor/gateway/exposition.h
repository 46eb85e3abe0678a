// Metrics as text, in the two formats that scrapers ask for. Pure.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <string_view>
#include <vector>

namespace kurultai {

enum class Exposition : unsigned char {
  prometheus,  // text format 0.0.4
  openmetrics  // OpenMetrics 1.0
};

/// OpenMetrics where an `Accept` header prefers it; without one, or with one that can not be read, the text
/// format.
Exposition wanted_exposition(std::string_view accept);

std::string_view content_type(Exposition format);

/// Counters, gauges and histograms; families of other types are left out. Names of counters end in `_total`.
std::string to_text(const std::vector<prometheus::MetricFamily>& families, Exposition format);

}  // namespace kurultai
