#include "publisher/webhook.h"

#include <curl/curl.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "protocol/version.h"

namespace kurultai {

namespace {

/// Bytes that are read of an answer, headers included, and thrown away.
constexpr std::size_t longest_answer = 65536;

struct EndEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct EndList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

}  // namespace

struct Webhook::Transfer {
  std::unique_ptr<CURL, EndEasy> easy{curl_easy_init()};
  std::unique_ptr<curl_slist, EndList> headers;
  std::array<char, CURL_ERROR_SIZE> error{};
  std::size_t answered = 0;  // bytes

  void add_header(const std::string& line) {
    headers.reset(curl_slist_append(headers.release(), line.c_str()));
  }
  void prepare(const WebhookSettings& settings);
  /// What is taken of so many bytes: all, or nothing and the transfer ends.
  std::size_t take(std::size_t count) {
    answered += count;
    return answered > longest_answer ? 0 : count;
  }
};

void Webhook::Transfer::prepare(const WebhookSettings& settings) {
  CURL* h = easy.get();
  curl_easy_setopt(h, CURLOPT_URL, settings.url.c_str());
  curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(h, CURLOPT_ERRORBUFFER, error.data());
  curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, static_cast<long>(settings.timeout.count()));
  curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings.connect_timeout.count()));
  curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
  // OpenSSL knows them, but libcurl sets a file of its own.
  if (const char* folder = std::getenv("SSL_CERT_DIR"); folder != nullptr)
    curl_easy_setopt(h, CURLOPT_CAPATH, folder);
  if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr)
    curl_easy_setopt(h, CURLOPT_CAINFO, file);
  curl_easy_setopt(h, CURLOPT_USERAGENT, ("kurultai/" + std::string(project_version)).c_str());
  curl_easy_setopt(h, CURLOPT_POST, 1L);
  add_header("Content-Type: application/json");
  add_header("Expect:");  // no round trip before large bodies
  if (!settings.token.empty()) add_header("Authorization: Bearer " + settings.token);
  curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(h, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(
      h, CURLOPT_WRITEFUNCTION, +[](char*, std::size_t, std::size_t count, void* self) -> std::size_t {
        return static_cast<Transfer*>(self)->take(count);
      });
  // libcurl keeps headers, and has no limit for those behind a body in chunks.
  curl_easy_setopt(h, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(
      h, CURLOPT_HEADERFUNCTION, +[](char*, std::size_t size, std::size_t count, void* self) -> std::size_t {
        return static_cast<Transfer*>(self)->take(size * count);
      });
}

Webhook::Webhook(std::unique_ptr<Transfer> transfer) : transfer_(std::move(transfer)) {}
Webhook::Webhook(Webhook&&) noexcept = default;
Webhook::~Webhook() = default;

Result<Webhook> Webhook::open(const WebhookSettings& settings) {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return failure("libcurl does not start");
  auto transfer = std::make_unique<Transfer>();
  if (!transfer->easy) return failure("libcurl does not start");
  transfer->prepare(settings);
  return Webhook(std::move(transfer));
}

Result<int> Webhook::post(const std::string& body) {
  CURL* h = transfer_->easy.get();
  curl_easy_setopt(h, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  transfer_->answered = 0;
  transfer_->error[0] = '\0';
  const CURLcode code = curl_easy_perform(h);
  long status = 0;
  curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
  const bool has_answered = code == CURLE_OK || (code == CURLE_WRITE_ERROR && status != 0);
  if (has_answered) return static_cast<int>(status);
  return failure(transfer_->error[0] != '\0' ? transfer_->error.data() : curl_easy_strerror(code));
}

}  // namespace kurultai
