// Files that are there whole or not at all.
#include "supervisor/store/whole_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace kurultai::whole_file_test {

namespace {

struct Directory {
  std::string path = "/tmp/kurultai-test-XXXXXX";
  Directory() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path); }
  std::ptrdiff_t entries() const { return std::distance(std::filesystem::directory_iterator(path), {}); }
};

}  // namespace

TEST_CASE("a file is replaced as a whole, for its owner only, and nothing stays beside it") {
  const Directory directory;
  const std::string file = directory.path + "/file";
  REQUIRE(replace_file(file, "a long first text"));
  REQUIRE(replace_file(file, "second"));
  CHECK(read_whole(file, 100).value() == "second");
  struct stat status{};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(directory.entries() == 1);
}

TEST_CASE("a file that cannot be replaced is what it was, and the error names the call") {
  const Directory directory;
  const std::string file = directory.path + "/file";
  REQUIRE(std::filesystem::create_directory(file));  // which no file can take the place of
  const auto replaced = replace_file(file, "text");
  REQUIRE(!replaced);
  CHECK(replaced.error().message.starts_with("rename " + file + ".new: "));
  CHECK(directory.entries() == 1);
}

TEST_CASE("a file is read up to its limit and not beyond") {
  const Directory directory;
  const std::string file = directory.path + "/file";
  REQUIRE(replace_file(file, std::string(1000, 'x')));
  CHECK(read_whole(file, 1000).value().size() == 1000);
  CHECK(read_whole(file, 999).error().message == file + " is too large");
  CHECK(read_whole(directory.path + "/none", 1).error().code == ENOENT);
}

TEST_CASE("a copy is what was copied, over whatever was there") {
  const Directory directory;
  const std::string bytes(200'000, 'y');
  REQUIRE(replace_file(directory.path + "/from", bytes));
  REQUIRE(replace_file(directory.path + "/to", std::string(300'000, 'z')));
  REQUIRE(copy_file(directory.path + "/from", directory.path + "/to"));
  CHECK(read_whole(directory.path + "/to", bytes.size()).value() == bytes);
  CHECK(copy_file(directory.path + "/none", directory.path + "/to").error().code == ENOENT);
  CHECK(read_whole(directory.path + "/to", bytes.size()).value() == bytes);
}

}  // namespace kurultai::whole_file_test
