#include "governance/suspension.h"

#include <algorithm>

namespace kurultai {

const Suspended* next_to_resume(const ResumeQuestion& question) {
  const auto first = std::ranges::min_element(question.suspended, {}, &Suspended::since);
  if (first == question.suspended.end() || first->paging) return nullptr;
  const bool fits = question.used + first->size <= question.line;
  return fits || !question.others_run ? &*first : nullptr;
}

Duration page_out_time(Bytes size) {
  static constexpr std::int64_t bytes_a_ms = 50'000;
  return Duration{2000} + Duration{size.count / bytes_a_ms};
}

}  // namespace kurultai
