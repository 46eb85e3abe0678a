#include "tools/kurultai/mcp/tool_definitions.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/kurultai/fields.h"

namespace kurultai {
namespace {

using nlohmann::json;

// What a task looks like in every answer. Fields without a value are left out.
constexpr const char* task_schema = R"({
  "type": "object",
  "properties": {
    "taskId": {"type": "string"},
    "agent": {"type": "string"},
    "priority": {"type": "string"},
    "state": {"type": "string", "description": "queued, running or suspended; at its end completed, failed, cancelled or evicted"},
    "finished": {"type": "boolean", "description": "whether the state is final"},
    "position": {"type": "integer", "description": "in the queue, 1 is next"},
    "attempt": {"type": "integer"},
    "preemptions": {"type": "integer"},
    "submittedAt": {"type": "string"},
    "startedAt": {"type": "string"},
    "finishedAt": {"type": "string"},
    "waitMs": {"type": "number"},
    "runMs": {"type": "number"},
    "progress": {"type": "number", "description": "percent"},
    "message": {"type": "string", "description": "of its last progress"},
    "peakMemoryBytes": {"type": "integer"},
    "logBytes": {"type": "integer", "description": "task_logs has them"},
    "result": {"description": "the result itself, when it is short"},
    "resultBytes": {"type": "integer", "description": "the size of a result that is too long to stand here; read_result has its parts"},
    "error": {
      "type": "object",
      "properties": {"reason": {"type": "string"}, "message": {"type": "string"}, "exitCode": {"type": "integer"}, "signal": {"type": "integer"}, "quarantined": {"type": "boolean"}},
      "required": ["reason", "message"]
    }
  },
  "required": ["taskId", "state", "finished"]
})";

constexpr const char* definitions = R"([
  {
    "name": "submit_task",
    "title": "Submit a task",
    "description": "Hands a task to an agent, which runs it under a memory cap as soon as there is room. Returns its taskId at once, or, with waitSeconds, the task when it has ended (or as it is when the time is over; it goes on then, and wait_for_task waits for more). list_agents names the agents.",
    "inputSchema": {
      "type": "object",
      "properties": {
        "agent": {"type": "string", "description": "its name; see list_agents"},
        "payload": {"description": "any JSON value that this agent understands; of an mcp agent {\"tool\": NAME, \"arguments\": {…}}"},
        "priority": {"type": "string", "enum": ["critical", "high", "normal", "low", "heartbeat"], "description": "normal without; under memory pressure the least important give way first"},
        "timeout": {"type": "string", "description": "the task ends after so long: 30s, 10m, 1h; the agent's own without"},
        "retries": {"type": "integer", "minimum": 0, "maximum": 1000, "description": "how often it is tried again when it fails"},
        "idempotencyKey": {"type": "string", "description": "the same agent, key and payload are the same task, however often it is submitted"},
        "sizeClass": {"type": "string", "description": "tasks of one word need about as much memory as each other"},
        "waitSeconds": {"type": "integer", "minimum": 0, "maximum": 3600, "description": "wait for its end, at most so long; 0 without"}
      },
      "required": ["agent"],
      "additionalProperties": false
    },
    "outputSchema": "task",
    "annotations": {"readOnlyHint": false, "destructiveHint": false, "idempotentHint": false, "openWorldHint": true}
  },
  {
    "name": "wait_for_task",
    "title": "Wait for a task",
    "description": "Waits until a task has ended and returns it with its result. When the time is over first, the task as it is (finished: false); it goes on.",
    "inputSchema": {
      "type": "object",
      "properties": {
        "taskId": {"type": "string"},
        "waitSeconds": {"type": "integer", "minimum": 0, "maximum": 3600, "description": "at most so long; 50 without"}
      },
      "required": ["taskId"],
      "additionalProperties": false
    },
    "outputSchema": "task",
    "annotations": {"readOnlyHint": true, "openWorldHint": false}
  },
  {
    "name": "get_task",
    "title": "Get a task",
    "description": "The task as it is now: its state, progress, error, and its result when it is at most 32 KiB; of a longer one the size, for read_result.",
    "inputSchema": {
      "type": "object",
      "properties": {"taskId": {"type": "string"}},
      "required": ["taskId"],
      "additionalProperties": false
    },
    "outputSchema": "task",
    "annotations": {"readOnlyHint": true, "openWorldHint": false}
  },
  {
    "name": "read_result",
    "title": "Read a part of a result",
    "description": "Bytes of a finished task's result, from offset on. A text is itself, other values are their JSON; what is not UTF-8 comes as base64.",
    "inputSchema": {
      "type": "object",
      "properties": {
        "taskId": {"type": "string"},
        "offset": {"type": "integer", "minimum": 0, "description": "0 without"},
        "bytes": {"type": "integer", "minimum": 1, "maximum": 65536, "description": "at most so many; 16384 without"}
      },
      "required": ["taskId"],
      "additionalProperties": false
    },
    "outputSchema": {
      "type": "object",
      "properties": {
        "taskId": {"type": "string"},
        "offset": {"type": "integer"},
        "bytes": {"type": "integer", "description": "in this part"},
        "nextOffset": {"type": "integer", "description": "of the next part; missing at the end"},
        "text": {"type": "string"},
        "base64": {"type": "string", "description": "instead of text"}
      },
      "required": ["taskId", "offset", "bytes"]
    },
    "annotations": {"readOnlyHint": true, "openWorldHint": false}
  },
  {
    "name": "task_logs",
    "title": "Read a task's log",
    "description": "The end of what a task wrote to stderr and logged.",
    "inputSchema": {
      "type": "object",
      "properties": {
        "taskId": {"type": "string"},
        "bytes": {"type": "integer", "minimum": 1, "maximum": 65536, "description": "at most so many; 16384 without"}
      },
      "required": ["taskId"],
      "additionalProperties": false
    },
    "outputSchema": {
      "type": "object",
      "properties": {
        "taskId": {"type": "string"},
        "text": {"type": "string"},
        "leftOutBytes": {"type": "integer", "description": "of the log before this text"}
      },
      "required": ["taskId", "text", "leftOutBytes"]
    },
    "annotations": {"readOnlyHint": true, "openWorldHint": false}
  },
  {
    "name": "list_tasks",
    "title": "List tasks",
    "description": "Tasks without their results, the newest first.",
    "inputSchema": {
      "type": "object",
      "properties": {
        "state": {"type": "string", "enum": ["queued", "running", "suspended", "completed", "failed", "cancelled", "evicted"], "description": "only those in this state"},
        "agent": {"type": "string", "description": "only this agent's"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100, "description": "20 without"},
        "after": {"type": "string", "description": "`next` of the list before, to go on behind it"}
      },
      "additionalProperties": false
    },
    "outputSchema": {
      "type": "object",
      "properties": {"tasks": {"type": "array", "items": "task"}, "next": {"type": "string", "description": "there are more"}},
      "required": ["tasks"]
    },
    "annotations": {"readOnlyHint": true, "openWorldHint": false}
  },
  {
    "name": "cancel_task",
    "title": "Cancel a task",
    "description": "Ends a task that waits or runs. A running one may take a moment to stop: wait_for_task waits for that.",
    "inputSchema": {
      "type": "object",
      "properties": {"taskId": {"type": "string"}},
      "required": ["taskId"],
      "additionalProperties": false
    },
    "outputSchema": "task",
    "annotations": {"readOnlyHint": false, "destructiveHint": true, "idempotentHint": true, "openWorldHint": false}
  },
  {
    "name": "list_agents",
    "title": "List agents",
    "description": "The agents that tasks can be submitted to, what they have to do, how much memory a task of each is expected to use, and the tools of mcp agents whose server was started.",
    "inputSchema": {"type": "object", "additionalProperties": false},
    "outputSchema": {
      "type": "object",
      "properties": {
        "agents": {
          "type": "array",
          "items": {
            "type": "object",
            "properties": {
              "name": {"type": "string"},
              "protocol": {"type": "string", "enum": ["jsonl", "exec", "mcp"]},
              "running": {"type": "integer"},
              "queued": {"type": "integer"},
              "completed": {"type": "integer"},
              "failed": {"type": "integer"},
              "memoryLimitBytes": {"type": "integer"},
              "footprintBytes": {"type": "integer"},
              "tools": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "description": {"type": "string"}}, "required": ["name"]}}
            },
            "required": ["name"]
          }
        }
      },
      "required": ["agents"]
    },
    "annotations": {"readOnlyHint": true, "openWorldHint": false}
  },
  {
    "name": "memory_headroom",
    "title": "See how much memory is left",
    "description": "The memory budget, what is used of it, and how much is left until tasks are preempted and new ones refused.",
    "inputSchema": {"type": "object", "additionalProperties": false},
    "outputSchema": {
      "type": "object",
      "properties": {
        "time": {"type": "string"},
        "budgetBytes": {"type": "integer"},
        "usedBytes": {"type": "integer"},
        "freeBytes": {"type": "integer"},
        "ratio": {"type": "number", "description": "used of the budget"},
        "untilPreemptBytes": {"type": "integer", "description": "so much more, and running tasks give way"},
        "untilRejectBytes": {"type": "integer", "description": "so much more, and new tasks are refused"},
        "over": {"type": "array", "items": {"type": "string"}, "description": "the thresholds that are crossed"}
      },
      "required": ["budgetBytes", "usedBytes", "freeBytes"]
    },
    "annotations": {"readOnlyHint": true, "openWorldHint": false}
  }
])";

json parsed_definitions() {
  const json task = json::parse(task_schema);
  json tools = json::parse(definitions);
  for (json& tool : tools) {
    json& output = tool["outputSchema"];
    if (output == "task") output = task;
    if (tool["name"] == "list_tasks") output["properties"]["tasks"]["items"] = task;
  }
  return json{{"tools", std::move(tools)}};
}

std::string quoted(const std::string& name) { return "'" + name + "'"; }

std::optional<std::string> check_value(const std::string& name, const json& schema, const json& value) {
  const std::string type = text_field(schema, "type");
  if (type == "string" && !value.is_string()) return quoted(name) + " must be a string";
  if (type == "integer" && !value.is_number_integer()) return quoted(name) + " must be an integer";
  const json& words = field(schema, "enum");
  if (words.is_array() && std::ranges::find(words, value) == words.end())
    return quoted(name) + " must be one of " + words.dump();
  const auto least = int_field(schema, "minimum");
  const auto most = int_field(schema, "maximum");
  const auto number = value.is_number() ? value.get<double>() : 0;
  if ((least && number < static_cast<double>(*least)) || (most && number > static_cast<double>(*most)))
    return quoted(name) + " must be at least " + std::to_string(least.value_or(0)) +
           (most ? " and at most " + std::to_string(*most) : "");
  return std::nullopt;
}

}  // namespace

const json& tool_definitions() {
  static const json parsed = parsed_definitions();
  return parsed;
}

const json* find_tool(const std::string& name) {
  for (const json& tool : field(tool_definitions(), "tools")) {
    if (text_field(tool, "name") == name) return &tool;
  }
  return nullptr;
}

std::optional<std::string> check_arguments(const json& schema, const json& arguments) {
  const json& properties = field(schema, "properties");
  for (const json& name : field(schema, "required")) {
    if (!arguments.contains(name.get<std::string>())) return quoted(name.get<std::string>()) + " is missing";
  }
  for (const auto& [name, value] : arguments.items()) {
    const json& property = field(properties, name.c_str());
    if (property.is_null()) return "there is no argument " + quoted(name);
    if (auto wrong = check_value(name, property, value)) return wrong;
  }
  return std::nullopt;
}

}  // namespace kurultai
