// Writes the records of a recorded life as lines (docs/replay.md has the format). Pure: appends to a text.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "governance/life_record.h"

namespace kurultai {

class LifeWriter {
 public:
  /// Moments are written as what they are after `began`.
  explicit LifeWriter(TimePoint began) : began_(began) {}

  void write(std::string& out, const LifeHeader& header);
  /// Tasks beyond `most_life_tasks` are left out.
  void write(std::string& out, const ReadingSeen& reading);
  void write(std::string& out, const SubmittedSeen& task);
  void write(std::string& out, const RefusedSeen& refused);
  void write(std::string& out, const BegunSeen& begun);
  void write(std::string& out, const RoomSeen& room);
  void write(std::string& out, const ReturnedSeen& returned);
  void write(std::string& out, const EndedSeen& ended);
  void write(std::string& out, const SkippedSeen& skipped);
  void write(std::string& out, const RulesSeen& rules);
  void write(std::string& out, const DroppedSeen& dropped);
  void write(std::string& out, const ClosedSeen& closed);

  /// What was written last did not arrive: running tasks are described anew.
  void forget_tasks();

 private:
  /// A number by which readings speak of a running task.
  struct Slot {
    std::string task_id;
    std::string described;  // its line, as it was written last
    std::uint64_t seen = 0;
  };

  void begin(std::string& out, char letter, TimePoint at) const;
  std::size_t slot_of(const std::string& task_id);
  void describe(std::string& out, std::size_t number, const RunningSeen& running);
  void free_unseen();

  TimePoint began_;
  std::vector<Slot> slots_;
  std::vector<std::size_t> free_;
  std::map<std::string, std::size_t, std::less<>> numbers_;
  std::uint64_t readings_ = 0;
};

}  // namespace kurultai
