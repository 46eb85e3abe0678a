#include "protocol/version.h"

namespace kurultai {

constinit const std::string_view project_version = KURULTAI_VERSION;

}  // namespace kurultai
