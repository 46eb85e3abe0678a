#!/usr/bin/env python3
"""The gateway: more connections than there may be."""
import json
import os
import resource
import signal
import socket
import time
import unittest

import harness
from harness import wait_until
from puppet import open_files, settings, supervisor_rss
from raw_http import Http, Raw


class Room(Http):
    """More connections than there may be."""

    GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def crowd(self, count, address, source=None):
        found = []
        for _ in range(count):
            connection = Raw(address, source=source)
            self.addCleanup(connection.close)
            found.append(connection)
        return found

    @staticmethod
    def answers(daemon):
        try:
            return daemon.get("/health").status == 200
        except OSError:
            return False

    def assert_no_room(self, connection):
        status, headers, body = connection.answer()
        self.assertEqual((status, json.loads(body)["error"]["code"]), (503, "too_many_connections"))
        self.assertEqual((headers["Retry-After"], headers["Connection"]), ("1", "close"))
        self.assertTrue(connection.is_closed())

    def test_above_the_limit_only_health_is_answered(self):
        daemon = self.daemon(settings(gateway={"max_connections_per_peer": 20}))
        before = open_files(daemon)
        crowd = self.crowd(20, daemon.socket)
        self.assert_no_room(self.raw(daemon, self.GET % b"/v1/memory"))
        for path in (b"/health", b"/ready"):
            status, headers, _ = self.raw(daemon, self.GET % path * 2).answer()
            self.assertEqual((status, headers["Connection"]), (200, "close"))
        # Those that have a place keep it.
        self.assertEqual(crowd[0].send(self.GET % b"/v1/memory").answer()[0], 200)
        crowd[0].close()
        wait_until(lambda: daemon.get("/v1/memory").status == 200, "there is room again")
        for connection in crowd:
            connection.close()
        wait_until(lambda: open_files(daemon) <= before + 4, "nothing of the crowd is left")

    def test_when_the_reserve_is_full_too_the_answer_comes_without_a_question(self):
        daemon = self.daemon(settings(gateway={"max_connections": 5}))
        self.crowd(5 + 16, daemon.socket)
        self.assert_no_room(self.raw(daemon))
        # Whoever says nothing loses its place in the reserve.
        wait_until(lambda: self.answers(daemon), "the reserve is free again")

    def test_a_crowd_at_one_address_leaves_room_for_another(self):
        daemon = self.daemon(settings(gateway={"max_connections_per_peer": 10, "max_connections": 15}), args=["--listen", "127.0.0.1:0"])
        address = ("127.0.0.1", int(daemon.get("/health").json["listen"].rsplit(":", 1)[1]))
        self.crowd(10 + 16 + 1, address)
        self.assert_no_room(self.crowd(1, address)[0])
        other = self.crowd(5, address, "127.0.0.2")
        self.assertEqual(other[0].send(self.GET % b"/metrics").answer()[0], 200)
        # Even when all places are taken.
        self.assertEqual(self.crowd(1, address, "127.0.0.3")[0].send(self.GET % b"/health").answer()[0], 200)
        self.assertEqual(daemon.get("/health").status, 200)

    def test_the_limits_can_be_changed(self):
        daemon = self.daemon(settings(gateway={"max_connections": 3}))
        self.crowd(3, daemon.socket)
        self.assert_no_room(self.raw(daemon, self.GET % b"/v1/memory"))
        daemon.write_config(settings(gateway={"max_connections": 50}))
        os.kill(daemon.pid, signal.SIGHUP)
        wait_until(lambda: daemon.get("/v1/memory").status == 200, "the new limit holds")

    def test_5000_idle_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 6000:
            self.skipTest(f"needs 6000 open files, and {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 6000), hard))  # the supervisor inherits it
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        daemon = self.daemon(settings(gateway={"max_connections": 5100, "max_connections_per_peer": 5100}))
        daemon.run("puppet", "done(1)")  # its worker stays
        files, memory = open_files(daemon), supervisor_rss(daemon)
        crowd = []
        try:
            for _ in range(5000):
                crowd.append(socket.socket(socket.AF_UNIX))
                crowd[-1].connect(daemon.socket)  # without a time limit it waits for room in the backlog
            self.assertEqual(daemon.get("/health").status, 200)
            self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)
            each = (supervisor_rss(daemon) - memory) / 5000
            print(f"{each:.0f} bytes of memory for each idle connection")
            if not harness.is_instrumented():
                self.assertLess(each, 8192)
        finally:
            for connection in crowd:
                connection.close()
        wait_until(lambda: open_files(daemon) <= files + 4, "all are closed", 20)

    def test_without_descriptors_the_supervisor_waits_and_recovers(self):
        daemon = self.daemon(settings())
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_files(daemon) + 5, hard))

        def processor_time():
            with open(f"/proc/{daemon.pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        crowd = []
        for _ in range(50):
            crowd.append(socket.socket(socket.AF_UNIX))
            crowd[-1].settimeout(5 * harness.PATIENCE)
            crowd[-1].connect(daemon.socket)
        started, before = time.monotonic(), processor_time()
        time.sleep(1)  # what is measured is that nothing happens
        self.assertLess(processor_time() - before, 0.5 * (time.monotonic() - started))
        for connection in crowd:
            connection.close()
        wait_until(lambda: self.answers(daemon), "it answers again")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)


if __name__ == "__main__":
    unittest.main()
