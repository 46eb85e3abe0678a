#include "tools/kurultai/endpoint.h"

#include <doctest/doctest.h>

#include <map>

namespace kurultai::endpoint_test {

namespace {

struct Place {
  std::map<std::string, std::string> environment;
  std::vector<std::string> files;
  bool is_root = false;

  Answer<Endpoint> choose(const ConnectOptions& options = {}) const {
    const auto variable = [this](std::string_view name) -> std::optional<std::string> {
      const auto found = environment.find(std::string(name));
      if (found == environment.end()) return std::nullopt;
      return found->second;
    };
    return choose_endpoint(options, variable, is_root, [this](const std::string& path) {
      return std::find(files.begin(), files.end(), path) != files.end();
    });
  }
};

ConnectOptions at(const std::string& socket, const std::string& url = "") { return {socket, url, ""}; }

const std::string in_run = "/run/kurultai/kurultai.sock";
const std::string in_runtime = "/run/user/7/kurultai.sock";

}  // namespace

TEST_CASE("the command line wins over the environment, the environment over the defaults") {
  Place place{{{"KURULTAI_SOCKET", "/e"}, {"KURULTAI_URL", "http://e:1"}, {"XDG_RUNTIME_DIR", "/run/user/7"}},
              {in_run, in_runtime}};
  CHECK(place.choose(at("/o"))->socket == "/o");
  CHECK(place.choose(at("", "http://o:2/"))->url == "http://o:2");
  CHECK(place.choose(at("", "http://o:2/"))->socket.empty());
  CHECK(place.choose()->socket == "/e");
  place.environment.erase("KURULTAI_SOCKET");
  CHECK(place.choose()->url == "http://e:1");
  place.environment.erase("KURULTAI_URL");
  CHECK(place.choose()->socket == in_runtime);
}

TEST_CASE("the default socket that exists is taken, root's own first for root") {
  Place place{{{"XDG_RUNTIME_DIR", "/run/user/7"}}, {in_run}};
  CHECK(place.choose()->socket == in_run);
  place.files = {in_run, in_runtime};
  CHECK(place.choose()->socket == in_runtime);
  place.is_root = true;
  CHECK(place.choose()->socket == in_run);
}

TEST_CASE("when no socket exists both places are named") {
  Place place{{{"XDG_RUNTIME_DIR", "/run/user/7"}}, {}};
  CHECK(place.choose()->name() == in_runtime + " or " + in_run);
  place.environment.clear();
  CHECK(place.choose()->name() == in_run);
}

TEST_CASE("an address without a scheme is HTTP, and other schemes are refused") {
  const Place place;
  CHECK(place.choose(at("", "127.0.0.1:7717"))->url == "http://127.0.0.1:7717");
  const auto other = place.choose(at("", "file:///etc/passwd"));
  REQUIRE_FALSE(other);
  CHECK(other.error().status == ExitStatus::usage);
}

TEST_CASE("a socket's path that the kernel would not take is refused by name") {
  const auto endpoint = Place{}.choose(at("/" + std::string(107, 'x')));
  REQUIRE_FALSE(endpoint);
  CHECK(endpoint.error().text.ends_with("too long, a socket's path has at most 107 bytes"));
  CHECK(Place{}.choose(at("/" + std::string(106, 'x'))));
}

}  // namespace kurultai::endpoint_test
