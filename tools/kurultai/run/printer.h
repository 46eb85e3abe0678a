// Brings ended commands' outputs from the supervisor to stdout, stderr and the results directory: each whole,
// before the next one begins. Outputs are streamed, so their size does not matter; those that come before
// their turn wait in files.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "tools/kurultai/http.h"
#include "tools/kurultai/run/batch.h"
#include "tools/kurultai/run/progress.h"
#include "tools/kurultai/task_view.h"

namespace kurultai {

class Printer {
 public:
  /// All must outlive the printer. `results`: a directory for NUMBER/stdout, stderr and task.json, or empty;
  /// `held`: one for outputs that come before their turn, made when it is needed.
  Printer(Http& http, ProgressDisplay& display, std::string results, std::string held)
      : http_(http), display_(display), results_(std::move(results)), held_(std::move(held)) {}
  ~Printer() { close_files(); }
  Printer(const Printer&) = delete;
  Printer& operator=(const Printer&) = delete;

  bool busy() const { return done_ != nullptr; }
  /// Calls `done(completed)` when all of it is here. With `hold_back` it is kept for `print_held`, else it
  /// has been shown by then, on stderr also why the command failed.
  void collect(Batch::Next next, bool hold_back, std::function<void(bool completed)> done);
  /// Shows what was held back of this command, if anything was.
  void print_held(Batch::Sequence sequence);

  /// Why output could not be written (`stdout: Broken pipe`); empty while it can.
  const std::string& fault() const { return fault_; }

 private:
  void take_task(Answer<Response> response);
  void fetch_result();
  void fetch_logs();
  void finish(const Complaint* lost);
  bool write_stdout(std::string_view bytes);
  bool write_stderr(std::string_view bytes);
  bool show(int fd, std::string_view bytes);
  bool write_to(int fd, std::string_view bytes, const std::string& name);
  bool file_and_show(std::string_view bytes, const std::string& name, int& file, int terminal);
  void tell_failure(const std::string& line);
  void copy_file(const std::string& path, int to);
  void write_file(const std::string& name, std::string_view text);
  int open_file(const std::string& name);
  void close_files();
  std::string path_of(Batch::Sequence sequence, const std::string& name) const;

  Http& http_;
  ProgressDisplay& display_;
  std::string results_;
  std::string held_;
  std::map<Batch::Sequence, std::string> failures_;  // of each command that is held back; empty: it completed
  bool hold_back_ = false;
  Batch::Next current_;
  TaskView task_;
  std::function<void(bool)> done_;
  int stdout_file_ = -1;
  int stderr_file_ = -1;
  std::string fault_;
};

}  // namespace kurultai
