#include "supervisor/publishing/publishers.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace kurultai {

namespace {

constexpr Duration moment{2000};

/// What libcurl and its libraries look at; the rest may be secret.
bool is_about_connections(std::string_view variable) {
  constexpr std::array<std::string_view, 9> names = {"http_proxy", "https_proxy",   "HTTPS_PROXY",
                                                     "all_proxy",  "ALL_PROXY",     "no_proxy",
                                                     "NO_PROXY",   "SSL_CERT_FILE", "SSL_CERT_DIR"};
  return std::ranges::find(names, variable.substr(0, variable.find('='))) != names.end();
}

std::vector<std::string> about_connections(const std::vector<std::string>& environment) {
  std::vector<std::string> some;
  std::ranges::copy_if(environment, std::back_inserter(some), is_about_connections);
  return some;
}

}  // namespace

Publishers::Publishers(uv::Loop& loop, Events& events, std::string program,
                       const std::vector<std::string>& environment)
    : parts_{loop, events, std::move(program), about_connections(environment)} {}

void Publishers::configure(const Config& config) {
  const bool has_new_rules = breaker_ != config.circuit_breakers || breaks_ != config.flags.circuit_breakers;
  breaker_ = config.circuit_breakers;
  breaks_ = config.flags.circuit_breakers;
  auto before = std::exchange(all_, {});
  for (const PublisherConfig& wanted : config.publishers) {
    const auto same = std::ranges::find_if(
        before, [&](const auto& publisher) { return publisher != nullptr && publisher->config() == wanted; });
    if (same == before.end()) {
      all_.push_back(std::make_unique<Publisher>(parts_, wanted, breaker_, breaks_));
      const auto old = std::ranges::find_if(before, [&](const auto& publisher) {
        return publisher != nullptr && publisher->config().name == wanted.name;
      });
      if (old != before.end()) all_.back()->take_over(**old);
      continue;
    }
    all_.push_back(std::move(*same));
    if (has_new_rules) all_.back()->start_anew(breaker_, breaks_);
  }
  for (auto& publisher : before) {
    if (publisher != nullptr) let_go(std::move(publisher), moment);
  }
}

void Publishers::on_event(const Event& event) {
  for (const auto& publisher : all_) publisher->on_event(event);
}

void Publishers::end(Duration limit, std::function<void()> ended) {
  ended_ = std::move(ended);
  for (auto& publisher : std::exchange(all_, {})) let_go(std::move(publisher), limit);
  end_if_alone();
}

void Publishers::hurry() {
  for (const auto& publisher : leaving_) publisher->hurry();
}

void Publishers::let_go(std::unique_ptr<Publisher> publisher, Duration limit) {
  Publisher* const it = publisher.get();
  leaving_.push_back(std::move(publisher));
  it->end(limit, [this, it] {
    past_[it->config().name] += it->outbox().counts();
    std::erase_if(leaving_, [it](const auto& one) { return one.get() == it; });
    end_if_alone();
  });
}

void Publishers::end_if_alone() {
  if (ended_ && leaving_.empty()) uv::defer(parts_.loop, std::exchange(ended_, nullptr));
}

std::map<std::string, Outbox::Counts> Publishers::counts() const {
  auto counts = past_;
  for (const auto* some : {&all_, &leaving_}) {
    for (const auto& publisher : *some) counts[publisher->config().name] += publisher->outbox().counts();
  }
  return counts;
}

std::string Publishers::trouble() const {
  std::string all;
  for (const auto& publisher : all_) {
    const std::string one = publisher->trouble();
    if (one.empty()) continue;
    if (!all.empty()) all += "; ";
    all += one;
  }
  return all;
}

}  // namespace kurultai
