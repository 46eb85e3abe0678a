#!/usr/bin/env python3
"""A short run of kurultai-packing: every task comes to its end and none but the leaks is ended early. Not its times."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import BIN, PATIENCE
from level import LevelE2E, with_cgroups


@with_cgroups
class Packing(LevelE2E):
    def setUp(self):
        super().setUp()
        if harness.is_instrumented():
            self.skipTest("the tasks' own processes are larger than what they are declared as")

    def test_all_is_done_and_nothing_but_leaks_is_killed(self):
        run = subprocess.run(
            [os.path.join(BIN, "kurultai-packing"), "--tasks", "20", "--leaks", "1", "--budget", "256MiB", "--least", "10", "--most", "80",
             "--shortest", "100ms", "--longest", "600ms", "--no-peers", "--json"],
            capture_output=True, text=True, timeout=120 * PATIENCE, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        figures = json.loads(run.stdout)
        self.assertEqual((figures["tasks"], figures["leaks"], figures["skipped"]), (20, 1, []))
        self.assertEqual(len(figures["runs"]), 4)
        for passed in figures["runs"]:
            self.assertEqual((passed["undone"], passed["killed"]), (0, 0), passed)


if __name__ == "__main__":
    unittest.main()
