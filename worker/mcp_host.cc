#include "worker/mcp_host.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "protocol/json_rpc.h"
#include "protocol/json_text.h"
#include "worker/asked.h"
#include "worker/descendants.h"
#include "worker/mcp_result.h"
#include "worker/mcp_words.h"
#include "worker/server_output.h"
#include "worker/server_process.h"
#include "worker/supervisor_link.h"
#include "worker/tool_list.h"

namespace kurultai {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr Duration end_of_input_grace{3000};  // the supervisor closed its side without a word
constexpr Duration terminated_grace{700};     // of the second between its SIGTERM and its SIGKILL
// A server that asks more than it reads the answers of gets no more of them.
constexpr std::size_t most_unread = 64 * 1024;
constexpr std::size_t longest_noise = 16 * 1024;
constexpr std::size_t most_pings = 16;

/// The other side sees the end of this pipe; the number is not given to another file.
void let_go_of(int pipe) {
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing || ::dup2(nothing.get(), pipe) < 0) ::close(pipe);
}

class McpHost {
 public:
  McpHost(const Launch& launch, pid_t parent, Fd signals, ServerProcess server)
      : root_(launch.cwd), parent_(parent), signals_(std::move(signals)), server_(std::move(server)) {}

  int run();

 private:
  // Starting; ready; asked to end by the end of its input; by SIGTERM.
  enum class Stage { initializing, serving, closing, terminating };

  void turn();
  void on_signals();
  void reap();
  void on_deadline();
  void read_server();
  void server_ended(int status);
  void leave(Duration grace);
  void terminate(Duration grace);
  void end(int status);

  // The supervisor's words.
  void read_supervisor();
  void on(TaskMessage task);
  void on(const Cancel& cancel);
  void on(const Preempt& preempt);
  void on(const Shutdown& shutdown) { leave(shutdown.grace); }
  void on(const Ping& ping);
  void on(const Noise&) { warn("a line that is no message"); }
  void on(const Malformed& malformed) { warn(malformed.why); }
  void on(const auto&) {}  // meant for agents that keep something

  // The server's.
  void on_line(std::string_view line);
  void on_long_line(LongAnswer& answer);
  void on_message(const json& message);
  void on_request(const JsonText& id, const std::string& method);
  void on_notification(const std::string& method, const json& params);
  void on_answer(std::int64_t id, const json& message);
  void on_progress(const json& params);
  void on_initialized(const json& message);
  void on_tools(const json& message);
  void on_broken(std::string_view line, const std::string& why);
  LongAnswer begin_long() const;

  std::int64_t ask(Asked asked, const std::function<std::string(std::int64_t)>& line);
  void ask_for_tools(const std::string& cursor = {});
  void cannot_start(const std::string& why);
  void answer_server(const std::string& line);
  void finish_cancelled(std::int64_t id);
  void send(const FromAgent& message);
  void noise(std::string_view line);
  void warn(const std::string& message) { send(Log{"warn", "mcp host: " + message}); }
  void enter(Stage stage, Duration limit);
  int poll_timeout() const;

  std::string root_;  // that the server is offered; empty: none
  pid_t parent_;
  Fd signals_;
  ServerProcess server_;
  ServerOutput lines_{{[this](std::string_view line) { on_line(line); }, [this] { return begin_long(); },
                       [this](LongAnswer& answer) { on_long_line(answer); }}};
  SupervisorLink supervisor_;

  Stage stage_ = Stage::initializing;
  std::optional<TimePoint> deadline_;  // of the stage
  AskedRequests asked_;
  JsonText said_at_start_;  // the server's result of initialize
  ToolList tools_;
  bool asking_for_tools_ = false;
  bool tools_changed_ = false;  // while they were asked for
  bool was_deaf_ = false;       // said once
  bool supervisor_gone_ = false;
  bool input_ended_ = false;  // the supervisor's
  bool output_ended_ = false;
  std::optional<int> exit_status_;
};

int McpHost::run() {
  ask({.what = Asked::What::initialize},
      [this](std::int64_t id) { return rpc_request(id, "initialize", initialize_params(!root_.empty())); });
  while (!exit_status_) {
    turn();
    if (supervisor_gone_) end(0);
  }
  return *exit_status_;
}

void McpHost::turn() {
  pollfd fds[] = {{input_ended_ ? -1 : STDIN_FILENO, POLLIN, 0},
                  {signals_.get(), POLLIN, 0},
                  {server_.input_fd(), POLLOUT, 0},
                  {server_.output_fd(), POLLIN, 0}};
  if (::poll(fds, std::size(fds), poll_timeout()) < 0) return;
  // Answers first: the signals may end it.
  if (fds[3].revents != 0) read_server();
  if (fds[2].revents != 0 && server_.input_fd() >= 0) server_.flush();
  if (fds[1].revents != 0) on_signals();
  if (fds[0].revents != 0 && !exit_status_) read_supervisor();
  on_deadline();
}

void McpHost::on_signals() {
  signalfd_siginfo signals[4];
  const ssize_t size = ::read(signals_.get(), signals, sizeof signals);
  for (ssize_t at = 0; at < size / static_cast<ssize_t>(sizeof *signals); ++at) {
    if (signals[at].ssi_signo != SIGTERM) continue;
    if (::getppid() != parent_) {
      supervisor_gone_ = true;
    } else {
      terminate(terminated_grace);
    }
  }
  reap();
}

void McpHost::reap() {
  int status = 0;
  for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG | __WALL)) != 0;) {
    if (pid == server_.pid()) return server_ended(status);
    if (pid < 0 && errno != EINTR) return;
  }
}

/// What it said before its end counts. The bound is for a descriptor that was handed to a process outside.
void McpHost::server_ended(int status) {
  for (int reads = 0; server_.output_fd() >= 0 && reads < 1024; ++reads) {
    const std::string_view bytes = server_.read();
    if (bytes.empty()) break;
    lines_.feed(bytes);
  }
  const bool was_asked = stage_ == Stage::closing || stage_ == Stage::terminating;
  end(was_asked ? 0 : status);
  if (!was_asked && *exit_status_ != exit_undead) exit_status_ = end_like(status);
}

void McpHost::end(int status) { exit_status_ = sweep(kill_patience) ? status : exit_undead; }

void McpHost::read_server() {
  const std::string_view bytes = server_.read();
  lines_.feed(bytes);
  if (server_.output_fd() >= 0 || output_ended_) return;
  output_ended_ = true;
  lines_.finish();
  // It can answer nothing any more. The supervisor gives it a moment to end, as any agent that closes its
  // stdout.
  if (stage_ == Stage::initializing || stage_ == Stage::serving) let_go_of(STDOUT_FILENO);
}

void McpHost::leave(Duration grace) {
  if (stage_ == Stage::closing || stage_ == Stage::terminating) return;
  server_.close_input();
  enter(Stage::closing, grace / 3);
}

void McpHost::terminate(Duration grace) {
  server_.close_input();
  signal_descendants(SIGTERM);
  signal_descendants(SIGCONT);  // a stopped process could not act on it
  enter(Stage::terminating, grace);
}

void McpHost::on_deadline() {
  if (exit_status_ || !deadline_ || steady_clock::now() < *deadline_) return;
  if (stage_ == Stage::closing) return terminate(terminated_grace);
  end(0);
}

void McpHost::enter(Stage stage, Duration limit) {
  stage_ = stage;
  deadline_ = steady_clock::now() + limit;
}

int McpHost::poll_timeout() const {
  if (!deadline_) return -1;
  const auto left = std::chrono::ceil<Duration>(*deadline_ - steady_clock::now());
  return static_cast<int>(std::clamp<Duration::rep>(left.count(), 0, 3'600'000));
}

// ---- the supervisor's words

void McpHost::read_supervisor() {
  const bool open = supervisor_.read([this](ToAgentLine line) {
    if (auto* message = std::get_if<ToAgent>(&line)) {
      std::visit([this](auto& one) { on(std::move(one)); }, *message);
    } else {
      std::visit([this](const auto& other) { on(other); }, line);
    }
  });
  if (open) return;
  if (::getppid() != parent_) {
    supervisor_gone_ = true;
  } else {
    leave(end_of_input_grace);
    input_ended_ = true;
  }
}

void McpHost::on(TaskMessage task) {
  const std::string task_id = task.task_id;
  if (stage_ != Stage::serving) {
    return send(Failed{.task_id = task_id, .error = "busy", .reason = FailReason::protocol_error});
  }
  auto call = call_of(task);
  if (!call) {
    return send(Failed{.task_id = task_id,
                       .error = call.error().message,
                       .retryable = false,
                       .reason = FailReason::agent_error});
  }
  if (call->kind == McpCall::Kind::method && call->name == mcp_initialize)
    return send(answer_with(task, said_at_start_));
  task.payload = {};
  Asked asked{.what = Asked::What::call, .task = std::move(task), .call = *std::move(call)};
  ask(std::move(asked), [this](std::int64_t id) { return mcp_request(id, asked_.find(id)->call); });
}

void McpHost::on(const Cancel& cancel) {
  const auto id = asked_.call_of_task(cancel.task_id);
  if (!id || asked_.find(*id)->cancelled) return;
  asked_.find(*id)->cancelled = cancel.reason;
  server_.write(mcp_cancellation(*id, cancel.reason));
  // MCP has no answer to a cancellation. A server that can answer this is not held up by what it was to
  // drop; one that cannot is ended by the supervisor when the grace is over.
  ask({.what = Asked::What::alive, .other = *id},
      [](std::int64_t ping) { return rpc_request(ping, "ping", {}); });
}

void McpHost::on(const Preempt& preempt) {
  const auto id = asked_.call_of_task(preempt.task_id);
  if (!id || asked_.find(*id)->cancelled) return;
  // Whether the server dropped it nobody can tell, so one that may be begun once only is not handed back.
  if (!asked_.find(*id)->task.idempotent) return;
  server_.write(mcp_cancellation(*id, "preempted"));
  asked_.give_up(*id);
  send(Preempted{.task_id = preempt.task_id});
}

void McpHost::on(const Ping& ping) {
  if (stage_ != Stage::serving || asked_.size() > most_pings + asked_.calls()) return;
  ask({.what = Asked::What::ping, .seq = ping.seq},
      [](std::int64_t id) { return rpc_request(id, "ping", {}); });
}

std::int64_t McpHost::ask(Asked asked, const std::function<std::string(std::int64_t)>& line) {
  const std::int64_t id = asked_.add(std::move(asked));
  server_.write(line(id));
  return id;
}

// ---- the server's words

void McpHost::on_line(std::string_view line) {
  const auto message = parse_json(line, DuplicateKeys::last_wins);
  if (!message) return on_broken(line, message.error().message);
  if (message->is_object()) return on_message(*message);
  if (!message->is_array()) return noise(line);
  for (const json& one : *message) {  // a batch, as of 2025-03-26
    if (one.is_object()) on_message(one);
  }
}

void McpHost::on_message(const json& message) {
  const auto id = message.find("id");
  const auto method = message.find("method");
  const bool has_id = id != message.end() && !id->is_null();
  if (method != message.end() && method->is_string()) {
    const auto params = message.find("params");
    const auto& name = method->get_ref<const std::string&>();
    return has_id ? on_request(to_text(*id), name)
                  : on_notification(name, params == message.end() ? json() : *params);
  }
  const auto own = has_id ? rpc_own_id(*id) : std::nullopt;
  if (!own) return noise(to_text(message));
  on_answer(*own, message);
}

void McpHost::on_request(const JsonText& id, const std::string& method) {
  if (method == "ping") return answer_server(rpc_answer(id, "{}"));
  if (method == "roots/list") return answer_server(rpc_answer(id, roots_result(root_)));
  answer_server(rpc_refusal(id, rpc_method_not_found, method + " is not offered here"));
}

void McpHost::answer_server(const std::string& line) {
  if (server_.unwritten() + line.size() <= most_unread) return server_.write(line);
  if (!std::exchange(was_deaf_, true)) warn("the server asks more than it reads the answers of");
}

void McpHost::on_notification(const std::string& method, const json& params) {
  if (method == "notifications/progress") return on_progress(params);
  if (method == "notifications/message") return send(read_log_message(params));
  if (method != "notifications/tools/list_changed" || stage_ != Stage::serving) return;
  if (asking_for_tools_) {
    tools_changed_ = true;
  } else {
    ask_for_tools();
  }
}

void McpHost::on_progress(const json& params) {
  auto told = read_progress(params);
  const Asked* call = told ? asked_.find(told->id) : nullptr;
  if (call == nullptr || call->what != Asked::What::call || call->cancelled) return;
  told->progress.task_id = call->task.task_id;
  send(told->progress);
}

void McpHost::on_answer(std::int64_t id, const json& message) {
  const Asked* asked = asked_.find(id);
  if (asked == nullptr) {
    if (!asked_.was_given_up(id)) noise("an answer to nothing that was asked: id " + std::to_string(id));
    return;
  }
  if (asked->what == Asked::What::call && asked->cancelled) return finish_cancelled(id);
  const Asked answered = asked_.take(id);
  switch (answered.what) {
    case Asked::What::initialize:
      return on_initialized(message);
    case Asked::What::tools:
      return on_tools(message);
    case Asked::What::call:
      return send(answer_of(answered, message, tools_));
    case Asked::What::alive:
      return finish_cancelled(answered.other);
    case Asked::What::ping:
      return send(Pong{answered.seq});
  }
}

void McpHost::finish_cancelled(std::int64_t id) {
  const Asked* call = asked_.find(id);
  if (call == nullptr || !call->cancelled) return;
  const std::string& reason = *call->cancelled;
  send(Failed{.task_id = call->task.task_id,
              .error = reason.empty() ? "cancelled" : "cancelled: " + reason,
              .retryable = false,
              .reason = FailReason::cancelled});
  asked_.give_up(id);
}

void McpHost::on_initialized(const json& message) {
  const auto result = message.find("result");
  if (result == message.end()) {
    return cannot_start("initialize: " + read_rpc_error(message.value("error", json())).message);
  }
  const auto facts = read_initialize_result(*result);
  if (!facts) return cannot_start(facts.error().message);
  said_at_start_ = to_text(*result);
  server_.write(rpc_notification("notifications/initialized"));
  stage_ = Stage::serving;
  send(Ready{protocol_version, facts->name});
  if (facts->has_tools) ask_for_tools();
}

/// Before READY the last words count, and the exit status.
void McpHost::cannot_start(const std::string& why) {
  complain(why);
  end(exit_launch_failed);
}

void McpHost::ask_for_tools(const std::string& cursor) {
  asking_for_tools_ = true;
  if (cursor.empty()) tools_.begin();
  JsonText params = "{}";
  if (!cursor.empty()) params = to_text(json{{"cursor", cursor}});
  ask({.what = Asked::What::tools}, [&](std::int64_t id) { return rpc_request(id, "tools/list", params); });
}

void McpHost::on_tools(const json& message) {
  asking_for_tools_ = false;
  const auto page = message.find("result");
  if (page == message.end()) {
    return warn("tools/list: " + read_rpc_error(message.value("error", json())).message);
  }
  const std::string cursor = tools_.add(*page);
  if (!cursor.empty()) return ask_for_tools(cursor);
  send(tools_.tools());
  if (std::exchange(tools_changed_, false)) ask_for_tools();
}

/// A line that is no JSON to us may still be the answer to a call: then it must not be waited for in vain.
void McpHost::on_broken(std::string_view line, const std::string& why) {
  LongAnswer answer({}, {});
  answer.feed(line);
  const auto id = answer.id();
  const Asked* call = id && !answer.has_method() ? asked_.find(*id) : nullptr;
  if (call == nullptr || call->what != Asked::What::call) return noise(line);
  if (call->cancelled) return finish_cancelled(*id);
  send(broken_answer(asked_.take(*id), why));
}

LongAnswer McpHost::begin_long() const {
  const Asked* const call = asked_.any_call();
  return call == nullptr ? LongAnswer({}, {}) : LongAnswer(call->task.result_file, call->task.result_limit);
}

void McpHost::on_long_line(LongAnswer& answer) {
  const auto id = answer.id();
  const Asked* call = id && !answer.has_method() ? asked_.find(*id) : nullptr;
  if (call == nullptr) return noise("a line of " + to_string(answer.bytes()) + " that answers nothing");
  if (call->what == Asked::What::call && call->cancelled) return finish_cancelled(*id);
  const Asked answered = asked_.take(*id);
  if (answered.what == Asked::What::call) return send(answer_of(answered, answer));
  if (answered.what == Asked::What::initialize) return cannot_start("its answer to initialize is too long");
  if (answered.what == Asked::What::tools) asking_for_tools_ = false;
  warn("an answer of " + to_string(answer.bytes()) + " is too long");
}

void McpHost::noise(std::string_view line) {
  // One that the supervisor could take for a message of ours must not begin as one.
  const bool looks_like_json =
      line.substr(std::min(line.find_first_not_of(" \t"), line.size())).starts_with('{');
  std::string text = looks_like_json ? "not a message of MCP: " : "";
  text.append(line.substr(0, longest_noise)).append("\n");
  if (!supervisor_.send_line(text)) supervisor_gone_ = true;
}

void McpHost::send(const FromAgent& message) {
  if (!supervisor_.send(message)) supervisor_gone_ = true;
}

}  // namespace

int host_mcp_server(const Launch& launch, pid_t parent, const std::vector<char*>& argv) {
  ::mallopt(M_MMAP_THRESHOLD, 128 * 1024);  // fixed: the memory of one large message goes back to the system
  Fd signals = watch_signals();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (launch.identity) ::prctl(PR_SET_DUMPABLE, 0);
  if (!bind_to_parent(parent, SIGTERM)) return exit_launch_failed;
  auto server = ServerProcess::start(launch, argv);
  if (!server) return complain(to_string(server.error())), server.error().exit_status();
  return McpHost(launch, parent, std::move(signals), *std::move(server)).run();
}

}  // namespace kurultai
