"""A kurultaid that a shell script prepares the ground for: another user, another group, another view of the file systems."""

import os
import pathlib
import shutil
import sys
import tempfile
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "e2e"))
import harness

USER = 1000  # `agent` in the guest
GROUPS = pathlib.Path("/sys/fs/cgroup")
IS_VERSION_2 = (GROUPS / "cgroup.controllers").exists()

# Takes memory as fast as it can, for ever: only a cap ends it.
LEAK = [harness.PYTHON, "-c", "held = []\nwhile True: held.append(bytearray(1 << 20))"]
CONFIG = {
    "memory": {"budget": "256MiB", "cgroup_parent": "self"},
    "workers": {"max": 2, "memory_limit": "64MiB", "memory_warning": "48MiB"},
    "agents": {
        "leak": {"protocol": "exec", "command": LEAK},
        "sleep": {"protocol": "exec", "command": ["sleep", "600"]},
        "where": {"protocol": "exec", "command": ["sh", "-c", "id -u; cat /proc/self/cgroup"]},
    },
}


def started_by(test, script):
    """A ready supervisor that `script` started: it ends in an exec of "$@". Checked and cleared with the test."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="kt-"))
    test.addCleanup(shutil.rmtree, directory, ignore_errors=True)
    os.chown(directory, USER, USER)
    stand_in = directory / "bin" / "kurultaid"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\nset -e\nset -- {harness.BIN}/kurultaid \"$@\"\n{script}\n")
    stand_in.chmod(0o755)
    with unittest.mock.patch.object(harness, "BIN", str(stand_in.parent)):
        return test.daemon(CONFIG, directory=str(directory))
