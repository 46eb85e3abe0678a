#!/usr/bin/env python3
"""Metrics as those who read them do: a parser of each format, promtool, and a Prometheus that scrapes a running supervisor."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

import harness
from harness import PATIENCE, E2E, wait_until
from puppet import Gate, puppet, settings

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
    from prometheus_client.parser import text_string_to_metric_families as parse_text
except ImportError:
    parse_openmetrics = parse_text = None

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
MOST_CALLED = 64  # breakers that one agent may name


def program(name):
    """Of the Debian package `prometheus`, as installed or as tools/test unpacks it; None without."""
    unpacked = os.path.join(harness.ROOT, "build", "packages", "prometheus", "usr", "bin", name)
    return shutil.which(name) or (unpacked if os.path.exists(unpacked) else None)


def needs(name):
    return unittest.skipUnless(program(name), f"there is no {name}: neither is the package prometheus installed, nor could it be unpacked")


class Scraped(E2E):
    def scrape(self, daemon, accept=None):
        answer = daemon.get("/metrics", headers={"Accept": accept} if accept else {})
        self.assertEqual(answer.status, 200)
        return answer

    def families(self, daemon):
        """{name: family} by the parser for OpenMetrics; no family, and no sample, is there twice."""
        answer = self.scrape(daemon, OPENMETRICS)
        self.assertEqual(answer.headers["Content-Type"], OPENMETRICS + "; charset=utf-8")
        found = list(parse_openmetrics(answer.body.decode()))
        self.assertEqual(len({family.name for family in found}), len(found))
        for family in found:
            keys = [(sample.name, sorted((k, v) for k, v in sample.labels.items() if v)) for sample in family.samples]
            self.assertTrue(all(keys.count(key) == 1 for key in keys), family.name)
        return {family.name: family for family in found}

    @staticmethod
    def values(family, suffix=""):
        return {tuple(sorted(sample.labels.items())): sample.value for sample in family.samples
                if sample.name == family.name + suffix}

    @staticmethod
    def busy_settings():
        return settings({"puppet": puppet(), "other": puppet()}, exec={"allow": True})

    def make_something_happen(self, daemon):
        daemon.run("puppet", "done(1)")
        self.assertEqual(daemon.run("puppet", "fail('x')")["state"], "failed")
        daemon.run("exec", {"command": ["true"]})
        daemon.submit("nobody")
        daemon.run("puppet", "done(1)", idempotencyKey="k")
        self.assertEqual(daemon.submit("puppet", "done(2)", idempotencyKey="k").status, 409)


@unittest.skipUnless(parse_openmetrics, "there is no python3-prometheus-client")
class Formats(Scraped):
    def test_both_formats_say_the_same(self):
        daemon = self.daemon(self.busy_settings())
        self.make_something_happen(daemon)
        families = self.families(daemon)
        plain = self.scrape(daemon)
        self.assertEqual(plain.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        text = {family.name: family for family in parse_text(plain.body.decode())}
        self.assertEqual(families.keys(), text.keys())
        for name, family in families.items():
            self.assertTrue(name.startswith("kurultai_"), name)
            self.assertEqual((family.type, family.documentation), (text[name].type, text[name].documentation), name)
            if family.type == "counter" and "cpu" not in name:
                self.assertEqual(self.values(family, "_total"), self.values(text[name], "_total"), name)
        rejected = self.values(families["kurultai_tasks_rejected"], "_total")
        self.assertEqual({labels[0][1]: value for labels, value in rejected.items() if value},
                         {"unknown_agent": 1, "key_conflict": 1})
        finished = self.values(families["kurultai_tasks_finished"], "_total")
        self.assertEqual(finished[("agent", "puppet"), ("reason", "agent_error"), ("state", "failed")], 1)
        self.assertEqual(finished[("agent", "exec"), ("reason", ""), ("state", "completed")], 1)

    def test_what_a_scraper_accepts_decides(self):
        daemon = self.daemon(settings())
        for accept, begins in (("text/plain", "text/plain"), ("*/*", "text/plain"), ("", "text/plain"),
                               ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"),
                               ("application/openmetrics-text;q=0,text/plain", "text/plain")):
            answer = self.scrape(daemon, accept)
            self.assertTrue(answer.headers["Content-Type"].startswith(begins), accept)
            self.assertEqual(answer.body.endswith(b"# EOF\n"), begins.startswith("application"), accept)

    def test_names_that_agents_give_are_bounded_and_harmless(self):
        odd = 'a"b\\c\nd} 7\n# EOF'
        code = (f"for n in [{odd!r}] + ['api%d' % n for n in range({MOST_CALLED + 50})]:\n"
                " say({'type': 'BREAKER', 'name': n, 'op': 'failure'})\ndone()")
        daemon = self.daemon(settings(circuit_breakers={"failures": 1}))
        daemon.run("puppet", code)
        states = self.values(self.families(daemon)["kurultai_circuit_breaker_state"])
        self.assertEqual(len(states), MOST_CALLED + 1)
        self.assertEqual(states[(("name", odd),)], 2)
        self.assertEqual(states[(("name", "api0"),)], 2)
        self.assertEqual(states[(("name", "puppet"),)], 0)

    def test_workers_and_agents_that_are_gone_leave_no_series(self):
        daemon = self.daemon(self.busy_settings())
        for _ in range(3):
            daemon.run("exec", {"command": ["true"]})  # each has a worker of its own
        daemon.run("other")
        memory = self.values(self.families(daemon)["kurultai_worker_memory_bytes"])
        alive = {worker["workerId"] for worker in daemon.get("/v1/workers").json["workers"]}
        self.assertLessEqual({dict(labels).get("worker", "") for labels in memory} - {""}, alive)
        before = len(self.scrape(daemon).body)
        daemon.write_config(settings({"puppet": puppet()}))
        self.assertEqual(daemon.request("POST", "/v1/reload").status, 200)
        text = self.scrape(daemon).body.decode()
        for gone in ('agent="other"', 'agent="exec"', 'name="other"'):
            wait_until(lambda: gone not in self.scrape(daemon).body.decode(), f"{gone} is gone")
        daemon.write_config(self.busy_settings())
        for _ in range(5):
            self.assertEqual(daemon.request("POST", "/v1/reload").status, 200)
        self.assertLessEqual(len(self.scrape(daemon).body), before + 200)
        self.assertIn('agent="puppet"', text)

    def test_a_scrape_after_1000_tasks_with_50_workers_is_small(self):
        daemon = self.daemon(settings(
            {"puppet": puppet(durability="none")},
            memory={"budget": "8GiB"}, workers={"max": 50, "memory_limit": "64MiB"}, admission="none",
            queue={"max_depth": 1000, "limits": {"normal": 1000}}))
        gate = Gate(daemon)
        held = [daemon.start("puppet", gate.code()) for _ in range(50)]
        for task in held:
            daemon.wait_state(task, "running", timeout=120)
        started = time.monotonic()
        size = len(self.scrape(daemon).body)
        took = time.monotonic() - started
        gate.open()
        rest = [daemon.start("puppet") for _ in range(950)]
        for task in held + rest[-50:]:
            daemon.wait_state(task, "completed", timeout=120)
        after = len(self.scrape(daemon).body)
        print(f"a scrape with 50 workers: {size} bytes in {1000 * took:.1f} ms; after 1,000 tasks {after} bytes")
        self.assertLess(size, 40_000)
        self.assertLess(after, size + 2_000)


class Promtool(Scraped):
    @needs("promtool")
    def test_promtool_finds_nothing_to_complain_of(self):
        daemon = self.daemon(self.busy_settings())
        self.make_something_happen(daemon)
        checked = subprocess.run([program("promtool"), "check", "metrics"], input=self.scrape(daemon).body, capture_output=True,
                                 timeout=60 * PATIENCE, check=False)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, b""))


class Prometheus:
    """A Prometheus of this test's own, on a free loopback port, that scrapes one supervisor each second."""

    def __init__(self, test, target):
        self.dir = tempfile.mkdtemp(prefix="kt-prometheus-")
        test.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        config = os.path.join(self.dir, "prometheus.yml")
        with open(config, "w", encoding="ascii") as file:
            json.dump({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                       "scrape_configs": [{"job_name": "kurultai", "static_configs": [{"targets": [target]}]}]}, file)
        self.log = os.path.join(self.dir, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={self.dir}/data",
                 "--web.listen-address=127.0.0.1:0", "--log.format=json"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir)
        test.addCleanup(self.end)
        self.address = wait_until(self.find_address, "Prometheus listens", 60)
        wait_until(self.is_ready, "Prometheus is ready", 60)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def find_address(self):
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8") as file:
                raise AssertionError(f"Prometheus left with {self.process.returncode}:\n{file.read()}")
        with open(self.log, encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n") and json.loads(line).get("msg") == "Listening on":
                    return json.loads(line)["address"]
        return None

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=20 * PATIENCE) as answer:
            return answer.read()

    def is_ready(self):
        try:
            return b"Ready" in self.get("/-/ready")
        except OSError:
            return False

    def query(self, expression):
        """{the labels without those of the target: value}"""
        answer = json.loads(self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression})))
        found = {}
        for series in answer["data"]["result"]:
            labels = {k: v for k, v in series["metric"].items() if k not in ("__name__", "instance", "job")}
            found[tuple(sorted(labels.items()))] = float(series["value"][1])
        return found


class Scraper(Scraped):
    @needs("prometheus")
    def test_a_real_prometheus_scrapes_it_without_a_token(self):
        daemon = self.daemon(settings(workers={"max": 1}), args=["--listen", "127.0.0.1:0"])
        prometheus = Prometheus(self, daemon.get("/health").json["listen"])

        def reads(expression, value):
            wait_until(lambda: prometheus.query(expression) == {(): value}, f"{expression} is {value:g}", 30)

        reads("up", 1)
        reads("count(kurultai_tasks_finished_total != 0) or vector(0)", 0)
        reads("kurultai_memory_limit_bytes", 1 << 30)
        reads("sum(kurultai_workers_active)", 0)
        for _ in range(3):
            daemon.run("puppet", "done(1)")
        reads('sum(kurultai_tasks_finished_total{agent="puppet",state="completed"})', 3)
        reads("kurultai_task_run_seconds_count", 3)
        reads('sum(kurultai_task_run_seconds_bucket{le="+Inf"})', 3)
        gate = Gate(daemon)
        held = daemon.start("puppet", gate.code())
        daemon.wait_state(held, "running")
        waiting = [daemon.start("puppet", priority="low") for _ in range(2)]
        reads("kurultai_workers_active", 1)
        reads('sum(kurultai_queue_depth{priority="low"})', 2)
        gate.open()
        for task in (held, *waiting):
            daemon.wait_state(task, "completed")
        reads("sum(kurultai_tasks_finished_total)", 6)
        reads("sum(increase(kurultai_tasks_finished_total[5m])) > bool 2", 1)
        targets = json.loads(prometheus.get("/api/v1/targets"))["data"]["activeTargets"]
        self.assertEqual([(target["health"], target["lastError"]) for target in targets], [("up", "")])
        # What it scrapes is stored as what it is.
        kinds = json.loads(prometheus.get("/api/v1/targets/metadata?metric=kurultai_tasks_finished_total"))["data"] or \
            json.loads(prometheus.get("/api/v1/targets/metadata?metric=kurultai_tasks_finished"))["data"]
        self.assertEqual([kind["type"] for kind in kinds], ["counter"])
        daemon.terminate()
        reads("up", 0)


if __name__ == "__main__":
    unittest.main()
