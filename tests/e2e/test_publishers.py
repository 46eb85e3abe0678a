#!/usr/bin/env python3
"""Who outside is told of events: what arrives, and what a receiver that is down, slow, wrong or gone does to it and to the
supervisor."""

import json
import os
import signal
import socket
import stat
import subprocess
import time
import unittest

import api
import harness
from harness import E2E, PATIENCE, client, wait_until
from receiver import CERTIFICATE, Receiver

NAMED = ["taskQueued", "taskStarted", "taskCompleted"]


def helpers_of(daemon):
    """The processes that send for it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                name, rest = file.read().rsplit(")", 1)
        except OSError:
            continue
        if "(kurultai-publis" in name and int(rest.split()[1]) == daemon.process.pid:
            found.append(int(pid))
    return found


def is_there(pid):
    return os.path.exists(f"/proc/{pid}")


class Publishers(E2E):
    def receiver(self, **kw):
        receiver = Receiver(**kw)
        self.addCleanup(receiver.close)
        return receiver

    def publishing(self, *publishers, **kw):
        """To the receivers, or as the given settings say."""
        return self.daemon(self.config(*publishers), **kw)

    def config(self, *publishers):
        return {
            "memory": {"budget": f"{512 + harness.own_extra()}MiB"},
            "workers": {"max": 2, "memory_limit": "64MiB", "memory_warning": "64MiB"},
            "admission": "none",
            "agents": {"say": {"protocol": "exec", "command": ["cat"]}, "fail": {"protocol": "exec", "command": ["false"]},
                       "nap": {"protocol": "exec", "command": ["sleep", "1"]}},
            "publishers": [{"type": "webhook", "url": one.url, "events": NAMED} if isinstance(one, Receiver) else one
                           for one in publishers]}

    def breaker(self, daemon, name="webhook"):
        return next(one for one in daemon.get("/v1/breakers").json["breakers"] if one["name"] == name and one["kind"] == "publisher")

    def delivers(self, receiver, *tasks):
        """Of each task its three events, once each."""
        wanted = [(task, type_) for task in tasks for type_ in NAMED]

        def seen():
            return sorted((event["taskId"], event["type"]) for event in receiver.events(*NAMED))
        wait_until(lambda: len(seen()) >= len(wanted), "all events have come", 60)
        self.assertEqual(seen(), sorted(wanted))

    def wait_health(self, daemon, status, pattern="."):
        def look():
            health = daemon.get("/health").json
            return health if health["status"] == status else None
        health = wait_until(look, f"health is {status}", 60)
        self.assertRegex(json.dumps(health), pattern)
        return health

    def test_events_come_as_they_are_told_to_others_in_order_and_only_those_that_were_asked_for(self):
        some, all_ = self.receiver(), self.receiver()
        daemon = self.publishing(some, {"type": "webhook", "name": "all", "url": all_.url})
        tasks = [daemon.run("say", {"n": n})["taskId"] for n in range(3)]
        self.delivers(some, *tasks)
        wait_until(lambda: len(all_.events("taskCompleted")) == 3, "the others have come too", 30)
        got = all_.events()
        for event in got:
            api.check_event(event)
        told = {event["id"]: event for event in daemon.events()}
        self.assertEqual(got, [told[event["id"]] for event in got])
        self.assertEqual([event["id"] for event in got], sorted(event["id"] for event in got))
        headers = some.requests[0][0]
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertRegex(headers["User-Agent"], r"^kurultai/\d")
        self.assertNotIn("Authorization", headers)
        self.assertEqual(len({peer for *_, peer in some.requests}), 1, "one connection is kept")
        self.assertEqual(daemon.metric("kurultai_publisher_delivered_total", publisher="webhook"), 9)
        self.assertEqual(daemon.metric("kurultai_publisher_dropped_total", publisher="webhook"), 0)
        self.assertIn('kurultai_circuit_breaker_state{name="all"} 0', daemon.get("/metrics").body.decode())
        self.assertEqual(daemon.get("/health").json["status"], "ok")

    def test_a_receiver_that_is_down_is_left_alone_and_gets_everything_when_it_is_back(self):
        receiver = Receiver()
        port = receiver.port
        receiver.close()
        daemon = self.publishing({"type": "webhook", "url": f"http://localhost:{port}/", "events": NAMED})
        tasks = [daemon.run("say", n)["taskId"] for n in range(10)]
        wait_until(lambda: self.breaker(daemon)["state"] == "open", "its circuit is open", 30)
        self.wait_health(daemon, "degraded", r"events are not delivered: webhook: .*[cC]onnect.*; \d+ events wait")
        self.assertRegex(client(daemon, "breakers").stdout, r"webhook +publisher +(open|half_open) ")
        changed = daemon.wait_event("breakerChanged", kind="publisher", name="webhook", to="open")
        self.assertEqual(changed["from"], "closed")
        self.assertLessEqual(daemon.log_text().count("it is tried again"), 1)
        again = self.receiver(port=port)
        self.delivers(again, *tasks)
        ids = [event["id"] for event in again.events()]
        self.assertEqual(ids, sorted(ids))
        daemon.run("say")
        daemon.run("say")
        self.wait_health(daemon, "ok")
        wait_until(lambda: self.breaker(daemon)["state"] == "closed", "its circuit is closed", 60)

    def test_one_that_never_answers_holds_up_nobody_and_is_tried_fewer_than_five_times(self):
        receiver, other = self.receiver(), self.receiver()
        receiver.held.clear()
        daemon = self.publishing({"type": "webhook", "name": "slow", "url": receiver.url, "events": NAMED, "timeout": "1s"}, other)
        began = time.monotonic()
        tasks = [daemon.run("say", n)["taskId"] for n in range(20)]
        self.delivers(other, *tasks)
        self.wait_health(daemon, "degraded", r"slow: .*[tT]imed? ?out")
        wait_until(lambda: self.breaker(daemon, "slow")["state"] == "open", "its circuit is open", 30)
        tried = daemon.log_text().count("publisher slow")
        self.assertLess(tried, 5, f"in {time.monotonic() - began:.0f} s")
        self.assertEqual(self.breaker(daemon)["state"], "closed")
        receiver.held.set()
        wait_until(lambda: {event["taskId"] for event in receiver.events()} >= set(tasks), "all come in the end", 60)

    def test_what_there_is_no_room_for_gives_way_and_is_counted(self):
        receiver = self.receiver()
        receiver.status = 503
        daemon = self.publishing({"type": "webhook", "url": receiver.url, "events": NAMED, "buffer": "4KiB"})
        tasks = [daemon.run("say", n)["taskId"] for n in range(20)]
        self.wait_health(daemon, "degraded", r"it answered 503; \d+ events wait, \d+ were dropped")
        dropped = daemon.metric("kurultai_publisher_dropped_total", publisher="webhook")
        self.assertGreater(dropped, 20)
        receiver.status = 200
        wait_until(lambda: daemon.metric("kurultai_publisher_delivered_total", publisher="webhook") == 60 - dropped, "the rest comes", 60)
        self.assertEqual({event["taskId"] for event in receiver.events()} - set(tasks[-9:]) - {tasks[0]}, set())
        self.assertEqual(receiver.events()[-1]["taskId"], tasks[-1])
        self.wait_health(daemon, "ok")

    def test_what_the_receiver_will_not_have_is_dropped_and_the_next_goes_on(self):
        receiver = self.receiver()
        receiver.status = 400
        daemon = self.publishing({"type": "webhook", "url": receiver.url, "events": ["taskFailed"]})
        daemon.run("fail")
        self.wait_health(daemon, "degraded", "it answered 400")
        wait_until(lambda: "1 events are dropped: it answered 400" in daemon.log_text(), "the log says so", 20)
        receiver.status = 200
        task = daemon.run("fail")["taskId"]
        wait_until(lambda: [event["taskId"] for event in receiver.events()] == [task], "the next comes", 30)
        self.wait_health(daemon, "ok")
        self.assertEqual(daemon.metric("kurultai_publisher_dropped_total", publisher="webhook"), 1)

    def test_the_last_events_are_delivered_before_the_end(self):
        receiver = self.receiver()
        daemon = self.publishing({"type": "webhook", "url": receiver.url})
        daemon.run("say")
        helpers = helpers_of(daemon)
        self.assertEqual(len(helpers), 1)
        self.assertEqual(daemon.terminate(), 0)
        self.assertEqual([event["type"] for event in receiver.events("draining", "drained")], ["draining", "drained"])
        self.assertFalse(is_there(helpers[0]))

    def test_a_receiver_that_is_down_or_silent_does_not_hold_up_the_end(self):
        receiver = self.receiver()
        receiver.held.clear()
        daemon = self.publishing(receiver, {"type": "webhook", "name": "down", "url": "http://127.0.0.1:9/"})
        daemon.run("say")
        helpers = wait_until(lambda: (lambda all_: all_ if len(all_) == 2 else None)(helpers_of(daemon)), "both are at work", 20)
        began = time.monotonic()
        self.assertEqual(daemon.terminate(), 0)
        self.assertLess(time.monotonic() - began, 8 * PATIENCE)
        self.assertFalse(any(map(is_there, helpers)))
        self.assertIn("publisher webhook: 3 events were not delivered", daemon.log_text())

    def test_it_does_not_outlive_the_supervisor_and_is_started_again_when_it_is_killed(self):
        receiver = self.receiver()
        daemon = self.publishing(receiver)
        first = daemon.run("say")["taskId"]
        self.delivers(receiver, first)
        os.kill(helpers_of(daemon)[0], signal.SIGKILL)
        second = daemon.run("say")["taskId"]
        self.delivers(receiver, first, second)
        helper = helpers_of(daemon)[0]
        daemon.kill()
        wait_until(lambda: not is_there(helper), "it has ended", 10)

    def test_a_token_and_a_secret_address_are_read_from_files_and_shown_to_nobody(self):
        receiver = self.receiver()
        daemon = self.publishing({"type": "webhook"}, ready=False)  # refused: no address
        self.assertEqual(daemon.process.wait(20 * PATIENCE), 2)
        self.assertIn("one of url and url_file says where to", daemon.log_text())
        paths = {}
        for name, text in (("url", f"{receiver.url}/s3cret-path\n"), ("token", "s3cret-token\r\n")):
            paths[name] = os.path.join(daemon.dir, name)
            with open(paths[name], "w", encoding="ascii") as file:
                file.write(text)
            os.chmod(paths[name], stat.S_IRUSR)
        daemon = self.publishing({"type": "webhook", "url_file": paths["url"], "token_file": paths["token"]})
        daemon.run("say")
        wait_until(lambda: receiver.events("taskCompleted"), "it has come", 30)
        self.assertEqual(receiver.requests[0][0]["Authorization"], "Bearer s3cret-token")
        helper = helpers_of(daemon)[0]
        with open(f"/proc/{helper}/cmdline", "rb") as file:
            shown = file.read()
        with open(f"/proc/{helper}/environ", "rb") as file:
            shown += file.read()
        shown += client(daemon, "config", "show").stdout.encode() + daemon.get("/health").body + daemon.log_text().encode()
        self.assertNotIn(b"s3cret", shown)
        if os.geteuid() == 0:
            with open(f"/proc/{helper}/status", encoding="ascii") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            self.assertEqual((status["Uid"].split()[0], status["Groups"].strip(), status["NoNewPrivs"], status["CapEff"]),
                             ("65534", "", "1", "0000000000000000"))
            with open(f"/proc/{helper}/oom_score_adj", encoding="ascii") as file:
                self.assertGreaterEqual(int(file.read()), 0)

    def test_a_token_that_was_replaced_is_read_again(self):
        receiver = self.receiver()
        receiver.status = 401
        path = os.path.join(self.publishing().dir, "token")
        with open(path, "w", encoding="ascii") as file:
            file.write("old")
        daemon = self.publishing({"type": "webhook", "url": receiver.url, "token_file": path, "events": NAMED})
        task = daemon.run("say")["taskId"]
        self.wait_health(daemon, "degraded", "it answered 401")
        with open(path, "w", encoding="ascii") as file:
            file.write("new")
        receiver.status = 200
        self.delivers(receiver, task)
        self.assertEqual(receiver.requests[-1][0]["Authorization"], "Bearer new")

    def test_one_whose_address_is_repaired_delivers_what_waited(self):
        receiver = self.receiver()
        wrong = {"type": "webhook", "url": "http://127.0.0.1:9/", "events": NAMED}
        daemon = self.publishing(wrong)
        tasks = [daemon.run("say", n)["taskId"] for n in range(3)]
        self.wait_health(daemon, "degraded", "9 events wait")
        daemon.write_config(self.config({**wrong, "url": receiver.url}))
        daemon.request("POST", "/v1/reload")
        self.delivers(receiver, *tasks)
        self.wait_health(daemon, "ok")
        self.assertEqual(daemon.metric("kurultai_publisher_dropped_total", publisher="webhook"), 0)

    def test_its_own_breaker_is_no_event_for_it_and_told_to_others_once(self):
        other = self.receiver()
        down = {"type": "webhook", "name": "down", "url": "http://127.0.0.1:9/", "buffer": "4KiB", "events": ["taskFailed", "breakerChanged"]}
        config = self.config(down, {"type": "webhook", "url": other.url, "events": ["breakerChanged"]})
        config["circuit_breakers"] = {"backoff": ["100ms"]}
        daemon = self.daemon(config)
        daemon.run("fail")
        wait_until(lambda: other.events(), "the other is told", 30)
        wait_until(lambda: self.breaker(daemon, "down")["state"] == "open", "it is open", 20)
        time.sleep(3)  # some probes
        self.assertEqual((len(other.events()), daemon.log_text().count("circuit breaker of publisher down")), (1, 1))
        self.wait_health(daemon, "degraded", "down: .*; 1 events wait")

    def answers_without_end(self, head, more):
        """It is cut off, and its status counts."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            daemon = self.publishing({"type": "webhook", "url": f"http://127.0.0.1:{server.getsockname()[1]}/", "events": ["taskCompleted"],
                                      "timeout": "60s"})
            daemon.run("say")
            connection, _ = server.accept()
            with connection:
                connection.settimeout(30 * PATIENCE)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
                with self.assertRaises(OSError):
                    while True:
                        connection.sendall(more)
            wait_until(lambda: daemon.metric("kurultai_publisher_delivered_total", publisher="webhook") == 1, "its status counts", 20)

    def test_a_receiver_that_talks_without_end_is_cut_off(self):
        self.answers_without_end(b"\r\n", b"x" * 65536)

    def test_one_that_talks_without_end_behind_its_body_is_cut_off_too(self):
        self.answers_without_end(b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 10000)

    def test_one_that_is_stopped_does_not_hold_up_the_end(self):
        receiver = self.receiver()
        daemon = self.publishing(receiver)
        self.delivers(receiver, daemon.run("say")["taskId"])
        helper = helpers_of(daemon)[0]
        os.kill(helper, signal.SIGSTOP)
        daemon.run("say")
        began = time.monotonic()
        self.assertEqual(daemon.terminate(), 0)
        self.assertLess(time.monotonic() - began, 8 * PATIENCE)
        self.assertFalse(is_there(helper))

    def test_a_receiver_that_will_not_have_some_events_gets_the_others_at_the_end(self):
        receiver = self.receiver()
        daemon = self.publishing({"type": "webhook", "url": receiver.url, "events": ["draining", "drained"]})
        task = daemon.start("nap")
        daemon.wait_state(task, "running")
        receiver.status = 400
        receiver.then = lambda: setattr(receiver, "status", 200)
        self.assertEqual(daemon.terminate(), 0)
        self.assertEqual([event["type"] for event in receiver.events()][-1:], ["drained"])

    def test_a_supervisor_for_one_run_tells_nobody(self):
        receiver = self.receiver()
        environment = {**os.environ, "KURULTAI_PUBLISHERS": json.dumps([{"url": receiver.url}])}
        done = subprocess.run([os.path.join(harness.BIN, "kurultai"), "run", "--", "true"], env=environment, capture_output=True, text=True,
                              timeout=60 * PATIENCE, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, receiver.requests), (0, []), done.stderr)

    def test_files_that_are_not_there_are_named(self):
        daemon = self.publishing({"type": "webhook", "url": "http://localhost:9/", "token_file": "/nowhere/token"})
        daemon.run("say")
        self.wait_health(daemon, "degraded", "webhook: cannot read a first line of /nowhere/token")

    def test_a_reload_takes_publishers_away_and_brings_others_and_leaves_the_rest_alone(self):
        stays, goes, comes = self.receiver(), self.receiver(), self.receiver()
        leaves = {"type": "webhook", "name": "goes", "url": goes.url, "events": NAMED}
        daemon = self.publishing(stays, leaves)
        first = daemon.run("say")["taskId"]
        self.delivers(goes, first)
        self.delivers(stays, first)
        before = helpers_of(daemon)
        daemon.write_config(self.config(stays, {**leaves, "name": "comes", "url": comes.url}))
        self.assertEqual(daemon.request("POST", "/v1/reload").json["live"], ["publishers"])
        second = daemon.run("say")["taskId"]
        self.delivers(stays, first, second)
        self.delivers(comes, second)
        self.delivers(goes, first)
        wait_until(lambda: len(set(helpers_of(daemon)) & set(before)) == 1, "one has ended, one stayed", 20)
        self.assertEqual(daemon.metric("kurultai_publisher_delivered_total", publisher="goes"), 3)

    def test_https_needs_a_certificate_that_is_known(self):
        receiver = self.receiver(tls=True)
        daemon = self.publishing(receiver)
        daemon.run("say")
        self.wait_health(daemon, "degraded", "certificate")
        self.assertEqual(receiver.events(), [])
        knows = self.publishing(receiver, env={"SSL_CERT_FILE": CERTIFICATE})
        self.delivers(receiver, knows.run("say")["taskId"])

    def test_a_redirection_is_no_delivery(self):
        receiver = self.receiver()
        receiver.status = 302
        daemon = self.publishing(receiver)
        daemon.run("say")
        self.wait_health(daemon, "degraded", "it answered 302")

    def test_wrong_settings_are_refused_where_they_stand(self):
        path = os.path.join(self.publishing().dir, "wrong.yaml")
        for text, error in (
                ("{type: webhok, url: 'http://a'}", "publishers.0.type: expected webhook, found 'webhok'"),
                ("{url: 'ftp://a'}", "publishers.0.url: 'ftp://a' is no address: it begins with http:// or https://"),
                ("{url: 'http://u:p@a/'}", "publishers.0.url: an address with a password would be shown to everybody"),
                ("{url: 'ftp://u:p#q@a/'}", "publishers.0.url: an address with a password would be shown to everybody"),
                ("{url: 'http://a', events: [taskFailled]}", "publishers.0.events: there is no event 'taskFailled', did you mean 'taskFailed'?"),
        ):
            with self.subTest(text):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(f"publishers:\n  - {text}\n")
                done = subprocess.run([os.path.join(harness.BIN, "kurultai"), "config", "check", path], capture_output=True, text=True,
                                      timeout=20 * PATIENCE, check=False)
                self.assertEqual(done.returncode, 2, done)
                self.assertIn(error, done.stderr)


if __name__ == "__main__":
    unittest.main()
