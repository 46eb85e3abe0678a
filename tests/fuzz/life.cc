// Whatever a recording holds, it is read and replayed within bounds; and what was understood is written as
// lines that mean the same.
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "governance/life_parser.h"
#include "governance/life_writer.h"
#include "governance/policy_replay.h"
#include "tests/fuzz/check.h"

using namespace kurultai;

namespace {

/// The text of all records of `text` that are understood, as one that writes them would write it.
std::string written_again(std::string_view text) {
  LifeParser parser;
  LifeWriter writer{TimePoint{}};
  LifeTally life;
  PolicyReplay same{std::nullopt};
  PolicyRules rules;
  rules.budget = mebibytes(100);
  PolicyReplay other{rules};
  std::string out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const auto record = parser.parse(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!record) {
      HOLDS(!record.error().message.empty());
      continue;
    }
    life.take(*record);
    same.take(*record);
    other.take(*record);
    std::visit(
        [&](const auto& one) {
          constexpr bool is_room = std::is_same_v<std::decay_t<decltype(one)>, RoomSeen>;  // JSON of any size
          if constexpr (!is_room && requires { writer.write(out, one); }) writer.write(out, one);
        },
        *record);
  }
  for (const PolicyReplay* replay : {&same, &other}) {
    const PolicyTally& tally = replay->tally();
    HOLDS(tally.first_deeds.size() <= PolicyTally::most_listed);
    HOLDS(tally.profile.columns(7).size() == 7);
    HOLDS(tally.peak_ratio <= life.tally().peak_ratio || replay != &same);
    HOLDS(tally.starts <= life.tally().starts);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A task that stands twice in one reading is written as what it was last.
  const std::string once = written_again(written_again({reinterpret_cast<const char*>(data), size}));
  HOLDS(written_again(once) == once);
  return 0;
}
