#include "supervisor/gateway/event_history.h"

#include <algorithm>
#include <utility>

namespace kurultai {

void EventHistory::add(KeptEvent event) {
  if (newest_ == 0) forgotten_ = event.id() - 1;
  newest_ = event.id();
  bytes_ += event.size();
  kept_.push_back(std::move(event));
  while (kept_.size() > max_events_ || bytes_ > max_bytes_) {
    bytes_ -= kept_.front().size();
    forgotten_ = kept_.front().id();
    kept_.pop_front();
  }
}

std::string EventHistory::after(std::uint64_t id, const EventFilter& filter) const {
  std::string texts;
  for (auto at = std::ranges::upper_bound(kept_, id, {}, &KeptEvent::id); at != kept_.end(); ++at) {
    if (filter.wants(*at)) texts += at->text();
  }
  return texts;
}

std::optional<std::uint64_t> EventHistory::oldest() const {
  return kept_.empty() ? std::nullopt : std::optional(kept_.front().id());
}

}  // namespace kurultai
