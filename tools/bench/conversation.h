// Talks with one kurultaid over its socket: requests, and all its events from now on. One thread; whatever
// fails is thrown.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tools/kurultai/event_stream.h"
#include "tools/kurultai/http.h"

namespace kurultai::bench {

class Conversation {
 public:
  /// Returns when the events are being told.
  explicit Conversation(const std::string& socket);

  /// The id of the new task.
  std::string submit(const nlohmann::json& task);
  /// Empty when there is no answer, or one that is no JSON.
  nlohmann::json get(const std::string& path);
  nlohmann::json task(const std::string& id);
  nlohmann::json why(const std::string& id);
  void cancel(const std::string& id);

  /// Takes events until `condition` is true; false when it did not become so in time.
  bool wait_until(const std::function<bool()>& condition,
                  std::chrono::seconds patience = std::chrono::seconds(60));
  const std::vector<nlohmann::json>& events() const { return events_; }
  void forget_events() { events_.clear(); }

 private:
  void take_events(std::string_view bytes);

  Http http_;
  EventStream stream_;
  std::vector<nlohmann::json> events_;
};

}  // namespace kurultai::bench
