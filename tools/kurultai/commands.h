// One function a command of the client. Each prints what it found to stdout and returns the exit status, or a
// complaint that `main` prints; none of them parses arguments.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "tools/kurultai/complaint.h"
#include "tools/kurultai/http.h"

namespace kurultai {

struct SubmitOptions {
  std::string agent;
  std::string payload;  // JSON, @FILE or -
  std::string file;     // instead of it: the payload as it is, of any size; - is stdin
  std::string priority;
  std::string key;
  std::string size_class;
  std::optional<Duration> timeout;  // of the task
  std::optional<int> retries;
  Duration retry_refused{0};  // a submission that is refused for now is tried again for so long
  bool wait = false;
  bool stream = false;  // wait, and show progress and log lines as they come
  bool json = false;
};

struct ExecOptions {
  std::vector<std::string> command;
  std::optional<Bytes> memory;
  std::string priority;
  std::optional<Duration> timeout;
  Duration retry_refused{0};
  bool wait = false;
  bool json = false;
};

struct ListOptions {
  bool all = false;  // every finished task, not only the newest
  std::string state, agent;
  bool json = false;
};

struct EventsOptions {
  std::string task_id;  // empty: all
  bool follow = false;
  bool progress = false;  // also what agents tell of their progress
  bool json = false;      // everything, as it was sent
};

// tasks.cc
Answer<ExitStatus> submit(Http& http, const SubmitOptions& options);
Answer<ExitStatus> exec(Http& http, const ExecOptions& options);
Answer<ExitStatus> cancel(Http& http, const std::vector<std::string>& ids, bool json);
Answer<ExitStatus> result(Http& http, const std::string& id, const std::string& output_file, bool follow);
Answer<ExitStatus> logs(Http& http, const std::string& id, bool follow);

// listing.cc
Answer<ExitStatus> list_tasks(Http& http, const ListOptions& options);
Answer<ExitStatus> show_task(Http& http, const std::string& id, bool json);

// why.cc
Answer<ExitStatus> show_why(Http& http, const std::string& id, bool json);

// state.cc
Answer<ExitStatus> show_queue(Http& http, bool json);
Answer<ExitStatus> show_agents(Http& http, const std::string& name, bool json);
Answer<ExitStatus> show_workers(Http& http, bool json);
Answer<ExitStatus> show_memory(Http& http, bool json);
Answer<ExitStatus> show_breakers(Http& http, bool json);
Answer<ExitStatus> show_status(Http& http, bool json);

// events.cc
Answer<ExitStatus> show_events(Http& http, const EventsOptions& options);

// admin.cc
Answer<ExitStatus> drain(Http& http, Duration timeout, bool json);
Answer<ExitStatus> reload(Http& http, bool json);
/// `file` empty: the one kurultaid would use.
Answer<ExitStatus> config_check(const std::string& file);
Answer<ExitStatus> config_show(Http& http, bool json);
Answer<ExitStatus> config_show_file(const std::string& file, bool json);
Answer<ExitStatus> config_schema_text();

}  // namespace kurultai
