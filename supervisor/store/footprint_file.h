// What was learned of tasks' footprints, in a file, so that a restart does not forget it. Loop thread only;
// writing is done on a thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "governance/footprint.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

class FootprintFile {
 public:
  /// `current` gives what is to be written.
  FootprintFile(uv::Loop& loop, std::string path, std::function<Footprints()> current);

  /// What an earlier run wrote. A file that is missing or damaged is an error that says so.
  Result<Footprints> load() const;

  /// There is something new: it is written in at most half a minute.
  void changed();
  /// Why the newest could not be written; empty: it was, or will be.
  const std::string& trouble() const { return trouble_; }
  /// Whether all is written, or could not be.
  bool is_settled() const { return !dirty_ && !writing_; }
  /// Writes what is new now; calls back once all is settled.
  void settle(std::function<void()> done);

 private:
  void write();
  void written(const Result<void>& outcome);

  uv::Loop& loop_;
  std::string path_;
  std::function<Footprints()> current_;
  uv::Timer timer_;
  bool dirty_ = false;
  bool writing_ = false;
  std::string trouble_;
  std::function<void()> on_settled_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kurultai
