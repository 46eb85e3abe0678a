#include "supervisor/workers/worker.h"

#include <signal.h>
#include <string.h>

#include <algorithm>

#include "protocol/codec.h"
#include "supervisor/memory/cgroup_file.h"

namespace kurultai {

namespace {

constexpr Duration sweep_pause{5};  // between two rounds of killing: a fork bomb needs several
constexpr Duration late_exit{
    1000};  // between the end of stdout and that of the process (or of the holder of its tree)
constexpr Duration oom_look{5};  // the kernel gives notice before it kills, so its counter may lag behind
constexpr int oom_looks = 40;
constexpr Duration late_output{1000};  // how long output is awaited after the last process is gone
// A turn of the loop with as many two-byte lines as this takes a fifth of a millisecond; with the 64 KiB of a
// pipe (1 MiB, where the agent says so) everybody else would wait for that long, several times a task.
// What it says may take a tenth of a processor, answers apart: a supervisor that is busy all the time waits
// for the processor like everybody else, and a neighbour's task with it.
constexpr uv::Stream::Pace stream_pace{.most_a_turn = std::size_t{4} * 1024, .share = 0.1};
constexpr std::string_view launcher_prefix = "kurultai-worker: ";

std::string command_name(const AgentConfig& agent) {
  return agent.command.empty() ? agent.name : agent.command.front();
}

}  // namespace

std::string_view to_string(WorkerEnd::Cause cause) {
  switch (cause) {
    case WorkerEnd::Cause::exited:
      return "exited";
    case WorkerEnd::Cause::asked:
      return "asked";
    case WorkerEnd::Cause::memory_cap:
      return "memory_cap";
    case WorkerEnd::Cause::memory_budget:
      return "memory_budget";
    case WorkerEnd::Cause::protocol_error:
      return "protocol_error";
    case WorkerEnd::Cause::start_failed:
      return "start_failed";
    case WorkerEnd::Cause::unhealthy:
      return "unhealthy";
    case WorkerEnd::Cause::group_lost:
      return "group_lost";
  }
  return "exited";
}

Worker::Worker(uv::Loop& loop, WorkerSpec spec, std::unique_ptr<WorkerGroup> group,
               const uv::SpawnOptions& launch, WorkerListener& listener)
    : loop_(loop),
      spec_(std::move(spec)),
      listener_(listener),
      group_(std::move(group)),
      timer_(loop, [this] { on_timer(); }),
      oom_timer_(loop, [this] { on_oom(); }),
      lines_(spec_.max_line),
      started_(loop.now()),
      idle_since_(started_),
      oom_kills_(group_->oom_kills()) {
  auto spawned =
      uv::Process::spawn(loop, launch, [this](int status, int signal) { on_exit(status, signal); });
  if (!spawned) {
    never_started_ = spawned.error();
    exited_ = out_ended_ = err_ended_ = true;
    end_ = WorkerEnd{WorkerEnd::Cause::start_failed, spawned.error().message, {}, {}};
    state_ = State::ending;
    phase_ = Phase::sweeping;
    timer_.start(Duration(0));
    return;
  }
  process_ = std::move(spawned->process);
  in_ = std::move(spawned->in);
  out_ = std::move(spawned->out);
  err_ = std::move(spawned->err);
  pid_ = process_->pid();
  group_->started(pid_);
  if (group_->oom_fd() >= 0) {
    auto watch = uv::FdWatch::start(loop, group_->oom_fd(), [this] {
      group_->acknowledge_oom();
      oom_looks_ = oom_looks;
      listener_.worker_at_edge(*this);
      on_oom();
    });
    if (watch) oom_watch_ = std::move(*watch);
  }
  out_->read([this](std::string_view bytes) { on_output(bytes); },
             [this](std::string_view) {
               out_ended_ = true;
               if (!exited_ && state_ != State::ending) {
                 timer_.start(late_exit);
               }
               check_gone();
             },
             stream_pace);
  err_->read(
      [this](std::string_view bytes) {
        if (state_ == State::starting && last_words_.size() < 4096) last_words_ += bytes;
        listener_.worker_logged(*this, bytes, false);
      },
      [this](std::string_view) {
        err_ended_ = true;
        check_gone();
      },
      stream_pace);
  if (!spec_.is_spoken_to) in_.reset();
  send(Hello{spec_.id, spec_.memory_limit, spec_.memory_warning});
  timer_.start(agent().start_timeout);
}

Worker::~Worker() = default;

Duration Worker::cold_start() const {
  return std::chrono::duration_cast<Duration>(ready_.value_or(loop_.now()) - started_);
}

int Worker::free_slots() const {
  const bool takes_tasks =
      (state_ == State::starting || state_ == State::serving) && !retiring_ && !suspended_;
  return takes_tasks ? spec_.slots - static_cast<int>(tasks_.size()) : 0;
}

void Worker::free_slot(const std::string& task_id, TimePoint now) {
  std::erase(tasks_, task_id);
  tasks_done_ += 1;
  if (tasks_.empty()) idle_since_ = now;
}

void Worker::send(const ToAgent& message) {
  if (in_ != nullptr && !in_->is_closing()) in_->write(encode(message));
}

std::size_t Worker::unread() const { return in_ != nullptr && !in_->is_closing() ? in_->pending() : 0; }

void Worker::rank(int oom_score_adj) {
  if (spec_.oom_score_adj == oom_score_adj) return;
  spec_.oom_score_adj = oom_score_adj;
  const auto inside = group_->processes();
  if (!inside) return;
  for (const int pid : *inside) {
    if (spec_.is_held && pid == pid_) continue;
    ignore_failure(
        write_file("/proc/" + std::to_string(pid) + "/oom_score_adj", std::to_string(oom_score_adj)));
  }
}

void Worker::drain_stderr() {
  if (err_ != nullptr) err_->drain_now(spec_.max_line);
}

void Worker::pause_output() {
  if (out_ != nullptr) out_->pause();
}

void Worker::answered() {
  if (out_ != nullptr) out_->excuse();
}

void Worker::resume_output() {
  if (out_ != nullptr && !out_ended_) out_->resume();
}

void Worker::on_output(std::string_view bytes) {
  lines_.feed(bytes, [this](LineSplitter::Line line) { return on_line(line); });
}

bool Worker::on_line(LineSplitter::Line line) {
  if (state_ == State::gone) return false;
  if (line.kind == LineSplitter::Kind::too_long) {
    protocol_error("a line is longer than ipc.max_line (" +
                   to_string(Bytes{static_cast<std::int64_t>(spec_.max_line)}) + ")");
    return false;
  }
  if (line.text.empty()) return true;
  auto decoded = decode_from_agent(line.text);
  if (auto* message = std::get_if<FromAgent>(&decoded)) {
    on_message(std::move(*message));
  } else if (std::holds_alternative<UnknownType>(decoded)) {
    unknown_messages += 1;
  } else if (const auto* malformed = std::get_if<Malformed>(&decoded)) {
    protocol_error(malformed->why);
    return false;
  } else {
    noise_lines += 1;
    listener_.worker_logged(*this, std::string(line.text) + "\n", true);
  }
  return true;
}

void Worker::on_message(FromAgent message) {
  if (const auto* ready = std::get_if<Ready>(&message); ready != nullptr && state_ == State::starting) {
    if (ready->protocol != protocol_version) {
      return start_failed("speaks protocol " + std::to_string(ready->protocol) + ", this supervisor speaks " +
                          std::to_string(protocol_version));
    }
    timer_.stop();
    last_words_.clear();
    state_ = State::serving;
    ready_ = loop_.now();
    return listener_.worker_ready(*this);
  }
  if (auto* figures = std::get_if<HeapFigures>(&message)) heap = *figures;
  // Before READY an agent may log; anything else from it would be about tasks that it was not given.
  if (state_ != State::starting || std::holds_alternative<Log>(message)) {
    listener_.worker_said(*this, std::move(message));
  }
}

void Worker::protocol_error(std::string message) {
  if (state_ == State::starting) return start_failed(std::move(message));
  kill_for(WorkerEnd::Cause::protocol_error, std::move(message));
}

void Worker::start_failed(std::string message) {
  kill_for(WorkerEnd::Cause::start_failed, command_name(agent()) + ": " + std::move(message));
}

void Worker::enter(State state) {
  if (state_ == state || state_ == State::gone) return;
  state_ = state;
  if (state == State::ending) ending_since_ = loop_.now();
  if (state == State::ending) listener_.worker_ending(*this);
}

Result<void> Worker::suspend() {
  auto suspended = group_->suspend();
  suspended_ = suspended.has_value();
  if (!suspended) group_->resume();  // it may have been done in part
  return suspended;
}

void Worker::resume() {
  if (suspended_) group_->resume();
  suspended_ = false;
}

void Worker::end(Duration grace) { end_for(WorkerEnd::Cause::asked, "asked to end", grace); }

void Worker::end_for(WorkerEnd::Cause cause, std::string message, Duration grace) {
  if (phase_ != Phase::none) return;
  if (!end_) end_ = WorkerEnd{cause, std::move(message), {}, {}};
  phase_ = Phase::asked;
  resume();
  send(Shutdown{grace});
  if (in_ != nullptr) in_->close_when_written();
  timer_.start(grace);
  enter(State::ending);
}

void Worker::terminate(Duration then) {
  if (phase_ != Phase::none && phase_ != Phase::asked) return;
  if (!end_) end_ = WorkerEnd{WorkerEnd::Cause::asked, "told to terminate", {}, {}};
  phase_ = Phase::terminated;
  resume();
  group_->signal_all(SIGTERM);
  timer_.start(then);
  enter(State::ending);
}

void Worker::kill() { kill_for(WorkerEnd::Cause::asked, "killed"); }

void Worker::kill_for(WorkerEnd::Cause cause, std::string message) {
  if (killed()) return;
  if (!end_) end_ = WorkerEnd{cause, std::move(message), {}, {}};
  phase_ = Phase::killing;
  enter(State::ending);
  sweep();
}

void Worker::on_oom() {
  if (state_ == State::gone) return;
  if (saw_oom()) return listener_.worker_oom(*this);
  if (oom_looks_-- > 0) oom_timer_.start(oom_look);
}

void Worker::on_timer() {
  switch (phase_) {
    case Phase::none:
      if (state_ == State::starting && !out_ended_) {
        return start_failed("no READY within " + to_string(agent().start_timeout) + " (start_timeout)");
      }
      if (out_ended_ && !exited_) {
        if (state_ == State::starting) return start_failed("closed its stdout before READY");
        kill_for(WorkerEnd::Cause::protocol_error,
                 command_name(agent()) + ": closed its stdout and lives on");
      }
      return;
    case Phase::asked:
      phase_ = Phase::terminated;
      group_->signal_all(SIGTERM);
      return timer_.start(term_to_kill_);
    case Phase::terminated:
      phase_ = Phase::killing;
      return sweep();
    case Phase::killing:
    case Phase::sweeping:
      return sweep();
  }
}

void Worker::on_exit(int status, int signal) {
  exited_ = true;
  group_->ended(status, signal);
  const bool was_asked = end_.has_value();
  WorkerEnd end = end_.value_or(WorkerEnd{});
  if (signal != 0) {
    end.signal = signal;
  } else {
    end.exit_code = status;
  }
  if (!was_asked) {
    const std::string how = signal != 0 ? std::string("killed by ") + ::strsignal(signal)
                                        : "exited with status " + std::to_string(status);
    if (state_ == State::starting) {
      end.cause = WorkerEnd::Cause::start_failed;
      const std::size_t complaint = last_words_.find(launcher_prefix);
      end.message =
          complaint == std::string::npos
              ? command_name(agent()) + ": " + how + " before READY"
              : last_words_.substr(complaint + launcher_prefix.size(),
                                   last_words_.find('\n', complaint) - complaint - launcher_prefix.size());
    } else {
      end.message = command_name(agent()) + ": " + how;
    }
    if (saw_oom()) {
      const bool own = hit_own_cap();
      end.cause = own ? WorkerEnd::Cause::memory_cap : WorkerEnd::Cause::memory_budget;
      end.message =
          own ? "exceeded its " + to_string(spec_.memory_limit) + " cap" : "the kernel needed its memory";
    }
  }
  end_ = end;
  if (phase_ == Phase::none || phase_ == Phase::asked || phase_ == Phase::terminated)
    phase_ = Phase::sweeping;
  enter(State::ending);
  sweep();
}

// Everything a worker started is gone when it ends. Repeats until the group is empty and the process was
// reaped.
void Worker::sweep() {
  timer_.stop();
  if (!empty_) {
    if (exited_ && phase_ == Phase::sweeping && swept_ == 0) {
      const auto left = group_->processes();
      if (left && !left->empty()) swept_ = static_cast<int>(left->size());
    }
    const auto none_left = group_->kill_all();
    empty_ = exited_ && none_left.value_or(false);
    if (!empty_) return timer_.start(sweep_pause);
    if (swept_ > 0) listener_.worker_swept(*this, swept_);
    swept_since_ = loop_.now();
    for (const auto& stream : {out_.get(), err_.get()})
      if (stream != nullptr) stream->hurry();
  }
  check_gone();
}

void Worker::check_gone() {
  if (state_ == State::gone || !exited_ || !empty_) return;
  if (!out_ended_ || !err_ended_) {
    // With all processes gone the pipes end by themselves, unless something outside the group holds them.
    if (loop_.now() - swept_since_ < late_output) return timer_.start(sweep_pause);
    if (!out_ended_ && out_ != nullptr) out_->pause();
    if (!err_ended_ && err_ != nullptr) err_->pause();
  }
  timer_.stop();
  enter(State::gone);
  listener_.worker_gone(*this, *end_);
}

bool Worker::note_reading(const GroupReading& reading) {
  memory_ = reading.used;
  peak_ = std::max(peak_, reading.used);
  const bool over = reading.used >= spec_.memory_warning;
  const bool crossed = over && !warned_;
  warned_ = over;
  return crossed;
}

bool Worker::hit_own_cap() const {
  // Charges are made in batches of up to 64 pages: the maximum may end that much below the limit.
  static constexpr Bytes slack = mebibytes(1);
  const Bytes most = group_->high_water();
  return most.count == 0 || most + slack >= spec_.memory_limit;
}

bool Worker::saw_oom() {
  const std::uint64_t kills = group_->oom_kills();
  if (kills > oom_kills_) oom_ = true;
  oom_kills_ = std::max(kills, oom_kills_);
  return oom_;
}

}  // namespace kurultai
