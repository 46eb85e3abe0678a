// The command line: the only file that knows CLI11 (which takes longer to compile than all the others). It
// turns words into options, finds the supervisor where a command needs one, and returns what the command
// answered.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/near_name.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/words.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/completion.h"
#include "tools/kurultai/endpoint.h"
#include "tools/kurultai/run/run.h"

namespace kurultai {
namespace {

/// Everything the command line can say, and which command was chosen.
struct Words {
  ConnectOptions connect;
  SubmitOptions submit;
  ExecOptions exec;
  ListOptions list;
  EventsOptions events;
  RunOptions run;
  std::vector<std::string> ids;
  std::string id, name, file, shell;
  Duration drain_timeout{std::chrono::seconds(30)};
  bool json = false;
  bool follow = false;
  std::function<int()> chosen;
};

using Action = std::function<Answer<ExitStatus>(Http&)>;

int finish(const std::string& doing, const Answer<ExitStatus>& answer) {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return complain(
        doing, {ExitStatus::task_failed, std::string("write to stdout: ") + std::strerror(errno), {}, {}});
  }
  return answer ? to_int(*answer) : complain(doing, answer.error());
}

int with_supervisor(const ConnectOptions& connect, const std::string& doing, const Action& action) {
  auto endpoint = choose_endpoint(connect);
  if (!endpoint) return complain(doing, endpoint.error());
  Http http(std::move(*endpoint));
  return finish(doing, action(http));
}

/// Shows what `take_command` takes: CLI11 does not know of it.
class HelpFormat : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string out = CLI::Formatter::make_usage(app, std::move(name));
    const std::string& command = app->get_name();
    if (command == "run" || command == "exec") out.insert(out.find('\n'), " -- CMD [ARG...]");
    if (command == "run") out.insert(out.find('\n'), " [::: A B C]");
    return out;
  }
};

class CommandLineApp {
 public:
  CommandLineApp();
  int run(std::vector<std::string> arguments);

 private:
  CLI::App* add(const std::string& name, const std::string& description, const std::string& example,
                CLI::App* parent = nullptr);
  void ask(CLI::App* command, const std::function<std::string()>& doing, Action action);
  void add_run();
  void add_submit();
  void add_exec();
  void add_tables();
  void add_task_commands();
  void add_administration();
  void add_config();
  void add_completion();

  void bytes_option(CLI::App* command, const std::string& name, std::optional<Bytes>& value,
                    const std::string& help);
  void duration_option(CLI::App* command, const std::string& name, const std::function<void(Duration)>& take,
                       const std::string& help);
  void priority_option(CLI::App* command, std::string& value);
  void json_flag(CLI::App* command, bool& value) {
    command->add_flag("--json", value, "print the API's own object");
  }

  std::vector<std::string> take_command(std::vector<std::string>& arguments);
  bool takes_value(const CLI::App* command, const std::string& option) const;
  int complain_of(const CLI::ParseError& error, const std::vector<std::string>& arguments);
  std::string unknown_command(const std::vector<std::string>& arguments) const;
  std::vector<CommandWords> completion_words() const;
  std::string surplus_words() const;

  CLI::App app_{
      "Runs agents under a memory budget. `kurultai run` needs no daemon; the other commands talk to a "
      "running kurultaid."};
  Words words_;
};

CommandLineApp::CommandLineApp() {
  app_.name("kurultai");
  app_.formatter(std::make_shared<HelpFormat>());
  app_.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app_.set_version_flag("--version", std::string("kurultai ") + KURULTAI_VERSION);
  app_.require_subcommand(1);
  app_.add_option("--socket", words_.connect.socket, "the supervisor's Unix socket")->type_name("PATH");
  app_.add_option("--url", words_.connect.url, "the supervisor's address, as in http://127.0.0.1:7717")
      ->type_name("URL");
  app_.add_option("--token-file", words_.connect.token_file, "a file with the token that --url needs")
      ->type_name("FILE");
  app_.footer(
      "--socket, --url, --token-file stand before or after the command. Environment: KURULTAI_SOCKET, "
      "KURULTAI_URL.\n"
      "Exit status: 0 done, 1 the task failed, 2 usage, 3 no room, 4 refused for now, 5 no such thing,\n"
      "6 no supervisor there, 124 timed out.\n\n"
      "Example:\n  kurultai run --budget 1GiB --memory 256MiB --jobs 4 -- python3 crawl.py {} ::: a b c");
  add_run();
  add_submit();
  add_exec();
  add_tables();
  add_task_commands();
  add_administration();
  add_config();
  add_completion();
}

CLI::App* CommandLineApp::add(const std::string& name, const std::string& description,
                              const std::string& example, CLI::App* parent) {
  CLI::App* command = (parent != nullptr ? parent : &app_)->add_subcommand(name, description);
  command->fallthrough();
  command->group("Commands");
  command->footer("Example:\n  " + example);
  return command;
}

void CommandLineApp::ask(CLI::App* command, const std::function<std::string()>& doing, Action action) {
  command->callback([this, doing, action = std::move(action)] {
    words_.chosen = [this, doing, action] { return with_supervisor(words_.connect, doing(), action); };
  });
}

void CommandLineApp::bytes_option(CLI::App* command, const std::string& name, std::optional<Bytes>& value,
                                  const std::string& help) {
  const auto take = [name, &value](const std::string& text) {
    const auto bytes = parse_bytes(text);
    if (!bytes) throw CLI::ValidationError(name, bytes.error().message);
    value = *bytes;
  };
  command->add_option_function<std::string>(name, take, help)->type_name("SIZE");
}

void CommandLineApp::duration_option(CLI::App* command, const std::string& name,
                                     const std::function<void(Duration)>& take, const std::string& help) {
  const auto parse = [name, take](const std::string& text) {
    const auto duration = parse_duration(text);
    if (!duration) throw CLI::ValidationError(name, duration.error().message);
    if (duration->count() <= 0) throw CLI::ValidationError(name, text + " is no time at all");
    take(*duration);
  };
  command->add_option_function<std::string>(name, parse, help)->type_name("TIME");
}

void CommandLineApp::priority_option(CLI::App* command, std::string& value) {
  const auto take = [&value](const std::string& text) {
    const auto priority = parse_priority(text);
    if (!priority) {
      throw CLI::ValidationError("--priority",
                                 "'" + text + "' is none of critical, high, normal, low, heartbeat");
    }
    value = to_string(*priority);
  };
  command->add_option_function<std::string>("--priority", take, "critical, high, normal, low or heartbeat")
      ->type_name("P");
}

void CommandLineApp::add_run() {
  RunOptions& run = words_.run;
  auto* command = add(
      "run", "run commands under one memory budget, without a daemon",
      "kurultai run --budget 1GiB --memory 256MiB --jobs 4 -- python3 crawl.py {} ::: a b c\n"
      "  ls *.json | kurultai run --keep-order -- jq .name\n\n"
      "One command an argument behind `:::`, or a line of stdin; `{}` is replaced, or the argument "
      "appended.\n"
      "A command starts when what earlier ones used, or until three have ended a --jobs-th part, fits below "
      "85 % of "
      "the\n"
      "budget beside those that run.\n"
      "Ctrl-C lets running commands finish, a second one ends at once. Exit status: the number of failed\n"
      "commands, 101 for more than 100, 255 for errors of its own.");
  bytes_option(command, "--budget", run.budget, "memory for all commands together (1GiB)");
  bytes_option(command, "--memory", run.memory, "memory cap of one command (512MiB, at most the budget)");
  command->add_option("-j,--jobs", run.jobs, "commands at a time (2)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000).description(""));
  priority_option(command, run.priority);
  command->add_option("--retries", run.retries, "try a failed command again so often")
      ->type_name("N")
      ->check(CLI::Range(0, 1000).description(""));
  duration_option(
      command, "--timeout", [&run](Duration d) { run.timeout = d; }, "end a command after so long");
  command->add_option("--results", run.results, "also keep stdout, stderr and task.json in DIR/NUMBER/")
      ->type_name("DIR");
  command->add_flag("-k,--keep-order", run.keep_order, "print outputs in the order of the arguments");
  command->callback([this] { words_.chosen = [this] { return kurultai::run(words_.run); }; });
}

void CommandLineApp::add_submit() {
  SubmitOptions& options = words_.submit;
  auto* command = add("submit", "hand a task to an agent; prints its id",
                      "kurultai submit summarise --payload '{\"file\": \"a.txt\"}' --wait\n"
                      "  kurultai submit summarise @payload.json --priority high");
  command->add_option("agent", options.agent, "its name in the configuration")
      ->required()
      ->type_name("AGENT");
  command->add_option("payload", options.payload, "the same as --payload")->type_name("JSON|@FILE|-");
  command->add_option("--payload", options.payload, "JSON, @FILE, or - for stdin")->type_name("JSON|@FILE|-");
  command
      ->add_option(
          "--file", options.file,
          "its bytes are the payload, of any size: the agent gets a file, a command its stdin; - for stdin")
      ->type_name("FILE|-");
  priority_option(command, options.priority);
  duration_option(
      command, "--timeout", [&options](Duration d) { options.timeout = d; }, "end the task after so long");
  command->add_option("--retries", options.retries, "try it again so often when it fails")
      ->type_name("N")
      ->check(CLI::Range(0, 1000).description(""));
  command->add_option("--key", options.key, "idempotency key: the same key and payload are the same task")
      ->type_name("KEY");
  command
      ->add_option("--size-class", options.size_class,
                   "any word: tasks of one class need about as much memory as each other")
      ->type_name("WORD");
  duration_option(
      command, "--retry-refused", [&options](Duration d) { options.retry_refused = d; },
      "when there is no room, come again as told, for so long");
  command->add_flag("--wait", options.wait, "wait until it has ended and print its result");
  command->add_flag("--stream", options.stream, "the same, with progress and log lines as they come");
  json_flag(command, options.json);
  ask(
      command, [&options] { return "submit " + options.agent; },
      [&options](Http& http) { return submit(http, options); });
}

void CommandLineApp::add_exec() {
  ExecOptions& options = words_.exec;
  auto* command = add("exec", "run a command as a task, if the configuration allows it (exec.allow)",
                      "kurultai exec --memory 256MiB --wait -- sh -c 'du -s /var | sort -n'");
  bytes_option(command, "--memory", options.memory, "its memory cap");
  priority_option(command, options.priority);
  duration_option(
      command, "--timeout", [&options](Duration d) { options.timeout = d; }, "end it after so long");
  duration_option(
      command, "--retry-refused", [&options](Duration d) { options.retry_refused = d; },
      "when there is no room, come again as told, for so long");
  command->add_flag("--wait", options.wait, "wait until it has ended; its output is ours");
  json_flag(command, options.json);
  ask(
      command, [] { return "exec"; },
      [&options](Http& http) -> Answer<ExitStatus> {
        if (options.command.empty())
          return complaint(ExitStatus::usage, "no command given; as in `kurultai exec --wait -- ls -l`");
        return exec(http, options);
      });
}

void CommandLineApp::add_tables() {
  auto* ps =
      add("ps", "tasks: what runs and waits, and the newest that ended", "kurultai ps -a --agent summarise");
  ps->add_flag("-a,--all", words_.list.all, "every task that is still known");
  ps->add_option("--state", words_.list.state, "only these, as in failed,evicted")->type_name("STATE");
  ps->add_option("--agent", words_.list.agent, "only this agent's")->type_name("AGENT");
  json_flag(ps, words_.list.json);
  ask(ps, [] { return "ps"; }, [this](Http& http) { return list_tasks(http, words_.list); });

  const auto table = [this](const char* name, const char* description, const char* example, auto show) {
    auto* command = add(name, description, example);
    json_flag(command, words_.json);
    ask(command, [name] { return name; }, [this, show](Http& http) { return show(http, words_.json); });
  };
  table("queue", "what waits, level by level", "kurultai queue --json | jq .depth", show_queue);
  auto* agents = add("agents", "the configured agents and how they fare", "kurultai agents summarise");
  agents->add_option("name", words_.name, "only this one")->type_name("NAME");
  json_flag(agents, words_.json);
  ask(
      agents, [this] { return words_.name.empty() ? "agents" : "agents " + words_.name; },
      [this](Http& http) { return show_agents(http, words_.name, words_.json); });
  table("workers", "worker processes and their memory", "kurultai workers", show_workers);
  table("memory", "the budget and who uses it", "kurultai memory --json | jq .ratio", show_memory);
  table("breakers", "what keeps failing and is left alone: agents, and what agents call", "kurultai breakers",
        show_breakers);
  table("status", "whether the supervisor is well, and what it can guarantee", "kurultai status",
        show_status);
}

void CommandLineApp::add_task_commands() {
  const auto with_id = [this](const char* name, const char* description, const char* example, Action action) {
    auto* command = add(name, description, example);
    command->add_option("id", words_.id, "the task's id")->required()->type_name("ID");
    ask(command, [this, name] { return std::string(name) + " " + words_.id; }, std::move(action));
    return command;
  };
  json_flag(with_id("task", "one task in full", "kurultai task 8f3a",
                    [this](Http& http) { return show_task(http, words_.id, words_.json); }),
            words_.json);
  json_flag(with_id("why", "its receipt: what decided over a task, on which figures", "kurultai why 8f3a",
                    [this](Http& http) { return show_why(http, words_.id, words_.json); }),
            words_.json);
  auto* result_command =
      with_id("result", "a task's result", "kurultai result 8f3a -o summary.txt",
              [this](Http& http) { return result(http, words_.id, words_.file, words_.follow); });
  result_command->add_option("-o,--output", words_.file, "write it there")->type_name("FILE");
  result_command->add_flag("-f,--follow", words_.follow, "of a task that is still running, as it comes");
  with_id("logs", "a task's stderr and log lines", "kurultai logs 8f3a -f", [this](Http& http) {
    return logs(http, words_.id, words_.follow);
  })->add_flag("-f,--follow", words_.follow, "go on until the task has ended");

  auto* command = add("cancel", "end tasks", "kurultai cancel 8f3a 9c01");
  command->add_option("id", words_.ids, "ids of tasks")->required()->expected(1, -1)->type_name("ID");
  json_flag(command, words_.json);
  ask(command, [] { return "cancel"; }, [this](Http& http) { return cancel(http, words_.ids, words_.json); });
}

void CommandLineApp::add_administration() {
  auto* drain_command =
      add("drain", "take no more tasks and wait for those there are", "kurultai drain --timeout 2m");
  duration_option(
      drain_command, "--timeout", [this](Duration d) { words_.drain_timeout = d; },
      "wait at most so long (30s)");
  json_flag(drain_command, words_.json);
  ask(
      drain_command, [] { return "drain"; },
      [this](Http& http) { return drain(http, words_.drain_timeout, words_.json); });

  auto* reload_command = add("reload", "read the configuration again", "kurultai reload");
  json_flag(reload_command, words_.json);
  ask(reload_command, [] { return "reload"; }, [this](Http& http) { return reload(http, words_.json); });

  EventsOptions& options = words_.events;
  auto* events = add("events", "what has happened lately, and with --follow what happens next",
                     "kurultai events --follow --task 8f3a");
  events->add_flag("-f,--follow", options.follow, "go on until Ctrl-C, or to the end of the task");
  events->add_option("--task", options.task_id, "only this task's")->type_name("ID");
  events->add_flag("--progress", options.progress, "also what agents tell of their progress");
  json_flag(events, options.json);
  ask(events, [] { return "events"; }, [&options](Http& http) { return show_events(http, options); });
}

void CommandLineApp::add_config() {
  auto* config =
      add("config", "check, show or describe the configuration", "kurultai config check memory.yaml");
  config->require_subcommand(1);
  auto* check = add("check", "every mistake in a file, with its line",
                    "kurultai config check config/memory.yaml", config);
  check->add_option("file", words_.file, "the one kurultaid would use, when absent")->type_name("FILE");
  check->callback(
      [this] { words_.chosen = [this] { return finish("config check", config_check(words_.file)); }; });

  auto* show = add("show", "the supervisor's configuration in effect, or what a file amounts to",
                   "kurultai config show\n  kurultai config show config/memory.yaml", config);
  show->add_option("file", words_.file, "a file instead of the supervisor")->type_name("FILE");
  json_flag(show, words_.json);
  show->callback([this] {
    words_.chosen = [this] {
      if (!words_.file.empty()) return finish("config show", config_show_file(words_.file, words_.json));
      return with_supervisor(words_.connect, "config show",
                             [this](Http& http) { return config_show(http, words_.json); });
    };
  });

  auto* schema = add("schema", "JSON Schema of memory.yaml, for editors",
                     "kurultai config schema > memory.schema.json", config);
  schema->callback([this] { words_.chosen = [] { return finish("config schema", config_schema_text()); }; });
}

void CommandLineApp::add_completion() {
  auto* command = add("completion", "completion for a shell", "source <(kurultai completion bash)");
  command->add_option("shell", words_.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([this] {
    words_.chosen = [this] {
      std::fputs(completion_script(words_.shell, completion_words()).value_or("").c_str(), stdout);
      return finish("completion", ExitStatus::done);
    };
  });
}

std::string CommandLineApp::surplus_words() const {
  std::string out;
  for (const auto& word : app_.remaining(true)) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::vector<CommandWords> CommandLineApp::completion_words() const {
  std::vector<CommandWords> out;
  for (const auto* command : app_.get_subcommands({})) {
    CommandWords words{command->get_name(), command->get_description(), {}};
    for (const auto* inner : command->get_subcommands({})) words.words.push_back(inner->get_name());
    for (const auto* option : command->get_options()) {
      for (const auto& name : option->get_lnames()) words.words.push_back("--" + name);
    }
    if (words.name == "completion") words.words.insert(words.words.end(), {"bash", "zsh", "fish"});
    out.push_back(std::move(words));
  }
  return out;
}

bool CommandLineApp::takes_value(const CLI::App* command, const std::string& option) const {
  if (option.find('=') != std::string::npos || (option.size() > 2 && option[1] != '-')) return false;
  const auto* known = command->get_option_no_throw(option);
  if (known == nullptr) known = app_.get_option_no_throw(option);
  return known != nullptr && known->get_expected_min() > 0;
}

// What follows the options of `run` and `exec` belongs to another program: it is taken out before CLI11 sees
// it, which would look for our own options and commands in there, and reads `{}` as an empty list.
std::vector<std::string> CommandLineApp::take_command(std::vector<std::string>& arguments) {
  const CLI::App* command = &app_;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const bool is_option = word.size() > 1 && word[0] == '-' && word != "--";
    if (is_option) {
      if (takes_value(command, word)) ++i;
      continue;
    }
    if (command == &app_) {
      if (word != "run" && word != "exec") return {};
      command = app_.get_subcommand(word);
      continue;
    }
    const std::size_t first = word == "--" ? i + 1 : i;
    std::vector<std::string> out(arguments.begin() + static_cast<std::ptrdiff_t>(first), arguments.end());
    arguments.resize(i);
    return out;
  }
  return {};
}

std::string CommandLineApp::unknown_command(const std::vector<std::string>& arguments) const {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with('-')) {
      if (takes_value(&app_, arguments[i])) ++i;
      continue;
    }
    std::vector<std::string> names;
    for (const auto* command : app_.get_subcommands({})) names.push_back(command->get_name());
    if (std::find(names.begin(), names.end(), arguments[i]) != names.end()) return "";
    const auto near = near_name(arguments[i], names);
    return "no command '" + arguments[i] + "'" +
           (near ? "; did you mean `kurultai " + *near + "`?" : "; see `kurultai --help`");
  }
  return "";
}

int CommandLineApp::complain_of(const CLI::ParseError& error, const std::vector<std::string>& arguments) {
  if (error.get_exit_code() == 0) return app_.exit(error);  // --help, --version
  std::string text = unknown_command(arguments);
  const auto chosen = app_.get_subcommands();
  const std::string command = chosen.empty() ? "" : " " + chosen.front()->get_name();
  if (text.empty()) {
    const bool surplus = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
    text = (surplus ? "not understood: " + surplus_words() : std::string(error.what())) + "; see `kurultai" +
           command + " --help`";
  }
  const int status = complain("", {ExitStatus::usage, text, {}, {}});
  return command == " run" ? run_own_error : status;
}

/// A stream that our caller has closed would be the first pipe we open, and be printed into. What stands in
/// its place fails as it would.
void fill_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

int CommandLineApp::run(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    std::fputs(app_.help().c_str(), stderr);
    return to_int(ExitStatus::usage);
  }
  const auto command = take_command(arguments);
  words_.run.command = words_.exec.command = command;
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app_.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return complain_of(error, arguments);
  }
  return words_.chosen();
}

}  // namespace
}  // namespace kurultai

int main(int argc, char** argv) try {
  kurultai::fill_standard_streams();
  return kurultai::CommandLineApp().run(std::vector<std::string>(argv + 1, argv + argc));
} catch (const std::exception& error) {
  std::fprintf(stderr, "kurultai: %s\n", error.what());
  return kurultai::to_int(kurultai::ExitStatus::usage);
}
