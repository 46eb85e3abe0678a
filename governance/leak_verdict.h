// Whether a process leaks, from what its memory did. A leak is growth that is kept, that goes on until now,
// is spread over the time it is judged by, and is no rise as was given back before. Judged is the envelope of
// what was kept, by its shape alone, so that one rule serves a recording of a minute and a day of readings.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "governance/leak_series.h"
#include "protocol/bytes.h"

namespace kurultai {

enum class LeakLevel : std::uint8_t { none, warning, critical };

std::string_view to_string(LeakLevel level);

/// What the growth looks like: the first test that spoke against a leak, or `growing`.
enum class LeakShape : std::uint8_t {
  too_short,    // fewer than 12 readings, or less than 5 s: nothing can be said
  steady,       // what is kept grows by less than the warning rate
  settled,      // it grew, and has stopped
  stepped,      // it grew in a step or two
  fading,       // it grows ever more slowly: a warm-up, a cache of a finite set of keys
  oscillating,  // rises like this one were given back before
  growing,      // none of these: a leak
};

std::string_view to_string(LeakShape shape);

struct LeakRules {
  double warning_per_hour = 50e6;  // bytes
  double critical_per_hour = 100e6;
  Bytes warning_mark{256'000'000};  // of memory itself
  Bytes critical_mark{512'000'000};
  Bytes cap{};  // 0: none is known

  Bytes at(LeakLevel mark) const { return mark == LeakLevel::critical ? critical_mark : warning_mark; }

  // Chosen by cross-validation over tests/leaks/recordings; see the README there.
  double spread = 0.2;        // of its even share that a quarter has to grow by to count as growing
  double quiet_factor = 1.5;  // how much longer than before it may be quiet at the end
  double fading_ratio = 0.6;  // of the growth of one sixth to that of the one before, twice in a row
  double tooth_ratio = 0.6;   // of what was given back to the present rise
};

struct LeakVerdict {
  /// By the rate; critical also for a leak in a process that is above the critical mark already. A mark alone
  /// is no leak.
  LeakLevel level = LeakLevel::none;
  LeakShape shape = LeakShape::too_short;
  double confidence = 0;       // in the level: 0.5 on the border, 1 far from it, 0 when nothing can be said
  double growth_per_hour = 0;  // bytes
  LeakLevel mark = LeakLevel::none;      // the highest absolute mark that the latest reading has reached
  std::optional<double> seconds_to_cap;  // at this growth, from the latest reading; of leaks with a known cap
};

/// Of a leak; 0 of what is none.
double leak_growth(const LeakVerdict& verdict);

/// Takes about a microsecond, and no memory.
LeakVerdict judge_leak(const LeakSeries& series, const LeakRules& rules = {});

}  // namespace kurultai
