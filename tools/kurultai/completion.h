// Shell completion, written from the commands themselves. Static: it asks no supervisor. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kurultai {

struct CommandWords {
  std::string name;
  std::string description;
  std::vector<std::string> words;  // its options, and what stands behind it
};

/// The script for `bash`, `zsh` or `fish`; nullopt for another shell.
std::optional<std::string> completion_script(std::string_view shell,
                                             const std::vector<CommandWords>& commands);

}  // namespace kurultai
