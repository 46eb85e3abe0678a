// How the parts of the supervisor fare, and since when. Told again and again by whoever looks; what changes
// is remembered with the time at which it was first seen. Loop thread only; knows no clock.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/duration.h"

namespace kurultai {

struct Standing {
  std::string part;
  std::string trouble;  // empty: it does what it should
  WallTime since;       // it is well, or in trouble, of whatever kind
};

class Health {
 public:
  void note(std::string_view part, std::string trouble, WallTime now);
  bool is_well() const;
  const std::vector<Standing>& standings() const { return standings_; }

 private:
  std::vector<Standing> standings_;  // in the order in which they were first told of
};

}  // namespace kurultai
