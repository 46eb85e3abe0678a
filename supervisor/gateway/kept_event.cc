#include "supervisor/gateway/kept_event.h"

#include <utility>

namespace kurultai {

namespace {

/// Around the texts of facts: the names, the figures, and the lines of the stream.
constexpr std::size_t most_around_facts = 384;

std::string as_sent(std::uint64_t id, std::string_view name, std::string_view data) {
  std::string text;
  text.reserve(data.size() + 64);  // no more than that: some are kept
  text.append("id: ").append(std::to_string(id)).append("\nevent: ").append(name);
  return text.append("\ndata: ").append(data).append("\n\n"), text;
}

}  // namespace

KeptEvent::KeptEvent(const Event& event) : id_(event.id) {
  if (auto facts = facts_of(event)) {
    told_ = *std::move(facts);
  } else {
    told_ = Words{name_of(event), std::string(task_of(event)), std::string(agent_of(event)),
                  as_sent(event.id, name_of(event), to_json(event))};
  }
}

std::string_view KeptEvent::task_id() const {
  if (const auto* facts = std::get_if<TaskEventFacts>(&told_)) return facts->task_id;
  return std::get<Words>(told_).task_id;
}

std::string_view KeptEvent::name() const {
  if (const auto* facts = std::get_if<TaskEventFacts>(&told_)) return name_of(facts->kind);
  return std::get<Words>(told_).name;
}

std::string_view KeptEvent::agent() const {
  if (const auto* facts = std::get_if<TaskEventFacts>(&told_)) return facts->agent;
  return std::get<Words>(told_).agent;
}

std::string KeptEvent::text() const {
  if (const auto* facts = std::get_if<TaskEventFacts>(&told_))
    return as_sent(id_, name_of(facts->kind), to_json(*facts));
  return std::get<Words>(told_).text;
}

std::size_t KeptEvent::size() const {
  const auto* facts = std::get_if<TaskEventFacts>(&told_);
  if (facts == nullptr) return std::get<Words>(told_).text.size();
  return most_around_facts + facts->correlation_id.size() + 2 * facts->task_id.size() + facts->agent.size() +
         facts->worker_id.size();
}

}  // namespace kurultai
