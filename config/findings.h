// What reading a configuration brings to light besides the values: where each setting was given, and every
// mistake. Lives as long as one load.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"
#include "config/yaml_tree.h"

namespace kurultai {

struct Place {
  std::string file;  // or the name of the environment variable
  Position at;       // line 0: none
};

class Findings {
 public:
  void refuse(const Place& place, const std::string& text);

  /// The setting `path` stands in the file or the environment; the last one given counts.
  void given(const std::string& path, const Place& place) { given_[path] = place; }
  /// Its value was refused: rules over several settings leave it alone, its default proves nothing.
  void broken(const std::string& path) { broken_[path] = true; }

  const Place* place_of(const std::string& path) const;
  bool is_broken(const std::string& path) const { return broken_.contains(path); }

  std::size_t count() const { return errors_.size(); }
  /// In the order of the text, those of the environment last, each once; after the first hundred only their
  /// number.
  std::vector<ConfigError> take_errors();

 private:
  std::vector<ConfigError> errors_;
  std::map<std::string, Place> given_;
  std::map<std::string, bool> broken_;
};

}  // namespace kurultai
