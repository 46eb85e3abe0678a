#!/usr/bin/env python3
"""The gateway: what is no HTTP, what is no request, who may ask, slow clients and clients that leave."""
import contextlib
import http.client
import io
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import threading
import time
import unittest

import harness
from harness import E2E, MIB, wait_until
from puppet import KEPT, EventStream, Gate, Later, open_files, puppet, settings, supervisor_rss

PRIORITIES = ("critical", "high", "normal", "low", "heartbeat")
HOST = b"Host: localhost\r\n"


class Raw:
    """A connection that sends bytes as given and reads whole answers."""

    def __init__(self, address, timeout=20, source=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout * harness.PATIENCE)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def answer(self, method="GET"):
        """(status, headers, body) of the next answer; status None when the connection was closed instead."""
        outer = self

        class Source:  # HTTPResponse closes the file of its socket: the next answer needs it
            def makefile(self, _):
                return io.BufferedReader(Unclosed())

        class Unclosed(io.RawIOBase):
            def readable(self):
                return True

            def readinto(self, buffer):
                data = outer.file.read1(1)
                buffer[:len(data)] = data
                return len(data)

        response = http.client.HTTPResponse(Source(), method=method)
        try:
            response.begin()
        except (http.client.BadStatusLine, ConnectionError):
            return None, {}, b""
        return response.status, dict(response.getheaders()), response.read()

    def is_closed(self):
        try:
            return self.file.read1(1) == b""
        except ConnectionError:
            return True


class Http(E2E):
    def raw(self, daemon, data=b""):
        connection = Raw(daemon.socket)
        self.addCleanup(connection.close)
        return connection.send(data) if data else connection

    def alive(self, daemon):
        self.assertEqual(daemon.get("/health").status, 200)


class Malformed(Http):
    def test_what_is_no_http_is_400_and_the_connection_ends(self):
        daemon = self.daemon(settings())
        cases = {
            "no method": b"hello world\r\n\r\n",
            "binary": bytes(range(256)),
            "an unknown method": b"FROB /health HTTP/1.1\r\n" + HOST + b"\r\n",
            "a method in lower case": b"get /health HTTP/1.1\r\n" + HOST + b"\r\n",
            "another protocol": b"GET /health FTP/1.1\r\n" + HOST + b"\r\n",
            "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "a space before the colon": b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
            "a NUL in a header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
            "a lone CR in a header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\rY: b\r\n\r\n",
            "no Host": b"GET /health HTTP/1.1\r\n\r\n",
            "an empty Host": b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",
            "two lengths": b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
            "a negative length": b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
            "a length that is no number": b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: 0x10\r\n\r\n",
            "length and chunks": b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "a bad chunk": b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "unknown coding": b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\nabc",
            "a huge chunk size": b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        }
        for name, data in cases.items():
            with self.subTest(name):
                connection = self.raw(daemon, data)
                status, headers, body = connection.answer()
                self.assertEqual(status, 400, body)
                self.assertTrue(json.loads(body)["error"]["message"])
                self.assertEqual(headers["Connection"], "close")
                self.assertTrue(connection.is_closed())
        self.alive(daemon)

    def test_http_0_9_is_not_spoken(self):
        daemon = self.daemon(settings())
        self.assertEqual(self.raw(daemon, b"GET /health\r\n\r\n").answer()[0], 505)

    def test_nothing_can_be_smuggled(self):
        """A second request hides in what some readers take for the first; tests/supervisor/http_test.cc has the whole list."""
        daemon = self.daemon(settings(), args=["--listen", "127.0.0.1:0"])
        port = int(daemon.get("/health").json["listen"].rsplit(":", 1)[1])
        post, chunked = b"POST /v1/tasks HTTP/1.1\r\n" + HOST, b"Transfer-Encoding: chunked\r\n"
        cases = {
            "LF for a line end": b"GET /health HTTP/1.1\nHost: localhost\n\n",
            "LF in a header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\nTransfer-Encoding: chunked\r\n\r\n",
            "a folded header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
            "a blank before the colon": post + b"X : y\r\n\r\n",
            "the same length twice": post + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            "length and chunks": post + b"Content-Length: 5\r\n" + chunked + b"\r\n0\r\n\r\n",
            "chunks of chunks": post + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "chunked twice": post + chunked * 2 + b"\r\n0\r\n\r\n",
            "LF after a chunk size": post + chunked + b"\r\n2\n{}\r\n0\r\n\r\n",
            "other bytes for the end of a chunk": post + chunked + b"\r\n2\r\n{}XX1\r\n \r\n0\r\n\r\n",
            "LF in an extension": post + chunked + b"\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
            "two Hosts": b"GET /health HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
            "a Host with a user": b"GET /health HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n",
            "half an encoding": b"GET /health%4 HTTP/1.1\r\n" + HOST + b"\r\n",
        }
        for name, data in cases.items():
            for address in (daemon.socket, ("127.0.0.1", port)):
                with self.subTest(f"{name} {address}"), Raw(address) as connection:
                    status, headers, body = connection.send(data + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n").answer()
                    self.assertEqual((status, headers["Connection"]), (400, "close"), body)
                    self.assertEqual(json.loads(body)["error"]["code"], "invalid_request")
                    self.assertTrue(connection.is_closed())

    def test_an_address_for_a_target_names_the_host(self):
        daemon = self.daemon(settings())
        for target, status in ((b"http://localhost/health", 200), (b"http://evil.example/health", 403), (b"ftp://localhost/health", 400)):
            connection = self.raw(daemon, b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
            self.assertEqual(connection.answer()[0], status)

    def test_a_header_above_16_kib_is_431(self):
        daemon = self.daemon(settings())
        for data in (b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20000 + b"\r\n\r\n",
                     b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
                     b"GET /health HTTP/1.1\r\n" + HOST + b"".join(b"X%d: y\r\n" % n for n in range(5000)) + b"\r\n",
                     b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 200000):
            with self.subTest(data[:30] + b"..."):
                status, _, body = self.raw(daemon, data).answer()
                self.assertEqual(status, 431, body)
        good = b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 15000 + b"\r\n\r\n"
        self.assertEqual(self.raw(daemon, good).answer()[0], 200)
        self.alive(daemon)

    def test_endless_headers_are_cut_off(self):
        daemon = self.daemon(settings())
        connection = self.raw(daemon, b"GET /health HTTP/1.1\r\n" + HOST)
        before = supervisor_rss(daemon)
        started = time.monotonic()
        with self.assertRaises(OSError):
            while time.monotonic() - started < 30 * harness.PATIENCE:
                connection.send(b"X: y\r\n" * 100)
        self.assertLess(supervisor_rss(daemon) - before, 4 * MIB + KEPT)
        self.alive(daemon)

    def test_a_body_above_the_limit_is_413(self):
        daemon = self.daemon(settings(gateway={"max_body": "10KiB"}))
        head = b"POST /v1/tasks HTTP/1.1\r\n" + HOST
        for name, data in {"announced": head + b"Content-Length: 10241\r\n\r\n", "in chunks": head +
                           b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"2000\r\n" + b"x" * 8192,
                           "absurd": head + b"Content-Length: 18446744073709551615\r\n\r\n"}.items():
            with self.subTest(name):
                status, _, body = self.raw(daemon, data).answer()
                self.assertEqual((status, json.loads(body)["error"]["code"]), (413, "payload_too_large"))
        self.assertEqual(daemon.submit("puppet", "done()" + " " * 10000).status, 202)
        self.assertEqual(daemon.submit("puppet", "done()" + " " * 11000).status, 413)
        daemon.write_config(settings(gateway={"max_body": "20KiB"}))
        self.assertIn("gateway.max_body", daemon.request("POST", "/v1/reload").json["live"])
        self.assertEqual(daemon.submit("puppet", "done()" + " " * 11000).status, 202)
        self.alive(daemon)

    def test_a_client_that_sends_its_whole_body_still_reads_the_413(self):
        daemon = self.daemon(settings())
        body = b"x" * (4 * MIB)
        connection = self.raw(daemon)
        sender = Later(connection.send, b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.assertEqual(connection.answer()[0], 413)
        try:
            sender.result(20)
        except OSError:
            pass  # it may learn in the middle of its body

    def test_expect_100_continue_is_answered(self):
        daemon = self.daemon(settings())
        body = b'{"agent":"puppet"}'
        connection = self.raw(daemon, b"POST /v1/tasks HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        self.assertEqual(connection.file.readline(), b"HTTP/1.1 100 Continue\r\n")
        self.assertEqual(connection.file.readline(), b"\r\n")
        self.assertEqual(connection.send(body).answer()[0], 202)


class Bodies(Http):
    def refused(self, daemon, body, status, code):
        answer = daemon.request("POST", "/v1/tasks", body)
        self.assertEqual((answer.status, answer.json["error"]["code"]), (status, code), answer.body)
        self.assertTrue(answer.json["error"]["message"])
        return answer.json["error"]["message"]

    def test_what_is_no_json_is_400(self):
        daemon = self.daemon(settings())
        for body in ("", " ", "{", "nonsense", '{"agent":}', '{"agent":"puppet"} x', '{"agent":"puppet",}', "{'agent':'puppet'}",
                     '{"agent":"puppet","payload":1e999}', '{"agent":"puppet","payload":NaN}', '{"agent":"\\ud800"}',
                     b'{"agent":"\xff"}', b"\xef\xbb", '{"agent":"puppet","agent":"puppet"}',
                     '{"agent":"puppet","payload":{"a":1,"a":2}}', "[" * 100000, '{"a":' * 100000,
                     '{"agent":"puppet","payload":' + "[" * 100 + "]" * 100 + "}", "\0"):
            with self.subTest(str(body)[:50]):
                self.refused(daemon, body, 400, "invalid_json")
        self.assertIn("duplicate", self.refused(daemon, '{"agent":"puppet","agent":"x"}', 400, "invalid_json"))
        self.alive(daemon)

    def test_what_is_no_task_is_422(self):
        daemon = self.daemon(settings())
        for body in ([], 5, None, "text", {}, {"agent": 5}, {"agent": ""}, {"agent": None}, {"payload": 1},
                     {"agent": "puppet", "priority": "urgent"}, {"agent": "puppet", "priority": 9}, {"agent": "puppet", "priority": 1.5},
                     {"agent": "puppet", "priority": None}, {"agent": "puppet", "timeout": 5}, {"agent": "puppet", "timeout": "soon"},
                     {"agent": "puppet", "timeout": "0s"}, {"agent": "puppet", "timeout": "-5s"}, {"agent": "puppet", "timeout": "1e9h"},
                     {"agent": "puppet", "retries": -1}, {"agent": "puppet", "retries": "3"}, {"agent": "puppet", "retries": 1e6},
                     {"agent": "puppet", "retries": 1.5}, {"agent": "puppet", "retries": 18446744073709551615},
                     {"agent": "puppet", "idempotencyKey": 5}, {"agent": "puppet", "idempotencyKey": "x" * 1000},
                     {"agent": "puppet", "unknown": 1}, {"agent": "puppet", "Payload": 1}):
            with self.subTest(str(body)[:60]):
                message = self.refused(daemon, json.dumps(body), 422, "invalid_task")
                for name in body if isinstance(body, dict) and len(body) == 2 else ():
                    if name != "agent":
                        self.assertIn(name, message)
        self.refused(daemon, '{"agent":"nobody"}', 422, "unknown_agent")
        self.refused(daemon, '{"agent":"pup\\u0000pet"}', 422, "unknown_agent")
        self.assertEqual(daemon.get("/v1/tasks").json["tasks"], [])

    def test_priorities_may_be_numbers(self):
        daemon = self.daemon(settings())
        for given, meant in ((0, "critical"), ("4", "heartbeat"), ("HIGH", "high")):
            self.assertEqual(daemon.run("puppet", "done()", priority=given)["priority"], meant)

    def test_wrong_parameters_are_400(self):
        daemon = self.daemon(settings())
        task_id = daemon.run("puppet", "done()")["taskId"]
        for method, path in (("POST", "/v1/tasks?wait=soon"), ("POST", "/v1/tasks?wait=-5s"), ("GET", f"/v1/tasks/{task_id}?wait=x"),
                             ("POST", "/v1/drain?wait=x")):
            with self.subTest(path):
                self.assertEqual(daemon.request(method, path, {"agent": "puppet"}).status, 400)
        self.assertFalse(daemon.get("/health").json["draining"])

    def test_a_chunked_body_is_a_body(self):
        daemon = self.daemon(settings())
        chunks = b'7\r\n{"agent\r\n5;x=y\r\n":"pu\r\n7\r\nppet"} \r\n0\r\nTrailer: x\r\n\r\n'
        connection = self.raw(daemon, b"POST /v1/tasks?wait=20s HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        status, _, body = connection.answer()
        self.assertEqual((status, json.loads(body)["state"]), (200, "completed"), body)


class Connections(Http):
    def test_three_requests_in_one_write_are_answered_in_order(self):
        daemon = self.daemon(settings())
        body = b'{"agent":"puppet","payload":"time.sleep(0.2)\\ndone(1)"}'
        connection = self.raw(daemon, b"POST /v1/tasks?wait=20s HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body +
                              b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n" + b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        first, second, third = (connection.answer() for _ in range(3))
        self.assertEqual([first[0], second[0], third[0]], [200, 404, 200])
        self.assertEqual(json.loads(first[2])["result"], 1)
        self.assertEqual(json.loads(third[2])["status"], "ok")

    def test_a_thousand_requests_in_one_write(self):
        daemon = self.daemon(settings())
        connection = self.raw(daemon)
        sender = Later(connection.send, (b"GET /ready HTTP/1.1\r\n" + HOST + b"\r\n") * 1000)
        for _ in range(1000):
            self.assertEqual(connection.answer()[0], 200)
        sender.result()

    def test_requests_may_come_byte_by_byte(self):
        daemon = self.daemon(settings())
        connection = self.raw(daemon)
        body = '{"agent":"puppet","payload":"done(\'ü\')"}'.encode()
        for byte in b"POST /v1/tasks?wait=20s HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body:
            connection.send(bytes([byte]))
        self.assertEqual(json.loads(connection.answer()[2])["result"], "ü")

    def test_a_connection_is_kept_unless_told_otherwise(self):
        daemon = self.daemon(settings())
        connection = self.raw(daemon)
        for _ in range(5):
            status, headers, _ = connection.send(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n").answer()
            self.assertEqual(status, 200)
            self.assertNotEqual(headers.get("Connection"), "close")
        status, headers, _ = connection.send(b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n").answer()
        self.assertEqual((status, headers["Connection"]), (200, "close"))
        self.assertTrue(connection.is_closed())
        connection = self.raw(daemon, b"GET /health HTTP/1.0\r\n" + HOST + b"\r\n")
        self.assertEqual(connection.answer()[0], 200)
        self.assertTrue(connection.is_closed())

    def test_an_offered_upgrade_is_declined_and_the_connection_goes_on(self):
        daemon = self.daemon(settings())
        connection = self.raw(daemon, b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual(connection.answer()[0], 200)
        self.assertEqual(connection.send(b"GET /ready HTTP/1.1\r\n" + HOST + b"\r\n").answer()[0], 200)
        connection = self.raw(daemon, b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n")
        self.assertIn(connection.answer()[0], (400, 404, 405))
        self.alive(daemon)

    def test_head_is_get_without_the_body(self):
        daemon = self.daemon(settings())
        task_id = daemon.run("puppet", "done('x' * 200000)")["taskId"]
        connection = self.raw(daemon)
        for path in ("/health", f"/v1/tasks/{task_id}", f"/v1/tasks/{task_id}/result", f"/v1/tasks/{task_id}/logs", "/nothing"):
            with self.subTest(path):
                status, headers, body = connection.send(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).answer("HEAD")
                self.assertEqual(status, daemon.get(path).status)
                self.assertEqual(body, b"")
                if "result" in path:
                    self.assertEqual(headers["Content-Length"], "200000")

    def test_head_of_a_stream_ends_too(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", gate.code())
        daemon.wait_state(task_id, "running")
        for path in ("/v1/events", f"/v1/tasks/{task_id}/logs?follow=1"):
            with self.subTest(path):
                connection = self.raw(daemon, f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                self.assertEqual(connection.answer("HEAD")[0], 200)
                connection.socket.settimeout(3 * harness.PATIENCE)
                self.assertEqual(connection.send(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n").answer()[0], 200)
        gate.open()

    def test_a_wrong_method_is_405_and_says_which_are_right(self):
        daemon = self.daemon(settings())
        for method, path, allowed in (("POST", "/health", {"GET"}), ("DELETE", "/v1/tasks", {"GET", "POST"}), ("PUT", "/v1/tasks/x", {"GET", "DELETE"}),
                                      ("GET", "/v1/reload", {"POST"}), ("HEAD", "/v1/drain", {"POST"})):
            with self.subTest(f"{method} {path}"):
                answer = daemon.request(method, path)
                self.assertEqual(answer.status, 405)
                self.assertLessEqual(allowed, {word.strip() for word in answer.headers["Allow"].split(",")})

    def test_options_says_what_there_is(self):
        daemon = self.daemon(settings())
        for path, allowed in (("/v1/memory", {"GET", "HEAD"}), ("/v1/tasks", {"GET", "HEAD", "POST"}), ("/v1/reload", {"POST"}),
                              ("/v1/tasks/x", {"GET", "HEAD", "DELETE"}), ("*", {"GET", "HEAD", "POST", "DELETE"})):
            with self.subTest(path):
                answer = daemon.request("OPTIONS", path)
                self.assertEqual((answer.status, answer.body), (204, b""))
                self.assertEqual({word.strip() for word in answer.headers["Allow"].split(",")}, allowed | {"OPTIONS"})
                self.assertNotIn("Content-Length", answer.headers)
        self.assertEqual(daemon.request("OPTIONS", "/nothing").status, 404)

    def test_head_of_every_route(self):
        daemon = self.daemon(settings())
        task_id = daemon.run("puppet", "done(1)")["taskId"]
        connection = self.raw(daemon)
        for path in ("/v1/tasks", f"/v1/tasks/{task_id}", f"/v1/tasks/{task_id}/result", f"/v1/tasks/{task_id}/logs", f"/v1/tasks/{task_id}/why",
                     "/v1/workers", "/v1/memory", "/v1/queue", "/v1/agents", "/v1/config", "/health", "/ready", "/metrics", "/v1/events"):
            with self.subTest(path):
                status, headers, body = connection.send(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).answer("HEAD")
                self.assertEqual((status, body), (200, b""))
                self.assertIn("Content-Type", headers)

    def test_who_is_to_be_refused_is_not_asked_for_a_body(self):
        daemon = self.daemon(settings(), args=["--listen", "127.0.0.1:0"])
        address = ("127.0.0.1", int(daemon.get("/health").json["listen"].rsplit(":", 1)[1]))
        head = b" HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: "
        for where, data, status in ((address, b"POST /v1/tasks" + head + b"100-continue\r\n\r\n", 401),
                                    (daemon.socket, b"POST /v1/nothing" + head + b"100-continue\r\n\r\n", 404),
                                    (daemon.socket, b"PUT /v1/tasks" + head + b"100-continue\r\n\r\n", 405),
                                    (daemon.socket, b"POST /v1/tasks" + head + b"a miracle\r\n\r\n", 417)):
            with self.subTest(status), Raw(where) as connection:
                answered, headers, _ = connection.send(data).answer()
                self.assertEqual((answered, headers["Connection"]), (status, "close"))

    def test_http_1_0_needs_no_host_and_gets_no_chunks(self):
        daemon = self.daemon(settings())
        connection = self.raw(daemon, b"GET /health HTTP/1.0\r\n\r\n")
        self.assertEqual(connection.answer()[0], 200)
        self.assertTrue(connection.is_closed())
        connection = self.raw(daemon, b"GET /v1/events HTTP/1.0\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.file.readline()
        self.assertNotIn(b"chunked", head)
        self.assertTrue(connection.file.readline().startswith(b":"))
        kept = b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        connection = self.raw(daemon, kept + kept)
        for _ in "ab":
            status, headers, _ = connection.answer()
            self.assertEqual((status, headers["Connection"]), (200, "keep-alive"))

    def test_what_is_not_there_is_404(self):
        daemon = self.daemon(settings())
        for path in ("/v2/tasks", "/v1", "/v1/", "/v1/tasks/", "/v1/tasks/x/y", "/v1/tasks/x/result/", "/v1/tasks/../../etc/passwd", "//health",
                     "/health/", "/%00", "/v1/tasks/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/v1/tasks/%00", "/v1/tasks/unknown",
                     "/v1/tasks/unknown/result", "/v1/tasks/unknown/logs", "/v1/tasks/%ff"):
            with self.subTest(path):
                answer = daemon.get(path)
                self.assertEqual((answer.status, answer.json["error"]["code"]), (404, "not_found"))

    def test_paths_and_parameters_are_decoded(self):
        daemon = self.daemon(settings())
        task_id = daemon.run("puppet", "done()")["taskId"]
        self.assertEqual(daemon.get("/%68ealth").status, 200)
        self.assertEqual(daemon.get("/v1/tasks?state=completed%2Cfailed&agent=%70uppet").json["tasks"][0]["taskId"], task_id)


class Access(Http):
    def tcp(self, config=None, **kw):
        daemon = self.daemon(config or settings(), args=["--listen", "127.0.0.1:0"], **kw)
        host, port = daemon.get("/health").json["listen"].rsplit(":", 1)
        return daemon, (host, int(port))

    def ask(self, address, path="/v1/memory", token=None, headers=(), method="GET"):
        lines = [f"{method} {path} HTTP/1.1", *(headers or [f"Host: 127.0.0.1:{address[1]}"])]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        with Raw(address) as connection:
            return connection.send("\r\n".join([*lines, "", ""]).encode()).answer()

    def test_tcp_needs_the_token(self):
        daemon, address = self.tcp()
        with open(os.path.join(daemon.state, "token"), encoding="ascii") as file:
            token = file.read().strip()
        self.assertGreaterEqual(len(token), 32)
        for path in ("/v1/memory", "/v1/tasks", "/v1/events", "/v1/config", "/nothing"):
            status, _, body = self.ask(address, path)
            self.assertEqual((status, json.loads(body)["error"]["code"]), (401, "unauthorized"), path)
        for wrong in ("", "x", token[:-1], token + "x", token.upper(), token[::-1]):
            self.assertEqual(self.ask(address, token=wrong)[0], 401)
        self.assertEqual(self.ask(address, token=token)[0], 200)
        for path in ("/health", "/ready", "/metrics"):
            self.assertEqual(self.ask(address, path)[0], 200)
        self.assertEqual(self.ask(address, "/v1/reload", method="POST")[0], 401)

    def test_the_token_stays_and_belongs_to_its_owner(self):
        daemon, _ = self.tcp()
        path = os.path.join(daemon.state, "token")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, encoding="ascii") as file:
            token = file.read()
        daemon.terminate()
        again = self.daemon(settings(), args=["--listen", "127.0.0.1:0"], directory=daemon.dir)
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), token)
        port = int(again.get("/health").json["listen"].rsplit(":", 1)[1])
        self.assertEqual(self.ask(("127.0.0.1", port), token=token.strip())[0], 200)

    def test_a_token_file_of_its_own_may_be_named(self):
        place = self.daemon(settings())
        path = os.path.join(place.dir, "my-token")
        with open(path, "w", encoding="ascii") as file:
            file.write("a-token-that-somebody-chose-0123456789\n")
        os.chmod(path, 0o600)
        daemon, address = self.tcp(settings(gateway={"token_file": path}))
        self.assertEqual(self.ask(address, token="a-token-that-somebody-chose-0123456789")[0], 200)
        self.assertIn(f"in {path}\n", self.status(daemon))

    def status(self, daemon):
        return subprocess.run([os.path.join(harness.BIN, "kurultai"), "--socket", daemon.socket, "status"],
                              capture_output=True, text=True, timeout=20 * harness.PATIENCE, check=True).stdout

    def test_status_names_the_address_and_the_token_file_over_the_socket_only(self):
        daemon, address = self.tcp()
        path = os.path.join(daemon.state, "token")
        health = daemon.get("/health").json
        self.assertEqual((health["listen"], health["tokenFile"]), (f"127.0.0.1:{address[1]}", path))
        status = self.status(daemon)
        self.assertRegex(status, rf"(?m)^listens on +http://127\.0\.0\.1:{address[1]}$")
        self.assertRegex(status, rf"(?m)^token +in {re.escape(path)}$")
        with open(path, encoding="ascii") as file:
            token = file.read().strip()
        for headers in ([], [f"Host: 127.0.0.1:{address[1]}", f"Authorization: Bearer {token}"]):
            _, _, body = self.ask(address, "/health", headers=headers)
            stranger = json.loads(body)
            self.assertEqual(stranger["status"], "ok")
            self.assertEqual({"listen", "tokenFile"} & set(stranger), set())
            self.assertNotIn(token, body if isinstance(body, str) else body.decode())
        self.assertNotIn(token, status)
        _, _, body = self.ask(address)
        self.assertIn("kurultai status", json.loads(body)["error"]["message"])

    def test_without_auth_loopback_needs_none(self):
        daemon, address = self.tcp(settings(gateway={"auth": "none"}))
        self.assertEqual(self.ask(address)[0], 200)
        self.assertIsNone(daemon.get("/health").json["tokenFile"])
        self.assertRegex(self.status(daemon), r"(?m)^token +none is asked for$")

    def test_the_socket_needs_no_token(self):
        daemon, _ = self.tcp()
        self.assertEqual(daemon.get("/v1/memory").status, 200)

    def test_directory_and_socket_are_closed_to_others(self):
        daemon = self.daemon(settings())
        self.assertEqual(stat.S_IMODE(os.stat(daemon.state).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(daemon.socket).st_mode), 0o600)
        daemon.run("puppet", "done('x' * 200000)")
        for directory, names, files in os.walk(daemon.state):
            for name in names + files:
                mode = os.lstat(os.path.join(directory, name)).st_mode
                # Agents of other users get this one as a descriptor: they may name what is theirs, and list nothing.
                others = 0o011 if name == "payloads" else 0
                self.assertEqual(stat.S_IMODE(mode) & 0o077, others, os.path.join(directory, name))

    def test_pages_of_other_sites_are_refused(self):
        daemon, address = self.tcp(settings(gateway={"auth": "none"}))
        port = address[1]
        own = f"Host: localhost:{port}"
        for headers in (["Host: evil.example"], [f"Host: evil.example:{port}"], ["Host: localhost.evil.example"], ["Host: 127.0.0.1.evil.example"],
                        [own, "Origin: http://evil.example"], [own, "Origin: null"],
                        [own, "Origin: http://localhost.evil.example"], [own, "Origin: evil.example"]):
            for path in ("/v1/memory", "/health"):
                with self.subTest(f"{headers} {path}"):
                    status, _, body = self.ask(address, path, headers=headers)
                    self.assertEqual((status, json.loads(body)["error"]["code"]), (403, "forbidden"))
        for headers in ([own], [f"Host: 127.0.0.1:{port}"], ["Host: localhost"], [own, f"Origin: http://localhost:{port}"],
                        [own, f"Origin: http://127.0.0.1:{port}"], [f"Host: [::1]:{port}"]):
            with self.subTest(str(headers)):
                self.assertEqual(self.ask(address, headers=headers)[0], 200)
        self.assertEqual(daemon.request("GET", "/health", headers={"Host": "evil.example"}).status, 403)

    def test_on_all_addresses_an_address_is_our_own_host_and_a_name_is_not(self):
        daemon = self.daemon(settings(), args=["--listen", "0.0.0.0:0"])
        port = int(daemon.get("/health").json["listen"].rsplit(":", 1)[1])
        address = ("127.0.0.1", port)
        self.assertEqual(self.ask(address, "/health", headers=[f"Host: 192.0.2.7:{port}"])[0], 200)
        self.assertEqual(self.ask(address, "/v1/memory", headers=[f"Host: 192.0.2.7:{port}"])[0], 401)
        for host in ("evil.example", "192.0.2.7.evil.example", "192.0.2.7x"):
            self.assertEqual(self.ask(address, "/health", headers=[f"Host: {host}:{port}"])[0], 403)

    def test_a_port_that_is_taken_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            daemon = self.daemon(settings(), ready=False, args=["--listen", f"127.0.0.1:{port}"])
            self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 1)
            self.assertIn(f"127.0.0.1:{port}", daemon.log_text())


class Metrics(Http):
    # Family, type, and labels of samples that are there before anything has happened.
    FAMILIES = [
        ("memory_usage_bytes", "gauge", [{"scope": scope} for scope in ("total", "supervisor", "workers")]),
        ("memory_limit_bytes", "gauge", [{}]),
        ("worker_memory_bytes", "gauge", [{"agent": "puppet"}]),
        ("worker_cpu_seconds_total", "counter", [{}]),
        ("supervisor_cpu_seconds_total", "counter", [{}]),
        ("workers_active", "gauge", [{}]),
        ("workers_idle", "gauge", [{}]),
        ("workers_spawned_total", "counter", [{}]),
        ("workers_exited_total", "counter", [{"reason": reason} for reason in ("exited", "memory_cap", "memory_budget")]),
        ("queue_depth", "gauge", [{"priority": priority} for priority in PRIORITIES]),
        ("tasks_submitted_total", "counter", [{"agent": "puppet", "priority": priority} for priority in PRIORITIES]),
        ("tasks_finished_total", "counter", [
            {"agent": "puppet", "state": state, "reason": reason} for state, reason in (
                ("completed", ""), ("cancelled", "cancelled"), ("evicted", "evicted"), ("failed", "agent_error"),
                ("failed", "memory_cap"), ("failed", "memory_budget"), ("failed", "timeout"), ("failed", "worker_lost"),
                ("failed", "supervisor_restart"))]),
        ("tasks_rejected_total", "counter", [
            {"code": code} for code in ("queue_full", "memory_pressure", "circuit_open", "draining", "invalid_task", "unknown_agent",
                                        "key_conflict", "storage_unavailable")]),
        ("tasks_preempted_total", "counter", [{}]),
        ("tasks_suspended_total", "counter", [{}]),
        ("tasks_killed_total", "counter", [{}]),
        ("heartbeats_skipped_total", "counter", [{}]),
        ("threshold_crossings_total", "counter", [
            {"threshold": threshold, "direction": direction}
            for threshold in ("skip_heartbeats", "preempt", "reject", "kill") for direction in ("up", "down")]),
        ("circuit_breaker_state", "gauge", [{"name": "puppet"}]),
        ("task_wait_seconds", "histogram", [{}]),
        ("task_run_seconds", "histogram", [{}]),
        ("dispatch_seconds", "histogram", [{}]),
        ("governor_reaction_seconds", "histogram", [{}]),
        ("orphans", "gauge", [{}]),
        ("orphans_swept_total", "counter", [{}]),
    ]
    NOT_ZERO = ("memory_usage_bytes", "memory_limit_bytes", "supervisor_cpu_seconds_total")

    def parse(self, text):
        """{family: {"HELP", "TYPE", "samples": [(part, labels, value)]}}, where a histogram's parts are "_count" and the
        like; a line that is not of the text format fails the test."""
        families = {}
        for line in text.splitlines():
            if line.startswith("# "):
                _, word, name, rest = line.split(" ", 3)
                families.setdefault(name, {"samples": []})[word] = rest
                continue
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            self.assertIsNotNone(match, line)
            sample, labels, value = match.groups()
            name = re.sub("_(bucket|sum|count)$", "", sample)
            name = name if name in families else sample
            families[name]["samples"].append((sample[len(name):], dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value)))
        return families

    def scrape(self, daemon):
        answer = daemon.get("/metrics")
        self.assertEqual(answer.status, 200)
        return self.parse(answer.body.decode())

    def test_every_family_is_there_from_the_start_at_zero(self):
        families = self.scrape(self.daemon(settings()))
        for name, kind, samples in self.FAMILIES:
            with self.subTest(name):
                family = families.get("kurultai_" + name)
                self.assertIsNotNone(family)
                self.assertEqual(family["TYPE"], kind)
                self.assertGreater(len(family["HELP"]), 3)
                for labels in samples:
                    found = {value for part, there, value in family["samples"]
                             if part in ("", "_count") and labels.items() <= there.items()}
                    self.assertTrue(found, labels)
                    if name not in self.NOT_ZERO:
                        self.assertEqual(found, {0.0}, labels)
        for name, family in families.items():
            self.assertTrue({"HELP", "TYPE"} <= family.keys() and family["samples"], name)
            keys = [(part, sorted(labels.items())) for part, labels, _ in family["samples"]]
            self.assertTrue(all(keys.count(key) == 1 for key in keys), name)

    def test_an_agent_that_a_reload_brings_is_counted_from_zero(self):
        daemon = self.daemon(settings())
        daemon.write_config(settings({"puppet": puppet(), "late": puppet()}))
        self.assertEqual(daemon.request("POST", "/v1/reload").status, 200)
        self.assertEqual(daemon.metric("kurultai_tasks_submitted_total", agent="late", priority="low"), 0)
        self.assertEqual(daemon.metric("kurultai_tasks_finished_total", agent="late", state="completed"), 0)

    def test_the_way_of_a_task_is_measured(self):
        daemon = self.daemon(settings())
        for _ in range(3):
            daemon.run("puppet")
        for histogram in ("dispatch", "task_wait", "task_run"):
            self.assertEqual(daemon.metric(f"kurultai_{histogram}_seconds_count"), 3, histogram)
        # The first task waits for a worker to start, which is no part of the dispatch.
        self.assertLess(daemon.metric("kurultai_dispatch_seconds_sum"), daemon.metric("kurultai_task_wait_seconds_sum"))
        self.assertGreater(daemon.metric("kurultai_dispatch_seconds_sum"), 0)

    def test_cpu_time_of_workers_is_counted_alive_and_dead(self):
        burn = "import time\nwhile time.process_time() < %s: pass\n"
        daemon = self.daemon(settings({"puppet": puppet(), "burner": {"protocol": "exec", "max_tasks": 1, "command": [harness.PYTHON, "-c", burn % 0.4]}}))
        daemon.run("puppet", burn % 0.3 + "done()")
        alive = daemon.metric("kurultai_worker_cpu_seconds_total")
        self.assertGreaterEqual(alive, 0.29)
        daemon.run("burner")
        wait_until(lambda: not [worker for worker in daemon.get("/v1/workers").json["workers"] if worker["agent"] == "burner"], "the burner's worker is gone")
        self.assertGreaterEqual(daemon.metric("kurultai_worker_cpu_seconds_total"), alive + 0.39)


class Room(Http):
    """More connections than there may be."""

    GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def crowd(self, count, address, source=None):
        found = []
        for _ in range(count):
            connection = Raw(address, source=source)
            self.addCleanup(connection.close)
            found.append(connection)
        return found

    @staticmethod
    def answers(daemon):
        try:
            return daemon.get("/health").status == 200
        except OSError:
            return False

    def assert_no_room(self, connection):
        status, headers, body = connection.answer()
        self.assertEqual((status, json.loads(body)["error"]["code"]), (503, "too_many_connections"))
        self.assertEqual((headers["Retry-After"], headers["Connection"]), ("1", "close"))
        self.assertTrue(connection.is_closed())

    def test_above_the_limit_only_health_is_answered(self):
        daemon = self.daemon(settings(gateway={"max_connections_per_peer": 20}))
        before = open_files(daemon)
        crowd = self.crowd(20, daemon.socket)
        self.assert_no_room(self.raw(daemon, self.GET % b"/v1/memory"))
        for path in (b"/health", b"/ready"):
            status, headers, _ = self.raw(daemon, self.GET % path * 2).answer()
            self.assertEqual((status, headers["Connection"]), (200, "close"))
        # Those that have a place keep it.
        self.assertEqual(crowd[0].send(self.GET % b"/v1/memory").answer()[0], 200)
        crowd[0].close()
        wait_until(lambda: daemon.get("/v1/memory").status == 200, "there is room again")
        for connection in crowd:
            connection.close()
        wait_until(lambda: open_files(daemon) <= before + 4, "nothing of the crowd is left")

    def test_when_the_reserve_is_full_too_the_answer_comes_without_a_question(self):
        daemon = self.daemon(settings(gateway={"max_connections": 5}))
        self.crowd(5 + 16, daemon.socket)
        self.assert_no_room(self.raw(daemon))
        # Whoever says nothing loses its place in the reserve.
        wait_until(lambda: self.answers(daemon), "the reserve is free again")

    def test_a_crowd_at_one_address_leaves_room_for_another(self):
        daemon = self.daemon(settings(gateway={"max_connections_per_peer": 10, "max_connections": 15}), args=["--listen", "127.0.0.1:0"])
        address = ("127.0.0.1", int(daemon.get("/health").json["listen"].rsplit(":", 1)[1]))
        self.crowd(10 + 16 + 1, address)
        self.assert_no_room(self.crowd(1, address)[0])
        other = self.crowd(5, address, "127.0.0.2")
        self.assertEqual(other[0].send(self.GET % b"/metrics").answer()[0], 200)
        # Even when all places are taken.
        self.assertEqual(self.crowd(1, address, "127.0.0.3")[0].send(self.GET % b"/health").answer()[0], 200)
        self.assertEqual(daemon.get("/health").status, 200)

    def test_the_limits_can_be_changed(self):
        daemon = self.daemon(settings(gateway={"max_connections": 3}))
        self.crowd(3, daemon.socket)
        self.assert_no_room(self.raw(daemon, self.GET % b"/v1/memory"))
        daemon.write_config(settings(gateway={"max_connections": 50}))
        os.kill(daemon.pid, signal.SIGHUP)
        wait_until(lambda: daemon.get("/v1/memory").status == 200, "the new limit holds")

    def test_5000_idle_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 6000:
            self.skipTest(f"needs 6000 open files, and {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 6000), hard))  # the supervisor inherits it
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        daemon = self.daemon(settings(gateway={"max_connections": 5100, "max_connections_per_peer": 5100}))
        daemon.run("puppet", "done(1)")  # its worker stays
        files, memory = open_files(daemon), supervisor_rss(daemon)
        crowd = []
        try:
            for _ in range(5000):
                crowd.append(socket.socket(socket.AF_UNIX))
                crowd[-1].connect(daemon.socket)  # without a time limit it waits for room in the backlog
            self.assertEqual(daemon.get("/health").status, 200)
            self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)
            each = (supervisor_rss(daemon) - memory) / 5000
            print(f"{each:.0f} bytes of memory for each idle connection")
            if not harness.is_instrumented():
                self.assertLess(each, 8192)
        finally:
            for connection in crowd:
                connection.close()
        wait_until(lambda: open_files(daemon) <= files + 4, "all are closed", 20)

    def test_without_descriptors_the_supervisor_waits_and_recovers(self):
        daemon = self.daemon(settings())
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_files(daemon) + 5, hard))

        def processor_time():
            with open(f"/proc/{daemon.pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        crowd = []
        for _ in range(50):
            crowd.append(socket.socket(socket.AF_UNIX))
            crowd[-1].settimeout(5 * harness.PATIENCE)
            crowd[-1].connect(daemon.socket)
        started, before = time.monotonic(), processor_time()
        time.sleep(1)  # what is measured is that nothing happens
        self.assertLess(processor_time() - before, 0.5 * (time.monotonic() - started))
        for connection in crowd:
            connection.close()
        wait_until(lambda: self.answers(daemon), "it answers again")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_the_socket_is_for_its_owner_and_root_whatever_its_mode(self):
        daemon = self.daemon(settings())
        os.chmod(daemon.dir, 0o755)
        os.chmod(daemon.socket, 0o666)
        ask = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
               "s.sendall(b'GET /health HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'); print(s.makefile().read())")
        for _ in range(3):
            said = subprocess.run([harness.PYTHON, "-c", ask, daemon.socket], capture_output=True, text=True, user=65534, group=65534,
                                  extra_groups=[], timeout=20 * harness.PATIENCE, check=False, cwd="/").stdout
            self.assertIn("HTTP/1.1 403 Forbidden", said)
            self.assertIn('"forbidden"', said)
        self.assertEqual(daemon.log_text().count("refused user 65534"), 1)
        self.alive(daemon)


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
        wait_until(lambda: open_files(daemon) <= before + 8, "their descriptors are closed")  # the worker's own stay

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
