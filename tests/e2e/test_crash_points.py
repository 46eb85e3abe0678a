#!/usr/bin/env python3
"""The supervisor is killed right before and right after the calls on which its promises rest: the commit of the journal, the
sync of a result, the answer to a client, the word to a worker. Then the next one is asked for everything that was accepted.

KURULTAI_TEST_POINTS=PATTERN: only those whose "place number moment" matches.
"""

import concurrent.futures
import contextlib
import fnmatch
import os
import shutil
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

IN_PARALLEL = 3
FINAL = ("completed", "failed", "cancelled", "evicted")
BIG = b"x\n" * 100000
PIECES = b"0123456789abcdef" * 12500

# The line in the ledger is all that the task does.
AGENT = """
import json,os,sys
def say(**m): sys.stdout.write(json.dumps(m)+'\\n'); sys.stdout.flush()
say(type='READY',protocol=1,name='any')
for line in sys.stdin:
 m=json.loads(line)
 if m['type']=='SHUTDOWN': break
 if m['type']!='TASK': continue
 t,p=m['taskId'],m['payload']
 fd=os.open(p['ledger'],os.O_WRONLY|os.O_APPEND|os.O_CREAT,0o600)
 os.write(fd,(p['key']+'\\n').encode())
 os.close(fd)
 if p['key'].startswith('pieces'):
  for i in range(4): say(type='CHUNK',taskId=t,data='0123456789abcdef'*3125,encoding='utf8')
  say(type='COMPLETE',taskId=t)
 else: say(type='COMPLETE',taskId=t,result=p['key'])
"""
# Place and the calls of it at which to end: the first few, and some later.
POINTS = [
    ("pwrite64:file/journal.db-wal:*", (1, 2, 3, 5, 8, 13, 21)),
    ("fdatasync:file/journal.db-wal:*", (1, 2, 3, 5, 8, 13)),
    ("fdatasync:file/journal.db:*", (1, 2)),
    ("unlink:file/journal.db-wal:*", (1,)),
    ("open*:spool/*", (1, 2)),
    ("write:spool/*", (1, 2)),
    ("fsync:spool/*", (1, 2, 3)),
    ("fsync:file/spool:*", (1, 2, 3)),
    ("write:socket*", (1, 2, 3, 4, 6, 9, 14)),
    ("write:pipe,nonblock:*", (1, 2, 3, 5, 8, 13)),
    ("fork:*", (2, 3)),
]
TASKS = [("any", "any-1"), ("once", "once-1"), ("big", "big-1"), ("any", "pieces-1"), ("once", "once-2"), ("any", "any-2"), ("big", "big-2"), ("any", "pieces-2"), ("once", "once-3")]


def configuration():
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
            "big": {"protocol": "exec", "command": ["sh", "-c", "echo {key} >>{ledger}; yes x | head -c 200000"]},
        },
    }


class Round:
    def __init__(self, place, nth, moment):
        self.place, self.nth, self.moment = place, nth, moment
        self.directory = tempfile.mkdtemp(prefix="kt-")
        self.report = os.path.join(self.directory, "report")
        self.ledger = os.path.join(self.directory, "ledger")
        self.accepted = {}  # key → task id, where the 202 was read
        self.ends = {}  # key → the task as somebody saw it finished
        self.troubles = []
        self.log = ""

    def __str__(self):
        return f"{self.place} {self.nth} {self.moment}"

    def check(self, good, what):
        if not good:
            self.troubles.append(what)

    def play(self):
        first = Daemon(configuration(), directory=self.directory, env=faulty.environment(self.report, self.place, f"kill {self.moment}", self.nth))
        try:
            self.submit_all(first)
            status = first.terminate()  # where the point is on the way out, or is not reached
            self.check(status in (0, -9), f"ended with {status}")
        finally:
            first.kill()
            first.log.close()
            self.log = first.log_text()
        second = Daemon(configuration(), directory=self.directory)
        try:
            second.wait_ready()
            self.look_at(second)
        finally:
            self.log += "--- again\n" + second.log_text()
            second.close()  # no process and no group of either is left

    def submit_all(self, daemon):
        with contextlib.suppress(AssertionError):  # it may end before it answers for the first time
            daemon.wait_ready()
        lock = threading.Lock()
        waiting = list(TASKS)

        def client():
            while True:
                with lock:
                    if not waiting or daemon.process.poll() is not None:
                        return
                    agent, key = waiting.pop(0)
                with contextlib.suppress(OSError, ValueError, harness.http.client.HTTPException):
                    answer = self.submit(daemon, agent, key)
                    if answer.status == 202:
                        self.accepted[key] = answer.json["taskId"]

        clients = [threading.Thread(target=client) for _ in range(2)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        deadline = time.monotonic() + 20 * PATIENCE
        with contextlib.suppress(OSError, ValueError, harness.http.client.HTTPException):
            while len(self.ends) < len(self.accepted) and daemon.process.poll() is None:
                for key, task in self.accepted.items():
                    found = daemon.get(f"/v1/tasks/{task}").json
                    if found["state"] in FINAL:
                        self.ends[key] = found
                self.check(time.monotonic() < deadline, "the tasks do not end")
                if self.troubles:
                    return

    def submit(self, daemon, agent, key):
        return daemon.submit(agent, {"key": key, "ledger": self.ledger}, idempotencyKey=key)

    def look_at(self, daemon):
        for key, task in self.accepted.items():
            self.check(daemon.get(f"/v1/tasks/{task}").status == 200, f"{key} was accepted and is lost")
        for key, end in self.ends.items():
            self.check(daemon.task(end["taskId"]) == end,
                       f"{key} was seen to end as {end} and is {daemon.task(end['taskId'])}")
        if self.troubles:
            return
        # Whoever got no answer asks again: the key makes it one task.
        for agent, key in TASKS:
            answer = self.submit(daemon, agent, key)
            if answer.status != 202:
                self.check(False, f"{key} again: {answer.status} {answer.body!r}")
                return
            self.check(self.accepted.setdefault(key, answer.json["taskId"]) == answer.json["taskId"], f"{key} is two tasks")
        finished = {}

        def settled():
            for key, task in self.accepted.items():
                found = daemon.task(task)
                if found["state"] in FINAL:
                    finished[key] = found
            return len(finished) == len(TASKS)

        wait_until(settled, "all come to their end", 30)
        self.check(len(daemon.get("/v1/tasks?limit=100").json["tasks"]) == len(TASKS), "there are tasks that nobody submitted")
        with open(self.ledger, encoding="ascii") as file:
            begun = file.read().split()
        told = [event["taskId"] for event in daemon.events() if event["type"] in ("taskCompleted", "taskFailed")]
        for agent, key in TASKS:
            self.look_at_end(daemon, agent, key, finished[key], begun.count(key))
            self.check(told.count(finished[key]["taskId"]) <= (0 if key in self.ends else 1), f"{key} ended twice")

    def look_at_end(self, daemon, agent, key, end, times):
        if agent == "once":
            self.check(times <= 1, f"{key} may run once only and ran {times} times")
        if end["state"] == "failed" and agent == "once":
            self.check(end["error"]["reason"] == "supervisor_restart", f"{key}: {end['error']}")
            return
        self.check(end["state"] == "completed", f"{key}: {end}")
        self.check(times >= 1, f"{key} is said to be done and never ran")
        if key in self.ends:
            self.check(times == 1 or end["preemptions"] > 0, f"{key} ran {times} times")
        expected = {"big": BIG, "pieces": PIECES}.get(key.split("-")[0])
        if expected is None:
            self.check(end["result"] == key, f"{key}: {end['result']}")
        else:
            found = daemon.get(f"/v1/tasks/{end['taskId']}/result")
            self.check(found.status == 200 and found.body == expected, f"the result of {key} is another: {found.status}, {len(found.body)} bytes")

    def clear(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class CrashPoints(unittest.TestCase):
    def test_nothing_accepted_is_lost_or_done_twice(self):
        rounds = [Round(place, nth, moment) for place, numbers in POINTS for nth in numbers for moment in ("before", "after")]
        wanted = os.environ.get("KURULTAI_TEST_POINTS")
        if wanted:
            rounds = [one for one in rounds if fnmatch.fnmatch(str(one), wanted)]
        killed, accepted, places, troubles = 0, 0, set(), []
        with concurrent.futures.ThreadPoolExecutor(IN_PARALLEL) as pool:
            for one in pool.map(self.play, rounds):
                place = faulty.happened(one.report)
                killed += place is not None
                accepted += len(one.accepted)
                places.update({place} - {None})
                troubles += [f"{one}: {trouble}" for trouble in one.troubles]
                if wanted or one.troubles:
                    print(one, place, one.troubles, one.log[-3000:] if one.troubles else "", file=sys.stderr, flush=True)
                one.clear()
        print(f"{killed} kills at {len(places)} sites ({len(rounds) - killed} points were not reached): {accepted} accepted, {len(troubles)} lost, done twice or left over",
              file=sys.stderr)
        self.assertEqual(troubles, [])
        self.assertGreater(killed, len(rounds) // 2)

    @staticmethod
    def play(one):
        try:
            one.play()
        except Exception:  # whatever a round meets is a finding
            one.troubles.append(traceback.format_exc()[-1500:])
        return one


if __name__ == "__main__":
    unittest.main()
