#include "supervisor/gateway/event_streams.h"

#include <algorithm>
#include <utility>

#include "protocol/line_writer.h"
#include "supervisor/task.h"

namespace kurultai {

namespace {

constexpr std::size_t most_readers = 256;  // `kurultai submit --wait` is one too
constexpr std::size_t most_backlog = std::size_t{1} << 20;
constexpr std::size_t least_backlog = std::size_t{128} << 10;
constexpr std::size_t all_backlogs = std::size_t{16} << 20;
constexpr std::size_t kept_events = 1024;
constexpr std::size_t kept_bytes = std::size_t{512} << 10;  // below the backlog of few: they can all be sent
constexpr Duration keep_alive{15000};                       // proxies give up on silence after 30 s or more

bool is_end_of_task(const Event& event) {
  const auto* about = std::get_if<TaskEvent>(&event.body);
  return about != nullptr && is_final(about->task.state);
}

}  // namespace

std::size_t backlog_limit(std::size_t readers) {
  return std::clamp(all_backlogs / std::max<std::size_t>(readers, 1), least_backlog, most_backlog);
}

EventStreams::EventStreams(uv::Loop& loop)
    : loop_(loop), history_(kept_events, kept_bytes), tick_(loop, [this] { tick(); }) {}

void EventStreams::tell(const Event& event) {
  KeptEvent kept(event);
  if (!readers_.empty()) tell_readers(event, kept);
  history_.add(std::move(kept));
}

void EventStreams::tell_readers(const Event& event, const KeptEvent& kept) {
  std::string text;
  const std::size_t limit = backlog_limit(readers_.size());
  std::erase_if(readers_, [&](Reader& reader) {
    if (!reader.exchange->is_open()) return true;
    if (reader.left_for >= 0) return false;
    const bool is_last =
        !reader.filter.task_id.empty() && reader.filter.task_id == kept.task_id() && is_end_of_task(event);
    const bool is_wanted = reader.filter.wants(kept);
    if (!is_wanted && !is_last) return false;
    if (reader.exchange->pending() > limit) {
      let_go(reader);
      return false;
    }
    if (is_wanted && text.empty()) text = kept.text();
    if (is_wanted) reader.exchange->write(text);
    if (is_last) reader.exchange->end();
    return is_last;
  });
}

/// For a reader that cannot be told what it missed. Without an id, so that it does not move its place.
std::string EventStreams::note_of_loss(std::uint64_t after) const {
  const auto oldest = history_.oldest();
  LineWriter note("eventsLost");
  note.text("time", to_rfc3339(loop_.wall_now())).whole("after", after);
  note.raw("oldest", oldest ? std::to_string(*oldest) : "null");
  return "event: eventsLost\ndata: " + note.object() + "\n\n";
}

/// It stays among the readers until it has taken all of it or is cut off, so that those who are let go and
/// come again do not add up.
void EventStreams::let_go(Reader& reader) {
  reader.left_for = 0;
  reader.exchange->write(": too slow, events were dropped; ask again with Last-Event-ID\n\n");
  reader.exchange->when_written([exchange = reader.exchange] { exchange->end(); });
}

void EventStreams::tick() {
  std::vector<std::shared_ptr<Exchange>> cut;
  std::erase_if(readers_, [&](Reader& reader) {
    if (reader.left_for >= 0) reader.left_for += 1;
    const bool is_late = reader.left_for > 1;  // it has had a whole tick, at least
    if (is_late) cut.push_back(reader.exchange);
    return is_late || !reader.exchange->is_open();
  });
  for (const auto& exchange : cut) exchange->abort();
  for (const Reader& reader : readers_) {
    if (reader.exchange->pending() == 0) reader.exchange->write(": still here\n\n");
  }
  if (!readers_.empty()) tick_.start(keep_alive);
}

bool EventStreams::has_room() {
  std::erase_if(readers_, [](const Reader& reader) { return !reader.exchange->is_open(); });
  return readers_.size() < most_readers;
}

bool EventStreams::remembers(std::uint64_t id, const EventFilter& filter) const {
  return !history_.after(id, filter).empty();
}

void EventStreams::open(const std::shared_ptr<Exchange>& exchange, Wish wish) {
  exchange->begin(200, "text/event-stream", {{"Cache-Control", "no-store"}});
  std::string text = ": events of kurultaid\n\n";
  if (wish.after) {
    if (*wish.after > 0 && !history_.is_complete_after(*wish.after)) text += note_of_loss(*wish.after);
    // Behind one that has not been given out there is an earlier supervisor, whose clock was ahead.
    const bool is_ours = !history_.newest() || *wish.after <= *history_.newest();
    text += history_.after(is_ours ? *wish.after : 0, wish.filter);
  }
  exchange->write(std::move(text));
  if (wish.is_over) return exchange->end();
  readers_.push_back({exchange, std::move(wish.filter)});
  if (!tick_.is_running()) tick_.start(keep_alive);
}

void EventStreams::end() {
  tick_.stop();
  for (const Reader& reader : std::exchange(readers_, {})) reader.exchange->end();
}

}  // namespace kurultai
