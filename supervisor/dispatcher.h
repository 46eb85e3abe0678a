// The centre: brings tasks and workers together. Everything that happens to a task happens here: submission,
// start, messages, cancellation, preemption, end. Loop thread only.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "governance/admission.h"
#include "governance/agent_metrics.h"
#include "governance/breaker_table.h"
#include "governance/circuit_breaker.h"
#include "governance/footprint.h"
#include "governance/governor.h"
#include "governance/leak_watch.h"
#include "governance/suspension.h"
#include "governance/task_queue.h"
#include "governance/verdict.h"
#include "governance/wait_estimate.h"
#include "supervisor/checking.h"
#include "supervisor/events.h"
#include "supervisor/memory_curve.h"
#include "supervisor/monitor.h"
#include "supervisor/recorder.h"
#include "supervisor/store/footprint_file.h"
#include "supervisor/store/journal.h"
#include "supervisor/store/spool.h"
#include "supervisor/store/task_logs.h"
#include "supervisor/store/task_table.h"
#include "supervisor/workers/fill_command.h"
#include "supervisor/workers/grants.h"
#include "supervisor/workers/pool.h"

namespace kurultai {

struct Submission {
  std::string agent;
  JsonText payload;
  PayloadFile payload_file = {};  // instead of it; belongs to the task once it is accepted
  std::optional<Priority> priority;
  std::optional<Duration> timeout;
  std::optional<int> retries;
  std::string idempotency_key;
  std::string size_class = {};
};

struct Refusal {
  enum class Code : unsigned char {
    queue_full,
    memory_pressure,
    circuit_open,
    draining,
    invalid_task,
    unknown_agent,
    key_conflict,
    storage_unavailable
  } code;
  std::string message;
  std::chrono::seconds retry_after{0};  // 0: trying again does not help
};
std::string_view to_string(Refusal::Code code);

enum class CancelAnswer : unsigned char { accepted, already_finished, not_found };

/// Counters and figures for `/metrics`, `/v1/agents` and the like.
struct AgentFigures {
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  std::map<FailReason, std::uint64_t> failures = {};  // what those failed of
  std::uint64_t cancelled = 0;
  std::uint64_t evicted = 0;
  std::uint64_t running = 0;
};

class Dispatcher : public WorkerListener {
 public:
  Dispatcher(uv::Loop& loop, std::shared_ptr<const Config> config, Controller& controller, Events& events,
             PoolSettings pool, std::string spool_directory, std::string log_directory);
  ~Dispatcher() override;

  /// The monitor is made after the dispatcher (it asks it for `activity`) and is told of changes through
  /// this.
  void attach(Monitor& monitor) { monitor_ = &monitor; }

  /// All that policies see and decide from now on is told to it. Before `keep_tasks`.
  void record(Recorder& recorder) { recorder_ = &recorder; }

  using Answer = std::function<void(std::expected<const Task*, Refusal>)>;
  /// Answers once the task is accepted for good, which is at once where nothing has to be written down.
  void submit(Submission submission, Answer answer);
  using BatchAnswer = std::function<void(std::size_t at, const std::expected<const Task*, Refusal>&)>;
  /// Each as if it came alone, in their order, but all that is accepted in one commit. `answer` is told of
  /// every one, by its place.
  void submit(std::vector<Submission> batch, const BatchAnswer& answer);
  /// Whether it would be refused now, whatever its payload.
  bool would_refuse(const Submission& submission) const;
  /// Refuses one whose payload has not come, if it would be refused with it.
  std::optional<Refusal> turn_away(const Submission& submission);
  /// Use `when_kept` before anybody is told.
  CancelAnswer cancel(const std::string& task_id, const std::string& reason);
  /// Calls back when what has become of the task so far would outlive the supervisor; with nullptr if it has
  /// been dropped by then.
  void when_kept(const std::string& task_id, std::function<void(const Task*)> then);
  void on_reading(const MemorySnapshot& snapshot);
  void configure(std::shared_ptr<const Config> config);

  /// Refuses new work, waits for what runs up to `limit`, then preempts it and ends all workers. Safe to call
  /// again: every caller is answered, with the same statistics, and a shorter limit hurries. `done` gets them
  /// when all workers are gone.
  void drain(Duration limit, std::function<void(const DrainStatistics&)> done);
  /// Called once, when everybody who asked for the drain has been told.
  void on_drained(std::function<void()> callback) { on_drained_ = std::move(callback); }
  /// Ends all workers now, whatever their tasks still want to save. For a drain that is to take no longer.
  void kill_workers() {
    checking_.stop();
    pool_.kill_all();
  }
  /// Learned footprints are read from `path`, and kept there. Without it they are forgotten at the end.
  void keep_footprints(const std::string& path);
  /// Why what was learned cannot be kept; empty: it can.
  std::string footprint_trouble() const {
    return footprint_file_ ? footprint_file_->trouble() : std::string();
  }
  /// Homes and tmps that an earlier supervisor of this state directory has left.
  void remove_old_places() { pool_.remove_old_places(); }
  /// Tasks are kept in `journal`, and those that were in it go on: what waited waits, what ran runs again, or
  /// fails where it may run once only. To be called before the loop runs.
  void keep_tasks(Journal& journal, std::vector<Task> known);
  /// Every task that the journal has to have.
  std::vector<const Task*> tasks_to_keep() const;
  /// What all workers together may hold: the budget less the supervisor's reserve.
  void set_workers_total(Bytes total) { grants_.set_total(total); }
  Bytes workers_total() const { return grants_.total(); }
  /// What stands in the way of governing, in words; empty: nothing.
  std::string trouble() const;
  /// Whether they may still grow beyond that, because it was lowered.
  bool workers_are_overdrawn() const { return grants_.is_overdrawn(); }
  bool is_draining() const { return draining_since_.has_value(); }
  /// On the loop's clock, as a task's `not_before`.
  TimePoint now() const { return loop_.now(); }

  // What others look at.
  const TaskTable& tasks() const { return tasks_; }
  TaskLogs& logs() { return logs_; }
  const TaskQueue& queue() const { return queue_; }
  const Governor& governor() const { return governor_; }
  const TimeToAct& time_to_act() const { return time_to_act_; }
  const Pool& pool() const { return pool_; }
  const Config& config() const { return *config_; }
  const std::map<std::string, CircuitBreaker>& breakers() const { return breakers_; }
  /// Of what agents call, by the names they give.
  const std::map<std::string, CircuitBreaker>& called_breakers() const { return called_breakers_.all(); }
  /// How long a waiting task is held back for now because its agent keeps failing; 0: it is not.
  Duration held_back_for(const Task& task) const;
  const LeakVerdict& own_leak() const { return own_leak_.verdict(); }
  const DrainStatistics& drain_statistics() const { return drain_statistics_; }
  std::vector<UsedAt> memory_curve() const { return curve_.points(); }
  const Footprints& footprints() const { return footprints_; }
  /// What it is expected to use: the larger of what was learned and what it has shown; at most its cap.
  Bytes footprint_of(const Task& task) const;
  /// Of any task of this agent and size class: what was learned, or guessed while there is little to learn
  /// from.
  Bytes footprint_of(const std::string& agent, const std::string& size_class, Bytes cap) const;
  /// Whether it would fit now, were it the next.
  Admission room_for(const Task& task) const;
  /// Whether the next task waits for room, and with it all behind it.
  bool waits_for_room() const { return waits_for_room_; }
  /// `workers.max`, or what auto is.
  int worker_limit() const { return most_workers(*config_, budget()); }
  /// What is known of a worker: of one with a task that must make progress, by that; else by its checks.
  WorkerHealth health_of(const Worker& worker) const;
  const Checking& checking() const { return checking_; }
  /// Workers that stand still, and how far they are paged out.
  const std::vector<Suspended>& suspended() const { return suspended_; }
  AgentFigures figures(const std::string& agent) const;
  /// What agents tell of themselves, by agent.
  const std::map<std::string, AgentMetrics::OfAgent>& agent_metrics() const { return agent_metrics_.all(); }
  /// What a running task has brought so far of its result, in this attempt: in memory or in a file that
  /// grows.
  struct PartialResult {
    std::string file;       // may not be there yet; empty: it is
    std::string_view text;  // valid until the loop goes on
  };
  std::optional<PartialResult> partial_result(const std::string& task_id) const;
  /// Where a large result of the present attempt is kept: another attempt has another name.
  std::string result_file(const Task& task) const;
  Monitor::Activity activity() const;
  /// What the server of an mcp agent offers; empty until it was started for the first time.
  std::span<const Tool> tools_of(const std::string& agent) const;
  /// Whether new work is taken right now, and if not why.
  std::optional<Refusal> refusal(Priority priority = Priority::normal) const;
  /// Why a task of normal priority would be refused now, whatever its agent and its payload.
  std::optional<Refusal> unready() const;
  /// Calls back whenever the log of a task has grown or the task has ended.
  void on_log(std::function<void(const Task&)> callback) { on_log_ = std::move(callback); }
  /// Pieces of log and result of noise, for metrics.
  std::uint64_t noise_lines() const { return noise_lines_; }

  // WorkerListener
  void worker_ready(Worker& worker) override;
  void worker_said(Worker& worker, FromAgent message) override;
  void worker_logged(Worker& worker, std::string_view text, bool noise) override;
  void worker_at_edge(Worker& worker) override;
  void worker_oom(Worker& worker) override;
  void worker_swept(Worker& worker, int count) override;
  void worker_ending(Worker& worker) override;
  void worker_gone(Worker& worker, const WorkerEnd& end) override;

 private:
  /// Why a run was stopped, and by which decision.
  struct Stop {
    Stop() = default;                 // no aggregate: g++ 12 warns of a `Run{}` otherwise, without reason
    std::string correlation_id = {};  // of the decision that stopped it
    std::string chosen_by = {};  // of the first decision against it: a later one may only have hurried it
    TimePoint decided = {};      // when that was
    std::string why = {};        // preempt, kill, …
    Duration reaction = {};      // from the decision to the end of the run
  };

  /// One attempt of a task on a worker.
  struct Run {
    Task& task;
    Worker* worker;
    std::shared_ptr<const AgentConfig> agent;
    Intent intent = Intent::none;
    bool sent = false;       // TASK went out
    bool finishing = false;  // its answer is in; only its spooled result is still being written
    Stop stop = {};
    TimePoint taken = {};  // when it got its slot; its worker may still have had to start
    TimePoint last_progress = {};
    TimePoint saved = {};   // what it did since then would be lost
    bool let_in = false;    // started above the preempt threshold, knowingly: not preempted for that
    bool spared = false;    // governance is off: it would have been killed, and is said so once for a while
    bool alone = false;     // it did not fit, and was let in because nothing else ran
    Bytes footprint = {};   // that it was let in with
    bool learned = false;   // … which is what tasks like it used
    Bytes found = {};       // that its worker held already: a warm one keeps memory of earlier tasks
    bool declined = false;  // it may run once only and did not answer PREEMPT
    std::optional<TimePoint> back_by = {};  // its memory is expected by then
    TimePoint suspend_after = {};           // not before
    TimePoint next_told = {};               // when its progress may be told again
    std::unique_ptr<uv::Timer> timer = {};  // deadline, then the steps of stopping
    std::string chunks = {};                // result pieces while they are few
    std::unique_ptr<SpoolFile> spool = {};  // and when they are many
  };
  /// Memory that was asked for may be awaited so long after its owner's last deadline.
  static constexpr Duration settle{2000};
  static constexpr Duration last_writes{5000};  // when all else has ended, the journal has so long
  static constexpr Duration idle_grace{1000};   // a worker without a task has nothing to save

  enum class Step : unsigned char { suspend, preempt, kill };

  /// How a run ended, before it is judged.
  struct Outcome {
    Ending ending;
    std::string message = {};
    std::string stack = {};
    bool retryable = true;
    std::optional<int> exit_code = {};
    std::optional<int> signal = {};
    Bytes cap = {};  // that it died of, if it did
  };

  /// One look through the queue for the next task to start.
  struct Look {
    std::vector<WorkerView> workers;
    int most_workers;
    Task* task = nullptr;                   // last looked at,
    Placement placement = WaitForWorker{};  // its place
    Admission admission = WaitForRoom{};    // and what it is told
    Task* asks = nullptr;                   // it is told that room can be made for it,
    std::string worker = {};                // in this worker, or in a new one
    bool closed = false;                    // nobody behind it may start
    std::vector<Task*> passed = {};         // they wait for room, and let others of their level go first
  };

  /// While one lives nothing starts; whoever holds pumps when all is in order again.
  class Hold {
   public:
    explicit Hold(bool& pumping) : pumping_(pumping), before_(std::exchange(pumping, true)) {}
    ~Hold() { pumping_ = before_; }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    bool& pumping_;
    bool before_;
  };

  // dispatcher.cc: what waits gets a worker
  static QueuedTask queued(Task& task) { return {task.id, task.agent, task.priority, &task}; }
  void pump();
  bool start_next();
  bool starts_now(const QueuedTask& waiting, Look& look);
  std::vector<WorkerView> worker_views() const;
  bool may_start(Task& task);
  void start(Task& task, const Look& look, bool alone);
  void skip_heartbeat(Task& task);
  void arm_pump(TimePoint when);
  void housekeeping();
  void count_payload(std::int64_t bytes);
  std::shared_ptr<const AgentConfig> agent_of(const std::string& name) const;
  void change_agent(const std::string& name, const Config& before);
  Bytes limit_of(const Task& task) const;
  WantedWorker wanted_worker(const Task& task) const;

  // submitting.cc: what is accepted, and what is cancelled while it waits
  void refuse(const Submission& submission, Priority priority, const Refusal& refusal);
  void submit_again(const Task& known, const Submission& submission, Answer answer);
  static Refusal cannot_keep(const std::string& why);
  std::optional<Refusal> no_place(const QueuedTask& waiting) const;
  std::optional<Refusal> objection_to(const Submission& submission, Priority priority) const;
  std::expected<void, Refusal> check(const Submission& submission, Priority priority);
  std::expected<FilledCommand, Refusal> command_of(const Submission& submission,
                                                   const AgentConfig& agent) const;
  void end_waiting(Task& task, TaskState state, FailReason reason, std::string message);
  Turns::Line line_for(Priority priority) const;

  // admitting.cc: what fits
  Bytes largest_cap() const;
  void learn_footprint(const Task& task);
  bool is_learned(const Task& task) const;
  std::optional<Bytes> guessed_footprint() const;
  Bytes budget() const;
  WorkerLoad load_of(const Worker& worker) const;
  WorkerLoad load_of(const Worker& worker, std::span<const Run* const> runs) const;  // with its runs
  std::vector<Candidate> outranked(std::string_view worker) const;
  std::vector<WorkerLoad> loads() const;
  RoomQuestion room_question(const Task& task, std::string_view worker,
                             std::span<const WorkerLoad> loads) const;
  Admission admission_of(const Task& task, const Placement& placement) const;
  bool finds_room(Task& task, Look& look);
  void make_room(const Look& look, const MakeRoom& room);
  void keep_receipt(const Look& look, const MakeRoom& room);
  void withhold(Task& task, const Admission& answer);
  Bytes committed_with(const Task& task, const Placement& placement) const;

  // governing.cc: the side of memory
  void end_lost_workers();
  void note_lines(const MemorySnapshot& snapshot);
  void note_left_behind(const MemorySnapshot& snapshot);
  void note_reading(Worker& worker, const GroupReading& reading);
  std::vector<Candidate> candidates() const;
  void keep_receipt(const Situation& situation, TimePoint now, std::span<const Action> actions);
  Receipt new_receipt(TimePoint now) const;
  void hand_out(Receipt receipt);
  void note_rung(const char* name, std::optional<Bytes> freed = {}, std::optional<TimePoint> since = {});
  Situation situation(const MemorySnapshot& snapshot, std::span<const Candidate> running,
                      TimePoint now) const;
  void note_growth(const MemorySnapshot& snapshot);
  void note_foreseen(const Prediction& prediction, std::span<const Action> actions);
  bool kill_can_wait(const MemorySnapshot& snapshot);
  bool reclaim(Bytes cache);
  bool awaits_reclaim() const { return reclaiming_ && loop_.now() < reclaim_until_; }
  bool has_room();
  bool governs_edges() const { return controller_.has_edges() && config_->flags.memory_governance; }
  void apply(const Action& action, const MemorySnapshot& snapshot);
  void govern(const std::string& task_id, Step step, double ratio);

  // recording.cc: what is told to a recorder, where there is one
  template <typename Record>
  void record(const Record& what) {
    if (recorder_ != nullptr) recorder_->note(what);
  }
  void record_reading(const MemorySnapshot& snapshot, const Situation& seen, TimePoint now,
                      std::span<const Action> actions, bool put_off);
  void record_submitted(const Task& task, std::span<const std::string> evicted);
  void record_returned(const Task& task, std::string_view why);
  void record_ended(const Task& task, TaskState state);

  // leaking.cc
  void look_for_leaks(const MemorySnapshot& snapshot);
  void tell_of_leak(LeakNews news, const LeakSuspected& found, Bytes cap);

  // suspending.cc: workers that stand still for a while
  void mark_suspendable(std::vector<Candidate>& running);
  void suspend(Worker& worker, const std::string& correlation);
  void paged_out(std::uint64_t suspension);
  void resume(Worker& worker);
  void resume_next(const MemorySnapshot& snapshot);
  bool outranked_by_suspended(Priority priority) const;

  // running.cc: a task goes to its worker
  void begin(Run& run);
  void rank(Worker& worker);
  Run* find_begun(const std::string& task_id, const std::optional<WallTime>& begin);
  void deliver(Run& run);
  void send(Run& run);
  void send_task(Run& run);
  static std::string result_name(const Task& task);

  // stopping.cc: step by step
  void on_deadline(const std::string& task_id);
  void stop_run(Run& run, Intent intent, std::string why);
  void next_stop_step(Run& run);
  void end_if_retired(Worker& worker);

  // hearing.cc: what workers say
  void on_unhealthy(Worker& worker);
  Run* find_run(Worker& worker, const std::string& task_id);
  void add_to_log(Task& task, std::string_view text);
  void log_written(const std::string& task_id, std::int64_t kept);
  void on_message(Run& run, Complete message);
  void on_message(Run& run, Failed message);
  void on_message(Run& run, Progress message);
  bool tells_progress(Run& run);
  void on_message(Run& run, Chunk message);
  void on_message(Run& run, Checkpoint message);
  void on_message(Run& run, Preempted message);

  // ending.cc: how a run ends, and what becomes of its task
  void take_result(Run& run, JsonText result, std::int64_t file_bytes);
  void end_run(Run& run, Outcome outcome);
  void end_runs(const std::vector<std::string>& tasks, const WorkerEnd& end);
  void conclude(const std::string& task_id, const Outcome& outcome);
  RunPolicy policy_of(const Run& run, const Outcome& outcome) const;
  std::optional<Bytes> larger_cap(const Run& run, const Outcome& outcome) const;
  void note_memory_death(Task& task, const Outcome& outcome);
  /// Puts down how long the decision that stopped it took to have its way.
  void note_reaction(Run& run);
  /// Tells of what became of a run that was stopped, under the decision that stopped it if there was one.
  void tell_of_stop(const Stop& stop, TaskEvent event);
  void send_back(Run& run, TaskEvent::Kind kind, std::string_view why);
  void count_outcome(const Task& task);

  // breaking.cc: the side of the circuit breakers
  CircuitBreaker& breaker_of(const std::string& agent);
  Duration open_for(const std::string& agent) const;
  bool is_held_back(const Task& task);
  void ask_breaker(const Task& task);
  void tell_breaker(const Task& task, const Verdict& verdict, bool in_vain);
  void give_probe_back(const Task& task);
  void on_breaker(Worker& worker, const BreakerRequest& request);

  // keeping.cc: what has to outlive the supervisor, and the end of a task, which is told once it does
  void accept(Task& task, std::vector<std::string> evicted, Answer answer);
  void accepted(const std::string& task_id, const std::vector<std::string>& evicted);
  void not_accepted(const std::string& task_id, const std::vector<std::string>& evicted,
                    const std::string& why);
  void keep(const Task& task);
  void finish(Task& task, TaskState state, std::optional<TaskError> error, const Stop* stop = nullptr);
  void write_end(Task& task, TaskState state, std::optional<TaskError> error);
  void tell_of_end(Task& task, const Stop* stop);
  void go_on_with(Task& task, std::vector<QueuedTask>& ran);

  // drain.cc
  void check_drained();
  bool is_writing();

  uv::Loop& loop_;
  std::shared_ptr<const Config> config_;
  std::map<std::string, std::shared_ptr<const AgentConfig>> agents_;
  Controller& controller_;
  Events& events_;
  Monitor* monitor_ = nullptr;
  Recorder* recorder_ = nullptr;
  std::string spool_directory_;
  std::int64_t payload_bytes_ = 0;  // in files, of tasks that have not ended
  Journal* journal_ = nullptr;
  std::map<std::string, std::vector<Answer>> unanswered_;  // by the task that is being accepted
  TaskLogs logs_;
  std::size_t settling_ = 0;  // tasks whose end is being written down
  TaskTable tasks_;
  TaskQueue queue_;
  Governor governor_;
  TimeToAct time_to_act_;
  Pool pool_;
  Checking checking_;
  Grants grants_;
  MemoryCurve curve_;
  LeakWatch own_leak_;
  std::vector<Rung> rungs_;  // taken since memory was last below the lowest threshold; the newest few
  Footprints footprints_;
  std::unique_ptr<FootprintFile> footprint_file_;
  bool waits_for_room_ = false;   // a task does
  TimePoint groups_looked_at_;    // whether they are all there
  bool at_kill_ = false;          // the reading before this one was
  bool kill_is_put_off_ = false;  // what the last decision chose is killed if the next reading says so too
  Bytes kill_line_;               // as it was then
  Bytes line_before_lowering_;
  TimePoint lowered_until_;  // so long those who have to give way for a lowered line are not killed
  Bytes stray_;              // what is charged to all workers and to none of them
  Bytes left_behind_;        // of that, what no reclaim can get; when it is much
  std::optional<TimePoint> left_behind_since_;
  bool reclaiming_ = false;
  TimePoint reclaim_until_;  // page cache is awaited: its disk may hang, and others wait for memory
  std::vector<Suspended> suspended_;
  std::uint64_t suspensions_ = 0;
  TimePoint resume_at_;      // the next of them, not before
  TimePoint reclaim_again_;  // page cache that was not given back just now will not be in a moment
  ServiceTime service_time_;
  Spells memory_refusals_;
  Turns turns_;                                     // of those who were refused
  std::map<std::string, CircuitBreaker> breakers_;  // by agent; who asks them are tasks
  BreakerTable called_breakers_;                    // who asks these are workers
  std::map<std::string, Run> runs_;                 // by task id
  std::map<std::string, AgentFigures> figures_;
  AgentMetrics agent_metrics_;
  std::map<std::string, std::vector<Tool>> tools_;  // of mcp agents, as their servers told last
  std::function<void(const Task&)> on_log_;
  uv::Timer pump_timer_;
  TimePoint pump_at_;    // when it is running
  TimePoint room_at_;    // before then no new worker: the kernel had no room for a group
  std::string no_room_;  // what it said the last time
  uv::Timer housekeeping_timer_;
  TimePoint
      startable_since_;  // when what is being started now could be: its worker was there, or became READY
  bool pumping_ = false;
  bool pump_again_ = false;
  std::uint64_t decisions_ = 0;  // for correlation ids
  std::uint64_t noise_lines_ = 0;

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::optional<TimePoint> draining_since_;
  TimePoint drain_until_;
  bool drain_ran_out_ = false;  // of time: runs were stopped
  bool drained_ = false;        // and the statistics stay what they are
  DrainStatistics drain_statistics_;
  std::vector<std::function<void(const DrainStatistics&)>> drain_callbacks_;
  std::function<void()> on_drained_;
  uv::Timer drain_timer_;
};

}  // namespace kurultai
