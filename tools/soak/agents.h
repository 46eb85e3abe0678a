// The agents of a soak, and the configuration that has them: they come out of this program, so that it needs
// no other file than kurultaid and its worker.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "tools/bench/dice.h"
#include "tools/soak/profile.h"

namespace kurultai::soak {

/// A file that was put into the program when it was built.
std::string_view embedded(std::string_view name);
/// The names of the profiles in it.
std::vector<std::string> profile_names();

/// One task before it is submitted.
struct Submission {
  std::string key;
  const TaskKind* kind = nullptr;
  Priority priority = Priority::normal;
  Bytes memory{};
  Duration takes{};
  TimePoint due{};
};

/// Chooses all that a profile leaves open.
Submission draw(const TaskKind& kind, std::string key, TimePoint due, bench::Dice& dice);
/// By weight.
const TaskKind& draw_kind(const std::vector<TaskKind>& kinds, bench::Dice& dice);

/// The body of its submission: the same each time.
std::string to_body(const Submission& task);

/// Kinds that every soak has besides its own: `probe`, and `giant` where memory is to be taken away.
std::vector<TaskKind> all_kinds(const Profile& profile);

class AgentFiles {
 public:
  /// Writes them below `directory`, which has to outlive all workers.
  explicit AgentFiles(std::string directory);
  const std::string& ledger() const { return ledger_; }
  /// `base` with an agent for each kind.
  Config configuration(Config base, const std::vector<TaskKind>& kinds) const;

 private:
  std::string directory_;
  std::string ledger_;
};

/// Reads what the agents have written down since it was asked last.
class LedgerReader {
 public:
  explicit LedgerReader(std::string path) : path_(std::move(path)) {}
  std::vector<std::string> read();

 private:
  std::string path_;
  std::int64_t at_ = 0;
  std::string partial_;
};

}  // namespace kurultai::soak
