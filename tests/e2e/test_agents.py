#!/usr/bin/env python3
"""One agent in full."""
import json
import unittest

from harness import E2E, client, wait_until
from puppet import Gate, puppet, settings


class Agents(E2E):
    def test_one_agent_in_full(self):
        daemon = self.daemon(settings({"puppet": puppet(memory_limit="200MiB", retries=0, env={"API_KEY": "hunter2"}), "other": puppet()},
                                      workers={"max": 1}))
        gate = Gate(daemon)
        daemon.run("puppet", "say({'type': 'METRIC', 'name': 'score', 'value': -3})\n"
                             "say({'type': 'METRIC', 'name': 'steps', 'value': 7, 'kind': 'counter'})\ndone()")
        daemon.run("puppet", "fail('no')")
        running = daemon.start("puppet", "about('PROGRESS', percent=40, message='half\\x1b[2J way')\n" + gate.code())
        queued = [daemon.start("puppet", "done()", priority=priority) for priority in ("low", "high")]
        daemon.start("other", "done()")
        wait_until(lambda: daemon.get(f"/v1/tasks/{running}").json["progress"] == 40, "it runs")
        cancelled = daemon.start("puppet", "done()")
        daemon.request("DELETE", f"/v1/tasks/{cancelled}")

        agent = daemon.get("/v1/agents/puppet").json
        self.assertEqual((agent["name"], agent["protocol"], agent["running"], agent["queued"], agent["workers"]), ("puppet", "jsonl", 1, 2, 1))
        self.assertEqual(agent["outcomes"], {"completed": 1, "cancelled": 1, "evicted": 0, "failed": {"agent_error": 1}})
        self.assertEqual([task["taskId"] for task in agent["tasks"]], [running, queued[1], queued[0]])  # in the order in which they start
        self.assertEqual([worker["tasks"] for worker in agent["workerList"]], [[running]])
        self.assertEqual(agent["workerList"][0]["leak"], "none")
        self.assertEqual(agent["breaker"]["state"], "closed")
        self.assertEqual((agent["settings"]["memory_limit"], agent["settings"]["env"]["API_KEY"]), ("200MiB", "(hidden)"))
        self.assertEqual(agent["metrics"], [{"name": "score", "kind": "gauge", "value": -3}, {"name": "steps", "kind": "counter", "value": 7}])
        self.assertNotIn("retries", agent["settings"])  # as by default
        listed = next(one for one in daemon.get("/v1/agents").json["agents"] if one["name"] == "puppet")
        self.assertEqual({name: agent[name] for name in listed}, listed)

        self.assertEqual(json.loads(client(daemon, "agents", "puppet", "--json").stdout).keys(), agent.keys())
        text = client(daemon, "agents", "puppet").stdout
        for words in (r"command +\S", r"memory limit +200MiB", r"guessed: only 1 task to learn from", r"failed +1: 1 agent_error", r"breaker +closed, 1 failures",
                      r"settings +env: ", rf"{running} +puppet +normal +running"):
            self.assertRegex(text, words)
        self.assertRegex(text, r"metrics +score: -3(\.0)?\n +steps: 7(\.0)? \(counter\)")
        self.assertNotIn("hunter2", text)
        self.assertNotIn("\x1b", text)
        gate.open()

    def test_an_agent_that_is_not_there(self):
        daemon = self.daemon(settings({"summarise": puppet()}))
        answer = daemon.get("/v1/agents/sumarise")
        self.assertEqual((answer.status, answer.json["error"]["code"]), (404, "not_found"))
        said = client(daemon, "agents", "sumarise")
        self.assertEqual((said.returncode, said.stdout), (5, ""))
        self.assertEqual(said.stderr, "kurultai: agents sumarise: there is no agent 'sumarise'; did you mean 'summarise'?\n")
        self.assertIn("`kurultai agents` lists them", client(daemon, "agents", "nothing like it").stderr)


if __name__ == "__main__":
    unittest.main()
