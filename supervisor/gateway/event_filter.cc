#include "supervisor/gateway/event_filter.h"

#include <algorithm>

#include "config/near_name.h"
#include "config/yaml_tree.h"
#include "protocol/event_names.h"

namespace kurultai {

bool EventFilter::wants(const KeptEvent& event) const {
  if (!task_id.empty() && task_id != event.task_id()) return false;
  if (!agent.empty() && agent != event.agent()) return false;
  return types.empty() || std::ranges::find(types, event.name()) != types.end();
}

Result<std::vector<std::string>> parse_event_types(std::string_view text) {
  static const std::vector<std::string> known(std::begin(event_names), std::end(event_names));
  std::vector<std::string> types;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    const std::string type(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (std::ranges::find(known, type) == known.end())
      return failure("types: there is no event " + in_quotes(type) + meant_or_known(type, known));
    if (std::ranges::find(types, type) == types.end()) types.push_back(type);
  }
  return types;
}

}  // namespace kurultai
