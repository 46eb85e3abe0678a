#!/usr/bin/env python3
"""`kurultai record` and `kurultai replay --leak`: traces of processes and of workers, and what they tell."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import harness
from harness import MIB, E2E, PATIENCE, client, wait_until
from puppet import settings

KURULTAI = os.path.join(harness.BIN, "kurultai")
NO_SUCH_THING = 5
LEAK = "import sys\nkept = []\nfor _ in sys.stdin: kept.append(b'x' * 1000000)"


def readings(path):
    """The lines of a trace that are whole, as pairs."""
    text = pathlib.Path(path).read_text() if os.path.exists(path) else ""
    return [tuple(map(float, line.split(","))) for line in text.split("\n")[1:-1]]


class Traces(E2E):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="traces-")
        self.addCleanup(subprocess.run, ["rm", "-rf", self.dir], check=False)
        self.trace = os.path.join(self.dir, "trace.csv")

    def run_it(self, *arguments):
        return subprocess.run([KURULTAI, *arguments], capture_output=True, text=True, timeout=60 * PATIENCE, check=False)

    def open(self, words, **kw):
        process = subprocess.Popen(words, text=True, **kw)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def leak(self):
        """Keeps a megabyte for each line it is given."""
        return self.open([sys.executable, "-c", LEAK], stdin=subprocess.PIPE)

    def record(self, target, *arguments):
        return self.open([KURULTAI, *arguments, "record", str(target), "-o", self.trace, "--interval", "10ms", "--for", "60s"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait_readings(self, count):
        wait_until(lambda: len(readings(self.trace)) >= count, f"{count} readings")

    def test_a_process_that_grows_and_ends_while_it_is_recorded(self):
        leak = self.leak()
        recording = self.record(leak.pid)
        self.wait_readings(3)
        before = readings(self.trace)[-1][1]
        for _ in range(20):
            leak.stdin.write("more\n")
        leak.stdin.flush()
        wait_until(lambda: readings(self.trace)[-1][1] > before + 15e6, "growth in the trace")
        leak.kill()
        leak.wait()
        out, err = recording.communicate(timeout=20 * PATIENCE)
        self.assertEqual((recording.returncode, err), (0, ""))
        self.assertRegex(out, rf"^\d+ readings in .*: {self.trace}, until process {leak.pid} ended\n$")
        times = [seconds for seconds, _ in readings(self.trace)]
        self.assertEqual(times, sorted(times))

    def test_what_a_recording_reads_is_the_process_with_its_children(self):
        family = self.open(["sh", "-c", f"{sys.executable} -c 'kept = b\"x\" * 30000000; import sys; sys.stdin.read()'; :"], stdin=subprocess.PIPE)
        recording = self.record(family.pid)
        wait_until(lambda: any(size > 30e6 for _, size in readings(self.trace)), "the child's memory")
        recording.send_signal(signal.SIGINT)
        out, err = recording.communicate(timeout=20 * PATIENCE)
        self.assertEqual((recording.returncode, err), (0, ""))
        self.assertNotIn("ended", out)

    def test_a_worker(self):
        daemon = self.daemon(settings(memory={"check_interval": "50ms"}))
        task = daemon.start("puppet", "until('CANCEL'); done()")
        worker = daemon.wait_state(task, "running")["workerId"]
        recording = self.record(worker, "--socket", daemon.socket)
        self.wait_readings(5)
        self.assertTrue(all(MIB < size < 256 * MIB for _, size in readings(self.trace)))
        os.kill(next(each["pid"] for each in daemon.get("/v1/workers").json["workers"]), signal.SIGKILL)
        out, err = recording.communicate(timeout=20 * PATIENCE)
        self.assertEqual((recording.returncode, err), (0, ""))
        self.assertIn(f"until worker {worker} ended", out)
        done = client(daemon, "record", "w99", "-o", self.trace)
        self.assertEqual(done.returncode, NO_SUCH_THING)
        self.assertEqual(done.stderr, "kurultai: record w99: no such worker; `kurultai workers` lists them\n")

    def test_what_cannot_be_recorded(self):
        for words, status, text in (
            (("record", "999999999", "-o", self.trace), NO_SUCH_THING, "record 999999999: no process 999999999"),
            (("record", str(os.getpid()), "-o", "/dev/null/x"), 2, f"record {os.getpid()}: open /dev/null/x: Not a directory"),
            (("record", str(os.getpid())), 2, "--output is required; see `kurultai record --help`"),
        ):
            with self.subTest(words):
                done = self.run_it(*words)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (status, "", f"kurultai: {text}\n"))

    def write(self, name, lines):
        path = os.path.join(self.dir, name)
        pathlib.Path(path).write_text("seconds,bytes\n" + "".join(f"{seconds},{size}\n" for seconds, size in lines))
        return path

    def test_one_verdict_a_line(self):
        flat = self.write("flat", [(i / 10, 50_000_000) for i in range(600)])
        slow = self.write("slow", [(i / 10, 50_000_000 + 2000 * i) for i in range(600)])  # 72 MB/h
        fast = self.write("fast", [(i / 10, 50_000_000 + 100_000 * i) for i in range(600)])
        done = self.run_it("replay", "--leak", flat, slow, fast)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([line.split()[0] for line in done.stdout.splitlines()], ["none", "warning", "critical"])
        done = self.run_it("replay", "--leak", "--json", "--cap", "200MB", fast)
        verdict = json.loads(done.stdout)
        self.assertEqual((verdict["file"], verdict["verdict"], verdict["shape"], verdict["readings"]), (fast, "critical", "growing", 600))
        self.assertAlmostEqual(verdict["growthBytesPerHour"], 3.6e9, delta=3.6e7)
        self.assertAlmostEqual(verdict["secondsToCap"], 90.1, delta=2)
        self.assertGreater(verdict["confidence"], 0.9)
        self.assertEqual([self.run_it("replay", "--leak", "--fail", each).returncode for each in (flat, fast)], [0, 1])

    def test_a_bad_file_does_not_keep_the_others_from_their_verdict(self):
        good = self.write("good", [(i, 1000) for i in range(20)])
        bad = self.write("bad", [(0, 1), (1, "many")])
        done = self.run_it("replay", "--leak", bad, good)
        self.assertEqual((done.returncode, done.stderr), (2, f"kurultai: replay: {bad}:3: '1,many' is not seconds,bytes\n"))
        self.assertTrue(done.stdout.startswith("none "), done.stdout)


if __name__ == "__main__":
    unittest.main()
