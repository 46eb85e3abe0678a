#include "config/near_name.h"

#include <algorithm>
#include <iterator>
#include <vector>

namespace kurultai {

namespace {

/// Whether `name` has `word` between two underscores, or an underscore and an end.
bool has_word(std::string_view name, std::string_view word) {
  return !word.empty() &&
         ("_" + std::string(name) + "_").find("_" + std::string(word) + "_") != std::string::npos;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::optional<std::string> near_name(std::string_view word, std::span<const std::string> names) {
  constexpr std::size_t longest =
      64;  // no name is longer, and a key of a megabyte must not be compared letter by letter
  if (word.size() > longest) return std::nullopt;
  const std::string* best = nullptr;
  std::size_t best_distance = 0;
  for (const std::string& name : names) {
    const std::size_t distance = edit_distance(word, name);
    if (best != nullptr && distance >= best_distance) continue;
    best = &name;
    best_distance = distance;
  }
  if (best == nullptr || best_distance > std::max<std::size_t>(1, best->size() / 3)) return std::nullopt;
  return *best;
}

std::string meant_or_known(std::string_view word, std::span<const std::string> names) {
  if (const auto near = near_name(word, names)) return ", did you mean '" + *near + "'?";
  constexpr std::size_t few = 4;
  std::vector<std::string> alike;
  std::ranges::copy_if(names, std::back_inserter(alike),
                       [&](const std::string& name) { return has_word(name, word); });
  if (!alike.empty() && alike.size() <= few) {
    std::string text = ", did you mean ";
    for (std::size_t i = 0; i < alike.size(); ++i) {
      if (i > 0) text += i + 1 == alike.size() ? " or " : ", ";
      text += "'" + alike[i] + "'";
    }
    return text + "?";
  }
  std::string text = "; known here:";
  for (const std::string& name : names) text += (&name == names.data() ? " " : ", ") + name;
  return text;
}

}  // namespace kurultai
