// What a request must look like where llhttp lets more pass than RFC 9112: line ends, repeated fields, the
// target, Host, the coding of the body. Whatever two readers could take for different requests is refused.
// Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/gateway/http.h"

namespace kurultai {

/// Why a request is refused; `why` stands in JSON as it is: no quotes, no backslashes.
struct RequestFault {
  int status;
  std::string why;
};

/// Follows every byte of a request that is not body: the head, the lines of chunks, trailers. A line ends
/// with CRLF and nothing else, none begins with a blank (obsolete folding), and there are no control
/// characters.
class RequestLines {
 public:
  /// `max_head`: bytes of the head, with the line ends.
  explicit RequestLines(std::size_t max_head) : left_(max_head) {}

  /// The next bytes; what is wrong with them, or nothing.
  std::optional<std::string_view> take(std::string_view bytes);
  /// The head was complete. What follows may be so many lines as the body is worth.
  void begin_body();
  /// The last chunk's size was read; trailers may follow.
  void begin_trailers() { part_ = Part::fields; }
  /// So many bytes of body were read.
  void add_body(std::size_t bytes) {
    left_ += bytes * lines_per_body;
    after_chunk_ = true;
  }

  bool empty() const { return taken_ == 0; }
  /// How much more may come.
  std::size_t left() const { return left_; }
  /// Length of the request line without its end; 0 before that was seen.
  std::size_t request_line() const { return request_line_; }

  /// Of a line behind the head: a chunk's size with extensions, or a trailer.
  static constexpr std::size_t max_body_line = 256;
  /// A body in chunks of one byte takes 5 bytes around each.
  static constexpr std::size_t lines_per_body = 8;
  /// Extensions and trailers that need no body.
  static constexpr std::size_t free_body_lines = 16 * 1024;

 private:
  enum class Part { request_line, fields, chunks };

  std::optional<std::string_view> end_line();

  std::size_t left_;
  std::size_t taken_ = 0;
  std::size_t line_ = 0;  // bytes of the current line
  std::size_t request_line_ = 0;
  Part part_ = Part::request_line;
  bool in_name_ = true;  // of a field
  bool after_return_ = false;
  bool after_chunk_ = false;  // the line end behind its data is due
  bool in_body_ = false;
};

/// Header names are kept in lower case.
std::string lower_case(std::string text);

/// Whether a header of this name (in lower case) may stand several times. Of those that say who asks and
/// where the body ends there is one.
bool may_repeat(std::string_view name);

/// `host`, `host:port` or `[address]:port` (RFC 3986), without user information.
bool is_authority(std::string_view text);

/// Judges a head whose method, target and headers were read; sets path and query, and Host from a target that
/// names one. `request_line`: its length on the wire, which shows blanks that llhttp has skipped.
std::optional<RequestFault> read_head(HttpRequest& request, std::size_t request_line);

}  // namespace kurultai
