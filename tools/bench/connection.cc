#include "tools/bench/connection.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "tools/bench/child.h"

namespace kurultai::bench {

Connection::Connection(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  connected_ = fd_ >= 0 && ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

Connection::~Connection() { ::close(fd_); }

void Connection::send(std::string_view method, std::string_view target, std::string_view body) {
  std::string request;
  request.append(method).append(" ").append(target).append(
      " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ");
  request.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
  write_all(fd_, request);
}

bool Connection::receive(std::string& body) {
  std::array<char, 65536> bytes{};
  const ssize_t count = ::read(fd_, bytes.data(), bytes.size());
  if (count <= 0) give_up("the supervisor closed the connection");
  received_.append(bytes.data(), static_cast<std::size_t>(count));
  const std::size_t head = received_.find("\r\n\r\n");
  if (head == std::string::npos) return false;
  const std::size_t at = received_.find("Content-Length: ");
  const std::size_t length = std::strtoul(received_.c_str() + at + 16, nullptr, 10);
  if (received_.size() < head + 4 + length) return false;
  body = received_.substr(head + 4, length);
  received_.erase(0, head + 4 + length);
  return true;
}

std::string Connection::ask(std::string_view method, std::string_view target, std::string_view body) {
  send(method, target, body);
  std::string answer;
  while (!receive(answer)) {
  }
  return answer;
}

std::string Connection::run(const std::string& agent) {
  std::string answer = ask("POST", "/v1/tasks?wait=60s", "{\"agent\":\"" + agent + "\"}");
  if (answer.find("\"taskId\"") == std::string::npos) give_up("a task was refused: " + answer);
  return answer;
}

}  // namespace kurultai::bench
