// What stands behind supervisor/uv/{loop,stream,process}.h in the simulation, in place of libuv: the same
// classes, on a schedule instead of a kernel. The structures have libuv's names, because those headers
// declare them; nothing here includes <uv.h>.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "supervisor/uv/process.h"
#include "tests/simulation/dice.h"
#include "tests/simulation/schedule.h"

namespace kurultai::simulation {

/// One direction of bytes. Whoever reads is called a moment after something has changed for him.
struct Pipe {
  std::string bytes;  // written and not yet read
  bool writer_gone = false;
  bool reader_gone = false;
  std::function<void()> wake_reader;

  void write(std::string_view more);
  void close_writer();
};

/// A process that was started: our ends of its pipes are named by descriptors, as they are in reality.
struct Launched {
  int pid = 0;
  std::array<int, 3> descriptors{};
};

/// Whether what is called was destroyed by the call: a callback may destroy its owner.
struct Calling {
  bool* destroyed = nullptr;
  ~Calling() {
    if (destroyed != nullptr) *destroyed = true;
  }
};

}  // namespace kurultai::simulation

struct uv_loop_s {
  kurultai::simulation::Schedule schedule;
  kurultai::simulation::Dice dice{0};  // for what takes how long
  bool stopped = false;
  /// How long the work that a thread has just begun takes: it says so itself.
  std::chrono::microseconds thread_takes{0};

  std::function<kurultai::Result<kurultai::simulation::Launched>(const kurultai::uv::SpawnOptions&)> launch;
  std::map<int, std::function<void(int status, int signal)>> children;  // by pid, until they are reaped
  std::map<int, std::shared_ptr<kurultai::simulation::Pipe>> pipes;  // by descriptor, until they are opened
  std::map<int, uv_poll_s*> watched;                                 // by descriptor

  /// Above all that the system could give: a real read or write of one fails.
  int next_descriptor = 1 << 24;

  int add_pipe(std::shared_ptr<kurultai::simulation::Pipe> pipe);
  /// Calls whoever watches `descriptor`, a moment from now.
  void make_ready(int descriptor);
  void tell_exit(int pid, int status, int signal);
};
