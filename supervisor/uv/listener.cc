#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <charconv>
#include <cstring>

#include "supervisor/uv/handle.h"
#include "supervisor/uv/stream.h"

namespace kurultai::uv {

namespace {

constexpr int backlog = 512;
constexpr unsigned keepalive_seconds = 60;

bool answers(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const bool connected = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  ::close(fd);
  return connected;
}

Result<void> make_room(const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return failure("socket " + path + ": the path is longer than " +
                   std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                   " bytes; choose a shorter one with --socket");
  }
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode))
    return failure("socket " + path +
                   ": exists and is not a socket; it was left alone; choose another with --socket");
  if (answers(path))
    return failure("socket " + path + ": another supervisor answers there; choose another with --socket");
  if (::unlink(path.c_str()) != 0) return system_failure("remove the stale socket " + path, errno);
  return {};
}

Result<std::pair<std::string, int>> split_address(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  int port = -1;
  if (colon != std::string::npos) {
    const char* end = address.data() + address.size();
    const auto [rest, code] = std::from_chars(address.data() + colon + 1, end, port);
    if (code != std::errc() || rest != end || port > 65535) port = -1;
  }
  if (port < 0) return failure("listen on " + address + ": write HOST:PORT, such as 127.0.0.1:7717");
  std::string host = address.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return std::pair(host, port);
}

std::unexpected<Error> socket_failure(const std::string& path, int status) {
  return failure("listen on socket " + path + ": " + uv_strerror(status) + "; choose another with --socket",
                 -status);
}

std::unexpected<Error> address_failure(const std::string& address, int status) {
  return failure("listen on " + address + ": " + uv_strerror(status) + "; choose another with --listen",
                 -status);
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::listen_unix(Loop& loop, const std::string& path,
                                                        OnConnection on_connection) {
  if (auto room = make_room(path); !room) return std::unexpected(room.error());
  std::unique_ptr<Listener> listener(new Listener);
  listener->loop_ = &loop;
  listener->on_connection_ = std::move(on_connection);
  listener->address_ = path;
  auto pipe = std::make_unique<uv_pipe_t>();
  uv_pipe_init(loop.raw(), pipe.get(), 0);
  listener->handle_.reset(reinterpret_cast<uv_stream_t*>(pipe.release()));
  auto* handle = reinterpret_cast<uv_pipe_t*>(listener->handle_.get());
  const mode_t before = ::umask(0177);
  const int status = uv_pipe_bind(handle, path.c_str());
  ::umask(before);
  if (status != 0) return socket_failure(path, status);
  listener->remove_ = path;
  if (auto started = listener->start(path); !started) return std::unexpected(started.error());
  return listener;
}

Result<std::unique_ptr<Listener>> Listener::listen_tcp(Loop& loop, const std::string& address,
                                                       OnConnection on_connection) {
  auto split = split_address(address);
  if (!split) return std::unexpected(split.error());
  const auto& [host, port] = *split;
  sockaddr_storage where{};
  if (uv_ip4_addr(host.c_str(), port, reinterpret_cast<sockaddr_in*>(&where)) != 0 &&
      uv_ip6_addr(host.c_str(), port, reinterpret_cast<sockaddr_in6*>(&where)) != 0) {
    return failure("listen on " + address + ": the host must be an IP address or localhost");
  }
  std::unique_ptr<Listener> listener(new Listener);
  listener->loop_ = &loop;
  listener->on_connection_ = std::move(on_connection);
  listener->tcp_ = true;
  auto tcp = std::make_unique<uv_tcp_t>();
  uv_tcp_init(loop.raw(), tcp.get());
  listener->handle_.reset(reinterpret_cast<uv_stream_t*>(tcp.release()));
  auto* handle = reinterpret_cast<uv_tcp_t*>(listener->handle_.get());
  if (const int status = uv_tcp_bind(handle, reinterpret_cast<sockaddr*>(&where), 0); status != 0) {
    return address_failure(address, status);
  }
  if (auto started = listener->start(address); !started) return std::unexpected(started.error());
  int length = sizeof(where);
  uv_tcp_getsockname(handle, reinterpret_cast<sockaddr*>(&where), &length);
  const int real_port =
      ntohs(reinterpret_cast<sockaddr_in*>(&where)->sin_port);  // same place in sockaddr_in6
  listener->address_ =
      (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(real_port);
  return listener;
}

Listener::~Listener() {
  if (!remove_.empty()) ::unlink(remove_.c_str());
}

Result<void> Listener::start(std::string_view name) {
  handle_->data = this;
  const int status = uv_listen(handle_.get(), backlog, [](uv_stream_t* server, int failed) noexcept {
    auto* self = static_cast<Listener*>(server->data);
    if (self != nullptr && failed == 0) self->accept();
  });
  if (status == 0) return {};
  return tcp_ ? address_failure(std::string(name), status) : socket_failure(std::string(name), status);
}

void Listener::accept() {
  std::unique_ptr<Stream> stream(new Stream);
  if (tcp_) {
    auto tcp = std::make_unique<uv_tcp_t>();
    uv_tcp_init(loop_->raw(), tcp.get());
    stream->handle_.reset(reinterpret_cast<uv_stream_t*>(tcp.release()));
  } else {
    auto pipe = std::make_unique<uv_pipe_t>();
    uv_pipe_init(loop_->raw(), pipe.get(), 0);
    stream->handle_.reset(reinterpret_cast<uv_stream_t*>(pipe.release()));
  }
  stream->handle_->data = stream.get();
  // A client that is gone already, or no descriptor left (EMFILE): the connection is dropped, the server
  // lives.
  if (uv_accept(handle_.get(), stream->handle_.get()) != 0) return;
  if (tcp_) {
    auto* tcp = reinterpret_cast<uv_tcp_t*>(stream->handle_.get());
    uv_tcp_nodelay(tcp, 1);
    uv_tcp_keepalive(tcp, 1, keepalive_seconds);  // a machine that went away says no word
  }
  on_connection_(std::move(stream));
}

}  // namespace kurultai::uv
