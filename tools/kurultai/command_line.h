// What the command line can say. Each family of commands adds its own commands and options here, and never
// sees the library that reads them: CLI11 takes longer to compile than all of the client, so command_line.cc
// alone includes it. What options are read into is the caller's, or is kept by `Commands::keep`; it has to
// live as long as the Commands. One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "tools/kurultai/complaint.h"
#include "tools/kurultai/completion.h"
#include "tools/kurultai/http.h"

namespace CLI {
class App;
}

namespace kurultai {

class Commands;

/// What a command does: with a supervisor, or without.
using Asking = std::function<Answer<ExitStatus>(Http&)>;
using Doing = std::function<Answer<ExitStatus>()>;

/// One command, to be told what it takes. A handle: copies mean the same command. Names of options are
/// written as in `-j,--jobs`.
class Command {
 public:
  /// Takes the words of an option; what is wrong with them, if something is.
  using Take = std::function<std::optional<std::string>(const std::string&)>;
  struct Range {
    int least;
    int most;
  };

  void flag(const std::string& names, bool& value, const std::string& help);
  void json_flag(bool& value, const std::string& help = "print the API's own object");
  void option(const std::string& names, std::string& value, const std::string& type, const std::string& help);
  void option(const std::string& names, const Take& take, const std::string& type, const std::string& help);
  void option(const std::string& names, int& value, Range range, const std::string& help);
  void option(const std::string& names, std::optional<int>& value, Range range, const std::string& help);
  void option(const std::string& names, std::optional<Bytes>& value, const std::string& help);
  void option(const std::string& names, std::optional<Duration>& value, const std::string& help);
  void option(const std::string& names, Duration& value, const std::string& help);
  /// May be given more than once.
  void option(const std::string& names, std::vector<std::string>& values, const std::string& type,
              const std::string& help);
  void priority_option(std::string& value);
  /// One of its options, without which the command is refused.
  void require(const std::string& name);

  /// A word that has to be given, one that may be, one of a few, and one or more words.
  void argument(const std::string& name, std::string& value, const std::string& type,
                const std::string& help);
  void optional_argument(const std::string& name, std::string& value, const std::string& type,
                         const std::string& help);
  void choice(const std::string& name, std::string& value, std::vector<std::string> words,
              const std::string& help);
  void arguments(const std::string& name, std::vector<std::string>& values, const std::string& type,
                 const std::string& help);

  /// What stands behind its options belongs to another program and goes to `words` unread. `usage` is how
  /// the help shows it; a mistake before it ends with `mistake_status`.
  void takes_command(std::vector<std::string>& words, const std::string& usage, int mistake_status);

  /// A command of this command, which then does nothing by itself.
  Command add(const std::string& name, const std::string& description, const std::string& example);
  /// The same, and no help names it.
  Command add_hidden(const std::string& name);

  /// `doing` names it in complaints.
  void asks(std::function<std::string()> doing, Asking action);
  void asks(const std::string& doing, Asking action);
  void does(std::function<std::string()> doing, Doing action);
  void does(const std::string& doing, Doing action);
  /// Says itself what goes wrong; returns the exit status.
  void runs(std::function<int()> action);

 private:
  friend class Commands;
  Command(Commands& commands, CLI::App& app) : commands_(&commands), app_(&app) {}

  Commands* commands_;
  CLI::App* app_;
};

class Commands {
 public:
  explicit Commands(const std::string& version);
  ~Commands();
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  Command add(const std::string& name, const std::string& description, const std::string& example);

  /// Something for options to be read into.
  template <typename T>
  T& keep() {
    const auto kept = std::make_shared<T>();
    kept_.push_back(kept);
    return *kept;
  }

  /// Asks the supervisor that the command line names.
  Answer<ExitStatus> ask(const Asking& action) const;

  std::vector<CommandWords> completion_words() const;

  /// Reads the words behind the program's name, does what they say, and returns the exit status.
  int run(std::vector<std::string> words);

 private:
  friend class Command;
  struct Parser;
  std::unique_ptr<Parser> parser_;
  std::vector<std::shared_ptr<void>> kept_;
  std::function<int()> chosen_;
};

}  // namespace kurultai
