#!/usr/bin/env python3
"""GET /v1/events: readers that come back, that are too slow, too many, or silent for long."""
import json
import time
import unittest

import api
import harness
from harness import E2E, MIB, client, wait_until
from puppet import KEPT, EventStream, Gate, open_files, settings, supervisor_rss
from raw_http import Raw


def burst(daemon, count=1000):
    """So many events of a kind that costs nothing else."""
    daemon.request("POST", "/v1/tasks:batch", json.dumps([{"agent": "nobody"}] * count))


class Stream(EventStream):
    """Reads notes and comments too."""

    def read(self):
        """(fields, comments) of the next block; None at the end of the stream."""
        fields, comments = {}, []
        while True:
            line = self.response.readline().decode()
            if not line:
                return None
            line = line.rstrip("\n")
            if not line:
                return fields, comments
            name, _, value = line.partition(": ")
            if name in ("", ":") or line.startswith(":"):
                comments.append(line[1:].strip())
            else:
                fields[name] = value

    def ids(self, count):
        """Those of the next events, which are not looked at."""
        found = []
        while len(found) < count:
            line = self.response.readline()
            if line.startswith(b"id: "):
                found.append(int(line[4:]))
        return found

    def rest(self):
        """The events, and then the comments, up to the end of the stream."""
        events, comments = [], []
        while (block := self.read()) is not None:
            if "data" in block[0]:
                events.append(json.loads(block[0]["data"]))
                api.check_event(events[-1])
            comments += block[1]
        return events, comments


class Events(E2E):
    def stream(self, daemon, query="", last_id=None, timeout=20):
        stream = Stream(daemon, "/v1/events" + query, last_id, timeout)
        self.addCleanup(stream.connection.close)
        return stream

    def last_id(self, daemon):
        return daemon.events()[-1]["id"]


class ComingBack(Events):
    def test_a_reader_from_before_a_restart_is_told_that_it_missed_something(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done()")
        seen = self.last_id(daemon)
        daemon.kill()
        again = self.daemon(settings(), directory=daemon.dir)
        again.run("puppet", "done()")
        stream = self.stream(again, last_id=seen)
        stream.read()  # the end of the greeting
        note = stream.read()[0]
        self.assertEqual((note["event"], "id" in note), ("eventsLost", False))
        lost = json.loads(note["data"])
        api.check_event(lost)
        events = [json.loads(stream.read()[0]["data"]) for _ in range(5)]
        self.assertEqual((lost["after"], lost["oldest"]), (seen, events[0]["id"]))
        self.assertGreater(events[0]["id"], seen)
        self.assertEqual(events, again.events()[:5])

    def test_a_reader_whose_events_are_forgotten_is_told_so_and_others_are_not(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done()")
        seen = self.last_id(daemon)
        burst(daemon, 100)
        stream = self.stream(daemon, last_id=seen)
        self.assertEqual([stream.next()[0] for _ in range(100)], list(range(seen + 1, seen + 101)))
        burst(daemon)
        stream = self.stream(daemon, last_id=seen)
        stream.read()
        self.assertEqual(stream.read()[0]["event"], "eventsLost")
        oldest = int(stream.read()[0]["id"])
        self.assertGreater(oldest, seen + 1)
        self.assertEqual(self.stream(daemon, last_id=oldest).next()[0], oldest + 1)
        self.assertEqual(self.stream(daemon, last_id=0).next()[0], oldest)  # asked for what there is

    def test_an_id_that_was_never_given_out_is_of_another_supervisor(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done()")
        stream = self.stream(daemon, last_id=2**63)
        stream.read()
        self.assertEqual(stream.read()[0]["event"], "eventsLost")
        self.assertEqual(stream.next()[2], daemon.events()[0])

    def test_the_place_may_stand_in_the_query_and_the_header_goes_before_it(self):
        daemon = self.daemon(settings())
        task_id = daemon.run("puppet", "done()")["taskId"]
        first = next(e for e in daemon.events() if e.get("taskId") == task_id)["id"]
        self.assertEqual(self.stream(daemon, f"?lastEventId={first}").next()[0], first + 1)
        self.assertEqual(self.stream(daemon, "?lastEventId=0", last_id=first).next()[0], first + 1)
        for wrong in ("x", "-1", "1x", "1.5", "99999999999999999999999", "%20"):
            with self.subTest(wrong):
                self.assertEqual(daemon.get(f"/v1/events?lastEventId={wrong}").status, 400)
        self.assertEqual(daemon.get("/v1/events", headers={"Last-Event-ID": "soon"}).json["error"]["code"], "invalid_task")


class OneTask(Events):
    def test_a_stream_of_one_task_ends_with_it(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", gate.code())
        stream = self.stream(daemon, f"?taskId={task_id}", last_id=0)
        gate.open()
        events, _ = stream.rest()
        self.assertEqual([e["type"] for e in events], ["taskQueued", "taskStarted", "taskCompleted"])
        # One that comes later is told what is remembered, and then that there is no more to come.
        events, _ = self.stream(daemon, f"?taskId={task_id}", last_id=0).rest()
        self.assertEqual([e["type"] for e in events], ["taskQueued", "taskStarted", "taskCompleted"])
        self.assertEqual(daemon.get(f"/v1/events?taskId={task_id}").status, 204)
        self.assertEqual(daemon.get(f"/v1/events?taskId={task_id}&lastEventId={events[-1]['id']}").status, 204)
        answer = daemon.get(f"/v1/events?taskId={task_id}&lastEventId={events[-1]['id'] - 1}")
        self.assertIn(b"taskCompleted", answer.body)

    def test_one_of_some_types_ends_with_the_task_too(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", gate.code())
        stream = self.stream(daemon, f"?taskId={task_id}&types=taskStarted,drained", last_id=0)
        gate.open()
        self.assertEqual([e["type"] for e in stream.rest()[0]], ["taskStarted"])

    def test_only_some_types_and_only_one_agent(self):
        shell = {"protocol": "exec", "command": ["sh", "-c", "exit 3"]}
        daemon = self.daemon(settings(agents={"bad": shell, "other": {**shell, "command": ["true"]}}))
        some = self.stream(daemon, "?types=taskFailed,taskCompleted&agent=bad")
        other = self.stream(daemon, "?agent=other")
        for agent in ("other", "bad", "other", "bad"):
            daemon.run(agent)
        self.assertEqual([some.next()[1] for _ in range(2)], ["taskFailed"] * 2)
        _, name, data = other.next()
        self.assertEqual((name, data["agent"]), ("taskQueued", "other"))
        said = client(daemon, "events", "--type", "taskFailed", "--json").stdout.splitlines()
        self.assertEqual([json.loads(line)["agent"] for line in said], ["bad", "bad"])
        said = client(daemon, "events", "--agent", "other", "--type", "taskCompleted,taskQueued").stdout
        self.assertEqual(len(said.splitlines()), 4, said)

    def test_what_is_not_there_is_named(self):
        daemon = self.daemon(settings())
        answer = daemon.get("/v1/events?types=taskFailed,taskfinished")
        self.assertEqual(answer.status, 400, answer.body)
        self.assertIn(b"there is no event 'taskfinished'", answer.body)
        answer = daemon.get("/v1/events?agent=pupet")
        self.assertEqual(answer.status, 404)
        self.assertIn(b"did you mean 'puppet'?", answer.body)
        said = client(daemon, "events", "--type", "taskFialed")
        self.assertEqual(said.returncode, 2, said.stderr)
        self.assertIn("did you mean 'taskFailed'?", said.stderr)

    def test_a_task_that_is_not_there_has_no_events(self):
        daemon = self.daemon(settings())
        for task_id in ("unknown", "", "1m7y8zgzkp3fkf4h"):
            self.assertEqual(daemon.get(f"/v1/events?taskId={task_id}").status, 404, task_id)

    def test_the_client_ends_with_the_task(self):
        daemon = self.daemon(settings())
        task_id = daemon.run("puppet", "done()")["taskId"]
        run = client(daemon, "events", "--task", task_id, "--follow", "--json")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual([json.loads(line)["type"] for line in run.stdout.splitlines()], ["taskQueued", "taskStarted", "taskCompleted"])
        self.assertEqual(client(daemon, "events", "--task", "unknown").returncode, 5)


class Slow(Events):
    def silent(self, daemon, query=""):
        connection = Raw(daemon.socket, timeout=60)
        self.addCleanup(connection.close)
        return connection.send(f"GET /v1/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def test_a_slow_reader_is_let_go_with_a_word_and_the_others_miss_nothing(self):
        daemon = self.daemon(settings())
        burst(daemon)
        slow, quick = self.stream(daemon), self.stream(daemon)
        before = supervisor_rss(daemon)
        last = 0
        for _ in range(8):  # 2 MB of events; soon after, the slow one has to come for what is left for it
            burst(daemon)
            seen = quick.ids(1000)
            self.assertEqual(seen, list(range(last + 1 if last else seen[0], seen[-1] + 1)))
            last = seen[-1]
        self.assertLess(supervisor_rss(daemon) - before, 6 * MIB + KEPT)
        events, comments = slow.rest()
        self.assertLess(events[-1]["id"], last)
        self.assertIn("too slow", comments[-1])
        self.assertEqual([e["id"] for e in events], list(range(events[0]["id"], events[-1]["id"] + 1)))
        # It comes back, and is told that there is a gap.
        stream = self.stream(daemon, last_id=events[-1]["id"])
        stream.read()
        self.assertEqual(stream.read()[0]["event"], "eventsLost")

    def test_readers_that_never_read_are_cut_off_and_those_who_listen_hear_that_it_is_quiet(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done()")
        before, files = supervisor_rss(daemon), open_files(daemon)
        silent = [self.silent(daemon) for _ in range(10)]
        for connection in silent:
            self.assertTrue(connection.file.readline().startswith(b"HTTP/1.1 200"))
        for _ in range(10):
            burst(daemon)
        self.assertLess(supervisor_rss(daemon) - before, 32 * MIB + KEPT)  # ten times 1 MiB, in small pieces
        listening = self.stream(daemon, timeout=40)
        listening.read()
        # After the burst only the supervisor's own pulse is left.
        self.assertEqual(listening.read(), ({}, ["still here"]))
        wait_until(lambda: open_files(daemon) <= files + 1, "they are cut off", 60)
        del silent

    def test_only_so_many_may_listen(self):
        daemon = self.daemon(settings())
        crowd = []
        for _ in range(256):
            crowd.append(self.silent(daemon))
            self.assertTrue(crowd[-1].file.readline().startswith(b"HTTP/1.1 200"))
        answer = daemon.get("/v1/events")
        self.assertEqual((answer.status, answer.json["error"]["code"]), (503, "too_many_readers"))
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)
        crowd.pop().close()
        wait_until(lambda: self.try_once(daemon), "there is room again")

    def try_once(self, daemon):
        with self.silent(daemon) as connection:
            return connection.file.readline().startswith(b"HTTP/1.1 200")

    def test_streams_end_when_the_supervisor_does(self):
        daemon = self.daemon(settings())
        stream = self.stream(daemon)
        started = time.monotonic()
        daemon.process.terminate()
        events, _ = stream.rest()
        self.assertEqual([e["type"] for e in events][-2:], ["draining", "drained"])
        self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 0)
        self.assertLess(time.monotonic() - started, 15 * harness.PATIENCE)


if __name__ == "__main__":
    unittest.main()
