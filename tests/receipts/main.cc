// kurultai-decide-again <RECEIPTS
// Reads an array of receipts, as `decisions` of GET /v1/tasks/{id}/why has them, and gives the reading in
// each to a fresh governor. Prints how many were decided again, and each that was decided otherwise. Exit
// status 1 when one was, or is no receipt.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "governance/receipt.h"

namespace kurultai {

namespace {

using nlohmann::json;

/// Where the decision on the same reading is told otherwise now; empty: nowhere.
std::string difference(const json& told) {
  const auto receipt = parse_receipt(told);
  if (!receipt) return receipt.error().message;
  const json again = to_json(decide_again(*receipt));
  for (const char* part : {"action", "reading", "thresholds", "ranking", "room", "prediction"}) {
    if (again.at(part) == told.at(part)) continue;
    return std::string(part) + " would be " + again.at(part).dump() + ", was " + told.at(part).dump();
  }
  return {};
}

int decide_all_again() {
  const json receipts = json::parse(std::cin, nullptr, false);
  if (!receipts.is_array()) {
    std::fputs("kurultai-decide-again: not an array of receipts\n", stderr);
    return 1;
  }
  int wrong = 0;
  for (const json& told : receipts) {
    const std::string different = difference(told);
    if (different.empty()) continue;
    wrong += 1;
    std::printf("%s\n", different.c_str());
  }
  std::printf("%zu decided again, %d otherwise\n", receipts.size(), wrong);
  return wrong == 0 ? 0 : 1;
}

}  // namespace

}  // namespace kurultai

int main() { return kurultai::decide_all_again(); }
