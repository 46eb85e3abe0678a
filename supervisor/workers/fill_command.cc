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

Result<std::string> directory_of(const json& payload) {
  if (!payload.contains("cwd")) return std::string();
  const json& cwd = payload["cwd"];
  if (!cwd.is_string()) return failure("'cwd' must be a string");
  auto path = cwd.get<std::string>();
  if (!path.starts_with('/') || path.find('\0') != std::string::npos)
    return failure("'cwd' must be an absolute path");
  return path;
}

Result<std::optional<Bytes>> limit_in(const json& payload) {
  if (!payload.contains("memoryLimitBytes")) return std::nullopt;
  const json& limit = payload["memoryLimitBytes"];
  if (!limit.is_number_integer() || limit < mebibytes(1).count) {
    return failure("'memoryLimitBytes' must be a whole number, at least 1 MiB");
  }
  return Bytes{limit.get<std::int64_t>()};
}

Result<FilledCommand> named_by_client(const json& payload) {
  if (!payload.is_object() || !payload.contains("command") || !payload["command"].is_array() ||
      payload["command"].empty()) {
    return failure("the payload needs 'command', a list of strings");
  }
  FilledCommand filled;
  for (const json& word : payload["command"]) {
    if (!word.is_string()) return failure("'command' must be a list of strings");
    filled.argv.push_back(word.get<std::string>());
  }
  auto cwd = directory_of(payload);
  if (!cwd) return std::unexpected(cwd.error());
  auto limit = limit_in(payload);
  if (!limit) return std::unexpected(limit.error());
  filled.cwd = std::move(*cwd);
  filled.memory_limit = *limit;
  return filled;
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

Result<FilledCommand> from_template(const AgentConfig& agent, const json& payload) {
  FilledCommand command;
  for (const std::string& argument : agent.command) {
    auto filled = fill(argument, payload);
    if (!filled) return std::unexpected(filled.error());
    command.argv.push_back(std::move(*filled));
  }
  if (agent.input == payload_input) return command;
  auto input = fill(agent.input, payload);
  if (!input) return std::unexpected(input.error());
  command.input = std::move(*input);
  return command;
}

bool has_fields(const AgentConfig& agent) {
  for (const std::string& argument : agent.command) {
    if (argument.find_first_of("{}") != std::string::npos) return true;
  }
  return agent.input != payload_input;
}

}  // namespace

Result<FilledCommand> fill_command(const AgentConfig& agent, const JsonText& payload) {
  const bool by_client = agent.name == command_agent;
  if (!by_client && !has_fields(agent)) return FilledCommand{.argv = agent.command};
  auto parsed = payload.empty() ? json() : parse_json(payload);
  if (!parsed) return std::unexpected(parsed.error());
  auto command = by_client ? named_by_client(*parsed) : from_template(agent, *parsed);
  if (!command) return command;
  if (auto good = check(command->argv); !good) return std::unexpected(good.error());
  return command;
}

}  // namespace kurultai
