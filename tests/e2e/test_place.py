#!/usr/bin/env python3
"""The working place of an agent: secrets that nobody sees, a home and a /tmp of its own that are gone afterwards, a sandbox."""

import ctypes
import functools
import glob
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import PYTHON, agent_command, client, wait_until
import level
from level import LevelE2E, at_each_level

SYSTEM_PYTHON = "/usr/bin/python3"  # for workers of another user: a home directory's Python is not theirs to read
FAKE_SERVER = os.path.join(harness.ROOT, "tests", "mcp", "fake_server.py")
PR_CAPBSET_DROP, CAP_SYS_ADMIN = 24, 21


@functools.cache
def may_mount():
    return subprocess.run(["unshare", "-m" if os.geteuid() == 0 else "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True, check=False).returncode == 0


@functools.cache
def has_bubblewrap():
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    return shutil.which("bwrap") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


@functools.cache
def may_make_user_namespaces():
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare", "-Urm", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def only_where(possible, why):
    """Skips the test, and says so, where the machine does not allow what it is about."""
    def decorate(test):
        @functools.wraps(test)
        def run(self):
            if not possible():
                sys.stderr.write(f"SKIPPED, {why.upper()}: {self.id()}\n")
                self.skipTest(why)
            test(self)
        return run
    return decorate


needs_mount = only_where(may_mount, "nothing can be mounted here")
needs_bubblewrap = only_where(has_bubblewrap, "bubblewrap does not work here")
needs_root = only_where(lambda: os.geteuid() == 0, "needs root")


def without_mounting(work):
    """What `work` gives in a thread whose children, though they are root's, cannot mount anything."""
    found = []

    def run():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) != 0:
            found.append(OSError(ctypes.get_errno(), "prctl"))
            return
        try:
            found.append(work())
        except BaseException as error:  # pylint: disable=broad-except
            found.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def config(agents, **workers):
    return {
        "memory": {"budget": "1GiB"},
        "workers": {"max": 4, "memory_limit": "128MiB", "memory_warning": "128MiB", **workers},
        "queue": {"max_depth": 50, "limits": {"normal": 50}},
        "circuit_breakers": {"failures": 1000},
        "agents": agents,
    }


def command(script, **fields):
    """An exec agent: a Python script, whose last word is its result as JSON in `result`."""
    source = "import json, os, sys\nresult = None\n" + script + "\nprint(json.dumps(result), end='')"
    return {"protocol": "exec", "command": [fields.pop("python", PYTHON), "-c", source.replace("{", "{{").replace("}", "}}")],
            "output": "json", "grace": "300ms", **fields}


def entries(directory):
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory)]
    except OSError:
        return []


def places(daemon):
    """What is in the directories of workers: homes and tmps, or of exec agents those of tasks; or is about to be removed."""
    found = []
    for base in (os.path.join(daemon.state, "places"), f"/var/tmp/kurultai-{daemon.instance}"):
        for start in entries(base):
            for worker in entries(start):
                moved = os.path.basename(worker).startswith(".")  # to the top, by who removes it
                found += [worker] if moved else entries(worker)
    return found


class PlaceE2E(LevelE2E):
    def setUp(self):
        super().setUp()
        self.scratch = tempfile.mkdtemp(prefix="kt-place-")
        os.chmod(self.scratch, 0o755)
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.scratch, name)

    def write(self, name, content, mode=0o600):
        with open(self.path(name), "wb") as file:
            file.write(content)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def completed(self, daemon, agent, payload=None):
        task = daemon.run(agent, payload)
        self.assertEqual(task["state"], "completed", task)
        return task["result"]

    def failed(self, daemon, agent, reason, payload=None):
        task = daemon.run(agent, payload)
        self.assertEqual((task["state"], task["error"]["reason"]), ("failed", reason), task)
        return task["error"]["message"]

    def wait_places_empty(self, daemon):
        wait_until(lambda: not places(daemon), f"homes are removed: {places(daemon)}", 30)


SAY_SECRETS = "import hashlib\nresult = [hashlib.sha256(os.environ[n].encode()).hexdigest() for n in ('PLAIN', 'SECRET')]"


@at_each_level
class Secrets(PlaceE2E):
    def setUp(self):
        super().setUp()
        self.plain, self.secret = "kt-plain-" + secrets.token_hex(8), "kt-secret-" + secrets.token_hex(8)

    def env(self):
        return {"PLAIN": self.plain, "SECRET": {"file": self.path("key")}}

    def hashes(self):
        import hashlib
        return [hashlib.sha256(text.encode()).hexdigest() for text in (self.plain, self.secret)]

    def test_they_reach_the_agent_and_nobody_else(self):
        self.write("key", self.secret.encode() + b"\n")
        life = self.path("life")
        warm = agent_command("say({'type':'READY','protocol':1,'name':'w'})\nwhile True:\n t=task()\n"
                             " import hashlib\n"
                             " say({'type':'COMPLETE','taskId':t['taskId'],'result':[hashlib.sha256(os.environ[n].encode()).hexdigest() for n in ('PLAIN','SECRET')]})")
        daemon = self.daemon(config({
            "once": command(SAY_SECRETS, env=self.env()),
            "warm": {"command": warm, "env": self.env()},
            "broken": {"command": ["false"], "env": self.env()},
        }), args=("--record", life))
        self.assertEqual(self.completed(daemon, "once"), self.hashes())
        self.assertEqual(self.completed(daemon, "warm"), self.hashes())
        self.failed(daemon, "broken", "spawn_failed")
        seen = daemon.get("/v1/config").body + daemon.get("/metrics").body
        for name in ("once", "warm", "broken"):
            seen += daemon.get(f"/v1/agents/{name}").body
            seen += client(daemon, "agents", name).stdout.encode()
        for words in (("config", "show"), ("agents",), ("workers",), ("ps", "--all"), ("status",)):
            seen += client(daemon, *words).stdout.encode()
        for task in daemon.get("/v1/tasks?limit=100").json["tasks"]:
            for what in ("", "/logs", "/why"):
                seen += daemon.get(f"/v1/tasks/{task['taskId']}{what}").body
        seen += json.dumps(daemon.events()).encode()
        self.assertIn(b"SECRET", seen)
        self.assertIn(self.path("key").encode(), seen)  # where it stands may be known
        daemon.terminate()
        for file in glob.glob(os.path.join(daemon.state, "**"), recursive=True) + [life, daemon.log_file]:
            if os.path.isfile(file):
                with open(file, "rb") as opened:
                    seen += opened.read()
        for kept in (self.plain, self.secret):
            self.assertNotIn(kept.encode(), seen)

    def test_a_new_worker_reads_them_anew(self):
        self.write("key", b"one")
        daemon = self.daemon(config({"warm": {"max_tasks": 1, "env": {"SECRET": {"file": self.path("key")}}, "command": agent_command(
            "say({'type':'READY','protocol':1,'name':'w'})\nwhile True:\n t=task()\n say({'type':'COMPLETE','taskId':t['taskId'],'result':os.environ['SECRET']})")}}))
        self.assertEqual(self.completed(daemon, "warm"), "one")
        self.write("key", b"two\n\n")
        self.assertEqual(self.completed(daemon, "warm"), "two\n")

    def test_what_cannot_be_read_fails_the_task_and_is_not_shown(self):
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        files = {
            "missing": (self.path("missing"), "No such file or directory"),
            "folder": (self.scratch, "no regular file"),
            "fifo": (fifo, "no regular file"),
            "nul": (self.write("nul", b"kt-hidden\0x"), "holds a NUL byte"),
            "large": (self.write("large", b"kt-hidden" + b"x" * 65536), "is larger than 64KiB"),
        }
        agents = {name: command("pass", env={"THE_KEY": {"file": file}}) for name, (file, _) in files.items()}
        daemon = self.daemon(config(agents))
        for name, (file, why) in files.items():
            with self.subTest(name):
                message = self.failed(daemon, name, "spawn_failed")
                self.assertIn("THE_KEY", message)
                self.assertIn(file, message)
                self.assertIn(why, message)
        self.assertNotIn("kt-hidden", daemon.log_text())


# Whatever an agent can leave in a directory: OUTSIDE must live on.
HOSTILE = r"""
import socket, stat
def spoil(top, outside):
    os.makedirs(top + '/locked/inner')
    open(top + '/locked/inner/file', 'w').close()
    os.symlink(outside, top + '/link')
    os.symlink(outside, top + '/locked/link')
    os.symlink('/no/such', top + '/dangling')
    os.mkfifo(top + '/fifo')
    sock = socket.socket(socket.AF_UNIX)
    os.chdir(top)
    sock.bind('socket')
    open(top + '/odd\n name \xff', 'w').close()
    for i in range(500): open(top + '/f%d' % i, 'w').close()
    os.mkdir('deep'); os.chdir('deep')
    for i in range(1200):
        os.mkdir('d' * 20); os.chdir('d' * 20)
    os.chdir(top)
    os.chmod(top + '/locked/inner', 0)
    os.chmod(top + '/locked', 0o500)
    os.chmod(top, 0o500)
"""


@at_each_level
class Home(PlaceE2E):
    def outside(self):
        os.mkdir(self.path("outside"))
        return self.write("outside/precious", b"kept")

    def assert_kept(self, precious):
        with open(precious, "rb") as file:
            self.assertEqual(file.read(), b"kept")

    def test_of_a_command_is_empty_private_and_gone_with_the_task(self):
        precious = self.outside()
        look = ("home = os.environ['HOME']\nmode = os.stat(home)\n"
                "result = [home, os.listdir(home), mode.st_mode & 0o7777, mode.st_uid == os.getuid(), "
                "os.environ['XDG_CONFIG_HOME'] == home + '/.config', os.environ['XDG_CACHE_HOME'] == home + '/.cache', 'XDG_RUNTIME_DIR' in os.environ]\n")
        daemon = self.daemon(config({"a": command(look + HOSTILE + f"spoil(home, {self.path('outside')!r})", home="private", env_pass=["*"])}),
                             env={"XDG_CONFIG_HOME": "/x", "XDG_RUNTIME_DIR": "/y"})
        homes = set()
        for _ in range(3):
            home, *facts = self.completed(daemon, "a")
            self.assertEqual(facts, [[], 0o700, True, True, True, False])
            homes.add(home)
            wait_until(lambda gone=home: not os.path.lexists(gone), "the home is removed", 30)
        self.assertEqual(len(homes), 3)
        self.wait_places_empty(daemon)
        self.assert_kept(precious)

    def test_of_a_warm_worker_stays_until_its_end(self):
        precious = self.outside()
        script = ("say({'type':'READY','protocol':1,'name':'w'})\nhome = os.environ['HOME']\nn = 0\nwhile True:\n t=task()\n n += 1\n"
                  " found = os.listdir(home)\n open(home + '/%d' % n, 'w').close()\n"
                  f" if n == 2: spoil(home, {self.path('outside')!r})\n"
                  " say({'type':'COMPLETE','taskId':t['taskId'],'result':[home, found]})")
        daemon = self.daemon(config({"a": {"command": agent_command(HOSTILE + script), "home": "private", "max_tasks": 2}}))
        home, found = self.completed(daemon, "a")
        self.assertEqual(found, [])
        self.assertEqual(self.completed(daemon, "a"), [home, ["1"]])
        self.wait_places_empty(daemon)
        self.assert_kept(precious)
        self.assertNotEqual(self.completed(daemon, "a")[0], home)

    @needs_root
    def test_of_another_user_is_his(self):
        daemon = self.daemon(config({"a": command(
            "home = os.environ['HOME']\nopen(home + '/x', 'w').write('x')\nresult = [os.stat(home).st_uid == os.getuid() != 0, os.stat(home).st_mode & 0o7777]",
            python=SYSTEM_PYTHON, home="private", user="auto")}))
        self.assertEqual(self.completed(daemon, "a"), [True, 0o700])
        self.wait_places_empty(daemon)

    def test_what_a_killed_supervisor_leaves_is_removed(self):
        precious = self.outside()
        script = HOSTILE + f"spoil(os.environ['HOME'], {self.path('outside')!r})\nopen({self.path('up')!r}, 'w').close()\nimport time\ntime.sleep(600)"
        directory = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        agents = {"a": command(script, home="private", idempotent=False)}
        daemon = self.daemon(config(agents), directory=directory)
        daemon.start("a")
        wait_until(lambda: os.path.exists(self.path("up")), "the home is full", 30)
        self.assertTrue(places(daemon))
        daemon.kill()
        daemon = self.daemon(config(agents), directory=directory)
        self.wait_places_empty(daemon)
        self.assert_kept(precious)

    def test_a_path_is_what_home_is(self):
        daemon = self.daemon(config({"a": command("result = os.environ['HOME']", home=self.scratch)}))
        self.assertEqual(self.completed(daemon, "a"), self.scratch)


FILL = """
import errno, tempfile
def fill(most):
    with open(os.environ['TMPDIR'] + '/large', 'wb', buffering=0) as file:
        for i in range(most):
            try: file.write(b'x' * 1048576)
            except OSError as error: return [i, errno.errorcode[error.errno]]
    return [most, None]
"""


@at_each_level
class Tmp(PlaceE2E):
    @needs_mount
    def test_is_private_limited_and_gone(self):
        mark = "kt-" + secrets.token_hex(6)
        script = FILL + f"before = os.listdir('/tmp')\nopen('/tmp/{mark}', 'w').close()\nresult = [before, os.environ['TMPDIR'], fill(64)]"
        daemon = self.daemon(config({"a": command(script, tmp={"size": "8MiB"}),
                                     "other": command("result = os.listdir('/tmp')")}))
        for _ in range(2):
            before, tmp, (written, error) = self.completed(daemon, "a")
            self.assertEqual((before, tmp, error), ([], "/tmp", "ENOSPC"))
            self.assertLessEqual(written, 8)
            self.assertFalse(os.path.exists(f"/tmp/{mark}"))
            self.assertNotIn(mark, self.completed(daemon, "other"))

    @needs_mount
    def test_keeps_the_working_directory_and_the_home_below_it(self):
        script = "open('here', 'w').close()\nopen(os.environ['HOME'] + '/x', 'w').close()\nresult = [os.getcwd(), sorted(os.listdir('/tmp'))]"
        daemon = self.daemon(config({"a": command(script, tmp="private", home="private", cwd=self.scratch)}))
        cwd, _ = self.completed(daemon, "a")
        self.assertEqual(cwd, self.scratch)
        self.assertTrue(os.path.exists(self.path("here")))
        self.wait_places_empty(daemon)

    @needs_mount
    def test_of_a_warm_worker_with_a_payload_in_a_file(self):
        script = ("say({'type':'READY','protocol':1,'name':'w'})\nwhile True:\n t=task()\n"
                  " say({'type':'COMPLETE','taskId':t['taskId'],'result':[len(open(t['payloadFile']).read()), os.listdir('/tmp')[:1]]})")
        daemon = self.daemon(config({"a": {"command": agent_command(script), "tmp": "private"}}))
        answer = daemon.request("POST", "/v1/tasks?agent=a&wait=30s", b"x" * 100_000, headers={"Content-Type": "text/plain"})
        self.assertEqual(answer.json["result"][0], 100_000, answer.body)

    @needs_root
    @needs_mount
    def test_of_another_user(self):
        daemon = self.daemon(config({"a": command(FILL + "result = [os.getuid() != 0, fill(64)[1]]", python=SYSTEM_PYTHON, user="auto",
                                                  tmp={"size": "2MiB"})}))
        self.assertEqual(self.completed(daemon, "a"), [True, "ENOSPC"])

    @needs_root
    def test_without_a_mount_is_a_directory_that_is_looked_at(self):
        script = FILL + "result = [os.environ['TMPDIR'], fill(3)]"
        daemon = without_mounting(lambda: self.daemon(config({
            "good": command(script, tmp={"size": "8MiB"}),
            "greedy": command(FILL + "fill(40)\nimport time\ntime.sleep(600)", tmp={"size": "8MiB"}),
        })))
        self.assertIn("looked at once a second", daemon.log_text())
        tmp, filled = self.completed(daemon, "good")
        self.assertEqual(filled, [3, None])
        self.assertIn("/places/", tmp)
        message = self.failed(daemon, "greedy", "protocol_error")
        self.assertIn("of 8MiB (tmp.size", message)
        self.wait_places_empty(daemon)


CONNECT = """
import socket
def connect(port):
    try:
        socket.create_connection(('127.0.0.1', port), 5).close()
        return 'connected'
    except OSError as error:
        return type(error).__name__
"""


@at_each_level
class Sandbox(PlaceE2E):
    def setUp(self):
        super().setUp()
        if self.level == "rlimit" and harness.is_instrumented("kurultai-worker"):
            self.skipTest("kurultai-worker runs inside, below RLIMIT_DATA, which leaves a sanitizer's shadow memory no room")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        os.mkdir(self.path("work"))

    def boxed(self, script, **fields):
        return command(script, **{"cwd": self.path("work"), "sandbox": "bubblewrap", **fields})

    @needs_bubblewrap
    def test_writes_to_its_own_places_only(self):
        script = """
import errno
def attempt(path):
    try: open(path, 'w').close()
    except OSError as error: return errno.errorcode[error.errno]
    return 'written'
result = {p: attempt(p) for p in ('here', '/tmp/kt-x', os.environ['HOME'] + '/x', '/etc/kt-x', '/usr/kt-x', '/var/tmp/kt-x', '/kt-x', PARENT + '/x')}
"""
        daemon = self.daemon(config({"a": self.boxed(script.replace("PARENT", repr(harness.ROOT)), home="private"),
                                     "root": self.boxed("import subprocess\nresult = [subprocess.run(c, capture_output=True).returncode != 0 for c in "
                                                        "(['mount', '-o', 'remount,rw', '/'], ['umount', '/tmp'])]")}))
        found = self.completed(daemon, "a")
        writable = {path for path, what in found.items() if what == "written"}
        self.assertEqual(len(writable), 3, found)
        self.assertTrue({"here", "/tmp/kt-x"} < writable, found)
        self.assertTrue(os.path.exists(self.path("work/here")))
        self.assertFalse(os.path.exists("/tmp/kt-x"))
        self.assertEqual(self.completed(daemon, "root"), [True, True])
        self.wait_places_empty(daemon)

    @needs_bubblewrap
    def test_sees_no_other_processes_and_nothing_of_the_supervisor(self):
        script = f"""
result = [len([p for p in os.listdir('/proc') if p.isdigit()]),
          [os.listdir(d) if os.path.isdir(d) else [] for d in sys.argv[1:2]], os.path.exists({self.path("state")!r})]
import socket
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[2])
    result.append('connected')
except OSError as error: result.append('refused')
"""
        directory = tempfile.mkdtemp(prefix="kt-", dir="/var/tmp")  # where a private /tmp does not hide it
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        agent = self.boxed(script)
        agent["command"] += [os.path.join(directory, "state"), os.path.join(directory, "s")]
        daemon = self.daemon(config({"a": agent}), directory=directory)
        processes, state, _, reached = self.completed(daemon, "a")
        self.assertLessEqual(processes, 3)
        self.assertEqual(state, [[]])
        self.assertEqual(reached, "refused")

    @needs_bubblewrap
    def test_has_a_network_only_where_it_is_allowed(self):
        script = CONNECT + f"result = connect({self.port})"
        daemon = self.daemon(config({"without": self.boxed(script), "with": self.boxed(script, sandbox={"network": True})}))
        self.assertIn(self.completed(daemon, "without"), ("ConnectionRefusedError", "OSError"))
        self.assertEqual(self.completed(daemon, "with"), "connected")

    @needs_bubblewrap
    def test_caps_hold_and_its_tree_ends_with_the_task(self):
        word = "kt-" + secrets.token_hex(6)
        daemon = self.daemon(config({
            "hog": self.boxed("block = bytearray(400 << 20)\nfor i in range(0, len(block), 4096): block[i] = 1", memory_limit="64MiB", memory_warning="64MiB"),
            "leaver": self.boxed(f"import subprocess\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{word}'], start_new_session=True,"
                                 "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\nresult = 'left'"),
            "sleeper": self.boxed(f"import time\nopen('up', 'w').close()\ntime.sleep(600)  # {word}", timeout="2s"),
        }))
        task = daemon.run("hog")
        self.assertEqual(task["state"], "failed", task)
        if self.caps_hold:
            self.assertEqual(task["error"]["reason"], "memory_cap", task)
        self.assertEqual(self.completed(daemon, "leaver"), "left")
        wait_until(lambda: not level.with_word(word), "nothing of it is left", 10)
        self.failed(daemon, "sleeper", "timeout")
        wait_until(lambda: not level.with_word(word), "nothing of it is left", 10)

    @needs_bubblewrap
    def test_is_asked_to_end_before_it_is_killed(self):
        script = ("import signal, time\ndef leave(*_):\n open('asked', 'w').close()\n sys.exit(0)\n"
                  "signal.signal(signal.SIGTERM, leave)\nopen('up', 'w').close()\nwhile True: time.sleep(0.05)  # a signal just before a long one would be noticed after it")
        daemon = self.daemon(config({"a": self.boxed(script, grace="20s")}))
        task = daemon.start("a")
        wait_until(lambda: os.path.exists(self.path("work/up")), "it is up", 30)
        self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{task}").status, 202)
        daemon.wait_state(task, "cancelled")
        self.assertTrue(os.path.exists(self.path("work/asked")))

    @needs_bubblewrap
    def test_warm_workers_and_servers_work_in_it(self):
        script = ("say({'type':'READY','protocol':1,'name':'w'})\nwhile True:\n t=task()\n"
                  " size = len(open(t['payloadFile']).read()) if 'payloadFile' in t else 0\n"
                  " say({'type':'COMPLETE','taskId':t['taskId'],'result':[os.getcwd(), size, os.environ['SECRET']]})")
        server = shutil.copy(FAKE_SERVER, self.path("work"))  # the tree may lie in /tmp, which is another one inside
        daemon = self.daemon(config({
            "warm": {"command": agent_command(script), "sandbox": "bubblewrap", "cwd": self.path("work"),
                     "env": {"SECRET": {"file": self.write("key", b"s")}}},
            "server": {"protocol": "mcp", "command": [PYTHON, "-S", server], "sandbox": "bubblewrap", "cwd": self.path("work")},
        }))
        self.assertEqual(self.completed(daemon, "warm"), [self.path("work"), 0, "s"])
        answer = daemon.request("POST", "/v1/tasks?agent=warm&wait=30s", b"x" * 1000, headers={"Content-Type": "text/plain"})
        self.assertEqual(answer.json["result"], [self.path("work"), 1000, "s"])
        self.assertIn("hi", json.dumps(self.completed(daemon, "server", {"tool": "echo", "arguments": {"message": "hi", "text": "hi"}})))

    @needs_root
    @needs_bubblewrap
    @only_where(may_make_user_namespaces, "no user namespaces for other users here")
    def test_of_another_user(self):
        os.chmod(self.path("work"), 0o777)
        script = "open('here', 'w').close()\nopen(os.environ['HOME'] + '/x', 'w').close()\nresult = os.getuid() != 0"
        daemon = self.daemon(config({"a": self.boxed(script, python=SYSTEM_PYTHON, user="auto", home="private")}))
        self.assertEqual(self.completed(daemon, "a"), True)
        self.wait_places_empty(daemon)

    @needs_root
    @needs_bubblewrap
    @only_where(may_make_user_namespaces, "no user namespaces for other users here")
    def test_a_warm_worker_of_another_user_gets_its_payload(self):
        script = ("say({'type':'READY','protocol':1,'name':'w'})\nwhile True:\n t=task()\n"
                  " say({'type':'COMPLETE','taskId':t['taskId'],'result':[os.getuid() != 0, len(open(t['payloadFile']).read())]})")
        agent = agent_command(script)
        daemon = self.daemon(config({"a": {"command": [SYSTEM_PYTHON, *agent[1:]], "sandbox": "bubblewrap", "user": "auto"}}))
        answer = daemon.request("POST", "/v1/tasks?agent=a&wait=30s", b"x" * 1000, headers={"Content-Type": "text/plain"})
        self.assertEqual(answer.json["result"], [True, 1000], answer.body)

    @needs_bubblewrap
    def test_nothing_of_it_outlives_a_supervisor_that_is_killed(self):
        word = "kt-" + secrets.token_hex(6)
        script = f"import subprocess, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{word}'], start_new_session=True)\nopen('up', 'w').close()\ntime.sleep(600)"
        daemon = self.daemon(config({"a": self.boxed(script)}))
        daemon.start("a")
        wait_until(lambda: os.path.exists(self.path("work/up")) and level.with_word(word), "it is up", 30)
        daemon.kill()
        wait_until(lambda: not level.with_word(word), "nothing of it is left", 10)

    @needs_root
    def test_where_it_cannot_be_had_the_task_fails_and_says_so(self):
        agents = {"missing": self.boxed("pass", env={"PATH": "/no/such"}), "warm": {"command": ["true"], "sandbox": "bubblewrap", "env": {"PATH": "/no/such"}}}
        daemon = self.daemon(config(agents))
        for name in agents:
            self.assertIn("sandbox: exec bwrap: No such file", self.failed(daemon, name, "spawn_failed"))
        if not shutil.which("bwrap"):
            return
        daemon = without_mounting(lambda: self.daemon(config({"refused": self.boxed("pass")})))
        message = self.failed(daemon, "refused", "spawn_failed")
        self.assertTrue(message.startswith("sandbox: bwrap:"), message)


if __name__ == "__main__":
    unittest.main()
