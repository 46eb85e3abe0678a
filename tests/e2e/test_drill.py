#!/usr/bin/env python3
"""`kurultai drill oom`: a leak beside others pays alone, under the operator's own thresholds, and nothing is left."""

import glob
import json
import os
import subprocess
import tempfile
import unittest

import harness
from harness import MIB, PATIENCE
from level import LevelE2E, with_cgroups, with_word

KURULTAI = os.path.join(harness.BIN, "kurultai")
# A sanitized program is large, and so are three of them.
BUDGET = 900 if harness.is_instrumented() else 256


@with_cgroups
class Drill(LevelE2E):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="kt-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        self.config = os.path.join(self.dir, "memory.yaml")

    def drill(self, *args, config=None):
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump(config or {}, file)
        return subprocess.run([KURULTAI, "drill", "oom", "--config", self.config, *args], capture_output=True, text=True,
                              env={**os.environ, "TMPDIR": self.dir, **self.level_env()}, timeout=120 * PATIENCE, check=False)

    def test_the_leak_alone_pays(self):
        config = {"memory": {"budget": "8GiB", "thresholds": {"skip_heartbeats": 0.5, "preempt": 0.6}}}
        done = self.drill("--budget", f"{BUDGET}MiB", "--json", config=config)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        outcome = json.loads(done.stdout)
        self.assertEqual((outcome["guarantee"], outcome["budgetBytes"]), (self.level, BUDGET * MIB))
        self.assertTrue(outcome["survived"])
        self.assertIn(outcome["leak"]["end"], ("preempt", "suspend", "kill"))
        self.assertGreaterEqual(outcome["leak"]["ratio"], 0.55)
        for name in ("healthy", "important"):
            self.assertEqual((outcome[name]["state"], outcome[name]["errors"]), ("completed", 0))
            self.assertGreater(outcome[name]["rounds"], 10)
        self.assertEqual(with_word(self.dir), [])
        self.assertEqual(glob.glob(os.path.join(self.dir, "kurultai-*")), [])

    def test_it_says_so_in_words_and_what_is_wrong_with_a_configuration(self):
        done = self.drill("--budget", f"{BUDGET}MiB")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("verdict     survived: the leak alone paid\n", done.stdout)
        done = self.drill(config={"memory": {"budgte": "1GiB"}})
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("budgte", done.stderr)
        done = self.drill("--budget", "1MiB")
        self.assertEqual((done.returncode, done.stdout), (2, ""))


if __name__ == "__main__":
    unittest.main()
