#!/usr/bin/env python3
"""POST /v1/tasks:batch: many tasks in one request and one commit."""
import json
import os
import struct
import unittest

from harness import E2E, PATIENCE, wait_until
from puppet import Gate, Later, open_files, puppet, settings
from raw_http import Raw


def commits(daemon):
    """How many transactions the journal's log holds: frames with a size of the database end one (sqlite.org/fileformat2, 4.1)."""
    with open(os.path.join(daemon.state, "journal.db-wal"), "rb") as file:
        log = file.read()
    page = struct.unpack_from(">I", log, 8)[0]
    salts = log[16:24]
    frames = range(32, len(log) - 24 - page + 1, 24 + page)
    return sum(1 for at in frames if log[at + 8:at + 16] == salts and struct.unpack_from(">I", log, at + 4)[0] > 0)


def many(count):
    return dict.fromkeys(["critical", "high", "normal", "low", "heartbeat"], count)


class Batch(E2E):
    def batch(self, daemon, tasks, wait=None, status=200):
        answer = daemon.request("POST", "/v1/tasks:batch" + (f"?wait={wait}" if wait else ""), json.dumps(tasks))
        self.assertEqual(answer.status, status, answer.body[:500])
        return answer.json

    def test_each_is_answered_in_its_place_as_if_it_had_come_alone(self):
        daemon = self.daemon(settings())
        tasks = [{"agent": "puppet"}, {"agent": "nobody"}, {"agent": "puppet", "priority": "urgent"}, 5, None, [], {},
                 {"agent": "puppet", "priority": "high"}, {"agent": "puppet", "idempotencyKey": "k", "payload": "done(1)"},
                 {"agent": "puppet", "idempotencyKey": "k", "payload": "done(2)"}, {"agent": "puppet", "idempotencyKey": "k", "payload": "done(1)"}]
        answers = self.batch(daemon, tasks)
        self.assertEqual([a["error"]["code"] if "error" in a else a["state"] for a in answers],
                         ["queued", "unknown_agent", *["invalid_task"] * 5, "queued", "queued", "key_conflict", "queued"])
        self.assertEqual(answers[8]["taskId"], answers[10]["taskId"])
        ids = [a["taskId"] for a in answers if "taskId" in a]
        self.assertEqual(ids[:3], sorted(ids[:3]))
        for task_id in set(ids):
            daemon.wait_state(task_id, "completed")
        self.assertEqual(len(daemon.get("/v1/tasks").json["tasks"]), 3)

    def test_what_is_no_batch_is_refused_whole(self):
        daemon = self.daemon(settings())
        for body in ("{}", '{"agent":"puppet"}', "5", "null", json.dumps([{"agent": "puppet"}] * 1001)):
            answer = daemon.request("POST", "/v1/tasks:batch", body)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "invalid_task"), body[:40])
        for body in ("", "[", '[{"agent":"puppet"}', '[{"agent":"puppet","agent":"puppet"}]', "[1e400]"):
            answer = daemon.request("POST", "/v1/tasks:batch", body)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "invalid_json"), body)
        self.assertEqual(daemon.request("POST", "/v1/tasks:batch?wait=soon", "[]").status, 400)
        self.assertEqual(self.batch(daemon, []), [])
        self.assertEqual(daemon.get("/v1/tasks").json["tasks"], [])

    def test_a_thousand_in_one_commit(self):
        config = settings(workers={"max": 1}, queue={"max_depth": 2000, "limits": many(2000)})
        daemon = self.daemon(config)
        gate = Gate(daemon)
        holder = daemon.start("puppet", gate.code(), priority="critical")
        daemon.wait_state(holder, "running")
        daemon.start("puppet", "done()", priority="low")  # what was written of the first is on disk with it
        before = commits(daemon)
        answers = self.batch(daemon, [{"agent": "puppet", "payload": "done()"}] * 1000)
        self.assertEqual([a.get("position") for a in answers], list(range(1, 1001)))
        self.assertEqual(commits(daemon), before + 1)
        daemon.kill()  # the answer was given after the commit
        again = self.daemon(config, directory=daemon.dir)
        again.wait_state(holder, "running")
        self.assertEqual([t["taskId"] for t in again.get("/v1/queue").json["tasks"]][:1000], [a["taskId"] for a in answers])
        gate.open()

    def test_a_full_queue_takes_the_first_and_refuses_the_rest(self):
        daemon = self.daemon(settings(workers={"max": 1}, queue={"max_depth": 5, "limits": many(5)}))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        answers = self.batch(daemon, [{"agent": "puppet"}] * 8)
        self.assertEqual(["taskId" in a for a in answers], [True] * 5 + [False] * 3)
        for answer in answers[5:]:
            self.assertEqual(answer["error"]["code"], "queue_full")
            self.assertGreaterEqual(answer["error"]["retryAfter"], 1)
        self.assertEqual(daemon.metric("kurultai_tasks_rejected_total", code="queue_full"), 3)
        gate.open()

    def test_an_important_one_in_the_same_batch_takes_the_place_of_a_heartbeat(self):
        daemon = self.daemon(settings(workers={"max": 1}, queue={"max_depth": 2, "limits": many(2)}))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        heart, other, first = self.batch(daemon, [{"agent": "puppet", "priority": p} for p in ("heartbeat", "normal", "critical")])
        self.assertEqual(daemon.wait_state(heart["taskId"], "evicted")["error"]["reason"], "evicted")
        gate.open()
        for answer in (other, first):
            daemon.wait_state(answer["taskId"], "completed")

    def test_waiting_gives_the_finished_tasks(self):
        daemon = self.daemon(settings())
        tasks = [{"agent": "puppet", "payload": f"done({n})"} for n in range(20)]
        tasks[3]["payload"] = "fail('no')"
        tasks[7] = {"agent": "nobody"}
        tasks[9] = tasks[8] = {"agent": "puppet", "payload": "done('twin')", "idempotencyKey": "twin"}
        answers = self.batch(daemon, tasks, wait=f"{int(50 * PATIENCE)}s")
        self.assertEqual(answers[3]["error"]["message"], "no")
        self.assertEqual(answers[7]["error"]["code"], "unknown_agent")
        self.assertEqual(answers[8], answers[9])
        self.assertEqual([a.get("result") for n, a in enumerate(answers) if n not in (3, 7, 8, 9)], [n for n in range(20) if n not in (3, 7, 8, 9)])
        # Those that have ended already are told of at once.
        self.assertEqual(self.batch(daemon, [tasks[8]], wait="50s")[0]["result"], "twin")

    def test_a_wait_that_runs_out_gives_the_tasks_as_they_are(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        answers = self.batch(daemon, [{"agent": "puppet", "payload": gate.code()}, {"agent": "nobody"}], wait="100ms")
        self.assertIn(answers[0]["state"], ("queued", "running"))
        self.assertEqual(answers[1]["error"]["code"], "unknown_agent")
        self.assertIn(self.batch(daemon, [{"agent": "puppet", "payload": gate.code()}], wait="0s")[0]["state"], ("queued", "running"))
        gate.open()
        daemon.wait_state(answers[0]["taskId"], "completed")

    def test_an_answer_does_not_grow_without_end(self):
        daemon = self.daemon(settings(workers={"max": 1}, queue={"max_depth": 200, "limits": many(200)}))
        answers = self.batch(daemon, [{"agent": "puppet", "payload": "done('x' * 60000)"}] * 180, wait=f"{int(50 * PATIENCE)}s")
        whole = [a for a in answers if "result" in a]
        self.assertTrue(100 < len(whole) < 150, len(whole))
        self.assertEqual({a["state"] for a in answers}, {"completed"})

    def test_tasks_of_a_client_that_leaves_go_on(self):
        daemon = self.daemon(settings(agents={"puppet": puppet(), "cheap": puppet(durability="none")}))
        gate = Gate(daemon)
        self.batch(daemon, [{"agent": "puppet"}, {"agent": "cheap"}], wait=f"{int(50 * PATIENCE)}s")
        before = open_files(daemon)
        body = json.dumps([{"agent": "puppet", "payload": gate.code()}, {"agent": "cheap", "payload": gate.code()}]).encode()
        with Raw(daemon.socket) as connection:
            connection.send(b"POST /v1/tasks:batch?wait=60s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: len(daemon.get("/v1/tasks?state=running").json["tasks"]) == 2, "both run")
        gate.open()
        wait_until(lambda: len(daemon.get("/v1/tasks?state=completed").json["tasks"]) == 4, "both are done")
        wait_until(lambda: open_files(daemon) <= before, "the connection is gone")

    def test_agents_that_keep_nothing_stand_beside_those_that_do(self):
        daemon = self.daemon(settings(agents={"puppet": puppet(), "cheap": puppet(durability="none")}))
        tasks = [{"agent": ("puppet", "cheap")[n % 2], "payload": f"done({n})"} for n in range(10)]
        waiting = Later(self.batch, daemon, tasks, wait=f"{int(50 * PATIENCE)}s")
        self.assertEqual([a["result"] for a in waiting.result()], list(range(10)))


if __name__ == "__main__":
    unittest.main()
