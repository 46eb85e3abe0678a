// A kurultaid of our own, from the directory of this program: started with a configuration, ended by the
// destructor, in a directory that is removed with it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace kurultai::bench {

struct KurultaidOptions {
  std::string config{};  // YAML
  std::string log_level = "error";
  std::string log_file{};         // appended to; empty: stderr
  std::string state_directory{};  // that outlives it; empty: one of its own
};

class Kurultaid {
 public:
  /// Returns when it answers.
  explicit Kurultaid(const KurultaidOptions& options);
  ~Kurultaid();
  Kurultaid(const Kurultaid&) = delete;
  Kurultaid& operator=(const Kurultaid&) = delete;

  /// SIGKILL, and the next one in the same directories; does not wait until that answers.
  void crash_and_restart();
  /// Whether it had ended by itself; then it is started again likewise.
  bool restart_if_gone();
  /// Ends it in its own way, and waits; then nothing but `directory` is left of it.
  void end();

  /// Another configuration, for a reload. It takes the place of the one before whole: a supervisor that
  /// starts may be reading it.
  void configure(const std::string& config) const;
  pid_t pid() const { return pid_; }
  const std::string& directory() const { return directory_; }
  std::string socket() const { return directory_ + "/s"; }
  /// The groups that are the parents of its workers' groups, of every cgroup hierarchy.
  std::vector<std::string> workers_groups() const;
  /// What it marks its processes (`KURULTAI_INSTANCE`) and groups with.
  std::string instance() const;

 private:
  void start();
  bool answers() const;

  KurultaidOptions options_;
  std::string directory_;
  std::string state_;
  pid_t pid_ = 0;
};

}  // namespace kurultai::bench
