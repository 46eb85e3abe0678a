#include "supervisor/gateway/connection_counts.h"

namespace kurultai {

ConnectionCounts::Place ConnectionCounts::add(const std::string& peer, const Limits& limits) {
  const auto known = peers_.find(peer);
  const Counts own = known == peers_.end() ? Counts{} : known->second;
  if (all_.usual < limits.all && own.usual < limits.per_peer) {
    all_.usual += 1;
    peers_[peer].usual += 1;
    return Place::usual;
  }
  if (all_.reserve >= reserve || own.reserve >= reserve_per_peer) return Place::none;
  all_.reserve += 1;
  peers_[peer].reserve += 1;
  return Place::reserve;
}

void ConnectionCounts::remove(const std::string& peer, Place place) {
  const auto known = peers_.find(peer);
  if (place == Place::none || known == peers_.end()) return;
  const auto count = place == Place::usual ? &Counts::usual : &Counts::reserve;
  all_.*count -= 1;
  known->second.*count -= 1;
  if (known->second.usual == 0 && known->second.reserve == 0) peers_.erase(known);
}

}  // namespace kurultai
