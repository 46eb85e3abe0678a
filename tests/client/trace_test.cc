#include "tools/kurultai/trace.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace kurultai::trace_test {
namespace {

/// A file that goes with it.
class File {
 public:
  explicit File(const std::string& text) {
    const int fd = mkstemp(name_.data());
    REQUIRE(fd >= 0);
    ::close(fd);
    std::ofstream(name_, std::ios::binary) << text;
  }
  ~File() { std::filesystem::remove(name_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const std::string& name() const { return name_; }

 private:
  std::string name_ = "/tmp/kurultai-trace-XXXXXX";
};

std::string complaint_about(const std::string& text) {
  const File file(text);
  const auto trace = read_trace(file.name());
  REQUIRE_FALSE(trace);
  CHECK(trace.error().status == ExitStatus::usage);
  REQUIRE(trace.error().text.starts_with(file.name()));
  return trace.error().text.substr(file.name().size());
}

TEST_CASE("what a line of a trace may be") {
  const struct {
    const char* line;
    double seconds, bytes;
  } good[] = {{"0,1", 0, 1}, {"0.10,4096", 0.1, 4096}, {" 1 , 2\t", 1, 2}, {"1e3,2.5e6", 1000, 2.5e6}};
  for (const auto& row : good) {
    CAPTURE(row.line);
    const auto reading = parse_trace_line(row.line);
    REQUIRE(reading);
    CHECK(reading->seconds == row.seconds);
    CHECK(reading->bytes == row.bytes);
  }
  for (const char* missing : {"1,", "1,nan", "1,NaN"}) {
    const auto reading = parse_trace_line(missing);
    REQUIRE(reading);
    CHECK(std::isnan(reading->bytes));
  }
  for (const char* bad : {"", "1", "1;2", "1,2,3", "1,-2", "1,x", "x,1", "1,2 kB", "0x1,2", "1,+-2"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_trace_line(bad));
  }
}

TEST_CASE("a trace with a heading, empty lines, missing readings and the endings of another system") {
  const File file("seconds,bytes\r\n0,10\r\n\r\n1,nan\r\n1,20\r\n1,20\r\n2,5");
  const auto trace = read_trace(file.name());
  REQUIRE(trace);
  CHECK(trace->series.readings() == 3);
  CHECK(trace->series.latest() == 5);
  CHECK(trace->left_out == 2);
}

TEST_CASE("a bad trace is complained of with its line") {
  CHECK(complaint_about("") == ": holds no readings");
  CHECK(complaint_about("seconds,bytes\n") == ": holds no readings");
  CHECK(complaint_about("0,nan\n1,\n") == ": all its readings are missing");
  CHECK(complaint_about("seconds,bytes\n0,1\nfoo\n") == ":3: 'foo' is not seconds,bytes");
  CHECK(complaint_about("0,1\n1,-1\n") == ":2: '1,-1' is not seconds,bytes");
  CHECK(complaint_about("0,1\nseconds,bytes\n") == ":2: 'seconds,bytes' is not seconds,bytes");
  CHECK(complaint_about("0,1\n\x1b[2J\n") == ":2: ' [2J' is not seconds,bytes");
  CHECK(complaint_about("0," + std::string(5000, '1')).starts_with(":1: '0,111"));
  CHECK(complaint_about(std::string("0,1\n\0\n", 6)) == ":2: '' is not seconds,bytes");
}

TEST_CASE("a file that is not there is no such thing") {
  const auto trace = read_trace("/tmp/kurultai-no-such-trace");
  REQUIRE_FALSE(trace);
  CHECK(trace.error().status == ExitStatus::no_such_thing);
  CHECK(trace.error().text == "/tmp/kurultai-no-such-trace: No such file or directory");
}

}  // namespace
}  // namespace kurultai::trace_test
