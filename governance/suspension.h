// Tasks that stand still, their memory paged out: who may go on, and when. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "governance/victims.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

struct Suspended {
  std::uint64_t number = 0;  // of all suspensions: the same worker may be suspended again
  std::string worker_id;
  TimePoint since;
  Bytes size;              // what it held when it was stopped, and will want again
  bool paging = false;     // it is still being paged out
  bool paged_out = false;  // most of it was: nothing more can be had from it
};

struct ResumeQuestion {
  Bytes used;
  Bytes line;               // may not be passed with what the resumed one will want
  bool others_run = false;  // tasks that are not suspended
  std::span<const Suspended> suspended;
};

/// The one that has waited longest, when it fits, or when nothing else runs: it alone is asked, or small ones
/// would pass a large one for ever. Null: nobody.
const Suspended* next_to_resume(const ResumeQuestion& question);

/// Leaves suspendable, in the order in which they would give way, as many as fit into `swap` together:
/// several may be suspended by one decision.
void fit_into_swap(std::span<Candidate> running, Bytes swap);

/// By when a worker of this size is paged out: after that its memory is no longer waited for. At 50 MB/s, a
/// slow disk, and at least two seconds.
Duration page_out_time(Bytes size);

}  // namespace kurultai
