#include "tools/kurultai/completion.h"

#include <cstdio>

#include "tools/kurultai/commands.h"

namespace kurultai {
namespace {

std::string with_spaces(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string names(const std::vector<CommandWords>& commands) {
  std::string out;
  for (const auto& command : commands) out += (out.empty() ? "" : " ") + command.name;
  return out;
}

/// For single quotes in a shell: descriptions hold apostrophes.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// The first word that is no option is the command; what it takes, or else files, is offered behind it.
std::string bash_script(const std::vector<CommandWords>& commands) {
  std::string out = R"(# kurultai completion for bash: source <(kurultai completion bash)
_kurultai() {
  local word=${COMP_WORDS[COMP_CWORD]} command= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --socket|--url|--token-file) ((i++)) ;;
      -*) ;;
      *) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  local words
  case $command in
)";
  out +=
      "    '') words=" + quoted(names(commands) + " --socket --url --token-file --help --version") + " ;;\n";
  for (const auto& command : commands) {
    out += "    " + command.name + ") words=" + quoted(with_spaces(command.words)) + " ;;\n";
  }
  return out + R"(  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _kurultai kurultai
)";
}

std::string zsh_script(const std::vector<CommandWords>& commands) {
  std::string out =
      "#compdef kurultai\n# kurultai completion for zsh: source <(kurultai completion zsh)\n_kurultai() {\n  "
      "local -a commands=(\n";
  for (const auto& command : commands)
    out += "    " + quoted(command.name + ":" + command.description) + "\n";
  out += "  )\n  if (( CURRENT == 2 )); then _describe command commands; return; fi\n  case ${words[2]} in\n";
  for (const auto& command : commands) {
    out += "    " + command.name + ") compadd -- " + with_spaces(command.words) + " ;;\n";
  }
  return out + "  esac\n  _files\n}\ncompdef _kurultai kurultai\n";
}

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string out = "# kurultai completion for fish: kurultai completion fish | source\n";
  for (const auto& command : commands) {
    out += "complete -c kurultai -n __fish_use_subcommand -a " + command.name + " -d " +
           quoted(command.description) + "\n";
    const std::string when = " -n '__fish_seen_subcommand_from " + command.name + "'";
    for (const auto& word : command.words) {
      out += "complete -c kurultai" + when;
      if (word.starts_with("--"))
        out += " -l " + word.substr(2);
      else
        out += " -a " + word;
      out += "\n";
    }
  }
  return out;
}

}  // namespace

std::optional<std::string> completion_script(std::string_view shell,
                                             const std::vector<CommandWords>& commands) {
  if (shell == "bash") return bash_script(commands);
  if (shell == "zsh") return zsh_script(commands);
  if (shell == "fish") return fish_script(commands);
  return std::nullopt;
}

void add_completion(Commands& commands) {
  auto& shell = commands.keep<std::string>();
  Command command =
      commands.add("completion", "completion for a shell", "source <(kurultai completion bash)");
  command.choice("shell", shell, {"bash", "zsh", "fish"}, "bash, zsh or fish");
  command.does("completion", [&commands, &shell] {
    std::fputs(completion_script(shell, commands.completion_words()).value_or("").c_str(), stdout);
    return ExitStatus::done;
  });
}

}  // namespace kurultai
