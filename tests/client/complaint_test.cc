#include "tools/kurultai/complaint.h"

#include <doctest/doctest.h>

namespace kurultai::complaint_test {

TEST_CASE("every refusal has its exit status, its cause and the next step") {
  struct Row {
    int http;
    const char* body;
    ExitStatus status;
    const char* text;
  };
  const Row rows[] = {
      {429, R"json({"error":{"code":"queue_full","message":"queue is full (5 of 5)","retryAfter":3}})json",
       ExitStatus::no_room, "queue is full (5 of 5); try again in 3 s"},
      {503, R"json({"error":{"code":"memory_pressure","message":"memory is at 93 %","retryAfter":10}})json",
       ExitStatus::refused, "memory is at 93 %; try again in 10 s"},
      {503,
       R"json({"error":{"code":"circuit_open","message":"it fails; its circuit is open","retryAfter":8}})json",
       ExitStatus::refused, "it fails; its circuit is open; try again in 8 s"},
      {503, R"json({"error":{"code":"draining","message":"the supervisor drains"}})json", ExitStatus::refused,
       "the supervisor drains"},
      {404, R"json({"error":{"code":"not_found","message":"no task 'x'"}})json", ExitStatus::no_such_thing,
       "no task 'x'; `kurultai ps -a` lists the tasks"},
      {422, R"json({"error":{"code":"unknown_agent","message":"no agent 'x'"}})json",
       ExitStatus::no_such_thing, "no agent 'x'; `kurultai agents` lists them"},
      {422, R"json({"error":{"code":"unknown_agent","message":"not allowed; set exec.allow: true"}})json",
       ExitStatus::no_such_thing, "not allowed; set exec.allow: true"},
      {409, R"json({"error":{"code":"already_finished","message":"has ended"}})json",
       ExitStatus::no_such_thing, "has ended"},
      {409, R"json({"error":{"code":"key_conflict","message":"same key, other payload"}})json",
       ExitStatus::usage, "same key, other payload"},
      {401, R"json({"error":{"code":"unauthorized","message":"`kurultai status` names the file"}})json",
       ExitStatus::usage, "`kurultai status` names the file; give that file with --token-file"},
      {413, R"json({"error":{"code":"payload_too_large","message":"larger than 1MiB"}})json",
       ExitStatus::usage, "larger than 1MiB"},
      {500, "<html>", ExitStatus::refused, "the supervisor answered HTTP 500"},
      {418, R"json({"error":"teapot"})json", ExitStatus::usage, "the supervisor answered HTTP 418"},
      {429, "", ExitStatus::no_room, "the supervisor answered HTTP 429"},
  };
  for (const auto& row : rows) {
    const auto complaint = refusal(row.http, row.body);
    CHECK(complaint.status == row.status);
    CHECK(complaint.text == row.text);
  }
}

TEST_CASE("every mistake of a configuration is a line of its own") {
  const auto complaint = refusal(
      422,
      R"json({"error":{"code":"invalid_config","message":"2 errors","details":["f:1:2: a","f:3:4: b",7]}})json");
  CHECK(complaint.details == std::vector<std::string>{"f:1:2: a", "f:3:4: b"});
}

}  // namespace kurultai::complaint_test
