// The newest events, for readers that come back: from each it can be told whether something
// that it has not seen is no longer here. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/gateway/event_filter.h"
#include "supervisor/gateway/kept_event.h"

namespace kurultai {

class EventHistory {
 public:
  EventHistory(std::size_t max_events, std::size_t max_bytes)
      : max_events_(max_events), max_bytes_(max_bytes) {}

  /// Its id is larger than that of the event before.
  void add(KeptEvent event);

  /// The texts of those after `id` that are wanted, one behind the other.
  std::string after(std::uint64_t id, const EventFilter& filter = {}) const;
  /// Whether `after(id)` is all that has happened since. Not so behind an event of an earlier supervisor, or
  /// one that has not been given out.
  bool is_complete_after(std::uint64_t id) const { return id >= forgotten_ && id <= newest_ && newest_ > 0; }
  std::optional<std::uint64_t> oldest() const;
  std::optional<std::uint64_t> newest() const { return newest_ == 0 ? std::nullopt : std::optional(newest_); }

 private:
  std::size_t max_events_;
  std::size_t max_bytes_;  // of the texts
  std::deque<KeptEvent> kept_;
  std::size_t bytes_ = 0;
  std::uint64_t forgotten_ = 0;  // the newest that is no longer here, or was never
  std::uint64_t newest_ = 0;
};

}  // namespace kurultai
