// One line of an MCP server that is too long to be held: it is checked while it passes, and what it says as
// the result of a call goes to a file. Whose answer it is may stand at its end, so the file is named later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/json_scanner.h"
#include "worker/reply_file.h"

namespace kurultai {

class LongAnswer {
 public:
  /// `beside` is the path of a result file that will not be this one's; empty: no result is awaited, and none
  /// is kept. `limit` is of the result; 0 is none.
  LongAnswer(std::string beside, Bytes limit) : beside_(std::move(beside)), limit_(limit) {}

  void feed(std::string_view piece);

  // What is known, complete when the line is.
  /// Of the request that it answers; absent where that cannot be told.
  std::optional<std::int64_t> id() const;
  /// A request or a notification.
  bool has_method() const { return has_method_; }
  bool has_result() const { return has_result_; }
  /// The result says `isError: true`.
  bool is_error() const;
  /// The `error` of JSON-RPC as it stands, cut; empty: none, or null.
  std::string_view error() const;
  /// Why the result cannot be had; empty: it can.
  std::string trouble() const;
  Bytes bytes() const { return bytes_; }
  std::optional<ReplyFile>& file() { return file_; }

 private:
  struct Text {
    std::size_t limit;
    std::string text;
    void add(std::string_view piece);  // but for blanks in front
  };
  enum class Member : unsigned char { other, id, error, result };

  void take(std::string_view bytes);
  void begin_member();
  void end_member(std::string_view rest);
  void begin_inner_member();
  void keep(std::string_view bytes);

  std::string beside_;
  Bytes limit_;
  JsonScanner scanner_;
  Member member_ = Member::other;
  bool in_member_ = false;  // of the outermost object, behind its colon
  bool in_flag_ = false;    // the value of isError
  bool has_id_ = false;     // all of it: the beginning of a number is another request's
  bool has_method_ = false;
  bool has_result_ = false;
  Bytes bytes_{};  // of the line
  Text id_{32, {}};
  Text is_error_{8, {}};
  Text error_{4096, {}};
  std::optional<ReplyFile> file_;
  std::string trouble_;
};

}  // namespace kurultai
