#include "governance/machine_room.h"

#include <algorithm>

namespace kurultai {

Bytes usual_machine_reserve(Bytes total) {
  return std::clamp(Bytes{total.count / 16}, mebibytes(32), gibibytes(1));
}

Duration next_machine_look_in(Bytes available) {
  static constexpr std::int64_t bytes_per_ms = 4'000'000;  // 2 GB/s, and half of it may be gone
  return Duration(std::max<std::int64_t>(available.count / bytes_per_ms, 10));
}

void MachineRoom::configure(Settings settings) {
  if (room_) *room_ += settings_.reserve - settings.reserve;
  lowest_ += settings_.reserve - settings.reserve;
  settings_ = settings;
  if (settings.reserve.count <= 0) room_.reset();
}

Bytes MachineRoom::step(Bytes total) const {
  return std::max(Bytes{std::min(settings_.budget, total).count / 64}, mebibytes(4));
}

Bytes MachineRoom::budget() const {
  return room_ ? std::min(settings_.budget, std::max(*room_, least)) : settings_.budget;
}

Bytes MachineRoom::update(Bytes held, const MachineReading& machine, TimePoint now) {
  if (settings_.reserve.count <= 0) return budget();
  const Bytes room = std::min(held + machine.available, machine.total) - settings_.reserve;
  const bool begins = !room_ || (*room_ >= settings_.budget && room >= settings_.budget);
  if (begins || room + step(machine.total) <= *room_) {
    room_ = room;
    lowest_ = room;
    since_ = now;
    return budget();
  }
  lowest_ = std::min(lowest_, room);
  if (now < since_ + hold) return budget();
  if (lowest_ >= *room_ + step(machine.total) || lowest_ >= settings_.budget) room_ = lowest_;
  lowest_ = room;
  since_ = now;
  return budget();
}

}  // namespace kurultai
