#!/usr/bin/env python3
"""Tasks that come again and again: when they are due, what becomes of those that would overlap, and what a restart leaves."""

import unittest

from harness import E2E, client, wait_until

FOREVER = ["sleep", "1000"]


class Schedules(E2E):
    def scheduled(self, schedules, command=("true",), directory=None, **agent):
        return self.daemon({
            "memory": {"budget": "512MiB"},
            "workers": {"max": 4, "memory_limit": "64MiB", "memory_warning": "64MiB"},
            "admission": "none",
            "agents": {"beat": {"protocol": "exec", "command": list(command), **agent}},
            "schedules": schedules}, directory=directory)

    def _close(self, daemon):
        if daemon.process.poll() is None:
            daemon.request("POST", "/v1/drain?timeout=0s")  # nobody waits for what runs for ever
        super()._close(daemon)

    def trouble(self, daemon):
        return next(one for one in daemon.get("/health").json["parts"] if one["part"] == "schedules").get("trouble")

    def entry(self, daemon, name="beat"):
        return next(one for one in daemon.get("/v1/schedules").json["schedules"] if one["name"] == name)

    def wait_entry(self, daemon, what, check, name="beat"):
        wait_until(lambda: check(self.entry(daemon, name)), what, 30)
        return self.entry(daemon, name)

    def test_a_task_comes_again_and_again_with_what_the_schedule_says(self):
        daemon = self.scheduled([
            {"agent": "beat", "every": "200ms", "priority": "high", "payload": {"n": 5}, "jitter": "50ms"},
            {"agent": "beat", "name": "nightly", "cron": "@yearly"}], command=["cat"])
        self.wait_entry(daemon, "it has come three times", lambda one: one["started"] >= 3)
        task = daemon.get("/v1/tasks?state=completed&limit=1").json["tasks"][0]
        self.assertEqual((task["agent"], task["priority"], task["result"]), ("beat", "high", '{"n":5}'))
        nightly = self.entry(daemon, "nightly")
        self.assertEqual((nightly["started"], nightly["every"], nightly["cron"]), (0, None, "@yearly"))
        self.assertRegex(nightly["nextAt"], r"^\d{4}-(01-01|12-31)T")
        self.assertGreaterEqual(daemon.metric("kurultai_schedule_moments_total", outcome="started"), 3)
        text = client(daemon, "schedules").stdout
        self.assertIn("every 200ms", text)
        self.assertIn("@yearly", text)

    def test_one_that_still_runs_is_not_piled_upon(self):
        daemon = self.scheduled([{"agent": "beat", "every": "100ms"}], FOREVER)
        entry = self.wait_entry(daemon, "three moments are missed", lambda one: one["missed"] >= 3 and one["started"])
        self.assertEqual((entry["started"], entry["running"]), (1, True))
        self.assertEqual(len(daemon.get("/v1/tasks").json["tasks"]), 1)
        daemon.request("DELETE", f"/v1/tasks/{entry['taskId']}")
        self.wait_entry(daemon, "it comes again when that has ended", lambda one: one["started"] == 2 and one["taskId"] != entry["taskId"])

    def test_the_one_before_is_replaced_or_waited_for(self):
        daemon = self.scheduled([
            {"agent": "beat", "name": "replaces", "every": "300ms", "overlap": "replace"},
            {"agent": "beat", "name": "waits", "every": "300ms", "overlap": "queue"}], FOREVER, grace="0s")
        first = self.wait_entry(daemon, "it runs", lambda one: one["started"] >= 1, "replaces")["taskId"]
        self.wait_entry(daemon, "it is replaced", lambda one: one["started"] >= 2, "replaces")
        self.assertEqual(daemon.task(first)["state"], "cancelled")
        self.assertRegex(daemon.task(first)["error"]["message"], "replaced by the next of schedule replaces")
        waits = self.wait_entry(daemon, "one waits, more are missed", lambda one: one["missed"] >= 2, "waits")
        self.assertEqual(waits["started"], 1)
        daemon.request("DELETE", f"/v1/tasks/{waits['taskId']}")
        self.wait_entry(daemon, "it comes at once", lambda one: one["started"] == 2, "waits")

    def test_refusals_are_counted_and_a_reload_takes_schedules_away_and_brings_others(self):
        config = {
            "queue": {"max_depth": 1, "limits": {"normal": 0}},
            "agents": {"beat": {"protocol": "exec", "command": ["true"]}},
            "schedules": [{"agent": "beat", "every": "100ms"}]}
        daemon = self.daemon(config)
        self.wait_entry(daemon, "two are refused", lambda one: one["refused"] >= 2)
        self.assertEqual(daemon.log_text().count("schedule beat: refused: the queue"), 1)
        self.assertRegex(self.trouble(daemon), "^a task of a schedule was refused: beat: the queue ")
        config["queue"] = {}
        config["schedules"] = [{"agent": "beat", "name": "other", "every": "100ms"}]
        daemon.write_config(config)
        self.assertIn("schedules", daemon.request("POST", "/v1/reload").json["live"])
        self.wait_entry(daemon, "the other comes", lambda one: one["started"] >= 2, "other")
        self.assertEqual([one["name"] for one in daemon.get("/v1/schedules").json["schedules"]], ["other"])
        self.assertIsNone(self.trouble(daemon))

    def test_what_an_earlier_supervisor_started_counts_as_running(self):
        schedules = [{"agent": "beat", "every": "200ms"}]
        daemon = self.scheduled(schedules, FOREVER)
        task = self.wait_entry(daemon, "it runs", lambda one: one["started"] == 1)["taskId"]
        daemon.kill()
        daemon = self.scheduled(schedules, FOREVER, directory=daemon.dir)
        entry = self.wait_entry(daemon, "moments are missed", lambda one: one["missed"] >= 1)
        self.assertEqual((entry["taskId"], entry["started"]), (task, 0))
        self.assertEqual([one["taskId"] for one in daemon.get("/v1/tasks").json["tasks"]], [task])


if __name__ == "__main__":
    unittest.main()
