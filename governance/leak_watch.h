// One process watched for a leak: which of its readings count, what they amount to, and when that is news.
// Looks are far apart, and six times closer while what is used grows faster than it may. All its life is
// judged, and the last hour, six hours and day of it, in which an old process that begins to leak is found
// sooner. What grows may only be warming up, so a leak is believed once it has been seen for a while, and no
// longer once it has not been. Pure; the owner gives the times.
#pragma once

#include <array>
#include <optional>

#include "governance/leak_series.h"
#include "governance/leak_verdict.h"
#include "protocol/duration.h"

namespace kurultai {

/// A yes or no that changes when the opposite was seen for a while, in four looks of five.
class LastingSign {
 public:
  bool holds() const { return holds_; }
  /// What a look has seen. `seconds`: on any clock that does not go back. `needed`: how long the opposite has
  /// to be seen.
  void note(double seconds, bool seen, double needed);

 private:
  bool holds_ = false;
  double since_ = 0;  // when the opposite was seen first
  int looks_ = 0;     // since then; 0: it was not
  int opposite_ = 0;  // of these
};

/// The end of a life, or all of it, and what was seen in it.
class LeakWindow {
 public:
  explicit LeakWindow(double longest) : series_(longest) {}

  bool add(double seconds, double bytes) { return series_.add(seconds, bytes); }
  /// `shortest`: seconds that have to be watched before a leak is believed, unless it would be at its cap by
  /// then. `before`: the most that was kept earlier in life; to rise to where it was is no leak.
  void judge(double now, const LeakRules& rules, double shortest, double before);

  /// Not judged now: what it saw so far is forgotten.
  void rest() { sign_ = {}; }

  const LeakSeries& series() const { return series_; }
  bool leaks() const { return sign_.holds(); }
  /// The newest that found a leak while one is believed, else the newest.
  const LeakVerdict& verdict() const { return verdict_; }

 private:
  LeakSeries series_;
  LastingSign sign_;
  LeakVerdict verdict_;
};

/// What verdict() says that was not told before.
struct LeakNews {
  bool is_worse = false;    // a leak, or a faster one
  bool is_at_mark = false;  // a higher mark than ever
};

class LeakWatch {
 public:
  /// While it grows, looks are so many times closer.
  static constexpr int haste = 6;
  /// What starts grows; so many usual intervals pass before that is a leak (README.md of tests/leaks has what
  /// more and fewer of them find and suspect).
  static constexpr int fewest_intervals = 40;

  /// A reading; most are passed over. `usual`: between two looks.
  LeakNews note(TimePoint now, Duration usual, Bytes memory, Bytes cap);

  /// Of a level other than none only while a leak is believed.
  const LeakVerdict& verdict() const { return verdict_; }

 private:
  bool is_due(TimePoint now, Duration usual) const;
  void judge(double now, const LeakRules& rules, double shortest);
  LeakNews news();

  static constexpr double hour = seconds_per_hour;
  std::array<LeakWindow, 4> windows_{LeakWindow(LeakSeries::all_of_it), LeakWindow(hour),
                                     LeakWindow(6 * hour), LeakWindow(24 * hour)};
  LeakVerdict verdict_;
  LeakLevel told_ = LeakLevel::none;
  LeakLevel told_mark_ = LeakLevel::none;
  std::optional<TimePoint> first_, last_;
  bool speeds_up_ = false;
};

}  // namespace kurultai
