// Whether stdout is for somebody who sees colours.
#pragma once

namespace kurultai {

/// Not in a file or a pipe, on a terminal that cannot, or where NO_COLOR is set (https://no-color.org).
bool colours_wanted();

}  // namespace kurultai
