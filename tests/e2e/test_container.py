#!/usr/bin/env python3
"""Kurultai in a container: a memory group with a limit, in which there are others too. What they use of it is not there for the
tasks, which give way in their order before the kernel has to kill in the container."""

# Runs in the virtual machine with cgroup v2 too.
RUNS_IN_VM = True

import contextlib
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import MIB, PYTHON, wait_until
import level
from level import BALLOON, Balloon, LevelE2E, at_each_level

LIMIT = 512
# Takes MIB, 4 every twentieth of a second; leaves when nobody holds its input any more.
NEIGHBOUR = """
import sys, time
held = []
for _ in range(int(sys.argv[1]) // 4):
    held.append(b"x" * (4 << 20))
    time.sleep(0.05)
print("taken", flush=True)
sys.stdin.read()
"""


# Reads a file of 200 MiB over and over, of which a small group can keep little: it waits for memory most of the time.
THRASHER = """
import mmap, os, sys
open(sys.argv[2], "w").write(str(os.getpid()))
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 200 << 20)
area = mmap.mmap(file, 200 << 20)
while True:
    for at in range(0, 200 << 20, 4096): area[at]
"""


class Box:
    """A group with a limit below the group that tests make theirs in, with leaves for who is to be in it."""

    def __init__(self, limit=LIMIT):
        version, point, root = next((version, point, root) for version, controllers, point, root in level._mounts()
                                    if (version == 2 and level._enable_memory(level._parent(2, point, root)))
                                    or (version == 1 and "memory" in controllers))
        self.version = version
        parent = level._parent(version, point, root)
        self.top = pathlib.Path(parent, f"kurultai-box-{os.getpid()}-{id(self)}")
        self.below = "/" + os.path.relpath(self.top, point)
        self.top.mkdir()
        if version == 2:
            (self.top / "cgroup.subtree_control").write_text("+memory")
        self.limit(limit)

    def limit(self, mib):
        (self.top / ("memory.max" if self.version == 2 else "memory.limit_in_bytes")).write_text(str(mib * MIB))

    def kills(self):
        """Processes that the kernel killed because the box was full."""
        text = (self.top / ("memory.events" if self.version == 2 else "memory.oom_control")).read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])

    def put(self, pid, leaf):
        (self.top / leaf).mkdir(exist_ok=True)
        (self.top / leaf / "cgroup.procs").write_text(str(pid))

    @contextlib.contextmanager
    def around(self, pid, leaf):
        """The process is in the box meanwhile, and so is whom it starts."""
        hierarchy = "0::" if self.version == 2 else ":memory:"
        text = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
        own = next(line.split(":", 2)[2] for line in text.splitlines() if hierarchy in line)
        top = str(self.top)[:-len(self.below)]
        self.put(pid, leaf)
        try:
            yield
        finally:
            pathlib.Path(top + own, "cgroup.procs").write_text(str(pid))

    def remove(self):
        for group in sorted(self.top.rglob("*/"), reverse=True):
            wait_until(lambda group=group: self.gone(group), f"{group} is removed", 10)
        wait_until(lambda: self.gone(self.top), f"{self.top} is removed", 10)

    @staticmethod
    def gone(group):
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()


@unittest.skipIf(level.machine_level() == "rlimit", "no memory group can be made here, so no container")
@at_each_level
class Container(LevelE2E):
    def setUp(self):
        super().setUp()
        self.box = Box()
        self.addCleanup(self.box.remove)

    def in_the_box(self, **memory):
        """Without groups the workers are where their supervisor is, so that has to be in there itself."""
        config = {
            "memory": {"check_interval": "200ms", **memory},
            "workers": {"max": 4, "memory_limit": "256MiB", "memory_warning": "256MiB"},
            "agents": {"balloon": {"protocol": "jsonl", "command": BALLOON, "grace": "1s"}},
        }
        env = {"KURULTAI_MEMORY_MACHINE_RESERVE": "auto"}
        if self.level != "rlimit":
            return self.daemon(config, env={**env, level.PARENT_VARIABLE: self.box.below})
        with self.box.around(os.getpid(), "supervisor"):
            return self.daemon(config, env=env)

    def neighbour(self, mib):
        process = subprocess.Popen([PYTHON, "-c", NEIGHBOUR, str(mib)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.leave, process)
        self.box.put(process.pid, "neighbour")
        return process

    def leave(self, process):
        process.stdin.close()
        process.stdout.close()
        process.wait()

    def test_tasks_give_way_to_a_neighbour_in_the_container(self):
        if harness.is_instrumented():
            self.skipTest("the programs carry a sanitizer or counters, whose own memory is too much of what the container has")
        daemon = self.in_the_box(budget="auto")
        before = level.memory(daemon)
        self.assertEqual((before["configuredBytes"], before["machine"]["totalBytes"]), (LIMIT * MIB, LIMIT * MIB))
        self.assertEqual(before["machine"]["group"], str(self.box.top))
        self.assertEqual(before["machine"]["reserveBytes"], LIMIT // 16 * MIB)
        self.assertLessEqual(before["budgetBytes"], (LIMIT - LIMIT // 16) * MIB)
        important = Balloon(daemon, "balloon", priority="critical", payload={"mib": 40})
        least = Balloon(daemon, "balloon", priority="low", payload={"mib": 120})
        # What is left is enough for the important one and its supervisor, and for no more than that.
        now = level.memory(daemon)
        enough = now["supervisor"]["rssBytes"] + important.memory() + 60 * MIB
        neighbour = self.neighbour((now["budgetBytes"] - enough) // MIB)
        self.assertEqual(neighbour.stdout.readline(), b"taken\n")
        wait_until(lambda: least.task["preemptions"] > 0 and least.worker() is None, "the least important gives way", 30)
        self.assertEqual((important.task["state"], important.task["preemptions"]), ("running", 0))
        self.assertIn(f", in {self.box.top}", harness.client(daemon, "memory").stdout)
        changed = daemon.wait_event("budgetChanged")
        self.assertEqual(changed["machineGroup"], str(self.box.top))
        # The kernel had nothing to do, and when there is room again the task goes on.
        self.assertIsNone(neighbour.poll())
        self.assertEqual(self.box.kills(), 0)
        self.leave(neighbour)
        daemon.wait_state(least.id, "running", timeout=30)
        for balloon in (important, least):
            balloon.end()
            self.assertEqual(daemon.wait_state(balloon.id, "completed", "failed")["state"], "completed")

    def test_a_limit_that_is_lowered_later_counts(self):
        daemon = self.in_the_box(budget="400MiB")
        self.assertFalse(level.memory(daemon)["machine"]["limits"])
        self.box.limit(256)
        wait_until(lambda: level.memory(daemon)["budgetBytes"] < 256 * MIB, "the budget follows", 20)
        self.assertEqual(level.memory(daemon)["machine"]["totalBytes"], 256 * MIB)
        machine = next(part for part in daemon.get("/health").json["parts"] if part["part"] == "machine")
        self.assertIn(f"others use the group {self.box.top}: ", machine["trouble"])
        self.box.limit(LIMIT)
        wait_until(lambda: level.memory(daemon)["budgetBytes"] == 400 * MIB, "the budget is what was configured", 20)


def tells_of_stalls():
    with contextlib.suppress(OSError):
        with open("/proc/pressure/memory", "r+", encoding="ascii"):
            return True
    return False


@unittest.skipUnless(tells_of_stalls(), "this kernel does not tell of stalls (/proc/pressure/memory)")
@unittest.skipIf(level.machine_level() == "rlimit", "no memory group can be made here, so nobody can be made to wait")
@at_each_level
class Stalls(LevelE2E):
    def test_memory_is_read_when_somebody_on_the_machine_waits_for_it(self):
        box = Box(24)
        self.addCleanup(box.remove)
        daemon = self.daemon({"memory": {"check_interval": "10m"}, "agents": {"balloon": {"protocol": "jsonl", "command": BALLOON}}})
        before = daemon.metric("kurultai_memory_stalls_total"), level.memory(daemon)["time"]
        (box.top / "thrasher").mkdir()
        process = subprocess.Popen([PYTHON, "-c", THRASHER, os.path.join(daemon.dir, "file"), str(box.top / "thrasher" / "cgroup.procs")])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: daemon.metric("kurultai_memory_stalls_total") > before[0] and level.memory(daemon)["time"] != before[1],
                   "a stall is told, and memory read", 60)


if __name__ == "__main__":
    unittest.main()
