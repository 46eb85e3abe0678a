// The kernel's limit of all workers, kept in step with what is handed out among them: behind the edges it is
// never to be reached, or the kernel kills by its own order. Loop thread only.
#pragma once

#include <memory>
#include <string>

#include "supervisor/dispatcher.h"
#include "supervisor/memory/controller.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

class Backstop {
 public:
  Backstop(uv::Loop& loop, Controller& controller, Dispatcher& dispatcher);

  /// What all workers together may hold. Takes effect in a while, and is tried again and again as long as the
  /// kernel refuses (more is in use): it reclaims in the writer, so the writing is done on a thread.
  void set(Bytes limit);
  /// Why the limit is not what it should be; empty: it is.
  const std::string& trouble() const { return trouble_; }

 private:
  Bytes to_hand_out() const;
  void write();
  void written(Bytes limit, const Result<void>& outcome);

  uv::Loop& loop_;
  Controller& controller_;
  Dispatcher& dispatcher_;
  uv::Timer again_;
  Bytes limit_;
  bool writing_ = false;
  std::string trouble_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kurultai
