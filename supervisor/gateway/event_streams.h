// Server-sent events (WHATWG HTML, 9.2) to those who listen, and the newest of them for those who come back.
// A reader that is too slow is let go with a word: nobody's reading costs the supervisor more memory than its
// share. Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/events.h"
#include "supervisor/gateway/event_history.h"
#include "supervisor/gateway/http.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

/// How far each of so many readers may be behind, in bytes.
std::size_t backlog_limit(std::size_t readers);

class EventStreams {
 public:
  explicit EventStreams(uv::Loop& loop);

  void tell(const Event& event);

  /// Whether another reader may come.
  bool has_room();
  /// Whether anything is remembered after the event `id` that is wanted.
  bool remembers(std::uint64_t id, const EventFilter& filter) const;

  struct Wish {
    EventFilter filter;
    std::optional<std::uint64_t> after;  // first what is remembered after this one; 0: all of it
    bool is_over = false;                // the task has ended: nothing will come
  };
  /// The answer to a request for events. A stream of one task ends with it.
  void open(const std::shared_ptr<Exchange>& exchange, Wish wish);
  /// Ends all streams.
  void end();

 private:
  struct Reader {
    std::shared_ptr<Exchange> exchange;
    EventFilter filter;
    int left_for = -1;  // ticks since it was let go: only what was written before is still on its way
  };

  void tell_readers(const Event& event, const KeptEvent& kept);
  std::string note_of_loss(std::uint64_t after) const;
  void let_go(Reader& reader);
  void tick();

  uv::Loop& loop_;
  EventHistory history_;
  std::vector<Reader> readers_;
  uv::Timer tick_;
};

}  // namespace kurultai
