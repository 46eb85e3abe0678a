#!/usr/bin/env python3
"""When the supervisor is killed, all that was its own goes with it; when it starts again, nothing of before is in its way."""

RUNS_IN_VM = True

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import PATIENCE, PYTHON, agent_command, group_dirs, marked_processes, wait_until
import level
from level import LevelE2E, at_each_level, with_cgroups
from test_containment import PRELUDE, guardian_of

for _name in [name for name in globals() if name.endswith(("_cgroup1", "_cgroup2", "_rlimit"))]:
    del globals()[_name]

GONE_WITHIN = 3.0


def command(script, *arguments):
    return {"protocol": "exec", "command": [PYTHON, "-c", (PRELUDE + script).replace("{", "{{").replace("}", "}}"), *arguments], "grace": "300ms"}


def warm(script, mark):
    source = PRELUDE.replace("word = sys.argv[1]", f"word = {mark!r}") + script
    return {"protocol": "jsonl", "command": agent_command(source), "grace": "300ms"}


LEAVE = "subprocess.Popen(SLEEP, start_new_session=True, **quiet)\ndaemonise(DEAF)\nsettle(2)\n"
HANG = LEAVE + "print('up', file=sys.stderr, flush=True)\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n"
WARM_HANG = "say({'type':'READY','protocol':1,'name':'w'})\nt=task()\n" + LEAVE + \
    "say({'type':'PROGRESS','taskId':t['taskId'],'percent':50})\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(600)\n"


class Busy(LevelE2E):
    """Daemons whose workers are in the middle of things."""

    def busy(self, **kw):
        """A daemon with a command and a warm agent at work, each with descendants in sessions of their own."""
        mark = "kt-" + secrets.token_hex(6)
        config = {
            "memory": {"budget": "512MiB"},
            "workers": {"max": 4, "memory_limit": "200MiB", "memory_warning": "200MiB"},
            "circuit_breakers": {"failures": 1000},
            "agents": {"hang": command(HANG, mark), "warm": warm(WARM_HANG, mark), "quick": {"protocol": "exec", "command": ["echo", "well"]}},
        }
        daemon = self.daemon(config, **kw)
        daemon.mark = mark
        daemon.tasks = [daemon.start("hang"), daemon.start("warm")]
        expected = 6 if self.caps_hold else 7  # a command, an agent, two descendants of each; the agent's holder shows its command too
        wait_until(lambda: b"up" in daemon.get(f"/v1/tasks/{daemon.tasks[0]}/logs").body, "the command is at work", 30)
        wait_until(lambda: daemon.task(daemon.tasks[1])["progress"] == 50 and len(level.with_word(mark)) >= expected, "all are at work", 30)
        self.assertGreaterEqual(len(marked_processes(daemon.instance)), 6)
        return daemon

    def assert_nothing_is_left(self, daemon, instance, within=GONE_WITHIN):
        wait_until(lambda: not level.with_word(daemon.mark) and not marked_processes(instance) and not group_dirs(instance),
                   "all processes and groups are gone", within)


@at_each_level
class KilledSupervisor(Busy):
    def test_its_workers_and_all_below_them_are_gone_within_three_seconds(self):
        daemon = self.busy()
        instance, guardian = daemon.instance, guardian_of(daemon.pid)
        daemon.kill()
        self.assert_nothing_is_left(daemon, instance)
        wait_until(lambda: not level.is_alive(guardian), "the guardian itself ends", GONE_WITHIN)

    def test_stopped_workers_are_gone_too(self):
        daemon = self.busy()
        instance = daemon.instance
        for pid in level.with_word(daemon.mark):
            os.kill(pid, signal.SIGSTOP)
        daemon.kill()
        self.assert_nothing_is_left(daemon, instance)

    def test_a_new_one_starts_at_once_on_the_same_state(self):
        first = self.busy()
        before = level.with_word(first.mark)
        first.kill()
        second = self.daemon(json_of(first), directory=first.dir)
        self.assertEqual(second.instance, first.instance)
        self.assertFalse(set(before) & set(level.with_word(first.mark)), "nothing of before lives when it answers")
        self.assertEqual(second.run("quick")["result"], "well\n")
        time.sleep(GONE_WITHIN)  # the old guardian does not clear the new one's groups
        self.assertEqual(second.run("quick")["result"], "well\n")
        if self.caps_hold:
            self.assertTrue(group_dirs(second.instance))

    def test_a_new_one_clears_what_is_left_when_the_guardian_was_killed_too(self):
        first = self.busy()
        guardian = guardian_of(first.pid)
        self.assertIsNotNone(guardian)
        os.kill(guardian, signal.SIGKILL)
        first.kill()
        time.sleep(0.5)
        before = level.with_word(first.mark)
        if self.caps_hold:  # else hosts and holders, which see their supervisor's end, clear their own trees
            self.assertTrue(before, "the daemons had nobody to end them")
        second = self.daemon(json_of(first), directory=first.dir)
        self.assertFalse(set(before) & set(level.with_word(first.mark)))
        self.assertEqual(second.run("quick")["result"], "well\n")

    def test_another_supervisor_and_its_work_are_untouched(self):
        first, second = self.busy(), self.busy()
        theirs = sorted(level.with_word(second.mark))
        groups = group_dirs(second.instance)
        instance = first.instance
        first.kill()
        self.assert_nothing_is_left(first, instance)
        self.assertEqual(sorted(level.with_word(second.mark)), theirs)
        self.assertEqual(group_dirs(second.instance), groups)
        for task in second.tasks:
            self.assertEqual(second.task(task)["state"], "running")
        self.assertEqual(second.run("quick")["result"], "well\n")

    def test_its_stale_socket_is_replaced(self):
        first = self.busy()
        first.kill()
        self.assertTrue(os.path.exists(first.socket))
        second = self.daemon(json_of(first), directory=first.dir)
        self.assertEqual(second.get("/health").json["pid"], second.pid)

    def test_killed_while_it_starts_and_ends_it_leaves_nothing(self):
        """At any moment: before the groups are there, while they are made, while workers start."""
        for delay in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2):
            daemon = self.daemon({"agents": {"quick": {"protocol": "exec", "command": ["true"]}}}, ready=False)
            time.sleep(delay)
            daemon.kill()
            if not os.path.exists(os.path.join(daemon.state, "instance")):
                continue
            instance = daemon.instance
            with self.subTest(delay=delay):
                wait_until(lambda: not marked_processes(instance) and not group_dirs(instance), "nothing is left", GONE_WITHIN)


@at_each_level
class TwoOnOneState(Busy):
    def test_the_second_is_refused_and_told_by_whom(self):
        daemon = self.busy()
        started = time.monotonic()
        second = subprocess.run([os.path.join(harness.BIN, "kurultaid"), "--config", daemon.config_file, "--socket", daemon.socket + "2",
                                 "--state-dir", daemon.state, "--listen", "none"], capture_output=True, text=True, timeout=30 * PATIENCE,
                                env={**os.environ, **self.level_env()}, check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"pid {daemon.pid}", second.stderr)
        self.assertIn(daemon.state, second.stderr)
        self.assertIn("--state-dir", second.stderr)
        self.assertEqual(len(second.stderr.strip().splitlines()), 1, second.stderr)
        self.assertLess(time.monotonic() - started, 10 * PATIENCE)
        self.assertGreaterEqual(len(level.with_word(daemon.mark)), 6, "the first one's workers are untouched")
        self.assertEqual(daemon.run("quick")["result"], "well\n")


@at_each_level
class CleanEnds(Busy):
    def test_a_clean_end_leaves_nothing(self):
        daemon = self.busy()
        instance, guardian = daemon.instance, guardian_of(daemon.pid)
        for task in daemon.tasks:
            daemon.request("DELETE", f"/v1/tasks/{task}")
        self.assertEqual(daemon.terminate(), 0)
        self.assert_nothing_is_left(daemon, instance)
        wait_until(lambda: not level.is_alive(guardian), "the guardian ends", GONE_WITHIN)
        self.assertFalse(os.path.exists(daemon.socket), "the socket is removed")

    def test_a_second_signal_ends_at_once_what_does_not_end_by_itself(self):
        daemon = self.busy()
        instance = daemon.instance
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: daemon.get("/health").json["draining"], "it drains", 5)
        self.assertEqual(daemon.submit("quick").json["error"]["code"], "draining")
        self.assertIsNone(daemon.process.poll(), "it waits for what runs")
        daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(daemon.process.wait(6 * PATIENCE), 0)
        self.assert_nothing_is_left(daemon, instance)

    def test_without_its_guardian_it_works_on_and_leaves_nothing(self):
        daemon = self.busy()
        parts = {part["part"]: part for part in daemon.get("/health").json["parts"]}
        self.assertTrue(self.is_well(daemon), parts)
        os.kill(guardian_of(daemon.pid), signal.SIGKILL)
        def seen():
            return next(part for part in daemon.get("/health").json["parts"] if part["part"] == "guardian")
        guardian = wait_until(lambda: (now := seen())["status"] == "degraded" and now, "it says so")
        self.assertIn("the guardian has ended", guardian["trouble"])
        self.assertIn(guardian["trouble"], daemon.get("/health").json["troubles"])
        self.assertGreater(guardian["since"], parts["guardian"]["since"])
        self.assertEqual(daemon.run("quick")["result"], "well\n")
        instance = daemon.instance
        for task in daemon.tasks:
            daemon.request("DELETE", f"/v1/tasks/{task}")
        self.assertEqual(daemon.terminate(), 0)
        self.assert_nothing_is_left(daemon, instance)


@at_each_level
class KilledWorker(Busy):
    """Somebody kills a worker's first process: the launcher, the host or the agent itself."""

    def test_the_host_of_a_command(self):
        daemon = self.busy()
        pid = level.worker_of(daemon, "hang")["pid"]
        before = [one for one in level.with_word(daemon.mark)]
        os.kill(pid, signal.SIGKILL)
        failed = daemon.wait_state(daemon.tasks[0], "failed")
        self.assertEqual(failed["error"]["reason"], "worker_lost", failed)
        self.assertEqual(daemon.run("quick")["result"], "well\n")
        # What the agent of the other task started is all that remains.
        wait_until(lambda: len(level.with_word(daemon.mark)) <= len(before) - 3, "the command and its descendants are gone", 5)
        self.assertEqual(daemon.task(daemon.tasks[1])["state"], "running")
        self.assertTrue(self.is_well(daemon))

    def test_an_agent(self):
        daemon = self.busy()
        pid = level.worker_of(daemon, "warm")["pid"]
        before = len(level.with_word(daemon.mark))
        os.kill(pid, signal.SIGKILL)
        failed = daemon.wait_state(daemon.tasks[1], "failed")
        self.assertEqual((failed["error"]["reason"], failed["error"]["signal"]), ("signal", 9), failed)
        wait_until(lambda: len(level.with_word(daemon.mark)) <= before - 3, "the agent and its descendants are gone", 5)
        self.assertEqual(daemon.task(daemon.tasks[0])["state"], "running")
        self.assertEqual(daemon.run("quick")["result"], "well\n")

    def test_all_processes_of_a_task_at_once(self):
        daemon = self.busy()
        for pid in level.with_word(daemon.mark):
            with contextlib.suppress(ProcessLookupError):  # gone with one that was killed before
                os.kill(pid, signal.SIGKILL)
        for task in daemon.tasks:
            self.assertEqual(daemon.wait_state(task, "failed")["error"]["reason"], "signal")
        self.assertEqual(daemon.run("quick")["result"], "well\n")


def json_of(daemon):
    with open(daemon.config_file, encoding="utf-8") as file:
        return file.read()


if __name__ == "__main__":
    unittest.main()
