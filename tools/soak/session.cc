#include "tools/soak/session.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "protocol/json_text.h"
#include "tools/bench/child.h"
#include "tools/kurultai/text.h"

namespace kurultai::soak {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration turn_time{20};
constexpr Duration look_pace{100};
constexpr Duration question_pace{1000};
constexpr Duration silence{5000};   // of a task, until it is asked after
constexpr Duration excuse{30'000};  // for being away after a SIGKILL
constexpr Duration try_again{100};  // what was not answered
// That cancelled tasks may take to end, and those behind a breaker that stays open for 8 s at a time.
constexpr Duration last_rest{60'000};
constexpr Duration longest_queue{180'000};
constexpr std::size_t most_questions = 8;
constexpr std::size_t most_waiting = 10'000;
constexpr int most_in_flight = 64;
constexpr std::size_t most_failures = 20;  // of different words

bool is_final_state(const std::string& state) {
  return state == "completed" || state == "failed" || state == "cancelled" || state == "evicted";
}

/// A field of that type, whatever else it may be.
std::string text_at(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

const json& object_at(const json& object, const char* name) {
  static const json none = json::object();
  const auto at = object.find(name);
  return at != object.end() && at->is_object() ? *at : none;
}

std::int64_t number_at(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_number() ? at->get<std::int64_t>() : 0;
}

Request request(std::string method, std::string path, std::string body = {}) {
  Request request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.body = std::move(body);
  return request;
}

double milliseconds_since(TimePoint then) {
  return std::chrono::duration<double, std::milli>(Clock::now() - then).count();
}

}  // namespace

Session::Session(const Profile& profile, const SessionOptions& options)
    : profile_(profile),
      options_(options),
      kinds_(all_kinds(profile)),
      files_(scratch_.path()),
      config_(files_.configuration(profile.supervisor, kinds_)),
      kurultaid_({.config = config_to_yaml(config_),
                  .log_level = options.log_file.empty() ? "error" : "debug",
                  .log_file = options.log_file}),
      written_(files_.ledger()),
      dice_(options.seed),
      chaos_(profile, kinds_, config_, options.seed + 1,
             Prey{.kurultaid = kurultaid_,
                  .ledger = ledger_,
                  .outcome = outcome_,
                  .ask = [this](Request wanted,
                                Http::Done done) { http_->start(std::move(wanted), std::move(done)); },
                  .submit =
                      [this](const TaskKind& kind, int count) {
                        while (count-- > 0) add(kind, Clock::now());
                      },
                  .crash = [this] { crash(); }}) {}

Outcome Session::run() {
  outcome_.profile = profile_.name;
  outcome_.seed = options_.seed;
  outcome_.scale = options_.scale;
  outcome_.planned = std::chrono::duration<double>(profile_.length).count();
  outcome_.budget = config_.memory.budget.value_or(Bytes{});  // auto: until the supervisor tells
  begin_ = Clock::now();
  connect();
  const json health = ask("GET", "/health");
  outcome_.guarantee = text_at(health, "guarantee");
  outcome_.budget = {number_at(object_at(health, "memory"), "budgetBytes")};
  outcome_.thresholds = config_.memory.thresholds;
  // What a first task opens for good is none of the load's.
  if (!probe(seconds(60))) bench::give_up("the supervisor runs no task");
  end_workers();
  count_what_is_open(&Count::before);
  read_heap("before");
  load();
  read_heap("end of load");
  if (Interrupts::count() == 0) outcome_.recovery_seconds = probe(seconds(60));
  settle();
  end_workers();
  count_what_is_open(&Count::after);
  read_heap("after");
  outcome_.slope = outcome_.memory.slope();
  http_.reset();
  count_what_is_left();
  for (const std::string& key : written_.read()) ledger_.done(key);
  ledger_.close();
  outcome_.tasks = ledger_.counts();
  outcome_.starts_ms = ledger_.starts_ms();
  outcome_.ends_ms = ledger_.ends_ms();
  return std::move(outcome_);
}

void Session::connect() {
  const std::string socket = kurultaid_.socket();
  in_flight_ = 0;
  asked_.clear();
  http_ = std::make_unique<Http>(
      Endpoint{.socket = socket, .url = "http://localhost", .token = {}, .places = {socket}});
  follow_events();
  if (!wait_until([this] { return is_following_; }, seconds(10)))
    bench::give_up("the supervisor tells no events");
}

/// Again and again: a supervisor that was killed comes back.
void Session::follow_events() {
  is_following_ = false;
  follow_at_ = TimePoint::max();
  Request wanted = request("GET", "/v1/events");
  wanted.timeout = Duration(0);
  wanted.last_event_id = stream_.last_id();
  http_->start(
      std::move(wanted), [this](const Answer<Response>&) { follow_at_ = Clock::now() + try_again; },
      [this](std::string_view bytes) {
        is_following_ = true;
        for (StreamEvent& event : stream_.feed(bytes)) events_.push_back(std::move(event));
        return true;
      });
}

/// Everything that goes on all the time.
void Session::turn(Duration at_most) {
  http_->turn({}, at_most);
  const std::vector<StreamEvent> events = std::exchange(events_, {});
  for (const StreamEvent& event : events) take_event(event);
  const TimePoint now = Clock::now();
  if (now >= follow_at_) follow_events();
  look(now);
  send_waiting(now);
  ask_for_the_silent(now);
}

bool Session::wait_until(const std::function<bool()>& condition, Duration patience) {
  const TimePoint deadline = Clock::now() + patience;
  while (!condition()) {
    if (Clock::now() > deadline || Interrupts::count() > 1) return false;
    turn(turn_time);
  }
  return true;
}

void Session::look(TimePoint now) {
  if (now < next_look_) return;
  next_look_ = now + look_pace;
  if (kurultaid_.restart_if_gone()) {
    ++outcome_.deaths;
    ledger_.all_disturbed();
    excused_until_ = now + excuse;
  }
  outcome_.memory.look(kurultaid_.pid(), now);
  if (display_.due(now)) display_.draw(progress(now), now);
}

void Session::load() {
  begin_ = Clock::now();
  load_end_ = begin_ + profile_.length;
  outcome_.memory = MemoryWatch(begin_, begin_ + profile_.warm_up, load_end_);
  next_due_ = begin_;
  chaos_.begin(begin_);
  const double cpu = bench::cpu_time(kurultaid_.pid());
  const pid_t process = kurultaid_.pid();
  bool has_warmed_up = profile_.warm_up == Duration(0);
  for (TimePoint now = begin_; now < load_end_ && Interrupts::count() == 0; now = Clock::now()) {
    add_arrivals(now);
    chaos_.turn(now);
    if (!has_warmed_up && now >= begin_ + profile_.warm_up) {
      has_warmed_up = true;
      read_heap("warm-up");
    }
    turn(std::clamp(std::chrono::duration_cast<Duration>(next_due_ - now), Duration(0), turn_time));
  }
  outcome_.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  outcome_.judged_seconds =
      std::max(0.0, outcome_.seconds - std::chrono::duration<double>(profile_.warm_up).count());
  if (kurultaid_.pid() == process)
    outcome_.supervisor_cpu = (bench::cpu_time(process) - cpu) / 1e9 / std::max(outcome_.seconds, 1e-3);
  chaos_.restore_configuration();
}

/// A task is due when it is due, however late it can be sent.
void Session::add_arrivals(TimePoint now) {
  while (next_due_ <= now && next_due_ < load_end_) {
    add(draw_kind(kinds_, dice_), next_due_);
    const auto every = static_cast<double>(profile_.every.count()) * 1000;
    const double pause =
        profile_.arrivals == Arrivals::even ? every : -std::log(1 - dice_.between(0, 1)) * every;
    next_due_ += std::chrono::microseconds(std::max<std::int64_t>(1, std::llround(pause)));
  }
}

void Session::add(const TaskKind& kind, TimePoint due) {
  ++outcome_.submitted;
  if (waiting_.size() >= most_waiting) {
    ++outcome_.overrun;
    return;
  }
  waiting_.push_back(draw(kind, "soak-" + std::to_string(number_++), due, dice_));
}

void Session::send_waiting(TimePoint now) {
  while (!again_.empty() && again_.front().at <= now && in_flight_ < most_in_flight) {
    const Submission task = std::move(again_.front().task);
    again_.pop_front();
    send(task);
  }
  while (!waiting_.empty() && in_flight_ < most_in_flight) {
    Submission task = std::move(waiting_.front());
    waiting_.pop_front();
    send(std::move(task));
  }
}

void Session::send(Submission task) {
  ++in_flight_;
  Request wanted = request("POST", "/v1/tasks", to_body(task));
  http_->start(std::move(wanted), [this, task = std::move(task)](Answer<Response> answer) {
    --in_flight_;
    take_answer(task, std::move(answer));
  });
}

void Session::take_answer(const Submission& task, Answer<Response> answer) {
  if (!answer) {  // it may have been accepted: the key keeps it from running twice
    if (Clock::now() > excused_until_) ++outcome_.unexpected["no answer to a submission"];
    again_.push_back({Clock::now() + try_again, task});
    return;
  }
  const bool is_probe = task.kind->name == "soak.probe";
  if (!is_probe) {
    outcome_.answers_ms.add(milliseconds_since(task.due));
    ++outcome_.statuses[answer->status];
  }
  if (answer->status == 429 || answer->status == 503) {
    if (!is_probe) take_refusal(*answer);
    return;
  }
  const auto object = parse_json(answer->body);
  const std::string id = object && object->is_object() ? text_at(*object, "taskId") : "";
  if ((answer->status != 202 && answer->status != 200) || id.empty()) {
    ++outcome_.unexpected["submission: " + std::to_string(answer->status)];
    return;
  }
  if (task.key == probe_key_) probe_key_ = id;
  ledger_.accepted(id, {task.key, task.kind->leaks, task.due});
}

void Session::take_refusal(const Response& response) {
  const auto object = parse_json(response.body);
  const json& error = object && object->is_object() ? object_at(*object, "error") : json();
  ++outcome_.refusals[error.is_object() ? text_at(error, "code") : ""];
  if (!error.is_object() || number_at(error, "retryAfter") < 1)
    ++outcome_.unexpected["a refusal without retryAfter"];
}

void Session::take_event(const StreamEvent& event) {
  const auto object = parse_json(event.data);
  if (!object || !object->is_object()) return;
  if (event.type == "workerExited") {
    if (text_at(*object, "reason") != "memory_cap") return;
    const auto kind = std::ranges::find(kinds_, text_at(*object, "agent"), &TaskKind::name);
    ++(kind != kinds_.end() && kind->leaks ? outcome_.capped_leak_workers : outcome_.capped_other_workers);
  } else if (event.type.starts_with("task") && event.type != "taskRejected") {
    take_task_event(event.type, *object);
  }
}

void Session::take_task_event(const std::string& type, const json& event) {
  const TimePoint now = Clock::now();
  const std::string id = text_at(event, "taskId");
  if (type == "taskStarted") return ledger_.started(id, now);
  if (type == "taskPreempted") {
    const std::string reason = text_at(event, "reason");
    ++outcome_.preemptions[reason];
    if (reason == "kernel") ++outcome_.kernel_kills;
    return ledger_.preempted(id, now);
  }
  if (type == "taskQueued" && number_at(event, "attempt") > 1) ++outcome_.retries[text_at(event, "agent")];
  const std::string state = text_at(event, "state");
  if (!is_final_state(state)) return ledger_.heard_of(id, now);
  const std::string reason = state == "failed" ? text_at(object_at(event, "error"), "reason") : "";
  if (ledger_.ended(id, {state, reason, static_cast<int>(number_at(event, "attempt"))}, now))
    ask_why(id, reason + " of " + text_at(event, "agent"));
}

/// The last that a task said which failed for no reason of ours.
void Session::ask_why(const std::string& id, const std::string& what) {
  http_->start(request("GET", "/v1/tasks/" + id + "/logs"), [this, what](const Answer<Response>& answer) {
    std::string said = answer ? answer->body : "";
    while (said.ends_with('\n')) said.pop_back();
    said = what + ": " + shorten(printable(said.substr(said.rfind('\n') + 1)), 100);
    if (outcome_.failures.size() < most_failures || outcome_.failures.contains(said))
      ++outcome_.failures[said];
  });
}

void Session::ask_for_the_silent(TimePoint now) {
  if (now < next_question_) return;
  next_question_ = now + question_pace;
  for (const std::string& key : written_.read()) ledger_.done(key);
  for (const std::string& id : ledger_.silent_since(now - silence, most_questions)) {
    if (!asked_.insert(id).second) continue;
    http_->start(request("GET", "/v1/tasks/" + id), [this, id](const Answer<Response>& answer) {
      asked_.erase(id);
      take_task(id, answer);
    });
  }
}

void Session::take_task(const std::string& id, const Answer<Response>& answer) {
  if (!answer || !ledger_.is_open(id)) return;
  if (answer->status == 404) return ledger_.unknown(id);
  const auto object = parse_json(answer->body);
  if (answer->status != 200 || !object || !object->is_object()) return;
  const std::string state = text_at(*object, "state");
  if (!is_final_state(state)) return ledger_.heard_of(id, Clock::now());
  const std::string reason = state == "failed" ? text_at(object_at(*object, "error"), "reason") : "";
  const Ending ending{state, reason, static_cast<int>(number_at(*object, "attempt")), true};
  if (ledger_.ended(id, ending, Clock::now())) ask_why(id, reason + " of " + text_at(*object, "agent"));
}

void Session::crash() {
  chaos_.restore_configuration();
  ledger_.all_disturbed();
  excused_until_ = Clock::now() + excuse;
  kurultaid_.crash_and_restart();
}

/// How long it takes until a task is let in and done; nothing: longer than that.
std::optional<double> Session::probe(Duration patience) {
  const auto kind = std::ranges::find(kinds_, "soak.probe", &TaskKind::name);
  const TimePoint from = Clock::now();
  const TimePoint deadline = from + patience;
  while (Clock::now() < deadline && Interrupts::count() < 2) {
    probe_key_ = "soak-" + std::to_string(number_);
    const std::string key = probe_key_;
    add(*kind, Clock::now());
    --outcome_.submitted;  // it is no part of the load
    wait_until([&] { return in_flight_ == 0 && waiting_.empty() && again_.empty(); }, patience);
    if (probe_key_ == key) {  // refused
      wait_until([&, until = Clock::now() + try_again] { return Clock::now() > until; }, patience);
      continue;
    }
    const std::string id = probe_key_;
    if (!wait_until([&] { return !ledger_.is_open(id); }, patience)) return std::nullopt;
    return std::chrono::duration<double>(Clock::now() - from).count();
  }
  return std::nullopt;
}

/// Until every task has ended: in its own time, then cancelled.
void Session::settle() {
  Duration longest{0};
  for (const TaskKind& kind : kinds_) longest = std::max(longest, kind.takes.high);
  const auto is_over = [this] {
    return ledger_.open() == 0 && in_flight_ == 0 && waiting_.empty() && again_.empty();
  };
  if (Interrupts::count() == 0) {
    wait_until([&] { return is_over() || Interrupts::count() > 0; }, longest * 3 + longest_queue);
  }
  if (is_over()) return;
  cancel_all();
  wait_until(is_over, last_rest);
}

void Session::cancel_all() {
  waiting_.clear();
  for (const std::string& id : ledger_.all()) {
    ledger_.disturbed(id);
    http_->start(request("DELETE", "/v1/tasks/" + id), [](const Answer<Response>&) {});
  }
}

/// Idle workers hold descriptors and groups.
void Session::end_workers() {
  Config brief_idle = config_;
  brief_idle.workers.idle_timeout = milliseconds(100);
  kurultaid_.configure(config_to_yaml(brief_idle));
  ask("POST", "/v1/reload");
  bool is_empty = false;
  for (const TimePoint deadline = Clock::now() + seconds(30); !is_empty && Clock::now() < deadline;) {
    const json workers = ask("GET", "/v1/workers");
    is_empty = workers.contains("workers") && workers.at("workers").empty();
    if (!is_empty)
      wait_until([until = Clock::now() + look_pace] { return Clock::now() > until; }, seconds(1));
  }
  kurultaid_.configure(config_to_yaml(config_));
  ask("POST", "/v1/reload");
}

/// Without a connection of ours. What ends with one, or with a worker, may take its time.
void Session::count_what_is_open(std::int64_t Count::* when) {
  http_.reset();
  const auto groups = kurultaid_.workers_groups();
  const auto fewest = [&] { return std::pair(count_fds(kurultaid_.pid()), count_groups(groups)); };
  auto found = fewest();
  for (int looks = 0; looks < 20; ++looks) {
    std::this_thread::sleep_for(look_pace);
    const auto now = fewest();
    found = {std::min(found.first, now.first), std::min(found.second, now.second)};
    if (looks >= 5 && found.first <= outcome_.fds.before && found.second <= outcome_.groups.before) break;
  }
  outcome_.fds.*when = found.first;
  outcome_.groups.*when = found.second;
  connect();
}

void Session::read_heap(const std::string& when) {
  const json supervisor = object_at(ask("GET", "/v1/memory"), "supervisor");
  outcome_.heap.push_back({.when = when,
                           .seconds = std::chrono::duration<double>(Clock::now() - begin_).count(),
                           .rss = number_at(supervisor, "rssBytes"),
                           .used = number_at(supervisor, "heapUsedBytes"),
                           .total = number_at(supervisor, "heapTotalBytes")});
}

void Session::count_what_is_left() {
  const std::string instance = kurultaid_.instance();
  const auto parents = kurultaid_.workers_groups();
  kurultaid_.end();
  for (int looks = 0; looks < 50; ++looks) {
    outcome_.left_behind = std::ssize(marked_processes(instance)) +
                           std::ranges::count_if(parents, [](const std::string& parent) {
                             return std::filesystem::exists(parent);
                           });
    if (outcome_.left_behind == 0) return;
    std::this_thread::sleep_for(look_pace);
  }
}

/// Waits for the answer while everything goes on; an empty object where there is none.
json Session::ask(const std::string& method, const std::string& path) {
  json found = json::object();
  bool has_come = false;
  http_->start(request(method, path), [&](const Answer<Response>& answer) {
    has_come = true;
    if (auto object = answer ? parse_json(answer->body) : failure(""); object && object->is_object())
      found = *std::move(object);
  });
  while (!has_come) turn(turn_time);
  return found;
}

std::string Session::progress(TimePoint now) const {
  const auto since = std::chrono::duration_cast<Duration>(now - begin_);
  const std::string when =
      now > load_end_ ? "waits for the last tasks" : brief(since) + " of " + brief(profile_.length);
  const LedgerCounts& counts = ledger_.counts();
  return profile_.name + (load_end_ == TimePoint{} ? " starts" : " " + when) + " | " +
         brief(Bytes{std::llround(outcome_.memory.latest_tree())}) + " of " + brief(outcome_.budget) +
         ", supervisor " + brief(Bytes{std::llround(outcome_.memory.latest_supervisor())}) + " | " +
         std::to_string(counts.accepted) + " in, " + std::to_string(ledger_.open()) + " open, " +
         std::to_string(outcome_.refused()) + " refused, " + std::to_string(counts.lost) + " lost";
}

}  // namespace kurultai::soak
