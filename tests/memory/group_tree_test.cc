#include "supervisor/memory/group_tree.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cerrno>

#include "tests/memory/support.h"

namespace kurultai::group_tree_test {
using namespace kurultai::test;

namespace {

InstancePaths paths_in(const Tree& tree) {
  return {tree.at("p"), tree.at("p/kurultai-x"), tree.at("p/kurultai-x/supervisor"),
          tree.at("p/kurultai-x/workers")};
}

void make_directories(const Tree& tree, const std::string& path) {
  std::filesystem::create_directories(tree.at(path));
}

}  // namespace

TEST_CASE("a tree of groups is removed from its leaves up") {
  const Tree tree;
  make_directories(tree, "p/kurultai-x/workers/w1/nested");
  make_directories(tree, "p/kurultai-x/workers/w2");
  CHECK(remove_below(tree.at("p/kurultai-x")).has_value());
  CHECK_FALSE(std::filesystem::exists(tree.at("p/kurultai-x")));
  CHECK(remove_below(tree.at("p/kurultai-x")).has_value());
  tree.write("p/kurultai-x/workers/w1/file", "");
  CHECK(remove_below(tree.at("p/kurultai-x")).error().message ==
        "rmdir " + tree.at("p/kurultai-x/workers/w1") + ": Directory not empty");
}

TEST_CASE("processes are listed through nested groups, and a group that is gone has none") {
  const Tree tree;
  tree.write("g/cgroup.procs", "5\n6\n");
  tree.write("g/a/cgroup.procs", "7\n");
  tree.write("g/a/b/cgroup.procs", "8");
  CHECK(processes_below(tree.at("g")).value() == std::vector{5, 6, 7, 8});
  CHECK(processes_below(tree.at("missing"))->empty());
}

TEST_CASE("frozen groups are thawed, nested ones too") {
  const Tree tree;
  tree.write("g/freezer.state", "FROZEN");
  tree.write("g/a/freezer.state", "FROZEN");
  tree.write("g/b/cgroup.freeze", "1");
  thaw_below(tree.at("g"));
  CHECK(tree.read("g/freezer.state") == "THAWED");
  CHECK(tree.read("g/a/freezer.state") == "THAWED");
  CHECK(tree.read("g/b/cgroup.freeze") == "0");
}

TEST_CASE("clearing an instance gives up at once when waiting cannot help") {
  const Tree tree;
  tree.write("p/kurultai-x/workers/w1/file", "");
  const auto before = std::chrono::steady_clock::now();
  CHECK(clear_instance({paths_in(tree)}, {}).error().code == ENOTEMPTY);
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(1));
}

TEST_CASE("clearing an instance removes its groups and nothing beside them") {
  const Tree tree;
  make_directories(tree, "p/kurultai-x/workers/w1");
  make_directories(tree, "p/kurultai-x/supervisor");
  make_directories(tree, "p/kurultai-xy/workers");
  CHECK(clear_instance({paths_in(tree)}, {}).has_value());
  CHECK_FALSE(std::filesystem::exists(tree.at("p/kurultai-x")));
  CHECK(std::filesystem::exists(tree.at("p/kurultai-xy/workers")));
  CHECK(clear_instance({paths_in(tree)}, {}).has_value());
  CHECK(clear_instance({}, {}).has_value());
}

TEST_CASE("clearing an instance that cannot be listed is an error") {
  const Tree tree;
  make_directories(tree, "p/kurultai-x/workers/cgroup.procs");
  CHECK(clear_instance({paths_in(tree)}, {{}, true, std::chrono::milliseconds(5)}).error().code == EISDIR);
}

TEST_CASE("leaving the leaf is a move to the former group") {
  const Tree tree;
  tree.write("p/cgroup.procs", "");
  CHECK(leave_leaf(paths_in(tree), tree.at("p"), 42).has_value());
  CHECK(tree.read("p/cgroup.procs") == "42");
  CHECK(leave_leaf(paths_in(tree), tree.at("q"), 42).error().code == ENOENT);
}

}  // namespace kurultai::group_tree_test
