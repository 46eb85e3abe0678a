// STATE: where a supervisor keeps what must outlive it. One supervisor a directory, by flock on STATE/lock.
#pragma once

#include <set>
#include <string>

#include "protocol/error.h"

namespace kurultai {

struct StateDirectory {
  std::string path;
  std::string instance;  // 8 hexadecimal digits, made once and kept: the name of this instance's groups
  std::string spool;     // files of results
  std::string payloads;  // files of payloads; agents of other users get there by a descriptor
  std::string logs;      // what tasks wrote to stderr and logged
  std::string journal;   // the file
  int lock_fd = -1;      // held until the process ends
};

/// Makes the directory (0700) and what is in it; one that serves another purpose is refused. A lock that is
/// held is waited for up to 4 s: after a kill -9 the old supervisor's guardian holds it while it clears up.
Result<StateDirectory> open_state_directory(const std::string& path);

/// Removes what is in such a directory but those names: files of tasks that are not known any more.
void sweep_spool(const std::string& directory, const std::set<std::string>& kept);

/// STATE/token (0600), made from 32 random bytes at the first start; or the file named by gateway.token_file.
Result<std::string> read_or_make_token(const std::string& file);

}  // namespace kurultai
