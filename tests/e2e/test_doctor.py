#!/usr/bin/env python3
"""`kurultai doctor`: what it says of this machine is what a supervisor would find here, and it leaves nothing behind."""

RUNS_IN_VM = True

import json
import os
import subprocess
import tempfile
import unittest

import harness
from harness import PATIENCE, wait_until
from level import LevelE2E, at_each_level

KURULTAI = os.path.join(harness.BIN, "kurultai")
QUIET = {"gateway": {"listen": "none"}, "memory": {"budget": "100MiB"}, "workers": {"memory_limit": "50MiB", "memory_warning": "40MiB"},
         "store": {"max_spool": "1MiB"}}


@at_each_level
class Doctor(LevelE2E):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="kt-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        self.state = os.path.join(self.dir, "state")

    def doctor(self, config, *args):
        file = os.path.join(self.dir, "memory.yaml")
        with open(file, "w", encoding="utf-8") as written:
            written.write(json.dumps({**QUIET, **config}))
        return subprocess.run([KURULTAI, "doctor", "--config", file, "--state-dir", self.state, *args], capture_output=True, text=True,
                              env={**os.environ, **self.level_env()}, timeout=60 * PATIENCE, check=False)

    def checks(self, config):
        done = self.doctor(config, "--json")
        answer = json.loads(done.stdout)
        self.assertEqual((done.returncode, done.stderr), (1 if answer["status"] == "problem" else 0, ""))
        return answer, {check["check"]: check for check in answer["checks"]}

    def test_it_says_the_guarantee_that_a_supervisor_would_give(self):
        answer, checks = self.checks({})
        self.assertEqual(answer["guarantee"], self.level)
        # Groups are asked for in a place that is not there.
        self.assertEqual(answer["status"] != "problem", self.caps_hold, checks)
        self.assertEqual(checks["memory caps"]["status"], "ok" if self.caps_hold else "problem")
        self.assertFalse(os.path.exists(self.state))
        # The words are those of the JSON.
        report = self.doctor({})
        self.assertEqual((report.returncode, report.stderr), (0 if self.caps_hold else 1, ""))
        for check in checks.values():
            self.assertIn(f"{check['status']:9}{check['check']:23}", report.stdout)

    def test_a_level_can_be_required(self):
        for required in ("cgroup2", "cgroup1", "rlimit"):
            done = self.doctor({}, "--require", required)
            enough = self.caps_hold and self.level >= required.replace("rlimit", "")
            self.assertEqual((done.returncode, done.stderr), (0 if enough else 1, ""), done.stdout)
            self.assertEqual(f"; {required} is required" in done.stdout, self.level not in ("cgroup2", required) and required != "rlimit")
        done = self.doctor({}, "--require", "much")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("--require much: cgroup2, cgroup1 or rlimit", done.stderr)

    def test_it_leaves_no_group_and_no_process(self):
        answer, checks = self.checks({})
        if not self.caps_hold:
            return
        instance = checks["memory caps"]["finding"].split("kurultai-")[1][:8]
        wait_until(lambda: not harness.group_dirs(instance), f"no group of {instance} is left")
        self.assertEqual(answer["guarantee"], self.level)

    def test_what_will_not_work_as_configured_is_a_problem(self):
        answer, checks = self.checks({
            "memory": {"budget": "999999GiB"},
            "agents": {"lost": {"protocol": "exec", "command": ["no-such-program-anywhere"]},
                       "here": {"protocol": "exec", "command": ["sh", "-c", "{script}"]},
                       "placed": {"protocol": "exec", "command": ["./run"], "cwd": "{directory}"}}})
        self.assertEqual(answer["status"], "problem")
        self.assertEqual(checks["memory budget"]["status"], "problem")
        self.assertEqual(checks["agents' programs"]["finding"], "not found or not executable: lost (no-such-program-anywhere)")
        self.assertIn("here, lost, placed: run as the supervisor's own user", checks["agents' users"]["finding"])

    def test_a_state_directory_that_cannot_be_is_a_problem(self):
        with open(self.state, "w", encoding="utf-8"):
            pass
        _, checks = self.checks({})
        self.assertEqual(checks["state directory"]["finding"], f"{self.state}: is no directory")

    def test_it_does_not_mind_a_supervisor_that_runs(self):
        daemon = self.daemon({})
        self.state = daemon.state
        with open(os.path.join(daemon.state, "token"), "w", encoding="ascii") as token:
            token.write("x" * 64)
        os.chmod(token.name, 0o644)
        _, checks = self.checks({"gateway": {"listen": "127.0.0.1:0"}})
        self.assertEqual(checks["token"]["status"], "problem")
        self.assertTrue(self.is_well(daemon))

    def test_mistakes_in_the_configuration_come_first(self):
        done = self.doctor({"memroy": {}})
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("memory.yaml:1:", done.stderr)
        self.assertIn("memory", done.stderr)


if __name__ == "__main__":
    unittest.main()
