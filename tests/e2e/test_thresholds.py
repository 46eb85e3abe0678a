#!/usr/bin/env python3
"""The governor with real memory: each threshold is crossed both ways, and what is done about it is done to the right task."""

RUNS_IN_VM = True

import contextlib
import os
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import MIB, PATIENCE, agent_command, wait_until
import level
from level import BALLOON, Balloon, LevelE2E, Scale, at_each_level, memory, ratio, with_cgroups
from puppet import Gate

# Room for the supervisor's reserve of 16 MiB: the kernel's backstop over all workers lies above 95 %.
# A sanitized supervisor takes 60 MiB more of it.
BUDGET = 600 if harness.is_instrumented() else 320

ECHO = agent_command("""
say({'type':'READY','protocol':1,'name':'echo'})
while True:
 t=task()
 say({'type':'COMPLETE','taskId':t['taskId'],'result':t['payload']})
""")


def balloon(**fields):
    return {"protocol": "jsonl", "command": BALLOON, "grace": "1s", **fields}


class Governed(LevelE2E):
    """Daemons with balloons: `important` cannot be preempted, `small` can."""

    def governed(self, agents=None, workers=None, env=None, **memory_fields):
        cap = f"{BUDGET}MiB"
        config = {
            # What is done before a threshold is reached, where growth is fast and a machine slow, is tested elsewhere.
            "memory": {"budget": cap, "predict": False, **memory_fields},
            "workers": {"max": 4, "memory_limit": cap, "memory_warning": cap, **(workers or {})},
            "queue": {"max_depth": 20, "limits": {"critical": 20, "high": 20, "normal": 20, "low": 20, "heartbeat": 20}},
            "circuit_breakers": {"failures": 1000},
            "admission": "none",  # thresholds are crossed on purpose
            "agents": {
                "important": balloon(preemptable=False),
                "small": balloon(),
                "echo": {"protocol": "jsonl", "command": ECHO},
                "beat": {"protocol": "exec", "command": ["true"]},
                **(agents or {}),
            },
        }
        return self.daemon(config, env=env)

    def important(self, daemon):
        """The balloon that brings memory up and down, and the scale that steers it."""
        task = Balloon(daemon, "important", priority="critical")
        return task, Scale(daemon, task)

    def crossed(self, daemon, threshold, direction, since=0):
        def look():
            for event in daemon.events():
                if event["id"] > since and event["type"] == "thresholdCrossed":
                    if (event["threshold"], event["direction"]) == (threshold, direction):
                        return event
            return None
        return wait_until(look, f"{threshold} is crossed {direction}", 15)

    def crossings(self, daemon, threshold, direction):
        return daemon.metric("kurultai_threshold_crossings_total", threshold=threshold, direction=direction) or 0


@at_each_level
class Crossings(Governed):
    def test_heartbeats_are_skipped_at_70_and_run_when_memory_has_fallen_by_the_hysteresis(self):
        daemon = self.governed()
        task, scale = self.important(daemon)
        scale.bring_to(0.76)
        up = self.crossed(daemon, "skip_heartbeats", "up")
        self.assertGreaterEqual(up["ratio"], 0.7)
        self.assertRegex(up["correlationId"], r"^g\d+$")
        self.assertEqual(self.crossings(daemon, "skip_heartbeats", "up"), 1)
        self.assertEqual(memory(daemon)["over"], ["skip_heartbeats"])
        wait_until(lambda: b"pressure 1" in daemon.get(f"/v1/tasks/{task.id}/logs").body, "the agent is told", 5)

        beat = daemon.start("beat", priority="heartbeat")
        skipped = daemon.wait_event("heartbeatSkipped", taskId=beat)
        self.assertGreaterEqual(skipped["ratio"], 0.6)
        self.assertEqual(daemon.metric("kurultai_heartbeats_skipped_total"), 1)
        normal = daemon.run("echo", "work goes on")
        self.assertEqual(normal["result"], "work goes on")
        self.assertEqual(daemon.task(beat)["state"], "queued")

        scale.bring_to(0.64)
        self.assertEqual(memory(daemon)["over"], ["skip_heartbeats"], "not yet by the hysteresis")
        self.assertEqual(daemon.task(beat)["state"], "queued")
        scale.bring_to(0.50)
        down = self.crossed(daemon, "skip_heartbeats", "down")
        self.assertLessEqual(down["ratio"], 0.6)
        self.assertNotEqual(down["correlationId"], up["correlationId"])
        daemon.wait_state(beat, "completed")
        self.assertEqual(self.crossings(daemon, "skip_heartbeats", "down"), 1)
        self.assertEqual(self.crossings(daemon, "skip_heartbeats", "up"), 1)
        self.assertEqual(self.crossings(daemon, "preempt", "up"), 0)
        self.assertEqual(daemon.metric("kurultai_heartbeats_skipped_total"), 1, "counted once")
        self.assertEqual(memory(daemon)["over"], [])
        self.assertEqual(daemon.metric("kurultai_tasks_preempted_total") or 0, 0)
        task.end()

    def test_a_task_is_preempted_at_85_and_later_ends_with_the_result_of_an_undisturbed_run(self):
        daemon = self.governed()
        task, scale = self.important(daemon)
        gate = Gate(daemon)
        small = Balloon(daemon, "small", priority="low", payload={"mib": 4, "count": 300, "step_ms": 5, "pause": [200, gate.path]})
        counting = small.id
        scale.bring_to(0.82)
        scale.aim_at(0.87)
        up = self.crossed(daemon, "preempt", "up")
        self.assertGreaterEqual(up["ratio"], 0.85)
        preempted = daemon.wait_event("taskPreempted", taskId=counting)
        self.assertEqual(preempted["reason"], "preempt")
        self.assertEqual(preempted["correlationId"], up["correlationId"])
        self.assertLess(preempted["reactionMs"], 1000 * PATIENCE)
        waiting = daemon.task(counting)
        self.assertEqual((waiting["state"], waiting["attempt"], waiting["preemptions"]), ("queued", 1, 1))
        self.assertEqual(daemon.metric("kurultai_tasks_preempted_total"), 1)
        later = daemon.start("small", {"count": 1}, priority="low")
        queue = daemon.get("/v1/queue").json
        self.assertEqual([entry["taskId"] for entry in queue["tasks"]], [counting, later])
        self.assertEqual(queue["returned"], 1)
        self.assertIn(b"preempt with 1000 ms", daemon.get(f"/v1/tasks/{counting}/logs").body)
        self.assertEqual(daemon.task(task.id)["state"], "running", "the more important one was left alone")

        gate.open()
        scale.bring_to(0.50)
        down = self.crossed(daemon, "preempt", "down")
        self.assertLessEqual(down["ratio"], 0.75)
        self.assertEqual(self.crossings(daemon, "preempt", "up"), 1)
        self.assertEqual(self.crossings(daemon, "preempt", "down"), 1)
        done = daemon.wait_state(counting, "completed")
        self.assertEqual(done["result"]["sum"], 300 * 301 // 2)
        self.assertLess(done["result"]["steps"], 300, "it went on from its checkpoint")
        self.assertEqual((done["attempt"], done["preemptions"]), (1, 1))
        daemon.wait_state(later, "completed")
        task.end()

    def test_new_work_is_refused_at_90_and_taken_again_when_memory_has_fallen(self):
        daemon = self.governed()
        task, scale = self.important(daemon)
        self.assertEqual(daemon.get("/ready").status, 200)
        scale.bring_to(0.925)
        up = self.crossed(daemon, "reject", "up")
        self.assertGreaterEqual(up["ratio"], 0.9)
        refused = daemon.submit("echo", 1)
        self.assertEqual(refused.status, 503)
        self.assertEqual(refused.json["error"]["code"], "memory_pressure")
        self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
        self.assertGreaterEqual(refused.json["error"]["retryAfter"], 1)
        self.assertRegex(refused.json["error"]["message"], r"memory is at 9\d % of the budget")
        self.assertEqual(daemon.submit("echo", 1, priority="critical").status, 503)
        ready = daemon.get("/ready")
        self.assertEqual((ready.status, ready.json["error"]["code"]), (503, "memory_pressure"))
        self.assertGreaterEqual(int(ready.headers["Retry-After"]), 1)
        self.assertEqual(daemon.metric("kurultai_tasks_rejected_total", code="memory_pressure"), 2)
        self.assertEqual(daemon.wait_event("taskRejected")["code"], "memory_pressure")
        self.assertEqual(daemon.get("/health").status, 200, "it is able, only full")

        scale.bring_to(0.83)
        self.assertEqual(daemon.submit("echo", 1).status, 503, "not yet by the hysteresis")
        scale.bring_to(0.60)
        down = self.crossed(daemon, "reject", "down")
        self.assertLessEqual(down["ratio"], 0.8)
        self.assertEqual(daemon.run("echo", 7)["result"], 7)
        self.assertEqual(daemon.get("/ready").status, 200)
        self.assertEqual(self.crossings(daemon, "reject", "up"), 1)
        self.assertEqual(self.crossings(daemon, "reject", "down"), 1)
        task.end()

    def killed_at_95(self, **fields):
        daemon = self.governed({"victim": balloon(preemptable=False, **fields)})
        task, scale = self.important(daemon)
        victim = Balloon(daemon, "victim", priority="low", payload={"mib": int(0.12 * BUDGET)})
        scale.bring_to(0.925)
        before = victim.worker()["pid"]
        scale.aim_at(0.962)
        up = self.crossed(daemon, "kill", "up")
        self.assertGreaterEqual(up["ratio"], 0.95)
        wait_until(lambda: not level.is_alive(before), "the victim is dead", 5)
        return daemon, task, scale, victim, up

    def test_the_least_important_task_is_killed_at_95_even_if_it_is_not_preemptable(self):
        daemon, task, scale, victim, up = self.killed_at_95()
        sent_back = daemon.wait_event("taskPreempted", taskId=victim.id)
        self.assertEqual(sent_back["reason"], "kill")
        self.assertEqual(sent_back["correlationId"], up["correlationId"])
        self.assertLess(sent_back["reactionMs"], 500 * PATIENCE)
        waiting = victim.task
        self.assertEqual((waiting["state"], waiting["attempt"], waiting["preemptions"]), ("queued", 1, 1))
        self.assertEqual(task.task["state"], "running")
        self.assertEqual(daemon.metric("kurultai_tasks_killed_total"), 1)
        self.assertEqual(daemon.metric("kurultai_tasks_preempted_total"), 1)
        self.has_its_receipt(daemon, victim.id, sent_back, [victim.id], [task.id])
        scale.bring_to(0.50)
        down = self.crossed(daemon, "kill", "down")
        self.assertLessEqual(down["ratio"], 0.85)
        daemon.wait_state(victim.id, "running")
        victim.end()
        daemon.wait_state(victim.id, "completed")
        self.assertEqual(self.crossings(daemon, "kill", "up"), 1)
        task.end()

    def has_its_receipt(self, daemon, task_id, event, chosen, spared):
        why = daemon.get(f"/v1/tasks/{task_id}/why").json
        receipt = why["decisions"][-1]
        self.assertEqual((receipt["id"], receipt["action"]), (event["correlationId"], event["reason"]))
        self.assertEqual(receipt["reactionMs"], event["reactionMs"])
        self.assertGreaterEqual(receipt["reading"]["ratio"], receipt["thresholds"][event["reason"]])
        self.assertEqual([one["taskId"] for one in receipt["ranking"] if one["chosen"]], chosen)
        self.assertEqual([one["taskId"] for one in receipt["ranking"] if not one["chosen"]], spared)
        self.assertIn("hint", [rung["rung"] for rung in receipt["rungs"]])
        self.assertGreaterEqual(receipt["memory"][-1]["usedBytes"], receipt["reading"]["usedBytes"])
        text = harness.client(daemon, "why", task_id)
        self.assertEqual(text.returncode, 0, text.stderr)
        for word in (f"{task_id} (this)", "chosen", spared[0], event["reason"], "Tried before", "60 s ago"):
            self.assertIn(word, text.stdout)

    def test_a_task_that_may_not_run_twice_fails_when_it_is_killed_for_the_budget(self):
        daemon, task, _, victim, _ = self.killed_at_95(idempotent=False)
        failed = daemon.wait_state(victim.id, "failed")
        self.assertEqual(failed["error"]["reason"], "memory_budget")
        self.assertEqual((failed["attempt"], failed["preemptions"]), (1, 0))
        self.assertEqual(task.task["state"], "running")
        self.assertEqual(daemon.metric("kurultai_tasks_finished_total", agent="victim", reason="memory_budget"), 1)
        self.assertEqual(daemon.metric("kurultai_tasks_killed_total"), 1)
        task.end()

    def test_all_four_are_crossed_both_ways_in_their_order(self):
        daemon = self.governed(env={"FF_MEMORY_GOVERNANCE": "false"})
        task, scale = self.important(daemon)
        scale.bring_to(0.60)
        low = scale.mib
        scale.aim_at(0.962)
        self.crossed(daemon, "kill", "up")
        task.hold(low)
        self.crossed(daemon, "preempt", "down")
        task.hold(0)
        self.crossed(daemon, "skip_heartbeats", "down")
        order = [(e["threshold"], e["direction"]) for e in daemon.events() if e["type"] == "thresholdCrossed"]
        names = ["skip_heartbeats", "preempt", "reject", "kill"]
        self.assertEqual(order, [(name, "up") for name in names] + [(name, "down") for name in reversed(names)])
        for name in names:
            for direction in ("up", "down"):
                self.assertEqual(self.crossings(daemon, name, direction), 1, (name, direction))
        self.assertRegex(" ".join(daemon.get("/health").json["troubles"]), "FF_MEMORY_GOVERNANCE is off: nobody gives way")
        task.end()


@at_each_level
class GivingWay(Governed):
    """How a task is preempted, and which."""

    def pressed(self, daemon, victims):
        """At 80 % with the victims running; then over 85 %."""
        task, scale = self.important(daemon)
        started = [victim() for victim in victims]
        scale.bring_to(0.82)
        scale.aim_at(0.87)
        self.crossed(daemon, "preempt", "up")
        return task, scale, started

    def test_a_task_that_ignores_preempt_is_terminated_and_killed_and_sent_back(self):
        daemon = self.governed({"deaf": balloon(grace="300ms", env={"DEAF": "1"})})
        task, scale, (deaf,) = self.pressed(daemon, [lambda: Balloon(daemon, "deaf", priority="low", payload={"mib": 8, "on_preempt": "ignore"})])
        worker = level.worker_of(daemon, "deaf")
        self.assertTrue(level.is_alive(worker["pid"]))
        sent_back = daemon.wait_event("taskPreempted", taskId=deaf.id)
        self.assertGreaterEqual(sent_back["reactionMs"], 1250, "300 ms of grace, then SIGTERM, then a second until SIGKILL")
        self.assertFalse(level.is_alive(worker["pid"]))
        waiting = deaf.task
        self.assertEqual((waiting["state"], waiting["attempt"], waiting["preemptions"]), ("queued", 1, 1))
        task.end()
        deaf.end()
        daemon.wait_state(deaf.id, "completed")

    def test_a_task_that_ignores_preempt_but_not_sigterm_ends_after_the_grace(self):
        daemon = self.governed({"stubborn": balloon(grace="300ms")})
        task, _, (stubborn,) = self.pressed(daemon, [lambda: Balloon(daemon, "stubborn", priority="low", payload={"mib": 8, "on_preempt": "ignore"})])
        sent_back = daemon.wait_event("taskPreempted", taskId=stubborn.id)
        self.assertGreaterEqual(sent_back["reactionMs"], 290)
        self.assertLess(sent_back["reactionMs"], 1250 * PATIENCE)
        task.end()
        stubborn.end()
        daemon.wait_state(stubborn.id, "completed")

    def test_a_command_is_preempted_with_sigterm_and_runs_again_from_its_beginning(self):
        # It goes on until it is let go: however slow the way up is, it is under way when memory is there.
        script = "import os, sys, time\nheld = b'x' * (8 << 20)\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\nprint('done')"
        daemon = self.governed({"command": {"protocol": "exec", "command": [harness.PYTHON, "-c", script, "{gate}"], "grace": "1s"}})
        gate = Gate(daemon)
        task, scale = self.important(daemon)
        scale.bring_to(0.78)
        command_id = daemon.start("command", {"gate": gate.path}, priority="low")
        seen = lambda: (level.worker_of(daemon, "command") or {"memoryBytes": 0})["memoryBytes"]
        wait_until(lambda: seen() > 8 * MIB, "the command is seen")
        scale.aim_at(0.875)
        self.crossed(daemon, "preempt", "up")
        sent_back = daemon.wait_event("taskPreempted", taskId=command_id)
        self.assertEqual(sent_back["preemptions"], 1)
        gate.open()
        task.end()
        done = daemon.wait_state(command_id, "completed")
        self.assertEqual(done["result"], "done\n")
        self.assertEqual((done["attempt"], done["preemptions"]), (1, 1))

    def test_a_task_that_may_not_run_twice_is_only_preempted_by_its_own_answer(self):
        daemon = self.governed({"once": balloon(idempotent=False, grace="300ms")})
        task, _, (quiet,) = self.pressed(daemon, [lambda: Balloon(daemon, "once", priority="low", payload={"mib": 8, "on_preempt": "ignore"})])
        wait_until(lambda: b"preempt with" in daemon.get(f"/v1/tasks/{quiet.id}/logs").body, "it was asked", 5)
        pid = level.worker_of(daemon, "once")["pid"]
        time.sleep(1.6)
        self.assertTrue(level.is_alive(pid))
        self.assertEqual(quiet.task["state"], "running")
        task.end()
        quiet.end()
        self.assertEqual(daemon.wait_state(quiet.id, "completed")["preemptions"], 0)

    def test_the_lowest_priority_gives_way_however_small_it_is(self):
        daemon = self.governed()
        task, _, (normal, low) = self.pressed(daemon, [
            lambda: Balloon(daemon, "small", priority="normal", payload={"mib": 40}),
            lambda: Balloon(daemon, "small", priority="low", payload={"mib": 4}),
        ])
        daemon.wait_event("taskPreempted", taskId=low.id)
        # Where that was not enough the next goes by the same decision or a later one, never instead of it.
        decisions = {one: daemon.get(f"/v1/tasks/{one.id}/why").json["decisions"] for one in (low, normal)}
        self.assertEqual(decisions[low][0]["ranking"][0]["taskId"], low.id)
        for decision in decisions[normal]:
            for other in decision["ranking"]:
                if other["taskId"] == low.id:
                    self.assertTrue(other["chosen"] or other["dying"] or other["backInMs"] is not None, other)
        self.assertEqual(task.task["state"], "running")
        for one in (task, normal, low):
            one.end()

    def test_of_equal_tasks_the_one_that_frees_most_gives_way(self):
        daemon = self.governed()
        task, _, (little, much) = self.pressed(daemon, [
            lambda: Balloon(daemon, "small", priority="low", payload={"mib": 4}),
            lambda: Balloon(daemon, "small", priority="low", payload={"mib": 60}),
        ])
        daemon.wait_event("taskPreempted", taskId=much.id)
        time.sleep(0.5)
        self.assertEqual(little.task["state"], "running", "memory that is on its way back is not asked for twice")
        for one in (task, little, much):
            one.end()

    def test_a_task_that_was_sent_back_too_often_fails_with_memory_budget(self):
        daemon = self.governed({"patient": balloon(max_preemptions=1)})
        task, scale = self.important(daemon)
        patient = Balloon(daemon, "patient", priority="low", payload={"mib": 8})
        for count in (1, 2):
            daemon.wait_state(patient.id, "running")
            scale.bring_to(0.82)
            scale.aim_at(0.87)
            if count == 2:
                break
            wait_until(lambda: patient.task["preemptions"] == 1, "it was sent back")
            scale.bring_to(0.50)
        failed = daemon.wait_state(patient.id, "failed")
        self.assertEqual(failed["error"]["reason"], "memory_budget")
        self.assertIn("memory budget", failed["error"]["message"])
        self.assertEqual(failed["preemptions"], 1)
        task.end()

    def test_idle_workers_end_before_any_task_gives_way(self):
        """Also while the idle one takes its time: its memory is on its way back."""
        daemon = self.governed({"warm": balloon(env={"LEAVE_MS": "400"})})
        task, scale = self.important(daemon)
        warm = Balloon(daemon, "warm", payload={"keep": int(0.15 * BUDGET)})
        warm.end()
        daemon.wait_state(warm.id, "completed")
        running = Balloon(daemon, "small", priority="low", payload={"mib": 4})
        idle = level.worker_of(daemon, "warm")
        self.assertEqual(idle["state"], "idle")
        scale.bring_to(0.82)
        scale.aim_at(0.87)
        self.crossed(daemon, "preempt", "up")
        ended = daemon.wait_event("workerExited", agent="warm")
        self.assertEqual(ended["reason"], "asked")
        wait_until(lambda: ratio(daemon) < 0.80, "its memory is back")
        self.assertEqual(running.task["state"], "running")
        self.assertEqual([e for e in daemon.events() if e["type"] == "taskPreempted"], [])
        for one in (task, running):
            one.end()

    def test_only_critical_work_starts_above_85(self):
        daemon = self.governed()
        task, scale = self.important(daemon)
        scale.bring_to(0.875)
        self.crossed(daemon, "preempt", "up")
        normal = daemon.start("echo", 1)
        critical = daemon.run("echo", 2, priority="critical")
        self.assertEqual(critical["state"], "completed")
        self.assertEqual(daemon.task(normal)["state"], "queued")
        scale.bring_to(0.50)
        daemon.wait_state(normal, "completed")
        task.end()

    def test_with_the_governor_switched_off_it_only_says_what_it_would_do(self):
        daemon = self.governed({"leak": {"protocol": "exec", "command": [harness.PYTHON, "-c", "held = []\nwhile True: held.append(b'x' * (1 << 20))"], "memory_limit": "40MiB"}},
                               env={"FF_MEMORY_GOVERNANCE": "false"})
        self.assertFalse(daemon.get("/health").json["flags"]["memoryGovernance"])
        leak = daemon.run("leak")
        self.assertEqual(leak["error"]["reason"], "memory_cap" if self.caps_hold else "exit_code", "caps hold all the same")
        task, scale = self.important(daemon)
        small = Balloon(daemon, "small", priority="low", payload={"mib": 8})
        scale.bring_to(0.80)
        scale.aim_at(0.87)
        preempt = daemon.wait_event("governanceWithheld", action="preempt")
        self.assertEqual(preempt["taskId"], small.id)
        self.assertRegex(preempt["correlationId"], r"^g\d+$")
        beat = daemon.run("beat", priority="heartbeat")
        self.assertEqual(beat["state"], "completed", "heartbeats run")
        daemon.wait_event("governanceWithheld", action="skip_heartbeat")
        scale.aim_at(0.925)
        self.crossed(daemon, "reject", "up")
        self.assertEqual(daemon.run("echo", 3)["result"], 3)
        daemon.wait_event("governanceWithheld", action="reject")
        scale.aim_at(0.962)
        daemon.wait_event("governanceWithheld", action="kill")
        for action in ("preempt", "kill", "reject", "skip_heartbeat"):
            self.assertGreaterEqual(daemon.metric("kurultai_governance_withheld_total", action=action), 1, action)
        self.assertEqual(small.task["state"], "running")
        self.assertEqual(daemon.metric("kurultai_tasks_preempted_total") or 0, 0)
        for one in (task, small):
            one.end()

    def grows_beside_a_large_important_task(self, step_mib, every_ms):
        """The important task holds the most by far: the kernel, left to itself, would take it."""
        daemon = self.governed({"greedy": balloon(grace="5s", max_preemptions=1000)})
        task, scale = self.important(daemon)
        scale.bring_to(0.55)
        greedy = Balloon(daemon, "greedy", start=False, priority="low", payload={"on_preempt": "ignore", "grow": [step_mib, every_ms, int(0.8 * BUDGET)]})
        return daemon, task, greedy, daemon.wait_event("taskPreempted")

    def test_the_right_one_pays_when_memory_grows_by_200_mib_a_second(self):
        daemon, task, greedy, sent_back = self.grows_beside_a_large_important_task(1, 5)
        self.assertEqual((sent_back["taskId"], sent_back["reason"]), (greedy.id, "kill"))
        self.assertEqual((task.task["state"], task.task["preemptions"]), ("running", 0))
        for one in (task, greedy):
            one.end()

    def test_growth_at_the_speed_of_memory_costs_nobody_his_task(self):
        """The kernel's backstop may come before the governor then, with a choice of its own: whoever it takes is not blamed
        for a cap of his own, and runs again."""
        daemon, task, greedy, sent_back = self.grows_beside_a_large_important_task(BUDGET, 0)
        self.assertIn(sent_back["reason"], ("kill", "kernel"))
        for one in (greedy, task):
            one.end()
        for one in (greedy, task):
            self.assertEqual(daemon.wait_state(one.id, "completed", "failed")["state"], "completed")
        self.assertTrue(self.is_well(daemon))


@with_cgroups
class AmongPageCache(Governed):
    """Usage events of the kernel count page cache: with the groups full of it none comes any more."""

    def full_of_cache(self, **reader_fields):
        directory = tempfile.mkdtemp(prefix="kt-cache-", dir=os.environ.get("KURULTAI_TEST_DISK"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        if level.file_system_of(directory) in ("tmpfs", "ramfs", "rootfs"):
            self.skipTest(f"{directory} lies in memory; KURULTAI_TEST_DISK names another place")
        reader = agent_command("""
say({'type':'READY','protocol':1,'name':'reader'})
while True:
 t=task()
 with open(t['payload'],'wb') as f:
  for i in range(%d): f.write(b'x'*1048576)
  f.flush(); os.fsync(f.fileno())
 say({'type':'COMPLETE','taskId':t['taskId'],'result':1})
""" % (BUDGET + 50))
        daemon = self.governed({"reader": {"protocol": "jsonl", "command": reader, **reader_fields}, "firm": balloon(preemptable=False)})
        def fill():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, "big"))
            written = daemon.run("reader", os.path.join(directory, "big"))
            self.assertEqual((written["state"], written["preemptions"]), ("completed", 0))
            return level.charge(daemon.instance)
        fill()
        fill()
        # Other tests may be short of memory on a small machine, and make the kernel take some of the cache back.
        most = BUDGET * MIB - max(16 * MIB, memory(daemon)["supervisor"]["rssBytes"])
        wait_until(lambda: fill() > 0.88 * most, "the groups are full of page cache", 40)
        wait_until(lambda: ratio(daemon) < 0.4, "and little of it is used")
        self.assertEqual([e for e in daemon.events() if e["type"] == "thresholdCrossed"], [])
        return daemon

    def test_each_threshold_is_crossed_all_the_same(self):
        daemon = self.full_of_cache()
        task, scale = self.important(daemon)
        victim = Balloon(daemon, "small", priority="low", payload={"mib": 12})
        scale.bring_to(0.76)
        self.crossed(daemon, "skip_heartbeats", "up")
        beat = daemon.start("beat", priority="heartbeat")
        daemon.wait_event("heartbeatSkipped", taskId=beat)
        scale.bring_to(0.82)
        scale.aim_at(0.87)
        up = self.crossed(daemon, "preempt", "up")
        # The reader's warm worker goes first; what it left of its cache is nobody's.
        ended = daemon.wait_event("workerExited", agent="reader")
        self.assertEqual(ended["reason"], "asked")
        del up
        scale.bring_to(0.925)
        self.crossed(daemon, "reject", "up")
        self.assertEqual(daemon.submit("echo", 1).status, 503)
        daemon.wait_event("taskPreempted", taskId=victim.id)
        scale.bring_to(0.50)
        for name in ("reject", "preempt", "skip_heartbeats"):
            self.crossed(daemon, name, "down")
        daemon.wait_state(beat, "completed")
        daemon.wait_state(victim.id, "running")
        for one in (task, victim):
            one.end()

    def test_the_kill_comes_in_time(self):
        daemon = self.full_of_cache(max_tasks=1)  # its worker is gone, the cache is still charged to all workers
        task, scale = self.important(daemon)
        # Not one that may be preempted: where memory grows slowly it would have left before.
        victim = Balloon(daemon, "firm", priority="low", payload={"mib": int(0.12 * BUDGET)})
        scale.bring_to(0.82)
        scale.aim_at(0.962)
        self.crossed(daemon, "kill", "up")
        sent_back = daemon.wait_event("taskPreempted", taskId=victim.id)
        self.assertEqual(sent_back["reason"], "kill")
        self.assertEqual(task.task["state"], "running")
        for one in (task, victim):
            one.end()


@at_each_level
class Reloading(Governed):
    def test_thresholds_and_budget_that_change_live_govern_at_once(self):
        daemon = self.governed()
        task, scale = self.important(daemon)
        scale.bring_to(0.50)
        with open(daemon.config_file, encoding="utf-8") as file:
            config = harness.json.load(file)
        config["memory"]["thresholds"] = {"skip_heartbeats": 0.30, "preempt": 0.60, "reject": 0.90, "kill": 0.95}
        daemon.write_config(config)
        self.assertEqual(daemon.request("POST", "/v1/reload").status, 200)
        self.crossed(daemon, "skip_heartbeats", "up")
        beat = daemon.start("beat", priority="heartbeat")
        daemon.wait_event("heartbeatSkipped", taskId=beat)
        config["memory"]["budget"] = f"{BUDGET * 4}MiB"
        daemon.write_config(config)
        self.assertEqual(daemon.request("POST", "/v1/reload").status, 200)
        self.crossed(daemon, "skip_heartbeats", "down")
        daemon.wait_state(beat, "completed")
        self.assertEqual(memory(daemon)["budgetBytes"], BUDGET * 4 * MIB)
        task.end()


if __name__ == "__main__":
    unittest.main()
