#include "supervisor/gateway/exposition.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace kurultai::exposition_test {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily family(MetricType type, const std::string& name) {
  MetricFamily out;
  out.name = name;
  out.help = "What \"it\" is\\was,\nreally";
  out.type = type;
  out.metric.emplace_back();
  return out;
}

TEST_CASE("OpenMetrics is given to those who prefer it") {
  const struct {
    std::string_view accept;
    Exposition wanted;
  } table[] = {
      {"", Exposition::prometheus},
      {"*/*", Exposition::prometheus},
      {"text/html,application/xhtml+xml,*/*;q=0.8", Exposition::prometheus},
      {"application/openmetrics-text", Exposition::openmetrics},
      {"application/openmetrics-text; version=1.0.0; charset=utf-8", Exposition::openmetrics},
      {"application/openmetrics-text;version=0.0.1", Exposition::prometheus},
      {"application/openmetrics-text;version=1.0.0;q=0", Exposition::prometheus},
      {"application/openmetrics-text;q=0.4,text/plain;q=0.5", Exposition::prometheus},
      {"application/openmetrics-text;q=nonsense", Exposition::prometheus},
      {"text/plain;version=0.0.4;q=0.5 , application/openmetrics-text ; version=1.0.0 ; q=0.8",
       Exposition::openmetrics},
      // Prometheus 2.42
      {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
       "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       Exposition::openmetrics},
      {",;,=;q=,,", Exposition::prometheus},
  };
  for (const auto& row : table) {
    CAPTURE(row.accept);
    CHECK(wanted_exposition(row.accept) == row.wanted);
  }
}

TEST_CASE("a counter's family is named without _total in OpenMetrics, its samples with it") {
  MetricFamily counter = family(MetricType::Counter, "things_total");
  counter.metric[0].label = {{"kind", "a\\b\"c\nd"}, {"empty", ""}};
  counter.metric[0].counter.value = 12345678;
  CHECK(to_text({counter}, Exposition::prometheus) ==
        "# HELP things_total What \"it\" is\\\\was,\\nreally\n"
        "# TYPE things_total counter\n"
        "things_total{kind=\"a\\\\b\\\"c\\nd\",empty=\"\"} 12345678\n");
  CHECK(to_text({counter}, Exposition::openmetrics) ==
        "# HELP things What \\\"it\\\" is\\\\was,\\nreally\n"
        "# TYPE things counter\n"
        "things_total{kind=\"a\\\\b\\\"c\\nd\",empty=\"\"} 12345678\n"
        "# EOF\n");
}

TEST_CASE("numbers are written in full, bounds of buckets with a point") {
  MetricFamily gauge = family(MetricType::Gauge, "level");
  gauge.help = "h";
  for (const double value : {0.1, 1.0 / 3, 1e300, std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity(), std::nan("")}) {
    gauge.metric.emplace_back();
    gauge.metric.back().gauge.value = value;
  }
  CHECK(to_text({gauge}, Exposition::prometheus) ==
        "# HELP level h\n# TYPE level gauge\nlevel 0\nlevel 0.1\nlevel 0.3333333333333333\nlevel 1e+300\n"
        "level +Inf\nlevel -Inf\nlevel NaN\n");

  MetricFamily histogram = family(MetricType::Histogram, "wait_seconds");
  histogram.help = "h";
  auto& figures = histogram.metric[0].histogram;
  figures.sample_count = 5;
  figures.sample_sum = 7.5;
  figures.bucket = {{2, 0.25}, {4, 1}};
  const std::string open =
      "# HELP wait_seconds h\n# TYPE wait_seconds histogram\n"
      "wait_seconds_bucket{le=\"0.25\"} 2\nwait_seconds_bucket{le=\"1.0\"} 4\n"
      "wait_seconds_bucket{le=\"+Inf\"} 5\nwait_seconds_count 5\nwait_seconds_sum 7.5\n";
  CHECK(to_text({histogram}, Exposition::prometheus) == open);
  figures.bucket.push_back({5, std::numeric_limits<double>::infinity()});  // as the library gives it
  CHECK(to_text({histogram}, Exposition::prometheus) == open);
}

TEST_CASE("nothing is an exposition too") {
  CHECK(to_text({}, Exposition::prometheus).empty());
  CHECK(to_text({family(MetricType::Summary, "s"), family(MetricType::Untyped, "u")},
                Exposition::openmetrics) == "# EOF\n");
}

}  // namespace
}  // namespace kurultai::exposition_test
