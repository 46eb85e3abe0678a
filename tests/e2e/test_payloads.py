#!/usr/bin/env python3
"""Payloads that come as bytes: received into a file, given to the agent as one, gone with their task. KURULTAI_TEST_LONG=1: a
large one has a gigabyte instead of half of it."""
import hashlib
import json
import os
import socket
import unittest

import harness
from harness import MIB, PATIENCE, E2E, wait_until
from puppet import KEPT, Gate, puppet, settings, supervisor_rss

LARGE = 1024 if os.environ.get("KURULTAI_TEST_LONG") else 512  # MiB
BYTES = {"Content-Type": "application/octet-stream"}
# What an agent says of its payload file, read in pieces.
DIGEST = ("import hashlib\n"
          "h = hashlib.sha256(); n = 0\n"
          "with open(t['payloadFile'], 'rb') as file:\n"
          " while piece := file.read(1 << 20): h.update(piece); n += len(piece)\n")
READER = harness.agent_command(
    "say({'type': 'READY', 'protocol': 1, 'name': 'reader'})\n"
    "while True:\n"
    " t = task()\n"
    + "".join(" " + line + "\n" for line in DIGEST.splitlines())
    + " say({'type': 'COMPLETE', 'taskId': t['taskId'], 'result': [h.hexdigest(), n, 'payload' in t, t['payloadFile'], os.getuid()]})\n")


def payload_files(daemon):
    return os.listdir(os.path.join(daemon.state, "payloads"))


def blocks(mib):
    """Bytes that do not repeat, made as they are sent."""
    for number in range(mib):
        yield hashlib.shake_128(number.to_bytes(4, "big")).digest(4096) * (MIB // 4096)


class Payloads(E2E):
    def agents(self, **more):
        return {"reader": {"protocol": "jsonl", "command": READER},
                "sum": {"protocol": "exec", "command": ["sha256sum"]},
                "later": puppet(), **more}

    def upload(self, daemon, agent, body, query="", **kw):
        return daemon.request("POST", f"/v1/tasks?agent={agent}{query}", body, headers=BYTES, **kw)

    def test_reaches_the_agent_as_a_file_and_a_command_as_its_input(self):
        daemon = self.daemon(settings(self.agents()))
        for body in (b"\0\xff not JSON at all", b"{\"a\": 1}", b"", os.urandom(3 * MIB)):
            digest = hashlib.sha256(body).hexdigest()
            task = self.upload(daemon, "reader", body, "&wait=50s").json
            self.assertEqual(task["state"], "completed", task)
            self.assertEqual(task["result"][:3], [digest, len(body), False])
            task = self.upload(daemon, "sum", body, "&wait=50s").json
            self.assertEqual(task["result"], digest + "  -\n")
        wait_until(lambda: not payload_files(daemon), "the files go with their tasks")

    def test_fields_stand_in_the_query(self):
        daemon = self.daemon(settings(self.agents()))
        answer = self.upload(daemon, "later", b"x", "&priority=high&retries=3&timeout=5s&sizeClass=big&idempotencyKey=k%201")
        self.assertEqual(answer.status, 202)
        task = daemon.task(answer.json["taskId"])
        self.assertEqual(task["priority"], "high")
        for query, word, status in (("&retries=many", "retries", 422), ("&priority=urgent", "priority", 422), ("&colour=red", "colour", 400),
                                    ("&payload=1", "payload", 400), ("&timeout=soon", "timeout", 422)):
            answer = self.upload(daemon, "later", b"x", query)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (status, "invalid_task"), query)
            self.assertIn(word, answer.json["error"]["message"])
        self.assertEqual(self.upload(daemon, "nobody", b"x").status, 422)
        self.assertEqual(daemon.request("POST", "/v1/tasks?agent=later", '{"agent":"later"}').status, 400)
        self.assertEqual(self.upload(daemon, "later", b"x", "&wait=soon").status, 400)

    def test_json_stays_json_whatever_it_is_called(self):
        daemon = self.daemon(settings(self.agents()))
        for kind in ("application/json", "Application/JSON; charset=utf-8", "application/x-www-form-urlencoded", "text/plain"):
            answer = daemon.request("POST", "/v1/tasks?wait=50s", '{"agent":"later","payload":"done(1)"}', {"Content-Type": kind})
            self.assertEqual((answer.status, answer.json.get("result")), (200, 1), kind)

    def test_the_same_key_with_the_same_bytes_is_the_same_task(self):
        daemon = self.daemon(settings(self.agents()))
        first = self.upload(daemon, "reader", b"one", "&idempotencyKey=k&wait=50s").json
        self.assertEqual(first["state"], "completed")
        again = self.upload(daemon, "reader", b"one", "&idempotencyKey=k&wait=50s").json
        self.assertEqual(again["taskId"], first["taskId"])
        self.assertEqual(self.upload(daemon, "reader", b"two", "&idempotencyKey=k").json["error"]["code"], "key_conflict")
        self.assertEqual(daemon.submit("reader", "one", idempotencyKey="k").json["error"]["code"], "key_conflict")
        wait_until(lambda: not payload_files(daemon), "the files of all of them are gone")

    def test_survives_the_supervisor(self):
        config = settings(self.agents())
        daemon = self.daemon(config)
        gate = Gate(daemon)
        holders = [daemon.start("later", gate.code(), priority="critical") for _ in range(2)]
        for holder in holders:
            daemon.wait_state(holder, "running")
        body = os.urandom(2 * MIB)
        task = self.upload(daemon, "sum", body).json["taskId"]
        daemon.kill()
        gate.open()
        again = self.daemon(config, directory=daemon.dir)
        done = again.wait_state(task, "completed")
        self.assertEqual(done["result"], hashlib.sha256(body).hexdigest() + "  -\n")
        again.terminate()
        third = self.daemon(config, directory=daemon.dir)
        self.assertEqual(payload_files(third), [])
        self.assertEqual(self.upload(third, "sum", b"x", "&wait=50s").status, 200)

    def test_a_refusal_comes_before_the_body(self):
        limits = {"store": {"max_payload": "1MiB"}, "queue": {"max_depth": 1}}
        daemon = self.daemon(settings(self.agents(), workers={"max": 1}, **limits))
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("later", gate.code()), "running")
        heads = {"/v1/tasks?agent=sum": 413, "/v1/tasks?agent=nobody": 422}
        for path, status in heads.items():
            self.assertEqual(self.head_only(daemon, path, 8 * MIB), status)
        daemon.start("later", "done()")
        self.assertEqual(self.head_only(daemon, "/v1/tasks?agent=sum", 1000), 429)
        # Of unknown length it is cut where it becomes too large.
        gate.open()
        wait_until(lambda: daemon.get("/v1/queue").json["depth"] == 0, "there is room again")
        answer = daemon.request("POST", "/v1/tasks?agent=sum", iter([b"x" * 700000] * 2), {**BYTES, "Transfer-Encoding": "chunked"})
        self.assertEqual((answer.status, answer.json["error"]["code"]), (413, "payload_too_large"))
        wait_until(lambda: not payload_files(daemon), "nothing of it is left")

    def test_payloads_and_results_share_a_quota(self):
        daemon = self.daemon(settings(self.agents(big={"protocol": "exec", "command": ["head", "-c", "400000", "/dev/zero"]}), store={"max_spool": "1MiB"}))
        results = [daemon.run("big")["taskId"] for _ in range(3)]
        self.assertEqual([t["taskId"] for t in daemon.get("/v1/tasks").json["tasks"]], results[1:])  # the oldest made room
        gate = Gate(daemon)
        for _ in range(2):
            daemon.start("later", gate.code())
        wait_until(lambda: daemon.get("/v1/queue").json["depth"] == 0, "both workers are taken")
        self.assertEqual(self.upload(daemon, "sum", b"x" * 700000).status, 202)
        self.assertEqual([t["agent"] for t in daemon.get("/v1/tasks").json["tasks"]], ["big", "later", "later", "sum"])
        for body, more in ((b"x" * 400000, {}), (iter([b"x" * 400000]), {"Transfer-Encoding": "chunked"})):
            answer = daemon.request("POST", "/v1/tasks?agent=sum", body, {**BYTES, **more})
            self.assertEqual((answer.status, answer.json["error"]["code"]), (503, "storage_unavailable"))
            self.assertIn("store.max_spool", answer.json["error"]["message"])
        wait_until(lambda: len(payload_files(daemon)) == 1, "what was refused is gone")
        gate.open()
        wait_until(lambda: self.upload(daemon, "sum", b"x" * 400000).status == 202, "there is room again")
        wait_until(lambda: not payload_files(daemon), "all of them have ended")

    def head_only(self, daemon, path, length):
        """The status of the answer to a request whose body never comes."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20 * PATIENCE)
            client.connect(daemon.socket)
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n".encode())
            return int(client.recv(4096).split()[1])

    def test_clients_that_vanish_leave_no_file(self):
        daemon = self.daemon(settings(self.agents()))
        for sent in (0, 1000, 500000):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(daemon.socket)
                client.sendall(b"POST /v1/tasks?agent=sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                               b"Content-Length: 1000000\r\n\r\n" + b"x" * sent)
                if sent:
                    wait_until(lambda: payload_files(daemon), "some of it is there")
            wait_until(lambda: not payload_files(daemon), "its file goes with the client")
        self.assertEqual(daemon.get("/v1/tasks").json["tasks"], [])

    def test_no_more_than_a_few_at_once(self):
        daemon = self.daemon(settings(self.agents()))
        clients = []
        for _ in range(16):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.connect(daemon.socket)
            client.sendall(b"POST /v1/tasks?agent=sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\nx")
            clients.append(client)
        wait_until(lambda: len(payload_files(daemon)) == 16, "all of them have begun")
        answer = self.upload(daemon, "sum", b"x")
        self.assertEqual((answer.status, answer.json["error"]["code"]), (503, "storage_unavailable"))
        self.assertEqual(answer.headers["Retry-After"], "1")
        clients[0].sendall(b"12345678")
        self.assertEqual(clients[0].recv(12), b"HTTP/1.1 202")
        wait_until(lambda: self.upload(daemon, "sum", b"x").status == 202, "there is room for another")

    def test_a_large_one_passes_through_a_small_supervisor(self):
        daemon = self.daemon(settings(self.agents()))
        self.assertEqual(self.upload(daemon, "sum", b"warm", "&wait=50s").status, 200)
        mib, before, most = LARGE, supervisor_rss(daemon), 0
        digest = hashlib.sha256()

        def pieces():
            nonlocal most
            for block in blocks(mib):
                digest.update(block)
                most = max(most, supervisor_rss(daemon))
                yield block
        answer = daemon.request("POST", "/v1/tasks?agent=reader&wait=10m", pieces(),
                                {**BYTES, "Content-Length": str(mib * MIB)}, timeout=600)
        self.assertEqual(answer.json["state"], "completed", answer.json)
        self.assertEqual(answer.json["result"][:2], [digest.hexdigest(), mib * MIB])
        self.assertLess(most - before, 8 * MIB + KEPT)

    @unittest.skipUnless(os.getuid() == 0, "needs root: agents run as other users")
    def test_an_agent_of_another_user_can_read_its_own_and_no_other(self):
        peek = puppet(user="auto")
        daemon = self.daemon(settings(self.agents(reader={"protocol": "jsonl", "command": READER, "user": "auto"}, peek=peek)))
        task = self.upload(daemon, "reader", b"mine", "&wait=50s").json
        self.assertEqual(task["state"], "completed", task)
        self.assertEqual(task["result"][:2], [hashlib.sha256(b"mine").hexdigest(), 4])
        self.assertNotEqual(task["result"][4], 0)
        gate = Gate(daemon)
        for _ in range(2):
            daemon.start("later", gate.code(), priority="critical")
        wait_until(lambda: all(w["agent"] == "later" for w in daemon.get("/v1/workers").json["workers"]), "both workers are taken")
        self.upload(daemon, "sum", b"secret")
        name, = payload_files(daemon)
        gate.open()
        found = daemon.run("peek", "try: done(open('/proc/self/fd/3/" + name + "').read())\n"
                                   "except OSError as e: done(type(e).__name__)\n")
        self.assertIn(found["result"], ("PermissionError", "FileNotFoundError"))


if __name__ == "__main__":
    unittest.main()
