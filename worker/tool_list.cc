#include "worker/tool_list.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/utf8.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr int most_pages = 64;
// All of it goes to the supervisor in one line, which is not to be longer than any configured limit.
constexpr std::size_t most_text = 48 * 1024;
constexpr std::size_t hinted = 10;

std::string text_of(const json& object, const char* member, std::size_t limit) {
  const auto found = object.find(member);
  if (found == object.end() || !found->is_string()) return {};
  return std::string(utf8_prefix(found->get_ref<const std::string&>(), limit));
}

}  // namespace

void ToolList::begin() {
  growing_ = {};
  pages_ = 0;
  text_ = 0;
}

std::string ToolList::add(const json& page) {
  static const json nothing;
  const json& list = page.is_object() && page.contains("tools") ? page["tools"] : nothing;
  for (const json& tool : list.is_array() ? list : json::array()) {
    if (growing_.tools.size() == Tools::most || !tool.is_object()) break;
    Tool read{text_of(tool, "name", Tools::longest_name),
              text_of(tool, "description", Tools::longest_description)};
    text_ += read.name.size() + read.description.size();
    if (text_ > most_text) read.description.clear();
    growing_.tools.push_back(std::move(read));
  }
  std::string cursor = page.is_object() ? text_of(page, "nextCursor", 4096) : std::string();
  if (++pages_ < most_pages && growing_.tools.size() < Tools::most && !cursor.empty()) return cursor;
  complete_ = std::move(growing_);
  begin();
  return {};
}

std::string ToolList::hint(std::string_view tool) const {
  const auto& tools = complete_.tools;
  if (tools.empty() || std::ranges::find(tools, tool, &Tool::name) != tools.end()) return {};
  std::string names;
  for (std::size_t at = 0; at < std::min(tools.size(), hinted); ++at)
    names.append(at == 0 ? "" : ", ").append(tools[at].name);
  return " (its tools: " + names + (tools.size() > hinted ? ", …)" : ")");
}

}  // namespace kurultai
