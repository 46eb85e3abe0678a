#!/usr/bin/env python3
"""The client's commands against a real kurultaid: tables, --json, exit statuses, one-line errors, and how it finds its supervisor."""
import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

import harness
from harness import E2E, PATIENCE, client, wait_until
from puppet import puppet, settings

KURULTAI = os.path.join(harness.BIN, "kurultai")
SHELL = {"protocol": "exec", "command": ["sh", "-c", "{script}"], "grace": "300ms"}
DONE, FAILED, USAGE, NO_ROOM, REFUSED, NO_SUCH_THING, NO_SUPERVISOR, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 124, 130


def sh(script):
    return json.dumps({"script": script})


def rows(table):
    """The lines of a table as dicts."""
    lines = [re.split(r" {2,}", line.strip()) for line in table.splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def facts(text):
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in text.splitlines() if "  " in line)


class Client(E2E):
    def start(self, agents=None, **kw):
        sections = {"exec": {"allow": True}}
        sections.update({key: kw.pop(key) for key in list(kw) if key in ("exec", "workers", "queue", "memory", "circuit_breakers")})
        self.at = self.daemon(settings({"sh": SHELL, "puppet": puppet(), **(agents or {})}, **sections), **kw)
        return self.at

    def k(self, *arguments, **kw):
        return client(self.at, *arguments, **kw)

    def open(self, *arguments, **kw):
        """A command that goes on while the test does."""
        process = subprocess.Popen([KURULTAI, "--socket", self.at.socket, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **kw)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        deadline = threading.Timer(60 * PATIENCE, process.kill)  # who waits for a line of it gets none
        self.addCleanup(deadline.cancel)
        deadline.start()
        return process

    def good(self, *arguments, **kw):
        done = self.k(*arguments, **kw)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def object(self, *arguments):
        """What --json prints: one line, one value."""
        out = self.good(*arguments, "--json")
        self.assertEqual((out.count("\n"), out[-1]), (1, "\n"), out)
        return json.loads(out)

    def refused(self, done, status, text):
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, rf"^kurultai: {text}")

    def gate(self):
        """The words of a script that waits, and what ends its wait."""
        path = os.path.join(self.at.dir, "gate")
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        self.addCleanup(self.let_go, descriptor)
        return f"read _ < {path}", lambda: self.let_go(descriptor)

    @staticmethod
    def let_go(descriptor):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\n" * 100)

    def running(self, script):
        task = self.good("submit", "sh", sh(script)).strip()
        self.at.wait_state(task, "running")
        return task


class Submit(Client):
    def test_it_prints_the_id_of_an_accepted_task(self):
        self.start()
        task = self.good("submit", "sh", sh("echo hi")).strip()
        self.assertEqual(self.at.wait_state(task, "completed")["result"], "hi\n")
        answer = self.object("submit", "sh", sh("echo hi"))
        self.assertEqual(set(answer) - {"position"}, {"taskId", "state"})

    def test_it_waits_and_prints_the_result(self):
        self.start()
        self.assertEqual(self.good("submit", "sh", sh("echo hi; echo no >&2"), "--wait"), "hi\n")
        self.assertEqual(json.loads(self.good("submit", "puppet", '"done({\'a\': [1]})"', "--wait")), {"a": [1]})
        self.assertEqual(self.good("submit", "puppet", "--wait"), "")
        self.assertEqual(len(self.good("submit", "sh", sh("head -c 300000 /dev/zero | tr '\\0' x"), "--wait")), 300000)

    def test_json_is_the_finished_task(self):
        self.start()
        task = self.object("submit", "sh", sh("echo hi"), "--wait")
        self.assertEqual(task, self.at.task(task["taskId"]))
        failed = self.k("submit", "sh", sh("exit 3"), "--wait", "--json")
        self.assertEqual(failed.returncode, FAILED)
        self.assertEqual(json.loads(failed.stdout)["error"]["exitCode"], 3)

    def test_a_failed_task_is_named_with_its_cause(self):
        self.start()
        self.refused(self.k("submit", "sh", sh("echo no >&2; exit 3"), "--wait"), FAILED,
                     r"submit sh: task (\S+) failed: exit_code: exit status 3; `kurultai logs \1` has what it wrote\n")
        self.refused(self.k("submit", "puppet", '"fail()"', "--wait"), FAILED, r"submit puppet: task \S+ failed: agent_error: told to")
        self.refused(self.k("submit", "sh", sh("sleep 600"), "--wait", "--timeout", "200ms"), TIMED_OUT,
                     r"submit sh: task \S+ failed: timeout: ran longer than its timeout of 200ms")

    def test_a_task_that_is_cancelled_meanwhile_has_failed(self):
        self.start()
        waiting = self.open("submit", "sh", sh("sleep 600"), "--wait")
        task = wait_until(lambda: self.at.get("/v1/tasks?state=running").json["tasks"], "it runs", 20)[0]["taskId"]
        self.assertEqual(self.good("cancel", task), f"{task}\n")
        _, errors = waiting.communicate(timeout=30 * PATIENCE)
        self.assertEqual(waiting.returncode, FAILED)
        self.assertRegex(errors, rf"^kurultai: submit sh: task {task} cancelled: .*\n$")

    def test_each_way_to_give_a_payload(self):
        self.start({"cat": {"protocol": "exec", "command": ["cat"]}})
        path = os.path.join(self.at.dir, "payload.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"from": "a file", "n": 1.50}')
        self.assertEqual(self.good("submit", "cat", f"@{path}", "--wait"), self.good("submit", "cat", "--payload", f"@{path}", "--wait"))
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.loads(self.good("submit", "cat", "-", "--wait", stdin=file))["from"], "a file")
        self.assertEqual(self.good("submit", "cat", '"ü"', "--wait"), '"ü"')

    def test_a_payload_that_is_none_is_a_usage_error(self):
        self.start()
        for payload, text in (("{bad", "submit sh: payload is no JSON: --payload: byte 2"), ("@/no/such", "submit sh: payload /no/such: No such"),
                              (f"@{self.at.dir}", f"submit sh: payload {self.at.dir}: Is a directory"), ("-", "submit sh: stdin is empty"),
                              ("@/dev/null", "submit sh: payload /dev/null is empty"), ("{}", "submit sh: the payload has no field 'script'")):
            with self.subTest(payload):
                self.refused(self.k("submit", "sh", payload), USAGE, re.escape(text))
        self.assertEqual(self.at.get("/v1/tasks").json["tasks"], [])

    def test_its_options_are_the_tasks(self):
        self.start()
        task = self.object("submit", "sh", sh('[ "$TRIED" ] || exit 1'), "--priority", "high", "--retries", "2", "--key", "k")["taskId"]
        ended = self.at.wait_state(task, "failed")
        self.assertEqual((ended["priority"], ended["attempt"]), ("high", 3))
        self.assertEqual(self.good("submit", "sh", sh('[ "$TRIED" ] || exit 1'), "--key", "k").strip(), task)
        self.refused(self.k("submit", "sh", sh("other"), "--key", "k"), USAGE, f"submit sh: idempotency key 'k' was used .* by task {task}\n")

    def test_a_full_queue(self):
        self.start(workers={"max": 1}, queue={"max_depth": 1})
        script, _ = self.gate()
        self.running(script)
        self.good("submit", "sh", sh(script))
        self.refused(self.k("submit", "sh", sh(script)), NO_ROOM, r"submit sh: the queue is full \(1 of 1\); try again in \d+ s\n")

    def test_who_has_time_comes_again_as_told(self):
        self.start(workers={"max": 1}, queue={"max_depth": 1})
        script, let_go = self.gate()
        self.running(script)
        self.good("submit", "sh", sh(script))
        self.refused(self.k("submit", "sh", sh("true"), "--retry-refused", "1ms"), NO_ROOM, r"submit sh: the queue is full .*; try again in \d+ s\n")
        refused = self.at.metric("kurultai_tasks_rejected_total", code="queue_full")
        patient = self.open("submit", "sh", sh("echo in"), "--retry-refused", "10m", "--wait")
        wait_until(lambda: self.at.metric("kurultai_tasks_rejected_total", code="queue_full") > refused, "it was refused", 20)
        let_go()
        out, errors = patient.communicate(timeout=60 * PATIENCE)
        self.assertEqual((patient.returncode, out, errors), (0, "in\n", ""))
        self.refused(self.k("submit", "nobody", "--retry-refused", "10m"), NO_SUCH_THING, "submit nobody: there is no agent 'nobody'")

    def test_refused_for_now(self):
        self.start(circuit_breakers={"failures": 1})
        self.assertEqual(self.k("submit", "sh", sh("exit 1"), "--wait").returncode, FAILED)
        self.refused(self.k("submit", "sh", sh("true")), REFUSED, r"submit sh: agent 'sh' keeps failing; its circuit is open; try again in \d+ s\n")

    def test_refused_for_memory(self):
        self.start(memory={"budget": "1GiB", "hysteresis": 0.0001, "check_interval": "100ms",
                           "thresholds": {"skip_heartbeats": 0.0005, "preempt": 0.0006, "reject": 0.0007, "kill": 0.99}})
        wait_until(lambda: "reject" in self.at.get("/v1/memory").json["over"], "the supervisor alone is over the threshold", 20)
        self.refused(self.k("submit", "sh", sh("true")), REFUSED, r"submit sh: memory is at . % of the budget; new work is refused; try again in \d+ s\n")
        self.assertIn("reject", facts(self.good("memory"))["over"])

    def test_what_it_writes_is_streamed_as_it_comes(self):
        self.start()
        path = os.path.join(self.at.dir, "gate")
        source = ("about('PROGRESS', percent=50, message='half')\nabout('LOG', level='info', message='a line')\n"
                  f"gate({path!r})\ndone('the result')")
        stream = self.open("submit", "puppet", json.dumps(source), "--stream")
        seen = []
        while not ("half" in "".join(seen) and "a line" in "".join(seen)):
            seen.append(stream.stderr.readline())
            self.assertTrue(seen[-1], seen)
        self.assertIn(" 50 % half\n", seen)
        with open(path, "w", encoding="ascii"):
            pass
        out, errors = stream.communicate(timeout=30 * PATIENCE)
        self.assertEqual((stream.returncode, out), (0, "the result"), errors)

    def test_after_ctrl_c_the_task_goes_on(self):
        self.start()
        script, let_go = self.gate()
        waiting = self.open("submit", "sh", sh(f"{script}; echo done"), "--wait")
        task = wait_until(lambda: self.at.get("/v1/tasks?state=running").json["tasks"], "it runs", 20)[0]["taskId"]
        # Its handler is there before it asks for the task, which it does before it follows events.
        wait_until(lambda: signals_caught(waiting.pid) & 1 << (signal.SIGINT - 1), "it takes Ctrl-C", 20)
        waiting.send_signal(signal.SIGINT)
        out, errors = waiting.communicate(timeout=30 * PATIENCE)
        self.assertEqual((waiting.returncode, out), (INTERRUPTED, ""))
        self.assertEqual(errors, f"kurultai: submit sh: no longer waiting; task {task} goes on, `kurultai cancel {task}` ends it\n")
        let_go()
        self.assertEqual(self.at.wait_state(task, "completed")["result"], "done\n")


def signals_caught(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"SigCgt:\s+(\w+)", file.read())[1], 16)


class Exec(Client):
    def test_its_output_is_ours(self):
        self.start()
        done = self.k("exec", "--wait", "--memory", "64MiB", "--", "sh", "-c", 'pwd; echo "$0" >&2', "--json", cwd=self.at.dir)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"{os.path.realpath(self.at.dir)}\n", "--json\n"))
        done = self.k("exec", "--wait", "--", "sh", "-c", "echo out; exit 4")
        self.assertEqual((done.returncode, done.stdout), (FAILED, "out\n"))
        self.assertRegex(done.stderr, r"^kurultai: exec: task \S+ failed: exit_code: exit status 4\n$")
        self.refused(self.k("exec", "--wait", "--timeout", "200ms", "--", "sleep", "600"), TIMED_OUT, r"exec: task \S+ failed: timeout: ")
        self.refused(self.k("exec", "--wait", "--", "no-such-command"), FAILED, r"exec: task \S+ failed: spawn_failed: exec no-such-command: No such")

    def test_without_waiting_it_prints_the_id(self):
        self.start()
        task = self.good("exec", "--priority", "low", "--", "echo", "hi").strip()
        ended = self.at.wait_state(task, "completed")
        self.assertEqual((ended["agent"], ended["priority"], ended["result"]), ("exec", "low", "hi\n"))
        task = json.loads(self.good("exec", "--wait", "--json", "--", "echo", "hi"))
        self.assertEqual(task, self.at.task(task["taskId"]))

    def test_what_cannot_be_run(self):
        self.start()
        self.refused(self.k("exec"), USAGE, "exec: no command given")
        self.refused(self.k("exec", "--memory", "2TiB", "--", "true"), USAGE, "exec: memory of 2TiB is more than memory.budget, 1GiB")
        self.refused(self.k("exec", "--memory", "some", "--", "true"), USAGE, '--memory: "some" is not a size')
        self.refused(self.k("exec", "--", "echo", b"\xff"), USAGE, "exec: argument '.*' is not UTF-8")

    def test_it_has_to_be_allowed(self):
        self.start(exec={"allow": False})
        self.refused(self.k("exec", "--", "true"), NO_SUCH_THING, "exec: commands are not allowed here; set exec.allow: true")


class Tables(Client):
    def test_ps(self):
        self.start(workers={"max": 1})
        self.assertEqual(self.good("ps"), "no tasks\n")
        failed = self.object("submit", "sh", sh("exit 3"))["taskId"]
        self.at.wait_state(failed, "failed")
        script, _ = self.gate()
        running = self.running(script)
        queued = self.good("submit", "puppet", "--priority", "high").strip()
        table = rows(self.good("ps"))
        self.assertEqual([(row["TASK"], row["AGENT"], row["PRIORITY"], row["STATE"]) for row in table],
                         [(running, "sh", "normal", "running"), (queued, "puppet", "high", "queued"), (failed, "sh", "normal", "failed")])
        self.assertEqual(table[2]["DETAIL"], "exit_code: exit status 3")
        self.assertEqual([row["TASK"] for row in rows(self.good("ps", "--state", "failed,queued", "--agent", "puppet"))], [queued])
        page = self.object("ps", "-a")
        self.assertEqual(sorted(page), ["next", "tasks"])
        self.assertEqual({task["taskId"] for task in page["tasks"]}, {failed, running, queued})
        self.assertEqual(self.object("ps", "--state", "failed")["tasks"],
                         [{name: value for name, value in self.at.task(failed).items() if not name.startswith("history")}])
        self.refused(self.k("ps", "--state", "lost"), USAGE, "ps: state: there is no 'lost'; there are queued, ")

    def test_ps_shows_the_newest_that_ended_and_with_all_every_one(self):
        self.start({"true": {"protocol": "exec", "command": ["true"]}})
        ended = [self.at.run("true")["taskId"] for _ in range(12)]
        self.assertEqual([row["TASK"] for row in rows(self.good("ps"))], ended[:1:-1])
        self.assertEqual([row["TASK"] for row in rows(self.good("ps", "--all"))], ended[::-1])

    def test_queue(self):
        self.start(workers={"max": 1})
        script, _ = self.gate()
        self.running(script)
        low = self.good("submit", "sh", sh("true"), "--priority", "low").strip()
        high = self.good("submit", "sh", sh("true"), "--priority", "high").strip()
        first, levels, waiting = self.good("queue").split("\n\n")
        self.assertEqual(first, "2 of 50 waiting")
        self.assertEqual([(row["PRIORITY"], row["WAITING"]) for row in rows(levels)],
                         [("critical", "0"), ("high", "1"), ("normal", "0"), ("low", "1"), ("heartbeat", "0")])
        self.assertEqual([(row["POSITION"], row["TASK"]) for row in rows(waiting)], [("1", high), ("2", low)])
        self.assertEqual(self.object("queue"), self.at.get("/v1/queue").json)

    def test_workers_and_agents(self):
        self.start()
        self.assertEqual(self.good("workers"), "no workers\n")
        script, _ = self.gate()
        task = self.running(script)
        row, = rows(self.good("workers"))
        worker, = self.object("workers")["workers"]
        self.assertEqual((row["WORKER"], row["AGENT"], row["STATE"], row["LIMIT"], row["TASKS"], row["PID"]),
                         (worker["workerId"], "sh", "busy", "256MiB", task, str(worker["pid"])))
        self.assertEqual(set(worker), set(self.at.get("/v1/workers").json["workers"][0]))
        self.assertEqual([(row["AGENT"], row["RUNNING"], row["WORKERS"]) for row in rows(self.good("agents"))],
                         [("puppet", "0", "0"), ("sh", "1", "1")])
        self.assertRegex(self.good("agents", "puppet"), r"^agent +puppet\nprotocol +jsonl\n")
        self.assertEqual(self.object("agents"), self.at.get("/v1/agents").json)
        self.assertEqual(self.object("agents", "sh").keys(), self.at.get("/v1/agents/sh").json.keys())
        self.refused(self.k("agents", "nobody"), NO_SUCH_THING, "agents nobody: there is no agent 'nobody'; `kurultai agents` lists them\n")

    def test_memory_and_status(self):
        self.start()
        self.at.run("puppet")
        said, table = self.good("memory").split("\n\n")
        self.assertRegex(facts(said)["used"], r"^[0-9.]+MiB of 1GiB \(\d+ %\)$")
        self.assertEqual(rows(table)[0]["AGENT"], "puppet")
        self.assertEqual(set(self.object("memory")), set(self.at.get("/v1/memory").json))
        status = facts(self.good("status"))
        health = self.at.get("/health").json
        self.assertEqual((status["status"], status["pid"], status["listens on"]), ("ok", str(self.at.pid), "the socket alone"))
        self.assertTrue(status["guarantee"].startswith(health["guarantee"] + ": "), status)
        self.assertEqual(set(self.object("status")), set(health))


class Tasks(Client):
    def test_one_in_full(self):
        self.start()
        task = self.at.run("sh", {"script": "echo hi; echo no >&2; exit 3"})
        shown = facts(self.good("task", task["taskId"]))
        self.assertEqual((shown["task"], shown["state"], shown["error"], shown["exit status"], shown["attempt"]),
                         (task["taskId"], "failed", "exit_code: exit status 3", "3", "1"))
        self.assertEqual(self.object("task", task["taskId"]), self.at.task(task["taskId"]))

    def test_what_is_not_there_is_named(self):
        self.start()
        for command in ("task", "result", "logs", "cancel"):
            with self.subTest(command):
                self.refused(self.k(command, "none"), NO_SUCH_THING, f"{command} none: there is no task none; `kurultai ps -a` lists the tasks\n")
        self.refused(self.k("logs", "-f", "none"), NO_SUCH_THING, "logs none: there is no task none")

    def test_results_to_stdout_and_files(self):
        self.start()
        task = self.at.run("sh", {"script": "printf 'a\\000b\\377'"})["taskId"]
        raw = subprocess.run([KURULTAI, "--socket", self.at.socket, "result", task], capture_output=True, check=False, timeout=60 * PATIENCE)
        self.assertEqual((raw.returncode, raw.stdout, raw.stderr), (0, b"a\0b\xff", b""))
        path = os.path.join(self.at.dir, "out")
        self.assertEqual(self.good("result", task, "-o", path), "")
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"a\0b\xff")
        self.refused(self.k("result", "none", "-o", path), NO_SUCH_THING, "result none: there is no task none")
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"a\0b\xff", "a refusal leaves the old file alone")
        self.refused(self.k("result", task, "-o", f"{path}/x"), USAGE, rf"result {task}: {path}/x.*: Not a directory\n")
        self.assertEqual([name for name in os.listdir(self.at.dir) if name.startswith("out")], ["out"])

    def test_a_task_that_has_not_ended_has_no_result(self):
        self.start()
        script, _ = self.gate()
        task = self.running(script)
        self.refused(self.k("result", task), NO_SUCH_THING, rf"result {task}: task {task} ")

    def test_logs_and_following_them(self):
        self.start()
        script, let_go = self.gate()
        task = self.running(f"echo one >&2; {script}; echo two >&2")
        following = self.open("logs", task, "-f")
        self.assertEqual(following.stdout.readline(), "one\n")
        self.assertEqual(self.good("logs", task), "one\n")
        self.assertIsNone(following.poll())
        let_go()
        out, errors = following.communicate(timeout=30 * PATIENCE)
        self.assertEqual((following.returncode, out, errors), (0, "two\n", ""))
        self.assertEqual(self.good("logs", task, "-f"), "one\ntwo\n")

    def test_cancel_several_of_which_one_has_ended(self):
        self.start(workers={"max": 1})
        ended = self.at.run("sh", {"script": "true"})["taskId"]
        running = self.running("sleep 600")
        queued = self.good("submit", "sh", sh("true")).strip()
        done = self.k("cancel", queued, ended, running)
        self.assertEqual((done.returncode, done.stdout), (NO_SUCH_THING, f"{queued}\n{running}\n"))
        self.assertEqual(done.stderr, f"kurultai: cancel {ended}: task {ended} is already completed\n")
        for task in (queued, running):
            self.at.wait_state(task, "cancelled")
        again = self.running("sleep 600")
        self.assertEqual(self.object("cancel", again)["taskId"], again)


class Events(Client):
    def test_what_has_happened(self):
        self.start()
        task = self.at.run("sh", {"script": "exit 3"})["taskId"]
        self.at.run("sh", {"script": "true"})
        objects = [json.loads(line) for line in self.good("events", "--json").splitlines()]
        self.assertEqual(objects, self.at.events())
        lines = self.good("events", "--task", task).splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], rf"^\d\d:\d\d:\d\d\.\d\d\d  sh \(task {task}, normal\) was queued$")
        self.assertRegex(lines[2], r" failed after \d+ms: exit status 3 \(exit_code\)")

    def test_what_happens_next(self):
        self.start()
        self.at.run("sh", {"script": "true"})
        following = self.open("events", "--follow", "--json")
        first = json.loads(following.stdout.readline())
        self.assertEqual(first, self.at.events()[0])
        task = self.at.run("sh", {"script": "exit 3"})["taskId"]
        while (event := json.loads(following.stdout.readline()))["type"] != "taskFailed":
            pass
        self.assertEqual(event["taskId"], task)
        following.send_signal(signal.SIGINT)
        self.assertEqual(following.wait(20 * PATIENCE), 0)


class Operator(Client):
    def test_drain_waits_for_what_runs(self):
        self.start()
        script, let_go = self.gate()
        task = self.running(script)
        draining = self.open("drain")
        wait_until(lambda: self.at.get("/health").json["draining"], "it drains", 20)
        self.assertIn("draining", facts(self.good("status")))
        self.assertIsNone(draining.poll())
        self.refused(self.k("submit", "sh", sh("true")), REFUSED, r"submit sh: the supervisor is draining; try again in \d+ s\n")
        let_go()
        out, errors = draining.communicate(timeout=30 * PATIENCE)
        shown = facts(out)
        self.assertEqual((draining.returncode, errors), (0, ""))
        self.assertEqual((shown["status"], shown["initial"], shown["completed"], shown["remaining"]), ("completed", "1", "1", "0"))
        self.assertEqual(self.at.process.wait(20 * PATIENCE), 0)
        self.refused(self.k("drain"), NO_SUPERVISOR, r"drain: .*")

    def test_drain_runs_out_of_time(self):
        self.start()
        self.running("sleep 600")
        self.refused(self.k("drain", "--timeout", "soon"), USAGE, '--timeout: "soon" is not a duration')
        done = self.k("drain", "--timeout", "300ms", "--json")
        answer = json.loads(done.stdout)
        self.assertEqual((done.returncode, answer["status"], answer["initial"], answer["remaining"]), (TIMED_OUT, "timed_out", 1, 1))

    def test_reload(self):
        self.start()
        self.assertEqual(self.good("reload"), "nothing has changed\n")
        with open(self.at.config_file, encoding="utf-8") as file:
            config = json.load(file)
        config["workers"]["max"] = 3
        config["gateway"] = {"listen": "127.0.0.1:1"}
        self.at.write_config(config)
        answer = self.at.request("POST", "/v1/reload").json
        self.assertEqual(self.at.get("/v1/config").json["workers"]["max"], 3)
        config["workers"]["max"] = 4
        self.at.write_config(config)
        lines = self.good("reload").splitlines()
        self.assertIn("now in effect: workers.max", lines)
        self.assertEqual([line for line in lines if line.startswith("needs")], [f"needs a restart: {name}" for name in answer["needsRestart"]])
        config["workers"]["max"] = 2
        self.at.write_config(config)
        self.assertEqual(self.object("reload")["live"], ["workers.max"])

    def test_a_reload_of_mistakes_says_each_with_its_place(self):
        self.start()
        self.at.write_config("workers:\n  maxx: 3\nmemory: {budget: much}\n")
        done = self.k("reload")
        self.assertEqual((done.returncode, done.stdout), (USAGE, ""))
        lines = done.stderr.splitlines()
        self.assertEqual(lines[0], "kurultai: reload: the configuration has mistakes; the old one stays in effect")
        self.assertTrue(lines[1].startswith(f"{self.at.config_file}:2:3: "), lines)
        self.assertTrue(lines[2].startswith(f"{self.at.config_file}:3:"), lines)

    def test_the_configuration_in_effect(self):
        self.start()
        self.assertEqual(self.object("config", "show"), self.at.get("/v1/config").json)
        path = os.path.join(self.at.dir, "shown.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.good("config", "show"))
        self.assertEqual(self.good("config", "check", path), f"{path}: good\n")
        self.assertEqual(json.loads(self.good("config", "show", path, "--json")), self.at.get("/v1/config").json)


class WithoutSupervisor(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="kt-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def k(self, *arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if name not in ("KURULTAI_SOCKET", "KURULTAI_URL")}
        return subprocess.run([KURULTAI, *arguments], capture_output=True, text=True, check=False, timeout=60 * PATIENCE,
                              stdin=subprocess.DEVNULL, env={**clean, **environment}, cwd=self.dir)

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def refused(self, done, status, text):
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, rf"^kurultai: {text}")

    def test_configuration_files(self):
        good = self.file("good.yaml", "workers: {max: 3}\n")
        self.assertEqual(self.k("config", "check", good).stdout, f"{good}: good\n")
        self.assertIn("max: 3", self.k("config", "show", good).stdout)
        one = self.file("one.yaml", "workers:\n  maxx: 3\n")
        self.refused(self.k("config", "check", one), USAGE, rf"config check: {one}:2:3: .*max\b")
        two = self.file("two.yaml", "workers:\n  maxx: 3\nmemory: {budget: much}\n")
        for command in ("check", "show"):
            done = self.k("config", command, two)
            self.assertEqual((done.returncode, done.stdout), (USAGE, ""))
            lines = done.stderr.splitlines()
            self.assertEqual(lines[0], f"kurultai: config {command}: {two}: 2 errors")
            self.assertEqual([line.split(": ")[0].rsplit(":", 1)[0] for line in lines[1:]], [f"{two}:2", f"{two}:3"])
        self.refused(self.k("config", "check", "none.yaml"), USAGE, "config check: none.yaml: .*No such file")
        self.refused(self.k("config", "check", XDG_CONFIG_HOME=self.dir), NO_SUCH_THING, "config check: no configuration in ")

    def test_the_schema(self):
        schema = json.loads(self.k("config", "schema").stdout)
        self.assertIn("workers", schema["properties"])

    def test_completion(self):
        script = self.k("completion", "bash").stdout
        words = 'COMP_WORDS=(kurultai %s); COMP_CWORD=%d; eval "$(complete -p kurultai | sed "s/.*-F \\([^ ]*\\).*/\\1/")"; echo "${COMPREPLY[@]}"'
        for typed, count, expected in (("sub", 1, "submit"), ("config s", 2, "show schema"), ("submit --pri", 2, "--priority")):
            with self.subTest(typed):
                done = subprocess.run(["bash", "-c", script + "\n" + words % (typed, count)], capture_output=True, text=True, check=False)
                self.assertEqual((done.stdout.split(), done.stderr), (expected.split(), ""))
        for shell in ("zsh", "fish"):
            self.assertIn("submit", self.k("completion", shell).stdout)
        self.refused(self.k("completion", "tcsh"), USAGE, "shell: tcsh not in ")

    def test_words_that_are_no_command(self):
        for words, text in ((["submitt"], r"no command 'submitt'; did you mean `kurultai submit`\?"), (["zzz"], "no command 'zzz'; see `kurultai --help`"),
                            (["task"], "id is required; see `kurultai task --help`"), (["ps", "x"], "not understood: x; see `kurultai ps --help`"),
                            (["ps", "--frob"], "not understood: --frob"), (["submit"], "agent is required"),
                            (["submit", "a", "--priority", "urgent"], "--priority: 'urgent' is none of critical, high, normal, low, heartbeat"),
                            (["config"], "A subcommand is required")):
            with self.subTest(words):
                self.refused(self.k(*words), USAGE, text)
        self.assertEqual(self.k().returncode, USAGE)
        for words in (["--help"], ["submit", "--help"], ["--version"]):
            done = self.k(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("kurultai", done.stdout)

    def test_no_supervisor_there(self):
        missing, stale = os.path.join(self.dir, "missing"), os.path.join(self.dir, "stale")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(stale)
        cases = {("--socket", missing): f"no supervisor at {missing}; start one with `kurultaid --config FILE`",
                 ("--socket", stale): rf"no supervisor at {stale} \(Connection refused\); start one",
                 ("--socket", self.dir): f"no supervisor at {self.dir}"}
        with socket.socket() as unused:  # bound and not listening: nobody else gets the port
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            cases["--url", url] = rf"no supervisor at {url} \(Connection refused\); start one"
            for place, text in cases.items():
                for command in (["ps"], ["submit", "a"], ["drain"], ["events"], ["cancel", "a"], ["logs", "-f", "a"], ["config", "show"]):
                    with self.subTest(place=place, command=command):
                        self.refused(self.k(*place, *command), NO_SUPERVISOR, rf"[a-z a]+: {text}")
        self.refused(self.k("ps", KURULTAI_SOCKET=missing), NO_SUPERVISOR, f"ps: no supervisor at {missing}; ")
        self.refused(self.k("--socket", "/x" * 60, "ps"), USAGE, "ps: (/x)+: too long, a socket's path has at most 107 bytes")
        self.refused(self.k("--url", "ftp://x", "ps"), USAGE, "ps: ftp://x: only http:// and https:// are spoken")

    def test_what_answers_there_is_no_supervisor(self):
        class Other(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(404 if self.path == "/v1/memory" else 200)
                self.end_headers()
                self.wfile.write(b"<html>")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}"
        self.refused(self.k("--url", url, "queue"), NO_SUPERVISOR, "queue: what answers there is no supervisor: ")
        self.refused(self.k("--url", url, "memory"), NO_SUCH_THING, "memory: the supervisor answered HTTP 404\n")


class Places(Client):
    """How the supervisor is found, and the token."""

    def setUp(self):
        self.start(args=["--listen", "127.0.0.1:0"])
        self.url = "http://" + self.at.get("/health").json["listen"]
        self.token = os.path.join(self.at.state, "token")

    def bare(self, *arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if name not in ("KURULTAI_SOCKET", "KURULTAI_URL")}
        return subprocess.run([KURULTAI, *arguments], capture_output=True, text=True, check=False, timeout=60 * PATIENCE,
                              stdin=subprocess.DEVNULL, env={**clean, **environment})

    def test_over_tcp_with_its_token(self):
        task = self.at.run("sh", {"script": "echo hi"})["taskId"]
        for words in (["--url", self.url, "--token-file", self.token, "result", task], ["result", task, "--url", self.url, "--token-file", self.token],
                      ["--url", self.url.removeprefix("http://"), "--token-file", self.token, "result", task],
                      ["--url", self.url + "/", "--token-file", self.token, "result", task]):
            with self.subTest(words):
                done = self.bare(*words)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "hi\n", ""))
        done = self.bare("--token-file", self.token, "submit", "sh", sh("echo over tcp"), "--wait", KURULTAI_URL=self.url)
        self.assertEqual((done.returncode, done.stdout), (0, "over tcp\n"))

    def test_without_the_right_token_nothing_but_the_state_of_health(self):
        wrong = os.path.join(self.at.dir, "wrong")
        with open(wrong, "w", encoding="ascii") as file:
            file.write("x" * 43 + "\n")
        for more in ([], ["--token-file", wrong]):
            for command in (["ps"], ["submit", "sh", sh("true")], ["drain"], ["events"], ["config", "show"]):
                with self.subTest(more=more, command=command):
                    self.refused(self.bare("--url", self.url, *more, *command), USAGE, r"[a-z ]+: .*token.*; give that file with --token-file\n")
        self.assertEqual(facts(self.bare("--url", self.url, "status").stdout)["status"], "ok")
        self.assertEqual(self.at.get("/v1/tasks").json["tasks"], [])

    def test_a_token_file_that_holds_none(self):
        empty = os.path.join(self.at.dir, "empty")
        with open(empty, "w", encoding="ascii"):
            pass
        for path, why in ((empty, "holds no token"), (os.path.join(self.at.dir, "none"), "No such file or directory"), (self.at.dir, "holds no token")):
            with self.subTest(path):
                self.refused(self.bare("--url", self.url, "--token-file", path, "ps"), USAGE, f"ps: {path}: {why}\n")

    def test_the_environment_and_what_goes_before_it(self):
        self.assertEqual(facts(self.bare("status", KURULTAI_SOCKET=self.at.socket).stdout)["listens on"], self.url)
        self.assertEqual(facts(self.bare("status", KURULTAI_URL=self.url).stdout)["status"], "ok")
        both = {"KURULTAI_SOCKET": "/no/such", "KURULTAI_URL": "http://127.0.0.1:1"}
        self.refused(self.bare("status", **both), NO_SUPERVISOR, "status: no supervisor at /no/such")
        self.assertEqual(self.bare("--socket", self.at.socket, "status", **both).returncode, 0)
        self.assertEqual(self.bare("status", "--url", self.url, **both).returncode, 0)

    def test_where_nothing_is_said_the_runtime_directory(self):
        runtime = os.path.join(self.at.dir, "runtime")
        os.mkdir(runtime)
        os.symlink(self.at.socket, os.path.join(runtime, "kurultai.sock"))
        if os.geteuid() == 0 and os.path.exists("/run/kurultai/kurultai.sock"):
            self.skipTest("a system's supervisor is here, which goes first for root")
        self.assertEqual(facts(self.bare("status", XDG_RUNTIME_DIR=runtime).stdout)["pid"], str(self.at.pid))


class Ends(Client):
    def test_a_supervisor_that_goes_away_while_it_is_asked(self):
        self.start()
        script, _ = self.gate()
        task = self.running(f"echo up >&2; {script}")
        following, waiting = self.open("logs", task, "-f"), self.open("submit", "sh", sh(script), "--wait")
        self.assertEqual(following.stdout.readline(), "up\n")
        wait_until(lambda: len(self.at.get("/v1/tasks?state=running").json["tasks"]) == 2, "both run", 20)
        self.at.kill()
        for process, text in ((following, f"logs {task}: the supervisor at {self.at.socket} went away in the middle of its answer\n"),
                              (waiting, f"submit sh: ")):
            _, errors = process.communicate(timeout=30 * PATIENCE)
            self.assertEqual((process.returncode, errors.count("\n")), (NO_SUPERVISOR, 1), errors)
            self.assertTrue(errors.startswith("kurultai: " + text), errors)

    def test_an_output_that_takes_no_more(self):
        self.start()
        task = self.at.run("sh", {"script": "echo hi; echo no >&2"})["taskId"]
        for command in (["ps"], ["status", "--json"], ["result", task], ["logs", task], ["config", "show"], ["events"]):
            with self.subTest(command), open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([KURULTAI, "--socket", self.at.socket, *command], stdout=full, stderr=subprocess.PIPE, text=True,
                                      check=False, timeout=30 * PATIENCE)
                self.assertEqual((done.returncode, done.stderr.count("\n")), (FAILED, 1), done.stderr)
                self.assertIn(": No space left on device\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
