// What kurultai-worker can do on this machine, by having it try: the same program, with the same rights, that
// is to do it for agents.
#pragma once

#include <string>

#include "supervisor/workers/places.h"

namespace kurultai {

/// How a private tmp can be had, and why not better; empty: it is mounted.
struct TmpAnswer {
  TmpRight right = TmpRight::directory;
  std::string why;
};

/// Both wait for the launcher, some milliseconds and at most 5 s: for the start and for the doctor.
TmpAnswer ask_for_tmp(const std::string& launcher);
/// Whether bubblewrap works; empty: it does.
std::string ask_for_sandbox(const std::string& launcher);

}  // namespace kurultai
