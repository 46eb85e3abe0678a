#!/usr/bin/env python3
"""`kurultaid --record` under real work, and `kurultai replay` of it: the same rules decide the same, others do not."""

import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import E2E, PATIENCE, wait_until
from level import BALLOON, Balloon, Scale

KURULTAI = os.path.join(harness.BIN, "kurultai")
KURULTAID = os.path.join(harness.BIN, "kurultaid")
USAGE, NO_SUCH_THING = 2, 5
# A sanitized supervisor takes 60 MiB more of it.
BUDGET = 600 if harness.is_instrumented() else 320


def balloon(**fields):
    return {"protocol": "jsonl", "command": BALLOON, "grace": "1s", **fields}


def settings(budget=BUDGET):
    cap = f"{budget}MiB"
    return {
        "memory": {"budget": cap},
        "workers": {"max": 4, "memory_limit": cap, "memory_warning": cap},
        "queue": {"max_depth": 20, "limits": {"low": 20, "normal": 20}},
        "admission": "none",  # thresholds are crossed on purpose
        "agents": {"important": balloon(preemptable=False), "small": balloon(), "quick": {"protocol": "exec", "command": ["true"]}},
    }


class Replays(E2E):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="kurultai-replay-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        self.life = self.path("night.life")

    def path(self, name, text=None):
        path = os.path.join(self.dir, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def recorded(self, *args):
        return self.daemon(settings(), args=("--record", self.life, *args))

    def lines(self):
        with open(self.life, encoding="utf-8") as file:
            return file.read()

    def replay(self, *args):
        return subprocess.run([KURULTAI, "replay", *args], capture_output=True, text=True, timeout=60 * PATIENCE,
                              stdin=subprocess.DEVNULL, check=False)

    def replayed(self, *args):
        done = self.replay(self.life, "--json", *args)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def refused(self, status, text, *args):
        done = self.replay(*args)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (status, "", f"kurultai: replay: {text}\n"))


class RecordedLife(Replays):
    def test_a_preemption_is_decided_again_for_the_same_victims_in_the_same_order_and_not_under_a_larger_budget(self):
        daemon = self.recorded()
        top = Balloon(daemon, "important", priority="critical")
        small = [Balloon(daemon, "small", priority=priority, payload={"mib": 20}) for priority in ("low", "normal")]
        Scale(daemon, top).aim_until(0.9, lambda: any(one.task["preemptions"] > 0 for one in small))
        preempted = [event["taskId"] for event in daemon.events() if event["type"] == "taskPreempted"]
        top.end()
        for one in small:
            daemon.request("DELETE", f"/v1/tasks/{one.id}")
        daemon.wait_state(top.id, "completed")
        self.assertEqual(daemon.terminate(), 0)
        self.assertEqual(stat.S_IMODE(os.stat(self.life).st_mode), 0o600)

        same = self.replayed()
        recorded, policy = same["recorded"], same["policies"][0]
        self.assertEqual(same["end"], "ended")
        self.assertEqual(same["missingRecords"], 0)
        self.assertIn(preempted[0], [act["taskId"] for act in recorded["acts"]])
        self.assertEqual(small[0].id, recorded["acts"][0]["taskId"], "the lowest priority goes first")
        self.assertTrue(policy["sameAsRecorded"], f"{policy}")
        for figures in ("acts", "crossings", "counts", "over", "peak", "accepted", "refusedForMemory", "refusedForQueue",
                        "starts", "curve"):
            self.assertEqual(policy[figures], recorded[figures], figures)
        self.assertEqual(policy["startsAbovePreempt"] + policy["startsWithoutRoom"], 0)
        itself = self.replayed("--config", daemon.config_file)["policies"][0]
        self.assertEqual(itself["acts"], recorded["acts"], "its own file says the same")

        larger = self.path("larger.yaml", json.dumps(settings(2 * BUDGET)))
        both = self.replayed("--config", daemon.config_file, "--config", larger)["policies"]
        self.assertEqual([one["config"] for one in both], [daemon.config_file, larger])
        self.assertEqual(both[0]["acts"], recorded["acts"])
        self.assertEqual(set(both[1]["counts"].values()), {0})
        self.assertEqual(both[1]["crossings"], [])
        self.assertLess(both[1]["peak"]["ratio"], 0.6)

        text = self.replay(self.life, "--config", daemon.config_file, "--config", larger)
        self.assertEqual((text.returncode, text.stderr), (0, ""))
        self.assertRegex(text.stdout, r"\npreempted +(\d+) +\1 +0\n")
        self.assertIn(f"{daemon.config_file}: decided as it was, the same at every reading.\n", text.stdout)
        self.assertIn("Nobody would have had to give way.\n", text.stdout)
        self.assertRegex(text.stdout, r"│.*█.*│ preempt\n|│.*│ reject.*\n")

    def test_a_recording_ends_at_its_limit_and_the_work_goes_on(self):
        daemon = self.recorded("--record-limit", "64KiB")
        for _ in range(3):
            daemon.request("POST", "/v1/tasks:batch", [{"agent": "nobody"}] * 1000)
        wait_until(lambda: "has reached its limit of 64KiB" in daemon.log_text(), "the limit is told of")
        self.assertEqual(daemon.run("quick")["state"], "completed")
        self.assertLessEqual(os.stat(self.life).st_size, 64 * 1024)
        self.assertEqual(daemon.terminate(), 0)
        self.assertRegex(self.lines(), r"\nz \d+ limit\n$")
        done = self.replay(self.life)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("it ends where its file had reached --record-limit\n", done.stdout)

    def test_the_recording_of_a_supervisor_that_was_killed_is_good_up_to_there(self):
        daemon = self.recorded()
        daemon.run("quick")
        wait_until(lambda: " completed\n" in self.lines(), "the task's end is recorded")
        daemon.kill()
        done = self.replay(self.life)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("its end is missing", done.stdout)

    def test_what_is_there_already_is_not_written_over(self):
        self.path("night.life", "mine\n")
        daemon = self.daemon(settings(), ready=False, args=("--record", self.life))
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 1)
        self.assertIn(f"kurultaid: record to {self.life}: File exists\n", daemon.log_text())
        with open(self.life, encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine\n")


class BadInput(Replays):
    HEADER = json.dumps({"kurultaiLife": 1, "startedAt": "2026-03-01T12:00:00.000Z", "guarantee": "cgroup1", "machineBytes": 1 << 30, "rules": {
        "budgetBytes": 1 << 28, "thresholds": {"skip_heartbeats": 0.7, "preempt": 0.85, "reject": 0.9, "kill": 0.95}, "hysteresis": 0.1,
        "governs": True, "endsIdle": True, "suspends": True, "preempts": True, "admits": True, "agents": {},
        "queue": {"maxDepth": 5, "limits": dict.fromkeys(["critical", "high", "normal", "low", "heartbeat"], 5)}}}) + "\n"
    READING = "r 1000 1000000 1000 0 0 -\n"

    def test_recordings_that_cannot_be_read(self):
        cases = (
            ("", ": is empty"),
            (self.HEADER, ": holds no readings"),
            ("seconds,bytes\n0,1\n", ":1: no recording of kurultaid --record"),
            (self.HEADER.replace('Life": 1', 'Life": 7'), ":1: a recording of version 7; this program reads version 1"),
            (self.HEADER + self.READING + "r 2000 nan 0 0 0 -\n", ":3: 'nan' is no size"),
            (self.HEADER + self.READING + "r 999 1 0 0 0 -\n", ":3: its time is before that of an earlier line"),
            (self.HEADER + self.READING + "r 2000 1", ":3: the recording is cut off in the middle of its last line; "
                                                      "`head -n 2` gives what is whole"),
            (self.HEADER + "\x1b[2J\n", ":2: ' [2J' is no record"),
            (self.HEADER + "r " + "1" * (5 << 20), ":2: is longer than any record"),
        )
        for text, complaint in cases:
            with self.subTest(complaint):
                bad = self.path("bad.life", text)
                self.refused(USAGE, bad + complaint, bad)

    def test_files_and_words_that_do_not_go(self):
        good = self.path("good.life", self.HEADER + self.READING)
        bad = self.path("bad.yaml", "memory: {bugdet: 1GiB}\n")
        cases = (
            (NO_SUCH_THING, f"{self.dir}/none: No such file or directory", f"{self.dir}/none"),
            (USAGE, f"{self.dir}: Is a directory", self.dir),
            (USAGE, "one recording at a time; CSV traces of processes go with --leak", good, good),
            (USAGE, "at most two configurations are shown side by side", good, *["--config", bad] * 3),
            (USAGE, "--cap goes with --leak", good, "--cap", "1GiB"),
        )
        for status, complaint, *args in cases:
            with self.subTest(complaint):
                self.refused(status, complaint, *args)
        done = self.replay(good, "--config", bad)
        self.assertEqual((done.returncode, done.stdout), (USAGE, ""))
        self.assertIn(f"{bad}:1:", done.stderr)
        done = self.replay(good, "--config", f"{self.dir}/none.yaml")
        self.assertEqual(done.returncode, USAGE)

    def test_a_single_reading_and_readings_that_are_far_apart(self):
        life = self.path("good.life", self.HEADER + self.READING)
        self.assertEqual(json.loads(self.replay(life, "--json").stdout)["readings"], 1)
        self.assertIn("1 readings, at most 0ms apart\n", self.replay(life).stdout)
        life = self.path("gap.life", self.HEADER + self.READING + "r 86400000001000 240000000 0 0 0 - !u0 !u1\n")
        report = json.loads(self.replay(life, "--json").stdout)
        self.assertEqual(report["longestGapSeconds"], 86400)
        self.assertTrue(report["policies"][0]["sameAsRecorded"])

    def test_options_of_the_supervisor(self):
        cases = (
            (("--record-limit", "1KiB"), "--record-limit 1KiB: at least 64KiB"),
            (("--record-limit", "much"), "--record-limit much: "),
            (("--record", "x", "--doctor"), "--record does not go with --doctor; see kurultaid --help"),
        )
        for args, complaint in cases:
            done = subprocess.run([KURULTAID, *args], capture_output=True, text=True, timeout=20 * PATIENCE, check=False)
            self.assertEqual(done.returncode, USAGE)
            self.assertIn(f"kurultaid: {complaint}", done.stderr)


if __name__ == "__main__":
    unittest.main()
