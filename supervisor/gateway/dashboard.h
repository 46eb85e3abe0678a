// The page of `GET /`: dashboard.html, put into the program when it is built.
#pragma once

#include <string_view>

namespace kurultai {

struct Dashboard {
  std::string_view page;
  std::string_view tag;     // for ETag, with its quotes
  std::string_view policy;  // for Content-Security-Policy: its own style and script by their hashes
};

extern const Dashboard dashboard;

}  // namespace kurultai
