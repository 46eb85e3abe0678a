// The conversation with one MCP client on stdin and stdout, on one thread: any number of its requests are
// open at once (up to `most_open`), and each is answered when its answer is there. What is offered stands
// behind `Offer`.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "protocol/duration.h"
#include "protocol/line_splitter.h"
#include "protocol/messages.h"
#include "tools/kurultai/http.h"
#include "tools/kurultai/mcp/progress.h"

namespace kurultai {

class Session;

/// One request of the client. Copies mean the same one; once it has ended (answered, or cancelled by the
/// client) they do nothing. The session outlives them.
class Call {
 public:
  bool is_open() const;

  void result(const JsonText& result) const;
  void error(std::int64_t code, std::string_view message) const;
  /// An `error` object of JSON-RPC as it is.
  void error(const JsonText& error) const;

  /// Whether the client wants to hear of progress.
  bool wants_progress() const;
  void progress(const ProgressNote& note) const;

  /// What is to be done when the client cancels it, or goes away; takes the place of what was before.
  void on_cancel(std::function<void()> cancel) const;

 private:
  friend class Session;
  Call(Session& session, std::uint64_t number) : session_(&session), number_(number) {}
  Session* session_;
  std::uint64_t number_;
};

/// What a server of MCP does, but for the conversation itself.
class Offer {
 public:
  virtual ~Offer() = default;
  /// Every request but ping. `params` is an object or null, and valid during the call only.
  virtual void take(const std::string& method, const nlohmann::json& params, const Call& call) = 0;
};

class Session {
 public:
  static constexpr std::size_t most_open = 32;
  static constexpr std::size_t longest_line = 8UL * 1024 * 1024;

  Session(Http& http, Offer& offer) : http_(http), offer_(offer) {}

  /// Until the end of stdin (what is open then has a second to end), a signal, or a client that reads no
  /// more.
  void run();

 private:
  friend class Call;
  /// The answers to requests that came in one array go back in one (JSON-RPC 2.0, section 6), when the last
  /// is there.
  struct Batch {
    std::string answers;
    std::size_t missing = 0;
  };
  using InBatch = std::shared_ptr<Batch>;  // null: it came alone

  struct Open {
    JsonText id;
    InBatch batch;
    JsonText progress_token;  // empty: none was given
    std::function<void()> cancel;
  };

  void read_input();
  void feed(std::string_view bytes);
  void take_line(std::string_view line);
  void take_batch(const nlohmann::json& messages);
  void take_message(const nlohmann::json& message, const InBatch& batch);
  void take_notification(const std::string& method, const nlohmann::json& params);
  void begin(Open request, const std::string& method, const nlohmann::json& params);
  void cancel(std::uint64_t number);
  void cancel_all();
  void answer(const InBatch& batch, std::string line);
  void leave(const InBatch& batch);
  void say(const std::string& line);
  Open* find(std::uint64_t number);
  void finish(std::uint64_t number, const std::function<std::string(const JsonText&)>& line);
  void turn(Duration at_most, bool with_input);

  Http& http_;
  Offer& offer_;
  LineSplitter lines_{longest_line};
  std::map<std::uint64_t, Open> open_;
  std::uint64_t last_ = 0;
  bool input_ended_ = false;
  bool output_ended_ = false;
};

}  // namespace kurultai
