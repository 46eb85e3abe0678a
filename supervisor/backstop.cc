#include "supervisor/backstop.h"

#include <algorithm>
#include <utility>

#include "supervisor/event_log.h"

namespace kurultai {

namespace {

constexpr Duration retry{1000};

}  // namespace

Backstop::Backstop(uv::Loop& loop, Controller& controller, Dispatcher& dispatcher)
    : loop_(loop), controller_(controller), dispatcher_(dispatcher), again_(loop, [this] { write(); }) {}

// Less is handed out at once, more only when the kernel allows it: in between, workers that grow into the new
// room would meet the old limit. The first time there is none.
void Backstop::set(Bytes limit) {
  const Bytes before = limit_ == Bytes{} ? limit : dispatcher_.workers_total();
  limit_ = limit;
  dispatcher_.set_workers_total(std::min(to_hand_out(), before));
  if (!writing_) write();
}

Bytes Backstop::to_hand_out() const { return limit_ - controller_.overrun(); }

void Backstop::write() {
  again_.stop();
  if (dispatcher_.workers_are_overdrawn()) return again_.start(retry);  // they would meet it
  writing_ = true;
  auto outcome = std::make_shared<Result<void>>();
  run_on_thread(
      loop_,
      [&controller = controller_, outcome, limit = limit_] {
        *outcome = controller.set_workers_limit(limit);
      },
      [this, outcome, limit = limit_, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) written(limit, *outcome);
      });
}

void Backstop::written(Bytes limit, const Result<void>& outcome) {
  writing_ = false;
  if (limit != limit_) return write();
  if (outcome) {
    trouble_.clear();
    return dispatcher_.set_workers_total(to_hand_out());
  }
  if (dispatcher_.is_draining()) return;
  const std::string why = "limit of all workers, " + to_string(limit) + ": " + outcome.error().message;
  if (std::exchange(trouble_, why) != why) log_warning(why + "; it is tried again and again");
  again_.start(retry);
}

}  // namespace kurultai
