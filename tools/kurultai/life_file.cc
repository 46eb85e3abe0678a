#include "tools/kurultai/life_file.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "governance/life_parser.h"
#include "protocol/line_splitter.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

std::unexpected<Complaint> unreadable(const std::string& file, int code) {
  const auto status = code == ENOENT ? ExitStatus::no_such_thing : ExitStatus::usage;
  return complaint(status, file + ": " + std::strerror(code));
}

class Lines {
 public:
  Lines(const std::string& file, const std::function<void(const LifeRecord&)>& take)
      : file_(file), take_(take) {}

  /// False: something is wrong, and nothing more is to be read.
  bool take(const LineSplitter::Line& line) {
    number_ += 1;
    if (line.kind == LineSplitter::Kind::too_long) return refuse("is longer than any record");
    const auto record = parser_.parse(line.text);
    if (!record) return refuse(record.error().message);
    if (std::holds_alternative<ReadingSeen>(*record)) readings_ += 1;
    take_(*record);
    return true;
  }

  Answer<void> end(bool in_a_line) {
    if (!outcome_) return outcome_;
    if (in_a_line) {
      return at_line(number_ + 1, "the recording is cut off in the middle of its last line; `head -n " +
                                      std::to_string(number_) + "` gives what is whole");
    }
    if (number_ == 0) return complaint(ExitStatus::usage, file_ + ": is empty");
    if (readings_ == 0) return complaint(ExitStatus::usage, file_ + ": holds no readings");
    return {};
  }

 private:
  bool refuse(const std::string& why) {
    outcome_ = at_line(number_, why);
    return false;
  }
  Answer<void> at_line(std::size_t number, const std::string& why) const {
    return complaint(ExitStatus::usage, file_ + ":" + std::to_string(number) + ": " + printable(why));
  }

  const std::string& file_;
  const std::function<void(const LifeRecord&)>& take_;
  LifeParser parser_;
  std::size_t number_ = 0, readings_ = 0;
  Answer<void> outcome_;
};

}  // namespace

Answer<void> for_each_record(const std::string& file, const std::function<void(const LifeRecord&)>& take) {
  const std::unique_ptr<FILE, int (*)(FILE*)> stream(std::fopen(file.c_str(), "re"), std::fclose);
  if (!stream) return unreadable(file, errno);
  Lines lines(file, take);
  LineSplitter splitter(longest_life_line);
  std::array<char, 65536> buffer{};
  bool goes_on = true;
  while (goes_on && std::feof(stream.get()) == 0 && std::ferror(stream.get()) == 0) {
    const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), stream.get());
    splitter.feed({buffer.data(), count}, [&](const LineSplitter::Line& line) {
      goes_on = lines.take(line);
      return goes_on;
    });
  }
  if (std::ferror(stream.get()) != 0) return unreadable(file, errno);
  return lines.end(goes_on && !splitter.rest().empty());
}

}  // namespace kurultai
