#!/usr/bin/env python3
"""Results: whole and in part, of any size."""
import hashlib
import os
import subprocess
import sys
import unittest

import harness
from harness import MIB, E2E
from puppet import KEPT, settings, supervisor_rss
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
