#!/usr/bin/env python3
"""Results: whole and in part, of any size."""
import hashlib
import http.client
import json
import os
import subprocess
import sys
import unittest

import harness
from harness import MIB, E2E
from puppet import KEPT, Gate, settings, supervisor_rss
from test_client import client

# Writes MIB mebibytes that do not repeat.
WRITER = ("import hashlib, sys\n"
          "for n in range(int(sys.argv[1])):\n"
          " sys.stdout.buffer.write(hashlib.shake_128(n.to_bytes(4, 'big')).digest(4096) * 256)\n")


def expected(mib):
    return b"".join(hashlib.shake_128(n.to_bytes(4, "big")).digest(4096) * 256 for n in range(mib))


class Results(E2E):
    def agents(self):
        return {"writer": {"protocol": "exec", "command": [sys.executable, "-c", WRITER, "{mib}"]},
                "echo": {"protocol": "exec", "command": ["cat"]}}

    def part(self, daemon, task, header, **more):
        return daemon.get(f"/v1/tasks/{task}/result", headers={"Range": header, **more})

    def test_parts_of_a_file_and_of_a_short_result(self):
        daemon = self.daemon(settings(self.agents()))
        for task, whole in ((daemon.run("writer", {"mib": 2}), expected(2)), (daemon.run("echo", 12345678), b"12345678")):
            self.assertEqual(task["state"], "completed", task)
            task, size = task["taskId"], len(whole)
            answer = daemon.get(f"/v1/tasks/{task}/result")
            self.assertEqual((answer.status, answer.body, answer.headers["Accept-Ranges"]), (200, whole, "bytes"))
            tag = answer.headers["ETag"]
            for header, first, last in (("bytes=0-0", 0, 0), ("bytes=3-7", 3, 7), (f"bytes={size - 1}-", size - 1, size - 1), ("bytes=-4", size - 4, size - 1),
                                        (f"bytes=5-{size * 9}", 5, size - 1)):
                answer = self.part(daemon, task, header)
                self.assertEqual((answer.status, answer.body), (206, whole[first:last + 1]), header)
                self.assertEqual(answer.headers["Content-Range"], f"bytes {first}-{last}/{size}")
            answer = self.part(daemon, task, f"bytes={size}-")
            self.assertEqual((answer.status, answer.headers["Content-Range"], answer.json["error"]["code"]), (416, f"bytes */{size}", "invalid_range"))
            for header in ("bytes=5-1", "bytes=1-2,4-5", "pages=1-2", "bytes=x"):
                self.assertEqual((self.part(daemon, task, header).status), 200, header)
            self.assertEqual(self.part(daemon, task, "bytes=0-0", **{"If-Range": tag}).status, 206)
            self.assertEqual(self.part(daemon, task, "bytes=0-0", **{"If-Range": '"another"'}).body, whole)
            head = daemon.request("HEAD", f"/v1/tasks/{task}/result", headers={"Range": "bytes=3-7"})
            self.assertEqual((head.status, head.headers["Content-Length"], head.body), (206, "5", b""))

    def test_a_gigabyte_passes_through_a_small_supervisor(self):
        daemon = self.daemon(settings(self.agents()))
        daemon.run("echo", "warm")
        before = supervisor_rss(daemon)
        task = daemon.run("writer", {"mib": 1024}, wait="10m")
        self.assertEqual((task["state"], task.get("resultBytes")), ("completed", 1024 * MIB), task)
        most, digest, wanted = 0, hashlib.sha256(), hashlib.sha256()
        connection = harness._UnixConnection(daemon.socket, 120 * harness.PATIENCE)
        connection.request("GET", f"/v1/tasks/{task['taskId']}/result")
        response = connection.getresponse()
        for number in range(1024):
            digest.update(response.read(MIB))
            wanted.update(hashlib.shake_128(number.to_bytes(4, "big")).digest(4096) * 256)
            most = max(most, supervisor_rss(daemon))
        connection.close()
        self.assertEqual(digest.hexdigest(), wanted.hexdigest())
        self.assertLess(most - before, 8 * MIB + KEPT)


class Follow(E2E):
    def follow(self, daemon, task):
        connection = harness._UnixConnection(daemon.socket, 60 * harness.PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", f"/v1/tasks/{task}/result?follow=1")
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        return response

    def read(self, response, count):
        """Exactly so many bytes, as soon as they are there."""
        found = b""
        while len(found) < count:
            piece = response.read1(count - len(found))
            self.assertTrue(piece, found)
            found += piece
        return found

    def test_of_a_command_as_it_prints(self):
        daemon = self.daemon(settings({"sh": {"protocol": "exec", "command": ["sh", "-c", "{script}"]}}))
        gate = Gate(daemon)
        wait = f"while ! test -e {gate.path}; do sleep 0.02; done"
        for rest, left in (("echo end", b"end\n"), ("yes x | head -c 200000", b"x\n" * 100000)):
            task = daemon.start("sh", {"script": f"echo begin; {wait}; {rest}"})
            response = self.follow(daemon, task)
            self.assertEqual(self.read(response, 6), b"begin\n")
            self.assertEqual(daemon.task(task)["state"], "running")
            gate.open()
            self.assertEqual(response.read(), left)
            done = daemon.wait_state(task, "completed")
            self.assertEqual(done.get("result") or done["resultBytes"], "begin\nend\n" if len(left) < 10 else 200006)
            self.assertEqual(self.follow(daemon, task).read(), b"begin\n" + left)
            self.assertEqual(client(daemon, "result", "--follow", task).stdout, "begin\n" + left.decode())
            os.unlink(gate.path)
        self.assertEqual(len(os.listdir(os.path.join(daemon.state, "spool"))), 1)  # of the one that is large

    def test_of_pieces_as_they_come(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        for size in (10, 100000):
            piece = "x" * size
            task = daemon.start("puppet", f"about('CHUNK', data={piece!r}, encoding='utf8')\n" + gate.code("about('CHUNK', data='end', encoding='utf8'); done()"))
            response = self.follow(daemon, task)
            self.assertEqual(self.read(response, size), piece.encode())
            gate.open()
            self.assertEqual(response.read(), b"end")
            os.unlink(gate.path)

    def test_one_that_waits_and_one_without_pieces(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        first = daemon.start("puppet", gate.code("done({'a': 1})"))
        second = daemon.start("puppet", "done('text')")
        followed = [self.follow(daemon, first), self.follow(daemon, second)]
        gate.open()
        self.assertEqual([json.loads(followed[0].read()), followed[1].read()], [{"a": 1}, b"text"])

    def test_an_attempt_that_comes_to_nothing_breaks_off(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task = daemon.start("puppet", "about('CHUNK', data=str(t['attempt']), encoding='utf8')\n" + gate.code("done() if t['attempt'] == 2 else fail('no')"), retries=1)
        response = self.follow(daemon, task)
        self.assertEqual(self.read(response, 1), b"1")
        gate.open()
        with self.assertRaises(http.client.IncompleteRead):
            response.read()
        daemon.wait_state(task, "completed")
        self.assertEqual(daemon.get(f"/v1/tasks/{task}/result").body, b"2")

    def test_readers_that_go_away(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task = daemon.start("puppet", "about('CHUNK', data='x', encoding='utf8')\n" + gate.code())
        for _ in range(5):
            response = self.follow(daemon, task)
            self.read(response, 1)
            response.close()
        gate.open()
        daemon.wait_state(task, "completed")
        self.assertEqual(daemon.get("/health").status, 200)


class Files(E2E):
    def test_a_file_as_payload(self):
        daemon = self.daemon(settings({"sum": {"protocol": "exec", "command": ["sha256sum"]}}))
        body = os.urandom(2 * MIB)
        path = os.path.join(daemon.dir, "payload")
        with open(path, "wb") as file:
            file.write(body)
        wanted = hashlib.sha256(body).hexdigest() + "  -\n"
        done = client(daemon, "submit", "sum", "--file", path, "--wait")
        self.assertEqual((done.returncode, done.stdout), (0, wanted), done.stderr)
        done = subprocess.run([os.path.join(harness.BIN, "kurultai"), "--socket", daemon.socket, "submit", "sum", "--file", "-", "--wait", "--key", "a b&c"],
                              input=body, capture_output=True, timeout=60 * harness.PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stdout.decode()), (0, wanted), done.stderr)
        for words, status, told in ((["sum", "--file", path + "x"], 2, "No such file"), (["sum", "--file", path, "--payload", "1"], 2, "exclude"),
                                    (["nobody", "--file", path], 5, "no agent"), (["sum", "--file", daemon.dir], 2, "directory")):
            done = client(daemon, "submit", *words)
            self.assertIn(told, done.stderr)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
