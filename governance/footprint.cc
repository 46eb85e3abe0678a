#include "governance/footprint.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"

namespace kurultai {

namespace {

using nlohmann::json;

constexpr double quantile = 0.95;
constexpr double half_life_seconds = 24 * 3600;
// Beyond some half-lives all samples weigh nothing, and nothing of nothing is no quantile.
constexpr double oldest_half_lives = 30;
constexpr double most_deaths = 0.5;
constexpr int format_version = 1;

double weight_of(const PeakSample& sample, WallTime now) {
  const std::chrono::duration<double> age = now - sample.at;
  return std::exp2(-std::clamp(age.count() / half_life_seconds, 0.0, oldest_half_lives));
}

std::int64_t seconds_of(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

/// The samples without those that died of their cap, where these are few.
std::deque<PeakSample> of_the_living(const std::deque<PeakSample>& samples, Bytes cap, WallTime now) {
  std::deque<PeakSample> living;
  double all = 0;
  double deaths = 0;
  for (const PeakSample& sample : samples) {
    const double weight = weight_of(sample, now);
    all += weight;
    if (sample.peak < cap) {
      living.push_back(sample);
    } else {
      deaths += weight;
    }
  }
  return deaths > most_deaths * all ? samples : living;
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

std::optional<std::deque<PeakSample>> samples_of(const json& list) {
  if (!list.is_array() || list.size() > Footprints::most_samples) return std::nullopt;
  std::deque<PeakSample> samples;
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

std::optional<Bytes> high_peak(const std::deque<PeakSample>& samples, WallTime now) {
  std::vector<std::pair<Bytes, double>> weighed;
  double total = 0;
  for (const PeakSample& sample : samples) {
    weighed.emplace_back(sample.peak, weight_of(sample, now));
    total += weighed.back().second;
  }
  std::ranges::sort(weighed, std::greater<>());
  double above = 0;
  for (const auto& [peak, weight] : weighed) {
    above += weight;
    if (above > (1 - quantile) * total) return peak;
  }
  return std::nullopt;
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
    if (stalest == samples_.end() || entry->second.back().at < stalest->second.back().at) stalest = entry;
  }
  if (stalest == samples_.end()) return false;
  samples_.erase(stalest);
  return true;
}

void Footprints::record(const std::string& agent, const std::string& size_class, Bytes peak, WallTime now) {
  const Key key = key_of(agent, size_class);
  if (!samples_.contains(key) && samples_.size() >= most_keys && !drop_stalest_class()) return;
  auto& samples = samples_[key];
  samples.push_back({std::max(peak, Bytes{}), now});
  if (samples.size() > most_samples) samples.pop_front();
}

Bytes Footprints::of(const std::string& agent, const std::string& size_class, Bytes cap, Bytes guess,
                     WallTime now) const {
  const auto found = samples_.find(key_of(agent, size_class));
  const Bytes unknown = std::min(cap, guess);
  if (found == samples_.end()) return unknown;
  const auto samples = of_the_living(found->second, cap, now);
  if (samples.size() < fewest_samples) return unknown;
  return std::min(cap, high_peak(samples, now).value_or(unknown));
}

std::size_t Footprints::samples(const std::string& agent, const std::string& size_class) const {
  const auto found = samples_.find({agent, size_class});
  return found == samples_.end() ? 0 : found->second.size();
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
  for (const auto& [key, samples] : samples_) {
    json points = json::array();
    for (const PeakSample& sample : samples) {
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
    footprints.samples_[{item["agent"].get<std::string>(), item["sizeClass"].get<std::string>()}] =
        *std::move(samples);
  }
  return footprints;
}

}  // namespace kurultai
