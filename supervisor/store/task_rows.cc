#include "supervisor/store/task_rows.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr std::int64_t own_format = 0x4b75726c;  // "Kurl", SQLite's application_id
constexpr std::int64_t newest_schema = 3;

constexpr const char* schema_1 = R"(
CREATE TABLE submitted(
  id TEXT PRIMARY KEY NOT NULL, agent TEXT NOT NULL, payload TEXT NOT NULL, priority TEXT NOT NULL,
  timeout_ms INTEGER NOT NULL, retries INTEGER NOT NULL, memory_limit INTEGER, idempotency_key TEXT NOT NULL,
  size_class TEXT NOT NULL, submitted_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE progress(
  id TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL, cancel_asked INTEGER NOT NULL, attempt INTEGER NOT NULL, preemptions INTEGER NOT NULL,
  started_ms INTEGER, finished_ms INTEGER, waited_ms INTEGER NOT NULL, ran_ms INTEGER NOT NULL,
  worker TEXT NOT NULL, percent REAL, message TEXT NOT NULL, peak_bytes INTEGER NOT NULL, checkpoint TEXT NOT NULL,
  result TEXT NOT NULL, result_file TEXT NOT NULL, result_bytes INTEGER NOT NULL, error TEXT NOT NULL,
  receipts TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = 0x4b75726c;
PRAGMA user_version = 1;
)";

/// Payloads that came as bytes.
constexpr const char* schema_2 = R"(
ALTER TABLE submitted ADD COLUMN payload_file TEXT NOT NULL DEFAULT '';
ALTER TABLE submitted ADD COLUMN payload_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE submitted ADD COLUMN payload_digest TEXT NOT NULL DEFAULT '';
PRAGMA user_version = 2;
)";

/// Caps that grew, and what a task that runs again has gone through.
constexpr const char* schema_3 = R"(
ALTER TABLE progress ADD COLUMN grown_limit INTEGER;
ALTER TABLE progress ADD COLUMN memory_deaths TEXT NOT NULL DEFAULT '';
ALTER TABLE progress ADD COLUMN past TEXT NOT NULL DEFAULT '';
PRAGMA user_version = 3;
)";

/// Each brings a file from the version before it to its own.
constexpr std::array schemas = {schema_1, schema_2, schema_3};
static_assert(schemas.size() == newest_schema);

constexpr std::string_view insert_sql =
    "INSERT OR REPLACE INTO submitted VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
constexpr std::string_view replace_sql =
    "INSERT OR REPLACE INTO progress VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, "
    "?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";
constexpr std::string_view load_sql =
    "SELECT s.id, agent, payload, priority, timeout_ms, retries, memory_limit, idempotency_key, size_class, "
    "submitted_ms, state, attempt, preemptions, started_ms, finished_ms, waited_ms, ran_ms, worker, message, "
    "peak_bytes, checkpoint, result, result_file, result_bytes, error, receipts, cancel_asked, percent, "
    "payload_file, payload_bytes, payload_digest, grown_limit, memory_deaths, past "
    "FROM submitted AS s LEFT JOIN progress AS p ON p.id = s.id ORDER BY s.id";

std::int64_t milliseconds_of(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

WallTime time_of(std::int64_t milliseconds) { return WallTime(std::chrono::milliseconds(milliseconds)); }

std::optional<std::int64_t> milliseconds_of(const std::optional<WallTime>& time) {
  return time ? std::optional(milliseconds_of(*time)) : std::nullopt;
}

std::string last_part_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string text_of(const TaskError& error) {
  return to_text({{"reason", to_string(error.reason)},
                  {"message", error.message},
                  {"stack", error.stack},
                  {"exitCode", error.exit_code ? json(*error.exit_code) : json()},
                  {"signal", error.signal ? json(*error.signal) : json()},
                  {"quarantined", error.quarantined}});
}

std::optional<int> number_in(const json& object, const char* name) {
  const json& value = object.at(name);
  return value.is_null() ? std::nullopt : std::optional(value.get<int>());
}

TaskError parse_error(const json& object) {
  TaskError error;
  error.reason = parse_fail_reason(object.at("reason").get<std::string>()).value();
  error.message = object.at("message").get<std::string>();
  error.stack = object.at("stack").get<std::string>();
  error.exit_code = number_in(object, "exitCode");
  error.signal = number_in(object, "signal");
  error.quarantined = object.value("quarantined", false);
  return error;
}

std::string text_of(const std::vector<TaskReceipt>& receipts) {
  std::string all;
  for (const TaskReceipt& one : receipts) all += (all.empty() ? "[" : ",") + to_json(one);
  return all + "]";
}

std::vector<TaskReceipt> parse_receipts(const json& all) {
  std::vector<TaskReceipt> receipts;
  for (const json& one : all)
    receipts.push_back({one.at("id").get<std::string>(), nullptr, to_text(one), {}});
  return receipts;
}

std::string text_of(const std::vector<MemoryDeath>& deaths) {
  json all = json::array();
  for (const MemoryDeath& one : deaths)
    all.push_back({one.cap.count, one.peak.count, one.ran.count(), milliseconds_of(one.at)});
  return to_text(all);
}

std::vector<MemoryDeath> parse_deaths(const json& all) {
  std::vector<MemoryDeath> deaths;
  for (const json& one : all) {
    const auto figure = [&](std::size_t at) { return one.at(at).get<std::int64_t>(); };
    deaths.push_back({{figure(0)}, {figure(1)}, Duration(figure(2)), time_of(figure(3))});
  }
  return deaths;
}

/// [dropped, [state, time, attempt, why], …]: most tasks have none.
std::string text_of(const TaskPast& past) {
  if (past.kept.empty()) return {};
  json all = json::array({past.dropped});
  for (const Transition& one : past.kept)
    all.push_back({to_string(one.state), milliseconds_of(one.at), one.attempt, one.why});
  return to_text(all);
}

TaskPast parse_past(const json& all) {
  TaskPast past;
  past.dropped = all.at(0).get<int>();
  past.kept.reserve(all.size() - 1);
  for (std::size_t at = 1; at < all.size(); ++at) {
    const json& one = all.at(at);
    past.kept.push_back({parse_task_state(one.at(0).get<std::string>()).value(),
                         time_of(one.at(1).get<std::int64_t>()), one.at(2).get<int>(),
                         one.at(3).get<std::string>()});
  }
  return past;
}

void read_progress(const Statement& row, Task& task) {
  task.state = parse_task_state(row.text(10)).value();
  task.cancel_asked = row.number(26) != 0;
  if (!row.is_null(27)) task.progress = row.real(27);
  task.attempt = static_cast<int>(row.number(11));
  task.preemptions = static_cast<int>(row.number(12));
  if (!row.is_null(13)) task.started_at = time_of(row.number(13));
  if (!row.is_null(14)) task.finished_at = time_of(row.number(14));
  task.waited = Duration(row.number(15));
  task.ran = Duration(row.number(16));
  task.worker_id = row.text(17);
  task.message = row.text(18);
  task.peak = {row.number(19)};
  task.checkpoint = row.text(20);
  task.result = {row.text(21), row.text(22), row.number(23)};
  if (const std::string error = row.text(24); !error.empty()) task.error = parse_error(json::parse(error));
  if (const std::string receipts = row.text(25); !receipts.empty())
    task.receipts = parse_receipts(json::parse(receipts));
  if (!row.is_null(31)) task.grown_limit = Bytes{row.number(31)};
  if (const std::string deaths = row.text(32); !deaths.empty())
    task.memory_deaths = parse_deaths(json::parse(deaths));
  if (const std::string past = row.text(33); !past.empty()) task.past = parse_past(json::parse(past));
}

/// Throws on what no release has written.
Task read_task(const Statement& row) {
  Task task;
  task.id = row.text(0);
  task.agent = row.text(1);
  task.payload = row.text(2);
  task.priority = parse_priority(row.text(3)).value();
  task.timeout = Duration(row.number(4));
  task.retries = static_cast<int>(row.number(5));
  if (!row.is_null(6)) task.memory_limit = Bytes{row.number(6)};
  task.idempotency_key = row.text(7);
  task.size_class = row.text(8);
  task.submitted_at = time_of(row.number(9));
  task.durable = task.accepted = true;
  task.payload_file = {row.text(28), row.number(29), row.text(30)};
  if (!row.is_null(10)) read_progress(row, task);
  return task;
}

Result<bool> prepare_schema(Database& database) {
  const auto format = database.number("PRAGMA application_id");
  if (!format) return std::unexpected(format.error());
  const auto schema = database.number("PRAGMA user_version");
  if (!schema) return std::unexpected(schema.error());
  const auto tables = database.number("SELECT count(*) FROM sqlite_schema");
  if (!tables) return std::unexpected(tables.error());
  const bool is_new = *tables == 0 && *format == 0;
  if (!is_new && *format != own_format) return failure("is a database of another program");
  if (*schema > newest_schema)
    return failure("was written by a newer kurultaid (schema " + std::to_string(*schema) +
                   ", this one knows up to " + std::to_string(newest_schema) + ")");
  std::string steps;  // all of them or none
  for (std::int64_t version = is_new ? 0 : *schema; version < newest_schema; ++version)
    steps += schemas.at(static_cast<std::size_t>(version));
  if (steps.empty()) return false;
  if (auto made = database.execute(("BEGIN;" + steps + "COMMIT;").c_str()); !made)
    return std::unexpected(made.error());
  return is_new;
}

}  // namespace

SubmittedRow submitted_row(const Task& task) {
  SubmittedRow row;
  row.id = task.id;
  row.agent = task.agent;
  row.payload = task.payload;
  row.priority = to_string(task.priority);
  row.key = task.idempotency_key;
  row.size_class = task.size_class;
  row.timeout_ms = task.timeout.count();
  row.retries = task.retries;
  row.submitted_ms = milliseconds_of(task.submitted_at);
  if (task.memory_limit) row.memory_limit = task.memory_limit->count;
  row.payload_file = last_part_of(task.payload_file.path);
  row.payload_bytes = task.payload_file.bytes;
  row.payload_digest = task.payload_file.digest;
  return row;
}

ProgressRow progress_row(const Task& task) {
  ProgressRow row;
  row.id = task.id;
  row.state = to_string(task.ends_as.value_or(task.state));
  row.worker = task.worker_id;
  row.percent = task.progress;
  row.message = task.message;
  row.checkpoint = task.checkpoint;
  row.result = task.result.inline_json;
  row.result_file = last_part_of(task.result.file);
  row.result_bytes = task.result.bytes;
  if (task.error) row.error = text_of(*task.error);
  if (task.grown_limit) row.grown_limit = task.grown_limit->count;
  if (!task.memory_deaths.empty()) row.memory_deaths = text_of(task.memory_deaths);
  if (!task.receipts.empty()) row.receipts = text_of(task.receipts);
  row.past = text_of(task.past);
  row.cancel_asked = task.cancel_asked ? 1 : 0;
  row.attempt = task.attempt;
  row.preemptions = task.preemptions;
  row.started_ms = milliseconds_of(task.started_at);
  row.finished_ms = milliseconds_of(task.finished_at);
  row.waited_ms = task.waited.count();
  row.ran_ms = task.ran.count();
  row.peak = task.peak.count;
  return row;
}

Result<TaskRows> TaskRows::open(Database& database) {
  const auto made = prepare_schema(database);
  if (!made) return std::unexpected(made.error());
  auto insert = database.prepare(insert_sql);
  if (!insert) return std::unexpected(insert.error());
  auto replace = database.prepare(replace_sql);
  if (!replace) return std::unexpected(replace.error());
  auto remove_submitted = database.prepare("DELETE FROM submitted WHERE id = ?1");
  if (!remove_submitted) return std::unexpected(remove_submitted.error());
  auto remove_progress = database.prepare("DELETE FROM progress WHERE id = ?1");
  if (!remove_progress) return std::unexpected(remove_progress.error());
  return TaskRows(*std::move(insert), *std::move(replace), *std::move(remove_submitted),
                  *std::move(remove_progress), *made);
}

Result<void> TaskRows::insert(const SubmittedRow& row) {
  return insert_.bind(0, row.id)
      .bind(1, row.agent)
      .bind(2, row.payload)
      .bind(3, row.priority)
      .bind(4, row.timeout_ms)
      .bind(5, row.retries)
      .bind(6, row.memory_limit)
      .bind(7, row.key)
      .bind(8, row.size_class)
      .bind(9, row.submitted_ms)
      .bind(10, row.payload_file)
      .bind(11, row.payload_bytes)
      .bind(12, row.payload_digest)
      .run();
}

Result<void> TaskRows::replace(const ProgressRow& row) {
  return replace_.bind(0, row.id)
      .bind(1, row.state)
      .bind(2, row.cancel_asked)
      .bind(3, row.attempt)
      .bind(4, row.preemptions)
      .bind(5, row.started_ms)
      .bind(6, row.finished_ms)
      .bind(7, row.waited_ms)
      .bind(8, row.ran_ms)
      .bind(9, row.worker)
      .bind(10, row.percent)
      .bind(11, row.message)
      .bind(12, row.peak)
      .bind(13, row.checkpoint)
      .bind(14, row.result)
      .bind(15, row.result_file)
      .bind(16, row.result_bytes)
      .bind(17, row.error)
      .bind(18, row.receipts)
      .bind(19, row.grown_limit)
      .bind(20, row.memory_deaths)
      .bind(21, row.past)
      .run();
}

Result<void> TaskRows::remove(const std::string& id) {
  if (auto removed = remove_progress_.bind(0, id).run(); !removed) return removed;
  return remove_submitted_.bind(0, id).run();
}

Result<std::vector<Task>> TaskRows::load(Database& database) {
  auto rows = database.prepare(load_sql);
  if (!rows) return std::unexpected(rows.error());
  std::vector<Task> tasks;
  for (;;) {
    const auto row = rows->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return tasks;
    try {
      tasks.push_back(read_task(*rows));
    } catch (const std::exception& wrong) {
      return failure("task '" + rows->text(0) + "' in it makes no sense: " + wrong.what());
    }
  }
}

}  // namespace kurultai
