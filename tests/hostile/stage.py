"""Where hostile agents are run: a supervisor with them, a good neighbour whose tasks go on all the time, and a second good
agent, the sibling, with one task that waits.
"""
import contextlib
import datetime
import json
import math
import os
import shutil
import socket
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]

import harness
from harness import MIB, PATIENCE, agent_command, client, wait_until
from test_containment import guardian_of

# For workers of another user: a home directory's Python is not theirs to read.
SYSTEM_PYTHON = "/usr/bin/python3"
with open(os.path.join(HERE, "agent.py"), encoding="utf-8") as _file:
    SOURCE = _file.read()
GOOD = agent_command("say({'type':'READY','protocol':1})\nwhile True:\n t=task()\n if t['payload'] == 'hold':\n  while hear()['type'] != 'CANCEL': pass\n"
                     "  say({'type':'FAILED','taskId':t['taskId'],'error':'let go'})\n else: say({'type':'COMPLETE','taskId':t['taskId'],'result':t['payload']})")
MAX_RESULT = 4 * MIB


def agent_name(row):
    return "".join(c if c.isalnum() else "-" for c in row.name)[:60]


class Neighbour(threading.Thread):
    """Round trips of a healthy agent, one after the other, until it is stopped; how long each took, in seconds."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.serving, self.stopped = daemon, threading.Event()
        self.times, self.error = [], None
        self.start()

    def run(self):
        try:
            while not self.stopped.is_set():
                began = time.monotonic()
                task = self.serving.run("neighbour", len(self.times))
                self.times.append(time.monotonic() - began)
                if task["state"] != "completed" or task["result"] != len(self.times) - 1:
                    raise AssertionError(f"the neighbour's task: {task}")
        except BaseException as error:  # told by stop()
            self.error = error

    def stop(self):
        self.stopped.set()
        self.join(60 * PATIENCE)
        if self.error is not None:
            raise self.error
        return self.times

    def wait_for(self, count):
        wait_until(lambda: self.error is not None or len(self.times) >= count, f"{count} tasks of the neighbour", 60)


class Stage:
    def __init__(self, start, rows):
        """`start(config)` gives a running daemon, as E2E.daemon does."""
        self.dir = harness.tempfile.mkdtemp(prefix="kt-hostile-")
        os.chmod(self.dir, 0o711)
        for name in ("own-cwd", "precious"):
            os.mkdir(os.path.join(self.dir, name))
        with open(self.path("precious/file"), "w", encoding="ascii") as file:
            file.write("precious")
        with open(self.path("own-program"), "w", encoding="utf-8") as file:
            file.write(f"#!{SYSTEM_PYTHON} -u\n{SOURCE}")
        os.chmod(self.path("own-program"), 0o700)
        agents = {agent_name(row): self.settings(row) for row in rows}
        agents["logger"] = {"protocol": "exec", "command": ["sh", "-c", "echo logged >&2"]}
        agents["neighbour"] = agents["sibling"] = {"command": GOOD, "grace": "1s"}
        self.daemon = start({
            "memory": {"budget": "2GiB"},
            "workers": {"max": 4, "memory_limit": "256MiB", "max_restarts_per_hour": 100},
            "queue": {"max_depth": 50, "limits": {"normal": 50}},
            "circuit_breakers": {"failures": 1000},
            "store": {"max_result": "4MiB"},
            "agents": agents,
        })
        self.kept = Keeper(self.daemon.state)
        self.held = self.daemon.start("sibling", "hold")
        self.daemon.wait_state(self.held, "running")
        self.sibling = self.worker_of("sibling")["pid"]
        self.daemon.run("neighbour", 0)

    def path(self, name):
        return os.path.join(self.dir, name)

    def close(self):
        """The end of all, of which nothing is left: the daemon's own close() looks for processes and groups."""
        state = self.daemon.task(self.held)["state"]
        self.daemon.request("DELETE", f"/v1/tasks/{self.held}")
        self.daemon.wait_state(self.held, "cancelled")
        instance = self.daemon.instance
        self.daemon.terminate()
        self.kept.close()
        if state != "running":
            raise AssertionError(f"the sibling's task is {state}")
        for place in ("/var/tmp/kurultai-" + instance, os.path.join(self.daemon.state, "places")):
            wait_until(lambda: not os.path.exists(place) or not os.listdir(place), f"nothing is left in {place}", 5)
        self.nothing_in_memory()
        self.assert_empty("payloads")
        self.assert_precious()
        shutil.rmtree(self.dir)

    def settings(self, row):
        command = [SYSTEM_PYTHON, "-u", "-c", SOURCE]
        if row.protocol == "exec":
            command = [part.replace("{", "{{").replace("}", "}}") for part in command] + ["{program}"]
        settings = {"protocol": row.protocol, "command": command, "cwd": "/", "grace": "300ms", **row.agent}
        if row.user != "own":
            settings["user"] = row.user
        return json.loads(json.dumps(settings).replace("@DIR@", self.dir))

    def worker_of(self, agent):
        return next(w for w in self.daemon.get("/v1/workers").json["workers"] if w["agent"] == agent)

    def program(self, row):
        words = {"SUPERVISOR": self.daemon.pid, "GUARDIAN": guardian_of(self.daemon.pid), "SIBLING": self.sibling, "STATE": self.daemon.state,
                 "SOCKET": self.daemon.socket, "HELD": self.held, "DIR": self.dir}
        program = row.program
        for word, value in words.items():
            program = program.replace(f"@{word}@", str(value))
        return program

    def submit(self, row):
        program = self.program(row)
        fields = dict(row.fields)
        if fields.pop("as_bytes", False):
            answer = self.daemon.request("POST", f"/v1/tasks?agent={agent_name(row)}", program, {"Content-Type": "application/octet-stream"})
            return answer.json["taskId"]
        return self.daemon.start(agent_name(row), {"program": program} if row.protocol == "exec" else program, **fields)

    @staticmethod
    def has_begun(task):
        """One that leaves at once waits nearly all the time for its next attempt."""
        return task["state"] in ("running", "failed", "completed") or task["attempt"] > 1

    def run(self, row, samples=0):
        """Runs it to its end with the neighbour beside it, checks all that the row says, and gives the neighbour's times."""
        task_id = self.submit(row)
        neighbour = None
        if row.loud or row.cancel:
            wait_until(lambda: self.has_begun(self.daemon.task(task_id)), f"{row.name}: it has begun", 30)
        if row.cancel:
            wait_until(lambda: self.daemon.task(task_id)["progress"] is not None or row.fields.get("retries"), "it is at work", 20)
        neighbour = Neighbour(self.daemon)
        if row.cancel or row.loud:
            neighbour.wait_for(max(samples, 20))
            self.daemon.request("DELETE", f"/v1/tasks/{task_id}")
        elif samples:
            neighbour.wait_for(samples)
        task = self.daemon.wait_state(task_id, "completed", "failed", "cancelled", timeout=60)
        neighbour.wait_for(5)
        times = neighbour.stop()
        self.judge(row, task)
        return times

    def judge(self, row, task):
        error = task["error"] or {"reason": "", "message": ""}
        if row.state == "cancelled":
            error = {"reason": "", "message": ""}
        seen = (task["state"], error["reason"])
        if seen != (row.state, row.reason) or row.says not in error["message"]:
            raise AssertionError(f"{row.name}: {seen}, {error['message']!r}; result {task.get('result')!r}")
        if row.result is not None and not (row.result(task["result"]) if callable(row.result) else task["result"] == row.result):
            raise AssertionError(f"{row.name}: the result is {task['result']!r}")
        self.assert_well(row)
        if row.after:
            row.after(self, task)

    @staticmethod
    def troubles(health):
        """But for groups that cannot be had, where that is so on purpose."""
        return " ".join(part.get("trouble", "") for part in health["parts"] if part["part"] != "guarantee").strip()

    def assert_well(self, row):
        """The supervisor lives and says so, and the sibling's task is what it was."""
        if self.daemon.process.poll() is not None:
            raise AssertionError(f"{row.name}: the supervisor has left with {self.daemon.process.returncode}")
        health = self.daemon.get("/health").json
        said = self.troubles(health)
        if bool(said) != bool(row.trouble) or row.trouble not in said or health["pid"] != self.daemon.pid:
            raise AssertionError(f"{row.name}: {health}")
        self.assert_held_untouched()

    # What rows ask for beyond that.

    def assert_held_untouched(self):
        held = self.daemon.task(self.held)
        if (held["state"], held["attempt"], held["progress"], held["preemptions"]) != ("running", 1, None, 0):
            raise AssertionError(f"the sibling's task: {held}")

    def nothing_in_memory(self):
        instance = self.daemon.instance
        wait_until(lambda: not memory_objects(instance), f"nothing is left in memory: {memory_objects(instance)}", 10)

    def assert_paused(self, task):
        """Its worker started again after a second, two, four, and so on."""
        begin, end = (datetime.datetime.fromisoformat(task[name].replace("Z", "+00:00")) for name in ("submittedAt", "finishedAt"))
        if task["attempt"] > 2 + math.log2(1 + (end - begin).total_seconds()):
            raise AssertionError(f"there were {task['attempt']} attempts in {end - begin}")

    def write_to_kept(self):
        """The process outside goes on writing to where nobody reads any more."""
        self.kept.write(b"x" * MIB)

    def assert_progress(self, task, percent):
        if task["progress"] != percent:
            raise AssertionError(task)

    def assert_printable(self, task):
        for shown in (client(self.daemon, "task", task["taskId"]), client(self.daemon, "ps", "--all"), client(self.daemon, "why", task["taskId"])):
            text = shown.stdout + shown.stderr
            strange = [c for c in text if not c.isprintable() and c != "\n"]
            if strange:
                raise AssertionError(f"{strange} in {text!r}")
        if "\n2026-01-01T00:00:00.000 error forged" in self.daemon.log_text():
            raise AssertionError("the log has a line of the agent's")

    def assert_logs_recover(self):
        """With the next log that can be written."""
        task = self.daemon.run("logger")
        wait_until(lambda: b"logged" in self.daemon.get(f"/v1/tasks/{task['taskId']}/logs").body, "the next log is there")
        wait_until(lambda: not self.troubles(self.daemon.get("/health").json), "/health is well again")

    def assert_fails_next(self, task, reason, says):
        """A new worker of the same agent cannot start, and says why."""
        wait_until(lambda: all(w["agent"] != task["agent"] for w in self.daemon.get("/v1/workers").json["workers"]), "its worker is gone", 10)
        after = self.daemon.run(task["agent"], "done()")
        if (after["state"], after["error"]["reason"]) != ("failed", reason) or says not in after["error"]["message"]:
            raise AssertionError(after)

    def assert_empty(self, name):
        directory = os.path.join(self.daemon.state, name)
        wait_until(lambda: not os.listdir(directory), f"{directory} is empty", 5)

    def assert_home_gone(self):
        base = "/var/tmp/kurultai-" + self.daemon.instance
        wait_until(lambda: not any(files or "home" in names for _, names, files in os.walk(base)), "the home is gone", 20)
        self.assert_precious()

    def assert_precious(self):
        with open(self.path("precious/file"), encoding="ascii") as file:
            if file.read() != "precious":
                raise AssertionError("a file outside was changed")


class Keeper(threading.Thread):
    """A process outside that keeps every descriptor it is sent."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.fds = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("\0" + name)
        self.listener.listen()
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.fds += socket.recv_fds(connection, 1, 16)[1]
                connection.send(b"k")

    def write(self, data):
        for fd in self.fds:
            os.set_blocking(fd, False)
            try:
                os.write(fd, data)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()
        for fd in self.fds:
            os.close(fd)


def memory_objects(instance):
    """Files in /dev/shm and System V objects of the users that an instance gives its workers."""
    first = 61184 + int(instance, 16) % 67 * 64
    found = []
    for name in os.listdir("/dev/shm"):
        with contextlib.suppress(FileNotFoundError):
            if first <= os.lstat(f"/dev/shm/{name}").st_uid < first + 64:
                found.append(f"/dev/shm/{name}")
    for kind in ("shm", "msg", "sem"):
        with open(f"/proc/sysvipc/{kind}", encoding="ascii") as file:
            names, *rows = [line.split() for line in file]
        found += [f"{kind} {row[1]}" for row in rows if first <= int(row[names.index("cuid")]) < first + 64]
    return found
