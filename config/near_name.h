// The name that somebody who mistyped one probably meant. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kurultai {

/// How many letters were inserted, left out, replaced or swapped with their neighbour.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The nearest of `names`, when it is near enough to be meant: a third of its letters may be wrong, one at
/// least.
std::optional<std::string> near_name(std::string_view word, std::span<const std::string> names);

/// How a message about an unknown key goes on: with the nearest name; with the few that have it for one of
/// their words (`workers`: max_workers); or with all `names` when there is neither.
std::string meant_or_known(std::string_view word, std::span<const std::string> names);

}  // namespace kurultai
