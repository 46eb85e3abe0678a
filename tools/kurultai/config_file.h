// A configuration that the user named, for commands that work without a supervisor.
#pragma once

#include <string>

#include "config/config.h"
#include "tools/kurultai/complaint.h"

namespace kurultai {

/// As kurultaid would read it, environment included. The complaint tells every mistake.
Answer<Config> read_config(const std::string& file);

}  // namespace kurultai
