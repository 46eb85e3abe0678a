// What both directions of decoding share: a line is opened, its type looked up, its fields read.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "protocol/codec.h"
#include "protocol/fields.h"
#include "protocol/utf8.h"

namespace kurultai {

struct OpenLine {
  nlohmann::json object;
  std::string type;
};

/// The object on a line and its `type`.
std::variant<OpenLine, Noise, Malformed> open_line(std::string_view line);

/// One known type of message and how its fields are read.
template <typename Message>
struct MessageType {
  std::string_view name;
  Message (*read)(Fields&);
};

template <typename Message>
using Decoded = std::variant<Message, Noise, UnknownType, Malformed>;

template <typename Message>
Decoded<Message> read_message(OpenLine& line, std::span<const MessageType<Message>> types) {
  for (const MessageType<Message>& type : types) {
    if (type.name != line.type) continue;
    Fields fields(type.name, line.object);
    Decoded<Message> message = type.read(fields);
    if (!fields.why().empty()) return Malformed{fields.why()};
    return message;
  }
  return UnknownType{std::string(utf8_prefix(line.type, 64))};
}

template <typename Message>
Decoded<Message> decode_line(std::string_view text, std::span<const MessageType<Message>> types) {
  auto opened = open_line(text);
  if (auto* noise = std::get_if<Noise>(&opened)) return *noise;
  if (auto* malformed = std::get_if<Malformed>(&opened)) return std::move(*malformed);
  return read_message(std::get<OpenLine>(opened), types);
}

}  // namespace kurultai
