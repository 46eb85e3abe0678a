#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/kurultai/text.h"
#include "tools/kurultai/top/screen.h"
#include "tools/kurultai/top/state.h"

namespace kurultai::top_test {
namespace {

using nlohmann::json;

const json health = R"({"status":"ok","guarantee":"cgroup1","troubles":[],"draining":false,"uptimeSeconds":75,
  "memory":{"usedBytes":471859200,"budgetBytes":536870912,"workersBytes":460000000,"swapBytes":0,
            "supervisor":{"rssBytes":11859200},"over":["skip_heartbeats","preempt"],
            "thresholds":{"kill":0.95,"preempt":0.85,"reject":0.9,"skip_heartbeats":0.7}}})"_json;
const json workers = R"({"workers":[
  {"workerId":"w1","agent":"small","state":"busy","leak":"none","memoryBytes":1048576,"memoryLimitBytes":4194304,
   "startedAt":"2026-11-21T10:00:00.000Z"},
  {"workerId":"w2","agent":"large","state":"idle","leak":"critical","memoryBytes":104857600,
   "memoryLimitBytes":209715200,"startedAt":"2026-11-21T10:00:05.000Z"}]})"_json;
const json queue =
    R"({"depth":3,"maxDepth":5,"returned":1,"levels":[{"priority":"critical","waiting":0,"limit":5},
  {"priority":"low","waiting":3,"limit":5}]})"_json;
const json tasks = R"({"tasks":[
  {"taskId":"t1","agent":"small","priority":"low","state":"running","workerId":"w1","progress":40,
   "message":"red\u001b[31m text\u0007","startedAt":"2026-11-21T10:00:01.000Z"},
  {"taskId":"t2","agent":"large","priority":"high","state":"suspended","workerId":"w2","progress":null,"message":null,
   "startedAt":"2026-11-21T10:00:06.000Z"}]})"_json;

TopState usual() { return decode_top(health, workers, queue, tasks); }

TopView view_of(std::size_t columns, std::size_t rows) {
  TopView view;
  view.columns = columns;
  view.rows = rows;
  view.now = *parse_rfc3339("2026-11-21T10:00:10.000Z");
  return view;
}

std::string text_of(const std::vector<ScreenLine>& lines) {
  std::string out;
  for (const auto& line : lines) out += line.text + "\n";
  return out;
}

std::string usual_screen(TopOrder order = TopOrder::memory) {
  TopView view = view_of(80, 24);
  view.order = order;
  return text_of(draw_top(usual(), {{"10:00:09  something happened", Tone::bad}}, view));
}

std::size_t place(const std::string& text, const std::string& part) {
  CAPTURE(part);
  REQUIRE(text.find(part) != std::string::npos);
  return text.find(part);
}

TEST_CASE("the bar is filled as far as memory is used, and the thresholds are marked") {
  const std::vector<TopMark> marks = {{"skip_heartbeats", 0.7}, {"kill", 0.95}};
  CHECK(memory_bar(0, {}, 4) == "....");
  CHECK(memory_bar(0.5, {}, 4) == "##..");
  CHECK(memory_bar(1.7, {}, 4) == "####");
  CHECK(memory_bar(-1, {}, 4) == "....");
  CHECK(memory_bar(0.5, marks, 20) == "##########....|....|");
  CHECK(memory_bar(0.5, {{"odd", 7}}, 4) == "##.|");
  CHECK(memory_bar(0.5, marks, 1) == "|");
  CHECK(memory_bar(0.5, marks, 0).empty());
}

TEST_CASE("a screen of 80 by 24 has all of it") {
  const std::string screen = usual_screen();
  place(screen, "ok  cgroup1");
  place(screen, "450MiB of 512MiB, 88 %");
  place(screen, "workers 439MiB, supervisor 11.3MiB\n");
  place(screen, "3 of 5 and 1 sent back: critical 0/5, low 3/5");
  place(screen, "t1    low         1MiB  9.0s  40 %  running    small  red [31m text ");
  place(screen, "w2      100MiB  200MiB  50 %  5.0s  idle   critical  large");
  place(screen, "10:00:09  something happened");
  place(screen, "q quit   s sort: memory   p pause");
  CHECK(screen.find('\x1b') == std::string::npos);
  // Below the marks their numbers.
  const auto lines = draw_top(usual(), {}, view_of(80, 24));
  CHECK(lines[1].look == ScreenLine::Look::notice);
  const std::size_t mark = lines[1].text.find('|');
  CHECK(lines[2].text.substr(mark, 2) == "70");
}

TEST_CASE("rows are sorted by memory, priority or age") {
  const auto is_first = [](const std::string& screen, const char* first, const char* second) {
    return place(screen, first) < place(screen, second);
  };
  CHECK(is_first(usual_screen(), "\nt2 ", "\nt1 "));
  CHECK(is_first(usual_screen(), "\nw2 ", "\nw1 "));
  CHECK(is_first(usual_screen(TopOrder::priority), "\nt2 ", "\nt1 "));
  CHECK(is_first(usual_screen(TopOrder::age), "\nt1 ", "\nt2 "));
  CHECK(is_first(usual_screen(TopOrder::age), "\nw1 ", "\nw2 "));
  CHECK(next(next(next(TopOrder::memory))) == TopOrder::memory);
}

TEST_CASE("no screen is too small or too large") {
  TopState many = usual();
  for (int i = 0; i < 300; ++i) {
    many.workers.push_back(many.workers.front());
    many.tasks.push_back(many.tasks.front());
  }
  const std::vector<TopEvent> events(50, TopEvent{std::string(500, 'x'), Tone::plain});
  for (const std::size_t columns : {0, 1, 2, 5, 10, 20, 30, 33, 40, 79, 80, 81, 132, 500}) {
    for (const std::size_t rows : {0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 24, 60, 400, 1000}) {
      for (const TopState& state : {TopState{}, usual(), many}) {
        CAPTURE(columns);
        CAPTURE(rows);
        const auto lines = draw_top(state, events, view_of(columns, rows));
        CHECK(lines.size() <= rows);
        for (const auto& line : lines) CHECK(width(line.text) <= columns);
        if (rows > 0 && columns >= 10) CHECK(lines.back().text.starts_with("q quit"));
      }
    }
  }
}

TEST_CASE("what does not fit is counted") {
  TopState many = usual();
  many.tasks.resize(100, many.tasks.front());
  const std::string screen = text_of(draw_top(many, {{"something happened", Tone::plain}}, view_of(80, 24)));
  place(screen, "… and 9");
  place(screen, "\nw1 ");
  place(screen, "\nEVENTS");
}

TEST_CASE("rows go to who wants them, the greediest gives way first") {
  using Rows = std::vector<std::size_t>;
  CHECK(share_rows({3, 2, 1}, 10) == Rows{3, 2, 1});
  CHECK(share_rows({100, 3, 8}, 20) == Rows{9, 3, 8});
  CHECK(share_rows({100, 100, 100}, 9) == Rows{3, 3, 3});
  CHECK(share_rows({5, 5}, 0) == Rows{0, 0});
  CHECK(share_rows({}, 3).empty());
}

TEST_CASE("objects of another shape are drawn as far as they go") {
  for (const json& odd :
       {json(), json(5), json::array({1}), json({{"memory", 7}, {"troubles", {1, 2}}}),
        json({{"workers", {1, {{"workerId", 5}}}}, {"tasks", {nullptr}}, {"levels", "x"}})}) {
    const auto lines = draw_top(decode_top(odd, odd, odd, odd), {}, view_of(80, 24));
    CHECK(lines.size() == 24);
  }
}

}  // namespace
}  // namespace kurultai::top_test
