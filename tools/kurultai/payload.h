// The payload of `submit`: JSON on the command line, in a file (`@FILE`) or on stdin (`-`).
#pragma once

#include <string>

#include "tools/kurultai/complaint.h"

namespace kurultai {

/// The JSON text itself, checked but not changed: numbers keep every digit. Empty when `argument` is.
Answer<std::string> read_payload(const std::string& argument);

}  // namespace kurultai
