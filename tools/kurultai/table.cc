#include "tools/kurultai/table.h"

#include <algorithm>

#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

void append_cell(std::string& line, const std::string& cell, std::size_t wide, Align align, bool last) {
  const std::string padding(wide - width(cell), ' ');
  if (align == Align::right) line += padding;
  line += cell;
  if (last) return;
  if (align == Align::left) line += padding;
  line += "  ";
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (auto& cell : cells) cell = cell.empty() ? "-" : printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    widths.push_back(width(columns_[i].title));
    for (const auto& row : rows_) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string out;
  const auto append = [&](const auto& cell_of) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      append_cell(out, cell_of(i), widths[i], columns_[i].align, i + 1 == columns_.size());
    }
    out += '\n';
  };
  append([&](std::size_t i) { return columns_[i].title; });
  for (const auto& row : rows_) append([&](std::size_t i) { return row[i]; });
  return out;
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t wide = 0;
  for (const auto& [name, value] : rows) {
    if (!value.empty()) wide = std::max(wide, width(name));
  }
  std::string out;
  for (const auto& [name, value] : rows) {
    if (value.empty()) continue;
    append_cell(out, name, wide, Align::left, false);
    out += printable(value) + '\n';
  }
  return out;
}

}  // namespace kurultai
