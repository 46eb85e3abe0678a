#include "supervisor/memory/cgroup_file.h"

#include <doctest/doctest.h>

#include <cerrno>

#include "tests/memory/support.h"

namespace kurultai::cgroup_file_test {
using namespace kurultai::test;

TEST_CASE("a number file holds a number, max, or an error that names the file") {
  struct Row {
    const char* text;
    std::int64_t number;  // -1: an error
  };
  for (const Row& row :
       {Row{"0\n", 0}, Row{"41213952\n", 41213952}, Row{"7", 7}, Row{"max\n", unlimited},
        Row{"9223372036854771712\n", 9223372036854771712}, Row{"18446744073709551615\n", unlimited},
        Row{"99999999999999999999999999\n", unlimited}, Row{"", -1}, Row{"\n", -1}, Row{"-1\n", -1},
        Row{"-99999999999999999999999999\n", -1}, Row{"12 kB\n", -1}, Row{"maximum\n", -1}, Row{"0x10\n", -1},
        Row{"twelve\n", -1}, Row{"1.5\n", -1}}) {
    CAPTURE(row.text);
    const auto number = parse_number(row.text, "memory.max");
    REQUIRE(number.has_value() == (row.number >= 0));
    if (number) CHECK(*number == row.number);
    if (!number) CHECK(number.error().message.starts_with("memory.max: not a number: '"));
  }
}

TEST_CASE("a flat-keyed file gives the number behind exactly that key") {
  struct Row {
    const char* text;
    const char* key;
    std::int64_t number;  // -1: an error
    const char* error = "";
  };
  for (const Row& row :
       {Row{"a 1\nb 2\n", "b", 2}, Row{"oom_kill_disable 1\nunder_oom 0\noom_kill 3\n", "oom_kill", 3},
        Row{"inactive_file 5\n", "inactive_file", 5},
        Row{"total_inactive_file 9\ninactive_file 5\n", "inactive_file", 5},
        Row{"high max\n", "high", unlimited}, Row{"a 1\n", "b", -1, "f: no 'b'"},
        Row{"", "b", -1, "f: no 'b'"}, Row{"a 1\nb 2", "b", -1, "f: cut short at 'b'"},
        Row{"a 1\nb", "b", -1, "f: no 'b'"}, Row{"b x\n", "b", -1, "f: not a number: 'x'"},
        Row{"b \n", "b", -1, "f: not a number: ''"}, Row{"b -3\n", "b", -1, "f: not a number: '-3'"},
        Row{"\n\nb 4\n", "b", 4}}) {
    CAPTURE(row.text);
    const auto number = flat_number(row.text, row.key, "f");
    REQUIRE(number.has_value() == (row.number >= 0));
    if (number) CHECK(*number == row.number);
    if (!number) CHECK(number.error().message == row.error);
  }
}

TEST_CASE("captured files are understood") {
  CHECK(flat_number(fixture("cgroup1/memory.stat"), "total_inactive_file", "f").value() > 0);
  CHECK(flat_number(fixture("cgroup1/memory.oom_control"), "oom_kill", "f").value() == 0);
  CHECK(parse_number(fixture("cgroup1/memory.limit_in_bytes"), "f").value() == 268435456);
  CHECK(flat_number(fixture("cgroup2/memory.stat"), "inactive_file", "f").value() == 16777216);
  CHECK(flat_number(fixture("cgroup2/memory.events"), "oom_kill", "f").value() == 2);
}

TEST_CASE("errors of reading and writing name the file and the cause") {
  const Tree tree;
  const std::string missing = tree.at("missing");
  const std::string not_there = "open " + missing + ": No such file or directory";
  CHECK(read_file(missing).error().message == not_there);
  CHECK(read_file(missing).error().code == ENOENT);
  CHECK(write_file(missing, "1").error().message == not_there);
  CHECK(read_number(missing).error().message == not_there);
  CHECK(KernelFile::open(missing).error().message == not_there);
  CHECK(read_file(tree.root()).error().message == "read " + tree.root() + ": Is a directory");
  CHECK(write_file("/dev/full", "64").error().message == "write '64' to /dev/full: No space left on device");
  CHECK_FALSE(std::filesystem::exists(missing));
}

TEST_CASE("a kept-open file is read from its start every time") {
  const Tree tree;
  tree.write("usage", "1024\n");
  const auto file = KernelFile::open(tree.at("usage"));
  REQUIRE(file);
  CHECK(file->read_number().value() == 1024);
  tree.write("usage", "88\n");
  CHECK(file->read_number().value() == 88);
  CHECK(file->path() == tree.at("usage"));
  tree.write("usage", "nonsense\n");
  CHECK(file->read_number().error().message == tree.at("usage") + ": not a number: 'nonsense'");
}

TEST_CASE("a file longer than the buffer is an error, not a part of it") {
  const Tree tree;
  tree.write("long", std::string(10000, 'x'));
  KernelFile::Buffer buffer;
  CHECK(KernelFile::open(tree.at("long"))->read(buffer).error().code == EFBIG);
  CHECK(KernelFile::open(tree.at("long"))->read_number().error().code == EFBIG);
  CHECK(read_file(tree.at("long"))->size() == 10000);
  const auto directory = KernelFile::open(tree.root());
  REQUIRE(directory);
  CHECK(directory->read(buffer).error().code == EISDIR);
}

}  // namespace kurultai::cgroup_file_test
