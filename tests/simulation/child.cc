#include "tests/simulation/child.h"

#include <signal.h>

#include <utility>

#include "protocol/codec.h"

namespace kurultai::simulation {

Child::Child(Circumstances circumstances)
    : Program(circumstances.loop, circumstances.kernel, circumstances.identity.pid),
      onlooker_(circumstances.onlooker),
      identity_(std::move(circumstances.identity)),
      nature_(circumstances.nature),
      pipes_(std::move(circumstances.pipes)),
      gone_(std::move(circumstances.gone)) {
  pipes_.in->wake_reader = [this] { wake(); };
}

Child::~Child() { pipes_.in->wake_reader = nullptr; }

void Child::start() {
  later(nature_.starts_in, [this] {
    wanted_ = nature_.base;
    Child::take_up();
    later(Duration(1), [this] { begin(); });
  });
}

void Child::begin() {
  switch (nature_.start) {
    case Nature::Start::ready:
      return say(Ready{protocol_version, own_name()});
    case Nature::Start::speaks_another_protocol:
      onlooker_.went_wrong(*this, "speaks another protocol");
      return say(Ready{protocol_version + 1, own_name()});
    case Nature::Start::exits:
      onlooker_.went_wrong(*this, "exits before READY");
      return exit(3, 0);
    case Nature::Start::never_ready:
    case Nature::Start::cannot_be_launched:
      return onlooker_.went_wrong(*this, "is never READY");
  }
}

void Child::take_up() {
  if (wanted_ > Bytes{}) wanted_ -= kernel_.grow(*this, wanted_);
}

void Child::say(const FromAgent& message) {
  if (is_over()) return;
  onlooker_.said(*this, message);
  pipes_.out->write(encode(message));
}

void Child::wake() {
  if (is_over() || loop_.schedule.waits(reading_)) return;
  reading_ = loop_.schedule.after(std::chrono::microseconds(loop_.dice.skewed(5, 1500)), [this] {
    if (stands()) return postpone([this] { read_input(); });
    read_input();
  });
}

void Child::read_input() {
  if (is_over()) return;
  const std::string bytes = std::exchange(pipes_.in->bytes, {});
  if (bytes.empty() && pipes_.in->writer_gone) on_shutdown();
  lines_.feed(bytes, [this](LineSplitter::Line line) {
    on_line(line.text);
    return !is_over();
  });
  if (!bytes.empty() && pipes_.in->writer_gone) wake();
}

void Child::on_line(std::string_view line) {
  const auto decoded = decode_to_agent(line);
  const auto* message = std::get_if<ToAgent>(&decoded);
  if (message == nullptr) return onlooker_.went_wrong(*this, "was sent a line that is no message");
  on_message(*message);
}

void Child::on_signal(int signal) {
  if (signal == SIGTERM && nature_.heeds_term) later(nature_.leaves_in, [this] { exit(0, SIGTERM); });
}

void Child::exit(int status, int signal) {
  if (!leave()) return;
  loop_.tell_exit(pid, status, signal);
  one_less();
}

void Child::on_death(int signal) {
  end();
  loop_.tell_exit(pid, 0, signal);
  one_less();
}

void Child::one_less() {
  if (!has_ended() || !group->inside.empty() || std::exchange(released_, true)) return;
  let_go();
  loop_.schedule.cancel(reading_);
  pipes_.in->wake_reader = nullptr;
  pipes_.in->reader_gone = true;
  pipes_.out->close_writer();
  pipes_.err->close_writer();
  gone_(*this);
}

}  // namespace kurultai::simulation
