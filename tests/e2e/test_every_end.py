#!/usr/bin/env python3
"""Whatever ends a run, and however: what is there afterwards is what was there before. Processes, groups, files, sockets and
shared memory.

Each round is a supervisor, or a `kurultai run`, with a command and an agent at work. Both have descendants in sessions of
their own that ignore signals; where there are users for them, a private home, and shared memory. KURULTAI_TEST_LONG=1: a
hundred rounds.
"""
import contextlib
import glob
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hostile")]

import harness
from harness import PATIENCE, Daemon, agent_command, group_dirs, wait_until
import stage
from test_containment import guardian_of

KURULTAI = os.path.join(harness.BIN, "kurultai")
IS_ROOT = os.geteuid() == 0
PYTHON = stage.SYSTEM_PYTHON if IS_ROOT else harness.PYTHON
REPEAT = 5 if os.environ.get("KURULTAI_TEST_LONG") else 1

# A descendant, and what outlives processes. @WORD@ is the round's.
LEAVE = """
import ctypes, os, signal, sys, time
def leave():
 ready, up = os.pipe()  # closed by exec
 if os.fork() == 0:
  os.setsid()
  if os.fork(): os._exit(0)
  for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)
  null = os.open('/dev/null', os.O_RDWR)
  for fd in (0, 1, 2): os.dup2(null, fd)
  os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)', '@WORD@'])
 os.wait()
 os.close(up)
 os.read(ready, 1)
 if os.getuid() >= 61184:
  open('/dev/shm/@WORD@-%d' % os.getpid(), 'w').write('left')
  ctypes.CDLL(None).shmget(0, ctypes.c_size_t(4096), 0o1600)
  open(os.environ['HOME'] + '/file', 'w').write('left')
"""
COMMAND = LEAVE + """
leave()
print('up', file=sys.stderr, flush=True)
if sys.argv[1] == 'fail': sys.exit(3)
if sys.argv[1] == 'leak':
 held = []
 while True: held.append(b'x' * 1048576)
if sys.argv[1] == 'large': sys.stdout.write('x' * 100000)
if sys.argv[1] == 'hang':
 signal.signal(15, signal.SIG_IGN)
 time.sleep(600)
"""
AGENT = LEAVE + """
say({'type':'READY','protocol':1})
while True:
 t = task()
 leave()
 say({'type':'PROGRESS','taskId':t['taskId'],'percent':50})
 while t['payload'] == 'hang':
  m = hear()
  if m is None: sys.exit(0)
  if m['type'] == 'PREEMPT': say({'type':'PREEMPTED','taskId':t['taskId'],'state':{'n':1}}); break
  if m['type'] == 'CANCEL': say({'type':'FAILED','taskId':t['taskId'],'error':'cancelled'}); break
 else: say({'type':'COMPLETE','taskId':t['taskId'],'result':1})
"""
# What a supervisor keeps in its state directory: everything else has to go.
KEPT = ("instance", "lock", "journal.db", "journal.db-wal", "journal.db-shm", "footprints.json", "logs", "spool", "payloads", "places")


def with_word(word):
    """Living processes that have the word in their command line or environment, this one excepted."""
    found = []
    for directory in glob.glob("/proc/[0-9]*"):
        text = b""
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError), open(f"{directory}/{name}", "rb") as file:
                text += file.read()
        if word.encode() in text and int(directory[6:]) != os.getpid():
            found.append(int(directory[6:]))
    return found


class Round:
    def __init__(self, name):
        self.name, self.word = name, "kt-end-" + secrets.token_hex(6)
        self.dir = os.path.join(tempfile.gettempdir(), self.word)
        self.tmp = os.path.join(self.dir, "tmp")
        os.makedirs(self.tmp)
        os.chmod(self.dir, 0o711)
        self.environment = {"TMPDIR": self.tmp}
        self.instances, self.children, self.tasks = set(), [], []
        self.daemon = None

    def config(self):
        own = {"user": "auto", "home": "private"} if IS_ROOT else {}
        command = [PYTHON, "-c", COMMAND.replace("@WORD@", self.word).replace("{", "{{").replace("}", "}}"), "{do}"]
        return {
            "memory": {"budget": "512MiB"},
            "workers": {"max": 3, "memory_limit": "100MiB", "memory_warning": "100MiB"},
            "circuit_breakers": {"failures": 1000},
            "agents": {
                "command": {"protocol": "exec", "command": command, "cwd": "/", "grace": "200ms", **own},
                "warm": {"command": [PYTHON, *agent_command(AGENT.replace("@WORD@", self.word))[1:]], "cwd": "/", "grace": "200ms", **own},
            },
        }

    def supervisor(self, *args):
        self.daemon = Daemon(self.config(), args=args, env=self.environment, directory=self.dir)
        self.daemon.wait_ready()
        self.instances.add(self.daemon.instance)
        return self.daemon

    def busy(self, *args, do="hang", agent="hang", **fields):
        """A supervisor with a command and an agent that are in the middle of things."""
        daemon = self.supervisor(*args)
        self.tasks = [daemon.start("command", {"do": do}, **fields), daemon.start("warm", agent, **fields)]
        wait_until(lambda: b"up" in daemon.get(f"/v1/tasks/{self.tasks[0]}/logs").body and daemon.task(self.tasks[1])["progress"],
                   f"{self.name}: both work", 30)
        return daemon

    def ends(self, *reasons):
        """Both tasks have ended like this; None: well."""
        for task, reason in zip(self.tasks, reasons):
            ended = self.daemon.wait_state(task, "completed", "failed", "cancelled")
            if ((ended["error"] or {}).get("reason")) != reason:
                raise AssertionError(f"{self.name}: {ended}")

    def end(self, *signals, status=0):
        for at, number in enumerate(signals or (signal.SIGTERM,)):
            if at > 0:  # two of a kind that come at once are one to the kernel
                wait_until(self.leaves, f"{self.name}: the signal before was heard", 20)
            self.daemon.process.send_signal(number)
        left = self.daemon.process.wait(30 * PATIENCE)
        if left != status:
            raise AssertionError(f"{self.name}: kurultaid left with {left}\n{self.daemon.log_text()}")

    def leaves(self):
        if self.daemon.process.poll() is not None:
            return True
        with contextlib.suppress(OSError, ValueError, harness.http.client.HTTPException):
            return self.daemon.get("/health").json["draining"]
        return self.daemon.process.poll() is not None

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)

    def start(self, *arguments):
        """The client, or `kurultai run`."""
        process = subprocess.Popen([KURULTAI, *arguments], env={**os.environ, **self.environment}, cwd=self.dir, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.children.append(process)
        return process

    def run(self, do="hang"):
        """`kurultai run` in the middle of things."""
        process = self.start("run", "--jobs", "2", "--memory", "100MiB", "--", PYTHON, "-c", COMMAND.replace("@WORD@", self.word), do, ":::", "a", "b")
        if do == "hang":
            wait_until(lambda: len(with_word(self.word)) >= 9, f"{self.name}: the commands work", 30)
        for file in glob.glob(os.path.join(self.tmp, "kurultai-run-*", "instance")):
            with open(file, encoding="ascii") as text:
                self.instances.add(text.read().strip())
        return process

    def left(self):
        """What was not there before; a dict without entries when all is well."""
        left = {
            "processes": with_word(self.word),
            "groups": [path for instance in self.instances for path in group_dirs(instance)],
            "files in memory": [path for instance in self.instances for path in stage.memory_objects(instance)],
            "files": [*os.listdir(self.tmp), *self.files()],
            "sockets": self.sockets(),
        }
        return {what: found for what, found in left.items() if found}

    def files(self):
        state = os.path.join(self.dir, "state")
        left = [path for instance in self.instances for path in glob.glob(f"/var/tmp/kurultai-{instance}/*")]
        left += [name for name in os.listdir(self.dir) if name not in ("tmp", "state", "memory.yaml", "log", "s")]
        if os.path.isdir(state):
            left += [name for name in os.listdir(state) if name not in KEPT]
            left += glob.glob(f"{state}/payloads/*") + glob.glob(f"{state}/places/*")
            left += [path for path in glob.glob(f"{state}/spool/*") + glob.glob(f"{state}/logs/*")
                     if not os.path.basename(path).startswith(tuple(self.tasks) or "-")]
        return left

    def sockets(self):
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
            return [line.split()[-1] for line in file if self.word in line]

    def close(self):
        try:
            wait_until(lambda: not self.left(), f"{self.name}: nothing is left", 5)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.left()}") from None
        finally:
            for process in self.children:
                process.kill()
                process.wait()
            if self.daemon is not None:
                self.daemon.log.close()
                if self.daemon.process.poll() is None:
                    self.daemon.kill()
            for instance in self.instances:
                with contextlib.suppress(OSError):
                    os.rmdir(f"/var/tmp/kurultai-{instance}")
            shutil.rmtree(self.dir, ignore_errors=True)


# ---- The ways. Each gets a Round, and what it leaves is looked at behind it.


def success(it):
    it.busy(do="large", agent="well")
    it.ends(None, None)
    it.end()


def failure(it):
    it.busy(do="fail", agent="well")
    it.ends("exit_code", None)
    it.end()


def cap_death(it):
    daemon = it.busy(do="leak", agent="well")
    ended = daemon.wait_state(it.tasks[0], "failed")
    if daemon.get("/health").json["guarantee"] != "rlimit" and ended["error"]["reason"] != "memory_cap":
        raise AssertionError(ended)
    it.end()


def cancellation(it):
    daemon = it.busy()
    for task in it.tasks:
        daemon.request("DELETE", f"/v1/tasks/{task}")
    it.ends("cancelled", "cancelled")
    it.end()


def timeout(it):
    daemon = it.supervisor()
    it.tasks = [daemon.start("command", {"do": "hang"}, timeout="400ms"), daemon.start("warm", "hang", timeout="400ms")]
    it.ends("timeout", "timeout")
    it.end()


def a_budget_that_is_lowered(it):
    """Tasks give way to it, and a worker that asks for nothing is ended."""
    daemon = it.busy()
    config = it.config()
    config["memory"]["budget"] = "100MiB"
    config["memory"].update(hysteresis=0.01, thresholds={"skip_heartbeats": 0.02, "preempt": 0.05, "reject": 0.07, "kill": 0.99})
    daemon.write_config(config)
    answer = daemon.request("POST", "/v1/reload")
    if answer.status != 200:
        raise AssertionError(answer.body)
    wait_until(lambda: any(daemon.task(task)["preemptions"] > 0 for task in it.tasks), f"{it.name}: a task gives way", 30)
    it.end(signal.SIGTERM, signal.SIGTERM)


def drain(it):
    daemon = it.busy()
    if daemon.request("POST", "/v1/drain?wait=10s&timeout=300ms").status != 200:
        raise AssertionError("the drain has not ended")
    it.end()


def sigterm(it):
    daemon = it.busy()
    daemon.process.send_signal(signal.SIGTERM)
    wait_until(lambda: daemon.get("/health").json["draining"], f"{it.name}: it drains", 10)
    for task in it.tasks:
        with contextlib.suppress(OSError):
            daemon.request("DELETE", f"/v1/tasks/{task}")
    it.end(0)


def second_sigterm(it):
    daemon = it.busy()
    daemon.process.send_signal(signal.SIGTERM)
    wait_until(lambda: daemon.get("/health").json["draining"], f"{it.name}: it drains", 10)
    it.end(signal.SIGINT)


def killed_supervisor(it):
    it.busy()
    it.daemon.kill()


def killed_supervisor_while_it_starts(it):
    it.daemon = Daemon(it.config(), env=it.environment, directory=it.dir)
    wait_until(lambda: os.path.exists(os.path.join(it.daemon.state, "instance")), f"{it.name}: it starts", 20)
    it.daemon.kill()
    with contextlib.suppress(ValueError):
        it.instances.add(f"{int(it.daemon.instance, 16):08x}")


def killed_worker(it):
    daemon = it.busy()
    for worker in daemon.get("/v1/workers").json["workers"]:
        it.kill(worker["pid"])
    it.ends("worker_lost", "signal")
    it.end()


def killed_guardian(it):
    it.busy()
    it.kill(guardian_of(it.daemon.pid))
    it.end(signal.SIGTERM, signal.SIGTERM)


def killed_guardian_and_supervisor(it):
    """What the two leave is cleared by the next supervisor."""
    it.busy()
    it.kill(guardian_of(it.daemon.pid))
    it.daemon.kill()
    it.daemon.log.close()
    it.supervisor()
    for task in it.tasks:
        it.daemon.request("DELETE", f"/v1/tasks/{task}")
    it.ends("cancelled", "cancelled")
    it.end()


def killed_client(it):
    it.busy()
    client = it.start("--socket", it.daemon.socket, "submit", "command", "--payload", '{"do": "hang"}', "--wait")
    wait_until(lambda: len(it.daemon.get("/v1/tasks").json["tasks"]) == 3, f"{it.name}: its task is there", 20)
    client.kill()
    it.tasks = [task["taskId"] for task in it.daemon.get("/v1/tasks").json["tasks"]]
    it.end(signal.SIGTERM, signal.SIGTERM)


def killed_client_with_an_upload(it):
    it.busy(do="fail", agent="well")
    with harness.socket.socket(harness.socket.AF_UNIX) as client:
        client.connect(it.daemon.socket)
        client.sendall(b"POST /v1/tasks?agent=warm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
                       b"Content-Length: 9999999\r\n\r\n" + b"x" * 300000)
        wait_until(lambda: os.listdir(os.path.join(it.daemon.state, "payloads")), f"{it.name}: the payload comes", 20)
    it.end()


def run_succeeds(it):
    if it.run("large").wait(60 * PATIENCE) != 0:
        raise AssertionError(it.name)


def run_fails(it):
    if it.run("fail").wait(60 * PATIENCE) != 2:
        raise AssertionError(it.name)


def run_interrupted(it):
    process = it.run()
    process.send_signal(signal.SIGTERM)
    process.wait(30 * PATIENCE)


def killed_run(it):
    process = it.run()
    process.kill()
    process.wait()


def killed_supervisor_of_a_run(it):
    process = it.run()
    path = glob.glob(os.path.join(it.tmp, "kurultai-run-*", "lock"))[0]
    with open(path, encoding="ascii") as file:
        it.kill(int(file.read()))
    process.wait(30 * PATIENCE)


WAYS = [success, failure, cap_death, cancellation, timeout, a_budget_that_is_lowered, drain, sigterm, second_sigterm, killed_supervisor,
        killed_supervisor_while_it_starts, killed_worker, killed_guardian, killed_guardian_and_supervisor, killed_client, killed_client_with_an_upload,
        run_succeeds, run_fails, run_interrupted, killed_run, killed_supervisor_of_a_run]


class EveryEnd(unittest.TestCase):
    maxDiff = None

    def play(self, way):
        for number in range(REPEAT):
            with self.subTest(way.__name__, number=number):
                it = Round(way.__name__)
                try:
                    way(it)
                except BaseException:
                    if it.daemon is not None:
                        sys.stderr.write(f"--- log of kurultaid in {it.name}\n{it.daemon.log_text()[-4000:]}\n")
                    with contextlib.suppress(AssertionError):
                        it.close()
                    raise
                it.close()


for _way in WAYS:
    setattr(EveryEnd, f"test_{_way.__name__}", lambda self, way=_way: self.play(way))


if __name__ == "__main__":
    unittest.main()
