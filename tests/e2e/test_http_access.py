#!/usr/bin/env python3
"""The gateway: who may ask."""
import json
import os
import re
import socket
import stat
import subprocess
import unittest

import harness
from puppet import settings
from raw_http import Http, Raw


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
            return connection.send("\r\n".join([*lines, "", ""]).encode()).answer(method)

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
        self.assertRegex(status, rf"(?m)^dashboard +http://127.0.0.1:{address[1]}/#token={token}$")
        self.assertEqual(status.count(token), 1)
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

    def test_pages_of_other_sites_that_are_named_may_ask(self):
        good, other = "https://ops.example.org", "http://localhost.example:3000"
        daemon, address = self.tcp(settings(gateway={"cors_origins": [good, other]}))
        with open(os.path.join(daemon.state, "token"), encoding="ascii") as file:
            token = file.read().strip()
        asks_leave = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type"]
        # method, path, Origin, more, with the token; then the status and whether a browser hands the answer to the page
        table = [
            ("GET", "/v1/memory", good, [], True, 200, True),
            ("GET", "/v1/memory", other, [], True, 200, True),
            ("GET", "/v1/memory", good, [], False, 401, True),
            ("GET", "/v1/tasks/nothing", good, [], True, 404, True),
            ("PUT", "/v1/tasks", good, [], True, 405, True),
            ("GET", "/health", good, [], False, 200, True),
            ("OPTIONS", "/v1/tasks", good, asks_leave, False, 204, True),
            ("OPTIONS", "/v1/nothing", good, asks_leave, False, 404, True),
            ("OPTIONS", "/v1/tasks", good, [], False, 401, True),  # no question of a browser
            ("OPTIONS", "/v1/tasks", good, [], True, 204, True),
            ("GET", "/v1/memory", "https://evil.example", [], True, 403, False),
            ("OPTIONS", "/v1/tasks", "https://evil.example", asks_leave, False, 403, False),
            ("GET", "/v1/memory", "null", [], True, 403, False),
            ("GET", "/v1/memory", "*", [], True, 403, False),
            ("GET", "/v1/memory", good.upper(), [], True, 403, False),
            ("GET", "/v1/memory", good + ":8443", [], True, 403, False),
            ("GET", "/v1/memory", good.replace("https", "http"), [], True, 403, False),
            ("GET", "/v1/memory", good + ".evil.example", [], True, 403, False),
            ("GET", "/v1/memory", f"{good}, {other}", [], True, 403, False),
            ("GET", "/v1/memory", f"http://127.0.0.1:{address[1]}", [], True, 200, False),  # its own: nothing to allow
            ("GET", "/v1/memory", None, [], True, 200, False),
        ]
        own = f"Host: 127.0.0.1:{address[1]}"
        for method, path, origin, more, with_token, wanted, allowed in table:
            with self.subTest(f"{method} {path} {origin} {with_token}"):
                lines = [own, *([f"Origin: {origin}"] if origin else []), *more]
                status, headers, _ = self.ask(address, path, token=token if with_token else None, headers=lines, method=method)
                self.assertEqual(status, wanted)
                self.assertEqual(headers.get("Access-Control-Allow-Origin"), origin if allowed else None)
                self.assertEqual(headers["Vary"], "Origin")
                self.assertNotIn("Access-Control-Allow-Credentials", headers)
                self.assertEqual("Retry-After" in headers.get("Access-Control-Expose-Headers", ""), allowed)
                self.assertEqual("Access-Control-Allow-Methods" in headers, bool(more) and wanted == 204)
                if bool(more) and wanted == 204:
                    self.assertEqual((headers["Access-Control-Allow-Methods"], headers["Access-Control-Max-Age"]), ("POST, GET, HEAD, OPTIONS", "600"))
                    self.assertLessEqual({"Authorization", "Content-Type", "Last-Event-ID"}, set(headers["Access-Control-Allow-Headers"].split(", ")))
        self.assertEqual(self.ask(address, headers=["Host: evil.example", f"Origin: {good}"], token=token)[0], 403)
        with Raw(address) as connection:  # a stream too
            connection.send("\r\n".join(["GET /v1/events HTTP/1.1", own, f"Origin: {good}", f"Authorization: Bearer {token}", "", ""]).encode())
            head = b"".join(iter(connection.file.readline, b"\r\n"))
            self.assertIn(f"Access-Control-Allow-Origin: {good}\r\n".encode(), head)
        daemon.write_config(settings())
        self.assertEqual(daemon.request("POST", "/v1/reload").json["live"], ["gateway.cors_origins"])
        status, headers, _ = self.ask(address, token=token, headers=[own, f"Origin: {good}"])
        self.assertEqual((status, "Vary" in headers), (403, False))

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


if __name__ == "__main__":
    unittest.main()
