#include "protocol/error.h"

#include <system_error>

namespace kurultai {

std::unexpected<Error> system_failure(std::string_view doing, int code) {
  return failure(std::string(doing) + ": " + std::generic_category().message(code), code);
}

}  // namespace kurultai
