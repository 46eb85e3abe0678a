// One worker: a process tree in its memory group, and the conversation with it. It knows lines, slots and
// deadlines; what tasks mean is the dispatcher's business. It lives until its process has ended, its group is
// empty and its output was read to the end; then it says `worker_gone`, once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "governance/growth.h"
#include "governance/leak_watch.h"
#include "protocol/line_splitter.h"
#include "protocol/messages.h"
#include "protocol/oom_order.h"
#include "supervisor/memory/controller.h"
#include "supervisor/uv/process.h"

namespace kurultai {

class Worker;

/// How a worker ended.
struct WorkerEnd {
  enum class Cause : unsigned char {
    exited,          // by itself
    asked,           // by end(), or killed by kill() for a reason the caller knows
    memory_cap,      // the kernel killed inside its group for its own cap
    memory_budget,   // … though it was below its cap: the limit of all workers, or the machine, was full
    protocol_error,  // a line too long, malformed, or stdout closed
    start_failed,    // exit, wrong protocol or silence before READY, or no process at all
    unhealthy,       // asked to, or made to, because its checks failed
    group_lost,      // killed, because somebody took its memory group away: it had no cap any more
  };
  Cause cause = Cause::exited;
  std::string message;  // one line for people; names the command
  std::optional<int> exit_code;
  std::optional<int> signal;
};
std::string_view to_string(WorkerEnd::Cause cause);

class WorkerListener {
 public:
  virtual ~WorkerListener() = default;
  virtual void worker_ready(Worker& worker) = 0;
  virtual void worker_said(Worker& worker, FromAgent message) = 0;
  /// Text for the log: stderr, and lines on stdout that are no protocol messages (`noise`).
  virtual void worker_logged(Worker& worker, std::string_view text, bool noise) = 0;
  /// Something in the group may be waiting at its edge.
  virtual void worker_at_edge(Worker& worker) = 0;
  /// The kernel killed a process of the group. The worker goes on unless it is killed.
  virtual void worker_oom(Worker& worker) = 0;
  /// `count` processes outlived the worker's own end and were killed.
  virtual void worker_swept(Worker& worker, int count) = 0;
  /// It can take nothing more and is on its way out; its tasks are still its own until worker_gone.
  virtual void worker_ending(Worker& worker) = 0;
  /// Last call. The worker may be destroyed after this call has returned, not in it.
  virtual void worker_gone(Worker& worker, const WorkerEnd& end) = 0;
};

struct WorkerSpec {
  std::string id;
  std::shared_ptr<const AgentConfig> agent;
  Bytes memory_limit;
  Bytes memory_warning;
  std::size_t max_line = 0;
  int slots = 1;
  std::optional<unsigned> uid = {};  // that it runs as; absent: the supervisor's own
  bool is_spoken_to = true;          // else its stdin is at its end from the first
  // Whether the process that is started is ours (a host, a holder), and only those below it are the agent's.
  bool is_held = false;
  int oom_score_adj = usual_oom_score_adj;  // that it was launched with
};

class Worker {
 public:
  enum class State : unsigned char { starting, serving, ending, gone };

  /// `launch` holds the whole command. Starts at once; a process that cannot be started is reported by
  /// worker_gone in a later turn of the loop, like any other end.
  Worker(uv::Loop& loop, WorkerSpec spec, std::unique_ptr<WorkerGroup> group, const uv::SpawnOptions& launch,
         WorkerListener& listener);
  ~Worker();

  const std::string& id() const { return spec_.id; }
  const AgentConfig& agent() const { return *spec_.agent; }
  const WorkerSpec& spec() const { return spec_; }
  State state() const { return state_; }
  int pid() const { return pid_; }
  /// Why there was no process from the first; nothing where there was one.
  const std::optional<Error>& never_started() const { return never_started_; }
  TimePoint started() const { return started_; }
  /// From its start to READY; so far, while there was none.
  Duration cold_start() const;
  /// When it was told to end.
  TimePoint ending_since() const { return ending_since_; }

  // Slots. A task takes one when it is assigned, while the worker is starting too.
  const std::vector<std::string>& tasks() const { return tasks_; }
  int free_slots() const;
  void take_slot(const std::string& task_id) { tasks_.push_back(task_id); }
  void free_slot(const std::string& task_id, TimePoint now);
  TimePoint idle_since() const { return idle_since_; }
  int tasks_done() const { return tasks_done_; }
  /// It takes no more tasks; whoever frees its last slot has to end it.
  void retire() { retiring_ = true; }
  bool is_retiring() const { return retiring_; }

  void send(const ToAgent& message);
  /// Bytes sent that the agent has not read; what lies in the pipe itself not counted.
  std::size_t unread() const;
  /// Reads what already lies in the stderr pipe, so that a task's last words are in its log before its end is
  /// told.
  void drain_stderr();
  /// Back-pressure on what the agent says.
  void pause_output();
  void resume_output();
  /// From worker_said: what it says now brings a task forward. Else what it says has its limit, see Stream.
  void answered();

  /// How soon the kernel is to take it when the machine is out of memory (protocol/oom_order.h): written to
  /// all that is inside now, best effort, where it is another than before.
  void rank(int oom_score_adj);

  /// Stands still, with all that it started, until resume(), end, terminate or kill. Its slots are not free.
  Result<void> suspend();
  void resume();
  bool is_suspended() const { return suspended_; }

  /// SHUTDOWN and end of input; after `grace` SIGTERM to the tree; a second later SIGKILL.
  void end(Duration grace);
  void end_for(WorkerEnd::Cause cause, std::string message, Duration grace);
  /// SIGTERM to the tree now, SIGKILL after `then`.
  void terminate(Duration then);
  void kill();
  void kill_for(WorkerEnd::Cause cause, std::string message);
  /// Processes that outlived it and are still being killed.
  int orphans() const { return empty_ ? 0 : swept_; }
  bool killed() const { return phase_ == Phase::killing || phase_ == Phase::sweeping; }

  WorkerGroup& group() { return *group_; }
  /// Takes a reading into account: the peak, and the warning. True when the warning mark was crossed upwards.
  bool note_reading(const GroupReading& reading);
  Bytes memory() const { return memory_; }
  Bytes peak() const { return peak_; }
  void reset_peak() { peak_ = memory_; }
  /// Whether the kernel killed inside the group since forget_oom. Looks at the counter, which may be ahead of
  /// the event.
  bool saw_oom();
  void forget_oom() { oom_ = false; }
  /// After a kill by the kernel: whether the group had reached its own cap. Where the kernel keeps no
  /// maximum: true.
  bool hit_own_cap() const;

  HeapFigures heap;
  LeakWatch leak;
  GrowthWatch growth;
  std::uint64_t noise_lines = 0;
  std::uint64_t unknown_messages = 0;

 private:
  enum class Phase : unsigned char { none, asked, terminated, killing, sweeping };

  void on_output(std::string_view bytes);
  bool on_line(LineSplitter::Line line);
  void on_message(FromAgent message);
  void on_exit(int status, int signal);
  void on_oom();
  void on_timer();
  void protocol_error(std::string message);
  void start_failed(std::string message);
  void enter(State state);
  void sweep();
  void check_gone();

  uv::Loop& loop_;
  WorkerSpec spec_;
  WorkerListener& listener_;
  std::unique_ptr<WorkerGroup> group_;
  std::unique_ptr<uv::Process> process_;
  std::unique_ptr<uv::Stream> in_;
  std::unique_ptr<uv::Stream> out_;
  std::unique_ptr<uv::Stream> err_;
  std::unique_ptr<uv::FdWatch> oom_watch_;
  uv::Timer timer_;
  uv::Timer oom_timer_;
  LineSplitter lines_;

  State state_ = State::starting;
  Phase phase_ = Phase::none;
  bool exited_ = false;  // the process itself
  bool empty_ = false;   // its group
  bool out_ended_ = false;
  bool err_ended_ = false;
  Duration term_to_kill_{1000};
  std::optional<WorkerEnd> end_;  // the first cause stays
  std::optional<Error> never_started_;
  int pid_ = 0;
  TimePoint started_;
  std::optional<TimePoint> ready_;
  TimePoint ending_since_;
  TimePoint idle_since_;
  TimePoint swept_since_;
  int swept_ = 0;
  std::vector<std::string> tasks_;
  int tasks_done_ = 0;
  bool retiring_ = false;
  bool suspended_ = false;
  Bytes memory_;
  Bytes peak_;
  bool warned_ = false;
  std::uint64_t oom_kills_ = 0;
  bool oom_ = false;
  int oom_looks_ = 0;
  std::string last_words_;  // the launcher's complaint, for a start that failed
};

}  // namespace kurultai
