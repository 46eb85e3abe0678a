#include "governance/admission.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace kurultai::admission_test {
using Standing = WorkerLoad::Standing;

namespace {

/// Sizes in MiB; the line is at 850 and the supervisor holds 10.
struct Place {
  std::vector<WorkerLoad> workers;
  std::vector<Candidate> running;

  Place& busy(const std::string& name, std::int64_t held, std::int64_t expected,
              Priority priority = Priority::normal) {
    workers.push_back({name, mebibytes(held), mebibytes(expected), Standing::busy});
    Candidate task;
    task.task_id = "t" + name;
    task.priority = priority;
    task.memory = committed(workers.back());
    running.push_back(task);
    return *this;
  }
  Place& idle(const std::string& name, std::int64_t held, int idle_for = 0) {
    workers.push_back({name, mebibytes(held), {}, Standing::idle, TimePoint(-Duration(idle_for))});
    return *this;
  }
  Place& other(Standing standing, std::int64_t held) {
    workers.push_back({"other", mebibytes(held), {}, standing});
    return *this;
  }
  RoomQuestion question(std::int64_t footprint, Priority priority, std::string_view worker = {}) const {
    return {mebibytes(850), mebibytes(10), workers, worker, priority, mebibytes(footprint), running};
  }
  /// "start", "alone", "wait", or whom room costs: "idle w1, preempt tw2"; "back" when it comes by itself.
  std::string ask(std::int64_t footprint, Priority priority = Priority::normal,
                  std::string_view worker = {}) const {
    const Admission answer = admit(question(footprint, priority, worker));
    if (const auto* start = std::get_if<StartTask>(&answer)) return start->fits ? "start" : "alone";
    if (std::holds_alternative<WaitForRoom>(answer)) return "wait";
    const auto& room = std::get<MakeRoom>(answer);
    std::string text;
    for (const std::string& id : room.end_workers) text += (text.empty() ? "idle " : " ") + id;
    if (!text.empty() && !room.preempt.empty()) text += ", ";
    if (!room.preempt.empty()) text += "preempt";
    for (const std::string& id : room.preempt) text += " " + id;
    return text.empty() ? "back" : text;
  }
};

}  // namespace

TEST_CASE("a task starts when its footprint fits below the line, to the byte") {
  CHECK(Place().ask(840) == "start");
  CHECK(Place().busy("w1", 0, 400).ask(440) == "start");
  CHECK(Place().busy("w1", 0, 400).ask(441) == "wait");
}

TEST_CASE("of a running task the larger of what it has and what it will have counts") {
  CHECK(Place().busy("w1", 100, 400).ask(441) == "wait");
  CHECK(Place().busy("w1", 500, 400).ask(341) == "wait");
  CHECK(Place().busy("w1", 500, 400).ask(340) == "start");
}

TEST_CASE("when nothing runs everything may start") {
  CHECK(Place().ask(5000) == "alone");
  CHECK(Place().other(Standing::stuck, 800).ask(100) == "alone");
}

TEST_CASE("and until then what is on its way back is awaited, and idle workers end") {
  CHECK(Place().other(Standing::leaving, 800).ask(100) == "back");
  CHECK(Place().other(Standing::leaving, 800).ask(5000) == "back");
  CHECK(Place().idle("w1", 50).ask(5000) == "idle w1");
}

TEST_CASE("an idle worker that will be used counts once") {
  CHECK(Place().idle("w1", 300).ask(840, Priority::normal, "w1") == "start");
  CHECK(Place().idle("w1", 845).ask(100, Priority::normal, "w1") == "alone");
  CHECK(Place().idle("w1", 300).idle("w2", 300).ask(541, Priority::normal, "w1") == "idle w2");
}

TEST_CASE("a free slot of a busy worker costs what the new task needs beyond the others") {
  CHECK(Place().busy("w1", 0, 400).ask(840, Priority::normal, "w1") == "start");
  CHECK(Place().busy("w1", 0, 400).ask(841, Priority::normal, "w1") == "wait");
}

TEST_CASE("idle workers end first, the one that was idle for longest, no more than needed") {
  const Place place = Place().busy("w1", 0, 400).idle("w2", 100, 1).idle("w3", 100, 9).idle("w4", 100, 5);
  CHECK(place.ask(140) == "start");
  CHECK(place.ask(141) == "idle w3");
  CHECK(place.ask(340) == "idle w3 w4");
  CHECK(place.ask(440) == "idle w3 w4 w2");
  CHECK(place.ask(441) == "wait");
}

TEST_CASE("a higher task preempts lower ones, and only those") {
  const auto place = [] {
    return Place().busy("w1", 0, 400, Priority::low).busy("w2", 0, 400, Priority::normal);
  };
  CHECK(place().ask(300, Priority::critical) == "preempt tw1");
  CHECK(place().ask(440, Priority::high) == "preempt tw1");
  CHECK(place().ask(441, Priority::high) == "preempt tw1 tw2");
  CHECK(place().ask(300, Priority::normal) == "preempt tw1");
  CHECK(place().ask(441, Priority::normal) == "wait");
  CHECK(place().ask(300, Priority::low) == "wait");
  CHECK(place().ask(300, Priority::heartbeat) == "wait");
}

TEST_CASE("nothing is preempted in vain") {
  const Place place =
      Place().busy("w1", 0, 300, Priority::low).busy("w2", 0, 500, Priority::high).idle("w3", 20, 1);
  CHECK(place.ask(341, Priority::high) == "wait");
  CHECK(place.ask(340, Priority::high) == "idle w3, preempt tw1");
}

TEST_CASE("a large victim makes the small ones chosen before it superfluous") {
  Place place = Place().busy("w1", 0, 50, Priority::low).busy("w2", 0, 700, Priority::low);
  place.running[1].work_lost = 1000;  // so that the small one is ranked before it
  CHECK(place.ask(600, Priority::high) == "preempt tw2");
  CHECK(place.ask(140, Priority::high) == "preempt tw1");
}

TEST_CASE("tasks that may not be preempted, are protected or leave already are left alone") {
  const auto with = [](auto change) {
    Place place = Place().busy("w1", 0, 700, Priority::low);
    change(place.running[0]);
    return place.ask(300, Priority::critical);
  };
  CHECK(with([](Candidate&) {}) == "preempt tw1");
  CHECK(with([](Candidate& task) { task.preemptable = false; }) == "wait");
  CHECK(with([](Candidate& task) { task.is_protected = true; }) == "wait");
  CHECK(with([](Candidate& task) { task.back_by = TimePoint(Duration(1)); }) == "wait");
  CHECK(with([](Candidate& task) { task.dying = true; }) == "wait");
}

TEST_CASE("what is leaving already is enough, or only the rest is taken") {
  const auto place = [] { return Place().busy("w1", 0, 400, Priority::low).other(Standing::leaving, 300); };
  CHECK(place().ask(140, Priority::high) == "start");
  CHECK(place().ask(440, Priority::high) == "back");
  CHECK(place().ask(441, Priority::high) == "preempt tw1");
}

TEST_CASE("whatever runs: only lower tasks give way, they suffice, and none of them is superfluous") {
  std::mt19937 random(11);
  int made_room = 0;
  for (int round = 0; round < 20'000; ++round) {
    Place place;
    for (std::size_t i = random() % 8; i-- > 0;) {
      const std::string name = "w" + std::to_string(i);
      if (random() % 4 == 0) {
        place.idle(name, random() % 200, static_cast<int>(random() % 100));
      } else {
        place.busy(name, random() % 200, random() % 300, all_priorities[random() % 5]);
        place.running.back().preemptable = random() % 5 != 0;
        place.running.back().work_lost = random() % 50;
      }
    }
    if (random() % 3 == 0) place.other(Standing::leaving, random() % 300);
    const auto priority = all_priorities[random() % 5];
    const RoomQuestion question = place.question(random() % 900, priority);
    const Admission answer = admit(question);
    Bytes total = question.elsewhere + question.footprint;
    bool runs = false;
    for (const WorkerLoad& worker : place.workers) {
      total += committed(worker);
      runs |= worker.standing == Standing::busy;
    }
    CHECK((total <= question.line) ==
          (std::holds_alternative<StartTask>(answer) && std::get<StartTask>(answer).fits));
    if (!runs) CHECK_FALSE(std::holds_alternative<WaitForRoom>(answer));
    const auto* room = std::get_if<MakeRoom>(&answer);
    if (room == nullptr || room->preempt.empty()) continue;
    made_room += 1;
    Bytes left = total;
    Bytes smallest = total;
    for (const WorkerLoad& worker : place.workers) {
      const bool ends = std::ranges::count(room->end_workers, worker.worker_id) > 0;
      if (ends || worker.standing == Standing::leaving) left -= committed(worker);
    }
    for (const std::string& id : room->preempt) {
      const auto& task = *std::ranges::find(place.running, id, &Candidate::task_id);
      CHECK(task.priority > priority);
      CHECK(task.preemptable);
      left -= task.memory;
      smallest = std::min(smallest, task.memory);
    }
    CHECK(left <= question.line);
    CHECK(left + smallest > question.line);
  }
  CHECK(made_room > 500);
}

}  // namespace kurultai::admission_test
