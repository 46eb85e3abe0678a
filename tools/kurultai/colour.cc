#include "tools/kurultai/colour.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace kurultai {

bool colours_wanted() {
  const char* refused = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && (refused == nullptr || *refused == '\0') &&
         (terminal == nullptr || std::strcmp(terminal, "dumb") != 0);
}

}  // namespace kurultai
