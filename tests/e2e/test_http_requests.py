#!/usr/bin/env python3
"""The gateway: what is no HTTP, and what is HTTP and no task."""
import json
import time
import unittest

import harness
from harness import MIB
from puppet import KEPT, Later, settings, supervisor_rss
from raw_http import HOST, Http, Raw


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


if __name__ == "__main__":
    unittest.main()
