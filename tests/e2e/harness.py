"""What the end-to-end tests share: a real kurultaid in a directory of its own, HTTP over its socket, waiting with deadlines.

Every test has its own state directory, socket and instance (so its own groups): tests run in parallel and leave nothing.
"""
import contextlib
import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import api

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("KURULTAI_BIN_DIR", os.path.join(ROOT, "build", "bin"))
PYTHON = sys.executable
MIB = 1024 * 1024
# Under sanitizers, valgrind or emulation everything takes longer: deadlines are stretched, never the tests' logic.
PATIENCE = float(os.environ.get("KURULTAI_TEST_PATIENCE", "1"))


def is_instrumented(name="kurultaid"):
    """Whether the program carries a sanitizer or counters, with which figures of its own memory mean something else."""
    with open(os.path.join(BIN, name), "rb") as file:
        program = file.read()
    return any(mark in program for mark in (b"__asan_init", b"__tsan_init", b"__gcov_init"))


def own_extra():
    """MiB that an instrumented supervisor holds beyond what an ordinary one does; measured, and with some to spare."""
    if not is_instrumented():
        return 0
    with open(os.path.join(BIN, "kurultaid"), "rb") as file:
        program = file.read()
    return 24 if b"__gcov_init" in program else 80 if b"__tsan_init" in program else 40


def wait_until(condition, what, timeout=10.0):
    """Polls until `condition()` is true and returns its value; fails the test with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout * PATIENCE:.0f} s: {what}")
        time.sleep(0.01)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def group_dirs(instance):
    """Directories of this instance in every mounted controller (v1) or the unified hierarchy (v2)."""
    found = []
    for root in ["/sys/fs/cgroup"] + glob.glob("/sys/fs/cgroup/*/"):
        for depth in ("", "*/", "*/*/"):
            found += glob.glob(os.path.join(root, depth, f"kurultai-{instance}"))
    return sorted(set(found))


def marked_processes(instance):
    """Processes whose environment carries this instance's mark."""
    mark = f"KURULTAI_INSTANCE={instance}".encode()
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


class Daemon:
    """A running kurultaid. `config` is a dict in the shape of memory.yaml (JSON is YAML), or YAML text."""

    def __init__(self, config, args=(), env=None, directory=None, cwd=ROOT):
        self.owns_directory = directory is None
        self.dir = directory or tempfile.mkdtemp(prefix="kt-")
        self.state = os.path.join(self.dir, "state")
        self.socket = os.path.join(self.dir, "s")
        self.config_file = os.path.join(self.dir, "memory.yaml")
        self.log_file = os.path.join(self.dir, "log")
        self.write_config(config)
        # What else runs on this machine is to change nothing, but where a test is about that.
        environment = {"KURULTAI_MEMORY_MACHINE_RESERVE": "0", **os.environ, **(env or {})}
        self.log = open(self.log_file, "ab")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "kurultaid"), "--config", self.config_file, "--socket", self.socket, "--state-dir", self.state,
             "--log-level", "debug", *(args if "--listen" in args else ["--listen", "none", *args])],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment, cwd=cwd)
        self.pid = self.process.pid

    def write_config(self, config):
        with open(self.config_file, "w", encoding="utf-8") as file:
            file.write(config if isinstance(config, str) else json.dumps(config, indent=1))

    @property
    def instance(self):
        with open(os.path.join(self.state, "instance"), encoding="ascii") as file:
            return file.read().strip()

    def log_text(self):
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            return file.read()

    def threads_text(self):
        """What each of its threads is doing, for one that does not answer."""
        lines = []
        for task in sorted(glob.glob(f"/proc/{self.pid}/task/*")):
            facts = []
            for name in ("comm", "wchan", "syscall", "stat"):
                with contextlib.suppress(OSError), open(os.path.join(task, name), encoding="ascii", errors="replace") as file:
                    facts.append(file.read().strip()[:100])
            lines.append(" ".join([task, *facts]))
        return "\n".join(lines)

    def wait_ready(self, timeout=20):
        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"kurultaid left with {self.process.returncode}:\n{self.log_text()}")
            try:
                return self.get("/health").status == 200
            except OSError:
                return False
        wait_until(answers, "kurultaid answers on its socket", timeout)
        return self

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = _UnixConnection(self.socket, timeout * PATIENCE)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            headers = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
            response = connection.getresponse()
            answer = Answer(response.status, dict(response.getheaders()), response.read())
            api.check(method, path, answer.status, answer.headers, answer.body)
            return answer
        finally:
            connection.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def submit(self, agent, payload=None, wait=None, **fields):
        """The answer to POST /v1/tasks."""
        path = "/v1/tasks" + (f"?wait={wait}" if wait else "")
        return self.request("POST", path, {"agent": agent, "payload": payload, **fields})

    def task(self, task_id):
        return self.get(f"/v1/tasks/{task_id}").json

    def start(self, agent, payload=None, **fields):
        """Submits and gives the task's id; fails unless it was accepted."""
        answer = self.submit(agent, payload, **fields)
        if answer.status != 202:
            raise AssertionError(f"{answer.status}: {answer.body!r}")
        return answer.json["taskId"]

    def run(self, agent, payload=None, wait=None, **fields):
        """Submits, waits for the end and gives the finished task."""
        answer = self.submit(agent, payload, wait=wait or f"{int(50 * PATIENCE)}s", **fields)
        if answer.status != 200:
            raise AssertionError(f"{answer.status}: {answer.body!r}")
        return answer.json

    def wait_state(self, task_id, *states, timeout=30):
        return wait_until(lambda: (lambda t: t if t["state"] in states else None)(self.task(task_id)),
                          f"task {task_id} is {' or '.join(states)}", timeout)

    def events(self):
        """All events so far (the newest 256), oldest first, as dicts."""
        connection = _UnixConnection(self.socket, 5)
        connection.request("GET", "/v1/events", headers={"Last-Event-ID": "0"})
        response = connection.getresponse()
        found = []
        connection.sock.settimeout(0.3)
        enough = time.monotonic() + PATIENCE  # where events never pause
        with contextlib.suppress(OSError):
            while time.monotonic() < enough:
                line = response.readline()
                if not line:
                    break
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
                    api.check_event(found[-1])
        connection.close()
        return found

    def wait_event(self, type_, timeout=20, **fields):
        """The first event of this type with these fields, waiting for it if need be."""
        def look():
            for event in self.events():
                if event["type"] == type_ and all(event.get(k) == v for k, v in fields.items()):
                    return event
            return None
        return wait_until(look, f"event {type_} {fields}", timeout)

    def metric(self, name, **labels):
        """The value of one sample; None if there is none."""
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith("#") or not line.startswith(name):
                continue
            sample, value = line.rsplit(" ", 1)
            found = dict(pair.split("=", 1) for pair in sample[len(name):].strip("{}").split(",") if "=" in pair)
            if sample.split("{")[0] == name and all(found.get(k) == f'"{v}"' for k, v in labels.items()):
                return float(value)
        return None

    def terminate(self, timeout=40):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout * PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends it and checks that nothing is left: no process, no group."""
        instance = self.instance if os.path.exists(os.path.join(self.state, "instance")) else None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10 * PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(20 * PATIENCE)
        self.log.close()
        if instance:
            wait_until(lambda: not marked_processes(instance), f"no process of instance {instance} is left", 5)
            wait_until(lambda: not group_dirs(instance), f"no group of instance {instance} is left: {group_dirs(instance)}", 5)
        if self.owns_directory:
            shutil.rmtree(self.dir, ignore_errors=True)


def agent_command(script):
    """A command for a Python agent given as source text that may use `say(dict)` and `hear()` (the next message)."""
    prelude = (
        "import json,os,signal,sys,time\n"
        "def say(m):\n sys.stdout.write(json.dumps(m)+'\\n'); sys.stdout.flush()\n"
        "def hear():\n line=sys.stdin.readline()\n return json.loads(line) if line else None\n"
        "def task():\n"
        " while True:\n"
        "  m=hear()\n"
        "  if m is None: sys.exit(0)\n"
        "  if m['type']=='TASK': return m\n"
        "  if m['type']=='SHUTDOWN': sys.exit(0)\n"
        "def hold(mib):\n"
        " block=bytearray(mib*1048576)\n"
        " for i in range(0,len(block),4096): block[i]=1\n"
        " return block\n")
    return [PYTHON, "-u", "-c", prelude + script]


class E2E(unittest.TestCase):
    """`self.daemon(config)` gives a running supervisor that is checked and cleared at the end of the test."""

    maxDiff = None

    def daemon(self, config, ready=True, **kw):
        daemon = Daemon(config, **kw)
        self.addCleanup(self._close, daemon)
        return daemon.wait_ready() if ready else daemon

    def _close(self, daemon):
        result = self._outcome.result if hasattr(self._outcome, "result") else None
        failed = result is not None and any(test is self for test, _ in result.failures + result.errors)
        if failed:
            sys.stderr.write(f"--- log of kurultaid in {self.id()}\n{daemon.log_text()[-6000:]}\n--- its threads\n{daemon.threads_text()}\n")
        daemon.close()


def client(daemon, *args, **kw):
    """Runs the `kurultai` client against a daemon; gives CompletedProcess with text."""
    return subprocess.run([os.path.join(BIN, "kurultai"), "--socket", daemon.socket, *args], capture_output=True, text=True,
                          timeout=kw.pop("timeout", 60) * PATIENCE, stdin=kw.pop("stdin", subprocess.DEVNULL), check=False, **kw)
