#!/usr/bin/env python3
"""`kurultai run`: what its commands wrote comes through whole, however much it is and however slowly it is read."""
import glob
import os
import subprocess
import tempfile
import unittest

import harness
from harness import wait_until

KURULTAI = os.path.join(harness.BIN, "kurultai")
# 64 KiB are kept as text, and as JSON each of these bytes takes six; with the log a task holds 448 KiB.
LOUD = r"""
while ! [ -e "$0/gate" ]; do sleep 0.02; done
head -c 65536 /dev/zero | tr '\0' '\1'
head -c 65536 /dev/zero | tr '\0' e >&2
echo >> "$0/marks"
"""


class RunOutput(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="kt-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def start(self, *arguments):
        process = subprocess.Popen([KURULTAI, "run", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": self.dir})
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def queue_depth(self):
        """Of the private supervisor: None before it answers."""
        for path in glob.glob(os.path.join(self.dir, "kurultai-run-*", "s")):
            answer = subprocess.run([KURULTAI, "--socket", path, "queue", "--json"], capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                return harness.json.loads(answer.stdout)["depth"]
        return None

    def marks(self):
        path = os.path.join(self.dir, "marks")
        return os.path.getsize(path) if os.path.exists(path) else 0

    def test_more_than_8_mib_of_results_wait_for_a_slow_reader(self):
        run = self.start("--jobs", "4", "--memory", "64MiB", "--", "sh", "-c", LOUD, self.dir, ":::", *map(str, range(40)))
        wait_until(lambda: self.queue_depth() == 16, "four run and a full queue is behind them", 30)
        with open(os.path.join(self.dir, "gate"), "wb"):
            pass
        # Their outputs are more than the pipe takes: all but the first wait in the supervisor.
        wait_until(lambda: self.marks() >= 20, "all that was submitted has written its output", 60)
        out, errors = run.communicate(timeout=60 * harness.PATIENCE)
        self.assertEqual(run.returncode, 0, errors[-300:])
        self.assertEqual((out.count(b"\1"), len(out)), (40 * 65536, 40 * 65536))
        self.assertEqual(errors.count(b"e" * 65536), 40)


if __name__ == "__main__":
    unittest.main()
