#!/usr/bin/env python3
"""Health of workers: PING and PONG, commands that look at them, what is seen of tasks, and whoever answers badly."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

import harness
from harness import E2E, agent_command, client, wait_until
from puppet import Gate, has_groups, puppet, settings

FAKE_MCP = [sys.executable, os.path.join(harness.ROOT, "tests", "mcp", "fake_server.py")]

# Asked often, and much may be missed: for agents that answer, on a machine that is slow.
PATIENT = {"strategy": "ping", "interval": "100ms", "timeout": "100ms", "failures": 100}
# For agents that never answer rightly.
STRICT = {"strategy": "ping", "interval": "100ms", "timeout": "50ms", "failures": 3}


def span(seconds):
    """A time in which something has to be done."""
    return f"{int(seconds * 1000 * harness.PATIENCE)}ms"


def is_healthy(daemon):
    """Its health if it is healthy and was asked; under load a check may have been missed in between."""
    seen = health(daemon)
    return seen if seen["status"] == "healthy" and seen["tookMs"] else None


def listener(on_ping, at_start="pass", at_end="pass"):
    """An agent that completes each task at once and does as told with each PING, `m`."""
    return agent_command(
        "import threading\n"
        "def pong(seq): say({'type': 'PONG', 'seq': seq})\n"
        "say({'type': 'READY', 'protocol': 1})\n"
        f"{at_start}\n"
        "while True:\n"
        " m = hear()\n"
        f" if m is None or m['type'] == 'SHUTDOWN':\n  {at_end}\n  sys.exit(0)\n"
        f" if m['type'] == 'PING':\n  {on_ping}\n"
        " if m['type'] == 'TASK': say({'type': 'COMPLETE', 'taskId': m['taskId']})\n")


def asked(command, health, **fields):
    return settings({"a": {"command": command, "grace": "300ms", "health": health, **fields}})


def worker(daemon):
    workers = daemon.get("/v1/workers").json["workers"]
    return workers[0] if workers else None


def health(daemon):
    one = worker(daemon)
    return one["health"] if one else {"status": "gone"}


def checks(daemon, result):
    return daemon.metric("kurultai_health_checks_total", result=result)


class Ping(E2E):
    def test_one_that_answers_is_healthy_and_shown_so(self):
        daemon = self.daemon(asked(listener("pong(m['seq'])"), PATIENT))
        first = daemon.run("a")["workerId"]
        wait_until(lambda: checks(daemon, "passed") >= 3, "three checks have passed", 30)
        seen = wait_until(lambda: is_healthy(daemon), "a check has been answered")
        self.assertEqual((seen["failures"], seen["reason"]), (0, None))
        self.assertLessEqual(seen["since"], seen["checkedAt"])
        wait_until(lambda: daemon.metric("kurultai_workers_health", status="healthy") == 1, "it is counted")
        self.assertGreater(daemon.metric("kurultai_health_longest_turn_seconds"), 0)
        shown = r"(?s)HEALTH +CHECKED.* idle +healthy [0-9]"
        wait_until(lambda: re.search(shown, client(daemon, "workers").stdout), "it is in the table")
        self.assertEqual(daemon.run("a")["workerId"], first)

    def test_an_idle_worker_that_is_silent_is_ended_and_replaced(self):
        daemon = self.daemon(asked(listener("pass"), STRICT))
        first = daemon.run("a")["workerId"]
        ended = daemon.wait_event("workerExited", reason="unhealthy")
        self.assertEqual((ended["workerId"], ended["message"]), (first, "no PONG within 50ms"))
        self.assertGreaterEqual(checks(daemon, "timed_out"), 3)
        self.assertEqual(daemon.metric("kurultai_workers_exited_total", reason="unhealthy"), 1)
        self.assertIn(f"worker {first} of a is suspect: no PONG within 50ms", daemon.log_text())
        agents = daemon.get("/v1/agents").json["agents"]
        self.assertEqual([agent["restarts"] for agent in agents if agent["name"] == "a"], [1])  # an abnormal end
        self.assertNotEqual(daemon.run("a")["workerId"], first)

    def test_one_that_hangs_and_ignores_signals_is_ended_too(self):
        hangs = listener("time.sleep(1000)", at_start="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
        daemon = self.daemon(asked(hangs, STRICT))
        first = daemon.run("a")["workerId"]
        daemon.wait_event("workerExited", reason="unhealthy", workerId=first)

    def test_a_busy_worker_is_left_alone(self):
        daemon = self.daemon(settings({"puppet": puppet(health={**STRICT, "failures": 1})}))
        gate = Gate(daemon)
        task = daemon.start("puppet", gate.code())
        wait_until(lambda: checks(daemon, "skipped") >= 5, "checks were passed over", 30)
        self.assertEqual(worker(daemon)["state"], "busy")
        self.assertEqual(checks(daemon, "timed_out"), 0)
        gate.open()
        done = daemon.wait_state(task, "completed")
        self.assertEqual(done["attempt"], 1)
        daemon.wait_event("workerExited", reason="unhealthy", workerId=done["workerId"])  # idle, it has to answer

    def test_the_next_task_is_as_good_as_an_answer(self):
        daemon = self.daemon(asked(listener("pass"), {**STRICT, "interval": span(5), "timeout": span(5)}))
        first = daemon.run("a")["workerId"]
        seen = wait_until(lambda: (lambda h: h["status"] == "healthy" and h)(health(daemon)), "its task counts", 30)
        self.assertIsNone(seen["tookMs"])  # nobody asked
        self.assertEqual(worker(daemon)["workerId"], first)

    def test_the_sdks_answer(self):
        examples = os.path.join(harness.ROOT, "worker", "examples")
        daemon = self.daemon(settings({
            "python": {"command": [sys.executable, os.path.join(examples, "count.py")], "health": PATIENT},
            "node": {"command": ["node", os.path.join(examples, "digest.js")], "health": PATIENT}}))
        for agent in ("python", "node"):
            daemon.run(agent, {})

        def all_asked():
            workers = daemon.get("/v1/workers").json["workers"]
            return len(workers) == 2 and all(w["health"]["status"] == "healthy" and w["health"]["tookMs"] for w in workers)
        wait_until(all_asked, "both have answered", 30)

    def test_a_server_is_asked_by_its_host(self):
        daemon = self.daemon(settings({"mcp": {"protocol": "mcp", "command": FAKE_MCP, "health": PATIENT}}))
        daemon.run("mcp", {"tool": "echo", "arguments": {"text": "x"}})
        wait_until(lambda: checks(daemon, "passed") >= 2, "its server has answered", 30)
        wait_until(lambda: is_healthy(daemon), "it is shown so")

    def test_without_a_strategy_nobody_is_asked(self):
        daemon = self.daemon(asked(listener("os._exit(9)"), "passive"))
        daemon.run("a")
        self.assertEqual({**health(daemon), "since": ""}, {"status": "unknown", "since": "", "checkedAt": None, "tookMs": None,
                                                            "failures": 0, "reason": None})
        self.assertEqual(daemon.metric("kurultai_workers_health", status="unknown"), 1)
        self.assertEqual(client(daemon, "workers").returncode, 0)


class BadAnswers(E2E):
    def test_a_wrong_number_is_no_answer(self):
        daemon = self.daemon(asked(listener("pong(m['seq'] + 1)"), STRICT))
        daemon.run("a")
        daemon.wait_event("workerExited", reason="unhealthy")

    def test_an_answer_that_nobody_asked_for_counts_for_nothing(self):
        early = listener("pass", at_start="for seq in range(1, 1000): pong(seq)")
        daemon = self.daemon(asked(early, {**STRICT, "interval": "1s", "timeout": "1s", "failures": 4}))
        daemon.run("a")
        wait_until(lambda: worker(daemon)["unknownMessages"] >= 999, "they are counted")
        daemon.wait_event("workerExited", reason="unhealthy", timeout=30)

    def test_an_answer_after_the_deadline_counts_for_nothing(self):
        daemon = self.daemon(asked(listener("time.sleep(0.3); pong(m['seq'])"), {**STRICT, "interval": "1s"}))
        daemon.run("a")
        ended = daemon.wait_event("workerExited", reason="unhealthy", timeout=30)
        self.assertEqual(ended["message"], "no PONG within 50ms")

    def test_an_answer_after_the_end_harms_nobody(self):
        daemon = self.daemon(asked(listener("pass", at_end="for seq in range(1, 1000): pong(seq)"), STRICT))
        daemon.run("a")
        daemon.wait_event("workerExited", reason="unhealthy")
        daemon.run("a")

    def test_a_flood_of_answers_leaves_the_right_one_good(self):
        flood = listener("sys.stdout.write('{\"type\":\"PONG\",\"seq\":0}\\n' * 2000); pong(m['seq'])")
        agents = {"a": {"command": flood, "health": {**PATIENT, "interval": span(1), "timeout": span(1)}}, "puppet": puppet()}
        daemon = self.daemon(settings(agents))
        daemon.run("a")
        wait_until(lambda: checks(daemon, "passed") >= 2, "the right one was found", 60)
        self.assertGreaterEqual(daemon.get("/v1/workers").json["workers"][0]["unknownMessages"], 2000)
        daemon.run("puppet")

    def test_a_number_that_is_none_ends_its_worker_alone(self):
        daemon = self.daemon(asked(listener("pong('one')"), PATIENT))
        daemon.run("a")
        daemon.wait_event("workerExited", reason="protocol_error")


class Progress(E2E):
    def test_a_task_without_progress_makes_its_worker_suspect(self):
        daemon = self.daemon(settings({"puppet": puppet(stall_timeout=span(6))}))
        gate = Gate(daemon)
        task = daemon.start("puppet", gate.code())
        wait_until(lambda: health(daemon)["status"] == "healthy", "it has just begun")
        seen = wait_until(lambda: (lambda h: h["status"] == "suspect" and h)(health(daemon)), "half of its time is over", 30)
        self.assertRegex(seen["reason"], "no progress for [0-9]+s")
        gate.open()
        daemon.wait_state(task, "completed", "failed")


class Reload(E2E):
    def test_a_strategy_is_changed_while_workers_live(self):
        pinged = asked(listener("pong(m['seq'])"), PATIENT)
        daemon = self.daemon(asked(listener("pong(m['seq'])"), "passive"))
        first = daemon.run("a")["workerId"]
        for config, status in ((pinged, "healthy"), (asked(listener("pong(m['seq'])"), "passive"), "unknown"),
                               (asked(listener("pong(m['seq'])"), patient(["true"])), "healthy"), (pinged, "healthy")):
            daemon.write_config(config)
            self.assertEqual(daemon.request("POST", "/v1/reload").json["live"], ["agents.a"])
            wait_until(lambda status=status: health(daemon)["status"] == status, f"it is {status}", 30)
            self.assertEqual(worker(daemon)["workerId"], first)
        wait_until(lambda: checks(daemon, "passed") >= 3, "it is asked again")

    def test_a_mistake_leaves_everything_as_it_was(self):
        daemon = self.daemon(asked(listener("pong(m['seq'])"), PATIENT))
        daemon.write_config(asked(listener("pong(m['seq'])"), {**PATIENT, "timeout": "1s"}))
        refused = daemon.request("POST", "/v1/reload")
        self.assertEqual(refused.status, 422)
        self.assertIn("agents.a.health: timeout: 1s is longer than interval, 100ms", refused.body.decode())
        daemon.run("a")
        wait_until(lambda: checks(daemon, "passed") >= 1, "it is asked as before", 30)


def command(argv, failures=3, **fields):
    return {"strategy": "command", "command": argv, "interval": "300ms", "timeout": "300ms", "failures": failures, **fields}


def patient(argv):
    """For commands that end by themselves, on a machine that is slow."""
    return command(argv, interval="500ms", timeout="500ms", failures=100)


# One check whose words matter: it must not be late.
SLOW = {"interval": span(5), "timeout": span(5), "failures": 1}
# As arguments of sleep: a number that nobody else's processes have.
NAP = f"9{os.getpid()}"


class Command(E2E):
    def setUp(self):
        self.dir = self.enterContext(tempfile.TemporaryDirectory())

    def path(self, name):
        return os.path.join(self.dir, name)

    def fails_with(self, argv, **fields):
        """Runs a task and gives the words with which its worker is ended for this check."""
        daemon = self.daemon(asked(listener("pass"), command(argv, **fields)))
        daemon.run("a")
        return daemon.wait_event("workerExited", reason="unhealthy", timeout=60)["message"], daemon

    def test_status_0_is_healthy_and_it_knows_whom_to_look_at(self):
        script = f'echo "$WORKER_ID $WORKER_PID" > {self.path("new")} && mv {self.path("new")} {self.path("told")}'
        daemon = self.daemon(asked(listener("pass"), patient(["sh", "-c", script]), env={"WORKER_ID": "w99", "WORKER_PID": "1"}))
        daemon.run("a")
        wait_until(lambda: checks(daemon, "passed") >= 2, "two have passed", 60)
        wait_until(lambda: is_healthy(daemon), "it is shown so")
        one = worker(daemon)
        with open(self.path("told"), encoding="ascii") as file:
            self.assertEqual(file.read().split(), [one["workerId"], str(one["pid"])])
        self.assertEqual([w["workerId"] for w in daemon.get("/v1/workers").json["workers"]], [one["workerId"]])
        self.assertEqual(daemon.metric("kurultai_workers_spawned_total"), 1)

    def test_a_suspect_worker_gets_tasks_only_when_no_other_is_there(self):
        look = command(["sh", "-c", 'test "$WORKER_ID" != w1'], interval=span(2), timeout=span(2), failures=100)
        daemon = self.daemon(settings({"puppet": puppet(health=look)}))
        gates = [Gate(daemon, f"gate{number}") for number in (1, 2)]
        tasks = [daemon.start("puppet", gate.code()) for gate in gates]
        for task in tasks:
            daemon.wait_state(task, "running")
        for task, gate in reversed(list(zip(tasks, gates))):  # the suspect one last: it is the warmest
            gate.open()
            daemon.wait_state(task, "completed")
        wait_until(lambda: {w["workerId"]: w["health"]["status"] for w in daemon.get("/v1/workers").json["workers"]} ==
                   {"w1": "suspect", "w2": "healthy"}, "one of them is suspect", 60)
        self.assertEqual(daemon.run("puppet", "done()")["workerId"], "w2")
        gate = Gate(daemon, "gate3")
        held = daemon.start("puppet", gate.code())
        self.assertEqual(daemon.wait_state(held, "running")["workerId"], "w2")
        self.assertEqual(daemon.run("puppet", "done()")["workerId"], "w1")  # rather than a third one
        gate.open()
        daemon.wait_state(held, "completed")

    def test_it_has_nothing_to_read(self):
        daemon = self.daemon(asked(listener("pass"), command(["sh", "-c", 'test -z "$(cat)"'], **{**SLOW, "failures": 100})))
        daemon.run("a")
        wait_until(lambda: checks(daemon, "passed") >= 1, "the end of its input is there", 30)
        self.assertEqual(checks(daemon, "failed"), 0)

    def test_another_status_is_not_and_its_last_words_are_told(self):
        why, daemon = self.fails_with(["sh", "-c", "echo much; echo 'the door is shut' >&2; exit 3"], **SLOW)
        self.assertEqual(why, "sh: exited with status 3: the door is shut")
        self.assertEqual(checks(daemon, "failed"), 1)
        self.assertEqual(checks(daemon, "passed"), 0)

    def test_one_that_does_not_exist_is_said_to(self):
        why, _ = self.fails_with(["/nonexistent/check"], **SLOW)
        self.assertIn("/nonexistent/check: No such file or directory", why)

    def test_one_that_hangs_is_killed_with_all_that_it_started(self):
        why, daemon = self.fails_with(["sh", "-c", f"sleep {NAP}1 & setsid sleep {NAP}1 & sleep {NAP}1"])
        self.assertEqual(why, "sh: did not end within 300ms")
        self.assertGreaterEqual(checks(daemon, "timed_out"), 3)
        wait_until(lambda: not self.sleeping(NAP + "1"), "nothing of it is left")

    def test_one_that_prints_without_end_is_stopped(self):
        why, _ = self.fails_with(["yes", "no"], **SLOW)
        self.assertEqual(why, "yes: printed more than 64KiB")

    def test_one_line_without_end_is_stopped_too(self):
        why, _ = self.fails_with(["sh", "-c", "tr '\\0' x < /dev/zero"], **SLOW)
        self.assertRegex(why, "^sh: (printed more than|a line is longer than)")

    def test_what_it_leaves_behind_is_swept(self):
        forks = f"(setsid sleep {NAP}2 > /dev/null 2>&1 &) ; sleep {NAP}2 & exit 0"
        daemon = self.daemon(asked(listener("pass"), patient(["sh", "-c", forks])))
        daemon.run("a")
        wait_until(lambda: checks(daemon, "passed") >= 1, "it ended well", 60)
        daemon.write_config(asked(listener("pass"), "passive"))
        daemon.request("POST", "/v1/reload")
        wait_until(lambda: not self.sleeping(NAP + "2"), "nothing of it is left")

    def test_one_that_eats_memory_dies_alone(self):
        eats = agent_command("hold(400)\ntime.sleep(1000)")
        daemon = self.daemon(asked(listener("pass"), {**patient(eats), **SLOW}))
        daemon.run("a")
        ended = daemon.wait_event("workerExited", reason="unhealthy", timeout=60)
        if has_groups(daemon):
            self.assertIn("exceeded its 128MiB cap", ended["message"])
        daemon.run("a")

    def test_one_that_speaks_like_an_agent_is_none(self):
        why, _ = self.fails_with(["sh", "-c", 'echo \'{"type":"READY","protocol":1}\'; sleep 1000'], **SLOW)
        self.assertIn("a check ends by itself", why)

    def test_a_busy_worker_finishes_what_it_has(self):
        fails = command(["false"], failures=1)
        daemon = self.daemon(settings({"puppet": puppet(health=fails)}))
        gate = Gate(daemon)
        task = daemon.start("puppet", gate.code())
        wait_until(lambda: health(daemon)["status"] == "unhealthy", "it is unhealthy", 30)
        self.assertEqual(daemon.task(task)["state"], "running")
        gate.open()
        done = daemon.wait_state(task, "completed")
        self.assertEqual(done["attempt"], 1)
        daemon.wait_event("workerExited", reason="unhealthy", workerId=done["workerId"])

    def test_four_run_at_once_and_the_others_wait(self):
        slow = command(["sleep", NAP + "4"], interval="1s", timeout="1s", failures=100)
        daemon = self.daemon(settings({"puppet": puppet(health=slow)}, workers={"max": 7, "memory_limit": "64MiB"},
                                      admission="none"))
        gate = Gate(daemon)
        for _ in range(7):
            daemon.start("puppet", gate.code())
        seen = []

        def four_and_all_have_had_their_turn():
            seen.append(len(self.sleeping(NAP + "4")))
            return max(seen) == 4 and checks(daemon, "timed_out") >= 8
        wait_until(four_and_all_have_had_their_turn, "four run at once, and again", 60)
        self.assertEqual(max(seen), 4)

        def failures():
            return [w["health"]["failures"] for w in daemon.get("/v1/workers").json["workers"]]
        wait_until(lambda: len(failures()) == 7 and min(failures()) >= 1, "none is forgotten", 60)
        gate.open()

    def test_a_drain_does_not_wait_for_one(self):
        daemon = self.daemon(asked(listener("pass"), command(["sleep", NAP + "3"], interval="2s", timeout="2s", failures=100)))
        daemon.run("a")
        wait_until(lambda: self.sleeping(NAP + "3"), "a check runs", 30)
        daemon.terminate()
        self.assertFalse(self.sleeping(NAP + "3"))

    @staticmethod
    def sleeping(seconds):
        found = subprocess.run(["pgrep", "-f", f"^sleep {seconds}$"], capture_output=True, text=True, check=False)
        return found.stdout.split()


if __name__ == "__main__":
    unittest.main()
