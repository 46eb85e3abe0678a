#!/usr/bin/env python3
"""What was accepted is not lost: tasks outlive a supervisor that is killed, and a disk that is full."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import E2E, PATIENCE, agent_command, client, wait_until

ECHO = agent_command("""
say({'type':'READY','protocol':1,'name':'echo'})
while True:
 t=task()
 say({'type':'COMPLETE','taskId':t['taskId'],'result':{'payload':t.get('payload'),'attempt':t['attempt'],'checkpoint':t.get('checkpoint')}})
""")
# Waits for a file; saves a checkpoint before. With a ledger of each beginning.
GATED = agent_command("""
say({'type':'READY','protocol':1,'name':'gated'})
while True:
 t=task()
 p=t['payload']
 with open(p['ledger'],'a') as f: f.write(t['taskId']+'\\n')
 say({'type':'CHECKPOINT','taskId':t['taskId'],'state':{'seen':(t.get('checkpoint') or {'seen':0})['seen']+1}})
 say({'type':'PROGRESS','taskId':t['taskId'],'percent':50})
 while not os.path.exists(p['gate']): time.sleep(0.01)
 say({'type':'COMPLETE','taskId':t['taskId'],'result':{'attempt':t['attempt'],'checkpoint':t.get('checkpoint')}})
""")


def agent(command, **fields):
    return {"protocol": "jsonl", "command": command, "grace": "300ms", **fields}


def config(agents=None, **parts):
    return {
        "memory": {"budget": "512MiB"},
        "workers": {"max": 1, "memory_limit": "200MiB", "memory_warning": "200MiB"},
        "queue": {"max_depth": 100, "limits": {"critical": 100, "high": 100, "normal": 100, "low": 100, "heartbeat": 100}},
        "circuit_breakers": {"failures": 1000},
        "agents": agents or {
            "echo": agent(ECHO),
            "gated": agent(GATED),
            "once": agent(GATED, idempotent=False),
            "fleeting": agent(ECHO, durability="none"),
            "big": {"protocol": "exec", "command": ["sh", "-c", "yes x | head -c 300000"]},
        },
        **parts,
    }


class Kept(E2E):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.ledger = os.path.join(self.directory, "ledger")
        self.gate = os.path.join(self.directory, "gate")

    def start(self, configuration=None, **kw):
        return self.daemon(configuration or config(), directory=self.directory, **kw)

    def _close(self, daemon):
        self.open_gate()  # a drain would wait for who stands before it
        super()._close(daemon)

    def again(self, daemon, **kw):
        daemon.kill()
        return self.start(**kw)

    def open_gate(self):
        with open(self.gate, "w", encoding="ascii"):
            pass

    def gated(self, daemon, name="gated", **fields):
        return daemon.start(name, {"ledger": self.ledger, "gate": self.gate}, **fields)

    def begun(self, daemon, task):
        wait_until(lambda: daemon.task(task)["progress"] == 50, "the task is at work", 20)

    def beginnings(self):
        with contextlib.suppress(FileNotFoundError), open(self.ledger, encoding="ascii") as file:
            return file.read().split()
        return []

    def rows(self, sql):
        """Of a copy: the supervisor does not share the file."""
        copy = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, copy, True)
        for name in ("journal.db", "journal.db-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(os.path.join(self.directory, "state", name), copy)
        with contextlib.closing(sqlite3.connect(os.path.join(copy, "journal.db"))) as database:
            return database.execute(sql).fetchall()


class KilledSupervisor(Kept):
    def test_a_finished_task_is_what_it_was(self):
        daemon = self.start()
        before = daemon.run("echo", {"n": 1, "text": "grüße\u0000"}, priority="high", sizeClass="small")
        failed = daemon.run("big", {}, timeout="1ms")
        before, failed = daemon.task(before["taskId"]), daemon.task(failed["taskId"])
        daemon = self.again(daemon)
        self.assertEqual(daemon.task(before["taskId"]), before)
        self.assertEqual(before["result"]["payload"], {"n": 1, "text": "grüße\u0000"})
        self.assertEqual([one["state"] for one in before["history"]], ["queued", "running", "completed"])
        self.assertEqual(daemon.task(failed["taskId"]), failed)

    def test_what_waited_waits_in_its_order_and_runs(self):
        daemon = self.start()
        blocker = self.gated(daemon, priority="critical")
        self.begun(daemon, blocker)
        tasks = [self.gated(daemon, priority=priority) for priority in ("low", "high", "normal", "high")]
        order = [tasks[1], tasks[3], tasks[2], tasks[0]]
        daemon = self.again(daemon)
        wait_until(lambda: daemon.task(blocker)["state"] == "running", "what ran goes first", 20)
        for task in tasks:
            self.assertEqual(daemon.task(task)["state"], "queued")
        self.open_gate()
        for task in tasks:
            self.assertEqual(daemon.wait_state(task, "completed")["preemptions"], 0)
        self.assertEqual(self.beginnings(), [blocker, blocker, *order])

    def test_what_ran_runs_again_from_its_checkpoint_and_loses_no_attempt(self):
        daemon = self.start()
        task = self.gated(daemon)
        self.begun(daemon, task)
        wait_until(lambda: self.rows("SELECT checkpoint FROM progress") == [('{"seen":1}',)], "its checkpoint is kept", 10)
        daemon = self.again(daemon)
        wait_until(lambda: len(self.beginnings()) == 2, "it runs again", 20)
        self.open_gate()
        task = daemon.wait_state(task, "completed")
        self.assertEqual(task["result"], {"attempt": 1, "checkpoint": {"seen": 1}})
        self.assertEqual((task["attempt"], task["preemptions"]), (1, 1))

    def test_what_it_went_through_is_kept(self):
        agents = {"stubborn": {"protocol": "exec", "command": ["sh", "-c", "test -e {gate} || exit 3"], "retries": 40}, "gated": agent(GATED)}
        daemon = self.start(config(agents))
        waits = self.gated(daemon)
        self.begun(daemon, waits)
        wait_until(lambda: self.rows("SELECT state FROM progress") == [("running",)], "that it runs is kept", 10)
        daemon = self.again(daemon, configuration=config(agents))
        self.begun(daemon, waits)
        self.open_gate()
        done = daemon.wait_state(waits, "completed")
        told = [(one["state"], one["attempt"], one.get("reason")) for one in done["history"]]
        self.assertEqual(told, [("queued", 1, None), ("running", 1, None), ("queued", 1, "supervisor_restart"), ("running", 1, None), ("completed", 1, None)])
        self.assertEqual([one["time"] for one in done["history"]], sorted(one["time"] for one in done["history"]))
        self.assertEqual((done["history"][0]["time"], done["history"][-1]["time"]), (done["submittedAt"], done["finishedAt"]))
        said = client(daemon, "task", waits).stdout
        self.assertIn("history", said)
        self.assertIn(f"queued {done['history'][2]['time']} attempt 1 supervisor_restart", said)
        os.unlink(self.gate)
        failed = daemon.start("stubborn", {"gate": self.gate})
        failed = daemon.wait_state(failed, "failed")
        daemon = self.again(daemon, configuration=config(agents))
        self.assertEqual(daemon.task(failed["taskId"]), failed)
        self.assertEqual((len(failed["history"]), failed["historyDropped"]), (35, 80 - 32))
        self.assertEqual([(one["state"], one["attempt"]) for one in failed["history"][-3:]], [("queued", 41), ("running", 41), ("failed", 41)])
        self.assertEqual(failed["history"][-3]["reason"], "exit_code")
        self.assertNotIn("history", daemon.get("/v1/tasks").json["tasks"][0])

    def test_it_is_not_sent_back_for_ever(self):
        agents = {"gated": agent(GATED, max_preemptions=2)}
        daemon = self.start(config(agents))
        task = self.gated(daemon)
        for number in range(3):
            wait_until(lambda: self.rows("SELECT state, preemptions FROM progress") == [("running", number)], "it runs, and that is known", 20)
            daemon = self.again(daemon, configuration=config(agents))
        failed = daemon.wait_state(task, "failed")
        self.assertEqual((failed["error"]["reason"], failed["preemptions"]), ("memory_budget", 2))
        self.assertIn("max_preemptions", failed["error"]["message"])

    def test_what_may_run_once_only_fails_and_does_not_run_again(self):
        daemon = self.start()
        task = self.gated(daemon, "once")
        self.begun(daemon, task)
        waits = self.gated(daemon, "once")
        daemon = self.again(daemon)
        self.open_gate()
        failed = daemon.wait_state(task, "failed")
        self.assertEqual(failed["error"]["reason"], "supervisor_restart")
        self.assertIn("idempotent: false", failed["error"]["message"])
        daemon.wait_state(waits, "completed")
        self.assertEqual(self.beginnings(), [task, waits])

    def test_an_accepted_cancellation_holds(self):
        daemon = self.start()
        runs = self.gated(daemon)
        self.begun(daemon, runs)
        waits = self.gated(daemon)
        for task in (runs, waits):
            self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{task}").status, 202)
        daemon = self.again(daemon)
        for task in (runs, waits):
            self.assertEqual(daemon.wait_state(task, "cancelled")["error"]["reason"], "cancelled")
        self.assertEqual(self.beginnings(), [runs])

    def test_a_spooled_result_is_there_and_nothing_else_is(self):
        daemon = self.start()
        task = daemon.run("big", {})
        self.assertEqual(task["resultBytes"], 300000)
        spool = os.path.join(self.directory, "state", "spool")
        with open(os.path.join(spool, "stray-1-0"), "w", encoding="ascii") as file:
            file.write("left by a task that is not known")
        daemon = self.again(daemon)
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/result").body, b"x\n" * 150000)
        self.assertEqual(len(os.listdir(spool)), 1)

    def test_an_idempotency_key_is_known(self):
        daemon = self.start()
        first = daemon.submit("echo", 1, idempotencyKey="k").json["taskId"]
        daemon.wait_state(first, "completed")
        daemon = self.again(daemon)
        self.assertEqual(daemon.submit("echo", 1, idempotencyKey="k").json["taskId"], first)
        self.assertEqual(daemon.submit("echo", 2, idempotencyKey="k").json["error"]["code"], "key_conflict")

    def test_what_is_not_to_be_kept_is_not(self):
        daemon = self.start()
        fleeting = daemon.run("fleeting", 1)["taskId"]
        kept = daemon.run("echo", 1)["taskId"]
        self.assertEqual(self.rows("SELECT id FROM submitted"), [(kept,)])
        daemon = self.again(daemon)
        self.assertEqual(daemon.get(f"/v1/tasks/{fleeting}").status, 404)

    def test_what_is_forgotten_leaves_the_file(self):
        few = config(store={"max_finished": 2})
        daemon = self.start(few)
        tasks = [daemon.run("echo", n)["taskId"] for n in range(5)]
        wait_until(lambda: self.rows("SELECT id FROM submitted ORDER BY id") == [(task,) for task in tasks[3:]], "two are kept", 10)
        self.assertEqual(len(self.rows("SELECT id FROM progress")), 2)
        daemon = self.again(daemon, configuration=few)
        self.assertEqual([task["taskId"] for task in daemon.get("/v1/tasks").json["tasks"]], tasks[3:])

    def test_what_was_evicted_stays_so_whoever_it_made_room_for(self):
        narrow = config(queue={"max_depth": 1})
        for name in ("echo", "fleeting"):
            daemon = self.start(narrow)
            blocker = self.gated(daemon)
            self.begun(daemon, blocker)
            heartbeat = daemon.start("echo", priority="heartbeat")
            daemon.start(name, priority="critical")
            self.assertIn("made room", daemon.wait_state(heartbeat, "evicted")["error"]["message"])
            daemon = self.again(daemon, configuration=narrow)
            self.assertEqual(daemon.task(heartbeat)["state"], "evicted", name)
            daemon.kill()
            shutil.rmtree(os.path.join(self.directory, "state"))

    def test_a_clean_end_keeps_what_waits(self):
        daemon = self.start()
        blocker = self.gated(daemon)
        self.begun(daemon, blocker)
        waits = daemon.start("echo", 7)
        self.assertEqual(client(daemon, "drain", "--timeout", "1s").returncode, 124)  # one runs, and is sent back
        daemon.terminate()
        self.open_gate()
        daemon = self.start()
        self.assertEqual(daemon.wait_state(waits, "completed")["result"]["payload"], 7)
        self.assertEqual(daemon.wait_state(blocker, "completed")["attempt"], 1)

    def test_receipts_are_kept(self):
        agents = {"gated": agent(GATED), "echo": agent(ECHO)}
        # One fits below the preempt threshold beside a supervisor of 100 MiB (a sanitized one), two do not.
        small = config(agents, admission="cap", memory={"budget": "480MiB"}, workers={"max": 2, "memory_limit": "300MiB", "memory_warning": "300MiB"})
        daemon = self.start(small)
        low = self.gated(daemon, priority="low")
        self.begun(daemon, low)
        daemon.run("echo", 1, priority="high")
        wait_until(lambda: daemon.task(low)["preemptions"] == 1, "it gave way", 20)
        before = daemon.get(f"/v1/tasks/{low}/why").json["decisions"]
        self.assertEqual(len(before), 1)
        daemon = self.again(daemon, configuration=small)
        self.assertEqual(daemon.get(f"/v1/tasks/{low}/why").json["decisions"], before)

    def test_killed_at_any_moment_nothing_accepted_is_lost_or_done_twice(self):
        """Clients that submit without pause, kill -9 at random moments; then every task that was answered 202 is looked for."""
        rounds = int(os.environ.get("KURULTAI_TEST_KILLS", "25"))
        dice = random.Random(7)
        accepted = {"echo": [], "once": []}
        self.open_gate()
        daemon = self.start()
        for number in range(rounds):
            stop = threading.Event()

            def submit(name, stop=stop, daemon=daemon):
                while not stop.is_set():
                    with contextlib.suppress(OSError, ValueError, harness.http.client.HTTPException):
                        answer = daemon.submit(name, {"ledger": self.ledger, "gate": self.gate})
                        if answer.status == 202:
                            accepted[name].append(answer.json["taskId"])

            clients = [threading.Thread(target=submit, args=(name,)) for name in accepted]
            for one in clients:
                one.start()
            time.sleep(dice.uniform(0, 0.4) * PATIENCE)
            daemon.kill()
            stop.set()
            for one in clients:
                one.join()
            daemon = self.start()
        everything = accepted["echo"] + accepted["once"]
        self.assertGreater(len(everything), rounds)

        def settled():
            return not daemon.get("/v1/tasks?state=queued,running&limit=1000").json["tasks"]

        wait_until(settled, "all have come to their end", 60)
        begun = self.beginnings()
        ran_before = 0
        for task in everything:
            found = daemon.get(f"/v1/tasks/{task}")
            self.assertEqual(found.status, 200, f"{task} was accepted and is lost")
            if found.json["state"] != "completed":
                self.assertEqual((found.json["state"], found.json["error"]["reason"]), ("failed", "supervisor_restart"))
                self.assertIn(task, accepted["once"])
                ran_before += 1
        for task in accepted["once"]:
            self.assertLessEqual(begun.count(task), 1, f"{task} may run once only")
            if daemon.task(task)["state"] == "completed":
                self.assertEqual(begun.count(task), 1)
        self.assertEqual(len(set(everything)), len(everything))
        print(f"{rounds} kills: {len(everything)} accepted, {ran_before} failed for they may run once only", file=sys.stderr)


class BadFiles(Kept):
    def refused(self, *words):
        daemon = self.daemon(config(), ready=False, directory=self.directory)
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 1)
        line = daemon.log_text().splitlines()[-1]
        for word in ("journal", os.path.join(self.directory, "state", "journal.db"), "move it away", *words):
            self.assertIn(word, line)

    def journal(self):
        return os.path.join(self.directory, "state", "journal.db")

    def prepared(self):
        daemon = self.start()
        task = daemon.run("echo", 1)["taskId"]
        daemon.terminate()
        return task

    def test_a_damaged_file_is_refused_and_stays(self):
        self.prepared()
        with open(self.journal(), "r+b") as file:
            file.write(b"\xff" * 8192)
        size = os.path.getsize(self.journal())
        self.refused("not a database")
        self.assertEqual(os.path.getsize(self.journal()), size)
        os.rename(self.journal(), self.journal() + ".bad")
        self.assertEqual(self.start().run("echo", 2)["state"], "completed")

    def test_a_page_inside_that_is_damaged_is_refused(self):
        self.prepared()
        with open(self.journal(), "r+b") as file:
            file.seek(4096)
            file.write(b"\x00" * (os.path.getsize(self.journal()) - 4096))
        self.refused("malformed")

    def test_one_of_a_newer_release_is_refused(self):
        self.prepared()
        with contextlib.closing(sqlite3.connect(self.journal())) as database:
            database.execute("PRAGMA user_version = 99")
        self.refused("newer kurultaid", "schema 99")

    def test_one_of_another_program_is_refused(self):
        os.makedirs(os.path.join(self.directory, "state"))
        with open(os.path.join(self.directory, "state", "lock"), "w", encoding="ascii"):
            pass
        with contextlib.closing(sqlite3.connect(self.journal())) as database:
            database.execute("CREATE TABLE others(x)")
        self.refused("another program")

    def test_a_directory_in_its_place_is_refused(self):
        os.makedirs(self.journal())
        with open(os.path.join(self.directory, "state", "lock"), "w", encoding="ascii"):
            pass
        self.refused("unable to open")

    def test_a_file_that_is_removed_is_made_again_with_all_that_is_known(self):
        daemon = self.start()
        done = daemon.run("echo", 1)["taskId"]
        task = self.gated(daemon)
        self.begun(daemon, task)
        for name in ("", "-wal"):
            os.unlink(self.journal() + name)
        wait_until(lambda: daemon.submit("echo", 2).status == 202, "tasks are accepted again", 20)
        self.assertEqual(daemon.get("/health").json["status"], "ok")
        daemon = self.again(daemon)
        self.open_gate()
        self.assertEqual(daemon.task(done)["state"], "completed")
        self.assertEqual(daemon.wait_state(task, "completed")["preemptions"], 1)


class FullDisk(Kept):
    """A file system of a few megabytes of its own, in the memory of this test."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            sys.stderr.write(f"\n*** SKIPPED {self.id()}: needs root, only root can mount\n")
            self.skipTest("needs root: only root can mount")
        state = os.path.join(self.directory, "state")
        os.makedirs(state, mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "kurultai-test", state], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", state], check=False)
        self.filler = os.path.join(state, "filler")

    def fill(self):
        with contextlib.suppress(OSError), open(self.filler, "wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()

    def test_submissions_are_refused_work_goes_on_and_it_heals(self):
        daemon = self.start()
        first = self.gated(daemon)
        self.begun(daemon, first)
        waits = daemon.start("echo", "waits")
        self.fill()
        refused = wait_until(lambda: (lambda answer: answer if answer.status == 503 else None)(daemon.submit("echo", "x" * 65536)), "no room", 20)
        self.assertEqual(refused.json["error"]["code"], "storage_unavailable")
        self.assertIn("journal.db", refused.json["error"]["message"])
        self.assertGreaterEqual(refused.json["error"]["retryAfter"], 1)
        health = daemon.get("/health").json
        self.assertEqual(health["status"], "degraded")
        self.assertTrue(any("cannot be written down" in trouble for trouble in health["troubles"]), health)
        ready = daemon.get("/ready")
        self.assertEqual((ready.status, ready.json["error"]["code"], ready.headers["Retry-After"]), (503, "storage_unavailable", "1"))
        ran = client(daemon, "submit", "echo", "--payload", "1")
        self.assertEqual(ran.returncode, 4, ran.stderr)
        self.assertEqual(daemon.submit("fleeting", 5).status, 202)  # needs no disk
        self.open_gate()  # what runs comes to its end; nobody is told before that is kept
        time.sleep(0.3)
        self.assertEqual(daemon.task(first)["state"], "running")
        os.unlink(self.filler)
        self.assertEqual(daemon.wait_state(first, "completed")["state"], "completed")
        self.assertEqual(daemon.wait_state(waits, "completed")["result"]["payload"], "waits")
        wait_until(lambda: daemon.get("/health").json["status"] == "ok", "it is well again", 20)
        self.assertEqual(daemon.get("/ready").status, 200)
        self.assertEqual(daemon.run("echo", 1)["state"], "completed")
        for line in ("tasks cannot be written down: ", "tasks can be written down again"):
            self.assertEqual(daemon.log_text().count(line), 1, "said once")
        daemon = self.again(daemon)
        for task in (first, waits):
            self.assertEqual(daemon.task(task)["state"], "completed")


if __name__ == "__main__":
    unittest.main()
