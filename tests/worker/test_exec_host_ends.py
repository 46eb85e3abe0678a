"""kurultai-worker --exec-host: cancelling, preempting, shutting down, and that nothing of a task is left after it."""

import json
import os
import signal
import sys
import time
import unittest

from worker_process import DAEMON, PATIENCE, ExecHost, WorkerTest, read_available, wait_until

PYTHON = sys.executable
STUBBORN = "trap '' TERM; (trap '' TERM; setsid sleep 600 &); echo up >&2; while :; do sleep 600; done"


class HostTest(WorkerTest):
    def setUp(self):
        super().setUp()
        self.host = ExecHost(self)

    def start(self, script, **fields):
        """Starts it and waits until it has written a line to stderr."""
        self.host.start(["sh", "-c", script], **fields)
        read_available(self.host.process.stderr, b"\n")

    def assert_only_the_host_is_left(self):
        self.assertEqual(self.marked(), [self.host.process.pid])


class Sweep(HostTest):
    def test_a_daemon_that_holds_the_output_is_gone_before_the_answer(self):
        self.host.start([PYTHON, "-c", DAEMON + "print('fine')"])
        self.assertEqual(self.host.answer(), {"type": "SWEPT", "taskId": "t1", "count": 1})
        answer = self.host.answer()
        self.assert_only_the_host_is_left()
        self.assertEqual((answer["type"], answer["result"]), ("COMPLETE", "fine\n"))

    def test_daemons_of_a_failed_command_are_gone_too(self):
        self.host.start(["sh", "-c", "(setsid sleep 600 &); (setsid sleep 600 >&- &); exit 2"])
        self.assertEqual(self.host.answer()["count"], 2)
        self.assertEqual(self.host.answer()["exitCode"], 2)
        self.assert_only_the_host_is_left()

    def test_nothing_is_said_when_nothing_was_left(self):
        self.host.start(["sh", "-c", "sleep 0.01 & wait"])
        self.assertEqual(self.host.answer()["type"], "COMPLETE")

    def test_a_process_that_ends_by_itself_may_finish_its_output(self):
        def finishes():
            answer = self.host.run(["sh", "-c", "(sleep 0.01; echo late) & echo early"])
            self.assertEqual(answer["type"], "COMPLETE")
            return answer["result"] == "early\nlate\n"

        wait_until(finishes, "a process was quicker than the sweep")  # a busy machine may need several attempts

    def test_what_it_printed_before_the_sweep_is_kept(self):
        self.host.start([PYTHON, "-c", DAEMON + "print('x' * 50000)"])
        self.host.answer()
        self.assertEqual(len(self.host.answer()["result"]), 50001)

    def test_a_command_that_forks_on_and_on_is_swept(self):
        code = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def live(generation):
    end = time.monotonic() + 600
    while time.monotonic() < end:
        if os.fork() == 0:
            if generation == 0:
                time.sleep(0.05)
                os._exit(0)
            os.setsid()
            live(generation - 1)
        time.sleep(0.02)
if os.fork() == 0: live(1)
time.sleep(0.3)
"""
        self.host.start([PYTHON, "-c", code])
        self.assertGreater(self.host.answer()["count"], 5)
        self.assertEqual(self.host.answer()["type"], "COMPLETE")
        self.assert_only_the_host_is_left()

    def test_a_wide_and_a_deep_tree_are_swept(self):
        wide = "for i in $(seq 200); do setsid sleep 600 & done"
        deep = "d() { if [ $1 -gt 0 ]; then setsid sh -c \"$D\" - $(($1 - 1)) & sleep 600; fi; }; d $1"
        self.environment["D"] = deep
        host = ExecHost(self)
        host.start(["sh", "-c", wide + "; sh -c \"$D\" - 30 & sleep 1"])
        self.assertGreater(host.answer()["count"], 229)
        self.assertEqual(host.answer()["type"], "COMPLETE")
        self.assertEqual(host.end(), 0)

    def test_stopped_processes_are_swept(self):
        self.host.start(["sh", "-c", "setsid sh -c 'kill -STOP $$' & sleep 0.1; echo fine"])
        self.assertEqual((self.host.answer()["type"], self.host.answer()["result"]), ("SWEPT", "fine\n"))

    def test_threads_children_are_found(self):
        code = """
import subprocess, threading, time
threading.Thread(target=lambda: subprocess.Popen(['setsid', 'sleep', '600']).wait(), daemon=True).start()
time.sleep(600)
"""
        self.host.start([PYTHON, "-c", code], graceMs=5000)
        wait_until(lambda: len(self.marked()) == 3, "the thread's child runs")
        self.host.say(type="CANCEL", taskId="t1", reason="")
        self.assertEqual(self.host.answer()["reason"], "cancelled")
        self.assert_only_the_host_is_left()


class CancelAndPreempt(HostTest):
    def cancel(self, task_id="t1"):
        self.host.say(type="CANCEL", taskId=task_id, reason="not needed")

    def preempt(self, grace=5000):
        self.host.say(type="PREEMPT", taskId="t1", graceMs=grace)

    def test_cancelling_fails_the_task_with_its_reason(self):
        self.start("echo up >&2; exec sleep 600")
        self.cancel()
        answer = self.host.answer()
        del answer["peakBytes"]
        self.assertEqual(answer, {"type": "FAILED", "taskId": "t1", "error": "cancelled: not needed",
                                  "retryable": False, "reason": "cancelled"})

    def test_a_cancelled_command_that_succeeds_is_cancelled_all_the_same(self):
        self.start("trap 'exit 0' TERM; echo up >&2; while :; do sleep 0.01; done")
        self.cancel()
        self.assertEqual(self.host.answer()["reason"], "cancelled")

    def test_what_ignores_sigterm_is_killed_after_the_grace(self):
        self.start(STUBBORN, graceMs=200)
        begun = time.monotonic()
        self.cancel()
        self.assertEqual(self.host.answer()["reason"], "cancelled")
        self.assertTrue(0.15 < time.monotonic() - begun < 4)
        self.assert_only_the_host_is_left()

    def test_sigterm_reaches_descendants_in_sessions_of_their_own(self):
        note, there = self.path("note"), self.path("there")
        # Once the command itself has ended, what it left has no grace of its own: so it stays until the other was asked.
        self.start(f"setsid sh -c 'trap \"echo asked > {note}; exit\" TERM; : > {there}; while :; do sleep 0.01; done' & trap : TERM; "
                   f"until [ -e {there} ]; do sleep 0.01; done; echo up >&2; until [ -s {note} ]; do sleep 0.01; done")
        self.cancel()
        self.assertEqual(self.host.answer()["reason"], "cancelled")
        self.assertTrue(os.path.exists(note))

    def test_a_stopped_command_can_act_on_sigterm(self):
        note = self.path("note")
        self.start(f"trap 'echo asked > {note}; exit' TERM; echo up >&2; kill -STOP $$; sleep 600")
        self.cancel()
        self.assertEqual(self.host.answer()["reason"], "cancelled")
        self.assertTrue(os.path.exists(note))

    def test_a_preempted_command_is_handed_back(self):
        self.start("echo up >&2; exec sleep 600")
        self.preempt()
        self.assertEqual(self.host.answer(), {"type": "PREEMPTED", "taskId": "t1"})
        self.assertEqual(self.host.run(["echo", "next"], task_id="t2")["result"], "next\n")

    def test_a_preempted_command_that_fails_is_handed_back(self):
        self.start("trap 'exit 1' TERM; echo up >&2; while :; do sleep 0.01; done")
        self.preempt()
        self.assertEqual(self.host.answer()["type"], "PREEMPTED")

    def test_a_preempted_command_that_succeeds_is_complete(self):
        self.start("trap 'echo done; exit 0' TERM; echo up >&2; while :; do sleep 0.01; done")
        self.preempt()
        self.assertEqual((self.host.answer() | {"peakBytes": 0}), {"type": "COMPLETE", "taskId": "t1", "result": "done\n", "peakBytes": 0})

    def test_preempting_has_its_own_grace(self):
        self.start("trap '' TERM; echo up >&2; while :; do sleep 600; done", graceMs=60_000)
        begun = time.monotonic()
        self.preempt(grace=100)
        self.assertEqual(self.host.answer()["type"], "PREEMPTED")
        self.assertLess(time.monotonic() - begun, 5)

    def test_a_cancel_after_a_preempt_wins(self):
        self.start("trap '' TERM; echo up >&2; sleep 0.5; exit 1")
        self.preempt()
        self.cancel()
        self.assertEqual(self.host.answer()["reason"], "cancelled")

    def test_only_the_named_task_is_cancelled(self):
        self.start("echo up >&2; sleep 0.1; echo fine")
        self.cancel("another")
        self.assertEqual(self.host.answer()["result"], "fine\n")

    def test_result_files_of_cancelled_and_preempted_tasks_are_removed(self):
        for stop, kind in ((self.cancel, "FAILED"), (self.preempt, "PREEMPTED")):
            self.start("yes | head -c 200000; echo up >&2; exec sleep 600")
            wait_until(lambda: os.path.exists(self.host.file()), "the output was spilled")
            stop()
            self.assertEqual(self.host.answer()["type"], kind)
            self.assertEqual(os.listdir(self.host.results), [])

    def test_a_command_that_floods_its_output_can_be_cancelled(self):
        self.start("trap '' TERM; echo up >&2; while :; do yes; done", graceMs=100, resultLimitBytes=0)
        self.cancel()
        answer = self.host.answer()
        self.assertEqual(answer["reason"], "cancelled")


class EndOfTheHost(HostTest):
    def test_the_end_of_input_ends_an_idle_host(self):
        self.assertEqual(self.host.end(), 0)

    def test_the_end_of_input_kills_what_runs_at_once(self):
        self.start(STUBBORN, graceMs=60_000)
        begun = time.monotonic()
        self.assertEqual(self.host.end(), 0)
        self.assertLess(time.monotonic() - begun, 4)
        self.assert_nothing_left()

    def test_the_end_of_input_leaves_no_result_file(self):
        self.start("yes | head -c 200000; echo up >&2; exec sleep 600")
        wait_until(lambda: os.path.exists(self.host.file()), "the output was spilled")
        self.host.end()
        self.assertEqual(os.listdir(self.host.results), [])

    def test_shutdown_ends_an_idle_host(self):
        self.host.say(type="SHUTDOWN", graceMs=60_000)
        self.assertEqual(self.host.process.wait(PATIENCE), 0)

    def test_shutdown_asks_first_and_delivers_what_still_completes(self):
        self.start("trap 'echo done; exit 0' TERM; echo up >&2; while :; do sleep 0.01; done")
        self.host.say(type="SHUTDOWN", graceMs=60_000)
        self.assertEqual(self.host.answer()["result"], "done\n")
        self.assertEqual(self.host.process.wait(PATIENCE), 0)

    def test_shutdown_kills_after_its_grace_and_says_nothing_of_the_task(self):
        self.start("trap '' TERM; echo up >&2; while :; do sleep 600; done")
        self.host.say(type="SHUTDOWN", graceMs=100)
        with self.assertRaises(EOFError):
            self.host.answer()
        self.assertEqual(self.host.process.wait(PATIENCE), 0)
        self.assert_nothing_left()

    def test_no_task_is_taken_after_shutdown(self):
        self.start("trap '' TERM; echo up >&2; sleep 0.3")
        self.host.say(type="SHUTDOWN", graceMs=10_000)
        self.host.start(["true"], task_id="late")
        self.assertEqual(self.host.answer()["error"], "busy")
        self.assertEqual(self.host.answer()["taskId"], "t1")

    def test_sigterm_from_a_living_supervisor_is_a_shutdown(self):
        self.start("trap 'echo done; exit 0' TERM; echo up >&2; while :; do sleep 0.01; done", graceMs=60_000)
        self.host.process.terminate()
        self.assertEqual(self.host.answer()["result"], "done\n")
        self.assertEqual(self.host.process.wait(PATIENCE), 0)

    def test_a_supervisor_that_no_longer_listens_ends_it(self):
        self.start("echo up >&2; sleep 0.2")
        self.host.process.stdout.close()
        self.assertEqual(self.host.process.wait(PATIENCE), 0)


TASK = '{"type":"TASK","taskId":"1","agent":"a","graceMs":60000,"inlineLimitBytes":65536,"argv":["sh","-c",%s]}\n'


class Supervisor(WorkerTest):
    def task(self):
        return (TASK % json.dumps(STUBBORN.replace(">&2", f"> {self.path('up')}"))).encode()

    def kill_while_the_task_runs(self, supervisor):
        wait_until(lambda: os.path.exists(self.path("up")), "the task runs")
        supervisor.kill()
        supervisor.wait(PATIENCE)
        self.assert_nothing_left()

    def test_everything_ends_when_it_was_killed_with_the_pipe(self):
        self.kill_while_the_task_runs(self.start_under_supervisor("--exec-host", "--", feed=self.task()))

    def test_everything_ends_when_it_was_killed_and_the_pipe_stays_open(self):
        read_end, write_end = os.pipe()
        os.write(write_end, self.task())
        supervisor = self.start_under_supervisor("--exec-host", "--", stdin=read_end)
        os.close(read_end)
        self.kill_while_the_task_runs(supervisor)
        os.close(write_end)

    def test_the_command_ends_when_its_host_was_killed(self):
        host = ExecHost(self)
        host.start(["sh", "-c", "trap '' TERM; echo up >&2; while read line; do :; done; sleep 600"], payload=1)
        read_available(host.process.stderr, b"up")
        host.process.kill()
        host.process.wait(PATIENCE)
        wait_until(lambda: len(self.marked()) <= 1, "the command was killed")
        for pid in self.marked():
            os.kill(pid, signal.SIGKILL)

    def test_it_does_not_start_for_a_supervisor_that_is_gone(self):
        done = self.run_worker("--exec-host", "--parent", str(os.getpid() + 1), "--")
        self.assertEqual((done.stdout, done.returncode), ("", 125))


if __name__ == "__main__":
    unittest.main()
