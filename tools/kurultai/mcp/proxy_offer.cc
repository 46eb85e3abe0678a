#include "tools/kurultai/mcp/proxy_offer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_rpc.h"
#include "protocol/json_text.h"
#include "protocol/line_writer.h"
#include "protocol/mcp_call.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/mcp/answers.h"
#include "tools/kurultai/mcp/proxy_answer.h"
#include "tools/kurultai/mcp/server_facts.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/task_view.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;

// The supervisor's own bound of one wait; a task that takes longer is waited for again.
constexpr Duration longest_wait = std::chrono::hours(1);

/// One in the command line, that no later call gets over.
bool is_mistake(const json& refusal) {
  const std::string code = text_field(refusal, "code");
  return code == "not_found" || code == "unknown_agent";
}

template <typename... Kind>
struct Cases : Kind... {
  using Kind::operator()...;
};

}  // namespace

void ProxyOffer::take(const std::string& method, const json& params, const Call& call) {
  if (method == mcp_initialize) return initialize(params, call);
  const auto payload = proxy_payload(method, params);
  if (!payload) {
    const bool is_known = method == "tools/call" || method == "prompts/get" || method == "resources/read";
    return call.error(
        is_known ? rpc_invalid_params : rpc_method_not_found,
        is_known ? "the params of " + method + " make no sense" : method + " is not offered here");
  }
  const auto refuse = [call, method](const json& refusal) {
    const ProxyFailure failure = proxy_failure(method, refusal);
    failure.is_result ? call.result(failure.text) : call.error(failure.text);
  };
  const auto give = [call](const JsonText& result) { call.result(result); };
  const auto go = [this, call, give, refuse, payload = *payload] {
    start({call, {}, give, refuse}, payload);
  };
  if (is_mcp_) return go();
  check_agent(call, go, refuse);
}

void ProxyOffer::initialize(const json& params, const Call& call) {
  const auto refuse = [this, call, params](const json& refusal) {
    const std::string why = text_field(refusal, "message");
    if (is_mistake(refusal)) return call.error(rpc_invalid_request, why);
    call.result(unknown_agent_facts(params, agent_, why));
  };
  const auto give = [call, params](const JsonText& said) {
    const auto facts = parse_json(said);
    call.result(agent_facts(params, facts ? *facts : json()));
  };
  check_agent(
      call, [this, call, give, refuse] { start({call, {}, give, refuse}, R"({"method":"initialize"})"); },
      refuse);
}

/// A task of another kind of agent would do who knows what.
void ProxyOffer::check_agent(const Call& call, std::function<void()> then,
                             std::function<void(const json&)> refuse) {
  ask(http_, call, get_request("/v1/agents/" + url_escaped(agent_)),
      [this, then = std::move(then), refuse = std::move(refuse)](const Answer<Response>& answer) {
        if (!is_good(answer)) return refuse(refusal_object(answer));
        const auto agent = parse_json(answer->body);
        const std::string protocol = agent ? text_field(*agent, "protocol") : "";
        if (protocol != "mcp") {
          return refuse(
              refusal_object("unknown_agent", "agent '" + agent_ + "' has protocol " + protocol +
                                                  "; only one with protocol mcp is a server of MCP"));
        }
        is_mcp_ = true;
        then();
      });
}

void ProxyOffer::start(Asked asked, const JsonText& payload) {
  asked.body = LineWriter(payload.size())
                   .text("agent", agent_)
                   .text("idempotencyKey", key_start_ + std::to_string(++last_))
                   .raw("payload", payload)
                   .object();
  asked.call.wants_progress() ? submit_and_follow(asked) : submit_and_wait(asked);
}

/// One question is all, where nobody wants to hear of progress.
void ProxyOffer::submit_and_wait(const Asked& asked) {
  Request request =
      post_request("/v1/tasks?wait=" + to_string(longest_wait) + "&onDisconnect=cancel", asked.body);
  request.timeout = longest_wait + std::chrono::minutes(1);
  ask_for(asked, std::move(request),
          [this, asked](const Answer<Response>& answer) { take_task(asked, answer); });
}

void ProxyOffer::submit_and_follow(const Asked& asked) {
  ask_for(asked, post_request("/v1/tasks", asked.body), [this, asked](const Answer<Response>& answer) {
    const auto task = parse_json(is_good(answer) ? answer->body : "");
    if (!task) return take_task(asked, answer);
    wait_on(asked, text_field(*task, "taskId"));
  });
}

void ProxyOffer::wait_on(const Asked& asked, const std::string& id) {
  const auto drop =
      wait_for_task(http_, asked.call, id, {longest_wait, true},
                    [this, asked](const Answer<Response>& answer) { take_task(asked, answer); });
  asked.call.on_cancel([this, asked, drop] {
    drop();
    cancel(asked);
  });
}

void ProxyOffer::take_task(const Asked& asked, const Answer<Response>& answer) {
  if (!is_good(answer)) return asked.refuse(refusal_object(answer));
  const auto task = parse_json(answer->body);
  if (!task) return asked.refuse(refusal_object("no_supervisor", "its answer: " + task.error().message));
  const std::string id = text_field(*task, "taskId");
  if (!decode_task(*task).finished()) return wait_on(asked, id);
  std::visit(Cases{[&](const ServerResult& result) { asked.give(result.text); },
                   [&](const ServerError& error) { asked.call.error(error.text); },
                   [&](const LongResult&) { fetch(asked, id); },
                   [&](const NoAnswer& none) { asked.refuse(refusal_object(none.code, none.message)); }},
             read_proxy_answer(*task));
}

void ProxyOffer::fetch(const Asked& asked, const std::string& id) {
  ask_for(asked, get_request(task_path(id) + "/result"), [asked](const Answer<Response>& answer) {
    if (!is_good(answer)) return asked.refuse(refusal_object(answer));
    asked.give(answer->body);
  });
}

/// As `ask` does; a call that is cancelled meanwhile is cancelled in its server, too.
void ProxyOffer::ask_for(const Asked& asked, Request request, Then then) {
  const Http::Id id = ask(http_, asked.call, std::move(request), std::move(then));
  asked.call.on_cancel([this, asked, id] {
    http_.cancel(id);
    cancel(asked);
  });
}

/// Its id may not be known: the same key is the same task. One that had been refused is begun and ended at
/// once.
void ProxyOffer::cancel(const Asked& asked) {
  http_.start(post_request("/v1/tasks", asked.body), [this](const Answer<Response>& answer) {
    const auto task = parse_json(is_good(answer) ? answer->body : "");
    if (!task) return;
    Request request = get_request(task_path(text_field(*task, "taskId")));
    request.method = "DELETE";
    http_.start(std::move(request), [](const Answer<Response>&) {});
  });
}

}  // namespace kurultai
