#!/usr/bin/env python3
"""Circuit breakers: agents that keep failing and what agents call are left alone, tried one at a time, and shown."""
import contextlib
import http.server
import json
import os
import signal
import socketserver
import threading
import unittest

from harness import E2E, PYTHON, ROOT, client, wait_until
from puppet import Gate, puppet, settings

# An agent of the SDK that calls an endpoint once and goes on whatever it answers.
CALLER = """
import sys, urllib.request
sys.path.insert(0, sys.argv[1])
from kurultai_agent import BreakerOpen, breaker, serve
def call(task):
    try:
        with breaker("endpoint"):
            urllib.request.urlopen(task.payload, timeout=10).read()
    except BreakerOpen as error:
        return error.retry_after
    except OSError:
        return None
serve(call)
"""
ASK = "about('BREAKER', name='api', op='acquire', call=1)\nanswer = until('BREAKER')\n"
TELL = "about('BREAKER', name='api', op={!r}, call=1)\n"


@contextlib.contextmanager
def endpoint():
    """A server on loopback that fails; its address and the list of what was asked of it."""
    hits = []

    class Failing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_error(500)

        def log_message(self, *_):
            pass

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Failing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", hits
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Breakers(E2E):
    def breakers(self, daemon):
        return {(one["kind"], one["name"]): one for one in daemon.get("/v1/breakers").json["breakers"]}

    def test_agents_and_what_they_call_are_shown(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}, circuit_breakers={"failures": 2, "backoff": ["60s"]}))
        closed = {"state": "closed", "failures": 0, "retryAfter": None}
        self.assertEqual(daemon.get("/v1/breakers").json["breakers"], [{"kind": "agent", "name": name, **closed} for name in ("other", "puppet")])
        daemon.run("puppet", "fail()")
        self.assertEqual(self.breakers(daemon)["agent", "puppet"]["failures"], 1)
        daemon.run("other", "for _ in range(2): say({'type': 'BREAKER', 'name': 'api', 'op': 'failure'})\ndone()")
        daemon.run("puppet", "fail()")
        shown = self.breakers(daemon)
        self.assertEqual({key: one["state"] for key, one in shown.items()},
                         {("agent", "other"): "closed", ("agent", "puppet"): "open", ("called", "api"): "open"})
        for one in (shown["agent", "puppet"], shown["called", "api"]):
            self.assertEqual(one["failures"], 0)
            self.assertTrue(1 <= one["retryAfter"] <= 60, one)
        refused = daemon.submit("puppet").json["error"]
        self.assertLessEqual(abs(refused["retryAfter"] - shown["agent", "puppet"]["retryAfter"]), 60)
        self.assertEqual(refused["code"], "circuit_open")
        run = client(daemon, "breakers")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertRegex(run.stdout, r"(?m)^BREAKER +OF +STATE +FAILURES +NEXT TRY IN$")
        self.assertRegex(run.stdout, r"(?m)^api +called +open +0 +\d+s$")
        self.assertRegex(run.stdout, r"(?m)^other +agent +closed +0 +-$")
        self.assertEqual(len(json.loads(client(daemon, "breakers", "--json").stdout)["breakers"]), 3)

    def test_after_its_pause_one_may_be_tried(self):
        daemon = self.daemon(settings(circuit_breakers={"failures": 1, "successes": 1, "backoff": ["10ms"]}))
        daemon.run("puppet", "fail()")
        one = self.breakers(daemon)["agent", "puppet"]
        self.assertEqual(one["state"], "open")
        daemon.wait_event("breakerChanged", name="puppet", to="open")
        self.assertIsNone(self.breakers(daemon)["agent", "puppet"]["retryAfter"])
        daemon.run("puppet", "done()")
        self.assertEqual(self.breakers(daemon)["agent", "puppet"]["state"], "closed")

    def changes(self, daemon, name):
        return [(event["kind"], event["from"], event["to"]) for event in daemon.events() if event["type"] == "breakerChanged" and event["name"] == name]

    # ---- what agents call

    def test_a_failing_endpoint_that_many_workers_hit_is_attempted_fewer_than_five_times(self):
        caller = {"command": [PYTHON, "-c", CALLER, os.path.join(ROOT, "worker", "sdk", "python")], "concurrency": 1}
        daemon = self.daemon(settings({"caller": caller}, workers={"max": 2}, circuit_breakers={"failures": 3, "backoff": ["10m"]}))
        with endpoint() as (address, hits):
            waits = [daemon.wait_state(task, "completed")["result"] for task in [daemon.start("caller", address) for _ in range(10)]]
            self.assertIn(len(hits), (3, 4))  # one was under way when the third failed
        self.assertEqual(waits.count(None), len(hits))
        self.assertTrue(all(300 < wait <= 600 for wait in waits if wait), waits)
        self.assertEqual(self.breakers(daemon)["called", "endpoint"]["state"], "open")
        self.assertIn('kurultai_circuit_breaker_state{name="endpoint"} 2\n', daemon.get("/metrics").body.decode())
        self.assertEqual(self.changes(daemon, "endpoint"), [("called", "closed", "open")])

    def test_one_probe_is_let_through_however_many_ask(self):
        daemon = self.daemon(settings({"puppet": puppet()}, workers={"max": 4, "memory_limit": "64MiB"},
                                      circuit_breakers={"failures": 1, "successes": 2, "backoff": ["50ms"]}))
        daemon.run("puppet", TELL.format("failure") + "done()")
        self.assertTrue(wait_until(lambda: self.breakers(daemon)["called", "api"]["retryAfter"] is None, "its pause is over"))
        gate = Gate(daemon)
        # Each asks, and whoever was let through keeps the probe until all have asked.
        ask = ASK + f"about('PROGRESS', percent=50)\n{gate.code('')}\nif answer['allow']: " + TELL.format("success") + "done(answer['allow'])"
        tasks = [daemon.start("puppet", ask) for _ in range(4)]
        wait_until(lambda: all(daemon.task(task)["progress"] == 50 for task in tasks), "all have asked")
        gate.open()
        answers = [daemon.wait_state(task, "completed")["result"] for task in tasks]
        self.assertEqual(sorted(answers), [False, False, False, True])
        self.assertEqual(self.breakers(daemon)["called", "api"]["state"], "half_open")
        self.assertTrue(daemon.run("puppet", ASK + TELL.format("success") + "done(answer['allow'])")["result"])
        self.assertEqual(self.breakers(daemon)["called", "api"]["state"], "closed")

    def test_a_worker_that_is_killed_gives_its_probe_back(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}, circuit_breakers={"failures": 1, "backoff": ["50ms"], "probe_timeout": "10m"}))
        daemon.run("puppet", TELL.format("failure") + "done()")
        self.assertTrue(wait_until(lambda: self.breakers(daemon)["called", "api"]["retryAfter"] is None, "its pause is over"))
        holder = daemon.start("puppet", ASK + "about('PROGRESS', percent=50)\nuntil('never')")
        wait_until(lambda: daemon.task(holder)["progress"] == 50, "it has the probe")
        self.assertEqual(daemon.run("puppet", ASK + "done([answer['allow'], answer['retryAfterMs'], answer['call']])")["result"], [False, 50, 1])
        pids = [worker["pid"] for worker in daemon.get("/v1/workers").json["workers"] if holder in worker["tasks"]]
        os.kill(pids[0], signal.SIGKILL)
        daemon.wait_state(holder, "failed")
        self.assertTrue(daemon.run("other", ASK + "done(answer['allow'])")["result"])

    def test_a_probe_without_an_answer_is_given_up_and_a_released_one_at_once(self):
        daemon = self.daemon(settings({"puppet": puppet()}, circuit_breakers={"failures": 1, "backoff": ["50ms"], "probe_timeout": "2s"}))
        daemon.run("puppet", TELL.format("failure") + "done()")
        self.assertTrue(wait_until(lambda: self.breakers(daemon)["called", "api"]["retryAfter"] is None, "its pause is over"))
        again = ASK.replace("call=1", "call=2")
        self.assertEqual(daemon.run("puppet", ASK + TELL.format("release") + ASK + "first = answer\n" + again + "done([first['allow'], answer['allow']])")["result"],
                         [True, False])
        wait_until(lambda: daemon.run("puppet", ASK + "done(answer['allow'])")["result"], "the probe was given up")

    def test_names_without_end_are_let_through_and_not_counted_and_leave_room_for_others(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}, circuit_breakers={"failures": 2}))
        ask = "about('BREAKER', name={}, op='acquire')\nlong = until('BREAKER')\n"
        fail = "for n in range(300): about('BREAKER', name=f'n{n}', op='failure')\n"
        answers = daemon.run("puppet", ask.format("'x' * 129") + fail + "about('BREAKER', name='n299', op='acquire')\ndone([long, until('BREAKER')])")["result"]
        for answer in answers:
            self.assertTrue(answer["allow"])
            self.assertEqual(answer["note"], "not counted: a name has 1 to 128 bytes, and there are at most 256 of them, 64 of one agent")
        self.assertEqual(len([key for key in self.breakers(daemon) if key[0] == "called"]), 64)
        self.assertFalse(daemon.run("other", 2 * TELL.format("failure") + ASK + "done(answer['allow'])")["result"])

    # ---- agents

    def test_an_agent_that_keeps_failing_is_tried_one_task_at_a_time(self):
        daemon = self.daemon(settings({"puppet": puppet(retries=20)}, circuit_breakers={"failures": 3, "backoff": ["300ms", "10m"]}))
        stormy = daemon.start("puppet", "fail()")
        # Its attempts count: three, a pause, the probe, which keeps it open for long.
        wait_until(lambda: self.changes(daemon, "puppet")[-2:] == [("agent", "open", "half_open"), ("agent", "half_open", "open")], "the probe has failed")
        task = daemon.task(stormy)
        self.assertEqual((task["state"], task["attempt"]), ("queued", 5))
        refused = daemon.submit("puppet")
        self.assertEqual((refused.status, refused.json["error"]["code"]), (503, "circuit_open"))
        self.assertTrue(300 < int(refused.headers["Retry-After"]) <= 600, refused.headers)
        self.assertRegex(client(daemon, "why", stormy).stdout, r"agent 'puppet' keeps failing and its circuit is open: the next task may be tried in \d+m")
        self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{stormy}").status, 202)

    def test_tasks_that_were_accepted_wait_while_it_is_open(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}, workers={"max": 1},
                                      circuit_breakers={"failures": 1, "successes": 1, "backoff": ["600ms"]}))
        gate = Gate(daemon)
        failing = daemon.start("puppet", gate.code("fail()"))
        waiting = [daemon.start("puppet") for _ in range(3)]
        gate.open()
        daemon.wait_state(failing, "failed")
        self.assertEqual(daemon.run("other")["state"], "completed")  # others pass them
        for task in waiting:
            daemon.wait_state(task, "completed")
        self.assertEqual(self.changes(daemon, "puppet"), [("agent", "closed", "open"), ("agent", "open", "half_open"), ("agent", "half_open", "closed")])

    def test_an_agent_may_hold_new_tasks_instead_of_refusing_them(self):
        daemon = self.daemon(settings({"puppet": puppet(on_open="hold")}, workers={"max": 4, "memory_limit": "64MiB"},
                                      circuit_breakers={"failures": 1, "successes": 2, "backoff": ["400ms"]}))
        gate = Gate(daemon)
        daemon.run("puppet", "fail()")
        held = [daemon.start("puppet", gate.code()) for _ in range(4)]
        wait_until(lambda: self.breakers(daemon)["agent", "puppet"]["state"] == "half_open", "its pause is over")
        wait_until(lambda: any(daemon.task(task)["state"] == "running" for task in held), "one is tried")
        self.assertEqual(sorted(daemon.task(task)["state"] for task in held), ["queued"] * 3 + ["running"])
        gate.open()
        for task in held:
            self.assertEqual(daemon.wait_state(task, "completed")["attempt"], 1)
        self.assertEqual(self.breakers(daemon)["agent", "puppet"]["state"], "closed")

    def test_a_task_that_is_taken_back_gives_the_probe_to_the_next(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}, workers={"max": 1},
                                      circuit_breakers={"failures": 1, "backoff": ["50ms"]}))
        daemon.run("puppet", "fail()")
        gate = Gate(daemon)
        busy = daemon.start("other", gate.code())
        wait_until(lambda: self.breakers(daemon)["agent", "puppet"]["retryAfter"] is None, "its pause is over")
        probe = daemon.start("puppet")
        self.assertEqual(daemon.submit("puppet").status, 503)
        self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{probe}").status, 202)
        daemon.wait_state(probe, "cancelled")
        second = daemon.start("puppet")
        gate.open()
        daemon.wait_state(busy, "completed")
        daemon.wait_state(second, "completed")

    def test_with_the_flag_off_states_are_shown_and_nothing_is_refused(self):
        daemon = self.daemon(settings({"puppet": puppet(retries=1)}, circuit_breakers={"failures": 1, "backoff": ["60s"]}), env={"FF_CIRCUIT_BREAKERS": "false"})
        daemon.run("puppet", TELL.format("failure") + "fail()")
        self.assertEqual([self.breakers(daemon)[key]["state"] for key in (("agent", "puppet"), ("called", "api"))], ["open", "open"])
        self.assertEqual(daemon.run("puppet", ASK + "done([answer['allow'], answer['retryAfterMs']])")["result"], [True, 0])


if __name__ == "__main__":
    unittest.main()
