#include "supervisor/store/upload.h"

#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace kurultai {

namespace {

constexpr std::size_t high = 256 * 1024;  // bytes that wait for the disk
constexpr std::size_t low = 128 * 1024;

}  // namespace

/// XXH3 of 128 bits: it tells apart what clients send by mistake under one idempotency key, at the speed of
/// memory. It is no defence against somebody who wants two payloads to look the same.
struct Upload::Digest {
  Digest() { XXH3_128bits_reset(&state); }

  std::string text() const {
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, XXH3_128bits_digest(&state));
    std::string hex;
    for (const unsigned char byte : bytes.digest) {
      static constexpr std::string_view digits = "0123456789abcdef";
      hex += digits[byte >> 4];
      hex += digits[byte & 15];
    }
    return hex;
  }

  XXH3_state_t state;
};

Upload::Upload(uv::Loop& loop, std::string path, std::int64_t max_bytes)
    : file_(loop, std::move(path)), max_bytes_(max_bytes), digest_(std::make_unique<Digest>()) {}

Upload::~Upload() {
  if (!kept_) file_.discard();
}

void Upload::take(std::string_view piece) {
  XXH3_128bits_update(&digest_->state, piece.data(), piece.size());
  file_.append(std::string(piece));
}

bool Upload::is_full() const { return file_.pending() > high; }

void Upload::when_room(std::function<void()> then) {
  then_ = std::move(then);
  file_.on_progress([this] {
    if (file_.pending() < low && then_) std::exchange(then_, nullptr)();
  });
}

void Upload::finish(bool durable, std::function<void(Result<PayloadFile>)> done) {
  PayloadFile payload{file_.path(), file_.size(), digest_->text()};
  // Of an empty one nothing was written, and it has to have a file too.
  const bool syncs = durable || payload.bytes == 0;
  const auto until = syncs ? SpoolFile::Until::synced : SpoolFile::Until::written;
  file_.finish(until, [payload = std::move(payload), done = std::move(done)](const Result<void>& written) {
    written ? done(payload) : done(std::unexpected(written.error()));
  });
}

}  // namespace kurultai
