// Rises of memory that were given back: the teeth of a slow sawtooth, tides of load. Pure.
#pragma once

#include <span>

#include "governance/leak_series.h"

namespace kurultai {

/// The largest fall, in bytes, of those that followed a gradual rise; 0 when there was none. Both of at least
/// `least` bytes, the rise over at least a third of `seconds`: what jumped up was a spike, and what rose for
/// a moment only is noise to a rise of `seconds`.
double largest_tooth(std::span<const LeakPoint> points, double least, double seconds);

}  // namespace kurultai
