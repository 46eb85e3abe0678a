#include "tools/kurultai/receipt_text.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

namespace kurultai::receipt_text_test {
using nlohmann::json;

namespace {

constexpr std::int64_t mib = 1024 * 1024;

json ranked(const char* id, const char* priority, std::int64_t size, bool chosen) {
  return {{"taskId", id},      {"priority", priority}, {"memoryBytes", size * mib}, {"workLostSeconds", 9.0},
          {"score", 1e6},      {"preemptable", true},  {"suspendable", false},      {"protected", false},
          {"outgrown", false}, {"dying", false},       {"backInMs", nullptr},       {"chosen", chosen}};
}

json decision() {
  return {{"id", "g7"},
          {"time", "2026-01-02T03:04:05Z"},
          {"action", "preempt"},
          {"reading",
           {{"usedBytes", 440 * mib}, {"budgetBytes", 512 * mib}, {"ratio", 0.86}, {"starving", false}}},
          {"thresholds", {{"skip_heartbeats", 0.7}, {"preempt", 0.85}, {"reject", 0.9}, {"kill", 0.95}}},
          {"ranking", {ranked("low1", "low", 100, true), ranked("high1", "high", 300, false)}},
          {"room", nullptr},
          {"rungs",
           {{{"rung", "hint"},
             {"msBefore", 1500.0},
             {"usedBytes", 400 * mib},
             {"freedBytes", 2 * mib},
             {"tookMs", nullptr}}}},
          {"memory", {{{"msBefore", 0.0}, {"usedBytes", 440 * mib}}}},
          {"reactionMs", 12}};
}

json why(json decisions) {
  return {{"taskId", "low1"},
          {"agent", "crawl"},
          {"priority", "low"},
          {"summary", "waits"},
          {"log", "last\x1b[31m words\n"},
          {"decisions", std::move(decisions)},
          {"peakMemoryBytes", 100 * mib}};
}

bool says(const std::string& text, const char* words) { return text.find(words) != std::string::npos; }

}  // namespace

TEST_CASE("a receipt is drawn with its figures, the ranking, the rungs and the minute before") {
  const std::string text = receipt_text(why(json::array({decision()})));
  CHECK(says(text, "Task low1 (crawl, low): waits\n"));
  CHECK(says(
      text,
      "g7  2026-01-02T03:04:05Z  preempt: 440MiB of 512MiB used (86 %, preempt at 85 %); done after 12ms\n"));
  CHECK(says(text, "low1 (this)"));
  CHECK(says(text, "spared"));
  CHECK(says(text, "before: hint at 400MiB, freed 2MiB\n"));
  CHECK(says(text, "kill\n"));
  CHECK(says(text, "now ┘\n"));
  CHECK_FALSE(says(text, "\x1b"));
}

TEST_CASE("a receipt of a prediction says what was foreseen") {
  json early = decision();
  early["prediction"] = {
      {"growthBytesPerSecond", 50 * mib}, {"leftMs", 4200}, {"toActMs", 1000}, {"graceMs", 30000}};
  CHECK(says(
      receipt_text(why(json::array({early}))),
      "preempt at 85 %); foreseen: it grew by 50MiB/s and would have been at the kill threshold in 4.2s, "
      "less than 1.0s to act and 30s of grace"));
}

TEST_CASE("a receipt of admission names the task that room was made for, and what is committed") {
  json made = decision();
  made["room"] = {{"taskId", "new1"},
                  {"priority", "high"},
                  {"footprintBytes", 200 * mib},
                  {"lineBytes", 435 * mib},
                  {"elsewhereBytes", 10 * mib},
                  {"workerId", "w3"},
                  {"workers",
                   {{{"workerId", "w1"}, {"heldBytes", 90 * mib}, {"expectedBytes", 100 * mib}},
                    {{"workerId", "w2"}, {"heldBytes", 300 * mib}, {"expectedBytes", 200 * mib}},
                    {{"workerId", "w3"}, {"heldBytes", 50 * mib}, {"expectedBytes", 0}}}},
                  {"endedWorkers", json::array()}};
  CHECK(
      says(receipt_text(why(json::array({made}))),
           "preempt: room for task new1 (high), expected to use 200MiB beside 410MiB that others may use, of "
           "435MiB below the preempt threshold; done after 12ms\n"));
}

TEST_CASE("the caps that a task died of are listed") {
  json quarantined = why(json::array());
  quarantined["memoryDeaths"] = {
      {{"capBytes", 64 * mib}, {"peakBytes", 64 * mib}, {"ranMs", 2100}, {"time", "2026-01-02T03:04:05Z"}},
      {{"capBytes", 96 * mib}, {"peakBytes", 96 * mib}, {"ranMs", 900}, {"time", "2026-01-02T03:04:09Z"}}};
  CHECK(says(receipt_text(quarantined),
             "DIED OF A CAP OF   PEAK  AFTER  AT\n"
             "           64MiB  64MiB   2.1s  2026-01-02T03:04:05Z\n"
             "           96MiB  96MiB  900ms  2026-01-02T03:04:09Z\n"));
}

TEST_CASE("a task that nothing was taken from, and an answer of another shape, are drawn too") {
  CHECK(says(receipt_text(why(json::array())), "The governor took nothing from it."));
  CHECK(says(receipt_text(why(json::array({json::object()}))), "Task low1"));
  CHECK(says(receipt_text(json::array()), "Task "));
}

}  // namespace kurultai::receipt_text_test
