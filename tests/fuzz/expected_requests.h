// HTTP/1.1 requests as RFC 9112 reads them, from the whole of the bytes, written without a look at the
// supervisor's own reader: where the two differ, one of them is wrong.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kurultai::fuzz {

struct Limits {
  std::size_t head;
  std::size_t headers;
  std::size_t body;
};

struct ExpectedRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string, std::less<>> headers;
  std::string body;
};

struct Expected {
  std::vector<ExpectedRequest> requests;
  enum class End {
    more,     // the rest is no whole request yet
    refused,  // the next one must be refused
    closed,   // the last one ends the connection
    open,     // what comes next is not judged: it hangs on things that this reader does not know
  } end = End::more;
};

Expected expected_requests(std::string_view bytes, const Limits& limits);

}  // namespace kurultai::fuzz
