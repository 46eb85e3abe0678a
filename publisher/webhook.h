// One connection to an HTTP server that takes what it is sent with POST. Blocks; kept open between requests.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "protocol/error.h"

namespace kurultai {

struct WebhookSettings {
  std::string url;
  std::string token;  // empty: no Authorization
  std::chrono::milliseconds timeout;
  std::chrono::milliseconds connect_timeout;  // part of it
};

class Webhook {
 public:
  /// Proxies and certificates are those that libcurl's variables name (https_proxy, SSL_CERT_FILE …).
  static Result<Webhook> open(const WebhookSettings& settings);
  Webhook(Webhook&&) noexcept;
  ~Webhook();

  /// The status of its answer; an error when there was none. Redirections are not followed: they would take
  /// the token elsewhere.
  Result<int> post(const std::string& body);

 private:
  struct Transfer;
  explicit Webhook(std::unique_ptr<Transfer> transfer);
  std::unique_ptr<Transfer> transfer_;
};

}  // namespace kurultai
