#!/usr/bin/env python3
"""What happens to a task: submission, order, progress, result, log, cancellation, deadlines, retries, events."""
import base64
import json
import os
import re
import shutil
import tempfile
import time
import unittest

import harness
from harness import E2E, MIB, PYTHON, ROOT, wait_until
from puppet import EventStream, Gate, Later, puppet, settings

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
FIELDS = {"taskId", "agent", "priority", "state", "attempt", "preemptions", "submittedAt", "startedAt", "finishedAt",
          "waitMs", "runMs", "workerId", "progress", "message", "peakMemoryBytes", "result", "error"}


class RoundTrip(E2E):
    def test_the_sdk_example_counts_and_reports_progress(self):
        count = {"protocol": "jsonl", "command": [PYTHON, os.path.join(ROOT, "worker/examples/count.py")]}
        daemon = self.daemon(settings({"count": count}))
        task = daemon.run("count", {"to": 20, "delay_ms": 5})
        self.assertEqual(task["state"], "completed", task)
        self.assertEqual(task["result"], {"sum": 210, "steps_run": 20})
        self.assertEqual(task["progress"], 100)
        percents = [event["percent"] for event in daemon.events() if event["type"] == "taskProgress"]
        self.assertTrue(percents and percents == sorted(percents), percents)

    def test_the_task_message_says_what_the_contract_names(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "done(t)", priority="high", timeout="20s")
        told = task["result"]
        self.assertEqual(told["taskId"], task["taskId"])
        self.assertEqual((told["agent"], told["priority"], told["attempt"]), ("puppet", "high", 1))
        self.assertEqual((told["payload"], told["deadlineMs"]), ("done(t)", 20000))

    def test_every_json_value_comes_back_unchanged(self):
        daemon = self.daemon(settings({"echo": {"protocol": "jsonl", "command": harness.agent_command(
            "say({'type':'READY','protocol':1})\n"
            "while True:\n t=task(); say({'type':'COMPLETE','taskId':t['taskId'],'result':t['payload']})")}}))
        for value in ({"a": [1, -2.5, True, None, "ü€😀\u2028\u0000\"\\"]}, [], {}, "", 0, False, [[[]]], "x" * 60000,
                      9007199254740993, 18446744073709551615, -9223372036854775808):
            with self.subTest(value=str(value)[:40]):
                task = daemon.run("echo", value)
                self.assertEqual((task["state"], task["result"]), ("completed", value))

    def test_a_task_object_has_every_field_of_the_contract(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", "about('PROGRESS', percent=40, message='half')\n" + gate.code("done({'x': 1})"))
        # A peak is the largest of samples: it runs until one has seen it.
        wait_until(lambda: any(worker["peakMemoryBytes"] > MIB for worker in daemon.get("/v1/workers").json["workers"]), "a reading")
        gate.open()
        done = daemon.wait_state(task_id, "completed")
        self.assertLessEqual(FIELDS, done.keys())
        for name in ("submittedAt", "startedAt", "finishedAt"):
            self.assertRegex(done[name], TIME)
        self.assertLessEqual(done["submittedAt"], done["startedAt"])
        self.assertLessEqual(done["startedAt"], done["finishedAt"])
        self.assertEqual((done["agent"], done["priority"], done["state"], done["attempt"], done["preemptions"]),
                         ("puppet", "normal", "completed", 1, 0))
        self.assertGreater(done["peakMemoryBytes"], MIB)
        self.assertIsNone(done["error"])
        self.assertEqual(daemon.task(done["taskId"]), done)
        failed = daemon.run("puppet", "fail('broken', stack='line 1')")
        self.assertLessEqual(FIELDS, failed.keys())
        self.assertEqual(failed["error"], {"reason": "agent_error", "message": "broken", "stack": "line 1",
                                           "exitCode": None, "signal": None})

    def test_progress_and_message_show_while_it_runs(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", "about('PROGRESS', percent=40.5, message='half')\n" + gate.code())
        task = wait_until(lambda: (lambda t: t if t["progress"] else None)(daemon.task(task_id)), "progress")
        self.assertEqual((task["progress"], task["message"], task["state"]), (40.5, "half", "running"))
        gate.open()
        self.assertEqual(daemon.wait_state(task_id, "completed")["progress"], 100)

    def test_accepted_tasks_are_told_their_position(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        running = daemon.start("puppet", gate.code())
        daemon.wait_state(running, "running")
        answers = [daemon.submit("puppet") for _ in range(2)] + [daemon.submit("puppet", priority="high")]
        self.assertEqual([a.status for a in answers], [202, 202, 202])
        self.assertEqual([a.json["position"] for a in answers], [1, 2, 1])
        self.assertEqual([a.json["state"] for a in answers], ["queued"] * 3)
        gate.open()
        for answer in answers:
            daemon.wait_state(answer.json["taskId"], "completed")


class Results(E2E):
    def test_small_text_in_pieces_is_one_string(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "for x in ('a','ü','😀'): about('CHUNK', data=x)\nabout('COMPLETE')")
        self.assertEqual((task["state"], task["result"]), ("completed", "aü😀"))
        answer = daemon.get(f"/v1/tasks/{task['taskId']}/result")
        self.assertEqual(answer.body.decode(), "aü😀")

    def test_a_character_split_over_two_binary_pieces_is_text(self):
        daemon = self.daemon(settings())
        first, second = (base64.b64encode(part).decode() for part in ("ü".encode()[:1], "ü".encode()[1:]))
        task = daemon.run("puppet", f"for x in ({first!r},{second!r}): about('CHUNK', data=x, encoding='base64')\n"
                                    "about('COMPLETE')")
        self.assertEqual(task["result"], "ü")

    def test_more_than_64_kib_in_pieces_is_streamed(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "for i in range(300): about('CHUNK', data=chr(97 + i % 26) * 10000)\nabout('COMPLETE')")
        self.assertEqual((task["state"], task["resultBytes"]), ("completed", 3000000))
        self.assertNotIn("result", task)
        answer = daemon.get(f"/v1/tasks/{task['taskId']}/result")
        self.assertEqual(answer.body, b"".join(bytes([97 + i % 26]) * 10000 for i in range(300)))
        self.assertIn("attachment", answer.headers["Content-Disposition"])
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")

    def test_binary_pieces_come_back_byte_for_byte(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "import base64\nfor i in range(4): about('CHUNK', encoding='base64',"
                                    " data=base64.b64encode(bytes(range(256))).decode())\nabout('COMPLETE')")
        self.assertEqual((task["state"], task["resultBytes"]), ("completed", 1024))
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/result").body, bytes(range(256)) * 4)

    def test_a_large_json_result_is_streamed_and_is_json(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "done({'text': 'x' * 200000})")
        self.assertEqual(task["state"], "completed")
        self.assertEqual(task["resultBytes"], 200000 + len('{"text":""}'))
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/result").json, {"text": "x" * 200000})

    def test_a_large_text_is_streamed_as_itself_like_a_small_one(self):
        daemon = self.daemon(settings())
        for text in ("\"quoted\"\n", "\"quoted\"\n" * 20000):
            with self.subTest(len(text)):
                task = daemon.run("puppet", f"done('\"quoted\"\\n' * {len(text) // 9})")
                self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/result").body.decode(), text)

    def test_pieces_of_a_failed_attempt_are_not_in_the_result(self):
        daemon = self.daemon(settings())
        for size in (10, 50000):
            with self.subTest(size=size):
                task = daemon.run("puppet", f"for i in range(3): about('CHUNK', data=str(t['attempt']) * {size})\n"
                                            "fail() if t['attempt'] == 1 else about('COMPLETE')", retries=1)
                self.assertEqual((task["state"], task["attempt"]), ("completed", 2))
                self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/result").body, b"2" * 3 * size)

    def test_a_result_above_the_limit_fails_the_task(self):
        daemon = self.daemon(settings(store={"max_result": "100KiB"}))
        task = daemon.run("puppet", "for i in range(30): about('CHUNK', data='x' * 10000)\nabout('COMPLETE')")
        self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "protocol_error"))
        self.assertIn("max_result", task["error"]["message"])

    def test_the_result_of_an_unfinished_task_is_not_found(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", gate.code())
        self.assertEqual(daemon.get(f"/v1/tasks/{task_id}/result").status, 404)
        gate.open()
        daemon.wait_state(task_id, "completed")

    def test_files_of_results_go_with_their_tasks(self):
        daemon = self.daemon(settings(store={"max_finished": 2}))
        ids = [daemon.run("puppet", "done('x' * 100000)")["taskId"] for _ in range(5)]
        self.assertEqual(daemon.get(f"/v1/tasks/{ids[0]}").status, 404)
        files = lambda: [name for _, _, names in os.walk(daemon.state) for name in names if name.startswith(tuple(ids))]
        wait_until(lambda: len(files()) == 2, "only the kept results have files")


class Logs(E2E):
    def test_log_messages_and_stderr_are_in_the_log(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "say({'type':'LOG','level':'warn','message':'careful'})\n"
                                    "sys.stderr.write('to stderr\\n'); sys.stderr.flush()\nprint('printed', flush=True)\ndone()")
        answer = daemon.get(f"/v1/tasks/{task['taskId']}/logs")
        self.assertEqual(answer.status, 200)
        self.assertEqual(sorted(answer.body.decode().splitlines()), ["[warn] careful", "printed", "to stderr"])
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")

    def test_following_a_log_shows_lines_as_they_come_and_ends_with_the_task(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", "print('first', file=sys.stderr, flush=True)\n" + gate.code(
            "print('second', file=sys.stderr, flush=True)\ndone()"))
        wait_until(lambda: daemon.get(f"/v1/tasks/{task_id}/logs").body == b"first\n", "the first line")
        connection = harness._UnixConnection(daemon.socket, 20 * harness.PATIENCE)
        connection.request("GET", f"/v1/tasks/{task_id}/logs?follow=1")
        response = connection.getresponse()
        self.assertEqual(response.readline(), b"first\n")
        gate.open()
        self.assertEqual(response.readline(), b"second\n")
        self.assertEqual(response.read(), b"")
        connection.close()

    def test_the_log_keeps_the_newest_bytes(self):
        daemon = self.daemon(settings(store={"max_log": "8KiB"}))
        task = daemon.run("puppet", "for i in range(2000): sys.stderr.write('line %d\\n' % i)\nsys.stderr.flush()\ndone()")
        log = daemon.get(f"/v1/tasks/{task['taskId']}/logs").body
        self.assertLessEqual(len(log), 8192)
        self.assertTrue(log.endswith(b"line 1999\n"), log[-50:])
        self.assertRegex(log, rb"^\[kurultai\] \d+ bytes before this are no longer kept\nline \d+\n")

    def test_a_log_is_in_files_that_outlive_the_supervisor_and_go_with_the_task(self):
        few = settings(store={"max_finished": 2})
        directory = tempfile.mkdtemp(prefix="kt-")
        self.addCleanup(shutil.rmtree, directory, True)
        daemon = self.daemon(few, directory=directory)
        logs = os.path.join(directory, "state", "logs")
        daemon.run("puppet")
        self.assertEqual(os.listdir(logs), [])
        told = daemon.task(daemon.run("puppet", "sys.stderr.write('something\\n'); sys.stderr.flush(); say({'type':'LOG','level':'info','message':'more'}); done()")["taskId"])
        path = f"/v1/tasks/{told['taskId']}"
        said = daemon.get(path + "/logs").body
        self.assertEqual(sorted(said.splitlines()), [b"[info] more", b"something"])
        with open(os.path.join(logs, "stray"), "wb"), open(os.path.join(logs, "stray.1"), "wb"):
            pass
        daemon.kill()
        daemon = self.daemon(few, directory=directory)
        self.assertEqual(os.listdir(logs), [told["taskId"]])
        self.assertEqual(daemon.get(path + "/logs").body, said)
        self.assertEqual(daemon.get(path + "/logs?follow=1").body, said)
        self.assertEqual(daemon.get(path).json, {**told, "logBytes": len(said)})
        self.assertIn("something", daemon.get(path + "/why").json["log"])
        for _ in range(2):
            daemon.run("puppet")
        harness.wait_until(lambda: not os.listdir(logs), "its log is gone with it", 10)

    def test_a_flood_of_stderr_costs_neither_memory_nor_answers(self):
        daemon = self.daemon(settings(store={"max_log": "1MiB"}))
        task = daemon.start("puppet", "block=b'x'*1023+b'\\n'\nfor i in range(60000): os.write(2,block)\ndone()")
        while daemon.task(task)["state"] in ("queued", "running"):
            self.assertEqual(daemon.get("/health", timeout=10).status, 200)
        self.assertEqual(daemon.task(task)["state"], "completed")
        log = daemon.get(f"/v1/tasks/{task}/logs").body
        self.assertLessEqual(len(log), 1024 * 1024)
        self.assertTrue(log.endswith(b"x\n"))
        self.assertLessEqual(daemon.task(task)["logBytes"], 1024 * 1024)


class Order(E2E):
    def started(self, daemon):
        return [event["taskId"] for event in daemon.events() if event["type"] == "taskStarted"]

    def test_the_more_important_goes_first_and_inside_a_level_the_older(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        first = daemon.start("puppet", gate.code())
        daemon.wait_state(first, "running")
        wanted = ["heartbeat", "low", "normal", "critical", "high", "low", "normal", "critical", "high", "heartbeat"]
        ids = [(level, daemon.start("puppet", priority=level)) for level in wanted]
        gate.open()
        for _, task_id in ids:
            daemon.wait_state(task_id, "completed")
        rank = ["critical", "high", "normal", "low", "heartbeat"]
        expected = [task_id for _, task_id in sorted(ids, key=lambda pair: rank.index(pair[0]))]  # sorted() is stable
        self.assertEqual(self.started(daemon), [first, *expected])

    def test_a_full_queue_refuses_with_429_and_says_when_to_come_again(self):
        daemon = self.daemon(settings(workers={"max": 1}, queue={"max_depth": 2}))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        waiting = [daemon.start("puppet") for _ in range(2)]
        refused = daemon.submit("puppet", idempotencyKey="late")
        self.assertEqual(refused.status, 429)
        error = refused.json["error"]
        self.assertEqual(error["code"], "queue_full")
        self.assertGreaterEqual(error["retryAfter"], 1)
        self.assertEqual(refused.headers["Retry-After"], str(error["retryAfter"]))
        self.assertEqual(daemon.metric("kurultai_tasks_rejected_total", code="queue_full"), 1)
        self.assertEqual(daemon.wait_event("taskRejected")["code"], "queue_full")
        gate.open()
        for task_id in waiting:
            daemon.wait_state(task_id, "completed")
        self.assertEqual(daemon.submit("puppet", "done(1)", idempotencyKey="late").status, 202)  # nothing was registered

    def test_each_level_has_its_own_limit(self):
        daemon = self.daemon(settings(workers={"max": 1}, queue={"limits": {"low": 1, "high": 0}}))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        self.assertEqual(daemon.submit("puppet", priority="low").status, 202)
        refused = daemon.submit("puppet", priority="low")
        self.assertEqual((refused.status, refused.json["error"]["code"]), (429, "queue_full"))
        self.assertIn("low", refused.json["error"]["message"])
        self.assertEqual(daemon.submit("puppet", priority="high").status, 429)
        self.assertEqual(daemon.submit("puppet", priority="normal").status, 202)
        gate.open()

    def test_a_critical_task_evicts_a_heartbeat_and_its_waiter_is_told(self):
        daemon = self.daemon(settings(workers={"max": 1}, queue={"max_depth": 3}))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        older = daemon.start("puppet", priority="heartbeat")
        waiter = Later(daemon.submit, "puppet", priority="heartbeat", wait="60s")
        wait_until(lambda: daemon.get("/v1/queue").json["depth"] == 2, "two wait")
        normal = daemon.start("puppet")
        self.assertEqual(daemon.submit("puppet", priority="high").status, 429)  # only critical evicts
        critical = daemon.start("puppet", priority="critical")
        answer = waiter.result()
        self.assertEqual((answer.status, answer.json["state"]), (200, "evicted"))
        self.assertEqual(answer.json["error"]["reason"], "evicted")
        self.assertEqual(daemon.wait_event("taskEvicted")["taskId"], answer.json["taskId"])
        gate.open()
        for task_id in (older, normal, critical):
            daemon.wait_state(task_id, "completed")

    def test_critical_evicts_nothing_else(self):
        daemon = self.daemon(settings(workers={"max": 1}, queue={"max_depth": 2}))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        for level in ("low", "normal"):
            daemon.start("puppet", priority=level)
        self.assertEqual(daemon.submit("puppet", priority="critical").status, 429)
        gate.open()


class Idempotency(E2E):
    def test_the_same_key_and_payload_give_the_same_task(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}))
        first = daemon.run("puppet", "done(1)", idempotencyKey="k")
        again = daemon.submit("puppet", "done(1)", idempotencyKey="k")
        self.assertEqual(again.json["taskId"], first["taskId"])
        self.assertEqual(daemon.run("puppet", "done(1)", idempotencyKey="k")["taskId"], first["taskId"])
        self.assertEqual(daemon.metric("kurultai_tasks_finished_total", agent="puppet", state="completed"), 1)
        elsewhere = daemon.run("other", "done(1)", idempotencyKey="k")  # keys are per agent
        self.assertNotEqual(elsewhere["taskId"], first["taskId"])

    def test_the_order_of_keys_in_the_payload_does_not_matter(self):
        echo = harness.agent_command("say({'type':'READY'})\nwhile True:\n t=task(); say({'type':'COMPLETE','taskId':t['taskId']})")
        daemon = self.daemon(settings({"echo": {"command": echo}}))
        bodies = ['{"agent":"echo","idempotencyKey":"k","payload":{"a":1,"b":2}}',
                  '{"agent":"echo","idempotencyKey":"k","payload":{"b":2, "a":1}}']
        ids = {daemon.request("POST", "/v1/tasks?wait=20s", body).json.get("taskId") for body in bodies}
        self.assertEqual(len(ids), 1)

    def test_the_same_key_with_another_payload_is_a_conflict(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done(1)", idempotencyKey="k")
        conflict = daemon.submit("puppet", "done(2)", idempotencyKey="k")
        self.assertEqual((conflict.status, conflict.json["error"]["code"]), (409, "key_conflict"))

    def test_a_known_key_is_answered_though_the_queue_is_full(self):
        daemon = self.daemon(settings(workers={"max": 1}, queue={"max_depth": 1}))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        waiting = daemon.start("puppet", "done(1)", idempotencyKey="k")
        again = daemon.submit("puppet", "done(1)", idempotencyKey="k")
        self.assertEqual((again.status, again.json["taskId"]), (202, waiting))
        gate.open()
        daemon.wait_state(waiting, "completed")


class Cancellation(E2E):
    def cancel(self, daemon, task_id):
        return daemon.request("DELETE", f"/v1/tasks/{task_id}")

    def test_a_waiting_task_leaves_the_queue(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        waiter = Later(daemon.submit, "puppet", wait="60s")
        waiting = wait_until(lambda: daemon.get("/v1/queue").json["tasks"], "it waits")[0]["taskId"]
        answer = self.cancel(daemon, waiting)
        self.assertEqual((answer.status, answer.json["state"]), (202, "cancelled"))
        self.assertEqual(waiter.result().json["state"], "cancelled")
        task = daemon.task(waiting)
        self.assertEqual(task["error"]["reason"], "cancelled")
        self.assertIsNone(task["startedAt"])
        self.assertEqual(daemon.get("/v1/queue").json["depth"], 0)
        gate.open()

    def test_an_agent_that_answers_cancel_keeps_its_worker(self):
        daemon = self.daemon(settings({"puppet": puppet(grace="20s")}))
        task_id = daemon.start("puppet", "until('CANCEL')\nfail('stopped')")
        worker = daemon.wait_state(task_id, "running")["workerId"]
        self.assertEqual(self.cancel(daemon, task_id).status, 202)
        task = daemon.wait_state(task_id, "cancelled", "failed")
        self.assertEqual((task["state"], task["error"]["reason"]), ("cancelled", "cancelled"))
        self.assertEqual(daemon.run("puppet", "done()")["workerId"], worker)

    def test_an_agent_that_ignores_cancel_is_terminated_then_killed(self):
        daemon = self.daemon(settings())
        cases = {"dies of SIGTERM": "time.sleep(300)",
                 "ignores SIGTERM too": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nabout('PROGRESS', percent=1)\ntime.sleep(300)"}
        for name, code in cases.items():
            with self.subTest(name):
                task_id = daemon.start("puppet", code)
                worker = daemon.wait_state(task_id, "running")["workerId"]
                self.cancel(daemon, task_id)
                self.assertEqual(daemon.wait_state(task_id, "cancelled", timeout=10)["error"]["reason"], "cancelled")
                daemon.wait_event("workerExited", workerId=worker)
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)

    def test_an_answer_after_the_cancellation_counts_for_nothing(self):
        daemon = self.daemon(settings({"puppet": puppet(grace="20s")}))
        task_id = daemon.start("puppet", "until('CANCEL')\ndone('too late')")
        daemon.wait_state(task_id, "running")
        self.cancel(daemon, task_id)
        task = daemon.wait_state(task_id, "cancelled", "completed")
        self.assertEqual((task["state"], task["result"]), ("cancelled", None))

    def test_cancelling_twice_is_no_error_while_it_runs(self):
        daemon = self.daemon(settings())
        task_id = daemon.start("puppet", "time.sleep(300)")
        daemon.wait_state(task_id, "running")
        self.assertEqual([self.cancel(daemon, task_id).status for _ in range(2)], [202, 202])
        daemon.wait_state(task_id, "cancelled")

    def test_a_task_whose_worker_is_still_starting_can_be_cancelled(self):
        slow = harness.agent_command("time.sleep(1.5)\nsay({'type':'READY'})\nwhile True: task()")
        daemon = self.daemon(settings({"slow": {"command": slow}}))
        task_id = daemon.start("slow")
        self.assertEqual(self.cancel(daemon, task_id).status, 202)
        task = daemon.wait_state(task_id, "cancelled", timeout=1)
        self.assertEqual(task["error"]["reason"], "cancelled")

    def test_finished_and_unknown_tasks_cannot_be_cancelled(self):
        daemon = self.daemon(settings())
        done = daemon.run("puppet", "done()")
        answer = self.cancel(daemon, done["taskId"])
        self.assertEqual((answer.status, answer.json["error"]["code"]), (409, "already_finished"))
        for task_id in ("nothing", "%2e%2e", "x" * 500):
            answer = self.cancel(daemon, task_id)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (404, "not_found"))


class Disconnection(E2E):
    """`onDisconnect=cancel`: a task is for whoever waits for it."""

    def waiting(self, daemon, method, path, task=None):
        connection = harness._UnixConnection(daemon.socket, 60 * harness.PATIENCE)
        self.addCleanup(connection.close)
        connection.request(method, path, json.dumps(task) if task else None)
        return connection

    def held(self, daemon):
        """The id of the one task, when it runs."""
        return wait_until(lambda: next((task["taskId"] for task in daemon.get("/v1/tasks?state=running").json["tasks"]), None), "it runs")

    def test_a_client_that_goes_takes_its_task_with_it(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        submission = {"agent": "puppet", "payload": gate.code()}
        for method, path in (("POST", "/v1/tasks?wait=1m&onDisconnect=cancel"), ("GET", "/v1/tasks/{}?wait=1m&onDisconnect=cancel")):
            task = daemon.start("puppet", gate.code()) if method == "GET" else None
            connection = self.waiting(daemon, method, path.format(task), None if task else submission)
            task = task or self.held(daemon)
            connection.close()
            ended = daemon.wait_state(task, "cancelled", "completed", "failed")
            self.assertEqual((ended["state"], ended["error"]["message"]), ("cancelled", "whoever waited for it has gone"))

    def test_not_one_that_somebody_else_waits_for_nor_without_being_asked(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task = daemon.start("puppet", gate.code())
        asking = [self.waiting(daemon, "GET", f"/v1/tasks/{task}?wait=1m{more}") for more in ("&onDisconnect=cancel", "&onDisconnect=continue", "")]
        daemon.get("/health")  # the three were heard before
        for connection in asking[:2]:
            connection.close()
        daemon.get("/health")
        self.assertIn(daemon.task(task)["state"], ("queued", "running"))
        asking[2].close()
        daemon.get("/health")
        gate.open()
        self.assertEqual(daemon.wait_state(task, "completed", "cancelled", "failed")["state"], "completed")

    def test_not_one_that_a_batch_waits_for(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        submission = {"agent": "puppet", "payload": gate.code(), "idempotencyKey": "one"}
        batch = self.waiting(daemon, "POST", "/v1/tasks:batch?wait=1m", [submission])
        task = self.held(daemon)
        self.waiting(daemon, "POST", "/v1/tasks?wait=1m&onDisconnect=cancel", submission).close()
        daemon.get("/health")
        gate.open()
        self.assertEqual([one["state"] for one in json.loads(batch.getresponse().read())], ["completed"])
        self.assertEqual(daemon.task(task)["state"], "completed")

    def test_a_supervisor_that_goes_takes_none_with_it(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task = daemon.start("puppet", gate.code())
        self.waiting(daemon, "GET", f"/v1/tasks/{task}?wait=1m&onDisconnect=cancel")
        daemon.wait_state(task, "running")
        daemon.request("POST", "/v1/drain?timeout=10ms")
        daemon.process.wait(30 * harness.PATIENCE)
        again = self.daemon(settings(), directory=daemon.dir)
        gate.open()
        self.assertEqual(again.wait_state(task, "completed", "cancelled", "failed")["state"], "completed")

    def test_what_makes_no_sense_is_refused(self):
        daemon = self.daemon(settings())
        for path, part in (("/v1/tasks?onDisconnect=cancel", "onDisconnect: says what becomes of a task that 'wait' waits for"),
                           ("/v1/tasks?wait=1s&onDisconnect=kill", "onDisconnect: cancel or continue"),
                           ("/v1/tasks:batch?wait=1s&onDisconnect=cancel", "there is no parameter 'onDisconnect' here")):
            answer = daemon.request("POST", path, json.dumps({"agent": "puppet", "payload": "done()"}))
            self.assertEqual(answer.status, 400, answer.body)
            self.assertIn(part, answer.json["error"]["message"])


class Deadlines(E2E):
    def test_a_task_that_runs_too_long_fails_with_timeout(self):
        daemon = self.daemon(settings({"puppet": puppet(timeout="500ms"), "patient": puppet()}))
        for agent, fields in (("puppet", {}), ("patient", {"timeout": "500ms"})):
            with self.subTest(agent):
                task = daemon.run(agent, "until('CANCEL')\nfail('stopped')", **fields)
                self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "timeout"))
                self.assertIn("500ms", task["error"]["message"])
                self.assertGreaterEqual(task["runMs"], 500)

    def test_an_agent_that_ignores_its_timeout_is_killed(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass", timeout="300ms")
        self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "timeout"))

    def test_silence_is_a_stall_and_progress_is_not(self):
        daemon = self.daemon(settings({"puppet": puppet(stall_timeout="700ms")}))
        lively = daemon.run("puppet", "for i in range(10):\n about('PROGRESS', percent=i)\n time.sleep(0.15)\ndone()")
        self.assertEqual(lively["state"], "completed", lively)
        silent = daemon.run("puppet", "time.sleep(300)")
        self.assertEqual((silent["state"], silent["error"]["reason"]), ("failed", "stalled"))
        repeating = daemon.run("puppet", "while True:\n about('PROGRESS', percent=5)\n time.sleep(0.1)")
        self.assertEqual(repeating["error"]["reason"], "stalled")

    def test_a_wait_that_runs_out_gives_202_with_the_task(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        answer = daemon.submit("puppet", gate.code(), wait="300ms")
        self.assertEqual(answer.status, 202)
        self.assertLessEqual(FIELDS, answer.json.keys())
        task_id = answer.json["taskId"]
        self.assertEqual(daemon.get(f"/v1/tasks/{task_id}?wait=100ms").status, 202)
        gate.open()
        self.assertEqual(daemon.get(f"/v1/tasks/{task_id}?wait=30s").json["state"], "completed")
        self.assertEqual(daemon.get(f"/v1/tasks/{task_id}?wait=30s").status, 200)  # finished long ago

    def test_many_can_wait_for_one_task(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", gate.code("done('for all')"))
        waiters = [Later(daemon.get, f"/v1/tasks/{task_id}?wait=30s") for _ in range(10)]
        time.sleep(0.2)  # most of them are waiting by now; those that are not are answered at once
        gate.open()
        self.assertEqual([w.result().json["result"] for w in waiters], ["for all"] * 10)


class Retries(E2E):
    def test_failures_are_tried_again_and_counted(self):
        daemon = self.daemon(settings({"puppet": puppet(retries=2)}))
        task = daemon.run("puppet", "done(t['attempt']) if t['attempt'] == 3 else fail()")
        self.assertEqual((task["state"], task["result"], task["attempt"]), ("completed", 3, 3))
        task = daemon.run("puppet", "fail('no ' + str(t['attempt']))")
        self.assertEqual((task["state"], task["attempt"], task["error"]["message"]), ("failed", 3, "no 3"))

    def test_the_submission_says_how_often(self):
        daemon = self.daemon(settings({"puppet": puppet(retries=2)}))
        self.assertEqual(daemon.run("puppet", "fail()", retries=0)["attempt"], 1)
        self.assertEqual(daemon.run("puppet", "fail()", retries=1)["attempt"], 2)

    def test_by_default_nothing_is_tried_again(self):
        daemon = self.daemon(settings())
        self.assertEqual(daemon.run("puppet", "fail()")["attempt"], 1)

    def test_what_is_not_retryable_is_not_tried_again(self):
        daemon = self.daemon(settings({"puppet": puppet(retries=5)}))
        self.assertEqual(daemon.run("puppet", "fail('for good', retryable=False)")["attempt"], 1)

    def test_a_death_of_the_worker_is_tried_again(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "os._exit(3) if t['attempt'] == 1 else done('second')", retries=1)
        self.assertEqual((task["state"], task["attempt"], task["result"]), ("completed", 2, "second"))

    def test_a_timeout_is_tried_again(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "time.sleep(300) if t['attempt'] == 1 else done()", retries=1, timeout="500ms")
        self.assertEqual((task["state"], task["attempt"]), ("completed", 2))

    def test_a_task_that_may_not_run_twice_never_does(self):
        daemon = self.daemon(settings({"puppet": puppet(idempotent=False, retries=5)}))
        for code, reason in (("fail()", "agent_error"), ("os._exit(3)", "exit_code"), ("time.sleep(300)", "timeout")):
            with self.subTest(reason):
                task = daemon.run("puppet", code, timeout="1s")
                self.assertEqual((task["state"], task["error"]["reason"], task["attempt"]), ("failed", reason, 1))

    def test_a_cancelled_task_is_not_tried_again(self):
        daemon = self.daemon(settings())
        task_id = daemon.start("puppet", "until('CANCEL')\nfail()", retries=5)
        daemon.wait_state(task_id, "running")
        daemon.request("DELETE", f"/v1/tasks/{task_id}")
        self.assertEqual(daemon.wait_state(task_id, "cancelled", "failed", "completed")["attempt"], 1)

    def test_an_agent_that_gives_way_by_itself_gets_its_state_back(self):
        daemon = self.daemon(settings())
        task = daemon.run("puppet", "done(t['checkpoint']) if 'checkpoint' in t else about('PREEMPTED', state={'at': 7})")
        self.assertEqual((task["state"], task["result"]), ("completed", {"at": 7}))
        self.assertEqual((task["attempt"], task["preemptions"]), (1, 1))
        self.assertEqual(daemon.wait_event("taskPreempted")["taskId"], task["taskId"])

    def test_the_last_checkpoint_survives_a_crash(self):
        daemon = self.daemon(settings())
        code = ("if t['attempt'] == 1:\n about('CHECKPOINT', state=1); about('CHECKPOINT', state=[2]); os._exit(1)\n"
                "done(t.get('checkpoint'))")
        self.assertEqual(daemon.run("puppet", code, retries=1)["result"], [2])

    def test_giving_way_again_and_again_ends(self):
        daemon = self.daemon(settings({"puppet": puppet(max_preemptions=3)}))
        task = daemon.run("puppet", "about('PREEMPTED')")
        self.assertEqual((task["state"], task["error"]["reason"], task["preemptions"]), ("failed", "memory_budget", 3))

    def test_messages_about_other_tasks_are_ignored(self):
        daemon = self.daemon(settings(workers={"max": 2}))
        gate = Gate(daemon)
        other = daemon.start("puppet", gate.code("done('mine')"))
        daemon.wait_state(other, "running")
        code = ("for wrong in (%r, 'nobody', ''):\n"
                "  say({'type':'COMPLETE','taskId':wrong,'result':'stolen'}); say({'type':'FAILED','taskId':wrong,'error':'x'})\n"
                "  say({'type':'PROGRESS','taskId':wrong,'percent':77}); say({'type':'PREEMPTED','taskId':wrong})\n"
                "  say({'type':'CHUNK','taskId':wrong,'data':'x'}); say({'type':'CHECKPOINT','taskId':wrong,'state':1})\n"
                "done('own')") % other
        self.assertEqual(daemon.run("puppet", code)["result"], "own")
        task = daemon.task(other)
        self.assertEqual((task["state"], task["progress"]), ("running", None))
        gate.open()
        self.assertEqual(daemon.wait_state(other, "completed")["result"], "mine")


class Lists(E2E):
    def test_filters_and_cursor(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}))
        good = [daemon.run("puppet", "done()")["taskId"] for _ in range(5)]
        bad = [daemon.run("puppet", "fail()")["taskId"] for _ in range(2)]
        others = [daemon.run("other", "done()")["taskId"]]

        def ids(query=""):
            return [task["taskId"] for task in daemon.get("/v1/tasks" + query).json["tasks"]]

        self.assertEqual(ids(), good + bad + others)
        self.assertEqual(ids("?state=failed"), bad)
        self.assertEqual(ids("?state=failed,completed&agent=puppet"), good + bad)
        self.assertEqual(ids("?agent=other"), others)
        self.assertEqual(ids("?agent=nobody"), [])
        seen, after = [], ""
        while after is not None:
            page = daemon.get(f"/v1/tasks?limit=3&after={after}").json
            self.assertLessEqual(len(page["tasks"]), 3)
            seen += [task["taskId"] for task in page["tasks"]]
            after = page["next"]
        self.assertEqual(seen, good + bad + others)
        page = daemon.get("/v1/tasks?state=completed&order=newest&limit=2").json
        self.assertEqual([task["taskId"] for task in page["tasks"]], [*others, good[-1]])
        self.assertEqual(ids(f"?state=completed&order=newest&after={page['next']}"), good[-2::-1])
        for query in ("?order=x", "?state=nonsense", "?limit=0", "?limit=100000", "?limit=x", "?limit=-1", "?limit=5x"):
            with self.subTest(query):
                self.assertEqual(daemon.get("/v1/tasks" + query).status, 400)


class Events(E2E):
    def test_a_task_s_life_is_told_in_order(self):
        daemon = self.daemon(settings())
        with EventStream(daemon) as stream:
            task = daemon.run("puppet", "about('PROGRESS', percent=50)\ndone()")
            events = stream.until("taskCompleted")
        names = [event["type"] for event in events]
        self.assertEqual([n for n in names if n.startswith("task")], ["taskQueued", "taskStarted", "taskProgress", "taskCompleted"])
        self.assertLess(names.index("workerSpawned"), names.index("workerReady"))
        for event in events:
            self.assertRegex(event["time"], TIME)
            self.assertIn("correlationId", event)
        self.assertEqual({e["taskId"] for e in events if e["type"].startswith("task")}, {task["taskId"]})
        ids = [event["id"] for event in events]
        self.assertEqual(ids, sorted(set(ids)))

    def test_a_reader_that_comes_back_misses_nothing(self):
        daemon = self.daemon(settings())
        first = daemon.run("puppet", "done()")["taskId"]
        middle = daemon.wait_event("taskCompleted", taskId=first)["id"]
        second = daemon.run("puppet", "done()")["taskId"]
        with EventStream(daemon, last_id=middle) as stream:
            events = stream.until("taskCompleted")
        self.assertEqual([e["id"] for e in events], list(range(middle + 1, middle + 1 + len(events))))
        self.assertEqual(events[-1]["taskId"], second)

    def test_without_an_id_only_new_events_come(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done()")
        with EventStream(daemon) as stream:
            second = daemon.run("puppet", "done()")["taskId"]
            events = stream.until("taskCompleted")
        self.assertEqual({e["taskId"] for e in events if "taskId" in e}, {second})

    def test_a_reader_of_one_task_hears_of_nothing_else(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        daemon.start("puppet", gate.code())
        wanted = daemon.start("puppet", "done()")
        daemon.start("puppet", "done()")
        with EventStream(daemon, f"/v1/events?taskId={wanted}", last_id=0) as stream:
            gate.open()
            events = stream.until("taskCompleted")
        self.assertEqual([e["type"] for e in events], ["taskQueued", "taskStarted", "taskCompleted"])
        self.assertEqual({e["taskId"] for e in events}, {wanted})


if __name__ == "__main__":
    unittest.main()
