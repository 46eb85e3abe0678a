#include "tests/simulation/shrink.h"

#include <algorithm>
#include <vector>

namespace kurultai::simulation {

namespace {

class Shrinking {
 public:
  Shrinking(std::string invariant, int most_runs) : invariant_(std::move(invariant)), runs_left_(most_runs) {}

  /// Takes `plan` over when it fails in the same way.
  bool try_out(const Plan& plan, Plan& best) {
    if (runs_left_-- <= 0) return false;
    const Outcome outcome = World(plan, false).run();
    if (!outcome.violation || outcome.violation->invariant != invariant_) return false;
    best = plan;
    begun_ = outcome.actions;
    return true;
  }
  /// Actions after these did not come about before it failed.
  std::size_t begun() const { return begun_; }
  bool is_over() const { return runs_left_ <= 0; }

 private:
  std::string invariant_;
  int runs_left_;
  std::size_t begun_ = 0;
};

std::vector<std::size_t> actions_in(const Plan& plan, std::size_t begun) {
  std::vector<std::size_t> numbers;
  for (std::size_t number = 0; number < std::min(plan.actions, begun); ++number) {
    if (!plan.left_out.contains(number)) numbers.push_back(number);
  }
  return numbers;
}

/// Tries without each run of `length` actions, from the end; true when one of them could go.
bool leave_out(std::size_t length, Plan& plan, Shrinking& shrinking) {
  bool any = false;
  const auto numbers = actions_in(plan, shrinking.begun());
  for (std::size_t end = numbers.size(); end > 0 && !shrinking.is_over(); end -= std::min(end, length)) {
    Plan smaller = plan;
    for (std::size_t i = end - std::min(end, length); i < end; ++i) smaller.left_out.insert(numbers[i]);
    any = shrinking.try_out(smaller, plan) || any;
  }
  return any;
}

}  // namespace

Plan shrink(Plan plan, const std::string& invariant, int most_runs) {
  Shrinking shrinking(invariant, most_runs);
  if (!shrinking.try_out(Plan(plan), plan)) return plan;
  Plan calm = plan;
  calm.calm = true;
  shrinking.try_out(calm, plan);
  Plan ended = plan;  // what is asked for after the failure, or just before it, is of no matter
  ended.actions = shrinking.begun();
  shrinking.try_out(ended, plan);
  std::size_t length = std::max<std::size_t>(actions_in(plan, shrinking.begun()).size() / 2, 1);
  while (!shrinking.is_over()) {
    const bool any = leave_out(length, plan, shrinking);
    if (length == 1 && !any) break;
    length = std::max<std::size_t>(any ? length : length / 2, 1);
  }
  return plan;
}

}  // namespace kurultai::simulation
