#include "config/listen_address.h"

#include <doctest/doctest.h>

#include <vector>

namespace kurultai::listen_address_test {

TEST_CASE("addresses are a host and a port") {
  struct Case {
    std::string_view text, host;
    int port;
  };
  for (const Case& c : {Case{"127.0.0.1:7717", "127.0.0.1", 7717}, Case{"[::1]:80", "::1", 80},
                        Case{"localhost:0", "localhost", 0}, Case{"0.0.0.0:65535", "0.0.0.0", 65535},
                        Case{"my-host.example:1", "my-host.example", 1}}) {
    CAPTURE(c.text);
    const auto address = parse_listen(c.text);
    REQUIRE(address.has_value());
    REQUIRE(address->has_value());
    CHECK((*address)->host == c.host);
    CHECK((*address)->port == c.port);
  }
}

TEST_CASE("none is no address and no mistake") {
  const auto address = parse_listen("none");
  REQUIRE(address.has_value());
  CHECK_FALSE(address->has_value());
}

TEST_CASE("what is no address is refused") {
  for (const std::string_view text :
       {"", "7717", "localhost", ":7717", "localhost:", "localhost:65536", "localhost:-1", "localhost:80x",
        "a b:80", "[::1:80", "::1:80", "[]:80", "[x]:80", "None"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_listen(text).has_value());
  }
}

TEST_CASE("loopback is what only this machine reaches") {
  for (const std::string_view host : {"localhost", "127.0.0.1", "127.8.9.10", "::1"})
    CHECK(is_loopback(host));
  for (const std::string_view host : {"0.0.0.0", "128.0.0.1", "::", "example", "127.0.0.1.example", ""}) {
    CHECK_FALSE(is_loopback(host));
  }
}

}  // namespace kurultai::listen_address_test
