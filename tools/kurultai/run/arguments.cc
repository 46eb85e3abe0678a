#include "tools/kurultai/run/arguments.h"

#include <algorithm>

namespace kurultai {
namespace {

constexpr std::string_view separator = ":::";
constexpr std::string_view placeholder = "{}";

// The supervisor's own part of the budget is at least 16 MiB; twice that leaves its logs and readings room.
constexpr Bytes supervisor_room = mebibytes(32);

std::string replaced(std::string_view word, std::string_view argument) {
  std::string out;
  for (auto at = word.find(placeholder); at != std::string_view::npos; at = word.find(placeholder)) {
    out.append(word.substr(0, at)).append(argument);
    word.remove_prefix(at + placeholder.size());
  }
  return out.append(word);
}

}  // namespace

Answer<CommandLine> split_arguments(const std::vector<std::string>& words) {
  const auto cut = std::ranges::find(words, separator);
  CommandLine out{{words.begin(), cut}, std::nullopt};
  if (out.command.empty()) {
    return complaint(ExitStatus::usage,
                     "no command given; as in `kurultai run -- python3 crawl.py {} ::: a b c`");
  }
  if (cut == words.end()) return out;
  out.arguments.emplace(cut + 1, words.end());
  if (std::ranges::find(*out.arguments, separator) != out.arguments->end()) {
    return complaint(ExitStatus::usage, "::: was given twice; one list of arguments is taken");
  }
  return out;
}

std::vector<std::string> with_argument(const std::vector<std::string>& command, std::string_view argument) {
  std::vector<std::string> out;
  bool found = false;
  for (const auto& word : command) {
    found = found || word.find(placeholder) != std::string::npos;
    out.push_back(replaced(word, argument));
  }
  if (!found) out.emplace_back(argument);
  return out;
}

Answer<MemoryPlan> plan_memory(std::optional<Bytes> budget, std::optional<Bytes> memory) {
  const Bytes whole = budget.value_or(gibibytes(1));
  const Bytes one = memory.value_or(std::min(mebibytes(512), whole - supervisor_room));
  if (one.count <= 0 && !memory) {
    return complaint(ExitStatus::usage, "--budget " + to_string(whole) +
                                            " leaves no room for a command; the supervisor needs " +
                                            to_string(supervisor_room) + " of it");
  }
  if (one.count <= 0)
    return complaint(ExitStatus::usage, "--memory " + to_string(one) + " is no room for a command");
  if (one > whole) {
    return complaint(ExitStatus::usage, "--memory " + to_string(one) + " is more than --budget " +
                                            to_string(whole) + "; a command must fit into the budget");
  }
  return MemoryPlan{whole, one};
}

}  // namespace kurultai
