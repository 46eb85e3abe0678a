#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "config/settings.h"
#include "protocol/event_names.h"
#include "tests/config/configs.h"

namespace kurultai::publishers_test {
namespace {

using namespace std::chrono_literals;
using namespace kurultai::testing;

TEST_CASE("publishers are read") {
  const Config config = config_of(
      "publishers:\n"
      "  - {type: webhook, url: 'https://a.example/x?y=z', events: [taskFailed, drained], timeout: 2s, "
      "buffer: 64KiB}\n"
      "  - {name: second, url_file: /run/url, token_file: /run/token}\n");
  REQUIRE(config.publishers.size() == 2);
  const PublisherConfig& first = config.publishers[0];
  CHECK(first.name == "webhook");
  CHECK(first.url == "https://a.example/x?y=z");
  CHECK(first.events == std::vector<std::string>{"taskFailed", "drained"});
  CHECK(first.timeout == 2s);
  CHECK(first.buffer == kibibytes(64));
  const PublisherConfig& second = config.publishers[1];
  CHECK(second.name == "second");
  CHECK(second.url_file == "/run/url");
  CHECK(second.token_file == "/run/token");
  CHECK(second.events.empty());
  CHECK(second.timeout == 10s);
  CHECK(second.connect_timeout == 5s);
  CHECK(second.buffer == mebibytes(1));
  CHECK(config_of("publishers: []").publishers.empty());
  CHECK(config_of("publishers:\n").publishers.empty());
}

TEST_CASE("what is wrong with a publisher is said where it stands") {
  struct Row {
    const char* publishers;
    const char* error;
  };
  const std::vector<Row> rows = {
      {"  - {type: webhook}\n",
       "f:2:5: publishers.0: one of url and url_file says where to, as in `url: "
       "https://ops.example.org/kurultai`"},
      {"  - {url: 'http://a', url_file: /f}\n",
       "f:2:5: publishers.0: one of url and url_file says where to, as in `url: "
       "https://ops.example.org/kurultai`"},
      {"  - {url: a}\n", "f:2:11: publishers.0.url: 'a' is no address: it begins with http:// or https://"},
      {"  - {url: 'http:///x'}\n",
       "f:2:11: publishers.0.url: 'http:///x' is no address: there is no host in it"},
      {"  - {url: 'http://a b'}\n",
       "f:2:11: publishers.0.url: 'http://a b' is no address: a space, a # or another character that has to "
       "be "
       "written as %XX"},
      {"  - {url: 'http://u:p@a'}\n",
       "f:2:11: publishers.0.url: an address with a password would be shown to everybody; write it into "
       "url_file"},
      {"  - {url: 'http://a', events: [taskFails]}\n",
       "f:2:32: publishers.0.events: there is no event 'taskFails', did you mean 'taskFailed'?"},
      {"  - {url: 'http://a', type: smtp}\n", "f:2:29: publishers.0.type: expected webhook, found 'smtp'"},
      {"  - {url: 'http://a', buffer: 1KiB}\n",
       "f:2:31: publishers.0.buffer: 1KiB is out of range: 4KiB to 64MiB"},
      {"  - {url: 'http://a', timeout: 1s, connect_timeout: 2s}\n",
       "f:2:53: publishers.0.connect_timeout: 2s is more than timeout, 1s"},
      {"  - {url: 'http://a'}\n  - {url: 'http://b'}\n",
       "f:3:5: publishers.1: there is a publisher 'webhook' already; give one of them a `name`"},
      {"  - {url: 'http://a', name: 'x y'}\n",
       "f:2:29: publishers.0.name: 'x y' is no name: 1 to 64 letters, digits, _, . and -"},
      {"  - {url: 'http://a', urls: b}\n", "f:2:23: unknown key 'urls', did you mean 'url'?"},
      {"  a: b\n",
       "f:2:3: publishers: expected a list, as in `- {type: webhook, url: "
       "https://ops.example.org/kurultai}`"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.publishers);
    CHECK(error_of("publishers:\n" + std::string(row.publishers)) == row.error);
  }
}

TEST_CASE("a short timeout needs no connect_timeout besides") {
  const Config config = config_of("publishers: [{url: 'http://a', timeout: 1s}]");
  CHECK(config.publishers[0].timeout == 1s);
  CHECK(config.publishers[0].connect_timeout == 1s);
  CHECK(config_of(config_to_yaml(config)).publishers == config.publishers);
}

TEST_CASE("there are at most sixteen publishers") {
  std::string most = "publishers:\n";
  for (std::size_t i = 0; i < most_publishers; ++i)
    most += "  - {url: 'http://a', name: n" + std::to_string(i) + "}\n";
  CHECK(config_of(most).publishers.size() == most_publishers);
  CHECK(error_of(most + "  - {url: 'http://a'}\n") == "f:2:3: publishers: more than 16 of them");
}

TEST_CASE("the environment gives all publishers, what is shown can be read again, and a change is told") {
  const Config before =
      config_of("publishers: [{url: 'http://a'}, {name: b, url_file: /f, events: [drained]}]");
  const Config again = config_of(config_to_yaml(before));
  CHECK(again.publishers == before.publishers);
  CHECK(compare(before, again).live.empty());
  const Config after = config_of("publishers: [{url: 'http://b'}]");
  CHECK(compare(before, after).live == std::vector<std::string>{"publishers"});
  const Config given = config_of("", {{"KURULTAI_PUBLISHERS", "[{url: 'http://c'}]"}});
  REQUIRE(given.publishers.size() == 1);
  CHECK(given.publishers[0].url == "http://c");
}

TEST_CASE("the schema knows the names of the events") {
  const auto schema = nlohmann::json::parse(config_schema());
  const auto& events = schema["properties"]["publishers"]["items"]["properties"]["events"]["items"]["enum"];
  CHECK(events.size() == std::size(event_names));
}

}  // namespace
}  // namespace kurultai::publishers_test
