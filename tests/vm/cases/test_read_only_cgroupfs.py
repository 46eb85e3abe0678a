#!/usr/bin/env python3
"""Cgroup v2 mounted read-only, as in most containers: the supervisor works, promises less, and says why."""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import start

# In a mount namespace of its own, so that other tests keep theirs writable.
READ_ONLY = 'exec unshare -m sh -c "mount -o remount,bind,ro /sys/fs/cgroup && exec \\"\\$@\\"" sh "$@"'


@unittest.skipUnless(start.IS_VERSION_2 and os.geteuid() == 0, "needs cgroup v2, and root to mount it")
class ReadOnlyTest(start.harness.E2E):
    def test_the_guarantee_is_less_and_says_why(self):
        health = start.started_by(self, READ_ONLY).get("/health").json
        self.assertEqual(health["guarantee"], "rlimit", health)
        self.assertIn("Read-only file system", health["explanation"])

    def test_a_leak_still_dies_alone(self):
        daemon = start.started_by(self, READ_ONLY)
        self.assertEqual(daemon.run("leak")["state"], "failed")
        self.assertEqual(daemon.run("where")["state"], "completed")


if __name__ == "__main__":
    unittest.main()
