// An event as it is remembered. Hardly any of them is ever read again, so that most are kept as values and
// put into words only for a reader. Owns all that it has. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "supervisor/events.h"

namespace kurultai {

class KeptEvent {
 public:
  explicit KeptEvent(const Event& event);
  /// One that is in words already.
  KeptEvent(std::uint64_t id, std::string task_id, std::string text)
      : id_(id), told_(Words{{}, std::move(task_id), {}, std::move(text)}) {}

  std::uint64_t id() const { return id_; }
  /// The contract's name; empty when it was kept in words.
  std::string_view name() const;
  /// Empty for an event about no task.
  std::string_view task_id() const;
  /// Likewise.
  std::string_view agent() const;
  /// As it is sent: the same whenever it is asked for.
  std::string text() const;
  /// Bytes that the text has at most. What is kept in its place takes less.
  std::size_t size() const;

 private:
  struct Words {
    std::string_view name;  // lives as long as the program
    std::string task_id;
    std::string agent;
    std::string text;
  };

  std::uint64_t id_;
  std::variant<TaskEventFacts, Words> told_;
};

}  // namespace kurultai
