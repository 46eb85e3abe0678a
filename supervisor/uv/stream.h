// Byte streams on the loop: pipes to workers, TCP and Unix connections. A write owns its bytes. Destroying a
// stream closes it and drops what was not written yet.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/error.h"
#include "supervisor/uv/loop.h"

struct uv_stream_s;

namespace kurultai::uv {

class Stream {
 public:
  /// `bytes` are valid during the call only.
  using OnData = std::function<void(std::string_view bytes)>;
  /// The end of the stream: `error` is empty at a proper end. Called once; no data comes after it.
  using OnEnd = std::function<void(std::string_view error)>;

  /// Takes ownership of `fd`, one end of a pipe(2) or socketpair, and closes it with the stream.
  static Result<std::unique_ptr<Stream>> open_pipe(Loop& loop, int fd);
  ~Stream();

  /// How much a writer that never stops may take from everybody else.
  struct Pace {
    std::size_t most_a_turn =
        std::size_t{64} * 1024;  // bytes read in one turn of the loop, no more than that
    double share = 1;  // of a processor, for on_data; after 20 ms of more than that the writer has to wait
  };
  void read(OnData on_data, OnEnd on_end, Pace pace);
  void read(OnData on_data, OnEnd on_end) { read(std::move(on_data), std::move(on_end), Pace()); }
  /// From on_data: what was read now is worth its time, which does not count for the share.
  void excuse() { excused_ = true; }
  /// From now on it has no share: the writer is gone, and what is left is what the kernel holds.
  void hurry();
  void pause();  // back-pressure: the kernel's buffer fills and the writer waits
  void resume();

  /// Reads what lies ready right now, without waiting, up to `limit` bytes, through on_data. Used when the
  /// last words on one pipe are worth having before a message from another is acted upon.
  void drain_now(std::size_t limit);

  /// Never blocks. What the kernel does not take at once is queued here.
  void write(std::string bytes);
  /// Bytes queued here and not yet taken by the kernel.
  std::size_t pending() const;
  /// Calls back once when nothing is pending (at once if so now).
  void when_written(std::function<void()> then);

  /// Closes after what is pending was written.
  void close_when_written();
  bool is_closing() const { return handle_ == nullptr; }
  int fd() const;
  /// The user at the other end of a Unix socket when it connected; nothing when that cannot be known.
  std::optional<unsigned> peer_user() const;
  /// The IP address at the other end of a TCP connection; empty when it has gone.
  std::string peer_address() const;
  /// Whether the other end has hung up, which reading would tell only behind all that lies before it.
  bool peer_has_gone() const;

 private:
  friend class Listener;
  struct Close {
    void operator()(uv_stream_s* stream) const noexcept;
  };
  Stream() = default;
  void start_reading();
  void begin_reading();
  void account(std::chrono::nanoseconds cost);
  void finish(std::string_view error);
  void written();

  std::unique_ptr<uv_stream_s, Close> handle_;
  OnData on_data_;
  OnEnd on_end_;
  std::function<void()> then_;
  bool reading_ = false;  // is wanted; not while it rests
  Pace pace_;
  Loop* loop_ = nullptr;         // of open_pipe only
  std::unique_ptr<Timer> rest_;  // where there is a share
  bool resting_ = false;
  bool excused_ = false;
  std::chrono::nanoseconds debt_{0};  // of processor time
  TimePoint accounted_;
  bool filled_ = false;  // the last read took all that there was room for
  bool close_after_ = false;
};

/// Accepts connections on a Unix socket or a TCP address.
class Listener {
 public:
  using OnConnection = std::function<void(std::unique_ptr<Stream>)>;

  /// The socket file gets mode 0600 before anybody can connect; a file left by a dead supervisor is replaced,
  /// one that a live supervisor answers on is an error. Removed again by the destructor.
  static Result<std::unique_ptr<Listener>> listen_unix(Loop& loop, const std::string& path,
                                                       OnConnection on_connection);
  /// `address` is HOST:PORT with a numeric host (or localhost); port 0 takes a free one.
  static Result<std::unique_ptr<Listener>> listen_tcp(Loop& loop, const std::string& address,
                                                      OnConnection on_connection);
  ~Listener();

  /// The address in effect, with the real port.
  const std::string& address() const { return address_; }

 private:
  Listener() = default;
  Result<void> start(std::string_view name);
  void accept();

  Loop* loop_ = nullptr;
  std::unique_ptr<uv_stream_s, Stream::Close> handle_;
  OnConnection on_connection_;
  std::string address_;
  std::string remove_;  // the socket file
  bool tcp_ = false;
};

}  // namespace kurultai::uv
