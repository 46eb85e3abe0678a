#include "supervisor/workers/fill_command.h"

#include <nlohmann/json.hpp>

#include "config/command_template.h"
#include "protocol/json_text.h"

namespace kurultai {

using nlohmann::json;

namespace {

// execve allows 128 KiB for one argument and a quarter of the stack, 2 MiB, for all (execve(2)).
constexpr std::size_t max_argument = 128 * 1024 - 1;
constexpr std::size_t max_arguments = 1024 * 1024;

Result<std::string> text_of(const json& payload, const std::string& field) {
  if (!payload.is_object() || !payload.contains(field) || payload[field].is_null()) {
    return failure("the payload has no field '" + field + "', which the command needs");
  }
  const json& value = payload[field];
  return value.is_string() ? value.get<std::string>() : to_text(value);
}

Result<void> check(const std::vector<std::string>& argv) {
  std::size_t total = 0;
  for (const std::string& argument : argv) {
    if (argument.find('\0') != std::string::npos)
      return failure("an argument of the command holds a NUL byte");
    if (argument.size() > max_argument) return failure("an argument of the command is longer than 128 KiB");
    total += argument.size() + 1;
  }
  if (total > max_arguments) return failure("the command is longer than 1 MiB");
  return {};
}

Result<std::vector<std::string>> named_by_client(const json& payload) {
  if (!payload.is_object() || !payload.contains("command") || !payload["command"].is_array() ||
      payload["command"].empty()) {
    return failure("the payload needs 'command', a list of strings");
  }
  std::vector<std::string> argv;
  for (const json& word : payload["command"]) {
    if (!word.is_string()) return failure("'command' must be a list of strings");
    argv.push_back(word.get<std::string>());
  }
  return argv;
}

Result<std::string> fill(const std::string& argument, const json& payload) {
  const auto pieces = parse_template(argument);
  if (!pieces) return std::unexpected(pieces.error());
  std::string filled;
  for (const TemplatePiece& piece : *pieces) {
    if (!piece.is_field) {
      filled += piece.text;
      continue;
    }
    const auto text = text_of(payload, piece.text);
    if (!text) return std::unexpected(text.error());
    filled += *text;
  }
  return filled;
}

Result<std::vector<std::string>> from_template(const AgentConfig& agent, const json& payload) {
  std::vector<std::string> argv;
  for (const std::string& argument : agent.command) {
    auto filled = fill(argument, payload);
    if (!filled) return std::unexpected(filled.error());
    argv.push_back(std::move(*filled));
  }
  return argv;
}

bool has_fields(const AgentConfig& agent) {
  for (const std::string& argument : agent.command) {
    if (argument.find_first_of("{}") != std::string::npos) return true;
  }
  return false;
}

}  // namespace

Result<std::vector<std::string>> fill_command(const AgentConfig& agent, const JsonText& payload) {
  const bool by_client = agent.name == command_agent;
  if (!by_client && !has_fields(agent)) return agent.command;
  auto parsed = payload.empty() ? json() : parse_json(payload);
  if (!parsed) return std::unexpected(parsed.error());
  auto argv = by_client ? named_by_client(*parsed) : from_template(agent, *parsed);
  if (!argv) return argv;
  if (auto good = check(*argv); !good) return std::unexpected(good.error());
  return argv;
}

}  // namespace kurultai
