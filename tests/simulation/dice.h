// Where all chance in the simulation comes from: the same seed gives the same rolls on every machine (the
// distributions of <random> do not).
#pragma once

#include <cstdint>

namespace kurultai::simulation {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}

  /// SplitMix64 (Steele, Lea, Flood 2014): good for any seed, also for 1, 2, 3 …
  std::uint64_t roll() {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
    return mixed ^ (mixed >> 31);
  }
  /// Both ends included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(roll() % static_cast<std::uint64_t>(high - low + 1));
  }
  /// Never for 0.
  bool one_in(std::int64_t n) { return n > 0 && roll() % static_cast<std::uint64_t>(n) == 0; }
  /// Mostly near `low`, seldom near `high`: what times and sizes are like.
  std::int64_t skewed(std::int64_t low, std::int64_t high) {
    const std::int64_t once = between(0, high - low);
    return low + once * between(0, 1000) / 1000;
  }

 private:
  std::uint64_t state_;
};

/// A seed for one thing among many, so that leaving another out does not change this one.
inline std::uint64_t seed_for(std::uint64_t seed, std::uint64_t kind, std::uint64_t number) {
  Dice dice(seed ^ (kind * 0xd1342543de82ef95U) ^ (number * 0xaf251af3b0f025b5U));
  return dice.roll();
}

}  // namespace kurultai::simulation
