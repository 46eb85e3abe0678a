#!/usr/bin/env python3
"""GET /openapi.json, and that it holds what it says. Every other test holds the answers that it gets against it: see api.py."""
import json
import os
import subprocess
import unittest

import api
import harness
from harness import E2E
from puppet import puppet, settings


class Document(E2E):
    def test_it_is_the_file_in_the_source(self):
        daemon = self.daemon(settings())
        answer = daemon.get("/openapi.json")
        with open(api.FILE, "rb") as file:
            self.assertEqual(answer.body, file.read())
        self.assertEqual(answer.json["openapi"][:4], "3.1.")

    def test_a_linter_of_others_has_nothing_to_say(self):
        run = subprocess.run([os.path.join(harness.ROOT, "tests", "openapi_linter"), api.FILE], capture_output=True, text=True, timeout=290, check=False)
        if run.returncode == 77:
            self.skipTest(f"openapi.json is not linted: {run.stderr.strip()}")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    @unittest.skipIf(api.jsonschema is None, "python3-jsonschema is not installed")
    def test_an_answer_of_another_shape_is_found_out(self):
        with open(api.FILE, encoding="utf-8") as file:
            document = api.Document(file.read())
        kind = {"Content-Type": "application/json"}
        page = {"tasks": [], "next": None}
        document.check("GET", "/v1/tasks?limit=5", 200, kind, json.dumps(page))
        task = {"taskId": "1m7y8zgzkp3fkf4h", "agent": "a", "priority": "low", "state": "queued", "attempt": 1, "preemptions": 0, "submittedAt": "2026-11-21T05:24:02.688Z",
                "startedAt": None, "finishedAt": None, "waitMs": 0, "runMs": 0, "workerId": None, "progress": None, "message": None, "peakMemoryBytes": 0, "logBytes": 0,
                "error": None, "result": None}
        document.check("GET", "/v1/tasks/1m7y8zgzkp3fkf4h", 200, kind, json.dumps(task))
        for change in ({"more": 1}, {"state": "lost"}, {"submittedAt": "yesterday"}, {"waitMs": -1}, {"resultBytes": 5}, {"error": {"reason": "bad luck"}}):
            with self.subTest(change), self.assertRaises(api.Mismatch):
                document.check("GET", "/v1/tasks/1m7y8zgzkp3fkf4h", 200, kind, json.dumps({**task, **change}))
        for method, path, status, headers, body in (
                ("GET", "/v1/tasks", 204, kind, b""), ("GET", "/v1/tasks", 200, {"Content-Type": "text/html"}, b""), ("GET", "/v1/nothing", 200, kind, b"{}"),
                ("GET", "/v1/tasks/1m7y8zgzkp3fkf4h", 200, kind, json.dumps({k: v for k, v in task.items() if k != "agent"})),
                ("POST", "/v1/tasks", 429, kind, b'{"error":{"code":"queue_full","message":"m","retryAfter":1}}'),  # without its header
                ("POST", "/v1/tasks", 429, {**kind, "Retry-After": "1"}, b'{"error":{"code":"draining","message":"m","retryAfter":1}}')):
            with self.subTest(f"{method} {path} {status}"), self.assertRaises(api.Mismatch):
                document.check(method, path, status, headers, body)

    @unittest.skipIf(api.jsonschema is None, "python3-jsonschema is not installed")
    def test_the_configuration_in_effect_is_what_its_own_schema_says(self):
        daemon = self.daemon(settings({"puppet": puppet(), "shell": {"protocol": "exec", "command": ["sh", "-c", "{script}"]}}))
        schema = subprocess.run([os.path.join(harness.BIN, "kurultai"), "config", "schema"], capture_output=True, timeout=20 * harness.PATIENCE, check=True).stdout
        api.jsonschema.Draft202012Validator(json.loads(schema)).validate(daemon.get("/v1/config").json)


if __name__ == "__main__":
    unittest.main()
