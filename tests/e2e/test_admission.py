#!/usr/bin/env python3
"""Admission with real memory: what was learned of tasks decides how many run at once, and who has to make room."""

RUNS_IN_VM = True

import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import MIB, client, wait_until
from level import BALLOON, Balloon, LevelE2E, at_each_level, worker_of
from puppet import settings

# A sanitized supervisor takes 90 MiB of it.
BUDGET = 640 + (harness.own_extra() * 9 // 8)
CAP = 320


def balloon(**fields):
    return {"protocol": "jsonl", "command": BALLOON, "grace": "1s", "max_tasks": 1, **fields}


class Admitting(LevelE2E):
    """The line is at 85 % of the budget: one cap fits below it and two do not."""

    def admitting(self, agents=None, **kw):
        directory = kw.pop("directory", None)
        sections = {"memory": {"budget": f"{BUDGET}MiB"}, "workers": {"max": "auto", "memory_limit": f"{CAP}MiB", "memory_warning": f"{CAP}MiB"}, **kw}
        env = sections.pop("env", None)
        return self.daemon(settings(agents or {"small": balloon(), "large": balloon()}, **sections), env=env, directory=directory)

    def learn(self, daemon, agent, mib, **fields):
        """Three tasks that hold so much, one after the other."""
        for _ in range(3):
            task = Balloon(daemon, agent, payload={"mib": mib}, **fields)
            task.end()
            daemon.wait_state(task.id, "completed")

    def agent(self, daemon, name):
        return next(agent for agent in daemon.get("/v1/agents").json["agents"] if agent["name"] == name)

    def states(self, daemon, tasks):
        return [daemon.task(task.id)["state"] for task in tasks]

    def waiting(self, daemon, agent, **fields):
        return Balloon(daemon, agent, start=False, **fields)

    def started(self, daemon):
        """The tasks in the order in which they got their workers, of which each had its own."""
        return [event["correlationId"] for event in daemon.events() if event["type"] == "workerSpawned"]

    def finish(self, daemon, *tasks):
        for task in tasks:
            task.end()
        for task in tasks:
            self.assertEqual(daemon.wait_state(task.id, "completed", "failed")["state"], "completed")


@at_each_level
class Footprints(Admitting):
    def test_until_a_footprint_is_learned_the_cap_counts_and_then_more_run_at_once(self):
        daemon = self.admitting()
        self.assertEqual((self.agent(daemon, "small")["footprintBytes"], self.agent(daemon, "small")["footprintSamples"]), (CAP * MIB, 0))
        first = Balloon(daemon, "small", payload={"mib": 20})
        second = self.waiting(daemon, "small", payload={"mib": 20})
        self.assertEqual(self.states(daemon, [first, second]), ["running", "queued"])
        waiting = daemon.get("/v1/queue").json["tasks"][0]
        self.assertEqual((waiting["taskId"], waiting["footprintBytes"]), (second.id, CAP * MIB))
        self.finish(daemon, first, second)
        self.learn(daemon, "small", 20)
        learned = self.agent(daemon, "small")
        self.assertEqual(learned["footprintSamples"], 5)
        self.assertGreater(learned["footprintBytes"], 20 * MIB)
        self.assertLess(learned["footprintBytes"], 80 * MIB)
        self.assertEqual(self.agent(daemon, "large")["footprintBytes"], CAP * MIB, "each agent learns for itself")
        together = [Balloon(daemon, "small", payload={"mib": 20}) for _ in range(5)]
        self.assertEqual(self.states(daemon, together), ["running"] * 5, "also more than two workers, as workers.max is auto")
        shown = client(daemon, "agents").stdout.splitlines()
        self.assertIn("FOOTPRINT", shown[0])
        self.finish(daemon, *together)

    def test_what_was_learned_outlives_the_supervisor_and_a_damaged_file_does_not_stop_it(self):
        daemon = self.admitting()
        self.learn(daemon, "small", 20)
        learned = self.agent(daemon, "small")["footprintBytes"]
        file = os.path.join(daemon.state, "footprints.json")
        self.assertEqual(daemon.terminate(), 0)
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        with open(file, encoding="utf-8") as text:
            self.assertEqual(json.load(text)["version"], 1)

        again = self.admitting(directory=daemon.dir)
        self.assertEqual((self.agent(again, "small")["footprintBytes"], self.agent(again, "small")["footprintSamples"]), (learned, 3))
        self.assertEqual(again.terminate(), 0)

        for damaged in (b"{", b"", b"\xff" * 100, b'{"version":1,"footprints":[{"agent":"small","sizeClass":"","peaks":[[1,"x"]]}]}'):
            with open(file, "wb") as broken:
                broken.write(damaged)
            fresh = self.admitting(directory=daemon.dir)
            self.assertEqual(self.agent(fresh, "small")["footprintSamples"], 0)
            self.assertIn("footprints are learned anew", fresh.log_text())
            self.assertEqual(fresh.terminate(), 0)

    def test_a_size_class_is_learned_for_itself(self):
        daemon = self.admitting()
        self.learn(daemon, "small", 20, sizeClass="tiny")
        agent = self.agent(daemon, "small")
        self.assertEqual((agent["footprintSamples"], agent["footprintBytes"]), (0, CAP * MIB))
        self.assertEqual(agent["sizeClasses"]["tiny"]["footprintSamples"], 3)
        self.assertLess(agent["sizeClasses"]["tiny"]["footprintBytes"], 80 * MIB)
        together = [Balloon(daemon, "small", payload={"mib": 20}, sizeClass="tiny") for _ in range(3)]
        self.assertEqual(together[0].task["sizeClass"], "tiny")
        other = self.waiting(daemon, "small")
        self.finish(daemon, *together, other)
        for wrong in ("", "x" * 65, 5, None):
            answer = daemon.submit("small", {}, sizeClass=wrong)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "invalid_task"), wrong)
        submitted = client(daemon, "submit", "small", "--payload", '{"count": 1}', "--size-class", "tiny", "--wait", "--json")
        self.assertEqual(json.loads(submitted.stdout)["sizeClass"], "tiny", submitted.stderr)


@at_each_level
class Priorities(Admitting):
    def test_a_higher_task_preempts_lower_ones_at_once_and_does_not_wait_behind_them(self):
        daemon = self.admitting({"low": balloon(memory_limit="200MiB"), "large": balloon(memory_limit="300MiB")})
        low = [Balloon(daemon, "low", priority="low", payload={"mib": 20}) for _ in range(2)]
        behind = self.waiting(daemon, "low", priority="low", payload={"mib": 20})
        high = self.waiting(daemon, "large", priority="high", payload={"mib": 20})
        daemon.wait_state(high.id, "running")
        preempted = [event for event in daemon.events() if event["type"] == "taskPreempted"]
        self.assertEqual([(event["taskId"] in (low[0].id, low[1].id), event["reason"]) for event in preempted], [(True, "preempt")], "one is enough")
        self.assertRegex(preempted[0]["correlationId"], r"^g\d+$")
        self.assertEqual(sorted(self.states(daemon, low)), ["queued", "running"])
        gave_way = preempted[0]["taskId"]
        receipt = daemon.get(f"/v1/tasks/{gave_way}/why").json["decisions"][-1]
        self.assertEqual((receipt["id"], receipt["action"], receipt["room"]["taskId"]), (preempted[0]["correlationId"], "preempt", high.id))
        self.assertEqual({one["taskId"]: one["chosen"] for one in receipt["ranking"]}, {task.id: task.id == gave_way for task in low})
        self.assertIn(f"preempt: room for task {high.id} (high)", client(daemon, "why", gave_way).stdout)
        self.assertEqual(behind.task["state"], "queued")
        again = self.waiting(daemon, "low", priority="normal", payload={"mib": 20})
        daemon.wait_state(again.id, "running")
        self.assertEqual(self.states(daemon, [*low, behind]), ["queued"] * 3, "the other low one made room for it")
        self.finish(daemon, high, again)
        self.finish(daemon, *low, behind)
        self.assertEqual([task.task["preemptions"] for task in low], [1, 1])

    def test_nothing_is_preempted_in_vain(self):
        daemon = self.admitting({"low": balloon(memory_limit="100MiB"), "firm": balloon(memory_limit="300MiB", preemptable=False), "large": balloon(memory_limit="400MiB")})
        firm = Balloon(daemon, "firm", priority="low", payload={"mib": 8})
        low = Balloon(daemon, "low", priority="low", payload={"mib": 8})
        high = self.waiting(daemon, "large", priority="critical", payload={"mib": 8})
        behind = self.waiting(daemon, "low", priority="low", payload={"mib": 8})
        self.assertEqual(self.states(daemon, [firm, low, high, behind]), ["running", "running", "queued", "queued"])
        firm.end()
        daemon.wait_state(high.id, "running")
        self.assertEqual(low.task["preemptions"], 0)
        self.finish(daemon, high, low, behind)

    def test_an_idle_worker_makes_room_before_any_task(self):
        daemon = self.admitting({"warm": balloon(max_tasks=0), "low": balloon(memory_limit="200MiB"), "large": balloon(memory_limit="300MiB")})
        warm = Balloon(daemon, "warm", payload={"keep": 120})
        warm.end()
        daemon.wait_state(warm.id, "completed")
        low = Balloon(daemon, "low", priority="low", payload={"mib": 8})
        self.assertEqual(worker_of(daemon, "warm")["state"], "idle")
        high = self.waiting(daemon, "large", priority="high", payload={"mib": 8})
        daemon.wait_state(high.id, "running")
        self.assertEqual(daemon.wait_event("workerExited", agent="warm")["reason"], "asked")
        self.assertEqual((low.task["state"], low.task["preemptions"]), ("running", 0))
        self.finish(daemon, low, high)

    def test_a_preempted_task_does_not_start_again_into_the_same_pressure(self):
        daemon = self.admitting({"grows": balloon(), "other": balloon()})
        for agent in ("grows", "other"):
            self.learn(daemon, agent, 8)
        other = Balloon(daemon, "other", priority="high", payload={"mib": 8})
        grows = Balloon(daemon, "grows", priority="low", payload={"mib": 8})
        other.hold(288)
        other.wait_held(288)
        grows.hold(300)
        sent_back = daemon.wait_event("taskPreempted", taskId=grows.id)
        self.assertEqual(sent_back["preemptions"], 1)
        grows.hold(8)
        quick = daemon.start("other", {"count": 30, "step_ms": 20})
        self.assertEqual(daemon.wait_state(quick, "completed")["state"], "completed", "higher and smaller: it passes")
        self.assertEqual((grows.task["state"], grows.task["preemptions"]), ("queued", 1))
        self.finish(daemon, other)
        self.finish(daemon, grows)
        self.assertEqual(grows.task["preemptions"], 1)


@at_each_level
class Order(Admitting):
    def queue_of(self, daemon, others):
        """One that runs, a large one that does not fit beside it, and smaller ones behind it that do."""
        runs = Balloon(daemon, "large", payload={"mib": 8})
        large = self.waiting(daemon, "large", payload={"mib": 8})
        small = [daemon.start("tiny", {"count": 2}) for _ in range(others)]
        return runs, large, small

    def test_without_backfill_nobody_passes(self):
        daemon = self.admitting({"large": balloon(), "tiny": balloon(memory_limit="64MiB")})
        runs, large, small = self.queue_of(daemon, 3)
        self.assertEqual([daemon.task(id)["state"] for id in small], ["queued"] * 3)
        self.assertEqual(large.task["state"], "queued")
        summary = lambda id: daemon.get(f"/v1/tasks/{id}/why").json["summary"]
        self.assertIn(f"position 1; it is expected to use {CAP}MiB, which does not fit", summary(large.id))
        self.assertIn("position 2; a task before it waits for memory", summary(small[0]))
        self.finish(daemon, runs)
        self.finish(daemon, large)
        for id in small:
            daemon.wait_state(id, "completed")
        self.assertEqual(self.started(daemon), [runs.id, large.id, *small])

    def test_with_backfill_what_fits_passes_a_bounded_number_of_times(self):
        daemon = self.admitting({"large": balloon(), "tiny": balloon(memory_limit="64MiB")}, queue={"backfill": True, "max_passes": 2})
        runs, large, small = self.queue_of(daemon, 4)
        for id in small[:2]:
            daemon.wait_state(id, "completed")
        self.assertEqual([daemon.task(id)["state"] for id in (large.id, *small[2:])], ["queued"] * 3)
        self.finish(daemon, runs)
        self.finish(daemon, large)
        for id in small:
            daemon.wait_state(id, "completed")
        self.assertEqual(self.started(daemon)[:4], [runs.id, *small[:2], large.id])

    def test_a_lower_task_never_passes_a_higher_one(self):
        daemon = self.admitting({"large": balloon(), "tiny": balloon(memory_limit="64MiB")}, queue={"backfill": True})
        runs = Balloon(daemon, "large", payload={"mib": 8})
        large = self.waiting(daemon, "large", payload={"mib": 8})
        low = daemon.start("tiny", {"count": 2}, priority="low")
        same = daemon.start("tiny", {"count": 2})
        daemon.wait_state(same, "completed")
        self.assertEqual((daemon.task(low)["state"], large.task["state"]), ("queued", "queued"))
        self.finish(daemon, runs, large)
        daemon.wait_state(low, "completed")


@at_each_level
class Rules(Admitting):
    def test_a_task_that_is_larger_than_the_line_runs_alone_and_to_its_end(self):
        daemon = self.admitting({"huge": balloon(memory_limit=f"{BUDGET}MiB"), "small": balloon(memory_limit="64MiB")})
        huge = Balloon(daemon, "huge", priority="low", payload={"mib": 8})
        small = self.waiting(daemon, "small", priority="low")
        huge.hold(563)  # 89 % with the supervisor
        daemon.wait_event("thresholdCrossed", threshold="preempt", direction="up")
        self.assertEqual((huge.task["state"], small.task["state"]), ("running", "queued"))
        self.finish(daemon, huge, small)
        self.assertEqual(huge.task["preemptions"], 0)

    def test_admission_none_lets_all_start_and_cap_learns_nothing(self):
        daemon = self.admitting(admission="none")
        self.finish(daemon, *[Balloon(daemon, "small", payload={"mib": 8}) for _ in range(4)])
        with open(daemon.config_file, encoding="utf-8") as file:
            config = json.load(file)
        daemon.write_config({**config, "admission": "cap"})
        self.assertEqual(daemon.request("POST", "/v1/reload").json["live"], ["admission"])
        first = Balloon(daemon, "small", payload={"mib": 8})
        second = self.waiting(daemon, "small", payload={"mib": 8})
        self.assertEqual(self.states(daemon, [first, second]), ["running", "queued"], "though four have shown how little they need")
        self.finish(daemon, first, second)

    def test_with_the_governor_switched_off_it_only_says_that_a_task_would_wait(self):
        daemon = self.admitting(env={"FF_MEMORY_GOVERNANCE": "false"})
        low = Balloon(daemon, "small", priority="low", payload={"mib": 8})
        high = Balloon(daemon, "large", priority="high", payload={"mib": 8})
        self.assertEqual(daemon.wait_event("governanceWithheld", action="wait")["taskId"], high.id)
        self.assertEqual(daemon.wait_event("governanceWithheld", action="preempt")["taskId"], low.id)
        self.assertEqual(daemon.metric("kurultai_governance_withheld_total", action="wait"), 1)
        self.finish(daemon, low, high)


class Batches(harness.E2E):
    # The first three commands end at once; the others wait until all four of them are there.
    MEET = ("touch $0/$1; case $1 in first*) exit 0;; esac; i=0; "
            "while [ $(ls $0 | grep -c together) -lt 4 ]; do sleep 0.05; i=$((i + 1)); [ $i -lt 1200 ] || exit 1; done")

    def test_run_runs_as_many_at_once_as_it_is_told_where_what_was_learned_fits(self):
        with tempfile.TemporaryDirectory(prefix="kt-") as directory:
            words = [f"first{i}" for i in range(3)] + [f"together{i}" for i in range(4)]
            run = subprocess.run([os.path.join(harness.BIN, "kurultai"), "run", "--budget", f"{BUDGET}MiB", "--memory", f"{CAP}MiB", "--jobs", "4", "--",
                                  "sh", "-c", self.MEET, directory, "{}", ":::", *words],
                                 capture_output=True, text=True, timeout=90 * harness.PATIENCE, stdin=subprocess.DEVNULL, check=False)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            self.assertEqual(sorted(os.listdir(directory)), sorted(words))


if __name__ == "__main__":
    unittest.main()
