#include "governance/footprint.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "protocol/json_text.h"

namespace kurultai {

namespace {

using nlohmann::json;

constexpr double quantile = 0.95;
constexpr double half_life_seconds = 24 * 3600;
// Beyond some half-lives all samples weigh nothing, and nothing of nothing is no quantile.
constexpr double oldest_half_lives = 30;
constexpr std::chrono::hours one_weighing{1};  // samples of that time weigh alike
constexpr double most_deaths = 0.5;
constexpr int format_version = 1;

std::int64_t seconds_of(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

/// Nothing when it is no sample.
std::optional<PeakSample> sample_of(const json& value) {
  static constexpr std::int64_t most_seconds = 4'000'000'000;  // the year 2096
  if (!value.is_array() || value.size() != 2) return std::nullopt;
  if (!value[0].is_number_unsigned() || !value[1].is_number_unsigned()) return std::nullopt;
  const auto peak = value[0].get<std::uint64_t>();
  const auto at = value[1].get<std::uint64_t>();
  if (peak > static_cast<std::uint64_t>(INT64_MAX) || at > most_seconds) return std::nullopt;
  return PeakSample{{static_cast<std::int64_t>(peak)}, WallTime(std::chrono::seconds(at))};
}

/// Nothing when it is no list of them.
std::optional<std::vector<PeakSample>> samples_of(const json& list) {
  if (!list.is_array() || list.size() > Footprints::most_samples) return std::nullopt;
  std::vector<PeakSample> samples;
  samples.reserve(list.size());
  for (const json& item : list) {
    const auto sample = sample_of(item);
    if (!sample) return std::nullopt;
    samples.push_back(*sample);
  }
  return samples;
}

bool is_text(const json& object, const char* name) {
  return object.is_object() && object.contains(name) && object[name].is_string();
}

}  // namespace

// Weights tell only against each other, so those that are there hold for a while: to weigh all of them at
// each end would cost a short task as much as its way to the agent.
void Peaks::record(PeakSample sample) {
  samples_.push_back(sample);
  const auto since = sample.at - weighed_at_;
  if (since < WallTime::duration::zero() || since > one_weighing) {
    weighed_at_ = sample.at;
    weighed_.clear();
    std::ranges::for_each(samples_, [this](const PeakSample& one) { put(one); });
  } else {
    put(sample);
  }
  if (samples_.size() > most) {
    drop(samples_.front());
    samples_.pop_front();
  }
  double sum = 0;
  for (Weighed& one : weighed_) one.sum = sum += one.weight;
}

void Peaks::put(PeakSample sample) {
  const std::chrono::duration<double> age = weighed_at_ - sample.at;
  const double weight = std::exp2(-std::clamp(age.count() / half_life_seconds, 0.0, oldest_half_lives));
  const auto place = std::ranges::partition_point(
      weighed_, [&](const Weighed& one) { return one.sample.peak > sample.peak; });
  weighed_.insert(place, {sample, weight});
}

void Peaks::drop(PeakSample sample) {
  weighed_.erase(std::ranges::find_if(weighed_, [&](const Weighed& one) {
    return one.sample.peak == sample.peak && one.sample.at == sample.at;
  }));
}

std::optional<Bytes> Peaks::high(Bytes cap) const {
  const double all = weighed_.empty() ? 0 : weighed_.back().sum;
  const auto deaths =
      std::ranges::partition_point(weighed_, [cap](const Weighed& one) { return one.sample.peak >= cap; });
  const double died = deaths == weighed_.begin() ? 0 : std::prev(deaths)->sum;
  const bool leaves_out = died <= most_deaths * all;
  const std::span counted(leaves_out ? deaths : weighed_.begin(), weighed_.end());
  if (counted.size() < Footprints::fewest_samples) return std::nullopt;
  const double before = leaves_out ? died : 0;
  const double most_above = (1 - quantile) * (all - before);
  const auto found = std::ranges::partition_point(
      counted, [&](const Weighed& one) { return one.sum - before <= most_above; });
  return found == counted.end() ? std::nullopt : std::optional(found->sample.peak);
}

bool has_outgrown(Bytes held, Bytes footprint) {
  static constexpr Bytes least = mebibytes(4);
  return footprint.count > 0 && held > footprint + std::max(Bytes{footprint.count / 16}, least);
}

Footprints::Key Footprints::key_of(const std::string& agent, const std::string& size_class) const {
  const Key wanted{agent, size_class};
  const bool has_place = samples_.contains(wanted) || samples_.size() < most_keys;
  return has_place ? wanted : Key{agent, ""};
}

bool Footprints::drop_stalest_class() {
  auto stalest = samples_.end();
  for (auto entry = samples_.begin(); entry != samples_.end(); ++entry) {
    if (entry->first.second.empty()) continue;
    if (stalest == samples_.end() || entry->second.newest() < stalest->second.newest()) stalest = entry;
  }
  if (stalest == samples_.end()) return false;
  samples_.erase(stalest);
  return true;
}

void Footprints::record(const std::string& agent, const std::string& size_class, Bytes peak, WallTime now) {
  const Key key = key_of(agent, size_class);
  if (!samples_.contains(key) && samples_.size() >= most_keys && !drop_stalest_class()) return;
  samples_[key].record({std::max(peak, Bytes{}), now});
}

Bytes Footprints::of(const std::string& agent, const std::string& size_class, Bytes cap, Bytes guess) const {
  const auto found = samples_.find(key_of(agent, size_class));
  const auto learned = found == samples_.end() ? std::nullopt : found->second.high(cap);
  return std::min(cap, learned.value_or(guess));
}

std::size_t Footprints::samples(const std::string& agent, const std::string& size_class) const {
  const auto found = samples_.find({agent, size_class});
  return found == samples_.end() ? 0 : found->second.samples().size();
}

std::vector<std::string> Footprints::size_classes(const std::string& agent) const {
  std::vector<std::string> classes;
  for (auto entry = samples_.upper_bound({agent, ""}); entry != samples_.end() && entry->first.first == agent;
       ++entry) {
    classes.push_back(entry->first.second);
  }
  return classes;
}

std::string Footprints::to_text() const {
  json list = json::array();
  for (const auto& [key, peaks] : samples_) {
    json points = json::array();
    for (const PeakSample& sample : peaks.samples()) {
      points.push_back({sample.peak.count, std::max<std::int64_t>(seconds_of(sample.at), 0)});
    }
    list.push_back({{"agent", key.first}, {"sizeClass", key.second}, {"peaks", std::move(points)}});
  }
  return kurultai::to_text({{"version", format_version}, {"footprints", std::move(list)}}) + "\n";
}

Result<Footprints> Footprints::parse(std::string_view text) {
  const auto tree = parse_json(text);
  if (!tree) return std::unexpected(tree.error());
  if (!tree->is_object() || tree->value("version", json()) != format_version)
    return failure("not of version " + std::to_string(format_version));
  const json list = tree->value("footprints", json());
  if (!list.is_array() || list.size() > most_keys) return failure("'footprints' is not a list of them");
  Footprints footprints;
  for (const json& item : list) {
    if (!is_text(item, "agent") || !is_text(item, "sizeClass")) return failure("a footprint has no name");
    auto samples = samples_of(item.value("peaks", json()));
    if (!samples || samples->empty()) return failure("'peaks' is not a list of [bytes, seconds]");
    Peaks peaks;
    for (const PeakSample& sample : *samples) peaks.record(sample);
    footprints.samples_[{item["agent"].get<std::string>(), item["sizeClass"].get<std::string>()}] =
        std::move(peaks);
  }
  return footprints;
}

}  // namespace kurultai
