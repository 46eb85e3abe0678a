#include "governance/schedule.h"

#include <utility>

namespace kurultai {

Schedule::Act Schedule::due(std::uint64_t late) {
  missed_ += late;
  if (!is_running_) return Act::submit;
  const bool waited = is_waiting_;
  if (overlap_ == Overlap::skip || waited) ++missed_;
  is_waiting_ = overlap_ != Overlap::skip;
  return overlap_ == Overlap::replace && !waited ? Act::cancel : Act::nothing;
}

Schedule::Act Schedule::ended() {
  is_running_ = false;
  return std::exchange(is_waiting_, false) ? Act::submit : Act::nothing;
}

NextMoment next_moment(TimePoint due, Duration every, TimePoint now) {
  if (now < due) return {due, 0};
  const auto missed = static_cast<std::uint64_t>((now - due) / every);
  return {due + every * (missed + 1), missed};
}

}  // namespace kurultai
