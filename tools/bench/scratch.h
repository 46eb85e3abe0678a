// A directory of our own in /tmp, removed with all that is in it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tools/bench/child.h"

namespace kurultai::bench {

class Scratch {
 public:
  /// `/tmp/NAME-` and six letters.
  explicit Scratch(const std::string& name) : path_("/tmp/" + name + "-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) give_up("mkdtemp " + path_);
  }
  ~Scratch() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace kurultai::bench
