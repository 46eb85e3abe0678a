#include "supervisor/publishing/publisher.h"

#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"
#include "protocol/line_splitter.h"
#include "supervisor/event_log.h"
#include "supervisor/uv/process.h"

namespace kurultai {

namespace {

using nlohmann::json;

constexpr Duration margin{5000};  // of the helper, beyond the time that it gives the receiver
constexpr std::size_t longest_line = 4096;
constexpr Duration last_moment{200};  // for what it said before its exit
constexpr std::string_view kind = "publisher";

std::string settings_line(const PublisherConfig& config) {
  return to_text({{"url", config.url},
                  {"urlFile", config.url_file},
                  {"tokenFile", config.token_file},
                  {"timeoutMs", config.timeout.count()},
                  {"connectTimeoutMs", config.connect_timeout.count()}}) +
         "\n";
}

std::string request_line(const std::vector<std::string>& events) {
  std::string line = "{\"events\":";
  char before = '[';
  for (const std::string& event : events) {
    line += std::exchange(before, ',');
    line += event;
  }
  return line + "]}\n";
}

Outbox::Outcome outcome_of(int status) {
  if (status >= 200 && status < 300) return Outbox::Outcome::delivered;
  // It has understood, and will not have these.
  constexpr int final_refusals[] = {400, 413, 415, 422};
  return std::ranges::find(final_refusals, status) != std::end(final_refusals) ? Outbox::Outcome::refused
                                                                               : Outbox::Outcome::failed;
}

}  // namespace

/// It is gone when its exit has been seen, and what it said before has been heard or had a moment for it: its
/// pipes may be in the hands of others.
struct Publisher::Helper {
  uv::Process::Spawned child;
  LineSplitter answers{longest_line};
  LineSplitter complaints{longest_line};
  std::string last_words = {};  // on stderr
  std::string why = {};         // it was killed
  bool exited = false;
  bool can_answer = true;  // its stdout is open
  int outputs = 2;         // that are open

  bool is_ending() const { return exited || !can_answer || !why.empty(); }
};

Publisher::Publisher(const PublisherParts& parts, PublisherConfig config, const BreakerSettings& breaker,
                     bool breaks)
    : parts_(parts),
      config_(std::move(config)),
      outbox_(config_.buffer, breaker, breaks),
      pump_timer_(parts.loop, [this] { pump(); }),
      deadline_(parts.loop, [this] { kill_helper("the request did not end in time"); }),
      undertaker_(parts.loop, [this] { bury_helper(); }),
      limit_(parts.loop, [this] { hurry(); }) {}

Publisher::~Publisher() = default;

void Publisher::on_event(const Event& event) {
  if (state_ != State::open) return;
  const auto* changed = std::get_if<BreakerChanged>(&event.body);
  if (changed != nullptr && changed->kind == kind && changed->name == config_.name) return;
  const auto& wanted = config_.events;
  if (!wanted.empty() && std::ranges::find(wanted, name_of(event)) == wanted.end()) return;
  outbox_.push(to_json(event));
  // Not now: others are still to be told of this one, and of a breaker that changes only after it.
  if (!outbox_.is_sending() && !pump_timer_.is_running()) pump_timer_.start(outbox_.wait(parts_.loop.now()));
}

void Publisher::start_anew(const BreakerSettings& breaker, bool breaks) {
  outbox_.start_anew(breaker, breaks);
  if (!outbox_.is_empty() && !outbox_.is_sending()) pump_timer_.start(outbox_.wait(parts_.loop.now()));
}

void Publisher::pump() {
  const TimePoint now = parts_.loop.now();
  if (helper_ != nullptr && helper_->is_ending()) return;  // then we come back
  const bool gives_up = state_ >= State::hurrying || (state_ == State::ending && outbox_.is_failing());
  if (gives_up) return end_if_done();
  if (const auto batch = outbox_.take(now)) {
    tell(batch->change);
    if (helper_ == nullptr) {
      if (const auto started = start_helper(); !started)
        return finish(Outbox::Outcome::failed, started.error().message);
    }
    helper_->child.in->write(request_line(batch->events));
    deadline_.start(config_.timeout + margin);
  } else if (!outbox_.is_empty() && !outbox_.is_sending()) {
    pump_timer_.start(std::max(outbox_.wait(now), Duration(1)));
  }
  end_if_done();
}

Result<void> Publisher::start_helper() {
  auto helper = std::make_unique<Helper>();
  auto spawned =
      uv::Process::spawn(parts_.loop, {.argv = {parts_.program}, .environment = parts_.environment},
                         [this, it = helper.get()](int, int) {
                           it->exited = true;
                           undertaker_.start(it->outputs > 0 ? last_moment : Duration(0));
                         });
  if (!spawned) return std::unexpected(spawned.error());
  helper->child = *std::move(spawned);
  helper_ = std::move(helper);
  Helper& it = *helper_;
  it.child.out->read(
      [this, &it](std::string_view bytes) {
        it.answers.feed(bytes, [this](const LineSplitter::Line& line) {
          heard(line.text);
          return true;
        });
      },
      [this, &it](std::string_view) {
        it.can_answer = false;
        closed_output();
        kill_helper(parts_.program + " has closed its output");
      });
  it.child.err->read(
      [&it](std::string_view bytes) {
        it.complaints.feed(bytes, [&it](const LineSplitter::Line& line) {
          it.last_words = line.text;
          return true;
        });
      },
      [this](std::string_view) { closed_output(); });
  it.child.in->write(settings_line(config_));
  return {};
}

void Publisher::closed_output() {
  helper_->outputs -= 1;
  if (helper_->exited && helper_->outputs == 0) undertaker_.start(Duration(0));
}

void Publisher::heard(std::string_view line) {
  const auto answer = parse_json(line);
  const json* status = answer && answer->contains("status") ? &(*answer)["status"] : nullptr;
  if (status != nullptr && status->is_number_integer()) {
    const int code = status->get<int>();
    return finish(outcome_of(code), "it answered " + std::to_string(code));
  }
  const json* error = answer && answer->contains("error") ? &(*answer)["error"] : nullptr;
  finish(Outbox::Outcome::failed,
         error != nullptr && error->is_string() ? error->get<std::string>() : "an answer that is none");
}

void Publisher::finish(Outbox::Outcome outcome, std::string why) {
  if (!outbox_.is_sending()) return;
  deadline_.stop();
  const std::size_t sent = outbox_.sending();
  tell(outbox_.done(outcome, parts_.loop.now()));
  const bool is_new = std::exchange(last_, outcome) != outcome && state_ == State::open;
  why_ = outcome == Outbox::Outcome::delivered ? std::string() : std::move(why);
  if (is_new && outcome == Outbox::Outcome::refused)
    log_warning("publisher " + config_.name + ": " + std::to_string(sent) + " events are dropped: " + why_);
  if (is_new && outcome == Outbox::Outcome::failed)
    log_warning("publisher " + config_.name + ": " + why_ + "; it is tried again");
  // The next one reads the token again, and finds the host again.
  if (outcome == Outbox::Outcome::failed) kill_helper("it failed");
  pump();
}

/// What a probe found out is no news: it would be told every few seconds for as long as a receiver is away.
void Publisher::tell(const std::optional<BreakerChange>& change) {
  if (!change || change->to == BreakerState::half_open) return;
  if (change->from == BreakerState::half_open && change->to == BreakerState::open) return;
  parts_.events.emit("", BreakerChanged{kind, config_.name, to_string(change->from), to_string(change->to)});
}

void Publisher::kill_helper(std::string why) {
  if (helper_ == nullptr || helper_->exited || !helper_->why.empty()) return;
  helper_->why = std::move(why);
  ::kill(helper_->child.process->pid(), SIGKILL);
}

void Publisher::bury_helper() {
  const std::unique_ptr<Helper> helper = std::exchange(helper_, nullptr);
  std::string why = helper->last_words.empty() ? helper->why : helper->last_words;
  if (why.empty()) why = parts_.program + " has ended";
  finish(Outbox::Outcome::failed, std::move(why));
  pump();
}

void Publisher::take_over(Publisher& other) {
  for (std::string& event : other.outbox_.give_up()) outbox_.push(std::move(event));
  if (!outbox_.is_empty()) pump_timer_.start(Duration(0));
}

void Publisher::hurry() {
  if (state_ == State::ending) state_ = State::hurrying;
  end_if_done();
}

void Publisher::end(Duration limit, std::function<void()> ended) {
  state_ = State::ending;
  ended_ = std::move(ended);
  limit_.start(limit);
  pump();
}

void Publisher::end_if_done() {
  if (state_ == State::open || state_ == State::over) return;
  const bool goes_on = state_ == State::ending && !outbox_.is_empty() && !outbox_.is_failing();
  if (goes_on) return;
  if (helper_ != nullptr) return kill_helper("it is to end");
  if (outbox_.size() > 0)
    log_warning("publisher " + config_.name + ": " + std::to_string(outbox_.size()) +
                " events were not delivered");
  outbox_.drop_all();
  state_ = State::over;
  limit_.stop();
  pump_timer_.stop();
  uv::defer(parts_.loop, std::exchange(ended_, nullptr));
}

std::string Publisher::trouble() const {
  if (why_.empty()) return {};
  std::string text = config_.name + ": " + why_ + "; " + std::to_string(outbox_.size()) + " events wait";
  if (const auto dropped = outbox_.counts().dropped; dropped > 0)
    text += ", " + std::to_string(dropped) + " were dropped";
  return text;
}

}  // namespace kurultai
