#include "supervisor/gateway/gateway.h"

#include <arpa/inet.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ranges>

#include "config/listen_address.h"
#include "protocol/json_text.h"
#include "protocol/utf8.h"
#include "supervisor/event_log.h"

namespace kurultai {

namespace {

constexpr std::string_view too_many =
    "there are more connections than gateway.max_connections or max_connections_per_peer";
constexpr std::string_view for_own_user = "the socket is for the supervisor's own user and root";
// To pages of other sites, of the headers that a browser keeps from them otherwise.
constexpr std::string_view told_to_pages =
    "Retry-After, Location, ETag, Allow, Content-Disposition, Content-Range, Accept-Ranges";
constexpr std::string_view taken_from_pages =
    "Authorization, Content-Type, Last-Event-ID, Range, If-Range, If-None-Match";
constexpr unsigned nobody = ~0U;        // whose user the kernel does not tell
constexpr Duration reserve_time{2000};  // to ask in, when there is no room

// In a time that does not depend on where the first difference is.
bool equals_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(1, authority.find(']') - 1);
  return authority.substr(0, authority.rfind(':'));
}

bool is_address(std::string_view host) {
  const std::string name(host);
  in6_addr address;
  return ::inet_pton(AF_INET, name.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

// A page of another site that resolves its name to this address (DNS rebinding) shows its own name here.
bool is_own_host(std::string_view authority, const std::string& listen) {
  const std::string_view host = host_of(authority);
  const std::string_view own = host_of(listen);
  if (is_loopback(host) || host == own) return true;
  // Listening on all addresses, any of them is ours. An address needs no resolving, so it cannot be rebound.
  return (own == "0.0.0.0" || own == "::") && is_address(host);
}

/// The {id} when `path` has the shape of `pattern`.
std::optional<std::string> match(std::string_view pattern, std::string_view path) {
  const std::size_t hole = pattern.find("{id}");
  if (hole == std::string_view::npos) return pattern == path ? std::optional<std::string>("") : std::nullopt;
  const std::string_view before = pattern.substr(0, hole);
  const std::string_view after = pattern.substr(hole + 4);
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) || !path.ends_with(after))
    return {};
  const std::string_view id = path.substr(before.size(), path.size() - before.size() - after.size());
  return id.find('/') == std::string_view::npos ? std::optional<std::string>(id) : std::nullopt;
}

std::string no_room_at_all() {
  const std::string body =
      to_text({{"error", {{"code", "too_many_connections"}, {"message", too_many}, {"retryAfter", 1}}}}) +
      "\n";
  return "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
         "Content-Length: " +
         std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

/// The rest of the supervisor (workers' pipes, readings, the journal) needs descriptors too.
int descriptors_for_connections() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
  const rlim_t most = std::min<rlim_t>(limit.rlim_cur, 1'000'000);
  return static_cast<int>(most - std::min<rlim_t>(most / 2, 512));
}

// One that is misspelt would be left out of account: a list of all tasks instead of one agent's.
std::optional<std::string> unknown_parameter(const HttpRequest& request, std::string_view known) {
  for (const auto& [name, value] : request.query) {
    bool found = false;
    for (const auto word : std::views::split(known, ' ')) found = found || std::ranges::equal(word, name);
    if (found) continue;
    std::string there_are(known);
    for (std::size_t at = 0; (at = there_are.find(' ', at)) != std::string::npos; at += 2)
      there_are.replace(at, 1, ", ");
    return "there is no parameter '" + std::string(utf8_prefix(name, 64)) + "' here; " +
           (known.empty() ? "there are none" : "there are " + there_are);
  }
  return {};
}

}  // namespace

void respond_json(Exchange& exchange, int status, std::string json) {
  exchange.respond(status, "application/json", std::move(json) + "\n");
}

void respond_error(Exchange& exchange, int status, std::string_view code, std::string_view message,
                   std::chrono::seconds retry_after, const std::vector<std::string>& details) {
  Headers headers;
  if (retry_after.count() > 0) headers.emplace_back("Retry-After", std::to_string(retry_after.count()));
  exchange.respond(status, "application/json", error_json(code, message, retry_after, details) + "\n",
                   headers);
}

std::string error_json(std::string_view code, std::string_view message, std::chrono::seconds retry_after,
                       const std::vector<std::string>& details) {
  nlohmann::json error = {{"code", code}, {"message", message}};
  if (retry_after.count() > 0) error["retryAfter"] = retry_after.count();
  if (!details.empty()) error["details"] = details;
  return to_text({{"error", error}});
}

Gateway::Gateway(uv::Loop& loop, Dispatcher& dispatcher, Monitor& monitor, Controller& controller,
                 Metrics& metrics, const Schedules& schedules, const Publishers& publishers,
                 GatewaySettings settings, Reload reload, LookAtHealth look_at_health)
    : loop_(loop),
      dispatcher_(dispatcher),
      monitor_(monitor),
      controller_(controller),
      metrics_(metrics),
      schedules_(schedules),
      publishers_(publishers),
      settings_(std::move(settings)),
      reload_(std::move(reload)),
      look_at_health_(std::move(look_at_health)),
      started_(loop.wall_now()),
      most_connections_(descriptors_for_connections()),
      event_streams_(loop) {
  dispatcher_.on_log([this](const Task& task) { feed_log(task); });
}

Gateway::~Gateway() = default;

Result<void> Gateway::start() {
  auto socket = uv::Listener::listen_unix(loop_, settings_.socket,
                                          [this](auto stream) { accept(std::move(stream), false); });
  if (!socket) return std::unexpected(socket.error());
  socket_ = std::move(*socket);
  if (settings_.listen.empty()) return {};
  auto tcp = uv::Listener::listen_tcp(loop_, settings_.listen,
                                      [this](auto stream) { accept(std::move(stream), true); });
  if (!tcp) return std::unexpected(tcp.error());
  tcp_ = std::move(*tcp);
  return {};
}

void Gateway::stop() {
  socket_.reset();
  tcp_.reset();
  event_streams_.end();
  for (const auto& connection : connections_) connection->close_soon();
}

std::string Gateway::address() const { return tcp_ == nullptr ? "" : tcp_->address(); }

void Gateway::accept(std::unique_ptr<uv::Stream> stream, bool over_tcp) {
  using Place = ConnectionCounts::Place;
  const GatewayConfig& config = dispatcher_.config().gateway;
  const bool stranger = !over_tcp && is_stranger(*stream);
  const ConnectionCounts::Limits room = {std::min(config.max_connections, most_connections_),
                                         config.max_connections_per_peer};
  const std::string peer =
      over_tcp ? stream->peer_address() : std::to_string(stream->peer_user().value_or(nobody));
  const Place place = counts_.add(peer, stranger ? ConnectionCounts::Limits{0, 0} : room);
  // Told without hearing what is asked: it may close before the client has said it.
  if (place == Place::none) return stream->write(no_room_at_all());
  HttpLimits limits;
  limits.max_body = static_cast<std::size_t>(config.max_body.count);
  // Strangers must not be able to fill the supervisor's memory, or its disk, with bodies.
  limits.plan_body = [this](const HttpRequest& request) {
    return wants_body(request) ? plan_payload(request) : BodyPlan{BodyPlan::Kind::drop};
  };
  const bool in_reserve = place == Place::reserve;
  if (in_reserve) {
    limits.one_request = true;
    limits.header_timeout = limits.idle_timeout = reserve_time;
    limits.plan_body = [](const HttpRequest&) { return BodyPlan{BodyPlan::Kind::drop}; };
  }
  connections_.push_back(std::make_unique<HttpConnection>(
      loop_, std::move(stream), over_tcp, std::move(limits),
      [this, in_reserve, stranger](const auto& exchange) {
        welcome(*exchange);
        if (stranger) return respond_error(*exchange, 403, "forbidden", for_own_user);
        in_reserve ? handle_in_reserve(exchange) : handle(exchange);
      },
      [this, peer, place](HttpConnection& closed) {
        counts_.remove(peer, place);
        uv::defer(loop_, [this, guard = std::weak_ptr(alive_), gone = &closed] {
          if (guard.expired()) return;
          std::erase_if(connections_, [gone](const auto& connection) { return connection.get() == gone; });
        });
      }));
}

// The file's mode says so too, but whoever owns the directory may change it.
bool Gateway::is_stranger(const uv::Stream& stream) {
  const auto user = stream.peer_user();
  if (user && (*user == 0 || *user == ::geteuid())) return false;
  const unsigned who = user.value_or(nobody);
  if (strangers_.size() < 64 && strangers_.insert(who).second)
    log_warning("socket " + settings_.socket + ": refused user " + std::to_string(who));
  return true;
}

const std::vector<Gateway::Route>& Gateway::routes() {
  static const std::vector<Route> table = {
      {"POST", "/v1/tasks", &Gateway::post_task,
       "wait onDisconnect agent priority timeout retries idempotencyKey sizeClass"},
      {"POST", "/v1/tasks:batch", &Gateway::post_batch, "wait"},
      {"GET", "/v1/tasks", &Gateway::list_tasks, "state agent limit after order"},
      {"GET", "/v1/tasks/{id}", &Gateway::get_task, "wait onDisconnect"},
      {"DELETE", "/v1/tasks/{id}", &Gateway::delete_task},
      {"GET", "/v1/tasks/{id}/result", &Gateway::get_result, "follow"},
      {"GET", "/v1/tasks/{id}/logs", &Gateway::get_logs, "follow"},
      {"GET", "/v1/tasks/{id}/why", &Gateway::get_why},
      {"GET", "/v1/events", &Gateway::get_events, "taskId agent types lastEventId"},
      {"GET", "/v1/workers", &Gateway::get_workers},
      {"GET", "/v1/memory", &Gateway::get_memory},
      {"GET", "/v1/queue", &Gateway::get_queue, "limit"},
      {"GET", "/v1/agents", &Gateway::get_agents},
      {"GET", "/v1/agents/{id}", &Gateway::get_agent},
      {"GET", "/v1/breakers", &Gateway::get_breakers},
      {"GET", "/v1/schedules", &Gateway::get_schedules},
      {"GET", "/v1/config", &Gateway::get_config},
      {"POST", "/v1/reload", &Gateway::post_reload},
      {"POST", "/v1/drain", &Gateway::post_drain, "timeout wait"},
      {"GET", "/health", &Gateway::get_health},
      {"GET", "/ready", &Gateway::get_ready},
      {"GET", "/metrics", &Gateway::get_metrics},
      {"GET", "/openapi.json", &Gateway::get_openapi},
      {"GET", "/", &Gateway::get_dashboard},
  };
  return table;
}

bool Gateway::has_token(const HttpRequest& request) const {
  return settings_.token.empty() ||
         equals_constant_time(request.header("authorization"), "Bearer " + settings_.token);
}

bool Gateway::is_own_page(const HttpRequest& request) const {
  const std::string_view host = request.header("host");
  const std::string_view origin = request.header("origin");
  // No Host is HTTP/1.0, which no browser speaks.
  if (!host.empty() && !is_own_host(host, settings_.listen)) return false;
  return origin.empty() || is_welcome_page(request) ||
         is_own_host(origin.substr(std::min(origin.find("://") + 3, origin.size())), settings_.listen);
}

/// One of another site that gateway.cors_origins names.
bool Gateway::is_welcome_page(const HttpRequest& request) const {
  const auto& named = dispatcher_.config().gateway.cors_origins;
  return std::ranges::find(named, request.header("origin")) != named.end();
}

/// What lets a browser hand the answer to such a page (Fetch Standard, "CORS protocol"). Credentials of the
/// browser's own are not asked for: the token is a header that the page sets.
void Gateway::welcome(Exchange& exchange) const {
  if (dispatcher_.config().gateway.cors_origins.empty()) return;
  exchange.add_header("Vary", "Origin");
  if (!is_welcome_page(exchange.request())) return;
  exchange.add_header("Access-Control-Allow-Origin", std::string(exchange.request().header("origin")));
  exchange.add_header("Access-Control-Expose-Headers", std::string(told_to_pages));
}

// Nobody is asked for a body that nobody will read.
bool Gateway::wants_body(const HttpRequest& request) const {
  const bool has_route = std::ranges::any_of(routes(), [&request](const Route& route) {
    return route.method == request.method && match(route.pattern, request.path);
  });
  return has_route && is_own_page(request) && (!request.over_tcp || has_token(request));
}

std::optional<Gateway::Denial> Gateway::denial(const HttpRequest& request) const {
  if (!is_own_page(request))
    return Denial{403, "forbidden", "requests for another host or from another site's page are refused"};
  const auto open_to_all = {"/health", "/ready", "/metrics", "/"};
  const bool is_open = std::ranges::find(open_to_all, request.path) != open_to_all.end();
  // A browser asks beforehand, without the token, whether a page may ask at all; it is told nothing else.
  const bool asks_leave = request.method == "OPTIONS" && is_welcome_page(request) &&
                          !request.header("access-control-request-method").empty();
  if (!request.over_tcp || is_open || asks_leave || has_token(request)) return {};
  return Denial{401, "unauthorized",
                "TCP needs the header 'Authorization: Bearer TOKEN'; `kurultai status` over the socket names "
                "the token's file"};
}

void Gateway::handle_in_reserve(const std::shared_ptr<Exchange>& exchange) {
  const std::string& path = exchange->request().path;
  if (path == "/health" || path == "/ready") return handle(exchange);
  respond_error(*exchange, 503, "too_many_connections", too_many, std::chrono::seconds(1));
}

/// Of those that a path has, with commas; empty: there is no such path.
std::string Gateway::methods_of(const std::string& path) {
  std::string allowed;
  for (const Route& route : routes()) {
    if (match(route.pattern, path))
      allowed += std::string(route.method) + (route.method == "GET" ? ", HEAD, " : ", ");
  }
  if (path == "*") allowed = "GET, HEAD, POST, DELETE, ";  // OPTIONS only, of the server as a whole
  return allowed.empty() ? allowed : allowed + "OPTIONS";
}

/// What the path can, and to a page of another site whether it may.
void Gateway::answer_options(Exchange& exchange, const std::string& allowed) const {
  const HttpRequest& request = exchange.request();
  Headers headers = {{"Allow", allowed}};
  if (is_welcome_page(request) && !request.header("access-control-request-method").empty()) {
    headers.emplace_back("Access-Control-Allow-Methods", allowed);
    headers.emplace_back("Access-Control-Allow-Headers", taken_from_pages);
    headers.emplace_back("Access-Control-Max-Age", "600");
  }
  exchange.respond(204, "", "", headers);
}

void Gateway::handle(const std::shared_ptr<Exchange>& exchange) {
  const HttpRequest& request = exchange->request();
  if (const auto denied = denial(request))
    return respond_error(*exchange, denied->status, denied->code, denied->message);
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  for (const Route& route : routes()) {
    if (route.method != method) continue;
    const auto id = match(route.pattern, request.path);
    if (!id) continue;
    if (const auto wrong = unknown_parameter(request, route.parameters))
      return respond_error(*exchange, 400, "invalid_task", *wrong);
    return (this->*route.handler)(exchange, *id);
  }
  const std::string allowed = methods_of(request.path);
  if (allowed.empty()) return respond_error(*exchange, 404, "not_found", "there is no " + request.path);
  if (method == "OPTIONS") return answer_options(*exchange, allowed);
  exchange->respond(405, "application/json",
                    R"({"error":{"code":"method_not_allowed","message":"use )" + allowed + "\"}}\n",
                    {{"Allow", allowed}});
}

void Gateway::on_event(const Event& event) {
  event_streams_.tell(event);
  const auto* about = std::get_if<TaskEvent>(&event.body);
  if (about == nullptr || !is_final(about->task.state)) return;
  tell_batches(about->task);
  auto waiting = waiters_.extract(about->task.id);
  if (waiting.empty()) return;
  for (Waiter& waiter : waiting.mapped()) respond_json(*waiter.exchange, 200, waiter.shown(about->task));
}

}  // namespace kurultai
