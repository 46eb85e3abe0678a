#include "tools/kurultai/run/input.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

namespace kurultai::input_test {

namespace {

/// A pipe that holds `text` and has been closed by its writer.
class Pipe {
 public:
  explicit Pipe(const std::string& text) {
    REQUIRE(pipe2(fds_, O_CLOEXEC) == 0);
    fcntl(fds_[1], F_SETPIPE_SZ, 1024 * 1024);
    REQUIRE(write(fds_[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    close(fds_[1]);
  }
  ~Pipe() { close(fds_[0]); }
  int fd() const { return fds_[0]; }

 private:
  int fds_[2] = {-1, -1};
};

std::vector<std::string> all_of(Input& input) {
  std::vector<std::string> out;
  while (!input.at_end()) {
    if (input.wants_reading()) REQUIRE(input.read_some());
    while (auto next = input.next()) out.push_back(*next);
  }
  return out;
}

std::string fault_in(const std::string& text) {
  Pipe pipe(text);
  Input input = Input::lines_of(pipe.fd());
  for (;;) {
    if (auto read = input.read_some(); !read) return read.error().message;
    while (input.next()) {
    }
    if (input.at_end()) return "";
  }
}

}  // namespace

TEST_CASE("each line is an argument, the last one also without its newline") {
  Pipe pipe("a\nb c\n\nlast");
  Input input = Input::lines_of(pipe.fd());
  CHECK_FALSE(input.total());
  CHECK(all_of(input) == std::vector<std::string>{"a", "b c", "", "last"});
  CHECK(input.total() == 4U);
}

TEST_CASE("an empty input has no arguments") {
  Pipe pipe("");
  Input input = Input::lines_of(pipe.fd());
  CHECK(all_of(input).empty());
  CHECK(input.total() == 0U);
}

TEST_CASE("input is read only when what was read is used up") {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "line " + std::to_string(i) + "\n";
  Pipe pipe(text);
  Input input = Input::lines_of(pipe.fd());
  REQUIRE(input.read_some());
  CHECK_FALSE(input.wants_reading());
  CHECK_FALSE(input.at_end());
  CHECK(all_of(input).size() == 20'000);
}

TEST_CASE("given arguments are known from the start") {
  Input input(std::vector<std::string>{"a", "b"});
  CHECK(input.total() == 2U);
  CHECK_FALSE(input.wants_reading());
  CHECK(input.next() == "a");
  CHECK(input.next() == "b");
  CHECK(input.at_end());
  CHECK_FALSE(input.next());
}

TEST_CASE("a line that can be no argument is an error with its number") {
  CHECK(fault_in(std::string("a\nb\0c\n", 6)) == "line 2 of the input holds a NUL byte");
  CHECK(fault_in("a\n\xff\n") == "line 2 of the input is not UTF-8");
  CHECK(fault_in("a\nb\n" + std::string(max_argument + 1, 'x') + "\n") ==
        "line 3 of the input is longer than 128KiB");
  CHECK(fault_in(std::string(500'000, 'x')) == "line 1 of the input is longer than 128KiB");
  CHECK(fault_in(std::string(max_argument, 'x') + "\n").empty());
}

}  // namespace kurultai::input_test
