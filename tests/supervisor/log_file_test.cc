#include "supervisor/store/log_file.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "supervisor/store/task_logs.h"

namespace kurultai::log_file_test {

namespace {

struct Place {
  std::string directory = "/tmp/kurultai-test-XXXXXX";
  std::string file;

  Place() {
    REQUIRE(::mkdtemp(directory.data()) != nullptr);
    file = directory + "/task";
  }
  ~Place() { std::filesystem::remove_all(directory); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::string all(std::uint64_t from = 0) const { return read_log(file, from, 1 << 20).value().text; }
};

std::string lines(int first, int last) {
  std::string text;
  for (int number = first; number < last; ++number) text += "line " + std::to_string(number) + "\n";
  return text;
}

}  // namespace

TEST_CASE("a log is what was appended, and nothing where nothing was") {
  const Place place;
  CHECK(place.all().empty());
  CHECK(append_to_log(place.file, "one\n", 1000).value() == 4);
  CHECK(append_to_log(place.file, "two\n", 1000).value() == 8);
  const LogPiece piece = read_log(place.file, 4, 100).value();
  CHECK(piece.text == "two\n");
  CHECK(piece.next == 8);
  CHECK(piece.is_all);
  CHECK_FALSE(read_log(place.file, 0, 5)->is_all);
  CHECK(read_log(place.file, newest_of_log, 4)->text == "two\n");
  CHECK(place.all(100).empty());
}

TEST_CASE("the newest lines are kept within the limit, and one says how much is missing") {
  const Place place;
  const std::string everything = lines(0, 3000);
  for (std::size_t at = 0; at < everything.size(); at += 700) {
    const auto kept = append_to_log(place.file, std::string_view(everything).substr(at, 700), 8192);
    CHECK(kept.value() <= 8192);
  }
  const std::string text = place.all();
  CHECK(text.size() <= 8192);
  CHECK(text.size() > 8192 / 2 - 200);
  const std::size_t note = text.find('\n') + 1;
  const std::string rest = text.substr(note);
  CHECK(rest.starts_with("line "));
  CHECK(everything.ends_with(rest));
  CHECK(text.substr(0, note) == "[kurultai] " + std::to_string(everything.size() - rest.size()) +
                                    " bytes before this are no longer kept\n");
  // Whoever follows hears of what he missed only.
  CHECK(place.all(everything.size() - 9) == everything.substr(everything.size() - 9));
  CHECK(std::distance(std::filesystem::directory_iterator(place.directory), {}) == 2);
  remove_log(place.file);
  CHECK(std::filesystem::is_empty(place.directory));
}

TEST_CASE("more than the limit at once leaves the newest of it") {
  const Place place;
  CHECK(append_to_log(place.file, lines(0, 5000), 1000).value() <= 1000);
  CHECK(place.all().ends_with("line 4999\n"));
  CHECK(place.all().size() <= 1000);
}

TEST_CASE("a file that was not begun properly is begun again behind the other") {
  const Place place;
  REQUIRE(append_to_log(place.file, lines(0, 100), 1000));
  const std::uint64_t end = read_log(place.file, newest_of_log, 1)->next;
  std::ofstream(place.file, std::ios::trunc) << "0000";
  REQUIRE(append_to_log(place.file, "on\n", 1000));
  const LogPiece piece = read_log(place.file, 0, 1 << 20).value();
  CHECK(piece.text.ends_with("on\n"));
  CHECK(piece.next < end);
  CHECK(append_to_log(place.directory + "/absent/file", "text", 1000).error().message.starts_with("open "));
}

TEST_CASE("what waits to be written keeps its newest bytes and counts those it dropped") {
  LogTail log;
  std::string everything;
  for (int i = 0; i < 100; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    everything += line;
    log.append(line, 100);
    CHECK(log.text.size() <= 100);
    CHECK(log.dropped + log.text.size() == everything.size());
    CHECK(everything.ends_with(log.text));
  }
}

}  // namespace kurultai::log_file_test
