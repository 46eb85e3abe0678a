#!/usr/bin/env python3
"""Refusals: how long each says to wait is true, those who obey get in, and who asks how things are never waits."""
import threading
import time
import unittest

import harness
from harness import PATIENCE, E2E, wait_until
from level import BALLOON, Balloon, Scale
from puppet import Gate, puppet, settings
from raw_http import HOST, Raw

BUDGET = 600 if harness.is_instrumented() else 320


def narrow(**sections):
    """A queue of five before two workers."""
    return settings(queue={"max_depth": 5}, **sections)


class Patient(threading.Thread):
    """A client that does what Retry-After says, and nothing else, until it is let in."""

    def __init__(self, daemon, payload, begin):
        super().__init__(daemon=True)
        self.daemon_, self.payload, self.begin = daemon, payload, begin
        self.waits, self.answer = [], None
        self.start()

    def run(self):
        time.sleep(max(0, self.begin - time.monotonic()))
        while len(self.waits) < 20:
            self.answer = self.daemon_.submit("puppet", self.payload)
            if self.answer.status != 429:
                return
            self.waits.append(int(self.answer.headers["Retry-After"]))
            time.sleep(self.waits[-1])


class Spike(E2E):
    def spike(self, apart, seconds=0.7, known=True):
        daemon = self.daemon(narrow())
        payload = f"time.sleep({seconds})\ndone()"
        for _ in range(2 if known else 0):
            daemon.run("puppet", payload)
        begin = time.monotonic() + 0.1
        clients = [Patient(daemon, payload, begin + n * apart) for n in range(20)]
        for client in clients:
            client.join(120 * PATIENCE)
            self.assertIsNotNone(client.answer)
            self.assertEqual(client.answer.status, 202, client.answer.body)
        waits = sorted(client.waits for client in clients)
        self.assertLessEqual(max(map(len, waits)), 2, waits)
        self.assertGreaterEqual(len([client for client in clients if client.waits]), 8, waits)
        for client in clients:
            daemon.wait_state(client.answer.json["taskId"], "completed", timeout=60)

    def test_20_at_once_into_a_queue_of_5(self):
        self.spike(apart=0)

    def test_20_one_after_the_other_into_a_queue_of_5(self):
        self.spike(apart=0.1)

    def test_20_when_nothing_was_observed_yet(self):
        self.spike(apart=0.1, seconds=1.2, known=False)


class Truth(E2E):
    def refused_after(self, seconds):
        """The Retry-After of a full queue after tasks that took so long."""
        daemon = self.daemon(narrow())
        daemon.run("puppet")
        tasks = [daemon.start("puppet", f"time.sleep({seconds})\ndone()") for _ in range(6)]
        for task in tasks:
            daemon.wait_state(task, "completed", timeout=90)
        gate = Gate(daemon)
        held = [daemon.start("puppet", gate.code()) for _ in range(2)]
        for task in held:
            daemon.wait_state(task, "running")
        held += [daemon.start("puppet") for _ in range(5)]
        refused = daemon.submit("puppet")
        self.assertEqual((refused.status, refused.json["error"]["code"]), (429, "queue_full"))
        ready = daemon.get("/ready")  # says the same, without a turn of its own
        self.assertEqual((ready.status, ready.json["error"]["code"], ready.json["error"]["message"]), (503, "queue_full", refused.json["error"]["message"]))
        self.assertGreaterEqual(int(ready.headers["Retry-After"]), 1)
        gate.open()
        for task in held:
            daemon.wait_state(task, "completed")
        return int(refused.headers["Retry-After"])

    def test_rates_ten_times_apart_give_answers_at_least_five_times_apart(self):
        fast, slow = self.refused_after(0.5), self.refused_after(5)
        self.assertGreaterEqual(slow, 5 * fast)
        self.assertGreaterEqual(slow, 12)
        self.assertLessEqual(slow, 20 * PATIENCE)

    def test_a_drain_says_when_it_will_be_over(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task = daemon.start("puppet", gate.code())
        daemon.wait_state(task, "running")
        daemon.request("POST", "/v1/drain?timeout=200s")
        for refused in (daemon.submit("puppet"), daemon.get("/ready")):
            self.assertEqual((refused.status, refused.json["error"]["code"]), (503, "draining"))
            self.assertIn(int(refused.headers["Retry-After"]), range(100, 201))
        gate.open()
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 0)

    def test_a_breaker_says_what_is_left_of_its_pause(self):
        config = settings(circuit_breakers={"failures": 2, "backoff": ["100s"]})
        daemon = self.daemon(config)
        for _ in range(2):
            self.assertEqual(daemon.run("puppet", "fail()")["state"], "failed")
        refused = daemon.submit("puppet")
        self.assertEqual((refused.status, refused.json["error"]["code"]), (503, "circuit_open"))
        first = int(refused.headers["Retry-After"])
        self.assertIn(first, range(50, 101))
        wait_until(lambda: int(daemon.submit("puppet").headers["Retry-After"]) < first, "less is left", 20)


class Asking(E2E):
    """/health and /ready answer at once, whatever else there is to do."""

    def asks(self, daemon, ready):
        self.assertEqual(daemon.get("/health").status, 200)
        answer = daemon.get("/ready")
        self.assertEqual(answer.status, ready)
        if ready != 200:
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)

    def pipeline(self, daemon, path, count):
        connection = Raw(daemon.socket)
        self.addCleanup(connection.close)
        request = f"GET {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n"

        def send():  # on a thread: it blocks once the supervisor takes no more
            try:
                connection.send(request * count)
            except OSError:
                pass
        threading.Thread(target=send, daemon=True).start()
        return connection

    def test_with_all_workers_busy_a_full_queue_and_long_pipelines(self):
        daemon = self.daemon(narrow())
        gate = Gate(daemon)
        tasks = [daemon.start("puppet", gate.code()) for _ in range(2)]
        for task in tasks:
            daemon.wait_state(task, "running")
        tasks += [daemon.start("puppet") for _ in range(5)]
        self.assertEqual(daemon.submit("puppet").status, 429)
        waiting = self.pipeline(daemon, f"/v1/tasks/{tasks[-1]}?wait=10m", 2000)
        busy = self.pipeline(daemon, "/v1/tasks", 2000)
        self.assertEqual(busy.answer()[0], 200)  # it is at it
        for _ in range(20):
            self.asks(daemon, 503)
        self.assertEqual(daemon.task(tasks[-1])["state"], "queued")  # so nothing of the first pipeline was answered
        gate.open()
        self.assertEqual(waiting.answer()[0], 200)

    def test_with_memory_above_90_percent(self):
        cap = f"{BUDGET}MiB"
        daemon = self.daemon({
            **settings({"balloon": puppet(command=BALLOON, preemptable=False), "puppet": puppet()}, memory={
                "budget": cap, "thresholds": {"skip_heartbeats": 0.70, "preempt": 0.85, "reject": 0.90, "kill": 0.99}},
                       workers={"max": 2, "memory_limit": cap, "memory_warning": cap}),
            "admission": "none"})
        balloon = Balloon(daemon, "balloon", priority="critical")
        Scale(daemon, balloon).bring_to(0.92)
        wait_until(lambda: daemon.get("/ready").status == 503, "work is refused")
        self.pipeline(daemon, "/v1/tasks", 1000)
        for _ in range(20):
            self.asks(daemon, 503)
        refused = daemon.submit("puppet")
        self.assertEqual((refused.status, refused.json["error"]["code"]), (503, "memory_pressure"))
        self.assertIn(int(refused.headers["Retry-After"]), range(1, int(60 * PATIENCE)))
        balloon.end()
        wait_until(lambda: daemon.get("/ready").status == 200, "work is taken again")
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)


if __name__ == "__main__":
    unittest.main()
