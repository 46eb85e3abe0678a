#!/usr/bin/env python3
"""All memory of a machine of 512 MiB is used up: by agents that leak, by a program that is none of Kurultai's, by both at
once, with swap and without. The supervisor and the most important task live, who has to give way does so in the order of
priority, and nothing that was accepted is lost."""

import contextlib
import pathlib
import re
import subprocess
import sys
import unittest

CASES = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CASES.parents[1] / "e2e"), str(CASES)]
import level
from counter import COUNTER, counted
from harness import MIB, PYTHON, client, wait_until
from level import LevelE2E, with_cgroups

RUNS_ALONE = True

COUNTED = 24
LEVELS = ("critical", "high", "normal", "low", "heartbeat")  # most important first
MODULES = pathlib.Path("/modules")


def awk(program):
    """As an exec agent: an awk takes a megabyte to be there, a Python ten."""
    script = f"BEGIN {{ {program} }}".replace("{", "{{").replace("}", "}}")  # braces name fields of the payload
    return {"protocol": "exec", "command": ["awk", script], "grace": "500ms", "memory_limit": "200MiB",
            "memory_warning": "200MiB"}


# What they hold is copies of one text of a megabyte, the quickest that an awk can do.
TEXT = 'text = "x"; while (length(text) < 1048576) text = text text;'
AGENTS = {
    "important": {"protocol": "jsonl", "command": COUNTER},
    "leak": awk(TEXT + 'for (;;) { held[i++] = text; if (i % 8 == 0) system("sleep 0.5") }'),
    "holder": awk(TEXT + 'while (i < 20) held[i++] = text; system("sleep 3600")'),
}

# None of Kurultai's: takes MIB at once, or STEP of them every tenth of a second; leaves when nobody holds its input any more.
OUTSIDE = """
import sys, time
wanted, step = int(sys.argv[1]), int(sys.argv[2])
held = []
while len(held) * step < wanted:
    held.append(b"x" * (step << 20))
    if step < wanted: time.sleep(0.1)
print("taken", flush=True)
sys.stdin.read()
"""


def meminfo(name):
    return int(re.search(rf"^{name}: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text(), re.M)[1]) * 1024


def kernel_kills():
    """Of the kernel's log: (whether the machine was out of memory, the victim's group) for each of its choices."""
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True, errors="replace").stdout
    return [(constraint == "CONSTRAINT_NONE", group)
            for constraint, group in re.findall(r"oom-kill:constraint=(\w+),.*?task_memcg=([^,\s]*)", log)]


def machine_is_out_of_memory():
    """As far as the kernel's choice goes: a machine that really is stands still for minutes before that."""
    pathlib.Path("/proc/sysrq-trigger").write_text("f")


@contextlib.contextmanager
def compressed_swap(mib):
    for module in ("zsmalloc", "lzo-rle", "zram"):
        file = MODULES / f"{module}.ko"
        if not file.exists():
            raise unittest.SkipTest(f"NOT TESTED: no {file.name} was found for this kernel, so there is no compressed swap")
        subprocess.run(["insmod", str(file)], check=True)
    pathlib.Path("/sys/block/zram0/disksize").write_text(f"{mib}M")
    subprocess.run(["mkswap", "/dev/zram0"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", "/dev/zram0"], check=True)
    try:
        yield
    finally:
        subprocess.run(["swapoff", "/dev/zram0"], check=True)
        pathlib.Path("/sys/block/zram0/reset").write_text("1")


@unittest.skipUnless(meminfo("MemTotal") < 600 * MIB, "for a machine of 512 MiB")
@with_cgroups
class WholeMachine(LevelE2E):
    def governed(self, workers, env=None):
        subprocess.run(["dmesg", "-c"], check=True, stdout=subprocess.DEVNULL)
        daemon = self.daemon(env={"KURULTAI_MEMORY_MACHINE_RESERVE": "auto", **(env or {})}, config={
            "memory": {"budget": "auto"},
            "workers": {"max": workers},
            "queue": {"max_depth": 100, "limits": dict.fromkeys(LEVELS, 100)},
            "circuit_breakers": {"failures": 1000},
            "agents": AGENTS,
        })
        self.guardian = self.guardian_of(daemon)
        self.gate = pathlib.Path(daemon.dir, "gate")
        self.gate.touch()
        self.important = daemon.start("important", {"mib": COUNTED, "gate": str(self.gate)}, priority="critical", timeout="1h")
        wait_until(lambda: daemon.task(self.important)["progress"] == 50, "the important task has counted half way", 30)
        return daemon

    def guardian_of(self, daemon):
        found = []
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                text = status.read_text()
                if "Name:\tkurultai-guard\n" in text and f"PPid:\t{daemon.pid}\n" in text:
                    found.append(int(status.parent.name))
        self.assertEqual(len(found), 1, found)
        return found[0]

    def outside(self, mib, step=None):
        """A process in no group of ours; ready when it has all its memory."""
        process = subprocess.Popen([PYTHON, "-c", OUTSIDE, str(mib), str(step or mib)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.leave, process)
        return process

    def leave(self, process):
        process.stdin.close()
        process.stdout.close()
        process.wait()

    def decisions(self, daemon, tasks):
        """Every receipt of the governor once, by its id."""
        found = {}
        for task in tasks:
            for receipt in daemon.get(f"/v1/tasks/{task}/why").json["decisions"]:
                found[receipt["id"]] = receipt
        return list(found.values())

    def assert_in_order(self, decisions):
        """Nobody gives way while one of less importance could."""
        for decision in decisions:
            ranking, acts = decision["ranking"], "protected" if decision["action"] == "kill" else "preemptable"
            chosen = [LEVELS.index(one["priority"]) for one in ranking if one["chosen"]]
            # Who leaves already is no choice any more, and who is paged out holds nothing.
            could = [LEVELS.index(one["priority"]) for one in ranking
                     if not one["chosen"] and not one["dying"] and one["backInMs"] is None and one["memoryBytes"] >= MIB
                     and one[acts] == (acts == "preemptable")]
            self.assertTrue(chosen, ranking)
            self.assertGreaterEqual(min(chosen), max(could, default=0), (decision["action"], ranking))
            self.assertNotIn(self.important, [one["taskId"] for one in ranking if one["chosen"]])

    def assert_all_is_well(self, daemon, others, machine_kills=0):
        """The important task ends as if nothing had been, nothing is lost, and the kernel took nobody but agents."""
        self.assertIsNone(daemon.process.poll())
        self.assertEqual(self.guardian_of(daemon), self.guardian)
        kills = kernel_kills()
        self.assertEqual([kill for kill in kills if "/workers/w" not in kill[1]], [], kills)
        self.assertEqual(sum(everywhere for everywhere, _ in kills), machine_kills, kills)
        mine = next(worker for worker in daemon.get("/v1/workers").json["workers"] if self.important in worker["tasks"])
        self.assertNotIn(mine["workerId"], [group.rsplit("/", 1)[1] for _, group in kills], kills)
        for task in others:
            client(daemon, "cancel", task)
        self.gate.unlink()
        ended = daemon.wait_state(self.important, "completed", "failed", timeout=60)
        self.assertEqual((ended["state"], ended["result"]), ("completed", {"total": counted(COUNTED)}), ended)
        self.assertEqual((ended["attempt"], ended["preemptions"]), (1, 0))
        for task in others:
            ended = daemon.wait_state(task, "cancelled", "failed")
            if ended["state"] == "failed":
                self.assertIn(ended["error"]["reason"], ("memory_cap", "memory_budget"), ended)
        known = {task["taskId"] for task in daemon.get("/v1/tasks?limit=1000").json["tasks"]}
        self.assertEqual({self.important, *others} - known, set())
        self.assertEqual(daemon.get("/health").json["guarantee"], "cgroup2")

    def leaks(self, daemon):
        """Twenty, and a while later: some have given way again and again."""
        wanted = [*["high"] * 6, *["normal"] * 7, *["low"] * 7]
        tasks = [daemon.start("leak", priority=wanted[i * 7 % 20], timeout="1h") for i in range(20)]
        wait_until(lambda: daemon.metric("kurultai_tasks_preempted_total") >= 10 or
                   daemon.metric("kurultai_tasks_finished_total", agent="leak", state="failed"), "leaks give way", 30)
        return tasks

    def assert_the_kernel_takes(self, priority, daemon, before):
        """Its next choice on the whole machine is a task of this priority, and that one is queued again."""
        tasks = {worker["workerId"]: worker["tasks"] for worker in daemon.get("/v1/workers").json["workers"]}
        machine_is_out_of_memory()
        wait_until(lambda: len(kernel_kills()) > before, "the kernel has chosen", 20)
        everywhere, group = kernel_kills()[-1]
        self.assertTrue(everywhere, group)
        [victim] = tasks[group.rsplit("/", 1)[1]]
        daemon.wait_event("taskPreempted", taskId=victim, reason="kernel")
        self.assertEqual(daemon.task(victim)["priority"], priority)
        return victim

    def test_twenty_leaks_without_swap(self):
        daemon = self.governed(21)
        memory = daemon.get("/v1/memory").json
        self.assertTrue(memory["machine"]["limits"], memory)  # the kernel and others have their part
        self.assertLess(memory["budgetBytes"], memory["machine"]["totalBytes"] - memory["machine"]["reserveBytes"])
        leaks = self.leaks(daemon)
        self.assertGreater(meminfo("MemAvailable"), 8 * MIB)
        decisions = self.decisions(daemon, leaks)
        self.assertGreater(len(decisions), 3)
        self.assert_in_order(decisions)
        self.assert_all_is_well(daemon, leaks)

    def test_twenty_leaks_with_compressed_swap(self):
        with compressed_swap(128):
            daemon = self.governed(21)
            leaks = self.leaks(daemon)
            self.assert_in_order(self.decisions(daemon, leaks))
            self.assert_all_is_well(daemon, leaks)
            daemon.terminate()

    def test_a_program_outside_takes_the_machine(self):
        daemon = self.governed(10)
        priorities = ["high", "high", "normal", "normal", "normal", "low", "low", "low"]
        holders = [daemon.start("holder", priority=priority, timeout="1h") for priority in priorities]
        held = lambda: daemon.get("/v1/memory").json
        all_run = lambda: sum(worker["memoryBytes"] > 19 * MIB for worker in held()["workers"]) == len(holders) + 1
        wait_until(all_run, "all hold what they want", 30)
        # What the supervisor would be too late for: of all that is here the kernel takes what is least important, though
        # another, that is none of ours, holds more.
        bystander = self.outside(60)
        self.assertEqual(bystander.stdout.readline(), b"taken\n")
        self.assert_the_kernel_takes("low", daemon, 0)
        self.assertIsNone(bystander.poll())
        self.leave(bystander)
        for step in (4, None):  # little by little, and in one jump
            wait_until(all_run, "all hold what they want", 30)
            memory, changes = held(), daemon.metric("kurultai_budget_changes_total")
            keep = 2 * (COUNTED + 20) * MIB  # so much is enough for the important task and little more
            wanted = (memory["usedBytes"] + memory["machine"]["availableBytes"] - memory["machine"]["reserveBytes"] - keep) // MIB
            process = self.outside(wanted, step)
            self.assertEqual(process.stdout.readline(), b"taken\n")
            wait_until(lambda: held()["workersBytes"] < 80 * MIB, "all but the important task have given way", 30)
            # What happened is said: the budget is no more what it was, and why.
            self.assertTrue(held()["machine"]["limits"])
            self.assertLess(held()["budgetBytes"], memory["budgetBytes"] * 3 // 4)
            machine = next(part for part in daemon.get("/health").json["parts"] if part["part"] == "machine")
            self.assertIn("others use the machine: ", machine["trouble"])
            # Of the events only the newest are kept, and the important task tells of its progress often.
            self.assertGreater(daemon.metric("kurultai_budget_changes_total"), changes)
            self.assert_in_order(self.decisions(daemon, holders))
            preempted = [task for task in holders if daemon.task(task)["preemptions"] > 0]
            self.assertGreaterEqual(len(preempted), 5)
            self.assertEqual(daemon.task(self.important)["state"], "running")
            self.leave(process)
        self.assert_all_is_well(daemon, holders, machine_kills=1)


if __name__ == "__main__":
    unittest.main()
