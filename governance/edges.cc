#include "governance/edges.h"

#include <algorithm>

namespace kurultai {
namespace {

constexpr Bytes most_quiet_slack = mebibytes(8);
constexpr Bytes ample_slack = mebibytes(64);
constexpr std::int64_t growing_weight = 8;
constexpr std::int64_t page = 4096;

std::int64_t weight_of(const Holder& holder) { return holder.growing ? growing_weight : 1; }

Bytes whole_pages(Bytes bytes) { return {bytes.count / page * page}; }

Bytes room_of(const Holder& holder) { return std::max(holder.cap - holder.charge, Bytes{}); }

// Subtracted one by one: caps may be as large as numbers are.
bool all_caps_fit(Bytes rest, std::span<const Holder> holders) {
  return std::ranges::all_of(holders, [&](const Holder& holder) {
    rest -= room_of(holder);
    return rest >= Bytes{};
  });
}

/// Whole pages, but the cap as it is: an edge rounded down from it would be one to wait at.
Bytes edge_at(const Holder& holder, Bytes slack) {
  const Bytes edge = holder.charge + slack;
  return edge >= holder.cap ? edge : whole_pages(edge);
}

/// Hands `rest` out by weight. Those whose cap is nearer than their part get that much, and the others share
/// what is left over; at most one round a holder.
void share_by_weight(Bytes rest, std::span<const Holder> holders, std::vector<Bytes>& slack) {
  std::vector<std::size_t> open;
  std::int64_t weights = 0;
  for (std::size_t i = 0; i < holders.size(); ++i) {
    if (slack[i] >= room_of(holders[i])) continue;
    open.push_back(i);
    weights += weight_of(holders[i]);
  }
  bool again = true;
  while (again && weights > 0) {
    again = false;
    std::erase_if(open, [&](std::size_t i) {
      const Bytes missing = room_of(holders[i]) - slack[i];
      const std::int64_t weight = weight_of(holders[i]);
      if (missing.count > rest.count / weights * weight) return false;
      slack[i] += missing;
      rest -= missing;
      weights -= weight;
      return again = true;
    });
  }
  for (const std::size_t i : open) slack[i] += Bytes{rest.count / weights * weight_of(holders[i])};
}

/// Brings each of those that grow, or of those that do not, up to `most`, as far as `rest` goes.
void fill_up(Bytes& rest, Bytes most, bool growing, std::span<const Holder> holders,
             std::vector<Bytes>& slack) {
  const std::int64_t count = std::ranges::count(holders, growing, &Holder::growing);
  const Bytes share{rest.count / std::max<std::int64_t>(count, 1)};
  for (std::size_t i = 0; i < holders.size(); ++i) {
    if (holders[i].growing != growing) continue;
    const Bytes missing = std::max(std::min(most, room_of(holders[i])) - slack[i], Bytes{});
    const Bytes given = std::min(missing, share);
    slack[i] += given;
    rest -= given;
  }
}

}  // namespace

Bytes quiet_slack(Bytes total, std::size_t holders) {
  const auto count = static_cast<std::int64_t>(std::max<std::size_t>(holders, 1));
  return std::clamp(Bytes{total.count / 16 / count}, Bytes{}, most_quiet_slack);
}

std::vector<Bytes> share_out(Bytes total, std::span<const Holder> holders) {
  Bytes rest = total;
  for (const Holder& holder : holders) rest -= holder.charge;
  rest = std::max(rest, Bytes{});
  std::vector<Bytes> slack(holders.size());
  if (all_caps_fit(rest, holders)) {  // asked first, because shares are rounded down
    std::ranges::transform(holders, slack.begin(), room_of);
  } else {
    const Bytes most = quiet_slack(total, holders.size());
    fill_up(rest, std::min(most, least_slack), false, holders, slack);
    fill_up(rest, most, true, holders, slack);
    fill_up(rest, most, false, holders, slack);
    share_by_weight(rest, holders, slack);
  }
  std::vector<Bytes> edges;
  edges.reserve(holders.size());
  for (std::size_t i = 0; i < holders.size(); ++i) edges.push_back(edge_at(holders[i], slack[i]));
  return edges;
}

std::vector<std::size_t> givers(std::span<const Holder> holders, std::span<const Bytes> now,
                                std::span<const Bytes> wanted, Bytes unheld, Bytes worth_moving) {
  std::vector<std::size_t> all;
  std::vector<std::size_t> large;
  for (std::size_t i = 0; i < holders.size(); ++i) {
    if (holders[i].growing) unheld -= std::max(wanted[i] - now[i], Bytes{});
    if (wanted[i] >= now[i]) continue;
    all.push_back(i);
    if (now[i] - wanted[i] <= worth_moving) continue;
    unheld += now[i] - wanted[i];
    large.push_back(i);
  }
  return unheld < Bytes{} ? all : large;
}

bool needs_new_edge(Bytes charge, Bytes edge, Bytes slack_given, Bytes cap) {
  if (edge >= cap) return false;
  const Bytes left = edge - charge;
  return left < ample_slack && left.count <= slack_given.count / 2;
}

Duration next_look_in(Bytes slack) {
  static constexpr std::int64_t bytes_a_ms = 2'000'000;
  return std::clamp(Duration{slack.count / 2 / bytes_a_ms}, Duration{5}, Duration{250});
}

}  // namespace kurultai
