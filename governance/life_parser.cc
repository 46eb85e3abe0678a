#include "governance/life_parser.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "protocol/json_text.h"

namespace kurultai {

using nlohmann::json;

namespace {

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string shown(std::string_view text) {
  static constexpr std::size_t most = 40;
  const bool is_long = text.size() > most;
  return "'" + std::string(text.substr(0, most)) + (is_long ? "…'" : "'");
}

constexpr Duration most_span{std::chrono::hours(24 * 3650)};

bool is_size(Bytes bytes) { return bytes >= Bytes{} && bytes <= most_life_bytes; }

/// Before and behind the first of them; the second is empty where there is none.
std::pair<std::string_view, std::string_view> cut(std::string_view text, char at) {
  const std::size_t found = text.find(at);
  if (found == std::string_view::npos) return {text, {}};
  return {text.substr(0, found), text.substr(found + 1)};
}

}  // namespace

/// The fields of a line, separated by one blank each. What is missing or wrong is remembered, the first of
/// it, and the fields behind it are nothing.
class LifeFields {
 public:
  explicit LifeFields(std::string_view rest) : rest_(rest) {}

  bool is_over() const { return rest_.empty(); }
  std::string_view rest() { return std::exchange(rest_, {}); }
  const std::string& wrong() const { return wrong_; }

  std::string_view word(const char* what) {
    const auto [field, rest] = cut(rest_, ' ');
    rest_ = rest;
    if (field.empty() || field.size() > 64) refuse(what, field);
    return field;
  }
  std::int64_t count(const char* what) {
    const std::string_view field = word(what);
    const auto value = number_of<std::int64_t>(field);
    if (!value || *value < 0) refuse(what, field);
    return value.value_or(0);
  }
  Bytes bytes(const char* what) {
    const Bytes value{count(what)};
    if (value > most_life_bytes) refuse(what, std::to_string(value.count));
    return value;
  }
  /// Milliseconds.
  Duration span(const char* what) {
    const Duration value{count(what)};
    if (value > most_span) refuse(what, std::to_string(value.count()));
    return std::min(value, most_span);
  }
  TimePoint moment(const char* what) { return TimePoint{} + std::chrono::nanoseconds(count(what)); }
  Priority priority() {
    const std::string_view field = word("priority");
    const auto value = parse_priority(field);
    if (!value) refuse("priority", field);
    return value.value_or(Priority::normal);
  }
  /// `-` or some of `letters`.
  std::string_view flags(std::string_view letters) {
    const std::string_view field = word("set of flags");
    if (field != "-" && field.find_first_not_of(letters) != std::string_view::npos)
      refuse("set of flags", field);
    return field;
  }
  void refuse(const char* what, std::string_view field) {
    if (!wrong_.empty()) return;
    wrong_ = field.empty() ? "its " + std::string(what) + " is missing"
                           : shown(field) + " is no " + std::string(what);
  }

 private:
  std::string_view rest_;
  std::string wrong_;
};

namespace {

LifeRecord submitted(TimePoint at, LifeFields& fields, bool is_known) {
  SubmittedSeen task{at, fields.word("task"), fields.word("agent"), fields.priority(), is_known};
  task.evicted = static_cast<std::size_t>(fields.count("number of evicted tasks"));
  return task;
}

LifeRecord begun(TimePoint at, LifeFields& fields) {
  BegunSeen begun{at, fields.word("task"), fields.priority(), fields.bytes("size")};
  begun.alone = fields.flags("a") == "a";
  return begun;
}

bool has_sizes(const Receipt& receipt) {
  const RoomAsked& room = *receipt.room;
  return is_size(room.footprint) && is_size(room.line) && is_size(room.elsewhere) &&
         std::ranges::all_of(receipt.running, is_size, &Candidate::memory) &&
         std::ranges::all_of(room.workers, is_size, &WorkerLoad::held) &&
         std::ranges::all_of(room.workers, is_size, &WorkerLoad::expected);
}

Result<LifeRecord> room(TimePoint at, LifeFields& fields) {
  const auto tree = parse_json(fields.rest());
  if (!tree) return std::unexpected(tree.error());
  auto receipt = parse_receipt(*tree);
  if (!receipt) return std::unexpected(receipt.error());
  if (!receipt->room) return failure("receipt: it is not about room");
  if (!has_sizes(*receipt)) return failure("receipt: a size is none of a machine");
  return RoomSeen{at, *std::move(receipt)};
}

Result<LifeRecord> rules(TimePoint at, LifeFields& fields) {
  const auto tree = parse_json(fields.rest());
  if (!tree) return std::unexpected(tree.error());
  auto rules = parse_policy_rules(*tree);
  if (!rules) return std::unexpected(rules.error());
  return RulesSeen{at, *std::move(rules)};
}

/// Of those that consist of a moment and words.
std::optional<LifeRecord> plain_record(char letter, TimePoint at, LifeFields& fields) {
  switch (letter) {
    case 's':
    case 'w':
      return submitted(at, fields, letter == 'w');
    case 'f':
      return RefusedSeen{at, fields.word("agent"), fields.priority(), fields.word("code")};
    case 'b':
      return begun(at, fields);
    case 'p':
      return ReturnedSeen{at, fields.word("task"), fields.word("agent"), fields.priority(),
                          fields.word("reason")};
    case 'e':
      return EndedSeen{at, fields.word("task"), fields.word("state")};
    case 'h':
      return SkippedSeen{at, fields.word("task")};
    case 'd':
      return DroppedSeen{at, static_cast<std::uint64_t>(fields.count("number of records"))};
    case 'z':
      return ClosedSeen{at, fields.word("reason")};
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<LifeRecord> LifeParser::parse(std::string_view line) {
  if (!has_header_) return parse_header(line);
  if (line.size() < 2 || line[1] != ' ') return failure(shown(line) + " is no record");
  LifeFields fields(line.substr(2));
  if (line[0] == 't') return parse_task(fields);
  const TimePoint at = fields.moment("time");
  if (!fields.wrong().empty()) return failure(fields.wrong());
  if (at < last_) return failure("its time is before that of an earlier line");
  last_ = at;
  if (line[0] == 'r') return parse_reading(at, fields);
  if (line[0] == 'q') return room(at, fields);
  if (line[0] == 'c') {
    auto changed = rules(at, fields);
    if (changed) budget_ = std::get<RulesSeen>(*changed).rules.budget;
    return changed;
  }
  auto record = plain_record(line[0], at, fields);
  if (!record) return failure(shown(line) + " is no record");
  if (!fields.wrong().empty()) return failure(fields.wrong());
  if (!fields.is_over()) return failure(shown(fields.rest()) + " is more than it should hold");
  return *std::move(record);
}

Result<LifeRecord> LifeParser::parse_header(std::string_view line) {
  static constexpr const char* foreign = "no recording of kurultaid --record";
  const auto tree = parse_json(line);
  if (!tree || !tree->is_object() || !tree->contains("kurultaiLife")) return failure(foreign);
  const json& version = tree->at("kurultaiLife");
  if (version != LifeHeader::version) {
    return failure("a recording of version " + to_text(version) + "; this program reads version " +
                   std::to_string(LifeHeader::version));
  }
  auto rules = parse_policy_rules(tree->value("rules", json::object()));
  if (!rules) return failure(rules.error().message);
  const json started = tree->value("startedAt", json());
  const json guarantee = tree->value("guarantee", json());
  const auto machine = if_whole(tree->value("machineBytes", json()));
  if (!started.is_string() || !guarantee.is_string() || !machine)
    return failure("its first line lacks startedAt, guarantee or machineBytes");
  has_header_ = true;
  budget_ = rules->budget;
  return LifeHeader{started.get<std::string>(), guarantee.get<std::string>(), Bytes{*machine},
                    *std::move(rules)};
}

Result<LifeRecord> LifeParser::parse_task(LifeFields& fields) {
  const auto number = static_cast<std::size_t>(fields.count("number"));
  Described one;
  one.task.task_id = fields.word("task");
  one.agent = fields.word("agent");
  one.task.priority = fields.priority();
  const std::string_view flags = fields.flags("psxode");
  one.task.preemptable = flags.contains('p');
  one.task.suspendable = flags.contains('s');
  one.task.is_protected = flags.contains('x');
  one.task.outgrown = flags.contains('o');
  one.task.dying = flags.contains('d');
  one.task.may_leave_early = flags.contains('e');
  const std::string_view back_by = fields.word("time");
  if (back_by != "-") {
    const auto moment = number_of<std::int64_t>(back_by);
    if (!moment) fields.refuse("time", back_by);
    one.task.back_by = TimePoint{} + std::chrono::nanoseconds(moment.value_or(0));
  }
  one.task.most = fields.bytes("size");
  one.task.grace = fields.span("grace");
  if (!fields.wrong().empty()) return failure(fields.wrong());
  if (number >= most_life_tasks) return failure("more tasks at a time than a recording has");
  if (number >= tasks_.size()) tasks_.resize(number + 1);
  tasks_[number] = std::move(one);
  return NothingSeen{};
}

LifeParser::Described* LifeParser::described(std::string_view number) {
  const auto index = number_of<std::size_t>(number);
  const bool is_known = index && *index < tasks_.size() && !tasks_[*index].task.task_id.empty();
  return is_known ? &tasks_[*index] : nullptr;
}

bool LifeParser::parse_growth(std::string_view text, Growth& growth) {
  const auto [rate, time] = cut(text, ':');
  const auto per_second = number_of<std::int64_t>(rate);
  const auto lasted = number_of<std::int64_t>(time);
  if (!per_second || !is_size({*per_second}) || !lasted || *lasted < 0 || *lasted > most_span.count())
    return false;
  growth = {{*per_second}, Duration(*lasted)};
  return true;
}

bool LifeParser::parse_running(std::string_view field) {
  const auto [number, figures] = cut(field, ':');
  const auto [memory, more] = cut(figures, ':');
  const auto [work, growth] = cut(more, ':');
  Described* one = described(number);
  const auto held = number_of<std::int64_t>(memory);
  const auto lost = number_of<double>(work);
  if (one == nullptr || !held || !is_size({*held})) return false;
  if (!lost || !std::isfinite(*lost) || *lost < 0 || running_.size() >= most_life_tasks) return false;
  one->task.memory = {*held};
  one->task.work_lost = *lost;
  one->task.growth = {};
  if (!growth.empty() && !parse_growth(growth, one->task.growth)) return false;
  running_.push_back({&one->task, one->agent});
  return true;
}

bool LifeParser::parse_action(std::string_view field, double ratio) {
  if (field.empty() || actions_.size() >= most_life_tasks) return false;
  const char letter = field[0];
  if (field == "f") actions_.emplace_back(Foreseen{});
  if (field == "r") actions_.emplace_back(RoomAgain{});
  if (field == "f" || field == "r") return true;
  if (field == "i" || field == "I") {
    actions_.emplace_back(EndIdleWorkers{letter == 'I'});
    return true;
  }
  if (letter == 'u' || letter == 'd') {
    const auto threshold = number_of<std::size_t>(field.substr(1));
    if (!threshold || *threshold >= threshold_count) return false;
    actions_.emplace_back(Crossed{
        {static_cast<Threshold>(*threshold), letter == 'u' ? Direction::up : Direction::down, ratio}});
    return true;
  }
  const Described* one = described(field.substr(1));
  if (one == nullptr) return false;
  if (letter == 's') actions_.emplace_back(SuspendTask{one->task.task_id, ratio});
  if (letter == 'p') actions_.emplace_back(PreemptTask{one->task.task_id, ratio});
  if (letter == 'k') actions_.emplace_back(KillTask{one->task.task_id, ratio});
  return letter == 's' || letter == 'p' || letter == 'k';
}

Result<LifeRecord> LifeParser::parse_reading(TimePoint at, LifeFields& fields) {
  ReadingSeen reading;
  reading.at = at;
  reading.used = fields.bytes("size");
  reading.supervisor = fields.bytes("size");
  reading.idle = fields.bytes("size");
  reading.ending = fields.bytes("size");
  const std::string_view flags = fields.flags("slp");
  reading.starving = flags.contains('s');
  reading.lowered = flags.contains('l');
  reading.put_off = flags.contains('p');
  if (!fields.wrong().empty()) return failure(fields.wrong());
  running_.clear();
  actions_.clear();
  const double ratio = ratio_of(reading.used, budget_);
  while (!fields.is_over()) {
    const std::string_view field = fields.word("task");
    if (!fields.wrong().empty()) return failure(fields.wrong());
    bool good = false;
    if (field.starts_with('!')) {
      good = parse_action(field.substr(1), ratio);
    } else if (field.starts_with('@')) {
      const auto span = number_of<std::int64_t>(field.substr(1));
      good = span && *span >= 0 && *span <= most_span.count();
      if (good) reading.time_to_act = Duration(*span);
    } else {
      good = parse_running(field);
    }
    if (!good) return failure(shown(field) + " is no task of this reading, nor what became of one");
  }
  reading.running = running_;
  reading.actions = actions_;
  return reading;
}

}  // namespace kurultai
