#include "config/findings.h"

#include <algorithm>
#include <tuple>

namespace kurultai {
namespace {

auto in_order(const ConfigError& error) {
  return std::make_tuple(error.line == 0, error.line, error.column, std::string_view(error.file),
                         std::string_view(error.text));
}

}  // namespace

void Findings::refuse(const Place& place, const std::string& text) {
  errors_.push_back({place.file, place.at.line, place.at.column, text});
}

const Place* Findings::place_of(const std::string& path) const {
  const auto found = given_.find(path);
  return found == given_.end() ? nullptr : &found->second;
}

std::vector<ConfigError> Findings::take_errors() {
  constexpr std::size_t most = 100;
  const auto before = [](const ConfigError& a, const ConfigError& b) { return in_order(a) < in_order(b); };
  const auto same = [](const ConfigError& a, const ConfigError& b) { return in_order(a) == in_order(b); };
  std::stable_sort(errors_.begin(), errors_.end(), before);
  // What an alias stands for is read once for each alias, and is wrong at one place only.
  errors_.erase(std::unique(errors_.begin(), errors_.end(), same), errors_.end());
  if (errors_.size() > most) {
    const std::string left = std::to_string(errors_.size() - most);
    const std::string file = errors_.front().file;
    errors_.resize(most);
    errors_.push_back({file, 0, 0, "and " + left + " more errors"});
  }
  return std::move(errors_);
}

}  // namespace kurultai
