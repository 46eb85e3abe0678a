// The steps between the text and a finished Config; load.cc puts them in order. Each tells `findings` what it
// saw.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "config/findings.h"
#include "config/yaml_tree.h"

namespace kurultai {

/// Takes over what the tree of `file` gives; keys that no table knows are refused with the nearest right
/// name.
void read_tree(const YamlNode& root, const std::string& file, Config& config, Findings& findings);

/// Of the lists: schedules, publishers.
const std::vector<std::string>& list_keys();
/// One of them, in the place of any there was.
void read_list(const std::string& key, const YamlNode& node, const std::string& file, Config& config,
               Findings& findings);

/// Variables win over the file. An empty one counts as absent.
void read_environment(const Environment& environment, Config& config, Findings& findings);

/// The rules over several settings. Settings that were left at their defaults give way (a warning above the
/// limit, a level above the depth); ones that were given are refused where they stand.
void check_config(const std::string& file, Config& config, Findings& findings);

}  // namespace kurultai
