#include "worker/sandbox.h"

#include <doctest/doctest.h>

namespace kurultai::sandbox_test {

namespace {

std::string joined(const SandboxPlan& plan) {
  std::string text;
  for (const std::string& word : sandbox_words(plan)) text += (text.empty() ? "" : " ") + word;
  return text;
}

const std::string head = "bwrap --die-with-parent --unshare-pid --unshare-ipc ";
const std::string root = "--ro-bind / / --dev /dev --proc /proc --perms 1777 ";
const std::string tail = "-- /proc/self/fd/4 --inside --";

}  // namespace

TEST_CASE("the words for bubblewrap") {
  struct Case {
    SandboxPlan plan;
    std::string words;
  };
  for (const Case& one : {
           Case{{}, head + "--unshare-net " + root + "--tmpfs /tmp " + tail},
           Case{{.network = true}, head + root + "--tmpfs /tmp " + tail},
           Case{{.network = true, .is_root = true}, head + "--cap-drop ALL " + root + "--tmpfs /tmp " + tail},
           Case{{.network = true, .tmp = mebibytes(1)}, head + root + "--size 1048576 --tmpfs /tmp " + tail},
           Case{{.network = true, .cwd = "/w"}, head + root + "--tmpfs /tmp --bind /w /w --chdir /w " + tail},
           Case{{.network = true, .cwd = "/a b", .home = "/s/places/1/w1/home", .hidden = {"/s"}},
                head + root +
                    "--tmpfs /tmp --bind /a b /a b --tmpfs /s --bind /s/places/1/w1/home "
                    "/s/places/1/w1/home --chdir /a b " +
                    tail},
           Case{{.network = true, .hidden = {"/s"}, .masked = "/run/s", .payloads = "/s/payloads"},
                head + root +
                    "--tmpfs /tmp --tmpfs /s --ro-bind /dev/null /run/s --ro-bind /s/payloads /s/payloads " +
                    tail},
       }) {
    CHECK(joined(one.plan) == one.words);
  }
}

TEST_CASE(
    "what is hidden does not hide the working directory in it, and hides what the working directory holds") {
  const auto at = [](const std::string& text, const char* what) { return text.find(what); };
  const std::string inside = joined({.cwd = "/s/w", .hidden = {"/s"}});
  CHECK(at(inside, "--tmpfs /s ") < at(inside, "--bind /s/w"));
  const std::string around = joined({.cwd = "/var", .hidden = {"/var/s"}});
  CHECK(at(around, "--bind /var ") < at(around, "--tmpfs /var/s"));
  const std::string beside = joined({.cwd = "/state", .hidden = {"/s"}});
  CHECK(at(beside, "--bind /state") < at(beside, "--tmpfs /s "));
}

}  // namespace kurultai::sandbox_test
