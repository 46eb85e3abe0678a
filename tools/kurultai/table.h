// Plain aligned columns, as `ps` and `kubectl get` print them: a heading, two blanks between columns, no
// lines.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kurultai {

enum class Align { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// Cells beyond the columns are dropped, missing and empty ones show as `-`.
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  /// Ends with a newline. The last column is not padded.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// Two columns without a heading: `name  value`, one a line. Values that are empty are left out.
std::string facts(const std::vector<std::pair<std::string, std::string>>& rows);

}  // namespace kurultai
