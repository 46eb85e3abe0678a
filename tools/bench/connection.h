// A keep-alive connection to the supervisor. What fails is thrown (child.h). One thread.
#pragma once

#include <string>
#include <string_view>

namespace kurultai::bench {

class Connection {
 public:
  /// To the supervisor's socket.
  explicit Connection(const std::string& path);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  bool connected() const { return connected_; }
  int fd() const { return fd_; }

  void send(std::string_view method, std::string_view target, std::string_view body = {});
  /// Reads once and takes the body of an answer out of what has come; false while none is whole.
  bool receive(std::string& body);
  /// One thing, and its answer's body.
  std::string ask(std::string_view method, std::string_view target, std::string_view body = {});
  /// One task, from its submission to its end.
  std::string run(const std::string& agent);

 private:
  int fd_;
  bool connected_ = false;
  std::string received_;
};

}  // namespace kurultai::bench
