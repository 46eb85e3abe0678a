"""Starts kurultai-worker for the tests and looks at what it left behind. Standard library only."""

import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

BIN_DIR = os.environ.get("KURULTAI_BIN_DIR", "build/bin")
WORKER = os.path.join(os.path.abspath(BIN_DIR), "kurultai-worker")
NOBODY = 65534
MIB = 1 << 20
PATIENCE = 20  # seconds until a thing that should happen counts as missing

# A program that leaves a process in a session of its own, with the pipes open, and goes on.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
"""


def needs_root(test):
    if os.geteuid() == 0:
        return test
    print(f"SKIPPED, NEEDS ROOT: {test.__qualname__}", file=sys.stderr)
    return unittest.skip("needs root")(test)


def is_sanitized():
    with open(WORKER, "rb") as file:
        return b"__asan_init" in file.read()


def needs_release_build(test):
    """Figures that a sanitizer's shadow memory and quarantine would spoil."""

    @functools.wraps(test)
    def run(self):
        if is_sanitized():
            self.skipTest("a build with sanitizers is not small")
        test(self)

    return run


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.01)


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return {key: value.strip() for key, value in (line.split(":", 1) for line in file)}


class WorkerTest(unittest.TestCase):
    """Every process that a test starts carries a mark in its environment; none may be left at the end."""

    def setUp(self):
        self.mark = f"KURULTAI_TEST_MARK={uuid.uuid4()}"
        self.environment = dict(os.environ, **dict([self.mark.split("=")]))
        # A folder in PATH that may not be entered turns "no such file" into "permission denied", as execvp does.
        self.environment["PATH"] = "/usr/local/bin:/usr/bin:/bin"
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.started = []

    def tearDown(self):
        for process in self.started:
            self.dispose(process)
        try:
            self.assert_nothing_left()
        finally:
            for pid in self.marked():
                os.kill(pid, signal.SIGKILL)

    def path(self, name):
        return os.path.join(self.scratch.name, name)

    def marked(self):
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if self.mark.encode() in file.read().split(b"\0"):
                        found.append(int(entry))
            except OSError:
                continue
        return found

    def assert_nothing_left(self):
        wait_until(lambda: not self.marked(), "every process of the test ended")

    def run_worker(self, *arguments, **options):
        return subprocess.run([WORKER, *arguments], env=self.environment, capture_output=True, text=True,
                              timeout=PATIENCE, **options)

    def start_worker(self, *arguments, **options):
        process = subprocess.Popen([WORKER, *arguments], env=self.environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **options)
        self.started.append(process)
        return process

    def start_under_supervisor(self, *arguments, stdin=subprocess.DEVNULL, feed=b""):
        """A process that starts the worker and then only waits, to be killed. `feed` is for the worker's stdin;
        without it the worker reads `stdin`, which the supervisor does not hold the other end of."""
        script = (
            "import subprocess, sys, time\n"
            "feed = sys.argv[1].encode()\n"
            "worker = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE if feed else None)\n"
            "if feed: worker.stdin.write(feed); worker.stdin.flush()\n"
            "time.sleep(600)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", script, feed.decode(), WORKER, *arguments],
                                   env=self.environment, stdin=stdin, stdout=subprocess.PIPE, bufsize=0)
        self.started.append(process)
        return process

    @staticmethod
    def dispose(process):
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        if process.poll() is None:
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def read_available(stream, until=None):
    """What a pipe brings until its end, or until `until` is in it."""
    text = b""
    while until is None or until not in text:
        if not select.select([stream], [], [], PATIENCE)[0]:
            raise AssertionError(f"no end and no {until!r} after {text!r}")
        piece = os.read(stream.fileno(), 65536)
        if not piece:
            break
        text += piece
    return text


class Host:
    """The supervisor's side of a host: what it says, and what it is told."""

    def __init__(self, test, *arguments):
        self.process = test.start_worker(*arguments)
        self.unread = b""
        self.results = test.path("results")
        os.makedirs(self.results, exist_ok=True)

    def say(self, **message):
        self.say_line(json.dumps(message).encode())

    def say_line(self, line):
        os.set_blocking(self.process.stdin.fileno(), True)
        view = memoryview(line + b"\n")
        while view:
            view = view[os.write(self.process.stdin.fileno(), view):]

    def file(self, task_id="t1"):
        return os.path.join(self.results, task_id)

    def line(self, patience=PATIENCE):
        """The next line, whatever it is."""
        deadline = time.monotonic() + patience
        while b"\n" not in self.unread:
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError("the host is silent")
            piece = os.read(self.process.stdout.fileno(), 1 << 20)
            if not piece:
                raise EOFError("the host ended")
            self.unread += piece
        line, self.unread = self.unread.split(b"\n", 1)
        return line

    def answer(self, patience=PATIENCE):
        """The next message."""
        return json.loads(self.line(patience))

    def end(self):
        """Ends its input; returns its exit status."""
        self.process.stdin.close()
        return self.process.wait(PATIENCE)


class ExecHost(Host):
    def __init__(self, test, *arguments):
        super().__init__(test, *arguments, "--exec-host", "--")
        self.ready = self.answer()

    def start(self, argv, task_id="t1", **fields):
        message = {"type": "TASK", "taskId": task_id, "agent": "test", "argv": argv, "inlineLimitBytes": 65536,
                   "resultLimitBytes": 1 << 30, "resultFile": self.file(task_id), "graceMs": 5000}
        message.update(fields)
        self.say(**message)

    def run(self, argv, **fields):
        """How the task ended."""
        self.start(argv, **fields)
        answer = self.answer()
        while answer["type"] == "SWEPT":
            answer = self.answer()
        return answer
