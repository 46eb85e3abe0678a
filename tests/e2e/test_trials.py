#!/usr/bin/env python3
"""A short run of kurultai-trials: who has to give way is the right one each time, and nobody else notices. Not its times."""

RUNS_IN_VM = True

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BIN, PATIENCE, is_instrumented
from level import LevelE2E, with_cgroups

ROUNDS = 10 if PATIENCE == 1 else 3


@with_cgroups
class Trials(LevelE2E):
    def test_memory_is_taken_from_the_right_tasks(self):
        if is_instrumented():
            self.skipTest("the rounds are laid out for a supervisor of 8 MiB, and a sanitized one takes 70")
        run = subprocess.run(
            [os.path.join(BIN, "kurultai-trials"), "--rounds", str(ROUNDS), "--tasks", "6", "--budget", "256MiB", "--any-pause",
             "--growths", "2", "--pause", "2" if PATIENCE == 1 else "100", "--json"],
            capture_output=True, text=True, timeout=120 * PATIENCE, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        figures = json.loads(run.stdout)
        self.assertEqual((figures["right"], figures["wrong"]), (ROUNDS, 0))
        self.assertEqual((figures["limitReached"], figures["kernelKills"]), (0, 0))
        self.assertGreaterEqual(figures["preempted"] + figures["killed"], ROUNDS)


if __name__ == "__main__":
    unittest.main()
