#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>

#include "tools/kurultai/text.h"
#include "tools/soak/outcome.h"

namespace kurultai::soak {
namespace {

constexpr double chart_width = 960;
constexpr double left = 80;    // of the axis' words
constexpr double right = 150;  // of the thresholds' names
constexpr double gap = 46;     // below a panel, for the time

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

/// What XML gives a meaning.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

struct Mark {
  double value = 0;
  std::string name;
  const char* colour = "#888";
};

/// One curve from its time and its bytes to the page.
struct Panel {
  double top = 0;
  double height = 0;
  double seconds = 0;  // at the right end
  double bytes = 0;    // at the top

  double x(double at) const {
    return left + (chart_width - left - right) * std::clamp(at / seconds, 0.0, 1.0);
  }
  double y(double value) const { return top + height * (1 - std::clamp(value / bytes, 0.0, 1.0)); }
};

std::string text_at(double x, double y, const char* anchor, const std::string& text,
                    const char* colour = "#444") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\" fill=\"" +
         colour + "\">" + escaped(text) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" +
         number(y2) + "\" " + style + "/>\n";
}

/// Between the least and the most of each moment.
std::string band(const Panel& panel, const LeakSeries& curve, const char* colour) {
  std::string points;
  const auto all = curve.points();
  const auto add = [&](double seconds, double value) {
    points += number(panel.x(seconds)) + "," + number(panel.y(value)) + " ";
  };
  for (const LeakPoint& point : all) add(point.first, point.most), add(point.last, point.most);
  for (std::size_t i = all.size(); i-- > 0;) add(all[i].last, all[i].least), add(all[i].first, all[i].least);
  return "<polygon points=\"" + points + "\" fill=\"" + colour + "\" fill-opacity=\"0.35\" stroke=\"" +
         colour + "\" stroke-width=\"1\"/>\n";
}

double step_of(double whole, double steps) {
  const double rough = whole / steps;
  const double unit = std::pow(2.0, std::floor(std::log2(std::max(rough, 1.0))));
  return rough > unit * 1.5 ? unit * 2 : unit;
}

/// So many seconds, that are easy to read.
double time_step(double seconds) {
  for (const double step : {1., 2., 5., 10., 30., 60., 120., 300., 600., 1800., 3600., 7200., 21600.}) {
    if (seconds / step <= 10) return step;
  }
  return 86400;
}

std::string frame(const Panel& panel, const std::string& title) {
  std::string svg = text_at(left, panel.top - 10, "start", title, "#000");
  const double step = step_of(panel.bytes, 5);
  for (int i = 0; i * step <= panel.bytes; ++i) {
    const double value = i * step;
    svg += line(left, panel.y(value), chart_width - right, panel.y(value), "stroke=\"#ddd\"");
    svg += text_at(left - 8, panel.y(value) + 4, "end", brief(Bytes{std::llround(value)}));
  }
  const double pace = time_step(panel.seconds);
  for (int i = 0; i * pace <= panel.seconds; ++i)
    svg += text_at(panel.x(i * pace), panel.top + panel.height + 18, "middle",
                   i == 0 ? "0" : brief(Duration(std::llround(i * pace * 1000))));
  return svg + line(left, panel.top + panel.height, chart_width - right, panel.top + panel.height,
                    "stroke=\"#444\"");
}

std::string marks(const Panel& panel, const std::vector<Mark>& all) {
  std::string svg;
  for (const Mark& mark : all) {
    svg += line(left, panel.y(mark.value), chart_width - right, panel.y(mark.value),
                std::string("stroke-dasharray=\"5 4\" stroke=\"") + mark.colour + "\"");
    svg += text_at(chart_width - right + 6, panel.y(mark.value) + 4, "start", mark.name, mark.colour);
  }
  return svg;
}

std::vector<Mark> thresholds_of(const Outcome& outcome) {
  std::vector<Mark> all;
  const auto budget = static_cast<double>(outcome.budget.count);
  for (std::size_t i = 0; i < threshold_count; ++i) {
    const auto threshold = static_cast<Threshold>(i);
    const double share = outcome.thresholds.at(threshold);
    const bool kills = threshold == Threshold::kill;
    all.push_back(
        {budget * share, percent(share) + " " + std::string(to_string(threshold)), kills ? "#c22" : "#a70"});
  }
  all.push_back({budget, "budget", "#000"});
  return all;
}

}  // namespace

std::string to_svg(const Outcome& outcome) {
  const double seconds = std::max({outcome.seconds, outcome.memory.tree_curve().seconds(), 1.0});
  const auto budget = static_cast<double>(outcome.budget.count);
  const Panel tree{.top = 50,
                   .height = 300,
                   .seconds = seconds,
                   .bytes = std::max({budget, outcome.memory.tree().most(), 1.0}) * 1.08};
  const Panel supervisor{.top = tree.top + tree.height + gap + 30,
                         .height = 140,
                         .seconds = seconds,
                         .bytes = std::max(outcome.memory.supervisor().most(), 1.0) * 1.3};
  const double height = supervisor.top + supervisor.height + gap;
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(chart_width) + " " +
                    number(height) +
                    "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" "
                    "fill=\"#fff\"/>\n";
  svg += frame(tree, outcome.profile +
                         ": memory of the supervisor and all its workers, least and most of each moment");
  svg += band(tree, outcome.memory.tree_curve(), "#2a6fb0") + marks(tree, thresholds_of(outcome));
  svg += frame(supervisor, "the supervisor alone (RSS)");
  svg += band(supervisor, outcome.memory.supervisor_curve(), "#3a8f4d");
  return svg + "</svg>\n";
}

}  // namespace kurultai::soak
