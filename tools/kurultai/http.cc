#include "tools/kurultai/http.h"

#include <curl/curl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace kurultai {
namespace {

// The largest answer that is held in memory; results and logs go through a Sink and have no bound here.
constexpr std::size_t max_body = 64UL * 1024 * 1024;

struct EndEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct EndList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

void start_libcurl() {
  static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
  static_cast<void>(once);
}

}  // namespace

struct Http::Transfer {
  Http* owner = nullptr;
  Id id = 0;
  Request request;
  Response response;
  Done done;
  Sink sink;
  bool stopped = false;  // by its sink
  bool too_long = false;
  std::unique_ptr<CURL, EndEasy> easy{curl_easy_init()};
  std::unique_ptr<curl_slist, EndList> headers;
  std::array<char, CURL_ERROR_SIZE> error{};

  void add_header(const std::string& line) {
    headers.reset(curl_slist_append(headers.release(), line.c_str()));
  }
  void prepare(const Endpoint& endpoint);
  void prepare_upload();
  bool take(std::string_view bytes);
  int status() const {
    long code = 0;
    curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &code);
    return static_cast<int>(code);
  }
};

bool Http::Transfer::take(std::string_view bytes) {
  const int code = status();
  if (sink && code >= 200 && code < 300) {
    stopped = !sink(bytes);
    return !stopped;
  }
  too_long = response.body.size() + bytes.size() > max_body;
  if (!too_long) response.body += bytes;
  return !too_long;
}

void Http::Transfer::prepare(const Endpoint& endpoint) {
  CURL* h = easy.get();
  curl_easy_setopt(h, CURLOPT_URL, (endpoint.url + request.path).c_str());
  if (!endpoint.socket.empty()) curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, endpoint.socket.c_str());
  curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(h, CURLOPT_ERRORBUFFER, error.data());
  curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, 10'000L);
  curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  if (request.upload >= 0) {
    prepare_upload();
  } else if (request.method == "POST") {
    curl_easy_setopt(h, CURLOPT_POST, 1L);
    curl_easy_setopt(h, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    add_header("Content-Type: application/json");
    add_header("Expect:");  // no round trip before bodies of more than 1 MiB
  } else if (request.method != "GET") {
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  if (!endpoint.token.empty()) add_header("Authorization: Bearer " + endpoint.token);
  if (!request.last_event_id.empty()) add_header("Last-Event-ID: " + request.last_event_id);
  if (!request.range.empty()) curl_easy_setopt(h, CURLOPT_RANGE, request.range.c_str());
  curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers.get());
}

void Http::Transfer::prepare_upload() {
  CURL* h = easy.get();
  curl_easy_setopt(h, CURLOPT_POST, 1L);
  curl_easy_setopt(h, CURLOPT_READDATA, this);
  curl_easy_setopt(
      h, CURLOPT_READFUNCTION, +[](char* room, std::size_t, std::size_t count, void* self) -> std::size_t {
        const int fd = static_cast<Transfer*>(self)->request.upload;
        ssize_t got = 0;
        do {
          got = ::read(fd, room, count);
        } while (got < 0 && errno == EINTR);
        return got < 0 ? CURL_READFUNC_ABORT : static_cast<std::size_t>(got);
      });
  struct stat status{};
  const bool is_file = ::fstat(request.upload, &status) == 0 && S_ISREG(status.st_mode);
  curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, is_file ? static_cast<curl_off_t>(status.st_size) : -1);
  if (!is_file) add_header("Transfer-Encoding: chunked");
  add_header("Content-Type: application/octet-stream");
  // A second is enough for a refusal to come before the bytes.
  curl_easy_setopt(h, CURLOPT_EXPECT_100_TIMEOUT_MS, 1000L);
  curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
  // However long it takes, as long as it goes on.
  curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, 60L);
}

Http::Http(Endpoint endpoint) : endpoint_(std::move(endpoint)), multi_(nullptr) {
  start_libcurl();
  multi_ = curl_multi_init();
}

Http::~Http() {
  while (!transfers_.empty()) cancel(transfers_.begin()->first);
  curl_multi_cleanup(static_cast<CURLM*>(multi_));
}

Http::Id Http::start(Request request, Done done, Sink sink) {
  auto transfer = std::make_unique<Transfer>();
  transfer->owner = this;
  transfer->id = next_id_++;
  transfer->request = std::move(request);
  transfer->done = std::move(done);
  transfer->sink = std::move(sink);
  transfer->prepare(endpoint_);
  CURL* easy = transfer->easy.get();
  curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer.get());
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer.get());
  curl_easy_setopt(
      easy, CURLOPT_WRITEFUNCTION,
      +[](char* bytes, std::size_t, std::size_t count, void* self) -> std::size_t {
        auto& receiver = *static_cast<Transfer*>(self);
        receiver.owner->progressed_ = true;
        return receiver.take({bytes, count}) ? count : 0;
      });
  curl_multi_add_handle(static_cast<CURLM*>(multi_), easy);
  const Id id = transfer->id;
  transfers_.emplace(id, std::move(transfer));
  return id;
}

void Http::cancel(Id id) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;
  curl_multi_remove_handle(static_cast<CURLM*>(multi_), found->second->easy.get());
  transfers_.erase(found);
}

bool Http::opened(Id id) const {
  const auto found = transfers_.find(id);
  return found != transfers_.end() && found->second->status() != 0;
}

void Http::turn(std::span<Watch> watches, Duration at_most) {
  std::vector<curl_waitfd> fds;
  for (const auto& watch : watches) fds.push_back({watch.fd, CURL_WAIT_POLLIN, 0});
  progressed_ = false;
  advance();
  // What came in that first step is the caller's to act on before anything is waited for.
  const int wait = progressed_ ? 0 : static_cast<int>(at_most.count());
  curl_multi_poll(static_cast<CURLM*>(multi_), fds.data(), static_cast<unsigned>(fds.size()), wait, nullptr);
  for (std::size_t i = 0; i < fds.size(); ++i) watches[i].readable = fds[i].revents != 0;
  advance();
}

void Http::advance() {
  auto* multi = static_cast<CURLM*>(multi_);
  int running = 0;
  curl_multi_perform(multi, &running);
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
    progressed_ = true;
    if (message->msg == CURLMSG_DONE) finish(message->easy_handle, message->data.result);
  }
}

void Http::finish(void* easy, int curl_code) {
  char* self = nullptr;
  curl_easy_getinfo(static_cast<CURL*>(easy), CURLINFO_PRIVATE, &self);
  const auto found = transfers_.find(reinterpret_cast<Transfer*>(self)->id);
  // Out of the table first: its Done may start and cancel others.
  const auto transfer = std::move(found->second);
  transfers_.erase(found);
  curl_multi_remove_handle(static_cast<CURLM*>(multi_), transfer->easy.get());
  transfer->response.status = transfer->status();
  const bool good = curl_code == CURLE_OK || (curl_code == CURLE_WRITE_ERROR && transfer->stopped);
  if (!good) return transfer->done(std::unexpected(no_answer(*transfer, curl_code)));
  transfer->done(std::move(transfer->response));
}

Complaint Http::no_answer(const Transfer& transfer, int curl_code) const {
  const std::string name = endpoint_.name();
  if (transfer.too_long) return {ExitStatus::refused, "the answer is longer than 64MiB", {}, {}};
  if (curl_code == CURLE_OPERATION_TIMEDOUT)
    return {ExitStatus::no_supervisor, "no answer from " + name, {}, {}};
  if (transfer.status() != 0) {
    return {ExitStatus::no_supervisor,
            "the supervisor at " + name + " went away in the middle of its answer",
            {},
            {}};
  }
  long code = 0;
  curl_easy_getinfo(transfer.easy.get(), CURLINFO_OS_ERRNO, &code);
  if (code == EACCES || code == EPERM) {
    return {ExitStatus::no_supervisor,
            name + " belongs to another user; run as its owner, or use --url and --token-file",
            {},
            {}};
  }
  std::string text = "no supervisor at " + name;
  if (code != 0 && code != ENOENT) {
    text += " (" + std::string(std::strerror(static_cast<int>(code))) + ")";
  } else if (code == 0 && transfer.error[0] != '\0') {
    text += " (" + std::string(transfer.error.data()) + ")";
  } else if (code == 0) {
    text += std::string(" (") + curl_easy_strerror(static_cast<CURLcode>(curl_code)) + ")";
  }
  return {ExitStatus::no_supervisor,
          text + "; start one with `kurultaid --config FILE`, or name it with --socket or --url",
          {},
          {}};
}

Answer<Response> Http::request(Request request, Sink sink) {
  Answer<Response> answer;
  bool ended = false;
  start(
      std::move(request), [&](Answer<Response> got) { answer = std::move(got), ended = true; },
      std::move(sink));
  while (!ended) turn({}, std::chrono::seconds(1));
  return answer;
}

}  // namespace kurultai
