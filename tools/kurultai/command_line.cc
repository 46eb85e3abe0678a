// The only file that knows CLI11.
#include "tools/kurultai/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>

#include "config/near_name.h"
#include "protocol/words.h"
#include "tools/kurultai/endpoint.h"

namespace kurultai {
namespace {

/// Words behind a command's options that are another program's.
struct ForeignWords {
  std::vector<std::string>* words;
  std::string usage;
  int mistake_status;
};
using ForeignTable = std::map<const CLI::App*, ForeignWords>;

/// Shows what `take_command` takes: CLI11 does not know of it.
class HelpFormat : public CLI::Formatter {
 public:
  explicit HelpFormat(const ForeignTable& foreign) : foreign_(foreign) {}

  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string out = CLI::Formatter::make_usage(app, std::move(name));
    const auto found = foreign_.find(app);
    if (found != foreign_.end()) out.insert(out.find('\n'), " " + found->second.usage);
    return out;
  }

 private:
  const ForeignTable& foreign_;
};

int finish(const std::string& doing, const Answer<ExitStatus>& answer) {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return complain(
        doing, {ExitStatus::task_failed, std::string("write to stdout: ") + std::strerror(errno), {}, {}});
  }
  return answer ? to_int(*answer) : complain(doing, answer.error());
}

CLI::App& add_to(CLI::App& parent, const std::string& name, const std::string& description,
                 const std::string& example) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->fallthrough();
  command->group("Commands");
  command->footer("Example:\n  " + example);
  return *command;
}

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

}  // namespace

struct Commands::Parser {
  explicit Parser(const std::string& version);

  bool takes_value(const CLI::App* command, const std::string& option) const;
  void take_command(std::vector<std::string>& arguments) const;
  std::string unknown_command(const std::vector<std::string>& arguments) const;
  std::string surplus_words() const;
  int complain_of(const CLI::ParseError& error, const std::vector<std::string>& arguments) const;

  CLI::App app{
      "Runs agents under a memory budget. `kurultai run` needs no daemon; the other commands talk to a "
      "running kurultaid."};
  ConnectOptions connect;
  ForeignTable foreign;
  std::map<const CLI::App*, std::vector<std::string>> choices;  // what an argument may be
};

Commands::Parser::Parser(const std::string& version) {
  app.name("kurultai");
  app.formatter(std::make_shared<HelpFormat>(foreign));
  app.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app.set_version_flag("--version", "kurultai " + version);
  app.require_subcommand(1);
  app.add_option("--socket", connect.socket, "the supervisor's Unix socket")->type_name("PATH");
  app.add_option("--url", connect.url, "the supervisor's address, as in http://127.0.0.1:7717")
      ->type_name("URL");
  app.add_option("--token-file", connect.token_file, "a file with the token that --url needs")
      ->type_name("FILE");
  app.footer(
      "--socket, --url, --token-file stand before or after the command. Environment: KURULTAI_SOCKET, "
      "KURULTAI_URL.\n"
      "Exit status: 0 done, 1 the task failed, 2 usage, 3 no room, 4 refused for now, 5 no such thing,\n"
      "6 no supervisor there, 124 timed out.\n\n"
      "Example:\n  kurultai run --budget 1GiB --memory 256MiB --jobs 4 -- python3 crawl.py {} ::: a b c");
}

bool Commands::Parser::takes_value(const CLI::App* command, const std::string& option) const {
  if (option.find('=') != std::string::npos || (option.size() > 2 && option[1] != '-')) return false;
  const auto* known = command->get_option_no_throw(option);
  if (known == nullptr) known = app.get_option_no_throw(option);
  return known != nullptr && known->get_expected_min() > 0;
}

// It is taken out before CLI11 sees it, which would look for our own options and commands in there, and reads
// `{}` as an empty list.
void Commands::Parser::take_command(std::vector<std::string>& arguments) const {
  const CLI::App* command = &app;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const bool is_option = word.size() > 1 && word[0] == '-' && word != "--";
    if (is_option) {
      if (takes_value(command, word)) ++i;
      continue;
    }
    if (command == &app) {
      const auto named =
          std::ranges::find(foreign, word, [](const auto& one) { return one.first->get_name(); });
      if (named == foreign.end()) return;
      command = named->first;
      continue;
    }
    const auto first = arguments.begin() + static_cast<std::ptrdiff_t>(word == "--" ? i + 1 : i);
    foreign.at(command).words->assign(first, arguments.end());
    arguments.resize(i);
    return;
  }
}

std::string Commands::Parser::unknown_command(const std::vector<std::string>& arguments) const {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with('-')) {
      if (takes_value(&app, arguments[i])) ++i;
      continue;
    }
    const auto names = names_of(app);
    if (std::ranges::find(names, arguments[i]) != names.end()) return "";
    const auto near = near_name(arguments[i], names);
    return "no command '" + arguments[i] + "'" +
           (near ? "; did you mean `kurultai " + *near + "`?" : "; see `kurultai --help`");
  }
  return "";
}

std::string Commands::Parser::surplus_words() const {
  std::string out;
  for (const auto& word : app.remaining(true)) out += (out.empty() ? "" : " ") + word;
  return out;
}

int Commands::Parser::complain_of(const CLI::ParseError& error,
                                  const std::vector<std::string>& arguments) const {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  const auto chosen = app.get_subcommands();
  const CLI::App* command = chosen.empty() ? nullptr : chosen.front();
  std::string text = unknown_command(arguments);
  if (text.empty()) {
    const bool surplus = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
    text = (surplus ? "not understood: " + surplus_words() : std::string(error.what())) + "; see `kurultai" +
           (command == nullptr ? "" : " " + command->get_name()) + " --help`";
  }
  const int status = complain("", {ExitStatus::usage, text, {}, {}});
  const auto own = foreign.find(command);
  return own == foreign.end() ? status : own->second.mistake_status;
}

void Command::flag(const std::string& names, bool& value, const std::string& help) {
  app_->add_flag(names, value, help);
}

void Command::json_flag(bool& value, const std::string& help) { flag("--json", value, help); }

void Command::option(const std::string& names, std::string& value, const std::string& type,
                     const std::string& help) {
  app_->add_option(names, value, help)->type_name(type);
}

void Command::option(const std::string& names, std::vector<std::string>& values, const std::string& type,
                     const std::string& help) {
  app_->add_option(names, values, help)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name(type);
}

void Command::require(const std::string& name) { app_->get_option(name)->required(); }

void Command::option(const std::string& names, const Take& take, const std::string& type,
                     const std::string& help) {
  const std::string name = names.substr(names.rfind(',') + 1);
  const auto take_or_throw = [name, take](const std::string& text) {
    if (const auto mistake = take(text)) throw CLI::ValidationError(name, *mistake);
  };
  app_->add_option_function<std::string>(names, take_or_throw, help)->type_name(type);
}

void Command::option(const std::string& names, int& value, Range range, const std::string& help) {
  app_->add_option(names, value, help)
      ->type_name("N")
      ->check(CLI::Range(range.least, range.most).description(""));
}

void Command::option(const std::string& names, std::optional<int>& value, Range range,
                     const std::string& help) {
  app_->add_option(names, value, help)
      ->type_name("N")
      ->check(CLI::Range(range.least, range.most).description(""));
}

void Command::option(const std::string& names, std::optional<Bytes>& value, const std::string& help) {
  const auto take = [&value](const std::string& text) -> std::optional<std::string> {
    const auto bytes = parse_bytes(text);
    if (!bytes) return bytes.error().message;
    value = *bytes;
    return std::nullopt;
  };
  option(names, take, "SIZE", help);
}

namespace {

/// For a `Duration` and for an optional one.
Command::Take take_duration(auto& value) {
  return [&value](const std::string& text) -> std::optional<std::string> {
    const auto duration = parse_duration(text);
    if (!duration) return duration.error().message;
    if (duration->count() <= 0) return text + " is no time at all";
    value = *duration;
    return std::nullopt;
  };
}

}  // namespace

void Command::option(const std::string& names, std::optional<Duration>& value, const std::string& help) {
  option(names, take_duration(value), "TIME", help);
}

void Command::option(const std::string& names, Duration& value, const std::string& help) {
  option(names, take_duration(value), "TIME", help);
}

void Command::priority_option(std::string& value) {
  const auto take = [&value](const std::string& text) -> std::optional<std::string> {
    const auto priority = parse_priority(text);
    if (!priority) return "'" + text + "' is none of critical, high, normal, low, heartbeat";
    value = to_string(*priority);
    return std::nullopt;
  };
  option("--priority", take, "P", "critical, high, normal, low or heartbeat");
}

void Command::argument(const std::string& name, std::string& value, const std::string& type,
                       const std::string& help) {
  app_->add_option(name, value, help)->required()->type_name(type);
}

void Command::optional_argument(const std::string& name, std::string& value, const std::string& type,
                                const std::string& help) {
  app_->add_option(name, value, help)->type_name(type);
}

void Command::choice(const std::string& name, std::string& value, std::vector<std::string> words,
                     const std::string& help) {
  app_->add_option(name, value, help)->required()->check(CLI::IsMember(words));
  commands_->parser_->choices[app_] = std::move(words);
}

void Command::arguments(const std::string& name, std::vector<std::string>& values, const std::string& type,
                        const std::string& help) {
  app_->add_option(name, values, help)->required()->expected(1, -1)->type_name(type);
}

void Command::takes_command(std::vector<std::string>& words, const std::string& usage, int mistake_status) {
  commands_->parser_->foreign[app_] = {&words, usage, mistake_status};
}

Command Command::add(const std::string& name, const std::string& description, const std::string& example) {
  app_->require_subcommand(1);
  return {*commands_, add_to(*app_, name, description, example)};
}

Command Command::add_hidden(const std::string& name) {
  CLI::App* command = app_->add_subcommand(name, "");
  command->group("");
  return {*commands_, *command};
}

void Command::runs(std::function<int()> action) {
  app_->callback([commands = commands_, action = std::move(action)] { commands->chosen_ = action; });
}

void Command::does(std::function<std::string()> doing, Doing action) {
  runs([doing = std::move(doing), action = std::move(action)] { return finish(doing(), action()); });
}

void Command::does(const std::string& doing, Doing action) {
  does([doing] { return doing; }, std::move(action));
}

void Command::asks(std::function<std::string()> doing, Asking action) {
  does(std::move(doing),
       [commands = commands_, action = std::move(action)] { return commands->ask(action); });
}

void Command::asks(const std::string& doing, Asking action) {
  asks([doing] { return doing; }, std::move(action));
}

Commands::Commands(const std::string& version) : parser_(std::make_unique<Parser>(version)) {}

Commands::~Commands() = default;

Command Commands::add(const std::string& name, const std::string& description, const std::string& example) {
  return {*this, add_to(parser_->app, name, description, example)};
}

Answer<ExitStatus> Commands::ask(const Asking& action) const {
  auto endpoint = choose_endpoint(parser_->connect);
  if (!endpoint) return std::unexpected(endpoint.error());
  Http http(std::move(*endpoint));
  return action(http);
}

std::vector<CommandWords> Commands::completion_words() const {
  std::vector<CommandWords> out;
  for (const auto* command : parser_->app.get_subcommands({})) {
    CommandWords words{command->get_name(), command->get_description(), names_of(*command)};
    for (const auto* option : command->get_options()) {
      for (const auto& name : option->get_lnames()) words.words.push_back("--" + name);
    }
    if (const auto found = parser_->choices.find(command); found != parser_->choices.end())
      words.words.insert(words.words.end(), found->second.begin(), found->second.end());
    out.push_back(std::move(words));
  }
  return out;
}

int Commands::run(std::vector<std::string> words) {
  if (words.empty()) {
    std::fputs(parser_->app.help().c_str(), stderr);
    return to_int(ExitStatus::usage);
  }
  parser_->take_command(words);
  std::vector<std::string> reversed(words.rbegin(), words.rend());
  try {
    parser_->app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return parser_->complain_of(error, words);
  }
  return chosen_();
}

}  // namespace kurultai
