#!/usr/bin/env python3
"""memory_growth: who died of its cap runs again with a larger one, and who can never do with less is quarantined."""
import unittest

from harness import E2E, MIB, client, is_instrumented, wait_until
from puppet import Gate, has_groups, puppet, settings


class MemoryGrowth(E2E):
    def start(self, budget="512MiB", workers=1, failures=1000, **agent):
        agent = {"memory_limit": "32MiB", "memory_growth": 1.5, **agent}
        daemon = self.daemon(settings({"puppet": puppet(**agent)}, memory={"budget": budget}, workers={"max": workers, "memory_limit": "64MiB"},
                                      circuit_breakers={"failures": failures}))
        if not has_groups(daemon):
            self.skipTest("without groups a death by the cap is not known as such")
        return daemon

    def caps(self, daemon, task_id):
        return [death["capBytes"] // MIB for death in daemon.get(f"/v1/tasks/{task_id}/why").json["memoryDeaths"]]

    def test_it_runs_again_with_a_larger_cap_until_that_is_enough(self):
        daemon = self.start(failures=1)
        task = daemon.run("puppet", "block = hold(45)\ndone('held')")
        self.assertEqual((task["state"], task["result"], task["attempt"]), ("completed", "held", 3))
        self.assertEqual(task["memoryLimitBytes"], 72 * MIB)
        self.assertTrue(48 * MIB <= task["peakMemoryBytes"] <= 72 * MIB, task)
        self.assertEqual(self.caps(daemon, task["taskId"]), [32, 48])
        # The others have the agent's own cap, and its circuit is closed.
        self.assertNotIn("memoryLimitBytes", daemon.run("puppet"))
        self.assertEqual([worker["memoryLimitBytes"] for worker in daemon.get("/v1/workers").json["workers"] if worker["state"] != "ending"], [32 * MIB])

    def test_a_task_that_no_cap_is_enough_for_is_quarantined_with_all_that_is_known(self):
        daemon = self.start(retries=5, failures=1)
        task = daemon.run("puppet", "block = hold(400)\ndone()")
        self.assertEqual((task["state"], task["attempt"]), ("failed", 3))
        error = task["error"]
        self.assertEqual((error["reason"], error["quarantined"]), ("memory_cap", True))
        self.assertEqual(error["message"], "exceeded its 72MiB cap; quarantined after 32MiB, 48MiB, 72MiB")
        why = client(daemon, "why", task["taskId"]).stdout
        self.assertRegex(why, r"(?m)^ *DIED OF A CAP OF +PEAK +AFTER +AT$")
        for cap in (32, 48, 72):
            self.assertRegex(why, rf"(?m)^ *{cap}MiB +{cap}MiB +\S+ +20")
        # One task that was let grow to its end counts once.
        self.assertEqual(daemon.get("/v1/breakers").json["breakers"][0]["state"], "open")

    def test_a_cap_grows_no_further_than_what_fits(self):
        daemon = self.start(budget="256MiB", memory_growth=16, max_memory_deaths=100)
        task = daemon.run("puppet", "block = hold(400)\ndone()")
        most = int(0.85 * 256) - 16
        first, second = self.caps(daemon, task["taskId"])
        self.assertEqual(first, 32)
        if is_instrumented():  # such a supervisor keeps more for itself
            self.assertTrue(32 < second < most, second)
        else:
            self.assertEqual(second, most)
        self.assertTrue(task["error"]["quarantined"])

    def test_its_larger_cap_is_kept_free_and_survives_the_supervisor(self):
        daemon = self.start(workers=2, retries=1)
        gate = Gate(daemon)
        # It dies once, then holds little, and waits.
        code = "if t['attempt'] == 1: block = hold(40)\nabout('PROGRESS', percent=t['attempt'])\n" + gate.code()
        task = daemon.start("puppet", code)
        wait_until(lambda: daemon.task(task)["progress"] == 2, "its second attempt runs")
        self.assertEqual(daemon.task(task)["memoryLimitBytes"], 48 * MIB)
        self.assertIn(48 * MIB, [worker["memoryLimitBytes"] for worker in daemon.get("/v1/workers").json["workers"]])
        daemon.run("puppet")  # its end is on disk only behind all that was before
        daemon.kill()
        again = self.daemon(settings({"puppet": puppet(memory_limit="32MiB", memory_growth=1.5)}, memory={"budget": "512MiB"}), directory=daemon.dir)
        wait_until(lambda: again.task(task)["progress"] == 2, "it runs again")
        self.assertEqual(self.caps(again, task), [32])
        self.assertEqual([worker["memoryLimitBytes"] for worker in again.get("/v1/workers").json["workers"]], [48 * MIB])
        gate.open()
        ended = again.wait_state(task, "completed")
        self.assertEqual((ended["attempt"], ended["preemptions"], ended["memoryLimitBytes"]), (2, 1, 48 * MIB))

    def test_admission_keeps_the_whole_of_the_larger_cap_free(self):
        daemon = self.start()
        for _ in range(3):
            daemon.run("puppet")  # it is known to need little
        dies, ends = Gate(daemon, "dies"), Gate(daemon, "ends")
        task = daemon.start("puppet", dies.code("block = hold(40)\ndone()"))
        higher = daemon.start("puppet", ends.code(), priority="high")
        dies.open()
        waiting = wait_until(lambda: [one for one in daemon.get("/v1/queue").json["tasks"] if one["taskId"] == task], "it waits for the higher one")
        self.assertEqual(waiting[0]["footprintBytes"], 48 * MIB)
        ends.open()
        daemon.wait_state(higher, "completed")
        daemon.wait_state(task, "completed")

    def test_without_growth_retries_and_the_same_cap(self):
        daemon = self.start(memory_growth=1, retries=1)
        task = daemon.run("puppet", "block = hold(60)\ndone()")
        self.assertEqual((task["state"], task["attempt"], task["error"]["message"]), ("failed", 2, "exceeded its 32MiB cap"))
        self.assertNotIn("quarantined", task["error"])
        self.assertEqual(self.caps(daemon, task["taskId"]), [])

    def test_what_may_run_once_only_dies_once(self):
        daemon = self.start(idempotent=False)
        task = daemon.run("puppet", "block = hold(60)\ndone()")
        self.assertEqual((task["state"], task["attempt"]), ("failed", 1))
        self.assertNotIn("quarantined", task["error"])


if __name__ == "__main__":
    unittest.main()
