#include "tools/soak/mischief.h"

#include <signal.h>
#include <sys/socket.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "config/load.h"
#include "protocol/json_text.h"
#include "tools/bench/connection.h"
#include "tools/soak/watch.h"

namespace kurultai::soak {
namespace {

using nlohmann::json;

struct Wrong {
  const char* method;
  const char* path;
  std::string body;
};

/// Requests of which none may be answered with success, or not at all.
const std::vector<Wrong>& wrong_requests() {
  static const std::vector<Wrong> requests = {
      {"POST", "/v1/tasks", "{"},
      {"POST", "/v1/tasks", ""},
      {"POST", "/v1/tasks", "[]"},
      {"POST", "/v1/tasks", R"({"agent":1})"},
      {"POST", "/v1/tasks", R"({"agent":"nobody"})"},
      {"POST", "/v1/tasks", R"({"agent":"soak.probe","priority":"urgent"})"},
      {"POST", "/v1/tasks", R"({"agent":"soak.probe","retries":-1})"},
      {"POST", "/v1/tasks", R"({"agent":"soak.probe","timeout":"soon"})"},
      {"POST", "/v1/tasks", R"({"agent":"soak.probe","payload":{}})"},
      {"POST", "/v1/tasks", R"({"agent":"soak.probe","agent":"soak.probe"})"},
      {"POST", "/v1/tasks", R"({"agent":"soak.probe","nonsense":true})"},
      {"POST", "/v1/tasks",
       R"({"agent":"soak.probe","payload":)" + std::string(200, '[') + std::string(200, ']') + "}"},
      {"POST", "/v1/tasks", R"({"agent":"soak.probe","payload":")" + std::string(2UL << 20, 'x') + "\"}"},
      {"POST", "/v1/tasks", "\xff\xfe\xfd"},
      {"POST", "/v1/tasks:batch", R"({"agent":"soak.probe"})"},
      {"GET", "/v1/tasks/none", ""},
      {"DELETE", "/v1/tasks/none", ""},
      {"PUT", "/v1/tasks", ""},
      {"GET", "/v1/tasks?limit=many", ""},
      {"GET", "/v1/tasks?state=asleep", ""},
      {"GET", "/nowhere", ""},
      {"GET", "/v1/tasks/%00%2e%2e/why", ""},
  };
  return requests;
}

const std::vector<std::string>& garbage() {
  static const std::vector<std::string> texts = {
      "\x16\x03\x01\x02\x01\x01",
      "GET / HTTP/9.9\r\n\r\n",
      "GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\n",
      "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(40000, 'x') + "\r\n\r\n",
      "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"agent\"",
  };
  return texts;
}

}  // namespace

Chaos::Chaos(const Profile& profile, const std::vector<TaskKind>& kinds, Config config, std::uint64_t seed,
             Prey prey)
    : profile_(profile), kinds_(kinds), config_(std::move(config)), dice_(seed), prey_(std::move(prey)) {}

TimePoint Chaos::next(Mischief what, TimePoint now) {
  const Duration often = profile_.every_so_often(what);
  if (often == Duration(0)) return TimePoint::max();
  const double pause = -std::log(1 - dice_.between(0, 1)) * static_cast<double>(often.count());
  return now + Duration(std::llround(pause));
}

void Chaos::begin(TimePoint now) {
  for (std::size_t i = 0; i < due_.size(); ++i) due_.at(i) = next(static_cast<Mischief>(i), now);
}

void Chaos::turn(TimePoint now) {
  for (std::size_t i = 0; i < due_.size(); ++i) {
    if (now < due_.at(i)) continue;
    due_.at(i) = next(static_cast<Mischief>(i), now);
    act(static_cast<Mischief>(i));
  }
}

void Chaos::act(Mischief what) {
  ++prey_.outcome.mischief.at(static_cast<std::size_t>(what));
  switch (what) {
    case Mischief::kill_worker:
      return kill_worker();
    case Mischief::cancel:
      return cancel();
    case Mischief::preempt:
      return preempt();
    case Mischief::burst:
      return burst();
    case Mischief::malformed:
      return malformed();
    case Mischief::reload:
      return reload();
    case Mischief::kill_supervisor:
      return prey_.crash();
  }
}

void Chaos::expect(Request request, std::string what, const std::function<bool(int)>& is_right) {
  prey_.ask(std::move(request), [this, what = std::move(what), is_right](const Answer<Response>& answer) {
    if (answer && !is_right(answer->status))
      ++prey_.outcome.unexpected[what + ": " + std::to_string(answer->status)];
  });
}

/// The processes may have changed since they were listed: one that does not carry our mark is nobody of ours.
void Chaos::kill_worker() {
  Request request;
  request.path = "/v1/workers";
  prey_.ask(std::move(request), [this](const Answer<Response>& answer) {
    const auto listed = answer ? parse_json(answer->body) : failure("");
    if (!listed || !listed->contains("workers") || listed->at("workers").empty()) return;
    const json& workers = listed->at("workers");
    const json& worker = workers.at(dice_.number() % workers.size());
    const pid_t process = worker.value("pid", 0);
    if (process <= 1 || !is_marked(process, prey_.kurultaid.instance())) return;
    for (const json& task : worker.value("tasks", json::array()))
      prey_.ledger.disturbed(task.is_string() ? task.get<std::string>() : task.value("taskId", ""));
    ::kill(process, SIGKILL);
  });
}

void Chaos::cancel() {
  const std::string id = prey_.ledger.any(dice_.number());
  if (id.empty()) return;
  prey_.ledger.disturbed(id);
  Request request;
  request.method = "DELETE";
  request.path = "/v1/tasks/" + id;
  expect(std::move(request), "cancel",
         [](int status) { return status == 202 || status == 409 || status == 503; });
}

void Chaos::preempt() {
  for (const TaskKind& kind : kinds_) {
    if (kind.name == "soak.giant") prey_.submit(kind, 1);
  }
}

void Chaos::burst() {
  const auto count = static_cast<int>(profile_.supervisor.queue.max_depth * 3 / 2);
  for (int i = 0; i < count; ++i) prey_.submit(draw_kind(kinds_, dice_), 1);
}

void Chaos::malformed() {
  if (dice_.between(0, 1) < 0.25) {
    const bench::Connection connection(prey_.kurultaid.socket());
    const std::string& text = garbage().at(dice_.number() % garbage().size());
    if (connection.connected())
      ::send(connection.fd(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  const Wrong& wrong = wrong_requests().at(dice_.number() % wrong_requests().size());
  Request request;
  request.method = wrong.method;
  request.path = wrong.path;
  request.body = wrong.body;
  expect(std::move(request), std::string("malformed ") + wrong.method + " " + wrong.path,
         [](int status) { return (status >= 400 && status < 500) || status == 503; });
}

void Chaos::reload() {
  if (is_reloading_) return;
  is_reloading_ = true;
  const bool is_wrong = dice_.between(0, 1) < 0.3;
  prey_.kurultaid.configure(is_wrong ? "memory: {budget: nonsense}\n" : config_to_yaml(changed()));
  Request request;
  request.method = "POST";
  request.path = "/v1/reload";
  prey_.ask(std::move(request), [this, is_wrong](const Answer<Response>& answer) {
    is_reloading_ = false;
    restore_configuration();  // of the file alone: the next supervisor starts with it
    if (answer && answer->status != (is_wrong ? 422 : 200) && answer->status != 503)
      ++prey_.outcome.unexpected["reload: " + std::to_string(answer->status)];
  });
}

Config Chaos::changed() {
  Config config = config_;
  if (auto& most = config.workers.max) *most = std::max(1, *most - static_cast<int>(dice_.number() % 3));
  config.workers.idle_timeout = Duration(dice_.number() % 2 == 0 ? 1000 : 10000);
  config.overtaking.backfill = dice_.number() % 2 == 0;
  config.memory.check_interval = Duration(dice_.number() % 2 == 0 ? 1000 : 5000);
  return config;
}

void Chaos::restore_configuration() const { prey_.kurultaid.configure(config_to_yaml(config_)); }

}  // namespace kurultai::soak
