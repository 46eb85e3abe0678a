// A supervisor as a server of MCP: tools to submit, wait for, list and cancel tasks, and its state as
// resources. Without a supervisor the conversation goes on, and each call says what to do.
#pragma once

#include <string>

#include "tools/kurultai/mcp/session.h"

namespace kurultai {

class SupervisorOffer : public Offer {
 public:
  explicit SupervisorOffer(Http& http) : http_(http) {}
  void take(const std::string& method, const nlohmann::json& params, const Call& call) override;

 private:
  using Shape = nlohmann::json (*)(const nlohmann::json&);

  void call_tool(const nlohmann::json& params, const Call& call);
  void run_tool(const std::string& tool, const nlohmann::json& arguments, const Call& call);
  void submit(const nlohmann::json& arguments, const Call& call);
  void read_result(const nlohmann::json& arguments, const Call& call);
  void read_log(const nlohmann::json& arguments, const Call& call);
  void read_resource(const nlohmann::json& params, const Call& call);
  void answer_with(Request request, Shape shape, const Call& call);

  Http& http_;
};

}  // namespace kurultai
