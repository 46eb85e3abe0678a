#include "supervisor/memory/hierarchies.h"

#include <doctest/doctest.h>

#include "tests/memory/support.h"

namespace kurultai::hierarchies_test {
using namespace kurultai::test;

namespace {

std::vector<Hierarchy> parse(const std::string& mountinfo, const std::string& cgroup) {
  return parse_hierarchies(fixture(mountinfo), fixture(cgroup));
}

ControllerOptions options_of(const Tree& tree, const std::string& parent) {
  return {"x", parent, tree.at("cgroup"), tree.at("proc"), {}};
}

}  // namespace

TEST_CASE("a hybrid machine has its memory controller in version 1") {
  const auto all = parse("cgroup1/hybrid.mountinfo", "cgroup1/hybrid.cgroup");
  const Hierarchy* memory = find_cgroup1(all, "memory");
  REQUIRE(memory);
  CHECK(memory->version == 1);
  CHECK(memory->directory == "/sys/fs/cgroup/memory");
  CHECK(memory->own == "/service/agents");
  const Hierarchy* pids = find_cgroup1(all, "pids");
  REQUIRE(pids);
  CHECK(pids->own == "");
  const Hierarchy* unified = find_cgroup2(all);
  REQUIRE(unified);
  CHECK(unified->directory == "/sys/fs/cgroup/unified");
  CHECK(unified->own == "");
  CHECK_FALSE(find_cgroup1(all, "hugetlb"));
}

TEST_CASE("a unified machine has one hierarchy") {
  const auto all = parse("cgroup2/unified.mountinfo", "cgroup2/unified.cgroup");
  REQUIRE(all.size() == 1);
  CHECK(find_cgroup2(all)->own == "/system.slice/kurultai.service");
  CHECK_FALSE(find_cgroup1(all, "memory"));
}

TEST_CASE("the own group is found relative to what a container mounts") {
  struct Row {
    const char* root;
    const char* path;
    std::optional<std::string> own;
  };
  for (const Row& row :
       {Row{"/", "/", ""}, Row{"/", "/a/b", "/a/b"}, Row{"/docker/abc", "/docker/abc", ""},
        Row{"/docker/abc", "/docker/abc/x", "/x"}, Row{"/docker/abc", "/docker/abcd", std::nullopt},
        Row{"/docker/abc", "/elsewhere", std::nullopt}, Row{"/", "/../other", std::nullopt},
        Row{"/", "/..", std::nullopt}, Row{"/", "/with:colon", "/with:colon"}}) {
    CAPTURE(row.path);
    const auto all =
        parse_hierarchies("1 2 0:3 " + std::string(row.root) + " /c rw - cgroup cgroup rw,memory\n",
                          "4:cpu,memory:" + std::string(row.path) + "\n0::/unrelated\n");
    REQUIRE(all.size() == 1);
    CHECK(all[0].own == row.own);
  }
}

TEST_CASE("escaped mount points are decoded and damaged lines passed over") {
  const auto all = parse_hierarchies(
      "1 2 0:3 / /my\\040groups\\134x rw - cgroup2 cgroup2 rw\n"
      "garbage\n1 2 - \n1 2 0:3 / /c rw - cgroup2\n 1 2 0:3 - cgroup2 a b\n\n",
      "0:/half\nnothing\n0::/own\n");
  REQUIRE(all.size() == 1);
  CHECK(all[0].directory == "/my groups\\x");
  CHECK(all[0].own == "/own");
  CHECK(parse_hierarchies("", "").empty());
}

TEST_CASE("the parent is our own group or a path below the root") {
  Hierarchy hierarchy{1, {"memory"}, "/c", "/own/group"};
  struct Row {
    const char* wanted;
    const char* directory;
  };
  for (const Row& row : {Row{"self", "/c/own/group"}, Row{"/", "/c"}, Row{"", "/c"}, Row{"/a/b", "/c/a/b"},
                         Row{"a/b/", "/c/a/b"}, Row{"/a..b", "/c/a..b"}})
    CHECK(parent_directory(hierarchy, row.wanted).value() == row.directory);
  CHECK(parent_directory(hierarchy, "/a/../../b").error().message ==
        "cgroup_parent '/a/../../b' leaves the hierarchy");
  hierarchy.own.reset();
  CHECK(parent_directory(hierarchy, "self").error().message ==
        "this process's own group is not visible under /c");
}

TEST_CASE("an instance's name has to be able to name a group") {
  const Hierarchy hierarchy{2, {}, "/c", ""};
  const auto paths = instance_paths(hierarchy, {"ab12", "/", "", "", {}});
  REQUIRE(paths);
  CHECK(paths->top == "/c/kurultai-ab12");
  CHECK(paths->supervisor == "/c/kurultai-ab12/supervisor");
  CHECK(paths->workers == "/c/kurultai-ab12/workers");
  for (const std::string bad : {"", "a/b", "..", ".x", "a\nb"}) {
    CAPTURE(bad);
    CHECK(instance_paths(hierarchy, {bad, "/", "", "", {}}).error().message ==
          "'" + bad + "' cannot name a group");
  }
  CHECK_FALSE(is_group_name(std::string(201, 'x')));
  CHECK_FALSE(instance_paths(hierarchy, {"a", "/..", "", "", {}}));
}

TEST_CASE("all hierarchies of an instance are named once, below the given root") {
  const Tree tree;
  tree.write("proc/self/mountinfo", fixture("cgroup1/hybrid.mountinfo"));
  tree.write("proc/self/cgroup", fixture("cgroup1/hybrid.cgroup"));
  const auto all = all_instance_paths(options_of(tree, "self"));
  REQUIRE(all.size() == 4);
  CHECK(all[0].top == tree.at("cgroup/memory/service/agents/kurultai-x"));
  CHECK(all[1].top == tree.at("cgroup/pids/kurultai-x"));
  CHECK(all[2].top == tree.at("cgroup/freezer/kurultai-x"));
  CHECK(all[3].top == tree.at("cgroup/unified/kurultai-x"));

  tree.write("proc/self/mountinfo", "1 2 0:3 / /both rw - cgroup cgroup rw,memory,pids\n");
  CHECK(all_instance_paths(options_of(tree, "/")).size() == 1);
}

TEST_CASE("hierarchies that cannot be read are an error that names the file") {
  const Tree tree;
  CHECK(read_hierarchies(options_of(tree, "/"))
            .error()
            .message.starts_with("open " + tree.at("proc/self/mountinfo")));
  CHECK(all_instance_paths(options_of(tree, "/")).empty());
  tree.write("proc/self/mountinfo", "");
  CHECK(read_hierarchies(options_of(tree, "/"))
            .error()
            .message.starts_with("open " + tree.at("proc/self/cgroup")));
}

}  // namespace kurultai::hierarchies_test
