#!/usr/bin/env python3
"""Suspension on a machine with swap: a task stands still in swap while others need its memory, and then goes on as if
nothing had been."""

import datetime
import pathlib
import subprocess
import sys
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2] / "e2e"), str(pathlib.Path(__file__).resolve().parent)]
import level
from counter import COUNTER, counted
from harness import MIB, PATIENCE, client, group_dirs, marked_processes, wait_until
from level import BALLOON, Balloon, LevelE2E, Scale, with_cgroups

RUNS_ALONE = True  # with swap, others' tasks would be suspended where they are to be preempted

BUDGET = 256
HELD = 60
SWAP = pathlib.Path("/tmp/swap")


def setUpModule():
    with SWAP.open("wb") as file:
        for _ in range(160):
            file.write(bytes(MIB))
    SWAP.chmod(0o600)
    subprocess.run(["mkswap", str(SWAP)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", str(SWAP)], check=True)


def tearDownModule():
    subprocess.run(["swapoff", str(SWAP)], check=True)
    SWAP.unlink()


@with_cgroups
class Suspension(LevelE2E):
    def governed(self, protect=False, directory=None, **memory):
        cap = f"{BUDGET}MiB"
        return self.daemon(directory=directory, config={
            "memory": {"budget": cap, **memory},
            "workers": {"max": 3, "memory_limit": cap, "memory_warning": cap},
            "admission": "none",  # thresholds are crossed on purpose
            "agents": {
                "important": {"protocol": "jsonl", "command": BALLOON, "preemptable": False, "suspendable": False,
                              "protect": protect},
                "counter": {"protocol": "jsonl", "command": COUNTER, "grace": "1s"},
            },
        })

    def pressed(self, daemon, **fields):
        """A counter, and a balloon that has just needed its memory."""
        important = Balloon(daemon, "important", priority="critical")
        scale = Scale(daemon, important)
        self.gate = pathlib.Path(daemon.dir, "gate")
        self.gate.touch()
        counter = daemon.start("counter", {"mib": HELD, "gate": str(self.gate)}, priority="low", **fields)
        wait_until(lambda: daemon.task(counter)["progress"] == 50, "it has counted half way", 30)
        scale.bring_to(0.80)
        scale.aim_at(0.88)
        return important, scale, counter

    def suspended(self, daemon, **fields):
        important, scale, counter = self.pressed(daemon, **fields)
        daemon.wait_event("taskSuspended", taskId=counter)
        return important, scale, counter

    def charge_of(self, daemon, task_id):
        worker = next(w for w in daemon.get("/v1/workers").json["workers"] if task_id in w["tasks"])
        return int(pathlib.Path(level.groups_file(daemon.instance, "memory.current", f"workers/{worker['workerId']}")).read_text())

    def test_a_task_that_stood_still_in_swap_ends_with_the_same_result(self):
        daemon = self.governed()
        important, scale, counter = self.suspended(daemon)
        self.assertEqual(daemon.task(counter)["state"], "suspended")
        wait_until(lambda: self.charge_of(daemon, counter) < HELD // 2 * MIB, "it is paged out", 20)
        at = daemon.task(counter)["message"]
        time.sleep(1)
        self.assertEqual(daemon.task(counter)["message"], at)
        why = daemon.get(f"/v1/tasks/{counter}/why").json
        self.assertEqual(why["decisions"][-1]["action"], "suspend")
        self.assertIn("is suspended", why["summary"])
        self.assertEqual(important.task["state"], "running")
        scale.bring_to(0.30)
        daemon.wait_event("taskResumed", taskId=counter)
        important.end()
        self.gate.unlink()
        ended = daemon.wait_state(counter, "completed", timeout=60)
        self.assertEqual((ended["attempt"], ended["preemptions"]), (1, 0))
        self.assertEqual(ended["result"], {"total": counted(HELD)})

    def test_the_time_in_swap_counts_for_no_timeout(self):
        daemon = self.governed()
        important, scale, counter = self.suspended(daemon, timeout="60s")
        time.sleep(3)
        scale.bring_to(0.30)
        daemon.wait_event("taskResumed", taskId=counter)
        important.end()
        self.gate.unlink()
        ended = daemon.wait_state(counter, "completed", timeout=60)
        self.assertIsNone(ended["error"])
        event = daemon.wait_event("taskCompleted", taskId=counter)
        times = {e["type"]: e for e in daemon.events() if e.get("taskId") == counter}
        moments = [datetime.datetime.fromisoformat(e["time"].replace("Z", "+00:00")) for e in (times["taskStarted"], event)]
        self.assertLess(event["runMs"] + 2500, 1000 * (moments[1] - moments[0]).total_seconds())

    def test_one_that_is_cancelled_in_swap_is_gone_at_once(self):
        daemon = self.governed()
        important, _, counter = self.suspended(daemon)
        self.assertEqual(client(daemon, "cancel", counter).returncode, 0)
        daemon.wait_state(counter, "cancelled", timeout=10)
        self.assertEqual(important.task["state"], "running")
        important.end()

    def test_without_the_rung_it_is_preempted(self):
        daemon = self.governed(ladder={"suspend": False})
        important, _, counter = self.pressed(daemon)
        daemon.wait_event("taskPreempted", taskId=counter)
        self.assertEqual([e for e in daemon.events() if e["type"] == "taskSuspended"], [])
        important.end()

    def test_where_swap_is_too_small_it_is_preempted(self):
        subprocess.run(["swapoff", str(SWAP)], check=True)
        self.addCleanup(subprocess.run, ["swapon", str(SWAP)], check=True)
        daemon = self.governed()
        important, _, counter = self.pressed(daemon)
        daemon.wait_event("taskPreempted", taskId=counter)
        important.end()

    def test_nothing_that_stands_still_outlives_its_supervisor(self):
        daemon = self.governed()
        _, _, counter = self.suspended(daemon)
        pid = level.worker_of(daemon, "counter")["pid"]
        daemon.kill()
        wait_until(lambda: not level.is_alive(pid), "its process is gone", 3)

    def test_a_supervisor_that_is_killed_with_nothing_left_to_give_leaves_nothing_and_the_next_one_works(self):
        daemon = self.governed(protect=True)
        important, _, counter = self.suspended(daemon)
        important.hold(2 * BUDGET)
        wait_until(lambda: level.charge(daemon.instance) > 0.85 * (BUDGET - 16) * MIB, "it waits for memory", 30)
        self.assertEqual(daemon.task(counter)["state"], "suspended")
        instance = daemon.instance
        daemon.kill()
        wait_until(lambda: not marked_processes(instance) and not group_dirs(instance), "all processes and groups are gone", 3)
        after = self.governed(directory=daemon.dir)
        self.assertEqual(after.instance, instance)
        self.assertEqual(after.run("counter", {"mib": 4, "gate": ""})["result"], {"total": counted(4)})

    def test_a_drain_lets_it_end_or_takes_it_back(self):
        daemon = self.governed()
        important, _, counter = self.suspended(daemon)
        important.end()
        self.gate.unlink()
        drained = client(daemon, "drain", "--timeout", f"{40 * PATIENCE:.0f}s")
        self.assertEqual(drained.returncode, 0, drained.stderr)


if __name__ == "__main__":
    unittest.main()
