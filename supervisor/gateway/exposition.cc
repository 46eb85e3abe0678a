#include "supervisor/gateway/exposition.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace kurultai {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

/// Takes what stands before `separator` off the front.
std::string_view next_part(std::string_view& rest, char separator) {
  const std::string_view part = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(part.size() + 1, rest.size()));
  return trimmed(part);
}

double to_quality(std::string_view text) {
  double quality = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quality);
  return error == std::errc{} && end == text.data() + text.size() ? quality : 0;
}

void append(std::string& to, double value) {
  if (std::isnan(value)) {
    to += "NaN";
    return;
  }
  if (std::isinf(value)) {
    to += value > 0 ? "+Inf" : "-Inf";
    return;
  }
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  to.append(digits.data(), end);
}

/// OpenMetrics has one spelling for a bound: with a point.
std::string to_bound(double value) {
  std::string text;
  append(text, value);
  if (text.find_first_of(".eIN") == std::string::npos) text += ".0";
  return text;
}

void append_escaped(std::string& to, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\n') {
      to += "\\n";
    } else {
      if (c == '\\' || (quotes && c == '"')) to += '\\';
      to += c;
    }
  }
}

void append_sample(std::string& to, std::string_view name, const std::vector<ClientMetric::Label>& labels,
                   double value, const std::string& bound = {}) {
  to += name;
  std::string_view separator = "{";
  const auto append_label = [&](std::string_view label, std::string_view text) {
    to.append(separator).append(label).append("=\"");
    append_escaped(to, text, true);
    to += '"';
    separator = ",";
  };
  for (const ClientMetric::Label& label : labels) append_label(label.name, label.value);
  if (!bound.empty()) append_label("le", bound);
  to += separator == "," ? "} " : " ";
  append(to, value);
  to += '\n';
}

void append_histogram(std::string& to, const std::string& name, const ClientMetric& metric) {
  const auto& histogram = metric.histogram;
  const auto count = static_cast<double>(histogram.sample_count);
  for (const ClientMetric::Bucket& bucket : histogram.bucket) {
    append_sample(to, name + "_bucket", metric.label, static_cast<double>(bucket.cumulative_count),
                  to_bound(bucket.upper_bound));
  }
  const bool is_open = !histogram.bucket.empty() && std::isinf(histogram.bucket.back().upper_bound);
  if (!is_open) append_sample(to, name + "_bucket", metric.label, count, "+Inf");
  append_sample(to, name + "_count", metric.label, count);
  append_sample(to, name + "_sum", metric.label, histogram.sample_sum);
}

std::string_view word_of(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Histogram:
      return "histogram";
    case MetricType::Summary:
    case MetricType::Untyped:
      break;
  }
  return "";
}

}  // namespace

Exposition wanted_exposition(std::string_view accept) {
  double openmetrics = 0;
  double text = 0;
  while (!accept.empty()) {
    std::string_view range = next_part(accept, ',');
    const std::string_view type = next_part(range, ';');
    double quality = 1;
    bool known_version = true;
    while (!range.empty()) {
      std::string_view value = next_part(range, ';');
      const std::string_view name = next_part(value, '=');
      if (name == "q") quality = to_quality(value);
      if (name == "version") known_version = value == "1.0.0" || value == "0.0.4";
    }
    if (!known_version) continue;
    if (type == "application/openmetrics-text") openmetrics = std::max(openmetrics, quality);
    if (type == "text/plain" || type == "text/*" || type == "*/*") text = std::max(text, quality);
  }
  return openmetrics > 0 && openmetrics >= text ? Exposition::openmetrics : Exposition::prometheus;
}

std::string_view content_type(Exposition format) {
  return format == Exposition::openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                           : "text/plain; version=0.0.4; charset=utf-8";
}

std::string to_text(const std::vector<MetricFamily>& families, Exposition format) {
  std::string text;
  for (const MetricFamily& family : families) {
    const std::string_view word = word_of(family.type);
    if (word.empty()) continue;
    // A counter's family goes without the `_total` of its samples in OpenMetrics.
    std::string_view name = family.name;
    const bool openmetrics = format == Exposition::openmetrics;
    if (openmetrics && family.type == MetricType::Counter && name.ends_with("_total"))
      name.remove_suffix(std::string_view("_total").size());
    text.append("# HELP ").append(name).append(" ");
    append_escaped(text, family.help, openmetrics);
    text.append("\n# TYPE ").append(name).append(" ").append(word).append("\n");
    for (const ClientMetric& metric : family.metric) {
      if (family.type == MetricType::Counter)
        append_sample(text, family.name, metric.label, metric.counter.value);
      if (family.type == MetricType::Gauge)
        append_sample(text, family.name, metric.label, metric.gauge.value);
      if (family.type == MetricType::Histogram) append_histogram(text, family.name, metric);
    }
  }
  if (format == Exposition::openmetrics) text += "# EOF\n";
  return text;
}

}  // namespace kurultai
