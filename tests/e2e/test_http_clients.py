#!/usr/bin/env python3
"""The gateway: slow clients, and clients that leave."""
import contextlib
import threading
import time
import unittest

import harness
from harness import MIB, wait_until
from puppet import KEPT, EventStream, Gate, open_files, puppet, settings, supervisor_rss
from raw_http import HOST, Http, Raw


class Clients(Http):
    def test_a_slow_request_blocks_nobody_and_ends_with_408(self):
        daemon = self.daemon(settings())
        slow = self.raw(daemon, b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n{")
        for _ in range(20):
            self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)
        dripping = self.raw(daemon, b"GET /health HTTP/1.1\r\n" + HOST + b"X: ")
        started = time.monotonic()
        try:
            while time.monotonic() - started < 30 * harness.PATIENCE:
                dripping.send(b"y")  # each byte buys no time
                time.sleep(0.2)
        except OSError:
            pass
        self.assertLess(time.monotonic() - started, 20 * harness.PATIENCE)
        self.assertEqual(slow.answer()[0], 408)
        self.assertTrue(slow.is_closed())
        self.alive(daemon)

    def test_a_slow_reader_gets_every_byte_and_costs_no_memory(self):
        big = {"protocol": "exec", "command": ["head", "-c", str(30 * MIB), "/dev/zero"]}
        daemon = self.daemon(settings({"big": big, "puppet": puppet()}))
        task_id = daemon.run("big")["taskId"]
        before = supervisor_rss(daemon)
        connection = self.raw(daemon, f"GET /v1/tasks/{task_id}/result HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(0.5)
        self.assertLess(supervisor_rss(daemon) - before, 8 * MIB + KEPT)
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)
        while connection.file.readline() != b"\r\n":
            pass
        left = 30 * MIB
        while left:
            left -= len(connection.file.read(min(left, MIB)))
        self.assertEqual(connection.send(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n").answer()[0], 200)

    def test_who_asks_and_does_not_read_is_asked_to_wait(self):
        daemon = self.daemon(settings())
        for _ in range(10):
            daemon.run("puppet", "done('x' * 5000)")
        before = supervisor_rss(daemon)
        connection = self.raw(daemon)
        asks = (b"GET /v1/tasks HTTP/1.1\r\n" + HOST + b"\r\n") * 20000

        def send():
            with contextlib.suppress(OSError):
                connection.socket.sendall(asks)

        threading.Thread(target=send, daemon=True).start()
        for _ in range(50):
            self.alive(daemon)
            self.assertLess(supervisor_rss(daemon) - before, 8 * MIB + KEPT)
        connection.file.read(20 * MIB)  # once it reads, it goes on
        self.assertLess(supervisor_rss(daemon) - before, 8 * MIB + KEPT)

    def test_a_reader_that_leaves_in_the_middle_of_a_result(self):
        big = {"protocol": "exec", "command": ["head", "-c", str(30 * MIB), "/dev/zero"]}
        daemon = self.daemon(settings({"big": big}))
        task_id = daemon.run("big")["taskId"]
        before = open_files(daemon)
        for _ in range(5):
            with Raw(daemon.socket) as connection:
                connection.send(f"GET /v1/tasks/{task_id}/result HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).file.read(100000)
        wait_until(lambda: open_files(daemon) <= before, "its descriptors are closed")
        self.alive(daemon)

    def test_clients_that_vanish_while_they_wait(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        task_id = daemon.start("puppet", gate.code("done('kept')"))
        daemon.wait_state(task_id, "running")
        before = open_files(daemon)
        paths = [f"/v1/tasks/{task_id}?wait=60s", f"/v1/tasks/{task_id}/logs?follow=1", "/v1/events", f"/v1/events?taskId={task_id}"]
        for path in paths * 10:
            with Raw(daemon.socket) as connection:
                connection.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        body = b'{"agent":"puppet"}'
        with Raw(daemon.socket) as connection:
            connection.send(b"POST /v1/tasks?wait=60s HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: open_files(daemon) <= before, "the connections are gone")
        gate.open()
        self.assertEqual(daemon.wait_state(task_id, "completed")["result"], "kept")
        # The task of the client that left runs all the same.
        wait_until(lambda: [t["state"] for t in daemon.get("/v1/tasks").json["tasks"]] == ["completed"] * 2, "both are done")

    def test_clients_that_vanish_while_they_ask(self):
        daemon = self.daemon(settings())
        before = open_files(daemon)
        head = b"POST /v1/tasks HTTP/1.1\r\n" + HOST
        said = [b"", b"\r\n", b"PO", head, head + b"X: y", head + b"Content-Length: 100\r\n\r\n", head + b"Content-Length: 100\r\n\r\n{",
                head + b"Transfer-Encoding: chunked\r\n\r\n", head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
                head + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX:", head + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                b"nonsense\r\n\r\n", (b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n") * 50,
                # More than is kept of a pipeline lies behind an answer that never ends.
                b"GET /v1/events HTTP/1.1\r\n" + HOST + b"\r\n" + (b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n") * 1000]
        for data in said * 5:
            with Raw(daemon.socket) as connection:
                connection.send(data)
        wait_until(lambda: open_files(daemon) <= before, "the connections are gone", 20)
        self.assertEqual(daemon.get("/v1/tasks").json["tasks"], [])

    def test_200_idle_connections_are_no_burden(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done(1)")  # what a worker and the journal need is open from now on
        before = open_files(daemon)
        crowd = [Raw(daemon.socket) for _ in range(200)]
        try:
            self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)
            for connection in crowd[::20]:
                self.assertEqual(connection.send(b"GET /ready HTTP/1.1\r\n" + HOST + b"\r\n").answer()[0], 200)
        finally:
            for connection in crowd:
                connection.close()
        daemon.run("puppet", "done(1)")
        wait_until(lambda: open_files(daemon) <= before, "their descriptors are closed")

    def test_more_clients_than_there_is_room_for(self):
        daemon = self.daemon(settings())
        crowd = []
        try:
            for _ in range(1100):
                crowd.append(Raw(daemon.socket))
            time.sleep(0.2)
        except OSError:
            pass  # refused in the backlog: as good as closed
        finally:
            for connection in crowd:
                connection.close()
        def answers():
            try:
                return daemon.get("/ready").status == 200
            except OSError:
                return False

        wait_until(answers, "there is room again")
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)

    def test_a_reader_of_events_that_never_reads_is_dropped_not_hoarded_for(self):
        daemon = self.daemon(settings())
        connection = self.raw(daemon, b"GET /v1/events HTTP/1.1\r\n" + HOST + b"\r\n")
        before = supervisor_rss(daemon)
        task = daemon.run("puppet", "for i in range(20000): about('PROGRESS', percent=i % 100, message='m' * 900)\ndone(1)")
        self.assertEqual(task["state"], "completed")
        self.assertLess(supervisor_rss(daemon) - before, 24 * MIB + KEPT)
        connection.close()
        with EventStream(daemon) as stream:
            daemon.run("puppet", "done()")
            stream.until("taskCompleted")

    def test_the_supervisor_ends_though_clients_hang_on(self):
        daemon = self.daemon(settings())
        connections = [self.raw(daemon), self.raw(daemon, b"GET /v1/ev"), self.raw(daemon, b"GET /v1/events HTTP/1.1\r\n" + HOST + b"\r\n")]
        self.alive(daemon)
        started = time.monotonic()
        self.assertEqual(daemon.terminate(), 0)
        self.assertLess(time.monotonic() - started, 5 * harness.PATIENCE)
        del connections


if __name__ == "__main__":
    unittest.main()
