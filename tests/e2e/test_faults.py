#!/usr/bin/env python3
"""Each system call of the supervisor fails once: it refuses to start with a line that says why, or goes on; nothing that was
accepted is lost, nothing is left behind.

A run in which nothing fails lists the places; then there is one run for each place and each thing that the kernel may say there.
By default a sample of them (KURULTAI_TEST_SEED chooses), all with KURULTAI_TEST_FAULTS=all; KURULTAI_TEST_FAULTS=PATTERN those
whose "place ERROR" matches.
"""

import concurrent.futures
import contextlib
import errno
import fnmatch
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import faulty
import harness
from harness import PATIENCE, Daemon, wait_until

SAMPLE = 120
IN_PARALLEL = 3
BIG = b"x\n" * 100000
PIECES = "0123456789abcdef" * 12500

AGENT = """
import json,os,sys,time
def say(**m): sys.stdout.write(json.dumps(m)+'\\n'); sys.stdout.flush()
say(type='READY',protocol=1,name='any')
for line in sys.stdin:
 m=json.loads(line)
 if m['type']=='SHUTDOWN': break
 if m['type']!='TASK': continue
 t,p=m['taskId'],m['payload']
 with open(p['ledger'],'a') as f: f.write(t+'\\n')
 if p['do']=='echo':
  say(type='LOG',level='info',message='a line')
  say(type='COMPLETE',taskId=t,result=p['value'])
 elif p['do']=='pieces':
  for i in range(4): say(type='CHUNK',taskId=t,data='0123456789abcdef'*3125,encoding='utf8')
  say(type='COMPLETE',taskId=t)
 else:
  say(type='CHECKPOINT',taskId=t,state={'at':1})
  say(type='PROGRESS',taskId=t,percent=50)
  while not os.path.exists(p['gate']):
   import select
   if select.select([0],[],[],0.01)[0]:
    said=json.loads(sys.stdin.readline() or '{"type":"SHUTDOWN"}')
    if said['type']=='PREEMPT': say(type='PREEMPTED',taskId=t,state={'at':2}); break
    if said['type']=='CANCEL': say(type='FAILED',taskId=t,error='cancelled'); break
    if said['type']=='SHUTDOWN': sys.exit(0)
  else: say(type='COMPLETE',taskId=t,result=m.get('checkpoint'))
"""
FINAL = ("completed", "failed", "cancelled", "evicted")


def configuration(**extra):
    agent = {"protocol": "jsonl", "command": [harness.PYTHON, "-I", "-S", "-c", AGENT], "grace": "500ms"}
    return {
        "memory": {"budget": "1GiB"},
        "workers": {"max": 4, "memory_limit": "100MiB", "memory_warning": "100MiB"},
        "queue": {"max_depth": 20, "limits": {"critical": 20, "high": 20, "normal": 20, "low": 20, "heartbeat": 2}},
        "circuit_breakers": {"failures": 1000},
        "admission": "none",
        "agents": {
            "any": agent,
            "once": {**agent, "idempotent": False},
            "big": {"protocol": "exec", "command": ["sh", "-c", "yes x | head -c 200000"]},
            "size": {"protocol": "exec", "command": ["wc", "-c"]},
            "text": {"protocol": "exec", "command": ["sh", "-c", "echo complaint >&2; echo said"]},
            **extra,
        },
    }


class Finding(Exception):
    """What must not be."""


class Play:
    """One supervisor's life with a fault in it, and the next one's without."""

    def __init__(self, site=None, answer=None, nth=1):
        self.site, self.answer, self.nth = site, answer, nth
        self.directory = tempfile.mkdtemp(prefix="kt-")
        self.report = os.path.join(self.directory, "report")
        self.ledger = os.path.join(self.directory, "ledger")
        self.gate = os.path.join(self.directory, "gate")
        self.accepted = {}  # task id → (agent, what it is to give)
        self.held = None
        self.ends = {}
        self.refused_start = None
        self.died = False
        self.errors = []  # of submissions and tasks

    # What a pause or a part of it says must not be seen by anybody.
    @property
    def is_harmless(self):
        return self.answer in ("short", errno.EINTR, errno.EAGAIN) and self.site.function not in ("fork", "pthread_create")

    @property
    def may_die(self):
        return self.site is not None and self.site.ends_the_process

    def play(self):
        daemon = self.start(faulty.environment(self.report, *(() if self.site is None else (self.site.name, self.answer, self.nth))))
        try:
            if self.comes_up(daemon):
                self.work(daemon)
                self.leave(daemon)
        except BaseException:
            daemon.kill()
            raise
        finally:
            daemon.log.close()
            self.log = daemon.log_text()
        again = self.start({})
        try:
            again.wait_ready()
            self.look_after(again)
        finally:
            self.log += "--- again\n" + again.log_text()
            with open(self.gate, "w", encoding="ascii"):
                pass
            again.close()
        self.look_at_files()

    def start(self, env):
        return Daemon(configuration(), directory=self.directory, env=env)

    def comes_up(self, daemon):
        def answers():
            if daemon.process.poll() is not None:
                return True
            with contextlib.suppress(OSError):
                return daemon.get("/health", timeout=5).status == 200
            return False
        wait_until(answers, "it answers, or ends", 20)
        status = daemon.process.poll()
        if status is None:
            return True
        if status < 0 and self.may_die:
            self.died = True
            return False
        said = daemon.log_text().strip().splitlines()
        if status != 1 and status != 2 or not said:
            raise Finding(f"ended with {status} at the start")
        self.refused_start = said[-1]
        if self.is_harmless:
            raise Finding(f"does not start: {said[-1]}")
        if not self.is_named_by(said[-1]):
            raise Finding(f"does not start and does not name the cause: {said[-1]}")
        if not said[-1].startswith(("kurultaid: ", daemon.config_file + ": ")):
            raise Finding(f"does not start, last line: {said[-1]}")
        return False

    def is_named_by(self, text):
        """The cause; SQLite has words of its own where it has no number."""
        if not isinstance(self.answer, int):
            return False
        own = {errno.EIO: "disk I/O error", errno.ENOSPC: "disk is full"}.get(self.answer)
        if self.site.function == "open64+creat" and self.site.kind.startswith("file/journal.db"):
            own = "unable to open database file (open("  # it tries once more, only to read, and tells what came of that
        return os.strerror(self.answer).lower() in text.lower() or own is not None and own in text

    def lives(self, daemon):
        status = daemon.process.poll()
        if status is None:
            return True
        if status < 0 and self.may_die:
            self.died = True
            return False
        raise Finding(f"ended with {status} in the middle")

    def ask(self, daemon, method, path, body=None, times=20, headers=None):
        """Again where the connection broke: that may be what was chosen."""
        for number in range(times):
            try:
                return daemon.request(method, path, body, timeout=20, headers=headers)
            except (OSError, harness.http.client.HTTPException) as error:
                if isinstance(error, TimeoutError):
                    raise Finding(f"no answer to {method} {path}") from error
                if not self.lives(daemon):
                    return None
                if number > 3:
                    raise Finding(f"{method} {path}: {error!r} again and again") from error
                time.sleep(0.05)
        return None

    def submit(self, daemon, agent, payload, key, expected):
        deadline = time.monotonic() + 20 * PATIENCE
        while time.monotonic() < deadline:
            if isinstance(payload, bytes):  # the body itself
                answer = self.ask(daemon, "POST", f"/v1/tasks?agent={agent}&idempotencyKey={key}", payload, headers={"Content-Type": "image/png"})
            else:
                answer = self.ask(daemon, "POST", "/v1/tasks", {"agent": agent, "payload": payload, "idempotencyKey": key})
            if answer is None:
                return None
            if answer.status == 202:
                task = answer.json["taskId"]
                self.accepted[task] = (agent, expected)
                return task
            self.errors.append((answer.status, answer.json["error"]["message"]))
            if not self.is_named_by(answer.json["error"]["message"]):
                raise Finding(f"a refusal that does not name the cause: {answer.body!r}")
            if answer.status != 503:
                raise Finding(f"submission to {agent}: {answer.status} {answer.body!r}")
            time.sleep(0.1)
        raise Finding(f"no task is accepted: {self.errors[-1]}")

    def any(self, do, **more):
        return {"do": do, "ledger": self.ledger, "gate": self.gate, **more}

    def work(self, daemon):
        self.submit(daemon, "any", self.any("echo", value=[1, "ü"]), "a", [1, "ü"])
        self.submit(daemon, "big", {}, "b", BIG)
        self.submit(daemon, "text", {}, "t", "said\n")
        self.submit(daemon, "any", self.any("pieces"), "p", PIECES.encode())
        self.submit(daemon, "size", b"\0\xff" * 100000, "s", "200000\n")
        self.submit(daemon, "once", self.any("echo", value=2), "o", 2)
        self.settle(daemon, list(self.accepted))
        for path in ("/metrics", "/v1/memory", "/v1/workers", "/v1/queue", *(f"/v1/tasks/{task}/logs" for task in self.accepted)):
            self.ask(daemon, "GET", path)
        cancelled = self.submit(daemon, "any", self.any("wait"), "c", None)
        self.begun(daemon, cancelled)
        self.ask(daemon, "DELETE", f"/v1/tasks/{cancelled}")
        self.settle(daemon, [cancelled] if cancelled else [])
        daemon.write_config(configuration(fresh={"protocol": "exec", "command": ["true"]}))
        answer = self.ask(daemon, "POST", "/v1/reload")
        if answer is not None and answer.status == 200:
            self.submit(daemon, "fresh", {}, "f", "")
            self.settle(daemon, list(self.accepted))
        elif answer is not None and not self.is_named_by(answer.body.decode()):
            raise Finding(f"a reload that failed does not name the cause: {answer.body!r}")
        self.held = self.submit(daemon, "any", self.any("wait"), "h", {"at": 2})
        self.begun(daemon, self.held)

    def begun(self, daemon, task):
        def has_begun():
            found = self.ask(daemon, "GET", f"/v1/tasks/{task}") if task is not None else None
            return found is None or found.json["progress"] == 50 or found.json["state"] in FINAL
        wait_until(has_begun, f"task {task} is at work", 20)

    def settle(self, daemon, tasks):
        def is_over(task):
            found = self.ask(daemon, "GET", f"/v1/tasks/{task}")
            if found is None:
                return True
            if found.json["state"] in FINAL:
                self.ends[task] = found.json
            return task in self.ends
        for task in tasks:
            if task not in self.ends:
                wait_until(lambda task=task: is_over(task), f"task {task} {self.accepted[task][0]} comes to an end", 20)
        for task in tasks:
            if task in self.ends and self.accepted[task][1] is not None:
                self.look_at_end(daemon, task)

    def look_at_end(self, daemon, task):
        agent, expected = self.accepted[task]
        end = self.ends[task]
        if end["state"] != "completed":
            said = end["error"]["message"]
            self.errors.append((agent, end["error"]["reason"], said))
            if not self.is_named_by(said):
                raise Finding(f"{agent} failed and its error does not name the cause: {end['error']}")
            if self.is_harmless:
                raise Finding(f"{agent} failed: {end['error']}")
            return
        if isinstance(expected, bytes):
            found = self.ask(daemon, "GET", f"/v1/tasks/{task}/result")
            if found is not None and (found.status != 200 or found.body != expected):
                # Reading it may be what failed; it has to be there the next time.
                found = self.ask(daemon, "GET", f"/v1/tasks/{task}/result")
            if found is not None and (found.status != 200 or found.body != expected):
                raise Finding(f"the result of {agent} is another: {found.status}, {len(found.body)} bytes {found.body[:100]!r}")
        elif end.get("result", "") != expected:
            raise Finding(f"the result of {agent} is another: {end.get('result')!r}")

    def leave(self, daemon):
        if not self.lives(daemon):
            return
        self.ask(daemon, "POST", "/v1/drain?timeout=0s")
        status = daemon.terminate()
        if status != 0 and not (status < 0 and self.may_die):
            raise Finding(f"ended with {status}")
        self.died = self.died or status != 0

    def look_after(self, daemon):
        with open(self.gate, "w", encoding="ascii"):
            pass
        for task, (agent, expected) in self.accepted.items():
            found = daemon.get(f"/v1/tasks/{task}")
            if found.status != 200:
                raise Finding(f"task {task} of {agent} was accepted and is lost")
            if task in self.ends and (found.json["state"], found.json.get("result")) != (self.ends[task]["state"], self.ends[task].get("result")):
                raise Finding(f"task {task} of {agent} ended as {self.ends[task]} and is now {found.json}")
        before = dict(self.ends)
        self.settle(daemon, list(self.accepted))
        if self.held is not None and not self.died and not self.errors and not before.get(self.held):
            if self.ends[self.held]["state"] != "completed" or self.ends[self.held]["result"] not in ({"at": 1}, {"at": 2}):
                raise Finding(f"what was sent back to wait: {self.ends[self.held]}")
        begun = []
        with contextlib.suppress(FileNotFoundError), open(self.ledger, encoding="ascii") as file:
            begun = file.read().split()
        for task, (agent, _) in self.accepted.items():
            if agent == "once" and (begun.count(task) > 1 or self.ends[task]["state"] == "completed" and begun.count(task) != 1):
                raise Finding(f"task {task} may run once only and ran {begun.count(task)} times")

    def look_at_files(self):
        """Of an end in order: what is kept, and nothing of tasks that have no result."""
        state = os.path.join(self.directory, "state")
        extra = set(os.listdir(state)) - {"instance", "lock", "token", "journal.db", "footprints.json", "spool", "payloads", "logs"}
        if extra:
            raise Finding(f"left in the state directory: {sorted(extra)}")
        kept = {task for task, end in self.ends.items() if end.get("resultBytes")}
        left = [name for name in os.listdir(os.path.join(state, "spool")) if name.split("-")[0] not in kept]
        with contextlib.suppress(FileNotFoundError):
            left += os.listdir(os.path.join(state, "payloads"))
        # A task whose answer did not come may have been accepted all the same.
        known = set(self.accepted)
        with contextlib.closing(sqlite3.connect(os.path.join(state, "journal.db"))) as journal:
            known |= {task for task, in journal.execute("SELECT id FROM submitted")}
        with contextlib.suppress(FileNotFoundError):
            left += [name for name in os.listdir(os.path.join(state, "logs")) if name.split(".")[0] not in known]
        if left:
            raise Finding(f"left in the spool: {left}")

    def clear(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class EachCallFails(unittest.TestCase):
    def test_nothing_is_lost_and_nothing_is_left(self):
        first = Play()
        self.addCleanup(first.clear)
        first.play()
        self.assertEqual(first.errors, [])
        sites = faulty.sites(first.report)
        cases = [(site, answer) for site in sites for answer in faulty.answers_of(site)]
        everything = len(cases)
        wanted = os.environ.get("KURULTAI_TEST_FAULTS", "")
        seed = int(os.environ.get("KURULTAI_TEST_SEED", time.time_ns() // 10**9))
        dice = random.Random(seed)
        if wanted not in ("", "all"):
            cases = [case for case in cases if fnmatch.fnmatch(f"{case[0]} {faulty.name_of(case[1])}", wanted)]
        elif not wanted:
            cases = dice.sample(cases, min(SAMPLE, len(cases)))
        findings, injected, refused, died, quiet = [], set(), 0, 0, 0
        with concurrent.futures.ThreadPoolExecutor(IN_PARALLEL) as pool:
            for play, trouble in pool.map(self.one, cases):
                if faulty.happened(play.report) is None:
                    quiet += 1
                else:
                    injected.add((play.site.name, play.answer))
                refused += play.refused_start is not None
                died += play.died
                verdict = f"{play.site} {faulty.name_of(play.answer)}"
                if os.environ.get("KURULTAI_TEST_FAULTS"):
                    print(verdict, "refused: " + play.refused_start if play.refused_start else "", play.errors or "", trouble and "FOUND", file=sys.stderr, flush=True)
                if trouble:
                    findings.append(f"{verdict}\n  called from {play.site.callers.strip()}\n  {trouble}")
                    if wanted:
                        print(findings[-1], play.log[-3000:], file=sys.stderr, flush=True)
                play.clear()
        places = len({name for name, _ in injected})
        print(f"{places} sites, {len(injected)} failures injected of {everything} at {len(sites)} places; {refused} refused to start, "
              f"{died} ended by libuv, {quiet} were not reached (seed {seed})", file=sys.stderr)
        self.assertEqual(findings, [], "\n".join(findings))
        self.assertGreater(len(injected), len(cases) // 2)

    @staticmethod
    def one(case):
        play = Play(*case)
        try:
            play.play()
        except Finding as finding:
            return play, str(finding)
        except Exception:  # whatever a test meets is a finding
            return play, traceback.format_exc()[-1500:]
        return play, None


class WhatWasRepaired(harness.E2E):
    """Each of these was found by the test above."""

    def play(self, place, answer, nth=1):
        play = Play(faulty.Site(place), answer, nth)
        self.addCleanup(play.clear)
        play.play()
        self.assertIsNotNone(faulty.happened(play.report), f"{place} was not reached")
        return play

    def goes_on(self, place, answer, nth=1):
        play = self.play(place, answer, nth)
        self.assertIsNone(play.refused_start)
        self.assertEqual(play.errors, [])
        return play

    def is_refused(self, place, answer, *words, nth=1):
        play = self.play(place, answer, nth)
        for word in (os.strerror(answer), *words):
            self.assertIn(word, play.refused_start)
        return play.refused_start

    def test_the_lock_is_not_said_to_be_held_when_it_cannot_be_had(self):
        self.goes_on("flock:file/lock:*", errno.EINTR)
        self.assertNotIn("another supervisor", self.is_refused("flock:file/lock:*", errno.ENOLCK, "state/lock"))

    def test_a_short_write_is_gone_on_with(self):
        self.goes_on("write:file/lock:*", errno.EINTR)
        self.goes_on("write:file/instance.new:*", "short")

    def test_no_descriptor_or_thread_at_the_start(self):
        self.is_refused("epoll_create1:-:*", errno.EMFILE, "make an event loop")
        self.is_refused("eventfd:-:*", errno.EMFILE, "make an event loop")
        self.is_refused("pthread_create:-:*", errno.EAGAIN, "the log's thread")
        self.is_refused("pthread_create:-:*", errno.EAGAIN, "thread journal", nth=6)  # after the log's and libuv's four

    def test_a_journal_that_cannot_be_read_is_not_to_be_thrown_away(self):
        for place, answer in (("pread64:file/journal.db:*", errno.EIO), ("unlink:file/journal.db-journal:*", errno.EIO),
                              ("fdatasync:file/journal.db-wal:*", errno.EIO)):
            with self.subTest(place=place):
                line = self.is_refused(place, answer, "disk I/O error", "left as it is")
                self.assertNotIn("move it away", line)

    def test_a_result_whose_sync_failed_is_written_anew(self):
        play = self.play("fsync:spool/N:*", errno.ENOSPC)
        self.assertIsNone(play.refused_start)
        self.assertEqual([error for error in play.errors if error[0] != 503], [])  # new tasks wait a second for it
        self.assertIn("rename:spool/N", [f"{site.function}:{site.kind}" for site in faulty.sites(play.report)])

    def test_half_a_token_is_none(self):
        directory = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, directory, True)
        report = os.path.join(directory, "report")
        env = faulty.environment(report, "write:file/token.new:*", errno.ENOSPC)
        first = self.daemon(configuration(), ready=False, directory=directory, args=["--listen", "127.0.0.1:0"], env=env)
        self.assertEqual(first.process.wait(20 * PATIENCE), 1)
        self.assertIn("No space left on device", first.log_text())
        env = faulty.environment(report, "write:file/token.new:*", "short")
        self.daemon(configuration(), directory=directory, args=["--listen", "127.0.0.1:0"], env=env)
        with open(os.path.join(directory, "state", "token"), encoding="ascii") as file:
            self.assertRegex(file.read(), "^[0-9a-f]{64}\n$")

    def test_a_task_waits_for_a_descriptor_and_for_a_process(self):
        self.goes_on("fork:-:*", errno.EAGAIN, nth=2)  # the first is the guardian
        play = Play(faulty.Site("eventfd:-:*"), errno.EMFILE, 3)  # the first of a worker's group, with cgroup v1
        self.addCleanup(play.clear)
        play.play()
        self.assertEqual(play.errors, [])


class FullDisk(harness.E2E):
    def test_a_log_without_room_says_so_and_the_task_goes_on(self):
        directory = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, directory, True)
        env = faulty.environment(os.path.join(directory, "report"), "write:logs/N:*", errno.ENOSPC)
        daemon = self.daemon(configuration(), directory=directory, env=env)
        task = daemon.run("text", {})
        self.assertEqual((task["state"], task["result"]), ("completed", "said\n"))
        log = daemon.get(f"/v1/tasks/{task['taskId']}/logs").body.decode()
        self.assertRegex(log, r"^\[kurultai\] 10 bytes are missing here: write .*: No space left on device\n$")
        self.assertEqual(daemon.get(f"/v1/tasks/{daemon.run('text', {})['taskId']}/logs").body, b"complaint\n")
        self.assertEqual(daemon.log_text().count("logs of tasks cannot be written down"), 1)


class HungDisk(harness.E2E):
    """A call that does not come back from the kernel."""

    def test_a_result_that_hangs_holds_up_neither_others_nor_the_end(self):
        directory = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, directory, True)
        report, ledger = os.path.join(directory, "report"), os.path.join(directory, "ledger")
        hang = 120 * PATIENCE
        env = faulty.environment(report, "write:spool/N:*", f"delay {hang * 1000:.0f}")
        daemon = self.daemon(configuration(), directory=directory, env=env)
        hangs = daemon.start("any", {"do": "pieces", "ledger": ledger})
        wait_until(lambda: faulty.happened(report), "a result hangs", 20)
        begun = time.monotonic()
        self.assertEqual(daemon.run("any", {"do": "pieces", "ledger": ledger})["state"], "completed")
        drained = daemon.request("POST", "/v1/drain?timeout=0s&wait=30s")
        self.assertEqual((drained.json["status"], drained.json["remaining"]), ("timed_out", 1))
        self.assertEqual(daemon.terminate(timeout=60), 0)
        self.assertLess(time.monotonic() - begun, hang / 2)
        daemon = self.daemon(configuration(), directory=directory)
        found = daemon.wait_state(hangs, "completed")
        self.assertEqual([one.get("reason") for one in found["history"]], [None, None, "supervisor_restart", None, None])
        self.assertEqual(daemon.get(f"/v1/tasks/{hangs}/result").body, PIECES.encode())

    def test_a_commit_that_hangs_holds_up_neither_answers_nor_work_nor_the_end(self):
        directory = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, directory, True)
        report, ledger, gate = (os.path.join(directory, name) for name in ("report", "ledger", "gate"))
        payload = {"do": "wait", "ledger": ledger, "gate": gate}
        hang = 120 * PATIENCE
        daemon = self.daemon(configuration(), directory=directory)
        done = daemon.task(daemon.run("any", {**payload, "do": "echo", "value": 1})["taskId"])
        daemon.terminate()
        # The first commits of a supervisor are those of its schema and of nothing else, once its file is there: a task's.
        env = faulty.environment(report, "fdatasync:file/journal.db-wal:*", f"delay {hang * 1000:.0f}", 4)
        daemon = self.daemon(configuration(), directory=directory, env=env)
        accepted = []
        stop = threading.Event()

        def submit():
            while not stop.is_set():
                with contextlib.suppress(OSError, harness.http.client.HTTPException):
                    answer = daemon.submit("any", payload)
                    if answer.status == 202:
                        accepted.append(answer.json["taskId"])

        client = threading.Thread(target=submit)
        client.start()
        wait_until(lambda: faulty.happened(report), "a commit hangs", 20)
        begun = time.monotonic()
        for path in ("/health", "/metrics", f"/v1/tasks/{done['taskId']}"):
            self.assertEqual(daemon.get(path, timeout=10).status, 200)
        wait_until(lambda: accepted and daemon.task(accepted[0])["progress"] == 50, "what was accepted before is worked on", 20)
        daemon.request("POST", "/v1/drain?timeout=0s")
        stop.set()
        self.assertEqual(daemon.terminate(timeout=60), 0)
        self.assertLess(time.monotonic() - begun, hang / 2)
        client.join()
        with open(gate, "w", encoding="ascii"):
            pass
        daemon = self.daemon(configuration(), directory=directory)
        self.assertEqual(daemon.task(done["taskId"]), done)
        for task in accepted:
            daemon.wait_state(task, "completed")


if __name__ == "__main__":
    unittest.main()
