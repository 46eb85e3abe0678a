// The HTTP API on the Unix socket and on TCP: connections, who may ask, and the routes. Loop thread only.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/load.h"
#include "supervisor/dispatcher.h"
#include "supervisor/gateway/connection_counts.h"
#include "supervisor/gateway/event_streams.h"
#include "supervisor/gateway/http.h"
#include "supervisor/gateway/metrics.h"
#include "supervisor/health.h"
#include "supervisor/monitor.h"

namespace kurultai {

struct GatewaySettings {
  std::string socket;  // path of the Unix socket
  std::string listen;  // HOST:PORT, or empty
  std::string token;   // asked for on TCP; empty: none is
  std::string token_file;
  std::string version;
  std::string payloads;  // directory for payloads that come as bytes
};

/// What `?wait` asks for.
struct Wait {
  Duration limit;
  bool cancels = false;  // the task, when whoever waits for it has gone
};

class Gateway {
 public:
  using Reload = std::function<ConfigResult<ConfigChange>()>;
  /// How the parts of the supervisor fare now.
  using LookAtHealth = std::function<const Health&()>;

  Gateway(uv::Loop& loop, Dispatcher& dispatcher, Monitor& monitor, Controller& controller, Metrics& metrics,
          const Schedules& schedules, const Publishers& publishers, GatewaySettings settings, Reload reload,
          LookAtHealth look_at_health);
  ~Gateway();

  Result<void> start();
  /// No new connections; those that are open end with their answer.
  void stop();
  /// The TCP address in effect; empty without.
  std::string address() const;

  void on_event(const Event& event);

  using Handler = void (Gateway::*)(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  struct Route {
    std::string_view method;
    std::string_view pattern;  // {id} stands for one segment
    Handler handler;
    std::string_view parameters = {};  // those of the query that it knows, with blanks between them
  };
  /// openapi.json describes each of them; a test compares.
  static const std::vector<Route>& routes();

 private:
  using Shown = JsonText (*)(const Task&);  // how an answer shows a task
  /// Somebody who waits for the end of a task.
  struct Waiter {
    std::shared_ptr<Exchange> exchange;
    std::unique_ptr<uv::Timer> timer;
    Shown shown;
  };
  /// Several tasks that are answered together.
  struct Batch {
    std::shared_ptr<Exchange> exchange;
    std::optional<Wait> wait;
    std::vector<std::string> answers;  // JSON, in their order; empty: not known yet
    std::size_t unanswered = 0;        // of the submissions
    std::unordered_map<std::string, std::vector<std::size_t>> awaited = {};  // places of tasks that go on
    std::size_t bytes = 0;                                                   // of the answers
    std::unique_ptr<uv::Timer> timer = {};
  };
  struct LogReader;

  // gateway.cc
  void accept(std::unique_ptr<uv::Stream> stream, bool over_tcp);
  bool is_stranger(const uv::Stream& stream);
  void handle(const std::shared_ptr<Exchange>& exchange);
  void handle_in_reserve(const std::shared_ptr<Exchange>& exchange);
  static std::string methods_of(const std::string& path);
  void answer_options(Exchange& exchange, const std::string& allowed) const;
  bool wants_body(const HttpRequest& request) const;
  bool is_own_page(const HttpRequest& request) const;
  bool is_welcome_page(const HttpRequest& request) const;
  void welcome(Exchange& exchange) const;
  bool has_token(const HttpRequest& request) const;
  struct Denial {
    int status;
    std::string_view code;
    std::string_view message;
  };
  std::optional<Denial> denial(const HttpRequest& request) const;

  // routes_tasks.cc
  void post_task(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void answer_submission(const std::shared_ptr<Exchange>& exchange,
                         const std::expected<const Task*, Refusal>& task, std::optional<Wait> wait);
  void list_tasks(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_task(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void delete_task(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_why(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void respond_why(const std::shared_ptr<Exchange>& exchange, const std::string& id, const std::string& log);
  void get_logs(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void wait_for(const Task& task, const std::shared_ptr<Exchange>& exchange, Wait wait, Shown shown);
  void stop_waiting(const std::string& id, const Exchange* gone, bool cancels);
  void feed_log(const Task& task);
  void feed_log(const std::shared_ptr<LogReader>& reader);
  void send_log(const std::shared_ptr<LogReader>& reader, LogPiece piece, bool is_end);
  void leave_log(const std::string& id, const std::shared_ptr<LogReader>& reader);

  // routes_result.cc
  void get_result(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void follow_result(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  struct ResultFollower;
  void feed_result(const std::shared_ptr<ResultFollower>& follower);
  void send_file(const std::shared_ptr<Exchange>& exchange, const std::string& path, std::int64_t offset,
                 std::int64_t left);

  // routes_payload.cc
  BodyPlan plan_payload(const HttpRequest& request);
  void post_payload(const std::shared_ptr<Exchange>& exchange, std::optional<Wait> wait);

  // routes_batch.cc
  void post_batch(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void answer_submission(const std::shared_ptr<Batch>& batch, std::size_t at,
                         const std::expected<const Task*, Refusal>& task);
  std::string awaited_answer(Batch& batch, const Task& task) const;
  void wait_for(const std::shared_ptr<Batch>& batch);
  void tell_batches(const Task& ended);

  // routes_dashboard.cc
  void get_dashboard(const std::shared_ptr<Exchange>& exchange, const std::string& id);

  // routes_events.cc
  void get_events(const std::shared_ptr<Exchange>& exchange, const std::string& id);

  // routes_agents.cc
  void get_agents(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  /// Answers with 404 and the nearest name when it is none of the configuration's.
  bool refuse_unknown_agent(Exchange& exchange, const std::string& name) const;
  void get_agent(const std::shared_ptr<Exchange>& exchange, const std::string& name);

  // routes_state.cc
  void get_health(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_ready(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_metrics(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_memory(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_workers(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_queue(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_breakers(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_schedules(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_config(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void post_reload(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void post_drain(const std::shared_ptr<Exchange>& exchange, const std::string& id);
  void get_openapi(const std::shared_ptr<Exchange>& exchange, const std::string& id);

  uv::Loop& loop_;
  Dispatcher& dispatcher_;
  Monitor& monitor_;
  Controller& controller_;
  Metrics& metrics_;
  const Schedules& schedules_;
  const Publishers& publishers_;
  GatewaySettings settings_;
  Reload reload_;
  LookAtHealth look_at_health_;
  WallTime started_;
  std::unique_ptr<uv::Listener> socket_;
  std::unique_ptr<uv::Listener> tcp_;
  std::vector<std::unique_ptr<HttpConnection>> connections_;
  ConnectionCounts counts_;
  int most_connections_;          // what the limit of open files leaves
  std::set<unsigned> strangers_;  // users who were refused the socket and stand in the log
  std::unordered_map<std::string, std::vector<Waiter>> waiters_;  // by task id
  std::vector<std::shared_ptr<Batch>> waiting_batches_;
  std::vector<std::shared_ptr<ResultFollower>> result_followers_;
  std::vector<std::weak_ptr<Upload>> uploads_;
  std::uint64_t payloads_ = 0;  // for the names of their files
  std::unordered_map<std::string, std::vector<std::shared_ptr<LogReader>>> log_readers_;  // by task id
  EventStreams event_streams_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// `{"error":{…}}` of the contract, with Retry-After where it makes sense.
void respond_error(Exchange& exchange, int status, std::string_view code, std::string_view message,
                   std::chrono::seconds retry_after = {}, const std::vector<std::string>& details = {});
void respond_json(Exchange& exchange, int status, std::string json);
std::string error_json(std::string_view code, std::string_view message, std::chrono::seconds retry_after = {},
                       const std::vector<std::string>& details = {});

// routes_tasks.cc
/// A task from a request's body; the message names the field.
Result<Submission> read_submission(const nlohmann::json& body);
/// `?wait`, at most an hour, and `?onDisconnect`.
Result<std::optional<Wait>> wait_of(const HttpRequest& request);
/// `?limit`, 1 to 1000.
Result<std::size_t> limit_of(const HttpRequest& request, std::size_t usual);
/// Whether the body is the payload itself.
bool is_payload(const HttpRequest& request);
/// What is told of a task that was accepted.
std::string accepted_json(const Task& task, const TaskQueue& queue);

}  // namespace kurultai
