// One frame of `kurultai top`. Pure: from values to lines. No line is wider and no frame higher than asked
// for, however small that is; what does not fit is counted instead of shown.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/duration.h"
#include "tools/kurultai/top/state.h"

namespace kurultai {

/// What rows are sorted by: memory first, those of the highest priority, or the oldest.
enum class TopOrder : unsigned char { memory, priority, age };
std::string_view to_string(TopOrder order);
/// memory, priority, age, memory, …
TopOrder next(TopOrder order);

struct TopView {
  std::size_t columns = 80;
  std::size_t rows = 24;
  TopOrder order = TopOrder::memory;
  bool paused = false;
  bool keys = true;  // the last line names them
  WallTime now;
};

/// Something that happened: a sentence with its time.
struct TopEvent {
  std::string text;
  Tone tone = Tone::plain;
};

struct ScreenLine {
  std::string text;  // printable, at most `columns` wide
  enum class Look : unsigned char { plain, heading, detail, good, notice, bad } look = Look::plain;
};

/// `events`: the newest last.
std::vector<ScreenLine> draw_top(const TopState& state, const std::vector<TopEvent>& events,
                                 const TopView& view);

/// A bar of `columns` cells, filled up to `ratio`, with a `|` at each mark.
std::string memory_bar(double ratio, const std::vector<TopMark>& marks, std::size_t columns);

/// So many rows for each of several lists that want some, and no more than `available` in all: what one does
/// not need the others get.
std::vector<std::size_t> share_rows(std::vector<std::size_t> wanted, std::size_t available);

}  // namespace kurultai
