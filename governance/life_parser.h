// Reads the lines of a recorded life. Pure, and bounded: it keeps the description of the tasks that run at a
// time (at most `most_life_tasks`) and nothing of what was.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "governance/life_record.h"
#include "protocol/error.h"

namespace kurultai {

class LifeFields;

class LifeParser {
 public:
  /// One line, without its end. The first has to be the header. Views in the record are valid until the next
  /// call. The error says what is wrong with the line, in words that go behind `FILE:LINE: `.
  Result<LifeRecord> parse(std::string_view line);

 private:
  struct Described {
    Candidate task;
    std::string agent;
  };

  Result<LifeRecord> parse_header(std::string_view line);
  Result<LifeRecord> parse_task(LifeFields& fields);
  Result<LifeRecord> parse_reading(TimePoint at, LifeFields& fields);
  static bool parse_growth(std::string_view text, Growth& growth);
  bool parse_running(std::string_view field);
  bool parse_action(std::string_view field, double ratio);
  Described* described(std::string_view number);

  bool has_header_ = false;
  Bytes budget_;
  TimePoint last_;
  std::deque<Described> tasks_;  // by number; never moved, since running_ points into it
  std::vector<RunningSeen> running_;
  std::vector<Action> actions_;
};

}  // namespace kurultai
