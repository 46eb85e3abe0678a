#include "tools/kurultai/record.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/kurultai/commands.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/process_memory.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using std::chrono::steady_clock;

struct RecordOptions {
  std::string target;  // a process's number, or a worker's id
  std::string file;
  Duration interval{100};
  Duration length{60'000};
};

std::unexpected<Complaint> not_written() {
  return complaint(ExitStatus::usage, std::string("write: ") + std::strerror(errno));
}

bool wait_until(TimePoint moment, const Interrupts& interrupts) {
  while (Interrupts::count() == 0) {
    const auto left = std::chrono::ceil<Duration>(moment - steady_clock::now());
    if (left.count() <= 0) return true;
    pollfd wake{interrupts.fd(), POLLIN, 0};
    poll(&wake, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60'000)));
  }
  return false;
}

bool write_reading(std::FILE* out, Duration since, Bytes bytes) {
  const double seconds = std::chrono::duration<double>(since).count();
  return std::fprintf(out, "%.3f,%lld\n", seconds, static_cast<long long>(bytes.count)) > 0 &&
         std::fflush(out) == 0;
}

/// The number when `text` is nothing else.
std::optional<int> pid_of(const std::string& text) {
  int pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || end != text.data() + text.size() || pid <= 0) return std::nullopt;
  return pid;
}

Answer<Look> look_at_worker(Http& http, const std::string& id) {
  const auto answer = get_json(http, "/v1/workers");
  if (!answer) return std::unexpected(answer.error());
  for (const auto& worker : field(*answer, "workers")) {
    if (text_field(worker, "workerId") != id) continue;
    const auto bytes = bytes_field(worker, "memoryBytes");
    const bool is_read = bytes && bytes->count > 0;  // not before the supervisor's first reading of it
    return Look{is_read ? bytes : std::nullopt, false};
  }
  return Look{std::nullopt, true};
}

Answer<ExitStatus> record_to_file(const RecordOptions& options, const std::string& what,
                                  const Looking& look) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::fopen(options.file.c_str(), "we"),
                                                            std::fclose);
  if (!out) return complaint(ExitStatus::usage, "open " + options.file + ": " + std::strerror(errno));
  const auto recorded = record_trace(out.get(), look, options.interval, options.length);
  if (!recorded) return std::unexpected(recorded.error());
  std::printf("%zu readings in %s: %s%s\n", recorded->readings, brief(recorded->took).c_str(),
              options.file.c_str(), recorded->has_ended ? (", until " + what + " ended").c_str() : "");
  return ExitStatus::done;
}

}  // namespace

Answer<Recorded> record_trace(std::FILE* out, const Looking& look, Duration interval, Duration length) {
  if (std::fputs("seconds,bytes\n", out) < 0) return not_written();
  const Interrupts interrupts;
  const auto start = steady_clock::now();
  Recorded recorded;
  const auto end = start + length;
  for (auto due = start; wait_until(due, interrupts);
       due = std::min(std::max(due + interval, steady_clock::now()), end)) {
    recorded.took = std::chrono::duration_cast<Duration>(steady_clock::now() - start);
    if (recorded.took >= length) break;
    const auto seen = look();
    if (!seen) return std::unexpected(seen.error());
    recorded.has_ended = seen->has_ended;
    if (seen->has_ended) break;
    if (!seen->bytes) continue;
    if (!write_reading(out, recorded.took, *seen->bytes)) return not_written();
    ++recorded.readings;
  }
  return recorded;
}

namespace {

bool is_worker(const RecordOptions& options) { return !pid_of(options.target); }

Answer<ExitStatus> record_process(const RecordOptions& options) {
  const int pid = pid_of(options.target).value_or(0);
  const auto process = WatchedProcess::find(pid);
  if (!process) return complaint(ExitStatus::no_such_thing, process.error().message);
  return record_to_file(options, "process " + options.target, [&process]() -> Answer<Look> {
    const auto bytes = process->read();
    return Look{bytes, !bytes};
  });
}

Answer<ExitStatus> record_worker(Http& http, const RecordOptions& options) {
  const auto first = look_at_worker(http, options.target);
  if (!first) return std::unexpected(first.error());
  if (first->has_ended)
    return complaint(ExitStatus::no_such_thing, "no such worker; `kurultai workers` lists them");
  return record_to_file(options, "worker " + options.target,
                        [&http, &options] { return look_at_worker(http, options.target); });
}

}  // namespace

void add_record(Commands& commands) {
  auto& options = commands.keep<RecordOptions>();
  Command command = commands.add(
      "record", "a memory trace of a process or a worker: CSV of seconds,bytes",
      "kurultai record 4242 -o agent.csv --for 5m\n"
      "  kurultai record w3 -o w3.csv && kurultai replay --leak w3.csv\n\n"
      "Of a process with all its descendants, no supervisor needed; of a worker what the supervisor "
      "reads.\n"
      "Ends when it ends, or with Ctrl-C; what was recorded is kept.");
  command.argument("target", options.target, "PID|WORKER", "a process's number, or a worker's id");
  command.option("-o,--output", options.file, "FILE", "write it there");
  command.require("--output");
  command.option("--interval", options.interval, "between readings (100ms)");
  command.option("--for", options.length, "record for so long (60s)");
  command.does([&options] { return "record " + options.target; },
               [&commands, &options] {
                 if (!is_worker(options)) return record_process(options);
                 return commands.ask([&options](Http& http) { return record_worker(http, options); });
               });
}

}  // namespace kurultai
