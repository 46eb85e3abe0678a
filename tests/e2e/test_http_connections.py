#!/usr/bin/env python3
"""The gateway: many requests on one connection, methods, paths and versions."""
import json
import unittest

import harness
from puppet import Gate, Later, settings
from raw_http import HOST, Http, Raw


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


if __name__ == "__main__":
    unittest.main()
