#include "supervisor/store/footprint_file.h"

#include <utility>

#include "supervisor/event_log.h"
#include "supervisor/store/whole_file.h"

namespace kurultai {

namespace {

constexpr Duration write_pace{30000};
// A thousand keys of 32 samples take 1 MB.
constexpr std::size_t largest = 16 * 1024 * 1024;

}  // namespace

FootprintFile::FootprintFile(uv::Loop& loop, std::string path, std::function<Footprints()> current)
    : loop_(loop), path_(std::move(path)), current_(std::move(current)), timer_(loop, [this] { write(); }) {}

Result<Footprints> FootprintFile::load() const {
  const auto text = read_whole(path_, largest);
  if (!text) return std::unexpected(text.error());
  auto footprints = Footprints::parse(*text);
  if (!footprints) return failure(path_ + ": " + footprints.error().message);
  return footprints;
}

void FootprintFile::changed() {
  dirty_ = true;
  if (!writing_ && !timer_.is_running()) timer_.start(write_pace);
}

void FootprintFile::settle(std::function<void()> done) {
  if (is_settled()) return done();
  on_settled_ = std::move(done);
  if (!writing_) write();
}

void FootprintFile::write() {
  timer_.stop();
  dirty_ = false;
  writing_ = true;
  auto outcome = std::make_shared<Result<void>>();
  run_on_thread(
      loop_,
      [outcome, path = path_, footprints = current_()] {
        *outcome = replace_file(path, footprints.to_text());
      },
      [this, outcome, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) written(*outcome);
      });
}

void FootprintFile::written(const Result<void>& outcome) {
  writing_ = false;
  trouble_ = outcome ? "" : outcome.error().message;
  if (!outcome) log_warning("what was learned of footprints is not kept: " + trouble_);
  if (dirty_ && on_settled_) return write();
  if (dirty_) return timer_.start(write_pace);
  if (const auto done = std::exchange(on_settled_, nullptr)) done();
}

}  // namespace kurultai
