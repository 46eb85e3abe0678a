#!/usr/bin/env python3
"""Wrong input, for every route: what it is refused with, and that nothing comes of it."""
import json
import unittest
import urllib.parse

import api
from harness import E2E
from puppet import settings

with open(api.FILE, encoding="utf-8") as file:
    PATHS = json.load(file)["paths"]
CALLS = [(method.upper(), path) for path, item in PATHS.items() for method in item if method != "parameters"]
# Texts that are nobody's id. None may leave its place in the path, or be taken for another task.
IDS = ("unknown", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%2f", ".", "%00", "%ff%fe", "%25", "a b".replace(" ", "%20"), "+", "x" * 8000,
       "1m7y8zgzkp3fkf4h", "1M7Y8ZGZKP3FKF4H", "%F0%9F%92%A5", "'%22;--", "null", "-1", "0", "*", "result", "%2f")
NO_TARGETS = ("%", "%zz", "{id}", "a%2", "<x>")  # no address at all
PARAMETERS = {
    "wait": ("soon", "-5s", "5", "1e9h", "5s5", "%00", "", "99999999999999999999s"),
    "timeout": ("soon", "-5s", "1e9h", "%ff"),
    "state": ("lost", ",", "QUEUED%00", "queued,lost", "%ff"),
    "limit": ("0", "-1", "1001", "1.5", "1e2", "x", "", "99999999999999999999", "0x10", "%2b5"),
    "after": ("x", "../..", "%00", "1m7y8zgzkp3fkf4", "1m7y8zgzkp3fkf4hh", "1m7y8zgzkp3fkf4U", "%ff" * 16),
    "order": ("x", "", "NEWEST", "oldest,newest"),
    "follow": ("2", "yes", "", "-1", "true"),
    # Of payloads that come as bytes; a task in JSON has these in its body.
    **dict.fromkeys(("priority", "retries", "idempotencyKey", "sizeClass"), ("high", "1", "")),
    "onDisconnect": ("x", "", "cancel", "CANCEL&wait=1s", "kill&wait=1s"),  # it says what a wait is to lead to
    "types": ("x", "taskfailed", ",", "taskFailed,x", "%ff", "x" * 1000),
    "lastEventId": ("x", "-1", "1.5", "1e3", "99999999999999999999999"),
}
ANYTHING_GOES = {"agent", "taskId"}  # a text that nothing has: an empty list, 404


class BadInput(E2E):
    def refused(self, daemon, method, target, status, code, body=None):
        answer = daemon.request(method, target, body)
        self.assertEqual((answer.status, answer.json["error"]["code"]), (status, code), f"{method} {target[:80]}: {answer.body[:300]}")
        answer.body.decode()  # whatever came in, UTF-8 goes out
        return answer.json["error"]["message"]

    def well(self, daemon):
        """Nothing came of it."""
        health = daemon.get("/health").json
        self.assertEqual((health["status"], health["draining"]), ("ok", False))
        self.assertEqual(daemon.get("/v1/tasks").json["tasks"], [])
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)

    def test_an_unknown_parameter_is_refused_everywhere_and_named(self):
        daemon = self.daemon(settings())
        for method, path in CALLS:
            target = path.replace("{id}", "1m7y8zgzkp3fkf4h").replace("{name}", "puppet")
            for query in ("nonsense=1", "nonsense", "Wait=1s", "%6eonsense=", "%ff=1", "=1", "state=queued&agnet=x", "x" * 4000):
                with self.subTest(f"{method} {target}?{query[:40]}"):
                    message = self.refused(daemon, method, f"{target}?{query}", 400, "invalid_task")
                    self.assertIn("there is no parameter", message)
                    self.assertLess(len(message), 300)
        self.assertIn("there are state, agent, limit, after, order", self.refused(daemon, "GET", "/v1/tasks?agnet=x", 400, "invalid_task"))
        self.well(daemon)

    def test_a_parameter_with_a_wrong_value_is_400(self):
        daemon = self.daemon(settings())
        task_id = daemon.run("puppet", "done()")["taskId"]
        tried = set()
        for path, item in PATHS.items():
            for method, operation in item.items():
                for parameter in operation.get("parameters", []) if method != "parameters" else []:
                    name = parameter.get("name") or parameter["$ref"].rsplit("/", 1)[1]
                    if parameter.get("in") == "header" or name in ANYTHING_GOES:
                        continue
                    for value in PARAMETERS[name]:
                        if not value and (name == "wait" and "drain" in path):
                            continue  # there it needs none
                        with self.subTest(f"{method} {path}?{name}={value}"):
                            body = None if method == "get" else "[]" if "batch" in path else '{"agent":"puppet"}'
                            self.refused(daemon, method.upper(), f"{path.replace('{id}', task_id)}?{name}={value}", 400, "invalid_task", body)
                            tried.add(name)
        self.assertEqual(tried, set(PARAMETERS))
        self.assertFalse(daemon.get("/health").json["draining"])
        self.assertEqual(len(daemon.get("/v1/tasks").json["tasks"]), 1)

    def test_an_id_of_nobody_is_404_on_every_route_that_takes_one(self):
        daemon = self.daemon(settings())
        for method, path in CALLS:
            for task_id in IDS if "{id}" in path else ():
                with self.subTest(f"{method} {path} {task_id[:30]}"):
                    self.refused(daemon, method, path.replace("{id}", task_id), 404, "not_found")
            for task_id in NO_TARGETS if "{id}" in path else ():
                with self.subTest(f"{method} {path} {task_id}"):
                    self.refused(daemon, method, path.replace("{id}", task_id), 400, "invalid_request")
        for task_id in IDS:
            with self.subTest(f"taskId={task_id[:30]}"):
                self.refused(daemon, "GET", f"/v1/events?taskId={task_id}", 404, "not_found")
        for path in ("/v1/tasks/", "/v1/tasks//result", "/v1/tasks//", "/v1/tasks/../tasks", "/v1/./tasks", "/v1/tasks/x/y/result", "/v1/tasks:batch/", "/v1/tasks:", "/v1/tasks:batches"):
            with self.subTest(path):
                self.refused(daemon, "GET", path, 404, "not_found")
        self.well(daemon)

    def test_a_huge_id_is_refused_before_it_is_looked_for(self):
        daemon = self.daemon(settings())
        self.assertEqual(daemon.get("/v1/tasks/" + "x" * 20000).status, 431)
        self.well(daemon)

    def test_bodies_that_are_no_json_are_400_whatever_they_are_of(self):
        daemon = self.daemon(settings())
        agent = '"agent":"puppet"'
        for one in (b"", b"{", b'{"agent":"puppet"', b'{"agent":"pup\xffpet"}', b'{"agent":"\xc0\xaf"}', b'{"agent":"\xed\xa0\x80"}', b'\xef\xbb\xbf{"agent"}',
                    f'{{{agent},{agent}}}'.encode(), f'{{{agent},"payload":{{"a":{{"b":1,"b":2}}}}}}'.encode(), f'{{{agent},"payload":1e400}}'.encode(),
                    f'{{{agent},"payload":-1e400}}'.encode(), f'{{{agent},"payload":{"[" * 64}{"]" * 64}}}'.encode(), f'{{{agent},"payload":{"[" * 50000}'.encode(),
                    f'{{{agent},"payload":01}}'.encode(), f'{{{agent},"payload":+1}}'.encode(), f'{{{agent},"payload":.5}}'.encode(), f'{{{agent},"payload":Infinity}}'.encode(),
                    f'{{{agent},"payload":"\t"}}'.encode(), f'{{{agent}}} {{}}'.encode(), f'{{{agent}}},'.encode(), b'{"agent":"puppet"}\0', f"{{{agent}/* */}}".encode()):
            with self.subTest(one[:60]):
                self.refused(daemon, "POST", "/v1/tasks", 400, "invalid_json", one)
                self.refused(daemon, "POST", "/v1/tasks:batch", 400, "invalid_json", b"[" + one + (b"]" if one else b""))
        # As deep as it may be, in both.
        deep = f'{{{agent},"payload":{"[" * 63}{"]" * 63}}}'
        self.assertEqual(daemon.request("POST", "/v1/tasks?wait=20s", deep.replace('"[', "")).json["error"]["reason"], "exit_code")
        self.refused(daemon, "POST", "/v1/tasks:batch", 400, "invalid_json", f"[{deep}]")

    def test_fields_of_the_wrong_type_are_422_alone_and_in_a_batch(self):
        daemon = self.daemon(settings())
        wrong = {"agent": (5, "", None, True, [], {}, 1.5), "priority": ("urgent", 9, -1, 1.5, None, True, [], {}, "5", "", 2**63), "timeout": (5, "soon", "0s", "-5s", None, True, [], "1e9h", ""),
                 "retries": (-1, 1001, "3", 1.5, None, True, [], 2**64 - 1, 2**63, -2**63), "idempotencyKey": (5, "x" * 257, "ü" * 129, None, [], True),
                 "sizeClass": (5, "", "x" * 65, None, {}), "Agent": ("puppet",), "unknown": (1,), "": (1,), "taskId": ("x",), "__proto__": ({},)}
        for name, values in wrong.items():
            for value in values:
                body = {"agent": "puppet", name: value}
                with self.subTest(json.dumps(body)[:60]):
                    message = self.refused(daemon, "POST", "/v1/tasks", 422, "invalid_task", json.dumps(body))
                    self.assertIn(f"'{name}'", message)
                    answer = daemon.request("POST", "/v1/tasks:batch", json.dumps([body])).json
                    self.assertEqual(answer, [{"error": {"code": "invalid_task", "message": message}}])
        self.well(daemon)

    def test_names_of_agents_that_are_none(self):
        daemon = self.daemon(settings())
        for name in ("nobody", "puppet\0", "../puppet", "PUPPET", " puppet", "puppet ", "\u202epuppet", "x" * 100000, "exec"):
            self.refused(daemon, "POST", "/v1/tasks", 422, "unknown_agent", json.dumps({"agent": name}))
            self.assertEqual(daemon.get("/v1/tasks?agent=" + urllib.parse.quote(name[:1000])).json["tasks"], [])
        self.well(daemon)

    def test_a_page_goes_on_behind_a_task_that_is_gone(self):
        daemon = self.daemon(settings(store={"max_finished": 2}))
        ids = [daemon.run("puppet", "done()")["taskId"] for _ in range(4)]
        self.assertEqual([t["taskId"] for t in daemon.get(f"/v1/tasks?after={ids[0]}").json["tasks"]], ids[2:])
        self.assertEqual(daemon.get(f"/v1/tasks?after={ids[1]}&order=newest").json["tasks"], [])
        self.assertEqual(daemon.get("/v1/tasks?after=zzzzzzzzzzzzzzzz").json["tasks"], [])
        self.assertEqual(daemon.get("/v1/tasks?limit=2&after=0000000000000000").json["next"], ids[3])


if __name__ == "__main__":
    unittest.main()
