#include "supervisor/store/remove_tree.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace kurultai::remove_tree_test {
namespace fs = std::filesystem;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds plenty{60'000};

class Scratch {
 public:
  Scratch() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = fs::temp_directory_path() / "kurultai-remove-XXXXXX";
};

void write(const std::string& path, std::size_t bytes = 1) { std::ofstream(path) << std::string(bytes, 'x'); }

}  // namespace

TEST_CASE("a tree is removed, and what its links lead to is not") {
  const Scratch scratch;
  fs::create_directories(scratch / "outside");
  write(scratch / "outside/precious");
  fs::create_directories(scratch / "tree/a/b");
  write(scratch / "tree/a/b/file");
  fs::create_symlink(scratch / "outside", scratch / "tree/link");
  fs::create_symlink("/no/such", scratch / "tree/dangling");
  REQUIRE(::mkfifo((scratch / "tree/fifo").c_str(), 0600) == 0);
  for (const char* locked : {"tree/a/b", "tree/a", "tree"})
    fs::permissions(scratch / locked, fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(remove_tree(scratch / "tree", plenty) == Removal::done);
  CHECK_FALSE(fs::exists(scratch / "tree"));
  CHECK(fs::exists(scratch / "outside/precious"));
}

TEST_CASE("what is to be removed may be a link itself, a file, or nothing") {
  const Scratch scratch;
  fs::create_directories(scratch / "outside");
  fs::create_symlink(scratch / "outside", scratch / "link");
  CHECK(remove_tree(scratch / "link", plenty) == Removal::done);
  CHECK(fs::exists(scratch / "outside"));
  write(scratch / "file");
  CHECK(remove_tree(scratch / "file", plenty) == Removal::done);
  CHECK(remove_tree(scratch / "nothing", plenty) == Removal::done);
  CHECK(remove_tree(scratch / "no/such", plenty) == Removal::done);
  CHECK(remove_tree("nowhere", plenty) == Removal::stuck);
}

TEST_CASE("a tree of any depth is removed, also one that has the names it is moved to") {
  const Scratch scratch;
  fs::create_directories(scratch / "tree/.kurultai-deep-0");
  write(scratch / "tree/.kurultai-deep-1");
  int fd = ::open((scratch / "tree").c_str(), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 3000; ++i) {
    REQUIRE(::mkdirat(fd, "d", 0700) == 0);
    const int below = ::openat(fd, "d", O_RDONLY | O_DIRECTORY);
    ::close(fd);
    fd = below;
  }
  ::close(fd);
  CHECK(remove_tree(scratch / "tree", plenty) == Removal::done);
  CHECK_FALSE(fs::exists(scratch / "tree"));
}

TEST_CASE("removal stops when its time is over, and goes on with the next call") {
  const Scratch scratch;
  fs::create_directories(scratch / "tree/sub");
  for (int i = 0; i < 100; ++i) write(scratch / ("tree/sub/" + std::to_string(i)));
  CHECK(remove_tree(scratch / "tree", milliseconds(-1)) == Removal::more);
  CHECK(remove_tree(scratch / "tree", plenty) == Removal::done);
}

TEST_CASE("what a directory takes is measured up to so many files, and through no link") {
  const Scratch scratch;
  fs::create_directories(scratch / "tree/sub");
  write(scratch / "tree/sub/file", 300'000);
  write(scratch / "outside", 900'000);
  fs::create_symlink(scratch / "outside", scratch / "tree/link");
  const Bytes use = disk_use(scratch / "tree", 100);
  CHECK(use >= Bytes{300'000});
  CHECK(use < Bytes{600'000});
  CHECK(disk_use(scratch / "tree", 2) > gibibytes(1024));
  CHECK(disk_use(scratch / "nothing", 2) == Bytes{});
}

}  // namespace kurultai::remove_tree_test
