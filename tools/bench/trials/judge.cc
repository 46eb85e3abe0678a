#include "tools/bench/trials/judge.h"

#include <algorithm>

namespace kurultai::bench {

namespace {

// Events tell their moment in whole milliseconds, and so does the reaction time that is taken off.
constexpr double rounding_ms = 2;

std::string name_of(const Subject& subject) {
  return "task " + subject.id + " (" + std::string(to_string(subject.priority)) +
         (subject.grows ? ", the grower)" : ", " + std::to_string(subject.mib) + " MiB)");
}

/// Whether the subject had memory when `victim` was chosen, and was not chosen before or with it.
bool was_spared(const Subject& subject, const Turn& victim) {
  return std::ranges::any_of(subject.turns, [&](const Turn& turn) {
    const bool chosen = turn.decision > 0 && turn.decision <= victim.decision;
    return turn.holding < victim.decided - rounding_ms && turn.ended > victim.decided + rounding_ms &&
           !chosen;
  });
}

std::vector<std::string> faults_of_victim(const Subject& subject, const Turn& turn,
                                          const std::vector<Subject>& all) {
  std::vector<std::string> faults;
  if (turn.why.empty()) return faults;
  if ((turn.why != "preempt" && turn.why != "kill") || turn.decision == 0)
    faults.push_back(name_of(subject) + " gave way for another reason than the governor's: " + turn.why);
  for (const Subject& other : all) {
    if (other.priority > subject.priority && was_spared(other, turn))
      faults.push_back(name_of(subject) + " gave way while " + name_of(other) + " was spared");
  }
  return faults;
}

}  // namespace

bool Subject::gave_way() const {
  return std::ranges::any_of(turns, [](const Turn& turn) { return !turn.why.empty(); });
}

std::vector<std::string> faults_of(const std::vector<Subject>& subjects) {
  std::vector<std::string> faults;
  for (const Subject& subject : subjects) {
    if (!subject.failure.empty()) faults.push_back(name_of(subject) + " failed: " + subject.failure);
    for (const Turn& turn : subject.turns) {
      for (std::string& fault : faults_of_victim(subject, turn, subjects)) faults.push_back(std::move(fault));
    }
  }
  return faults;
}

bool all_overlapped(const std::vector<Subject>& subjects) {
  double first = never;
  double all_hold = 0;
  for (const Subject& subject : subjects) {
    if (subject.turns.empty()) return false;
    all_hold = std::max(all_hold, subject.turns.front().holding);
    for (const Turn& turn : subject.turns) {
      if (!turn.why.empty()) first = std::min(first, turn.decided);
    }
  }
  return all_hold < never && all_hold <= first + rounding_ms;
}

}  // namespace kurultai::bench
