#include "supervisor/gateway/openapi.h"

#include <doctest/doctest.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "supervisor/gateway/gateway.h"

namespace kurultai::openapi_test {
using nlohmann::json;

namespace {

const json& document() {
  static const json whole = json::parse(openapi_document);
  return whole;
}

std::string in_capitals(std::string word) {
  for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return word;
}

/// "GET /v1/tasks" …
std::set<std::string> described() {
  std::set<std::string> calls;
  for (const auto& [described_path, item] : document()["paths"].items()) {
    std::string path = described_path;  // routes know one name for what stands in a path
    if (const std::size_t name = path.find("{name}"); name != std::string::npos)
      path.replace(name, 6, "{id}");
    for (const auto& [word, operation] : item.items()) {
      if (word != "parameters") calls.insert(in_capitals(word) + " " + path);
    }
  }
  return calls;
}

/// Every object that has properties and takes others too, by its place.
void find_open_objects(const json& part, const std::string& place, std::set<std::string>& found) {
  if (part.is_object() && part.contains("properties") && part.value("type", "") == "object" &&
      !part.contains("additionalProperties"))
    found.insert(place);
  if (!part.is_structured()) return;
  for (const auto& [key, value] : part.items()) find_open_objects(value, place + "/" + key, found);
}

void find_references(const json& part, std::set<std::string>& found) {
  if (part.is_object() && part.contains("$ref")) found.insert(part["$ref"].get<std::string>());
  if (!part.is_structured()) return;
  for (const auto& [key, value] : part.items()) find_references(value, found);
}

}  // namespace

TEST_CASE("openapi.json describes every route, and no other") {
  std::set<std::string> served;
  for (const Gateway::Route& route : Gateway::routes())
    served.insert(std::string(route.method) + " " + std::string(route.pattern));
  CHECK(served.size() == Gateway::routes().size());
  CHECK(served == described());
}

TEST_CASE("every shape in openapi.json is closed, and every reference leads somewhere") {
  std::set<std::string> open;
  find_open_objects(document()["components"]["schemas"], "", open);
  CHECK(open == std::set<std::string>());
  std::set<std::string> references;
  find_references(document(), references);
  CHECK(references.size() > 50);
  for (const std::string& reference : references) {
    INFO(reference);
    REQUIRE(reference.starts_with("#/"));
    CHECK(document().contains(json::json_pointer(reference.substr(1))));
  }
}

}  // namespace kurultai::openapi_test
