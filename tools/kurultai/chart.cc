#include "tools/kurultai/chart.h"

#include <algorithm>
#include <array>

namespace kurultai {

namespace {

/// One character: the eighths of this row that are filled.
std::string cell(double value, double row_floor, double row_height) {
  static constexpr std::array<const char*, 9> blocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const double filled = std::clamp((value - row_floor) / row_height, 0.0, 1.0);
  return blocks.at(static_cast<std::size_t>(filled * 8));
}

}  // namespace

std::string draw(const Chart& chart, std::size_t height) {
  if (chart.top <= 0 || std::ranges::all_of(chart.columns, [](double column) { return column < 0; }))
    return "";
  const double row_height = chart.top / static_cast<double>(height);
  std::string text;
  for (std::size_t row = height; row-- > 0;) {
    const double floor = row_height * static_cast<double>(row);
    std::string label;
    for (const auto& [at, name] : chart.lines) {
      if (at >= floor && (at < floor + row_height || (row + 1 == height && at <= chart.top)))
        label.append(label.empty() ? " " : ", ").append(name);
    }
    text += "  │";
    for (const double column : chart.columns) text += cell(column, floor, row_height);
    text += "│" + label + "\n";
  }
  return text;
}

}  // namespace kurultai
