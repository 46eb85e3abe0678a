#include "supervisor/memory/sweep.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <algorithm>

#include "tests/memory/support.h"

namespace kurultai::sweep_test {
using namespace kurultai::test;

namespace {

[[noreturn]] void become_sleep(const std::string& mark) {
  const char* arguments[] = {"sleep", "60", nullptr};
  const char* environment[] = {"OTHER=1", mark.c_str(), nullptr};
  ::execve("/bin/sleep", const_cast<char**>(arguments), const_cast<char**>(environment));
  ::_exit(127);
}

std::string mark_of(const std::string& instance) { return "KURULTAI_INSTANCE=" + instance; }

bool is_found(int pid, const std::string& instance, const std::vector<int>& spared = {}) {
  const auto found = find_marked("/proc", instance, spared);
  return std::ranges::any_of(found.value(),
                             [&](const ProcessState& process) { return process.id.pid == pid; });
}

}  // namespace

TEST_CASE("processes with the mark are found and swept, others are left alone") {
  const std::string instance = unique_instance();
  Child marked([&] {
    ::setsid();
    become_sleep(mark_of(instance));
  });
  Child other([&] { become_sleep(mark_of(instance + "0")); });
  CHECK(eventually([&] { return is_found(marked.pid(), instance); }));
  CHECK_FALSE(is_found(marked.pid(), instance, {marked.pid()}));
  CHECK_FALSE(is_found(other.pid(), instance));
  CHECK_FALSE(is_found(::getpid(), instance));
  CHECK(sweep_marked("/proc", instance, std::chrono::seconds(5)).has_value());
  CHECK(WTERMSIG(marked.wait()) == SIGKILL);
  CHECK(is_alive(other.pid()));
}

TEST_CASE("descendants that cleared their environment go with a marked ancestor") {
  const std::string instance = unique_instance();
  Child marked([&] {
    ::setenv("KURULTAI_INSTANCE", instance.c_str(), 1);
    ::execl("/bin/sh", "sh", "-c", "env -i /bin/sh -c 'sleep 60; :' & wait", nullptr);
    ::_exit(127);
  });
  CHECK(eventually([&] { return find_marked("/proc", instance)->size() >= 3; }));
  const auto tree = find_marked("/proc", instance).value();
  CHECK(sweep_marked("/proc", instance, std::chrono::seconds(5)).has_value());
  marked.wait();
  CHECK(eventually([&] {
    return std::ranges::none_of(tree, [](const ProcessState& process) { return is_alive(process.id.pid); });
  }));
}

TEST_CASE("a marked chain of forks that is faster than the search is swept") {
  const std::string instance = unique_instance();
  Child chain([&] {
    ::setsid();
    ::setenv("KURULTAI_INSTANCE", instance.c_str(), 1);
    ::execl("/bin/sh", "sh", "-c", "f() { { f & } ; }; trap '' CHLD; f & while :; do sleep 60; done",
            nullptr);
    ::_exit(127);
  });
  CHECK(eventually([&] { return find_marked("/proc", instance)->size() >= 2; }));
  CHECK(sweep_marked("/proc", instance, std::chrono::seconds(5)).has_value());
  CHECK(WTERMSIG(chain.wait()) == SIGKILL);
}

TEST_CASE("a mark in our own environment makes the sweep refuse") {
  const std::string instance = unique_instance();
  ::setenv("KURULTAI_INSTANCE", instance.c_str(), 1);
  const auto swept = sweep_marked("/proc", instance, std::chrono::seconds(1));
  ::unsetenv("KURULTAI_INSTANCE");
  REQUIRE_FALSE(swept);
  CHECK(swept.error().message == mark_of(instance) + " is in our own environment");
}

TEST_CASE("what does not die in time is an error") {
  const Tree tree;
  tree.write("900000001/stat", "900000001 (x) D 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n");
  tree.write("900000001/environ", std::string("A=1\0KURULTAI_INSTANCE=x\0", 24));
  const auto swept = sweep_marked(tree.root(), "x", std::chrono::milliseconds(5));
  REQUIRE_FALSE(swept);
  CHECK(swept.error().message == "processes of x that do not die: 1");
  tree.write("900000001/environ", std::string("KURULTAI_INSTANCE=x"));
  CHECK(find_marked(tree.root(), "x")->size() == 1);  // without the last NUL
  CHECK(find_marked(tree.root(), "x", {}, 100)->size() == 1);
  CHECK(find_marked(tree.root(), "x", {}, 101)->empty());
  tree.write("900000001/environ", std::string("\0\0KURULTAI_INSTANCE=xy\0", 23));
  CHECK(sweep_marked(tree.root(), "x", std::chrono::milliseconds(5)).has_value());
}

TEST_CASE("a sweep without a view of the processes is an error") {
  const Tree tree;
  CHECK_FALSE(sweep_marked(tree.root(), "x", std::chrono::milliseconds(5)));
}

}  // namespace kurultai::sweep_test
