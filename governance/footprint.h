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

/// The smallest peak that at most 5 % of the samples by weight are above; a sample weighs half as much after
/// a day. Nothing of none.
std::optional<Bytes> high_peak(const std::deque<PeakSample>& samples, WallTime now);

/// Whether a task holds more than it was expected to, and not just by what readings differ: a sixteenth
/// above, and 4 MiB. Nothing is expected of a task with a footprint of 0.
bool has_outgrown(Bytes held, Bytes footprint);

/// By agent, or by agent and size class: clients who know that one kind of task is larger say so.
class Footprints {
 public:
  static constexpr std::size_t fewest_samples = 3;
  static constexpr std::size_t most_samples = 32;  // of one key, the newest
  static constexpr std::size_t most_keys = 1000;

  /// A peak of a task that has shown all it needs: it completed, or it died of its cap. An agent's own key
  /// takes the place of the class that was unused for longest; a class beyond `most_keys` counts as its
  /// agent.
  void record(const std::string& agent, const std::string& size_class, Bytes peak, WallTime now);

  /// `guess` until there are `fewest_samples`, and never above `cap`. Those that died of it would do so
  /// however much room was kept for them: unless they are more than half of all, they tell nothing of the
  /// others.
  Bytes of(const std::string& agent, const std::string& size_class, Bytes cap, Bytes guess,
           WallTime now) const;
  std::size_t samples(const std::string& agent, const std::string& size_class) const;
  std::vector<std::string> size_classes(const std::string& agent) const;
  std::size_t keys() const { return samples_.size(); }

  std::string to_text() const;
  static Result<Footprints> parse(std::string_view text);

 private:
  using Key = std::pair<std::string, std::string>;  // agent and size class; the agent's own has none

  Key key_of(const std::string& agent, const std::string& size_class) const;
  bool drop_stalest_class();

  std::map<Key, std::deque<PeakSample>> samples_;
};

}  // namespace kurultai
