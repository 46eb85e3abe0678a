#!/usr/bin/env python3
"""Hostile agents (tests/hostile/table.py): what the user sees of each, that nobody else is harmed, and that nothing is left."""

import os
import shutil
from statistics import median
import sys
import unittest

sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hostile")]

import level
import stage
import table
from harness import E2E, is_instrumented, wait_until
from puppet import puppet, settings

ROWS = [row for group in table.GROUPS.values() for row in group]
# Of medians of round trips, each measured beside one that keeps two processors busy too. What else runs on the machine
# disturbs some rounds: it counts what was seen in any of a few, and with a factor of two for the rest. A supervisor that
# gives the loop to whoever is loudest is slower by a factor of a hundred.
MOST_TIMES_SLOWER, SAMPLES, ROUNDS = 4.0, 20, 10
LEFT = "/dev/shm/kurultai-left-by-root"


@unittest.skipUnless(os.geteuid() == 0, "NOT TESTED: only root can give agents users of their own")
class Hostile(E2E):
    def setUp(self):
        if level.machine_level() == "rlimit":
            self.skipTest("NOT TESTED: no memory controller can be written here")

    def stage(self, rows, **environment):
        place = stage.Stage(lambda config: self.daemon(config, env=environment), rows)
        self.addCleanup(shutil.rmtree, place.dir, ignore_errors=True)
        return place

    def play(self, rows, **environment):
        place = self.stage(rows, **environment)
        for row in rows:
            with self.subTest(row.name):
                place.run(row)
        place.close()

    def test_lies_without_groups(self):
        self.play(table.LIES, **{level.PARENT_VARIABLE: level.NO_SUCH_PARENT})

    def test_loud_ones_slow_a_neighbour_no_more_than_one_that_only_computes(self):
        rows = [row for row in ROWS if row.loud]
        place = self.stage(rows)
        busy = next(row for row in rows if row.name == table.BUSY)
        for row in rows:
            with self.subTest(row.name):
                ratios = []
                while not ratios or ratios[-1] > MOST_TIMES_SLOWER:
                    self.assertLess(len(ratios), ROUNDS, f"times as long as beside '{busy.name}': {ratios}")
                    beside_busy = median(place.run(busy, SAMPLES))
                    ratios.append(median(place.run(row, SAMPLES)) / beside_busy)
                    if is_instrumented():  # a sanitizer makes a line ten times as dear, and another process none
                        break
        place.close()

    def test_what_ended_workers_left_in_memory_is_said(self):
        """Of those who are the supervisor's own user it cannot be told apart from what others keep there."""
        agent = puppet(max_tasks=1, memory_limit="200MiB")
        daemon = self.daemon(settings({"puppet": agent}, memory={"budget": "512MiB", "check_interval": "200ms"}))
        left = LEFT + daemon.instance
        self.addCleanup(lambda: os.path.exists(left) and os.unlink(left))
        task = daemon.run("puppet", f"with open({left!r}, 'wb') as file: file.write(b'x' * 60 * 1048576)\ndone()")
        self.assertEqual(task["state"], "completed", task)
        health = wait_until(lambda: (now := daemon.get("/health").json)["status"] == "degraded" and now, "/health says so", 20)
        self.assertRegex(health["troubles"][0], r"^6\d(\.\d)?MiB of the budget of 512MiB are held by what ended workers left in memory")
        os.unlink(left)
        wait_until(lambda: daemon.get("/health").json["status"] == "ok", "all is well again", 20)


def _test_of(rows):
    return lambda self: self.play(rows)


for _group, _rows in table.GROUPS.items():
    setattr(Hostile, f"test_{_group}", _test_of([row for row in _rows if not row.loud]))


if __name__ == "__main__":
    unittest.main()
