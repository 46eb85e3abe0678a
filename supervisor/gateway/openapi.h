// The description of the HTTP interface: openapi.json, put into the program when it is built.
#pragma once

#include <string_view>

namespace kurultai {

extern const std::string_view openapi_document;

}  // namespace kurultai
