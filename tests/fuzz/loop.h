// A loop for the fuzzers in place of libuv's, without time: what is put off runs when it is asked to, and a
// stream is two strings. The structures have libuv's names, because the headers of supervisor/uv declare
// them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "supervisor/uv/stream.h"

namespace kurultai::fuzz {

/// The client's end of a stream.
struct Line {
  std::string heard;    // what the server wrote
  std::string waiting;  // sent, and not read by the server yet
  bool server_closed = false;
  uv_stream_s* server = nullptr;
};

}  // namespace kurultai::fuzz

struct uv_loop_s {
  std::deque<std::function<void()>> deferred;
  kurultai::fuzz::Line line;
};

namespace kurultai::fuzz {

/// The server reads what was sent, and does what it has put off, until nothing is left to do.
void deliver(uv::Loop& loop, std::string_view bytes);

}  // namespace kurultai::fuzz
