// What policies did, or would have done, in a recorded life: counted, and the first deeds by name. Pure and
// bounded.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "governance/governor.h"
#include "governance/memory_profile.h"

namespace kurultai {

enum class DeedKind : unsigned char { end_idle, suspend, preempt, room, kill };  // room: preempted for it
inline constexpr std::size_t deed_kinds = 5;
std::string_view to_string(DeedKind kind);

struct Deed {
  TimePoint at;
  DeedKind kind = DeedKind::preempt;
  std::string task_id = {}, agent = {};  // empty: none
  Priority priority = Priority::normal;
  Bytes memory;  // of its worker, or of the idle ones
  double ratio = 0;

  bool operator==(const Deed&) const = default;
};

struct CrossedAt {
  TimePoint at;
  Crossing crossing;
};

struct PolicyTally {
  static constexpr std::size_t most_listed = 1000;  // of each list; all are counted

  std::array<std::uint64_t, deed_kinds> deeds{};
  std::vector<Deed> first_deeds;
  std::array<std::uint64_t, threshold_count> crossed_up{};
  std::vector<CrossedAt> first_crossings;
  /// From the reading that crossed a threshold to the one with which it cleared, or the last one.
  std::array<TimePoint::duration, threshold_count> over{};
  double peak_ratio = 0;
  TimePoint peak_at;
  Bytes peak_used;
  std::uint64_t accepted = 0;
  std::uint64_t refused_for_memory = 0, refused_for_queue = 0;
  std::uint64_t evicted = 0, heartbeats_held = 0;
  std::uint64_t starts = 0, starts_held_by_pressure = 0, starts_without_room = 0;
  MemoryProfile profile;

  std::uint64_t count(DeedKind kind) const { return deeds.at(static_cast<std::size_t>(kind)); }
  void note_reading(TimePoint at, Bytes used, Bytes budget);
  /// Of the reading noted last.
  void note_crossing(const Crossing& crossing);
  void note(Deed deed);

 private:
  std::array<bool, threshold_count> is_over_{};
  std::optional<TimePoint> last_;
};

}  // namespace kurultai
