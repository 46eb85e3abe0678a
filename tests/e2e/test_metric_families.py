#!/usr/bin/env python3
"""The metrics that are always there, and what they say of a task."""
import re
import unittest

import harness
from harness import E2E, wait_until
from puppet import puppet, settings

PRIORITIES = ("critical", "high", "normal", "low", "heartbeat")


class MetricFamilies(E2E):
    # Family, type, and labels of samples that are there before anything has happened.
    FAMILIES = [
        ("memory_usage_bytes", "gauge", [{"scope": scope} for scope in ("total", "supervisor", "workers")]),
        ("memory_limit_bytes", "gauge", [{}]),
        ("worker_memory_bytes", "gauge", [{"agent": "puppet"}]),
        ("worker_cpu_seconds_total", "counter", [{}]),
        ("supervisor_cpu_seconds_total", "counter", [{}]),
        ("workers_active", "gauge", [{}]),
        ("workers_idle", "gauge", [{}]),
        ("workers_spawned_total", "counter", [{}]),
        ("workers_exited_total", "counter", [{"reason": reason} for reason in ("exited", "memory_cap", "memory_budget")]),
        ("queue_depth", "gauge", [{"priority": priority} for priority in PRIORITIES]),
        ("tasks_submitted_total", "counter", [{"agent": "puppet", "priority": priority} for priority in PRIORITIES]),
        ("tasks_finished_total", "counter", [
            {"agent": "puppet", "state": state, "reason": reason} for state, reason in (
                ("completed", ""), ("cancelled", "cancelled"), ("evicted", "evicted"), ("failed", "agent_error"),
                ("failed", "memory_cap"), ("failed", "memory_budget"), ("failed", "timeout"), ("failed", "worker_lost"),
                ("failed", "supervisor_restart"))]),
        ("tasks_rejected_total", "counter", [
            {"code": code} for code in ("queue_full", "memory_pressure", "circuit_open", "draining", "invalid_task", "unknown_agent",
                                        "key_conflict", "storage_unavailable")]),
        ("tasks_preempted_total", "counter", [{}]),
        ("tasks_suspended_total", "counter", [{}]),
        ("tasks_killed_total", "counter", [{}]),
        ("heartbeats_skipped_total", "counter", [{}]),
        ("threshold_crossings_total", "counter", [
            {"threshold": threshold, "direction": direction}
            for threshold in ("skip_heartbeats", "preempt", "reject", "kill") for direction in ("up", "down")]),
        ("circuit_breaker_state", "gauge", [{"name": "puppet"}]),
        ("task_wait_seconds", "histogram", [{}]),
        ("task_run_seconds", "histogram", [{}]),
        ("dispatch_seconds", "histogram", [{}]),
        ("governor_reaction_seconds", "histogram", [{}]),
        ("health_checks_total", "counter", [{"result": r} for r in ("passed", "failed", "timed_out", "skipped")]),
        ("workers_health", "gauge", [{"status": s} for s in ("unknown", "healthy", "suspect", "unhealthy")]),
        ("health_longest_turn_seconds", "gauge", [{}]),
        ("orphans", "gauge", [{}]),
        ("orphans_swept_total", "counter", [{}]),
    ]
    NOT_ZERO = ("memory_usage_bytes", "memory_limit_bytes", "supervisor_cpu_seconds_total")

    def parse(self, text):
        """{family: {"HELP", "TYPE", "samples": [(part, labels, value)]}}, where a histogram's parts are "_count" and the
        like; a line that is not of the text format fails the test."""
        families = {}
        for line in text.splitlines():
            if line.startswith("# "):
                _, word, name, rest = line.split(" ", 3)
                families.setdefault(name, {"samples": []})[word] = rest
                continue
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            self.assertIsNotNone(match, line)
            sample, labels, value = match.groups()
            name = re.sub("_(bucket|sum|count)$", "", sample)
            name = name if name in families else sample
            families[name]["samples"].append((sample[len(name):], dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value)))
        return families

    def scrape(self, daemon):
        answer = daemon.get("/metrics")
        self.assertEqual(answer.status, 200)
        return self.parse(answer.body.decode())

    def test_every_family_is_there_from_the_start_at_zero(self):
        families = self.scrape(self.daemon(settings()))
        for name, kind, samples in self.FAMILIES:
            with self.subTest(name):
                family = families.get("kurultai_" + name)
                self.assertIsNotNone(family)
                self.assertEqual(family["TYPE"], kind)
                self.assertGreater(len(family["HELP"]), 3)
                for labels in samples:
                    found = {value for part, there, value in family["samples"]
                             if part in ("", "_count") and labels.items() <= there.items()}
                    self.assertTrue(found, labels)
                    if name not in self.NOT_ZERO:
                        self.assertEqual(found, {0.0}, labels)
        for name, family in families.items():
            self.assertTrue({"HELP", "TYPE"} <= family.keys() and family["samples"], name)
            keys = [(part, sorted(labels.items())) for part, labels, _ in family["samples"]]
            self.assertTrue(all(keys.count(key) == 1 for key in keys), name)

    def test_an_agent_that_a_reload_brings_is_counted_from_zero(self):
        daemon = self.daemon(settings())
        daemon.write_config(settings({"puppet": puppet(), "late": puppet()}))
        self.assertEqual(daemon.request("POST", "/v1/reload").status, 200)
        self.assertEqual(daemon.metric("kurultai_tasks_submitted_total", agent="late", priority="low"), 0)
        self.assertEqual(daemon.metric("kurultai_tasks_finished_total", agent="late", state="completed"), 0)

    def test_the_way_of_a_task_is_measured(self):
        daemon = self.daemon(settings())
        for _ in range(3):
            daemon.run("puppet")
        for histogram in ("dispatch", "task_wait", "task_run"):
            self.assertEqual(daemon.metric(f"kurultai_{histogram}_seconds_count"), 3, histogram)
        # The first task waits for a worker to start, which is no part of the dispatch.
        self.assertLess(daemon.metric("kurultai_dispatch_seconds_sum"), daemon.metric("kurultai_task_wait_seconds_sum"))
        self.assertGreater(daemon.metric("kurultai_dispatch_seconds_sum"), 0)

    def test_cpu_time_of_workers_is_counted_alive_and_dead(self):
        burn = "import time\nwhile time.process_time() < %s: pass\n"
        daemon = self.daemon(settings({"puppet": puppet(), "burner": {"protocol": "exec", "max_tasks": 1, "command": [harness.PYTHON, "-c", burn % 0.4]}}))
        daemon.run("puppet", burn % 0.3 + "done()")
        alive = daemon.metric("kurultai_worker_cpu_seconds_total")
        self.assertGreaterEqual(alive, 0.29)
        daemon.run("burner")
        wait_until(lambda: not [worker for worker in daemon.get("/v1/workers").json["workers"] if worker["agent"] == "burner"], "the burner's worker is gone")
        self.assertGreaterEqual(daemon.metric("kurultai_worker_cpu_seconds_total"), alive + 0.39)


if __name__ == "__main__":
    unittest.main()
