#!/usr/bin/env python3
"""The way to the end: what runs is waited for, what does not end is preempted, what waits stays, and everybody is told the same."""
import http.client
import json
import shutil
import signal
import subprocess
import tempfile
import unittest

import harness
from harness import PATIENCE, E2E, client, wait_until
from puppet import EventStream, Gate, Later, puppet, settings

FIGURES = {"status", "initial", "completed", "remaining", "durationSeconds"}


class DrainE2E(E2E):
    def draining(self, daemon):
        wait_until(lambda: daemon.get("/health").json["draining"], "it drains")

    def running(self, daemon, code, **fields):
        task = daemon.start("puppet", code, **fields)
        daemon.wait_state(task, "running")
        return task

    def last_line(self, daemon):
        """What it said last, as statistics."""
        *before, last = daemon.log_text().splitlines()
        self.assertTrue(before)
        statistics = json.loads(last)
        self.assertEqual(statistics.keys(), FIGURES)
        return statistics

    def logged(self, daemon, statistics):
        """Whether the same figures stand in the log."""
        line = (f"drain {statistics['status']}: {statistics['initial']} initial, {statistics['completed']} completed, "
                f"{statistics['remaining']} remaining, {statistics['durationSeconds']:.1f} s")
        return daemon.log_text().count(line)


class Statistics(DrainE2E):
    def test_everybody_who_asks_is_told_the_same(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        self.running(daemon, gate.code())
        daemon.start("puppet")
        callers = [Later(daemon.request, "POST", "/v1/drain?wait=60s") for _ in range(2)]
        self.draining(daemon)
        callers += [Later(daemon.request, "POST", "/v1/drain?wait&timeout=60s"), Later(client, daemon, "drain", "--timeout", "60s", "--json")]
        def connections():
            with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
                return sum(line.rstrip("\n").endswith(" " + daemon.socket) for line in file) - 1  # one listens
        wait_until(lambda: connections() >= len(callers), "all have come: who asks after the end finds nobody", 30)
        so_far = daemon.request("POST", "/v1/drain?timeout=60s")
        self.assertEqual((so_far.status, so_far.json["status"], so_far.json["remaining"]), (202, "draining", 2))
        gate.open()
        answers = [caller.result() for caller in callers]
        told = [json.loads(answer.stdout) if isinstance(answer, subprocess.CompletedProcess) else answer.json for answer in answers]
        self.assertEqual(told[0].keys(), FIGURES)
        self.assertEqual((told[0]["status"], told[0]["initial"], told[0]["completed"], told[0]["remaining"]), ("completed", 2, 1, 1))
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 0)  # nobody sent a signal
        told.append(self.last_line(daemon))
        self.assertEqual(told, [told[0]] * len(told))
        self.assertEqual(self.logged(daemon, told[0]), 1)

    def test_who_follows_hears_of_it_and_who_waits_for_a_task_is_let_go(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        self.running(daemon, gate.code())
        waiting = daemon.start("puppet")
        with EventStream(daemon) as stream:
            asked = Later(daemon.request, "GET", f"/v1/tasks/{waiting}?wait=60s")
            self.assertEqual(daemon.request("POST", "/v1/drain").status, 202)
            self.assertEqual(stream.next()[1], "draining")
            gate.open()
            names = []
            while names[-1:] != ["drained"]:
                names.append(stream.next()[1])
            self.assertEqual(stream.response.read(), b"")  # an end, not a break
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 0)
        with self.assertRaises((OSError, http.client.HTTPException)):
            asked.result()

    def test_a_client_that_does_not_wait_ends_it_too(self):
        for ask in (lambda daemon: daemon.request("POST", "/v1/drain?timeout=1s").status, lambda daemon: client(daemon, "drain").returncode):
            daemon = self.daemon(settings())
            self.assertIn(ask(daemon), (0, 202))
            self.assertEqual(daemon.process.wait(20 * PATIENCE), 0)
            self.assertEqual(self.last_line(daemon)["status"], "completed")

    def test_sigterm_and_a_client_at_once(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        self.running(daemon, gate.code())
        daemon.process.send_signal(signal.SIGTERM)
        self.draining(daemon)
        connection = harness._UnixConnection(daemon.socket, 60 * PATIENCE)
        self.addCleanup(connection.close)
        connection.request("POST", "/v1/drain?wait=60s")
        self.assertEqual(daemon.get("/health").status, 200)  # so the one before it was read too
        gate.open()
        told = json.loads(connection.getresponse().read())
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 0)
        self.assertEqual(self.last_line(daemon), told)
        self.assertEqual((told["status"], told["initial"], told["completed"], told["remaining"]), ("completed", 1, 1, 0))

    def test_sigterm_of_an_idle_supervisor_prints_them_too(self):
        daemon = self.daemon(settings(), args=["--log-level", "error"])
        self.assertEqual(daemon.terminate(), 0)
        self.assertEqual(json.loads(daemon.log_text().splitlines()[-1])["initial"], 0)


class Limit(DrainE2E):
    COUNTING = ("n = (t.get('checkpoint') or {}).get('n', 0)\n"
                "while not (n >= 1000 or os.path.exists(%r)):\n"
                " n += 1\n"
                " about('CHECKPOINT', state={'n': n})\n"
                " if n == 5: about('PROGRESS', percent=1)\n"
                " time.sleep(0.01)\n"
                "done({'n': n, 'from': (t.get('checkpoint') or {}).get('n', 0)})")

    def test_what_does_not_end_in_time_is_preempted_and_goes_on_from_its_checkpoint(self):
        directory = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        daemon = self.daemon(settings(workers={"max": 1}), directory=directory)
        gate = Gate(daemon)
        task = self.running(daemon, self.COUNTING % gate.path)
        wait_until(lambda: daemon.task(task)["progress"], "there are checkpoints")
        waiting = daemon.start("puppet", "done('later')", priority="low")
        told = daemon.request("POST", "/v1/drain?wait=1s").json
        self.assertEqual((told["status"], told["initial"], told["completed"], told["remaining"]), ("timed_out", 2, 0, 2))
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 0)
        self.assertEqual(self.last_line(daemon), told)

        gate.open()
        again = self.daemon(settings(workers={"max": 1}), directory=directory)
        done = again.wait_state(task, "completed")
        self.assertEqual(done["preemptions"], 1)
        self.assertGreater(done["result"]["from"], 0)
        self.assertEqual(again.wait_state(waiting, "completed")["result"], "later")

    def test_a_shorter_limit_hurries_and_a_longer_one_does_not_slow(self):
        daemon = self.daemon(settings())
        self.running(daemon, "time.sleep(600)")
        slow = Later(daemon.request, "POST", "/v1/drain?wait=10m")
        self.draining(daemon)
        fast = daemon.request("POST", "/v1/drain?wait=200ms")
        self.assertEqual(fast.json["status"], "timed_out")
        self.assertLess(fast.json["durationSeconds"], 60 * PATIENCE)
        self.assertEqual(slow.result().json, fast.json)

    def test_a_second_sigterm_hurries_and_the_statistics_say_so(self):
        daemon = self.daemon(settings({"puppet": puppet(grace="5m")}))
        self.running(daemon, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)")
        daemon.process.send_signal(signal.SIGTERM)
        self.draining(daemon)
        self.assertIsNone(daemon.process.poll())
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 0)
        told = self.last_line(daemon)
        self.assertEqual((told["status"], told["initial"], told["completed"], told["remaining"]), ("timed_out", 1, 0, 1))

    def test_a_limit_of_nothing_with_nothing_to_do(self):
        daemon = self.daemon(settings())
        told = daemon.request("POST", "/v1/drain?wait=0s").json
        self.assertEqual((told["status"], told["initial"], told["completed"], told["remaining"]), ("completed", 0, 0, 0))

    def test_the_client_need_not_wait_for_what_runs(self):
        daemon = self.daemon(settings())
        self.running(daemon, "time.sleep(600)")
        done = client(daemon, "drain", "--timeout", "0s", "--json")
        self.assertEqual((json.loads(done.stdout)["initial"], json.loads(done.stdout)["completed"]), (1, 0), done)
        self.assertEqual(client(daemon, "drain", "--timeout", "soon").returncode, 2)


if __name__ == "__main__":
    unittest.main()
