#!/usr/bin/env python3
"""Caps and accounting: who exceeds its own dies alone and says why, and what is shown as used is what is used."""

# Runs in the virtual machine with cgroup v2 too.
RUNS_IN_VM = True

import os
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import MIB, PYTHON, agent_command, wait_until
import level
from level import BALLOON, Balloon, LevelE2E, at_each_level, with_cgroups

CAP = 64
LEAK = [PYTHON, "-c", "held=[]\nwhile True: held.append(b'x' * (4 << 20))"]
# As fast as memory can be touched at all: pages of one large area, nothing else.
FAST_LEAK = [PYTHON, "-c", "block = bytearray(1 << 30)\nfor at in range(0, len(block), 1 << 20): block[at:at + (1 << 20)] = b'x' * (1 << 20)"]


def config(agents, budget="400MiB", **memory):
    return {
        "memory": {"budget": budget, **memory},
        "workers": {"max": 4, "memory_limit": f"{CAP}MiB", "memory_warning": f"{CAP}MiB"},
        "circuit_breakers": {"failures": 1000},
        "agents": agents,
    }


def jsonl(command, **fields):
    return {"protocol": "jsonl", "command": command, "grace": "1s", **fields}


def shell(script, **fields):
    return {"protocol": "exec", "command": ["sh", "-c", script], "grace": "1s", **fields}


ECHO = agent_command("""
say({'type':'READY','protocol':1,'name':'echo'})
while True:
 t=task()
 say({'type':'COMPLETE','taskId':t['taskId'],'result':os.getpid()})
""")

LEAKING_AGENT = agent_command("""
say({'type':'READY','protocol':1,'name':'leak'})
t=task()
held=[]
while True: held.append(b'x'*(4<<20))
""")


@at_each_level
class Caps(LevelE2E):
    def fails_for_its_memory(self, daemon, task, cap=CAP):
        """At the rlimit level the allocation fails inside the process, and Python says so itself with MemoryError and status 1:
        that the cap was the cause stands in the log, the reason is the truth that the supervisor can know."""
        self.assertEqual(task["state"], "failed", task)
        if self.caps_hold:
            self.assertEqual(task["error"]["reason"], "memory_cap", task)
            self.assertIn(f"{cap}MiB", task["error"]["message"])
            self.assertGreater(task["peakMemoryBytes"], 0.9 * cap * MIB)
            self.assertLessEqual(task["peakMemoryBytes"], cap * MIB)
        else:
            self.assertEqual(task["error"]["reason"], "exit_code", task)
            self.assertEqual(task["error"]["exitCode"], 1)
            self.assertIn(b"MemoryError", daemon.get(f"/v1/tasks/{task['taskId']}/logs").body)
            self.assertGreater(task["peakMemoryBytes"], 0)  # a sample: a fast leak is over before the next
            self.assertLess(task["peakMemoryBytes"], 1.5 * cap * MIB)

    def dies_alone(self, agent):
        daemon = self.daemon(config({"leak": agent, "neighbour": jsonl(ECHO)}))
        before = daemon.run("neighbour")["result"]
        failed = daemon.run("leak")
        self.fails_for_its_memory(daemon, failed)
        self.assertEqual(daemon.run("neighbour")["result"], before, "the neighbour is the same process as before")
        self.assertTrue(self.is_well(daemon))
        finished = daemon.metric("kurultai_tasks_finished_total", agent="leak", state="failed", reason=failed["error"]["reason"])
        self.assertEqual(finished, 1)
        return daemon

    def test_a_leaking_command_dies_alone(self):
        self.dies_alone({"protocol": "exec", "command": LEAK})

    def test_a_leaking_agent_dies_alone(self):
        daemon = self.dies_alone(jsonl(LEAKING_AGENT))
        ended = daemon.wait_event("workerExited", agent="leak")
        self.assertEqual(ended["reason"], "memory_cap" if self.caps_hold else "exited")

    def test_a_leak_as_fast_as_memory_itself_dies_alone(self):
        daemon = self.daemon(config({"leak": {"protocol": "exec", "command": FAST_LEAK}, "neighbour": jsonl(ECHO)}))
        before = daemon.run("neighbour")["result"]
        task = daemon.run("leak")
        if self.caps_hold:
            self.fails_for_its_memory(daemon, task)
        else:  # refused as a whole, before anything of it was touched
            self.assertEqual(task["error"]["reason"], "exit_code", task)
        self.assertEqual(daemon.run("neighbour")["result"], before)

    def test_an_agents_own_cap_counts_and_is_named(self):
        daemon = self.daemon(config({"leak": {"protocol": "exec", "command": LEAK, "memory_limit": "40MiB"}}))
        self.fails_for_its_memory(daemon, daemon.run("leak"), cap=40)

    def test_the_next_task_of_a_leaking_agent_gets_a_fresh_worker(self):
        script = """
say({'type':'READY','protocol':1,'name':'sometimes'})
while True:
 t=task()
 held=[]
 while t['payload']: held.append(b'x'*(4<<20))
 say({'type':'COMPLETE','taskId':t['taskId'],'result':os.getpid()})
"""
        daemon = self.daemon(config({"sometimes": jsonl(agent_command(script))}))
        first = daemon.run("sometimes", False)["result"]
        self.fails_for_its_memory(daemon, daemon.run("sometimes", True))
        after = daemon.run("sometimes", False)
        self.assertEqual(after["state"], "completed")
        self.assertNotEqual(after["result"], first)

    def test_retries_of_a_task_over_its_cap_are_counted_as_attempts(self):
        daemon = self.daemon(config({"leak": {"protocol": "exec", "command": LEAK}}))
        task = daemon.run("leak", retries=2)
        self.fails_for_its_memory(daemon, task)
        self.assertEqual(task["attempt"], 3)

    def test_a_worker_above_its_warning_is_reported_once(self):
        daemon = self.daemon(config({"balloon": jsonl(BALLOON, memory_warning="40MiB")}))
        balloon = Balloon(daemon, "balloon")
        balloon.hold(10)
        wait_until(lambda: level.worker_of(daemon, "balloon")["memoryBytes"] > 12 * MIB, "the balloon is seen")
        self.assertEqual([e for e in daemon.events() if e["type"] == "memoryWarning"], [])
        balloon.hold(42)
        warning = daemon.wait_event("memoryWarning", agent="balloon")
        self.assertEqual(warning["warningBytes"], 40 * MIB)
        self.assertEqual(warning["limitBytes"], CAP * MIB)
        self.assertGreaterEqual(warning["usedBytes"], 40 * MIB)
        self.assertEqual(warning["correlationId"], warning["workerId"])
        wait_until(lambda: daemon.task(balloon.id)["state"] == "running", "it runs on")
        self.assertEqual(daemon.metric("kurultai_memory_warnings_total"), 1)
        balloon.end()
        daemon.wait_state(balloon.id, "completed")

    def test_the_peak_of_a_task_is_what_its_tree_held(self):
        daemon = self.daemon(config({"balloon": jsonl(BALLOON)}))
        balloon = Balloon(daemon, "balloon")
        balloon.hold(40)
        wait_until(lambda: level.worker_of(daemon, "balloon")["peakMemoryBytes"] > 40 * MIB, "the peak is seen")
        balloon.end()
        task = daemon.wait_state(balloon.id, "completed")
        self.assertGreater(task["peakMemoryBytes"], 40 * MIB)
        self.assertLess(task["peakMemoryBytes"], 62 * MIB)


@with_cgroups
class CapsOfTheKernel(LevelE2E):
    def test_the_kernel_lets_nobody_have_more_than_the_cap(self):
        daemon = self.daemon(config({"leak": {"protocol": "exec", "command": FAST_LEAK}}))
        instance = daemon.instance
        self.assertEqual(daemon.run("leak")["error"]["reason"], "memory_cap")
        # The parent's own maximum covers the group that is gone; making the group itself is charged there too.
        highest = level.highest_charge(instance)
        if highest is None:
            self.skipTest("this kernel keeps no maximum of a group's charge")
        self.assertLessEqual(highest, CAP * MIB + MIB)
        self.assertGreater(highest, 0.9 * CAP * MIB)

    def grandchild(self, on_child_oom):
        # The shell itself would go on and succeed.
        script = f"'{PYTHON}' -c \"{LEAK[2]}\" & wait; echo the shell lived"
        daemon = self.daemon(config({"family": shell(script, on_child_oom=on_child_oom), "neighbour": jsonl(ECHO)}))
        return daemon, daemon.run("family")

    def test_a_death_in_the_tree_fails_the_task(self):
        _, task = self.grandchild("fail")
        self.assertEqual((task["state"], task["error"] and task["error"]["reason"]), ("failed", "memory_cap"), task)
        self.assertIn(f"{CAP}MiB", task["error"]["message"])

    def test_a_death_in_the_tree_only_warns_when_the_agent_says_so(self):
        daemon, task = self.grandchild("warn")
        self.assertEqual(task["state"], "completed", task)
        self.assertEqual(task["result"].strip(), "the shell lived")
        self.assertIn(b"killed a process of this worker for its memory cap", daemon.get(f"/v1/tasks/{task['taskId']}/logs").body)

    def test_a_death_in_the_tree_of_a_warm_agent_fails_its_task_alone(self):
        script = f"""
import subprocess
say({{'type':'READY','protocol':1,'name':'family'}})
while True:
 t=task()
 if t['payload']: subprocess.run([{PYTHON!r},'-c',{LEAK[2]!r}])
 say({{'type':'COMPLETE','taskId':t['taskId'],'result':'said all was well'}})
"""
        daemon = self.daemon(config({"family": jsonl(agent_command(script))}))
        self.assertEqual(daemon.run("family", False)["state"], "completed")
        task = daemon.run("family", True)
        self.assertEqual((task["state"], task["error"] and task["error"]["reason"]), ("failed", "memory_cap"), task)
        self.assertEqual(daemon.run("family", False)["state"], "completed")

    def test_a_later_task_of_a_warm_worker_has_a_peak_of_its_own(self):
        daemon = self.daemon(config({"balloon": jsonl(BALLOON)}))
        first = Balloon(daemon, "balloon")
        first.hold(40)
        wait_until(lambda: level.worker_of(daemon, "balloon")["peakMemoryBytes"] > 40 * MIB, "the peak is seen")
        first.end()
        daemon.wait_state(first.id, "completed")
        second = daemon.run("balloon", {"count": 2})
        self.assertLess(second["peakMemoryBytes"], 40 * MIB)

    def test_the_groups_limit_is_the_cap(self):
        daemon = self.daemon(config({"neighbour": jsonl(ECHO, memory_limit="48MiB")}))
        daemon.run("neighbour")
        worker = level.worker_of(daemon, "neighbour")
        self.assertEqual(worker["memoryLimitBytes"], 48 * MIB)
        below = f"workers/{worker['workerId']}"
        path = level.groups_file(daemon.instance, "memory.limit_in_bytes", below) or level.groups_file(daemon.instance, "memory.max", below)
        with open(path, encoding="ascii") as file:
            self.assertEqual(int(file.read()), 48 * MIB)

    def test_swap_does_not_disarm_the_cap(self):
        daemon = self.daemon(config({"neighbour": jsonl(ECHO, memory_limit="48MiB")}))
        daemon.run("neighbour")
        below = f"workers/{level.worker_of(daemon, 'neighbour')['workerId']}"
        for name, wanted in (("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", 48 * MIB)):
            path = level.groups_file(daemon.instance, name, below)
            if path:
                with open(path, encoding="ascii") as file:
                    self.assertEqual(int(file.read()), wanted)
                return
        self.skipTest("this kernel does not account swap")

    def test_all_workers_together_have_the_budget_less_the_supervisors_reserve(self):
        daemon = self.daemon(config({"neighbour": jsonl(ECHO)}, budget="300MiB"))

        def limit():
            for name in ("memory.limit_in_bytes", "memory.max"):
                path = level.groups_file(daemon.instance, name)
                if path:
                    with open(path, encoding="ascii") as file:
                        text = file.read().strip()
                    return int(text) if text != "max" else None
        wait_until(lambda: limit() is not None and limit() < 300 * MIB, "the backstop is set")
        self.assertLessEqual(limit(), (300 - 16) * MIB)

    def page_cache(self, script):
        """A task under a cap of 96 MiB that goes through a file of 200 MiB."""
        directory = tempfile.mkdtemp(prefix="kt-cache-", dir=os.environ.get("KURULTAI_TEST_DISK"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        if level.file_system_of(directory) in ("tmpfs", "ramfs", "rootfs"):
            self.skipTest(f"{directory} lies in memory: a file there is memory that is used; KURULTAI_TEST_DISK names another")
        daemon = self.daemon(config({"files": shell(script, memory_limit="96MiB", cwd=directory), "idle": jsonl(ECHO)}, budget="256MiB"))
        seen = []
        task_id = daemon.start("files")
        while daemon.task(task_id)["state"] not in ("completed", "failed"):
            now = level.memory(daemon)
            seen += [(w["memoryBytes"], w.get("rawBytes", 0)) for w in now["workers"] if w["agent"] == "files"]
            harness.time.sleep(0.02)
        return daemon, daemon.task(task_id), seen

    def test_a_file_that_was_written_does_not_count_as_used(self):
        daemon, task, seen = self.page_cache("dd if=/dev/zero of=big bs=1M count=200 conv=fsync 2>&1; sleep 1; rm big")
        self.assertEqual(task["state"], "completed", task)
        self.assertGreater(max(raw for _, raw in seen), 60 * MIB, "the group's charge was full of page cache")
        used_at_the_end = seen[-1][0]
        self.assertLess(used_at_the_end, 40 * MIB)
        self.assertEqual([e for e in daemon.events() if e["type"] in ("taskPreempted", "thresholdCrossed")], [])

    def test_a_file_that_was_read_does_not_count_as_used(self):
        directory = tempfile.mkdtemp(prefix="kt-cache-", dir=os.environ.get("KURULTAI_TEST_DISK"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        path = os.path.join(directory, "big")
        with open(path, "wb") as file:
            for _ in range(200):
                file.write(b"x" * MIB)
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        daemon, task, seen = self.page_cache(f"dd if='{path}' of=/dev/null bs=1M 2>&1; sleep 1")
        self.assertEqual(task["state"], "completed", task)
        self.assertGreater(max(raw for _, raw in seen), 60 * MIB)
        self.assertLess(seen[-1][0], 40 * MIB)
        self.assertEqual([e for e in daemon.events() if e["type"] in ("taskPreempted", "thresholdCrossed")], [])


@at_each_level
class Accounting(LevelE2E):
    def test_what_is_used_is_the_supervisor_and_its_workers(self):
        daemon = self.daemon(config({"balloon": jsonl(BALLOON), "neighbour": jsonl(ECHO)}))
        daemon.run("neighbour")
        balloon = Balloon(daemon, "balloon")
        balloon.hold(40)
        # Without groups its holder counts, with all that it shares: 13 MiB of a sanitized one.
        small = (35 if harness.is_instrumented() else 20) * MIB

        def grown():
            # A reading may be from the time before a worker became its agent, or before the balloon held all.
            now = level.memory(daemon)
            held = {worker["agent"]: worker["memoryBytes"] for worker in now["workers"]}
            return now if held.get("balloon", 0) > 40 * MIB and held.get("neighbour", 0) < small else None

        now = wait_until(grown, "the balloon is seen")
        self.assertEqual(now["budgetBytes"], 400 * MIB)
        self.assertEqual(now["usedBytes"], now["workersBytes"] + now["supervisor"]["rssBytes"])
        self.assertAlmostEqual(now["ratio"], now["usedBytes"] / now["budgetBytes"], places=6)
        self.assertEqual(now["guarantee"], self.level)
        self.assertEqual(now["thresholds"], {"skip_heartbeats": 0.7, "preempt": 0.85, "reject": 0.9, "kill": 0.95})
        self.assertEqual(now["hysteresis"], 0.1)
        self.assertEqual(now["over"], [])
        self.assertEqual(now["swapBytes"], 0)
        if not harness.is_instrumented():  # its allocator takes the place of the one whose figures these are
            self.assertGreater(now["supervisor"]["heapUsedBytes"], 0)
        self.assertGreaterEqual(now["supervisor"]["heapTotalBytes"], now["supervisor"]["heapUsedBytes"])
        by_agent = {worker["agent"]: worker for worker in now["workers"]}
        self.assertEqual(set(by_agent), {"balloon", "neighbour"})
        self.assertLess(by_agent["balloon"]["memoryBytes"], 60 * MIB)
        together = sum(worker["memoryBytes"] for worker in now["workers"])
        self.assertAlmostEqual(now["workersBytes"] / MIB, together / MIB, delta=12)
        for worker in now["workers"]:
            self.assertGreaterEqual(worker["rawBytes"] + MIB, worker["memoryBytes"])
            self.assertEqual(worker["swapBytes"], 0)

    def test_a_machine_with_less_than_it_is_to_leave_to_others_lowers_the_budget(self):
        """Whatever this machine has, it is not twice as much."""
        with open("/proc/meminfo", encoding="ascii") as file:
            total = 1024 * next(int(line.split()[1]) for line in file if line.startswith("MemTotal:"))
        daemon = self.daemon(config({"neighbour": jsonl(ECHO)}), env={"KURULTAI_MEMORY_MACHINE_RESERVE": str(2 * total)})
        event = daemon.wait_event("budgetChanged")
        self.assertEqual((event["budgetBytes"], event["machineReserveBytes"]), (16 * MIB, 2 * total))
        health = daemon.get("/health").json
        part = next(part for part in health["parts"] if part["part"] == "machine")
        self.assertIn("others use the machine: ", part["trouble"])
        now = health["memory"]
        self.assertEqual((now["budgetBytes"], now["configuredBytes"]), (16 * MIB, event["configuredBytes"]))
        self.assertEqual(now["machine"]["totalBytes"], total)
        self.assertTrue(now["machine"]["limits"])
        self.assertIn("left to others; so the budget is not the configured", harness.client(daemon, "memory").stdout)
        self.assertEqual(daemon.metric("kurultai_memory_limit_bytes"), 16 * MIB)
        self.assertEqual(daemon.metric("kurultai_memory_configured_bytes"), event["configuredBytes"])
        self.assertEqual(daemon.metric("kurultai_machine_memory_bytes", kind="total"), total)
        self.assertEqual(daemon.metric("kurultai_machine_memory_bytes", kind="reserve"), 2 * total)

    def test_the_same_figures_are_metrics(self):
        daemon = self.daemon(config({"neighbour": jsonl(ECHO)}))
        self.assertIsNone(level.memory(daemon)["machine"])  # the tests do not look at it
        daemon.run("neighbour")
        now = level.memory(daemon)
        self.assertEqual(daemon.metric("kurultai_memory_limit_bytes"), now["budgetBytes"])
        total = daemon.metric("kurultai_memory_usage_bytes", scope="total")
        # A sanitized supervisor grows between two readings, and without groups the next may count shared pages otherwise.
        self.assertAlmostEqual(total / MIB, now["usedBytes"] / MIB, delta=30 if harness.is_instrumented() else 8)
        worker = now["workers"][0]
        self.assertIsNotNone(daemon.metric("kurultai_worker_memory_bytes", worker=worker["workerId"], agent="neighbour"))

    def test_the_supervisor_itself_is_small(self):
        if harness.is_instrumented():
            self.skipTest("the programs carry a sanitizer or counters")
        daemon = self.daemon(config({"neighbour": jsonl(ECHO)}))
        for _ in range(50):
            daemon.run("neighbour")
        self.assertLess(level.memory(daemon)["supervisor"]["rssBytes"], 16 * MIB)

    def test_a_warm_worker_that_waits_costs_the_supervisor_no_processor(self):
        daemon = self.daemon(config({"neighbour": jsonl(ECHO)}))
        daemon.run("neighbour")

        def used():
            with open(f"/proc/{daemon.process.pid}/stat", encoding="ascii") as file:
                return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")
        before, start = used(), time.monotonic()
        time.sleep(3)
        self.assertLess((used() - before) / (time.monotonic() - start), 0.2)

    def test_an_agents_own_heap_figures_are_shown(self):
        script = """
say({'type':'READY','protocol':1,'name':'heap'})
say({'type':'MEMORY','heapUsed':111,'heapTotal':222,'external':33,'arrayBuffers':4})
while True:
 t=task()
 say({'type':'MEMORY','heapUsed':1111})
 say({'type':'COMPLETE','taskId':t['taskId'],'result':1})
"""
        daemon = self.daemon(config({"heap": jsonl(agent_command(script)), "neighbour": jsonl(ECHO)}))
        daemon.run("neighbour")
        balance = lambda agent: next(w["heap"] for w in level.memory(daemon)["workers"] if w["agent"] == agent)
        self.assertEqual(balance("neighbour"), {"heapUsed": None, "heapTotal": None, "external": None, "arrayBuffers": None})
        daemon.run("heap")
        self.assertEqual(balance("heap")["heapUsed"], 1111)

    def test_node_gets_a_heap_that_fits_its_cap(self):
        show = shell('echo "$NODE_OPTIONS $WORKER_ID"', memory_limit="200MiB")
        own = {**show, "env": {"NODE_OPTIONS": "--max-old-space-size=77"}}
        daemon = self.daemon(config({"show": show, "own": own}))
        options, worker = daemon.run("show")["result"].split()
        self.assertEqual(options, "--max-old-space-size=150")
        self.assertRegex(worker, r"^w\d+$")
        self.assertTrue(daemon.run("own")["result"].startswith("--max-old-space-size=77 "))

    def test_children_count_with_their_parent(self):
        child = "import time; held = bytearray(40 << 20); held[::4096] = b'x' * len(held[::4096]); time.sleep(600)"
        script = f"'{PYTHON}' -c \"{child}\" & setsid '{PYTHON}' -c \"{child}\" & wait"
        daemon = self.daemon(config({"family": shell(script, memory_limit="150MiB")}))
        task = daemon.start("family")
        used = lambda: (level.worker_of(daemon, "family") or {"memoryBytes": 0})["memoryBytes"]
        wait_until(lambda: used() > 80 * MIB, "both children are seen")
        self.assertLess(used(), 115 * MIB)
        daemon.request("DELETE", f"/v1/tasks/{task}")
        done = daemon.wait_state(task, "cancelled")
        self.assertGreater(done["peakMemoryBytes"], 80 * MIB)


@with_cgroups
class SharedMemory(LevelE2E):
    def test_a_file_in_memory_counts_as_used(self):
        """What lies in a tmpfs is memory, and stays charged to the group of who wrote it."""
        if not os.path.isdir("/dev/shm") or not os.access("/dev/shm", os.W_OK) or level.file_system_of("/dev/shm") != "tmpfs":
            self.skipTest("no /dev/shm")
        name = f"/dev/shm/kt-{os.getpid()}-{id(self)}"
        self.addCleanup(lambda: os.path.exists(name) and os.unlink(name))
        daemon = self.daemon(config({"files": shell(f"dd if=/dev/zero of={name} bs=1M count=40 2>/dev/null; sleep 600")}))
        task = daemon.start("files")
        wait_until(lambda: (level.worker_of(daemon, "files") or {"memoryBytes": 0})["memoryBytes"] > 40 * MIB, "the file is seen")
        os.unlink(name)
        daemon.request("DELETE", f"/v1/tasks/{task}")
        daemon.wait_state(task, "cancelled")


@at_each_level
class Limits(LevelE2E):
    def test_the_limit_of_data_is_set_where_there_is_no_group(self):
        daemon = self.daemon(config({"show": shell("ulimit -d; ulimit -c")}))
        data, core = daemon.run("show")["result"].split()
        self.assertEqual(core, "0")
        self.assertEqual(data, str(CAP * 1024) if not self.caps_hold else data)
        if self.caps_hold:
            self.assertEqual(data, "unlimited", "a cgroup needs no second limit that counts otherwise")

    def test_health_says_what_was_tried(self):
        health = self.daemon(config({"show": shell("true")})).get("/health").json
        if self.caps_hold:
            self.assertIn("/kurultai-", health["explanation"])
        else:
            self.assertIn("RLIMIT_DATA", health["explanation"])
            self.assertIn("cgroup v2 is not usable", health["explanation"])
            self.assertIn("cgroup v1 is not usable", health["explanation"])


if __name__ == "__main__":
    unittest.main()
