// Memory over time as a block chart for a terminal. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kurultai {

struct Chart {
  std::vector<double> columns;                             // values, oldest first; negative: nothing is known
  double top = 0;                                          // what the highest row ends with
  std::vector<std::pair<double, std::string_view>> lines;  // values that are named beside their row
};

/// `height` lines, each column filled by eighths. Empty where nothing is known or `top` is nothing.
std::string draw(const Chart& chart, std::size_t height);

}  // namespace kurultai
