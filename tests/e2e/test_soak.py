#!/usr/bin/env python3
"""kurultai-soak, and what a soak shows in small: steady load, a burst, a leak beside healthy tasks, nested submission, tasks
that are cancelled as fast as they come. KURULTAI_TEST_LONG=1 has the five minutes of steady load in full.

That a breaker stops a storm of retries is in test_breakers.py: of tasks that are tried again and again
(test_an_agent_that_keeps_failing_is_tried_one_task_at_a_time), and of calls that all workers make
(test_a_failing_endpoint_that_many_workers_hit_is_attempted_fewer_than_five_times).
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import BIN, MIB, PATIENCE, agent_command, wait_until
from level import LevelE2E, highest_charge, with_cgroups, worker_groups
from puppet import Gate, puppet, settings

LONG = os.environ.get("KURULTAI_TEST_LONG") == "1"
OWN = 90 if harness.is_instrumented() else 0  # MiB that a sanitized supervisor takes more

# Everything that chaos may do, in a few seconds.
SMALL_CHAOS = f"""
for: 4s
every: 100ms
arrivals: poisson
supervisor:
  memory: {{budget: {400 + OWN}MiB}}
  workers: {{max: 6, memory_limit: 128MiB, memory_warning: 128MiB, idle_timeout: 1s, max_restarts_per_hour: 100000}}
  queue: {{max_depth: 10, limits: {{critical: 10, high: 10, normal: 10, low: 10, heartbeat: 5}}}}
  circuit_breakers: {{failures: 1000}}
tasks:
  pack: {{runs: shell, weight: 3, memory: [1MiB, 30MiB], takes: [50ms, 500ms], cap: 96MiB, retries: 5, priority: mixed}}
  crawl: {{runs: python, weight: 2, memory: [1MiB, 20MiB], takes: [50ms, 500ms], cap: 96MiB, retries: 5, priority: mixed}}
  flood: {{runs: shell, takes: 100ms, cap: 48MiB, leaks: true, priority: low}}
chaos: {{kill_worker: 700ms, cancel: 500ms, preempt: 1s, burst: 1500ms, malformed: 50ms, reload: 700ms, kill_supervisor: 2s}}
"""


def soak(*args, timeout=120):
    """Without a terminal: kurultai-soak's CompletedProcess with text."""
    return subprocess.run([os.path.join(BIN, "kurultai-soak"), *args], capture_output=True, text=True,
                          timeout=timeout * PATIENCE, check=False, stdin=subprocess.DEVNULL)


def commands_below(pid):
    """The command lines of a process' descendants."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                children = file.read().split()
            for child in children:
                with contextlib.suppress(OSError), open(f"/proc/{child}/cmdline", encoding="utf-8", errors="replace") as file:
                    found.append(file.read().replace("\0", " "))
                found += commands_below(child)
    return found


class Usage(unittest.TestCase):
    def test_wrong_usage_is_status_2_and_one_line_each(self):
        with tempfile.TemporaryDirectory() as scratch:
            bad = os.path.join(scratch, "bad.yaml")
            with open(bad, "w", encoding="utf-8") as file:
                file.write("for: 1m\nevery: soon\ntasks:\n  a: {runs: perl, takes: 1s}\ncriterion: {}\n")
            wrong_config = os.path.join(scratch, "memory.yaml")
            with open(wrong_config, "w", encoding="utf-8") as file:
                file.write("workers:\n  max: many\n")
            for args, lines in [
                ([], [r".*profile is required.*"]),
                (["steady", "--quick"], [r".*--quick.*"]),
                (["steady", "--scale", "0"], [r".*--scale.*"]),
                (["steady", "--for", "soon"], [r"--for: .*"]),
                (["steady", "--budget", "much"], [r"--budget: .*"]),
                (["steady", "--json", scratch + "/none/report"], [r"--json: .*/none/report cannot be written"]),
                (["steady", "--config", wrong_config], [rf"{wrong_config}:2:8: workers\.max: .*"]),
                (["stead"], [r"stead: neither a profile \(steady peak spike chaos\) nor a file that can be read"]),
                ([bad], [rf"{bad}:2:8: every: .*", rf"{bad}:4:13: tasks\.'a'\.runs: expected python, node, shell",
                         rf"{bad}:5:1: unknown key 'criterion', did you mean 'criteria'\?"]),
            ]:
                with self.subTest(args):
                    run = soak(*args)
                    self.assertEqual((run.returncode, run.stdout), (2, ""), run.stderr)
                    said = run.stderr.splitlines()
                    self.assertEqual(len(said), len(lines), run.stderr)
                    for line, wanted in zip(said, lines):
                        self.assertRegex(line, "^kurultai-soak: " + wanted + "$")

    def test_a_profile_can_be_printed_and_is_one(self):
        run = soak("chaos", "--print")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertIn("kill_worker:", run.stdout)


@with_cgroups
class Soak(LevelE2E):
    def setUp(self):
        super().setUp()
        self.scratch = self.enterContext(tempfile.TemporaryDirectory())
        self.report = os.path.join(self.scratch, "report.json")
        self.chart = os.path.join(self.scratch, "chart.svg")

    def run_profile(self, profile, *args, timeout=120):
        """Its CompletedProcess and its report. `profile`: a name, or YAML."""
        if "\n" in profile:
            name = os.path.join(self.scratch, "profile.yaml")
            with open(name, "w", encoding="utf-8") as file:
                file.write(profile)
            profile = name
        run = soak(profile, "--json", self.report, "--chart", self.chart, *args, timeout=timeout)
        self.assertIn(run.returncode, (0, 1), run.stderr)
        with open(self.report, encoding="utf-8") as file:
            return run, json.load(file)

    def check_promises(self, report, run):
        """What holds on every machine, however slow it is."""
        tasks = report["tasks"]
        self.assertEqual((tasks["lost"], tasks["duplicated"], tasks["failures"]), (0, 0, {}), run.stdout)
        self.assertEqual((report["oomKills"]["wrongful"], report["supervisorDeaths"], report["leftBehind"]), (0, 0, 0), run.stdout)
        self.assertEqual(report["answers"]["unexpected"], {}, run.stdout)
        self.assertEqual(report["groups"]["after"], report["groups"]["before"], run.stdout)
        self.assertLessEqual(report["fds"]["after"], report["fds"]["before"], run.stdout)
        self.assertIsNotNone(report["recoverySeconds"], run.stdout)

    def test_steady_load_stays_under_512_mib(self):
        run, report = self.run_profile("steady", "--for", "5m", *([] if LONG else ["--scale", "50"]), timeout=900 if LONG else 120)
        self.check_promises(report, run)
        self.assertLess(report["memory"]["tree"]["max"], (512 + OWN) * MIB)
        self.assertEqual(report["tasks"]["submitted"], 10)
        self.assertEqual(report["tasks"]["accepted"], 10 + 2)  # the probes before and after
        self.assertEqual(report["answers"]["statuses"], {"202": 10})

    def test_nothing_is_lost_or_duplicated_in_chaos_with_the_supervisor_killed(self):
        run, report = self.run_profile(SMALL_CHAOS, "--seed", "5")
        self.check_promises(report, run)
        for what in ("kill_worker", "cancel", "malformed", "kill_supervisor"):
            self.assertGreater(report["chaos"][what], 0, what)
        self.assertGreater(report["tasks"]["ends"].get("completed", 0), 0)

    def test_a_criterion_that_fails_is_status_1_and_named(self):
        run, report = self.run_profile(
            "for: 500ms\nevery: 100ms\nsupervisor: {workers: {idle_timeout: 1s}}\n"
            "tasks:\n  pack: {runs: shell, takes: 10ms, memory: 1MiB, priority: normal}\n"
            "criteria: {supervisor_max: 1MiB}\n")
        self.assertEqual(run.returncode, 1, run.stdout)
        self.assertRegex(run.stdout, r"memory of the supervisor .* max 1MiB +FAIL")
        self.assertTrue(run.stdout.endswith("\nNOT passed\n"), run.stdout)
        self.assertFalse(report["passed"])
        verdicts = {one["name"]: one["passed"] for one in report["criteria"]}
        self.assertEqual((verdicts["memory of the supervisor"], verdicts["tasks lost"], verdicts["due to started"]), (False, True, None))
        for figures in (*report["memory"].values(), *report["latencyMs"].values()):
            self.assertGreater(figures["readings"], 0)
            self.assertTrue(0 < figures["p50"] <= figures["p95"] <= figures["p99"] <= figures["max"], figures)
        self.assertEqual([reading["when"] for reading in report["heap"]], ["before", "end of load", "after"])
        self.assertEqual(set(report["leak"]), {"bytesPerHour", "low", "high", "seconds"})
        self.assertGreater(len(report["curves"]["tree"]), 0)
        root = xml.etree.ElementTree.parse(self.chart).getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        self.assertEqual(len(root.findall("{http://www.w3.org/2000/svg}polygon")), 2)
        said = [text.text for text in root.findall("{http://www.w3.org/2000/svg}text")]
        for word in ("70 % skip_heartbeats", "95 % kill", "budget", "the supervisor alone (RSS)"):
            self.assertIn(word, said)

    def test_ctrl_c_ends_early_with_the_table(self):
        with subprocess.Popen([os.path.join(BIN, "kurultai-soak"), "steady", "--scale", "0.1", "--json", self.report],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            # A hundred minutes; the first task comes at once and lasts.
            wait_until(lambda: any("/ledger" in command for command in commands_below(run.pid)), "a task runs", 30)
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=60 * PATIENCE)
        self.assertIn(run.returncode, (0, 1), err)
        self.assertIn("ended early", out)
        self.assertRegex(out, r"tasks lost +0 +0 +pass")
        self.assertRegex(out, r"left behind at the end +0 +0 +pass")


# Submits `count` children over the supervisor's own socket while it runs itself, and waits a moment for the first.
PARENT = """
import http.client, socket
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect({path!r})
def ask(target, agent):
    connection = Unix('localhost')
    connection.request('POST', target, json.dumps({{'agent': agent}}), {{'Content-Type': 'application/json'}})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return [answer.status, body.get('taskId'), body.get('state')]
{gate}
first = ask('/v1/tasks?wait=200ms', 'child')
done([first] + [ask('/v1/tasks', 'child') for _ in range({count} - 1)])
"""


@with_cgroups
class Scenarios(LevelE2E):
    def test_a_burst_of_ten_at_once_stays_under_1_gib(self):
        daemon = self.daemon(settings({"puppet": puppet()}, workers={"max": 10, "memory_limit": "70MiB", "memory_warning": "70MiB"}))
        gate = Gate(daemon)
        ids = [daemon.start("puppet", "block = hold(40)\n" + gate.code("done(len(block))")) for _ in range(10)]
        wait_until(lambda: daemon.metric("kurultai_workers_active") == 10, "ten run at once", 60)
        wait_until(lambda: daemon.get("/v1/memory").json["workersBytes"] > 10 * 40 * MIB, "all hold what they hold", 60)
        self.assertEqual(daemon.get("/v1/memory").json["over"], [])
        gate.open()
        for task_id in ids:
            self.assertEqual(daemon.wait_state(task_id, "completed", "failed", timeout=60)["result"], 40 * MIB)
        self.assertLess(highest_charge(daemon.instance), 1024 * MIB)
        self.assertEqual([event for event in daemon.events() if event["type"] in ("taskPreempted", "taskFailed", "thresholdCrossed")], [])

    def test_a_leak_fails_and_the_system_stays_healthy(self):
        daemon = self.daemon(settings({"puppet": puppet(), "leak": puppet(memory_limit="64MiB", memory_warning="64MiB")}, workers={"max": 3}))
        gate = Gate(daemon)
        beside = daemon.start("puppet", gate.code("done('whole')"))
        daemon.wait_state(beside, "running")
        for _ in range(3):
            leaking = daemon.start("leak", "kept = []\nwhile True: kept.append(hold(1))")
            while daemon.task(leaking)["state"] in ("queued", "running"):
                self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)
                self.assertEqual((daemon.get("/health").json["status"], daemon.get("/ready").status), ("ok", 200))
            failed = daemon.task(leaking)
            self.assertEqual((failed["state"], failed["error"]["reason"]), ("failed", "memory_cap"), failed)
        gate.open()
        self.assertEqual(daemon.wait_state(beside, "completed", "failed")["result"], "whole")
        self.assertEqual(daemon.metric("kurultai_tasks_preempted_total"), 0)

    def test_tasks_that_submit_tasks_to_a_full_pool_do_not_block_it(self):
        daemon = self.daemon(settings({"parent": puppet(), "child": puppet()}, workers={"max": 2},
                                      queue={"max_depth": 3, "limits": {"normal": 3}}))
        gate = Gate(daemon)
        source = PARENT.format(path=daemon.socket, gate=gate.code(""), count=4)
        parents = [daemon.start("parent", source) for _ in range(2)]
        for task_id in parents:
            daemon.wait_state(task_id, "running")
        gate.open()  # no worker is left for a child, and there is room for three
        answers = [answer for task_id in parents for answer in daemon.wait_state(task_id, "completed", "failed")["result"]]
        self.assertEqual({answer[0] for answer in answers}, {202, 429}, answers)
        children = [answer[1] for answer in answers if answer[0] == 202]
        self.assertGreaterEqual(len(children), 3)
        for task_id in children:
            daemon.wait_state(task_id, "completed")

    def test_tasks_that_are_cancelled_as_fast_as_they_come_leave_nothing(self):
        daemon = self.daemon(settings({"puppet": puppet(), "shell": {"protocol": "exec", "command": ["sleep", "600"], "grace": "100ms"}},
                                      workers={"max": 4, "max_restarts_per_hour": 100000, "idle_timeout": "300ms"}))
        self.assertEqual(daemon.run("puppet")["state"], "completed")
        wait_until(lambda: not worker_groups(daemon.instance), "the worker that was idle has ended")
        before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        ids = []
        for n in range(150):
            ids.append(daemon.start(("puppet", "shell")[n % 2], "time.sleep(600)" if n % 2 == 0 else None))
            self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{ids[-1]}").status, 202)
            if n % 10 == 0:  # and some that run already
                ids.append(daemon.start(("puppet", "shell")[n // 10 % 2], "time.sleep(600)"))
                daemon.wait_state(ids[-1], "running")
                self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{ids[-1]}").status, 202)
        for task_id in ids:
            daemon.wait_state(task_id, "cancelled")
        self.assertEqual(daemon.get("/v1/queue").json["depth"], 0)
        self.assertEqual(daemon.run("puppet", "done(7)")["result"], 7)
        wait_until(lambda: daemon.get("/v1/workers").json["workers"] == [], "all workers have ended", 30)
        wait_until(lambda: not worker_groups(daemon.instance), "no group is left")
        wait_until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= before, "no descriptor is left")


if __name__ == "__main__":
    unittest.main()
