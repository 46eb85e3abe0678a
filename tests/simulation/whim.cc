#include "tests/simulation/whim.h"

#include <array>

#include "tests/simulation/dice.h"

namespace kurultai::simulation {

namespace {

constexpr std::uint64_t of_worlds = 1, of_workers = 2, of_runs = 3;

using Course = Whim::Course;
using OnPreempt = Whim::OnPreempt;

template <typename Value, std::size_t size>
Value pick(Dice& dice, const std::array<Value, size>& values) {
  return values[dice.roll() % size];
}

constexpr std::array courses = {Course::completes, Course::completes, Course::completes,   Course::completes,
                                Course::completes, Course::completes, Course::completes,   Course::completes,
                                Course::completes, Course::leaks,     Course::fails,       Course::crashes,
                                Course::leaves,    Course::babbles,   Course::goes_silent, Course::completes};
constexpr std::array answers = {OnPreempt::saves, OnPreempt::saves,     OnPreempt::saves,
                                OnPreempt::saves, OnPreempt::ignores,   OnPreempt::ignores,
                                OnPreempt::saves, OnPreempt::completes, OnPreempt::crashes};

}  // namespace

Nature nature_of(std::uint64_t seed, std::uint64_t worker) {
  Dice dice(seed_for(seed, of_workers, worker));
  Dice world(seed_for(seed, of_worlds, 0));
  const auto bad_start = world.one_in(3) ? 12 : 60;
  Nature nature;
  if (dice.one_in(bad_start)) {
    nature.start =
        pick(dice, std::array{Nature::Start::never_ready, Nature::Start::exits,
                              Nature::Start::speaks_another_protocol, Nature::Start::cannot_be_launched});
  }
  nature.starts_in = Duration(dice.skewed(1, 1500));
  nature.base = mebibytes(dice.skewed(1, 24));
  nature.heeds_term = !dice.one_in(6);
  nature.heeds_shutdown = !dice.one_in(6);
  nature.leaves_in = Duration(dice.skewed(0, 1500));
  nature.has_helper = dice.one_in(8);
  return nature;
}

Whim whim_of(std::uint64_t seed, std::uint64_t task, std::uint64_t run) {
  Dice world(seed_for(seed, of_worlds, 1));
  const auto largest = world.between(40, 400);
  const auto longest = world.between(100, 8000);
  Dice dice(seed_for(seed, of_runs, task * 1000 + run));
  Whim whim;
  whim.course = pick(dice, courses);
  whim.memory = kibibytes(dice.skewed(100, largest * 1024));
  whim.step = kibibytes(dice.skewed(64, 32 * 1024));
  whim.pace = Duration(dice.skewed(1, 30));
  whim.work = Duration(dice.skewed(1, longest));
  if (dice.one_in(3)) whim.reports = Duration(dice.between(20, 500));
  whim.checkpoints = dice.one_in(2);
  whim.retryable = !dice.one_in(4);
  if (dice.one_in(6)) whim.cache = mebibytes(dice.between(1, 60));
  if (dice.one_in(20)) whim.files = mebibytes(dice.between(1, 40));
  if (dice.one_in(4)) whim.keeps = {whim.memory.count / dice.between(1, 8)};
  whim.on_preempt = pick(dice, answers);
  whim.answers_in = Duration(dice.skewed(0, 3000));
  whim.heeds_cancel = !dice.one_in(4);
  whim.late_word = dice.one_in(16);
  return whim;
}

}  // namespace kurultai::simulation
