// What agents and their tasks get up to: everything about them that chance decides, drawn ahead from the
// seed, one draw for each worker and each run of a task.
#pragma once

#include <cstdint>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai::simulation {

/// Of one worker's process.
struct Nature {
  enum class Start : unsigned char { ready, never_ready, exits, speaks_another_protocol, cannot_be_launched };
  Start start = Start::ready;
  Duration starts_in{5};
  Bytes base = mebibytes(4);
  bool heeds_term = true;
  bool heeds_shutdown = true;
  Duration leaves_in{2};    // when it heeds
  bool has_helper = false;  // a second process, which outlives it and keeps its output open
};

/// Of one run of a task.
struct Whim {
  enum class Course : unsigned char { completes, leaks, fails, crashes, leaves, goes_silent, babbles };
  Course course = Course::completes;
  Bytes memory = mebibytes(10);
  Bytes step = mebibytes(4);  // it grows by so much at once …
  Duration pace{2};           // … so often
  Duration work{20};          // after it has grown
  Duration reports{0};        // between two words of progress; 0: none
  bool checkpoints = false;   // with each of those
  bool retryable = true;
  Bytes cache;  // files it reads
  Bytes files;  // files in memory it leaves behind
  Bytes keeps;  // memory that the warm worker keeps afterwards

  enum class OnPreempt : unsigned char { saves, ignores, completes, crashes };
  OnPreempt on_preempt = OnPreempt::saves;
  Duration answers_in{5};
  bool heeds_cancel = true;
  bool late_word = false;  // says COMPLETE once more when it has long answered
};

Nature nature_of(std::uint64_t seed, std::uint64_t worker);
Whim whim_of(std::uint64_t seed, std::uint64_t task, std::uint64_t run);

}  // namespace kurultai::simulation
