// What a task will probably use: a high quantile of the working-set peaks of tasks like it. Pure; the times
// are given. Old samples lose weight against newer ones, so an agent that changed is learned anew.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/error.h"

namespace kurultai {

struct PeakSample {
  Bytes peak;
  WallTime at;
};

/// The newest peaks of tasks of one kind; one that is a day older than the newest weighs half as much as it.
class Peaks {
 public:
  static constexpr std::size_t most = 32;

  void record(PeakSample sample);
  /// The smallest that at most 5 % by weight are above. Those that died of the cap would do so however much
  /// room was kept for them: unless they are more than half of all, they tell nothing of the others. Nothing
  /// while there are too few.
  std::optional<Bytes> high(Bytes cap) const;
  const std::deque<PeakSample>& samples() const { return samples_; }  // oldest first
  WallTime newest() const { return samples_.back().at; }

 private:
  struct Weighed {
    PeakSample sample;
    double weight;
    double sum = 0;  // of its own weight and those before it
  };
  void put(PeakSample sample);
  void drop(PeakSample sample);

  std::deque<PeakSample> samples_;
  std::vector<Weighed> weighed_;  // the highest peak first
  WallTime weighed_at_;           // one of this time, or later, has the weight 1
};

/// Whether a task holds more than it was expected to, and not just by what readings differ: a sixteenth
/// above, and 4 MiB. Nothing is expected of a task with a footprint of 0.
bool has_outgrown(Bytes held, Bytes footprint);

/// By agent, or by agent and size class: clients who know that one kind of task is larger say so.
class Footprints {
 public:
  static constexpr std::size_t fewest_samples = 3;
  static constexpr std::size_t most_samples = Peaks::most;  // of one key
  static constexpr std::size_t most_keys = 1000;

  /// A peak of a task that has shown all it needs: it completed, or it died of its cap. An agent's own key
  /// takes the place of the class that was unused for longest; a class beyond `most_keys` counts as its
  /// agent.
  void record(const std::string& agent, const std::string& size_class, Bytes peak, WallTime now);

  /// `guess` until there are `fewest_samples`, and never above `cap`.
  Bytes of(const std::string& agent, const std::string& size_class, Bytes cap, Bytes guess) const;
  std::size_t samples(const std::string& agent, const std::string& size_class) const;
  std::vector<std::string> size_classes(const std::string& agent) const;
  std::size_t keys() const { return samples_.size(); }

  std::string to_text() const;
  static Result<Footprints> parse(std::string_view text);

 private:
  using Key = std::pair<std::string, std::string>;  // agent and size class; the agent's own has none

  Key key_of(const std::string& agent, const std::string& size_class) const;
  bool drop_stalest_class();

  std::map<Key, Peaks> samples_;
};

}  // namespace kurultai
