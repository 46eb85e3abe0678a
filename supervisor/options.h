// The command line of kurultaid, and the places that follow from it and the environment.
#pragma once

#include <string>
#include <variant>

#include "protocol/bytes.h"
#include "protocol/error.h"
#include "protocol/words.h"

namespace kurultai {

struct Options {
  std::string config;  // empty: the built-in defaults
  std::string listen;  // empty: what the configuration says
  std::string socket;
  std::string state_dir;
  std::string log_level = "info";
  bool check = false;
  bool doctor = false;                     // says what this machine can guarantee, and leaves
  Guarantee required = Guarantee::rlimit;  // or else the doctor's status is 1
  bool json = false;                       // what it says
  /// The supervisor of one `kurultai run`: ends when its stdin does and removes its state directory.
  bool is_private = false;
  std::string record;  // what policies see and decide is recorded there; empty: nowhere
  Bytes record_limit = mebibytes(256);
};

/// What to print before leaving with status 0: --help, --version.
struct PrintAndLeave {
  std::string text;
};

/// Fills in the defaults of the contract for what was not given.
Result<std::variant<Options, PrintAndLeave>> parse_options(int argc, char** argv);

}  // namespace kurultai
