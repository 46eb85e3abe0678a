#include "governance/footprint.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace kurultai::footprint_test {
using std::chrono::hours;

namespace {

const WallTime noon{hours(500'000)};
constexpr Bytes cap = mebibytes(500);

Footprints of_peaks(const std::vector<std::int64_t>& mib, WallTime at = noon) {
  Footprints footprints;
  for (const std::int64_t peak : mib) footprints.record("a", "", mebibytes(peak), at);
  return footprints;
}

}  // namespace

TEST_CASE("until three tasks have ended a guess counts, and the cap is above all") {
  CHECK(of_peaks({10, 20}).of("a", "", cap, mebibytes(5)) == mebibytes(5));
  CHECK(of_peaks({10, 20}).of("a", "", cap, gibibytes(5)) == cap);
  CHECK(of_peaks({}).of("a", "", cap, cap) == cap);
  CHECK(of_peaks({10, 20}).of("a", "", cap, cap) == cap);
  CHECK(of_peaks({10, 20, 15}).of("a", "", cap, cap) == mebibytes(20));
  CHECK(of_peaks({10, 20, 15}).of("b", "", cap, cap) == cap);
}

TEST_CASE("it is a high quantile: one of thirty-two does not count, two do") {
  std::vector<std::int64_t> peaks(32, 40);
  peaks[7] = 400;
  CHECK(of_peaks(peaks).of("a", "", cap, cap) == mebibytes(40));
  peaks[20] = 300;
  CHECK(of_peaks(peaks).of("a", "", cap, cap) == mebibytes(300));
}

TEST_CASE("a few that died of their cap do not make all others wait for so much room; many do") {
  CHECK(of_peaks({10, 20, 30, 500}).of("a", "", cap, cap) == mebibytes(30));
  CHECK(of_peaks({500, 10, 20, 30, 500, 10, 20, 30}).of("a", "", cap, cap) == mebibytes(30));
  CHECK(of_peaks({10, 20, 30, 500, 500, 500}).of("a", "", cap, cap) == mebibytes(30));
  CHECK(of_peaks({10, 20, 30, 500, 500, 500, 500}).of("a", "", cap, cap) == cap);
  CHECK(of_peaks({500, 500, 500}).of("a", "", cap, cap) == cap);
  CHECK(of_peaks({10, 20, 500, 500}).of("a", "", cap, cap) == cap);
  CHECK(of_peaks({10, 20, 499, 30}).of("a", "", cap, cap) == mebibytes(499));
}

TEST_CASE("a death of a cap that was raised since is a peak like others") {
  CHECK(of_peaks({10, 20, 30, 500}).of("a", "", mebibytes(800), mebibytes(800)) == mebibytes(500));
}

TEST_CASE("three that did not die are needed for a footprint") {
  CHECK(of_peaks({10, 20, 500}).of("a", "", cap, cap) == cap);
}

TEST_CASE("outgrown is what holds more than a sixteenth above its footprint, and 4 MiB") {
  CHECK_FALSE(has_outgrown(mebibytes(170), mebibytes(160)));
  CHECK(has_outgrown(mebibytes(171), mebibytes(160)));
  CHECK_FALSE(has_outgrown(mebibytes(14), mebibytes(10)));
  CHECK(has_outgrown(mebibytes(15), mebibytes(10)));
  CHECK_FALSE(has_outgrown(mebibytes(500), Bytes{}));
}

TEST_CASE("only the newest thirty-two are kept") {
  Footprints footprints = of_peaks(std::vector<std::int64_t>(100, 400));
  CHECK(footprints.samples("a", "") == 32);
  for (int i = 0; i < 31; ++i) footprints.record("a", "", mebibytes(10), noon);
  CHECK(footprints.of("a", "", cap, cap) == mebibytes(10));
}

TEST_CASE("old samples lose weight against newer ones, and never their sense") {
  Footprints footprints = of_peaks({400, 400, 400}, noon - hours(24 * 10));
  CHECK(footprints.of("a", "", cap, cap) == mebibytes(400));
  for (int i = 0; i < 3; ++i) footprints.record("a", "", mebibytes(50), noon);
  CHECK(footprints.of("a", "", cap, cap) == mebibytes(50));
  footprints = of_peaks({30, 400, 50}, noon - hours(24 * 3650));
  CHECK(footprints.of("a", "", cap, cap) == mebibytes(400));
  footprints.record("a", "", mebibytes(20), noon);
  CHECK(footprints.of("a", "", cap, cap) == mebibytes(20));
}

TEST_CASE("a clock that was set back is no reason to forget") {
  Footprints footprints = of_peaks({30, 40, 50}, noon + hours(1000));
  footprints.record("a", "", mebibytes(20), noon);
  CHECK(footprints.of("a", "", cap, cap) == mebibytes(50));
  for (int i = 0; i < 31; ++i) footprints.record("a", "", mebibytes(20), noon);
  CHECK(footprints.of("a", "", cap, cap) == mebibytes(20));
}

TEST_CASE("a size class is learned for itself") {
  Footprints footprints = of_peaks({10, 10, 10});
  for (int i = 0; i < 3; ++i) footprints.record("a", "large", mebibytes(300), noon);
  CHECK(footprints.of("a", "large", cap, cap) == mebibytes(300));
  CHECK(footprints.of("a", "", cap, cap) == mebibytes(10));
  CHECK(footprints.of("a", "new", cap, cap) == cap);
  CHECK(footprints.size_classes("a") == std::vector<std::string>{"large"});
  CHECK(footprints.size_classes("b").empty());
}

TEST_CASE("there are at most a thousand keys; a further class counts as its agent") {
  Footprints footprints = of_peaks({10, 10, 10});
  for (int i = 0; i < 2000; ++i) footprints.record("a", "class" + std::to_string(i), mebibytes(90), noon);
  CHECK(footprints.keys() == Footprints::most_keys);
  CHECK(footprints.samples("a", "class0") == 1);
  CHECK(footprints.samples("a", "class1999") == 0);
  CHECK(footprints.samples("a", "") == 32);
  CHECK(footprints.of("a", "class1999", cap, cap) == mebibytes(90));
}

TEST_CASE("an agent finds its place however many classes there are") {
  Footprints footprints;
  for (int i = 0; i < 1000; ++i) {
    footprints.record("a", "class" + std::to_string(i), mebibytes(90), i == 500 ? noon - hours(1) : noon);
  }
  for (int i = 0; i < 3; ++i) footprints.record("b", "", mebibytes(10), noon);
  CHECK(footprints.of("b", "", cap, cap) == mebibytes(10));
  CHECK(footprints.samples("a", "class500") == 0);
  CHECK(footprints.keys() == Footprints::most_keys);
}

TEST_CASE(
    "whatever the samples are, a footprint is a peak that was seen, below the cap, and grows with them") {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::pair<Bytes, WallTime>> seen(3 + random() % 40);
    for (auto& [peak, at] : seen) peak = mebibytes(random() % 1000), at = noon - hours(random() % 200);
    std::ranges::sort(seen, {}, [](const auto& sample) { return sample.second; });
    Footprints footprints;
    Footprints larger;
    const std::size_t grown = random() % seen.size();
    for (std::size_t i = 0; i < seen.size(); ++i) {
      footprints.record("a", "", seen[i].first, seen[i].second);
      larger.record("a", "", seen[i].first + mebibytes(i == grown ? 100 : 0), seen[i].second);
    }
    const Bytes answer = footprints.of("a", "", gibibytes(10), gibibytes(10));
    CHECK(std::ranges::any_of(seen, [&](const auto& sample) { return sample.first == answer; }));
    CHECK(larger.of("a", "", gibibytes(10), gibibytes(10)) >= answer);
    CHECK(footprints.of("a", "", cap, cap) <= cap);
  }
}

TEST_CASE("what is written is read back") {
  Footprints footprints = of_peaks({10, 20, 30});
  footprints.record("a", "größe \"1\"\n", mebibytes(5), noon - hours(5));
  const auto back = Footprints::parse(footprints.to_text());
  REQUIRE(back.has_value());
  CHECK(back->to_text() == footprints.to_text());
  CHECK(back->of("a", "", cap, cap) == mebibytes(30));
  CHECK(Footprints::parse(Footprints().to_text())->keys() == 0);
}

TEST_CASE("a file that is none is refused whole") {
  const auto holding = [](const std::string& peaks) {
    return R"({"version":1,"footprints":[{"agent":"a","sizeClass":"","peaks":)" + peaks + "}]}";
  };
  CHECK(Footprints::parse(holding("[[1,2]]")).has_value());
  std::string too_many = "[[1,2]";
  for (int i = 0; i < 32; ++i) too_many += ",[1,2]";
  for (const std::string& text :
       {std::string(""),
        std::string("{}"),
        std::string("[]"),
        std::string("null"),
        std::string(R"({"version":2,"footprints":[]})"),
        std::string(R"({"version":1})"),
        std::string(R"({"version":1,"footprints":{}})"),
        std::string(R"({"version":1,"footprints":[1]})"),
        std::string(R"({"version":1,"footprints":[{"agent":"a"}]})"),
        std::string(R"({"version":1,"footprints":[{"agent":1,"sizeClass":"","peaks":[]}]})"),
        holding("[]"),
        holding("5"),
        holding("[[1]]"),
        holding("[[-1,2]]"),
        holding("[[1,-2]]"),
        holding("[[1.5,2]]"),
        holding("[[1,99999999999999]]"),
        holding("[[18446744073709551615,2]]"),
        holding("[[1,2]"),
        holding(too_many + "]")}) {
    CAPTURE(text);
    CHECK_FALSE(Footprints::parse(text).has_value());
  }
}

}  // namespace kurultai::footprint_test
