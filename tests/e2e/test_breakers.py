#!/usr/bin/env python3
"""GET /v1/breakers and `kurultai breakers`: which breakers are open, and for how long."""
import json
import unittest

from harness import E2E, client
from puppet import puppet, settings


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


if __name__ == "__main__":
    unittest.main()
