#include "governance/suspension.h"

#include <algorithm>

namespace kurultai {

const Suspended* next_to_resume(const ResumeQuestion& question) {
  const auto first = std::ranges::min_element(question.suspended, {}, &Suspended::since);
  if (first == question.suspended.end() || first->paging) return nullptr;
  const bool fits = question.used + first->size <= question.line;
  return fits || !question.others_run ? &*first : nullptr;
}

void fit_into_swap(std::span<Candidate> running, Bytes swap) {
  for (const Candidate* next : rank_victims(running, false)) {
    Candidate& candidate = running[static_cast<std::size_t>(next - running.data())];
    if (!candidate.suspendable) continue;
    candidate.suspendable = candidate.memory <= swap;
    if (candidate.suspendable) swap -= candidate.memory;
  }
}

Duration page_out_time(Bytes size) {
  static constexpr std::int64_t bytes_a_ms = 50'000;
  return Duration{2000} + Duration{size.count / bytes_a_ms};
}

}  // namespace kurultai
