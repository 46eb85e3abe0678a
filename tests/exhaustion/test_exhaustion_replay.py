#!/usr/bin/env python3
"""Predictions of exhaustion are seldom wrong on recordings of real processes, however the budget lies (main.cc says how)."""

import os
import pathlib
import subprocess
import unittest

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = pathlib.Path(os.environ.get("KURULTAI_BIN_DIR", HERE.parent.parent / "build/bin")) / "kurultai-exhaustion-trial"
RECORDINGS = sorted((HERE.parent / "leaks/recordings").iterdir())
HELD_OUT = sorted((HERE.parent / "leaks/held_out").iterdir())


class Replays(unittest.TestCase):
    def trial(self, *arguments):
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)

    def test_fewer_than_one_in_twenty_recordings_has_a_false_alarm_under_any_budget(self):
        for recordings in (RECORDINGS, HELD_OUT):  # nothing was chosen by the latter
            done = self.trial("--false-alarms", "0.05", *recordings)
            print(done.stdout)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout, r"all of them +13440 replays +[1-9]\d+ true", "and something is foreseen")

    def test_the_trial_fails_where_it_falls_short_or_has_nothing_to_judge(self):
        self.assertEqual(self.trial("--false-alarms", "0", *RECORDINGS).returncode, 1)
        self.assertEqual(self.trial("--false-alarms", "0.05").returncode, 2)


if __name__ == "__main__":
    unittest.main()
