// An mcp agent of a supervisor as if it were its server: every request is a task, so that many clients share
// one process under its cap. A request that a client cancels is a task that is cancelled.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tools/kurultai/mcp/asking.h"
#include "tools/kurultai/mcp/session.h"

namespace kurultai {

class ProxyOffer : public Offer {
 public:
  /// `key_start` begins the idempotency keys of its tasks, by which one is found whose id is not known yet;
  /// it is another one for each proxy.
  ProxyOffer(Http& http, std::string agent, std::string key_start)
      : http_(http), agent_(std::move(agent)), key_start_(std::move(key_start)) {}

  void take(const std::string& method, const nlohmann::json& params, const Call& call) override;

 private:
  /// One request that became a task, and what becomes of its answer; copied into the callbacks of its
  /// questions.
  struct Asked {
    Call call;
    std::string body;  // that submits the task
    std::function<void(const JsonText& result)> give;
    std::function<void(const nlohmann::json& refusal)> refuse;
  };

  void initialize(const nlohmann::json& params, const Call& call);
  void check_agent(const Call& call, std::function<void()> then,
                   std::function<void(const nlohmann::json& refusal)> refuse);
  void start(Asked asked, const JsonText& payload);
  void submit_and_wait(const Asked& asked);
  void submit_and_follow(const Asked& asked);
  void wait_on(const Asked& asked, const std::string& id);
  void take_task(const Asked& asked, const Answer<Response>& answer);
  void fetch(const Asked& asked, const std::string& id);
  void ask_for(const Asked& asked, Request request, Then then);
  void cancel(const Asked& asked);

  Http& http_;
  std::string agent_;
  std::string key_start_;
  std::uint64_t last_ = 0;
  bool is_mcp_ = false;  // the agent is known to be one
};

}  // namespace kurultai
