#!/usr/bin/env python3
"""Starting and reloading: what is wrong is said at once, whole, with the place and the remedy, and nothing is half done."""

RUNS_IN_VM = False  # nothing here depends on the kernel

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import BIN, MIB, PATIENCE, wait_until

GOOD = {"agents": {"quick": {"protocol": "exec", "command": ["echo", "well"]}}}


class Start(harness.E2E):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="kt-start-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, text, name="memory.yaml"):
        mode = "wb" if isinstance(text, bytes) else "w"
        with open(self.path(name), mode) as file:
            file.write(text)
        return self.path(name)

    def kurultaid(self, *args, env=None, **kw):
        return subprocess.run([os.path.join(BIN, "kurultaid"), *args], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=60 * PATIENCE, env={**os.environ, **(env or {})}, check=False, **kw)

    def as_nobody(self):
        """Options of `kurultaid` for a user without rights; root itself may read and write everything."""
        if os.geteuid() != 0:
            return {}
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        program = os.path.join(BIN, "kurultaid")
        if subprocess.run(["test", "-x", program], check=False, **nobody).returncode != 0:
            self.skipTest(f"NOT TESTED: only root may run {program}")
        os.chmod(self.dir, 0o755)
        return nobody

    def check(self, text, env=None):
        """kurultaid --check of a configuration given as text; (status, lines of complaint without the file's name)."""
        file = self.write(text)
        done = self.kurultaid("--config", file, "--check", env=env)
        if done.returncode == 0:
            self.assertEqual(done.stderr, "")
        return done.returncode, [line.replace(file + ":", "", 1) for line in done.stderr.splitlines()]

    def start(self, **options):
        """Starts with a good configuration and what is given; it is expected to leave by itself."""
        arguments = {"config": options.get("config") or self.write("{}"), "socket": self.path("s"), "state-dir": self.path("state"), "listen": "none", **options}
        return self.kurultaid(*[word for name, value in arguments.items() for word in ("--" + name, value)])

    def refused(self, text, *patterns, env=None):
        """Each pattern matches one complaint, and there are no others."""
        status, lines = self.check(text, env)
        self.assertEqual(status, 2, lines)
        for pattern in patterns:
            self.assertTrue(any(re.search(pattern, line) for line in lines), f"{pattern} in {lines}")
        self.assertEqual(len(lines), len(patterns), lines)
        return lines


class Configurations(Start):
    def test_an_empty_file_is_all_defaults(self):
        for text in ("", "\n\n", "# nothing but a comment\n", "---\n", "{}"):
            with self.subTest(text=text):
                status, lines = self.check(text)
                self.assertEqual(status, 0, lines)

    def test_the_shipped_file_is_good(self):
        done = self.kurultaid("--config", os.path.join(harness.ROOT, "config", "memory.yaml"), "--check")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("is good", done.stdout)

    def test_a_directory(self):
        done = self.kurultaid("--config", self.dir, "--check")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, f"{self.dir}: a directory, not a file\n")

    def test_a_file_that_does_not_exist(self):
        done = self.kurultaid("--config", self.path("none.yaml"), "--check")
        self.assertEqual(done.returncode, 2)
        self.assertIn("none.yaml: cannot be opened: No such file or directory", done.stderr)

    def test_a_file_that_cannot_be_read(self):
        file = self.write("{}")
        os.chmod(file, 0)
        done = self.kurultaid("--config", file, "--check", **self.as_nobody())
        self.assertEqual(done.returncode, 2)
        self.assertIn("cannot be opened: Permission denied", done.stderr)

    def test_ten_megabytes(self):
        for text in ("# " + "x" * (10 << 20) + "\n", "agents:\n" + "".join(f"  a{i}: {{command: [x]}}\n" for i in range(450_000))):
            started = time.monotonic()
            file = self.write(text)
            done = self.kurultaid("--config", file, "--check")
            self.assertEqual(done.returncode, 2)
            self.assertEqual(len(done.stderr.splitlines()), 1)
            self.assertIn("larger than 4MiB", done.stderr)
            self.assertLess(time.monotonic() - started, 5 * PATIENCE)

    def test_a_file_without_end(self):
        done = self.kurultaid("--config", "/dev/zero", "--check")
        self.assertEqual(done.returncode, 2)
        self.assertIn("/dev/zero", done.stderr)

    def test_text_that_is_no_yaml(self):
        status, lines = self.check("memory:\n  budget: [1GiB\n")
        self.assertEqual(status, 2)
        self.assertRegex(lines[0], r"^\d+:\d+: ")
        for garbage in (b"\x00\x01\x02", b"\xff\xfe\xfa", b"\t\tmemory: 1", b"[1, 2]", b"just words", b"a: b: c"):
            with self.subTest(garbage=garbage):
                status, lines = self.check(garbage)
                self.assertEqual(status, 2, lines)
                self.assertTrue(lines)

    def test_deep_nesting_and_references_to_oneself(self):
        for text in ("[" * 100_000, "{a: " * 50_000, "a: &a [*a, *a]\n", "x: &x\n  y: *x\n"):
            status, lines = self.check(text)
            self.assertEqual(status, 2, text[:20])
            self.assertTrue(lines)

    def test_duplicate_keys(self):
        self.refused("workers:\n  max: 2\n  max: 3\n", r"^3:3: .*max")
        self.refused("agents:\n  a: {command: [x]}\n  b: {command: [x]}\n  a: {command: [y]}\n", r"^4:3: .*'?a'?")

    def test_an_unknown_key_is_named_with_its_place_and_the_nearest_name(self):
        self.refused("memory:\n  budgit: 1GiB\n", r"^2:3: .*'budgit'.*did you mean 'budget'")
        self.refused("wrokers: {max: 2}\n", r"^1:1: .*'wrokers'.*did you mean 'workers'")
        self.refused("agents:\n  a:\n    command: [x]\n    memory_limt: 1MiB\n", r"^4:5: .*'memory_limt'.*did you mean 'memory_limit'")
        self.refused("memory:\n  thresholds: {preemptt: 0.8}\n", r"^2:16: .*'preemptt'.*did you mean 'preempt'")
        self.refused("qqqqqq: 1\n", r"^1:1: .*'qqqqqq'")

    def test_all_mistakes_are_said_at_once(self):
        self.refused("""memory:
  budget: lots
  hysteresis: 2
  check_interval: -1s
workers:
  max: none
  memory_limit: 0
queue:
  max_depth: 1.5
  limits: {urgent: 5}
agents:
  bad name!: {command: [x]}
  empty: {}
  wrong: {protocol: telnet, command: x, retries: many, timeout: soon, preemptable: perhaps}
gateway:
  listen: nowhere
""", r"^2:11: memory\.budget", r"^3:15: memory\.hysteresis", r"^4:19: memory\.check_interval", r"^6:8: workers\.max",
                     r"^7:17: workers\.memory_limit", r"^9:14: queue\.max_depth", r"^10:12: .*'urgent'", r"^12:3: .*bad name!",
                     r"^13:3: .*agents\.empty.*command", r"^14:21: .*protocol", r"^14:38: .*command", r"^14:50: .*retries",
                     r"^14:65: .*timeout", r"^14:84: .*preemptable", r"^16:11: gateway\.listen")

    def test_a_budget_smaller_than_one_cap(self):
        lines = self.refused("memory:\n  budget: 256MiB\nworkers:\n  memory_limit: 300MiB\n", r"^4:17: workers\.memory_limit: 300MiB is more than memory\.budget, 256MiB")
        del lines
        self.refused("memory: {budget: 256MiB}\n", r"512MiB is more than memory\.budget, 256MiB")
        self.refused("memory: {budget: 600MiB}\nagents:\n  big: {command: [x], memory_limit: 1GiB}\n", r"^3:37: agents\.big\.memory_limit: 1GiB is more than memory\.budget, 600MiB")

    def test_figures_that_do_not_fit_each_other(self):
        self.refused("memory:\n  thresholds: {skip_heartbeats: 0.9, preempt: 0.85}\n", r"preempt: 0\.85 must be above .*skip_heartbeats")
        self.refused("memory: {hysteresis: 0.7}\n", r"hysteresis: 0\.7 must be below")
        self.refused("workers: {memory_limit: 100MiB, memory_warning: 200MiB}\n", r"memory_warning.*above the limit")
        self.refused("gateway: {auth: none, listen: '0.0.0.0:80'}\n", r"auth")
        self.refused("agents: {x: {protocol: exec, command: ['{program}', a]}}\n", r"the program itself cannot come from the payload")
        self.refused("agents: {x: {protocol: exec, command: [a, '{open']}}\n", r"agents\.x\.command")

    def test_a_wrong_variable_is_named(self):
        self.refused("{}", r"^KURULTAI_WORKERS_MAX: expected a whole number, found 'many'", env={"KURULTAI_WORKERS_MAX": "many"})
        self.refused("{}", r"KURULTAI_MEMORY_BUDGET", env={"KURULTAI_MEMORY_BUDGET": "-5"})

    def test_check_says_nothing_else_and_touches_nothing(self):
        done = self.kurultaid("--config", self.write("{}"), "--check", "--state-dir", self.path("state"), "--socket", self.path("s"))
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout, f"{self.path('memory.yaml')} is good\n")
        self.assertEqual(os.listdir(self.dir), ["memory.yaml"])

    def test_a_wrong_configuration_does_not_start(self):
        done = self.start(config=self.write("workers: {max: 0}\n"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("workers.max", done.stderr)
        self.assertFalse(os.path.exists(self.path("state")))
        self.assertFalse(os.path.exists(self.path("s")))


class Options(Start):
    def test_help_and_version(self):
        done = self.kurultaid("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in ("--config", "--listen", "--socket", "--state-dir", "--log-level", "--check"):
            self.assertIn(option, done.stdout)
        done = self.kurultaid("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^kurultaid \d+\.\d+")

    def test_wrong_options_are_usage_errors(self):
        for arguments, word in ((["--wrong"], "--wrong"), (["--config"], "--config"), (["word"], "word"), (["-x"], "-x"), (["--socket"], "--socket")):
            with self.subTest(arguments=arguments):
                done = self.kurultaid(*arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(word, done.stderr)
                self.assertIn("--help", done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_a_wrong_log_level(self):
        done = self.start(**{"log-level": "loud"})
        self.assertEqual(done.returncode, 2)
        self.assertIn("log level loud", done.stderr)

    def test_a_wrong_address(self):
        done = self.start(listen="nowhere")
        self.assertIn(done.returncode, (1, 2))
        self.assertIn("nowhere", done.stderr)

    def test_an_address_in_use(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            address = f"127.0.0.1:{other.getsockname()[1]}"
            done = self.start(listen=address)
            self.assertEqual(done.returncode, 1)
            self.assertIn(address, done.stderr)
            self.assertIn("address already in use", done.stderr.lower())
            self.assertFalse(os.path.exists(self.path("s")), "the socket is not left behind")


class Sockets(Start):
    def test_a_file_in_its_place_is_left_alone(self):
        file = self.write("precious", "s")
        done = self.start(socket=file)
        self.assertEqual(done.returncode, 1)
        self.assertIn(file, done.stderr)
        self.assertIn("not a socket", done.stderr)
        with open(file, encoding="ascii") as kept:
            self.assertEqual(kept.read(), "precious")

    def test_a_directory_in_its_place_is_left_alone(self):
        os.mkdir(self.path("s"))
        done = self.start()
        self.assertEqual(done.returncode, 1)
        self.assertIn("not a socket", done.stderr)

    def test_one_that_a_live_supervisor_holds(self):
        daemon = self.daemon(GOOD)
        done = self.start(socket=daemon.socket)
        self.assertEqual(done.returncode, 1)
        self.assertIn(daemon.socket, done.stderr)
        self.assertIn("another supervisor answers there", done.stderr)
        self.assertEqual(daemon.run("quick")["result"], "well\n", "the live one keeps its socket")

    def test_one_that_anything_else_holds_is_left_alone_too(self):
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path("s"))
            other.listen()
            self.assertEqual(self.start().returncode, 1)

    def test_a_path_that_is_too_long(self):
        path = self.path("x" * 150)
        done = self.start(socket=path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("longer than 107 bytes", done.stderr)
        self.assertIn("--socket", done.stderr)

    def test_a_stale_one_is_replaced(self):
        for number in range(2):  # second round: by the supervisor's own
            daemon = harness.Daemon(GOOD, directory=self.dir)
            try:
                if number == 0:
                    with socket.socket(socket.AF_UNIX) as stale:
                        if not os.path.exists(daemon.socket):
                            try:
                                stale.bind(daemon.socket)
                            except OSError:
                                pass
                daemon.wait_ready()
                self.assertEqual(os.stat(daemon.socket).st_mode & 0o777, 0o600)
                self.assertEqual(daemon.run("quick")["result"], "well\n")
            finally:
                if number == 0:
                    daemon.kill()
                daemon.close()

    def test_its_directory_is_made(self):
        daemon = harness.Daemon(GOOD, directory=self.dir, args=("--socket", self.path("run/here/s")))
        self.addCleanup(daemon.close)
        daemon.socket = self.path("run/here/s")
        daemon.wait_ready()


class StateDirectories(Start):
    def test_a_file_in_its_place(self):
        file = self.write("precious", "state")
        done = self.start()
        self.assertEqual(done.returncode, 1)
        self.assertIn(file, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_one_that_cannot_be_made(self):
        done = self.start(**{"state-dir": "/proc/kurultai-state"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("/proc/kurultai-state", done.stderr)

    def test_one_that_cannot_be_written(self):
        os.mkdir(self.path("locked"), 0o555)
        config = self.write("{}")
        os.chmod(config, 0o644)
        # Its owner may open the directory itself again, and then it serves.
        for state in ("locked", "locked/below") if os.geteuid() == 0 else ("locked/below",):
            done = self.kurultaid("--config", config, "--state-dir", self.path(state), "--socket", self.path("s"), "--listen", "none", **self.as_nobody())
            self.assertEqual(done.returncode, 1)
            self.assertIn(self.path("locked"), done.stderr)
            self.assertIn("ermi", done.stderr)  # permission denied, or not permitted
            self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_it_is_private_and_keeps_its_instance(self):
        daemon = self.daemon(GOOD)
        self.assertEqual(os.stat(daemon.state).st_mode & 0o777, 0o700)
        instance = daemon.instance
        self.assertRegex(instance, r"^[0-9a-f]{8}$")
        daemon.terminate()
        again = self.daemon(GOOD, directory=daemon.dir)
        self.assertEqual(again.instance, instance)

    def test_a_token_is_made_for_tcp_and_private(self):
        daemon = self.daemon(GOOD, args=("--listen", "127.0.0.1:0"))
        token = os.path.join(daemon.state, "token")
        self.assertEqual(os.stat(token).st_mode & 0o777, 0o600)
        with open(token, encoding="ascii") as file:
            self.assertRegex(file.read(), r"^[0-9a-f]{64}\n$")
        self.assertRegex(daemon.get("/health").json["listen"], r"^127\.0\.0\.1:[1-9]\d*$")

    def test_one_that_serves_another_purpose_is_left_alone(self):
        os.makedirs(self.path("state/spool/mail"))
        os.chmod(self.path("state"), 0o755)
        done = self.start()
        self.assertEqual(done.returncode, 1)
        self.assertIn("serves another purpose", done.stderr)
        self.assertEqual(os.stat(self.path("state")).st_mode & 0o777, 0o755)
        self.assertTrue(os.path.exists(self.path("state/spool/mail")))

    def test_no_token_is_for_loopback_only_whoever_gives_the_address(self):
        done = self.start(config=self.write("gateway: {auth: none}"), listen="0.0.0.0:0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("loopback", done.stderr)

    def test_a_damaged_instance_file_is_replaced(self):
        first = self.daemon(GOOD)
        first.terminate()
        for damage in ("../../etc\n", "", "0123456789\n", "KURULTAI\n"):
            with open(os.path.join(first.state, "instance"), "w", encoding="ascii") as file:
                file.write(damage)
            with self.subTest(damage=damage):
                again = harness.Daemon(GOOD, directory=first.dir)
                try:
                    again.wait_ready()
                    self.assertRegex(again.instance, r"^[0-9a-f]{8}$")
                finally:
                    again.close()

    def test_a_directory_of_something_else_is_refused_and_left_alone(self):
        os.makedirs(self.path("state/spool"))
        precious = self.write("precious", "state/spool/letters.txt")
        done = self.start()
        self.assertEqual(done.returncode, 1)
        self.assertIn(self.path("state"), done.stderr)
        self.assertIn("--state-dir", done.stderr)
        self.assertTrue(os.path.exists(precious))


class Overrides(Start):
    def test_variables_go_before_the_file(self):
        daemon = self.daemon({**GOOD, "workers": {"max": 2}, "memory": {"budget": "1GiB"}}, env={
            "KURULTAI_WORKERS_MAX": "7", "KURULTAI_MEMORY_BUDGET": "700MiB", "KURULTAI_QUEUE_LIMITS_LOW": "3",
            "KURULTAI_MEMORY_THRESHOLDS_PREEMPT": "0.8", "KURULTAI_AGENTS_QUICK_TIMEOUT": "77s", "KURULTAI_MONITORING_TIER": "development",
            "FF_WORKER_POOL": "false"})
        shown = daemon.get("/v1/config").json
        self.assertEqual(shown["workers"]["max"], 7)
        self.assertEqual(shown["memory"]["budget"], "700MiB")
        self.assertEqual(shown["queue"]["limits"]["low"], 3)
        self.assertEqual(shown["memory"]["thresholds"]["preempt"], 0.8)
        self.assertEqual(shown["agents"]["quick"]["timeout"], "77s")
        self.assertEqual(shown["memory"]["monitoring_tier"], "development")
        self.assertEqual(daemon.get("/v1/memory").json["budgetBytes"], 700 * MIB)
        flags = daemon.get("/health").json["flags"]
        self.assertEqual(flags, {"memoryGovernance": True, "workerPool": False, "circuitBreakers": True})

    def test_the_short_names(self):
        daemon = self.daemon(GOOD, env={"KURULTAI_MAX_WORKERS": "5"})
        self.assertEqual(daemon.get("/v1/config").json["workers"]["max"], 5)

    def test_a_budget_of_auto_is_what_the_machine_gives(self):
        daemon = self.daemon({**GOOD, "memory": {"budget": "auto"}})
        budget = daemon.get("/v1/memory").json["budgetBytes"]
        with open("/proc/meminfo", encoding="ascii") as file:
            total = int(re.search(r"MemTotal:\s+(\d+)", file.read())[1]) * 1024
        self.assertGreater(budget, 64 * MIB)
        self.assertLessEqual(budget, total)
        self.assertEqual(daemon.get("/v1/config").json["memory"]["budget"], "auto")


class Reload(Start):
    def reloaded(self, daemon, config):
        daemon.write_config(config)
        return daemon.request("POST", "/v1/reload")

    def test_what_can_change_live_does_and_is_named(self):
        daemon = self.daemon({**GOOD, "workers": {"max": 1}})
        answer = self.reloaded(daemon, {
            "agents": {**GOOD["agents"], "new": {"protocol": "exec", "command": ["echo", "new"]}}, "workers": {"max": 3},
            "memory": {"budget": "2GiB", "thresholds": {"preempt": 0.80}, "hysteresis": 0.05}})
        self.assertEqual(answer.status, 200)
        self.assertEqual(set(answer.json["live"]), {"agents.new", "workers.max", "memory.budget", "memory.thresholds.preempt", "memory.hysteresis"})
        self.assertEqual(answer.json["needsRestart"], [])
        self.assertEqual(daemon.run("new")["result"], "new\n")
        now = daemon.get("/v1/memory").json
        self.assertEqual((now["budgetBytes"], now["thresholds"]["preempt"], now["hysteresis"]), (2 << 30, 0.8, 0.05))
        event = daemon.wait_event("configReloaded")
        self.assertEqual(set(event["live"]), set(answer.json["live"]))
        self.assertEqual(event["needsRestart"], [])

    def test_more_workers_take_waiting_tasks_at_once(self):
        slow = {"slow": {"protocol": "exec", "command": ["sleep", "30"], "memory_limit": "64MiB"}}  # three fit
        daemon = self.daemon({"agents": slow, "workers": {"max": 1}})
        tasks = [daemon.start("slow") for _ in range(3)]
        daemon.wait_state(tasks[0], "running")
        self.assertEqual(daemon.task(tasks[1])["state"], "queued")
        self.assertEqual(self.reloaded(daemon, {"agents": slow, "workers": {"max": 3}}).json["live"], ["workers.max"])
        for task in tasks:
            daemon.wait_state(task, "running", timeout=5)
        for task in tasks:
            daemon.request("DELETE", f"/v1/tasks/{task}")

    def test_what_needs_a_restart_is_named_and_stays(self):
        daemon = self.daemon(GOOD)
        answer = self.reloaded(daemon, {**GOOD, "memory": {"cgroup_parent": "/elsewhere"}, "ipc": {"max_line": "2MiB"}, "workers": {"max": 4}},)
        expected = {"ipc.max_line"} | ({"memory.cgroup_parent"} if "KURULTAI_MEMORY_CGROUP_PARENT" not in os.environ else set())
        self.assertEqual(set(answer.json["needsRestart"]), expected)
        self.assertEqual(answer.json["live"], ["workers.max"])
        self.assertEqual(daemon.get("/v1/config").json["ipc"]["max_line"], "1MiB")
        self.assertEqual(daemon.get("/v1/config").json["workers"]["max"], 4)

    def test_nothing_changed(self):
        daemon = self.daemon(GOOD)
        self.assertEqual(self.reloaded(daemon, GOOD).json, {"live": [], "needsRestart": []})

    def test_a_broken_file_keeps_the_old_configuration(self):
        daemon = self.daemon({**GOOD, "workers": {"max": 3}})
        answer = self.reloaded(daemon, "workers: {max: none}\nmemory: {budgit: 1}\n")
        self.assertEqual(answer.status, 422)
        error = answer.json["error"]
        self.assertEqual(error["code"], "invalid_config")
        details = error.get("details") or answer.json.get("details")
        self.assertEqual(len(details), 2, answer.json)
        self.assertTrue(any(re.search(r"memory\.yaml:1:16: workers\.max", detail) for detail in details), details)
        self.assertTrue(any("did you mean 'budget'" in detail for detail in details), details)
        self.assertEqual(daemon.get("/v1/config").json["workers"]["max"], 3)
        self.assertEqual(daemon.run("quick")["result"], "well\n")
        os.unlink(daemon.config_file)
        self.assertEqual(daemon.request("POST", "/v1/reload").status, 422)
        self.assertEqual(self.reloaded(daemon, {**GOOD, "workers": {"max": 5}}).status, 200)
        self.assertEqual(daemon.get("/v1/config").json["workers"]["max"], 5)

    def test_sighup_reloads(self):
        daemon = self.daemon({**GOOD, "workers": {"max": 3}})
        daemon.write_config({**GOOD, "workers": {"max": 6}})
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: daemon.get("/v1/config").json["workers"]["max"] == 6, "the change is in effect")
        daemon.wait_event("configReloaded")
        daemon.write_config("workers: {max: none}\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old one stays in effect" in daemon.log_text(), "the mistake is in the log")
        self.assertRegex(daemon.log_text(), r"memory\.yaml:1:16: workers\.max")
        self.assertEqual(daemon.get("/v1/config").json["workers"]["max"], 6)

    def test_an_agent_that_was_taken_out_takes_no_new_tasks_and_ends_those_that_wait(self):
        two = {"slow": {"protocol": "exec", "command": ["sleep", "1"]}, **GOOD["agents"]}
        daemon = self.daemon({"agents": two, "workers": {"max": 1}})
        running, waiting = daemon.start("slow"), daemon.start("slow")
        daemon.wait_state(running, "running")
        answer = self.reloaded(daemon, {**GOOD, "workers": {"max": 1}})
        self.assertEqual(answer.json["live"], ["agents.slow"])
        self.assertEqual(daemon.submit("slow").status, 422)
        self.assertEqual(daemon.wait_state(running, "completed", "failed")["state"], "completed", "what runs may end")
        failed = daemon.wait_state(waiting, "failed")
        self.assertIn("no longer in the configuration", failed["error"]["message"])
        self.assertEqual(daemon.run("quick")["result"], "well\n")

    def test_warm_workers_of_a_changed_agent_make_room_for_new_ones(self):
        def agent(answer):
            script = f"say({{'type':'READY','protocol':1,'name':'x'}})\nwhile True:\n t=task()\n say({{'type':'COMPLETE','taskId':t['taskId'],'result':{answer}}})"
            return {"agents": {"warm": {"protocol": "jsonl", "command": harness.agent_command(script)}}}
        daemon = self.daemon(agent(1))
        self.assertEqual(daemon.run("warm")["result"], 1)
        self.assertEqual(self.reloaded(daemon, agent(2)).json["live"], ["agents.warm"])
        self.assertEqual(daemon.run("warm")["result"], 2)

    def test_many_reloads_at_once(self):
        daemon = self.daemon(GOOD)
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(daemon.request("POST", "/v1/reload").status)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(statuses, [200] * 20)
        self.assertEqual(daemon.run("quick")["result"], "well\n")


class Log(Start):
    def test_lines_are_readable(self):
        daemon = self.daemon({"agents": {**GOOD["agents"], "evil": {"protocol": "exec", "command": ["sh", "-c", "exit 3"]}}})
        daemon.run("quick")
        failed = daemon.run("evil")
        daemon.submit("none\x1b[31m\nfake line")
        daemon.terminate()
        text = daemon.log_text()
        *lines, last = text.splitlines()
        self.assertEqual(json.loads(last)["status"], "completed")  # the drain's statistics, on stdout
        for line in lines:
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} (debug|info|warning|error) \S", text)
        self.assertNotIn("\x1b", text)
        self.assertTrue(any("guarantee" in line and "budget" in line for line in lines))
        self.assertTrue(any(failed["taskId"] in line and "exit_code" in line for line in lines))

    def test_the_level_is_kept(self):
        daemon = self.daemon(GOOD, args=("--log-level", "off"))
        daemon.run("quick")
        daemon.terminate()
        statistics, = daemon.log_text().splitlines()  # they are no log, but what it says at the end
        self.assertEqual(json.loads(statistics)["status"], "completed")


if __name__ == "__main__":
    unittest.main()
