#!/usr/bin/env python3
"""Whatever a task starts is gone when it ends, and what a worker may do to others is next to nothing."""

RUNS_IN_VM = True

import os
import secrets
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import MIB, PATIENCE, PYTHON, agent_command, group_dirs, wait_until
import level
from level import LevelE2E, at_each_level, with_cgroups

SYSTEM_PYTHON = "/usr/bin/python3"  # for workers of another user: a home directory's Python is not theirs to read

# Ways to leave something behind. Each knows its own word on the command line, by which the test finds what is left;
# `sleeper(...)` starts a process that lives on.
PRELUDE = r"""
import os, signal, subprocess, sys, time
word = sys.argv[1]
SLEEP = [sys.executable, '-c', 'import time; time.sleep(600)', word]
DEAF = [sys.executable, '-c', 'import signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\ntime.sleep(600)', word]
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def daemonise(command):
    started, starting = os.pipe()   # closed by exec
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open('/dev/null', os.O_RDWR)
            for fd in (0, 1, 2): os.dup2(null, fd)
            os.execv(command[0], command)
        os._exit(0)
    os.wait()
    os.close(starting)
    os.read(started, 1)
    os.close(started)
def settle(count):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = 0
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                if word in open('/proc/%s/cmdline' % pid).read().split('\0') and int(pid) != os.getpid(): found += 1
            except OSError: pass
        if found >= count: return
        time.sleep(0.02)
    sys.exit('only %d of %d are there' % (found, count))
"""
LEAVERS = {
    "a session of its own": "subprocess.Popen(SLEEP, start_new_session=True, **quiet)\nsettle(1)",
    "a daemon by a double fork": "daemonise(SLEEP)\nsettle(1)",
    "a daemon that ignores signals": "daemonise(DEAF)\nsettle(1)",
    "children that ignore signals": "[subprocess.Popen(DEAF, **quiet) for _ in range(3)]\nsettle(3)",
    "a child that holds stdout and stderr": "subprocess.Popen(SLEEP, start_new_session=True)\nsettle(1)",
    "a stopped child": "child = subprocess.Popen(DEAF, start_new_session=True, **quiet)\nsettle(1)\nos.kill(child.pid, signal.SIGSTOP)",
    "grandchildren of dead parents": "[daemonise(SLEEP) for _ in range(5)]\nsettle(5)",
}
ENDS = {
    "success": ("print('done', flush=True)", "completed"),
    "failure": ("sys.exit(3)", "failed"),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "failed"),
    "cancellation": ("print('up', flush=True)\ntime.sleep(600)", "cancelled"),
    "its timeout": ("time.sleep(600)", "failed"),
}


def config(agents, **workers):
    return {
        "memory": {"budget": "1GiB"},
        "workers": {"max": 4, "memory_limit": "256MiB", "memory_warning": "256MiB", **workers},
        "queue": {"max_depth": 50, "limits": {"normal": 50}},
        "circuit_breakers": {"failures": 1000},
        "agents": agents,
    }


def command(script, *arguments, **fields):
    return {"protocol": "exec", "command": [PYTHON, "-c", PRELUDE.replace("{", "{{").replace("}", "}}") + script.replace("{", "{{").replace("}", "}}"), *arguments],
            "grace": "300ms", **fields}


def word():
    return "kt-" + secrets.token_hex(6)


@at_each_level
class LeftBehind(LevelE2E):
    def ends(self, how):
        """Every way to leave something, for one way to end: nothing of it lives once the task's end is told."""
        last, state = ENDS[how]
        words = {name: word() for name in LEAVERS}
        agents = {f"leaver{i}": command(f"{LEAVERS[name]}\n{last}", words[name], timeout="8s" if how == "its timeout" else "1m")
                  for i, name in enumerate(LEAVERS)}
        daemon = self.daemon(config(agents, max=8))
        tasks = {name: daemon.start(f"leaver{i}") for i, name in enumerate(LEAVERS)}
        if how == "cancellation":
            for name, task in tasks.items():
                self.wait_up(daemon, task, words[name])
                self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{task}").status, 202)
        for name, task in tasks.items():
            with self.subTest(left=name, ended=how):
                ended = daemon.wait_state(task, "completed", "failed", "cancelled", timeout=40)
                left = level.with_word(words[name])
                self.assertEqual(ended["state"], state, ended)
                if how == "its timeout":
                    self.assertEqual(ended["error"]["reason"], "timeout", ended)
                self.assertEqual(left, [], "alive after the end was told")
                if how == "success":
                    self.assertEqual(ended["result"], "done\n")
        for found in words.values():
            self.assertEqual(level.with_word(found), [])
        self.assertTrue(self.is_well(daemon))

    def wait_up(self, daemon, task, found):
        """The command has come to its last line, with all that it leaves behind already there."""
        daemon.wait_state(task, "running")
        wait_until(lambda: len(level.with_word(found)) >= 2, "what is left behind is there", 20)
        time.sleep(0.3)

    def test_after_success(self):
        self.ends("success")

    def test_after_failure(self):
        self.ends("failure")

    def test_after_a_crash(self):
        self.ends("a crash")

    def test_after_cancellation(self):
        self.ends("cancellation")

    def test_after_a_timeout(self):
        self.ends("its timeout")

    def test_fifty_sleeping_grandchildren(self):
        mark = word()
        # Shells that read from a pipe whose other end they hold themselves: they take little memory.
        script = """
reading, writing = os.pipe()
os.set_inheritable(writing, True)
for _ in range(5):
    if os.fork() == 0:
        for _ in range(10):
            subprocess.Popen(['sh', '-c', 'read line; exit', word], start_new_session=True, close_fds=False, **{**quiet, 'stdin': reading})
        os._exit(0)
for _ in range(5): os.wait()   # they bear the word too, as long as they live
settle(50)
print('done')
"""
        daemon = self.daemon(config({"many": command(script, mark)}))
        task = daemon.run("many")
        self.assertEqual((task["state"], task["result"]), ("completed", "done\n"), task)
        self.assertEqual(level.with_word(mark), [])
        swept = daemon.wait_event("orphanSwept", taskId=task["taskId"])
        self.assertEqual(swept["count"], 50)
        self.assertEqual(daemon.metric("kurultai_orphans_swept_total"), 50)

    def test_a_warm_agents_children_are_gone_when_it_ends(self):
        mark = word()
        script = PRELUDE.replace("word = sys.argv[1]", f"word = {mark!r}") + """
say({'type':'READY','protocol':1,'name':'warm'})
while True:
 t=task()
 subprocess.Popen(SLEEP, start_new_session=True, **quiet)
 daemonise(DEAF)
 settle(2)
 say({'type':'COMPLETE','taskId':t['taskId'],'result':os.getpid()})
 if t['payload'] == 'exit': sys.exit(0)
"""
        # It leaves when it is asked to: a grace that ran out would take its children with it, and leave no orphan to sweep.
        leaver = {"protocol": "jsonl", "command": agent_command(script), "grace": "20s"}
        agent = {**leaver, "max_tasks": 1}
        daemon = self.daemon(config({"recycled": agent, "leaver": leaver}))
        pid = daemon.run("recycled")["result"]
        wait_until(lambda: not level.is_alive(pid), "the worker is recycled after its task", 5)
        # The agent's own command line has the word too; all of it goes.
        wait_until(lambda: not level.with_word(mark), "its children are gone", 5)
        ended = daemon.wait_event("workerExited", agent="recycled")
        if self.caps_hold:  # else the holder of the tree clears it by itself, and has nobody to tell
            daemon.wait_event("orphanSwept", workerId=ended["workerId"])
        self.assertEqual(daemon.run("leaver", "exit")["state"], "completed")
        wait_until(lambda: not level.with_word(mark), "an agent that left by itself leaves nothing either", 5)

    def test_a_warm_agent_killed_in_its_task_leaves_nothing(self):
        mark = word()
        script = PRELUDE.replace("word = sys.argv[1]", f"word = {mark!r}") + """
say({'type':'READY','protocol':1,'name':'warm'})
t=task()
subprocess.Popen(SLEEP, start_new_session=True, **quiet)
daemonise(DEAF)
settle(2)
say({'type':'PROGRESS','taskId':t['taskId'],'percent':50})
signal.signal(15, signal.SIG_IGN)
time.sleep(600)
"""
        agent = {"protocol": "jsonl", "command": agent_command(script), "grace": "200ms"}
        daemon = self.daemon(config({"warm": agent}))
        cancelled = daemon.start("warm")
        wait_until(lambda: daemon.task(cancelled)["progress"] == 50, "its children are there", 20)
        daemon.request("DELETE", f"/v1/tasks/{cancelled}")
        daemon.wait_state(cancelled, "cancelled")
        self.assertEqual(level.with_word(mark), [])
        late = daemon.run("warm", timeout="2s" if PATIENCE == 1 else "30s", wait="120s")
        self.assertEqual(late["error"]["reason"], "timeout")
        self.assertEqual(level.with_word(mark), [])

    def test_chains_of_processes_that_fork_and_end_are_caught(self):
        """Each lives for a moment only: a list of processes is out of date before it is read."""
        mark = word()
        script = """
print('up', flush=True)
end = time.monotonic() + 60   # bounded, should nobody catch it
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        while time.monotonic() < end:
            if os.fork() != 0: os._exit(0)
            time.sleep(0.0005)
        os._exit(0)
time.sleep(600)
"""
        daemon = self.daemon(config({"chain": command(script, mark)}))
        task = daemon.start("chain")
        wait_until(lambda: len(level.with_word(mark)) >= 3, "the chains run", 20)
        daemon.request("DELETE", f"/v1/tasks/{task}")
        daemon.wait_state(task, "cancelled", timeout=20)
        wait_until(lambda: not level.with_word(mark), "the chains are cut", 5)
        self.assertTrue(self.is_well(daemon))

    def test_a_bounded_fork_bomb_is_cleared(self):
        mark = word()
        script = """
depth = 0
while depth < 6:          # 64 processes at most, should nothing hold it
    try: pid = os.fork()
    except OSError: break
    depth += 1
time.sleep(600)
"""
        daemon = self.daemon(config({"bomb": command(script, mark, max_processes=24), "after": command("print('well')", word())}))
        task = daemon.start("bomb")
        wait_until(lambda: len(level.with_word(mark)) >= 20, "the bomb went off", 20)
        time.sleep(0.3)
        count = len(level.with_word(mark))
        if self.caps_hold and not self.pids_missing(daemon):
            self.assertLessEqual(count, 24)
        self.assertEqual(daemon.run("after")["result"], "well\n")
        daemon.request("DELETE", f"/v1/tasks/{task}")
        daemon.wait_state(task, "cancelled")
        self.assertEqual(level.with_word(mark), [])

    def pids_missing(self, daemon):
        return "numbers of processes are not limited" in daemon.get("/health").json["explanation"]


@at_each_level
class Confinement(LevelE2E):
    def status_of(self, pid):
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

    def test_a_worker_can_gain_no_privileges_and_dumps_no_core_and_dies_before_others(self):
        script = """
import resource
status = open('/proc/self/status').read()
print([line.split()[1] for line in status.splitlines() if line.startswith('NoNewPrivs')][0])
print(open('/proc/self/oom_score_adj').read().strip())
print(resource.getrlimit(resource.RLIMIT_CORE))
print(oct(os.umask(0)))
print(sorted(map(int, os.listdir('/proc/self/fd')))[:5])
print(os.getpgrp() == os.getpid() and os.getsid(0) in (os.getpid(), os.getppid()))
"""
        warm = agent_command("say({'type':'READY','protocol':1,'name':'x'})\nt=task()\nsay({'type':'COMPLETE','taskId':t['taskId'],'result':os.getpid()})\ntask()")
        daemon = self.daemon(config({"show": command(script, word()), "warm": {"protocol": "jsonl", "command": warm}}))
        lines = daemon.run("show")["result"].splitlines()
        self.assertEqual(lines[:4], ["1", "500", "(0, 0)", "0o77"])
        self.assertEqual(lines[4], "[0, 1, 2, 3]", "3 is the directory that is listed")
        self.assertEqual(lines[5], "True")
        pid = daemon.run("warm")["result"]
        self.assertEqual(self.status_of(pid)["NoNewPrivs"], "1")
        with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
            self.assertEqual(file.read().strip(), "500")
        self.assertEqual(sorted(map(int, os.listdir(f"/proc/{pid}/fd"))), [0, 1, 2])

    def test_less_important_tasks_are_nearer_to_the_kernels_choice(self):
        script = ("say({'type':'READY','protocol':1,'name':'x'})\n"
                  "while True:\n t=task(); say({'type':'COMPLETE','taskId':t['taskId'],'result':open('/proc/self/oom_score_adj').read()})\n")
        warm = {"protocol": "jsonl", "command": agent_command(script)}
        daemon = self.daemon(config({"warm": warm, "once": command("print(open('/proc/self/oom_score_adj').read())", word())}))
        wanted = {"low": 700, "critical": 100, "high": 300, "heartbeat": 900, "normal": 500}
        # One that is warm changes its place with each task. Without CAP_SYS_RESOURCE none may be nearer to life than we are.
        for agent in ("warm", "once"):
            self.assertEqual({priority: int(daemon.run(agent, priority=priority)["result"]) for priority in wanted}, wanted)
        self.assertEqual(len(daemon.get("/v1/workers").json["workers"]), 2)
        with open(f"/proc/{daemon.pid}/oom_score_adj", encoding="ascii") as file:
            self.assertLessEqual(int(file.read()), 0)

    def test_only_allowed_variables_reach_an_agent(self):
        show = command("print(sorted(os.environ))", word(), env={"OWN": "1"}, env_pass=["KT_PASSED"])
        everything = command("print(sorted(os.environ))", word(), env_pass=["*"])
        daemon = self.daemon(config({"show": show, "everything": everything}), env={"KT_SECRET": "s", "KT_PASSED": "p"})
        names = daemon.run("show")["result"]
        self.assertNotIn("KT_SECRET", names)
        self.assertNotIn(level.PARENT_VARIABLE, names)
        for name in ("PATH", "OWN", "KT_PASSED", "WORKER_ID", "NODE_OPTIONS", "KURULTAI_INSTANCE"):
            self.assertIn(f"'{name}'", names)
        self.assertIn("'KT_SECRET'", daemon.run("everything")["result"])

    def test_workers_of_another_user_are_that_user(self):
        if os.geteuid() != 0:
            self.skipTest("NOT TESTED: only root can give a worker another user")
        show = {"protocol": "exec", "command": ["sh", "-c", "id -u; id -g; id -G; echo $HOME; sleep 0.3"], "user": "auto", "cwd": "/"}
        nobody = {**show, "user": "nobody"}
        daemon = self.daemon(config({"show": show, "other": {**show}, "nobody": nobody}))
        first, second = daemon.start("show"), daemon.start("other")
        one = daemon.wait_state(first, "completed", "failed")
        two = daemon.wait_state(second, "completed", "failed")
        uids = [task["result"].split()[0] for task in (one, two)]
        for uid in uids:
            self.assertTrue(61184 <= int(uid) <= 65519, uid)
        self.assertNotEqual(*uids)
        uid, gid, groups, home = daemon.run("nobody")["result"].split()
        self.assertEqual(uid, str(__import__("pwd").getpwnam("nobody").pw_uid))
        self.assertEqual(groups, gid, "no further groups of the supervisor's")
        self.assertNotEqual(home, os.environ.get("HOME"))

    def test_a_user_that_does_not_exist_fails_the_task(self):
        daemon = self.daemon(config({"show": {"protocol": "exec", "command": ["true"], "user": "kt-nobody-at-all"}}))
        task = daemon.run("show")
        self.assertEqual(task["error"]["reason"], "spawn_failed")
        self.assertIn("kt-nobody-at-all", task["error"]["message"])

    def test_a_worker_of_another_user_cannot_touch_the_supervisor_nor_its_own_limits(self):
        if os.geteuid() != 0:
            self.skipTest("NOT TESTED: only root can give a worker another user")
        script = """
import os, signal, sys
supervisor, out = os.getppid(), []
def attempt(name, action):
    try: action(); print(name, 'succeeded')
    except OSError as error: print(name, 'refused:', error.strerror)
def write(path, text):
    with open(path, 'w') as file: file.write(text)
pid = int(sys.argv[1])
attempt('kill', lambda: os.kill(pid, 0))
attempt('environ', lambda: open('/proc/%d/environ' % pid).read())
attempt('mem', lambda: open('/proc/%d/mem' % pid, 'rb').read(1))
attempt('host', lambda: os.kill(os.getppid(), 0))
attempt('state', lambda: os.listdir(sys.argv[2]))
for directory in sys.argv[3:]:
    for group in ('', '/workers', '/workers/' + os.environ['WORKER_ID'], '/supervisor'):
        for name in ('memory.limit_in_bytes', 'memory.max', 'pids.max', 'cgroup.procs'):
            attempt(directory + group + '/' + name, lambda: write(directory + group + '/' + name, '0' if name == 'cgroup.procs' else '1000000000'))
"""
        agent = {"protocol": "exec", "command": [SYSTEM_PYTHON, "-c", script.replace("{", "{{").replace("}", "}}"), "{pid}", "{state}", "{a}", "{b}"], "user": "auto", "cwd": "/"}
        daemon = self.daemon(config({"nosy": agent}))
        tops = (group_dirs(daemon.instance) + ["/nowhere"] * 2)[:2]
        task = daemon.run("nosy", {"pid": daemon.pid, "state": daemon.state, "a": tops[0], "b": tops[1]})
        self.assertEqual(task["state"], "completed", task)
        lines = task["result"].splitlines()
        for line in lines:
            # A host that a worker could signal would only be its own; the kernel lets a uid signal itself alone.
            self.assertIn("refused", line, task["result"])
        self.assertGreaterEqual(len(lines), 5)
        if self.caps_hold:
            own = [line for line in lines if "/workers/w" in line and ("memory.limit_in_bytes" in line or "memory.max" in line)]
            self.assertTrue(any("Permission denied" in line for line in own), lines)


@with_cgroups
class Groups(LevelE2E):
    def group_of(self, pid):
        """The path in the memory controller's hierarchy."""
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if "memory" in controllers.split(",") or (self.level == "cgroup2" and not controllers):
                    return path
        return None

    def test_the_supervisor_sits_outside_the_workers_groups(self):
        warm = agent_command("say({'type':'READY','protocol':1,'name':'x'})\nt=task()\nsay({'type':'COMPLETE','taskId':t['taskId'],'result':os.getpid()})\ntask()")
        daemon = self.daemon(config({"warm": {"protocol": "jsonl", "command": warm}}))
        worker = daemon.run("warm")["result"]
        instance = daemon.instance
        supervisor = self.group_of(daemon.pid)
        self.assertTrue(supervisor.endswith(f"/kurultai-{instance}/supervisor"), supervisor)
        shown = level.worker_of(daemon, "warm")
        self.assertTrue(self.group_of(worker).endswith(f"/kurultai-{instance}/workers/{shown['workerId']}"), self.group_of(worker))
        guardian = guardian_of(daemon.pid)
        self.assertIsNotNone(guardian)
        self.assertNotIn("/workers", self.group_of(guardian))

    def test_a_workers_group_goes_with_the_worker(self):
        once = {"protocol": "jsonl", "max_tasks": 1,
                "command": agent_command("say({'type':'READY','protocol':1,'name':'x'})\nwhile True:\n t=task()\n say({'type':'COMPLETE','taskId':t['taskId'],'result':1})")}
        daemon = self.daemon(config({"once": once}))
        for _ in range(5):
            self.assertEqual(daemon.run("once")["result"], 1)
        wait_until(lambda: not level.worker_groups(daemon.instance), "all groups of workers are removed", 5)

    def test_groups_that_a_worker_made_inside_its_own_go_too(self):
        if os.geteuid() != 0:
            self.skipTest("needs to write cgroups")
        script = """
import glob
own = [line.rstrip().split(':', 2)[2] for line in open('/proc/self/cgroup') if '/workers/' in line]
made = 0
for root in ['/sys/fs/cgroup'] + glob.glob('/sys/fs/cgroup/*/'):
    for path in set(own):
        directory = root.rstrip('/') + path
        if os.path.isdir(directory):
            os.mkdir(directory + '/kurultai-nested')
            open(directory + '/kurultai-nested/cgroup.procs', 'w').write('0')
            made += 1
            break
subprocess.Popen(DEAF, start_new_session=True, **quiet)
settle(1)
print(made)
"""
        mark = word()
        daemon = self.daemon(config({"nests": command(script, mark)}))
        task = daemon.run("nests")
        self.assertEqual(task["state"], "completed", task)
        self.assertGreaterEqual(int(task["result"]), 1)
        self.assertEqual(level.with_word(mark), [])

    def test_two_supervisors_have_groups_of_their_own(self):
        first, second = (self.daemon(config({"x": command("print(1)", word())})) for _ in range(2))
        self.assertNotEqual(first.instance, second.instance)
        self.assertFalse(set(group_dirs(first.instance)) & set(group_dirs(second.instance)))
        self.assertTrue(group_dirs(first.instance))


def guardian_of(pid):
    """The process id of a supervisor's guardian, or None."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
            if name == "kurultai-guard" and int(rest.split()[1]) == pid:
                return int(entry)
        except (OSError, IndexError):
            pass
    return None


if __name__ == "__main__":
    unittest.main()
