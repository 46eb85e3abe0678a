// The working place of a worker or, where each task has one, of a command: its private home, its /tmp, its
// sandbox. The directories are made here and removed by the supervisor, once nothing runs in them any more.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/error.h"
#include "worker/tmp_mount.h"

namespace kurultai {

struct Launch;

/// What was asked for.
struct PlacePlan {
  std::string directory;            // that becomes the worker's own; its parents are made too
  bool private_home = false;        // DIRECTORY/home
  std::optional<Bytes> tmp;         // private, of that size; absent: /tmp is everybody's
  std::optional<MountRight> mount;  // how it is mounted; absent: TMPDIR is DIRECTORY/tmp, and has no limit
  bool sandbox = false;
  bool network = false;             // in the sandbox
  std::vector<std::string> hidden;  // directories
  std::string masked;               // a file
  std::string payloads;             // a directory that stays to be seen
  std::vector<std::string> xdg;     // variables that follow HOME

  bool is_any() const { return private_home || tmp || sandbox; }
};

/// XDG_CONFIG_HOME and the like that the environment does not set: they are to follow each private home.
std::vector<std::string> unset_xdg();

/// Makes the place for what is launched next and sets this process's HOME and TMPDIR to it. With a `name` it
/// is DIRECTORY/name. The directories are new: what is there already is an Error, and so are parents of
/// another owner.
Result<void> furnish(Launch& launch, const std::string& name);

/// Runs bubblewrap as it will be run, around nothing. An Error has its own words.
Result<void> try_sandbox(const Launch& launch);

}  // namespace kurultai
