#!/usr/bin/env python3
"""`kurultai top` on a real pseudo-terminal: what it draws, and that it gives the terminal back however it ends."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import unittest

import api
import harness
from harness import E2E, client, wait_until
from puppet import Gate, puppet, settings

TAKE_OVER, GIVE_BACK = b"\x1b[?1049h", b"\x1b[?1049l"
COLOUR = re.compile(r"\x1b\[[0-9]*m")


class OnTerminal:
    """A program whose terminal this is. What it says is read all the time, or it would wait for us."""

    def __init__(self, argv, rows=24, columns=80, **variables):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}

        def own_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.said = b""
        self.seen = 0  # so much of it is no longer looked at for a frame
        self.process = subprocess.Popen(argv, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
                                        preexec_fn=own_terminal, env={**environment, "TERM": "xterm-256color", **variables})
        self.done = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                self.said += os.read(self.master, 65536)  # the slave stays open here: no EIO
            elif self.done.is_set():
                return

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.master, keys)

    def frame(self):
        """The lines of the newest whole frame, without colours."""
        frames = self.said[self.seen:].split(b"\x1b[H")[1:]
        whole = [frame for frame in frames if b"\x1b[J" in frame]
        if not whole:
            return []
        text = whole[-1].split(b"\x1b[J")[0].decode()
        return COLOUR.sub("", text).replace("\x1b[K", "").replace("\r", "").split("\n")

    def wait_for(self, words):
        """Until the screen shows a line that matches; gives its frame."""
        def shows():
            frame = self.frame()
            return frame if any(re.search(words, line) for line in frame) else None

        try:
            return wait_until(shows, f"the screen shows {words!r}")
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *map(repr, self.frame())])) from error

    def end(self):
        """Its exit status, when it has ended and all that it said is read."""
        try:
            return self.process.wait(20 * harness.PATIENCE)
        finally:
            self.process.kill()
            self.done.set()
            self.reader.join()

    def close(self):
        if not self.done.is_set():
            self.process.kill()
            self.end()
        os.close(self.master)
        os.close(self.slave)


class Top(E2E):
    def top(self, daemon, *args, **kw):
        screen = OnTerminal([os.path.join(harness.BIN, "kurultai"), "--socket", daemon.socket, "top", *args], **kw)
        self.addCleanup(screen.close)
        return screen

    def assert_given_back(self, screen):
        self.assertEqual(termios.tcgetattr(screen.slave), screen.before)
        self.assertEqual(screen.said.count(TAKE_OVER), screen.said.count(GIVE_BACK))
        self.assertGreater(screen.said.rfind(b"\x1b[?25h"), screen.said.rfind(b"\x1b[?25l"))  # the cursor
        self.assertGreater(screen.said.rfind(b"\x1b[?7h"), screen.said.rfind(b"\x1b[?7l"))  # long lines go on

    def assert_fits(self, frame, rows, columns):
        self.assertLessEqual(len(frame), rows, frame)
        for line in frame:
            self.assertLessEqual(len(line), columns, line)

    def test_it_draws_obeys_and_gives_the_terminal_back(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}))
        gate = Gate(daemon)
        first = daemon.start("puppet", "about('PROGRESS', percent=40, message='a\\x1b[2J\\x9b2Jb')\n" + gate.code(), priority="low")
        daemon.wait_state(first, "running")
        waiting = [daemon.start("other", gate.code(), priority=priority) for priority in ("high", "normal", "normal")]
        daemon.wait_state(waiting[0], "running")
        screen = self.top(daemon)
        frame = screen.wait_for(rf"^{first} +low .* 40 % +running +puppet +a  ?\[2J 2Jb$")
        self.assert_fits(frame, 24, 80)
        self.assertEqual(len(frame), 24)
        self.assertNotIn("\x9b", "".join(frame))
        self.assertEqual(screen.said.count(b"\x1b[2J"), 1)  # its own, at the beginning
        text = "\n".join(frame)
        for words in (r"^kurultai +\d\d:\d\d:\d\d  up .*  ok  ", r"^Memory \[#*\.*\|\.+\|\.*\|\.*\|\.*\] \S+ of 1GiB", r"^ +70 +85",
                      r"^Queue  2 of 50: .*normal 2/50", r"^w\d+ +\S+ +256MiB .* busy .* puppet$", rf"^{waiting[0]} +high .*other",
                      r"^EVENTS$", r"^q quit   s sort: memory   p pause$"):
            self.assertRegex(text, re.compile(words, re.MULTILINE))

        for rows, columns in ((12, 40), (3, 10), (24, 60), (1, 1), (50, 200)):
            screen.seen = len(screen.said)
            screen.resize(rows, columns)
            os.kill(screen.process.pid, signal.SIGWINCH)  # to the foreground group of a terminal that changes, too
            self.assert_fits(wait_until(screen.frame, "it draws anew"), rows, columns)
        self.assertEqual(len(screen.wait_for("sort: memory")), 50)

        screen.press(b"s")
        screen.wait_for("sort: priority")
        screen.press(b"\x1b[C\x1bOs\x1b[1;5q")  # arrows and the like mean nothing, whatever letter ends them
        screen.press(b"p")
        screen.wait_for("PAUSED.*")
        gate.open()
        for task in (first, *waiting):
            daemon.wait_state(task, "completed")
        time.sleep(1.2 * min(harness.PATIENCE, 2))  # longer than a round: what is measured is that nothing changes
        self.assertTrue(any(first in line for line in screen.frame()))
        screen.press(b"p")
        screen.wait_for("completed in")
        screen.press(b"q")
        self.assertEqual(screen.end(), 0)
        self.assert_given_back(screen)

    def test_signals_give_the_terminal_back(self):
        daemon = self.daemon(settings())
        screens = [self.top(daemon) for _ in range(4)]
        for screen in screens:
            screen.wait_for("q quit")
        screens[0].press(b"\x03")  # Ctrl-C
        screens[1].process.send_signal(signal.SIGTERM)
        screens[2].process.send_signal(signal.SIGHUP)
        screens[3].press(b"\x1c")  # Ctrl-\
        for screen in screens:
            self.assertEqual(screen.end(), 0)
            self.assert_given_back(screen)

    def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(self):
        screen = self.top(self.daemon(settings()))
        screen.wait_for("q quit")
        screen.press(b"\x1a")

        def is_stopped():
            with open(f"/proc/{screen.process.pid}/stat", encoding="ascii") as file:
                return file.read().rsplit(")", 1)[1].split()[0] == "T"

        wait_until(is_stopped, "it stands still")
        self.assertEqual(termios.tcgetattr(screen.slave), screen.before)
        wait_until(lambda: GIVE_BACK in screen.said, "the screen is given back")
        screen.seen = len(screen.said)
        screen.process.send_signal(signal.SIGCONT)
        screen.wait_for("q quit")
        screen.press(b"q")
        self.assertEqual(screen.end(), 0)
        self.assert_given_back(screen)

    def test_it_survives_the_end_of_the_supervisor_and_says_so(self):
        for paused, end in ((False, signal.SIGKILL), (True, signal.SIGTERM)):
            daemon = self.daemon(settings())
            screen = self.top(daemon)
            screen.wait_for("q quit")
            if paused:
                screen.press(b"p")
                screen.wait_for("PAUSED")
            os.kill(daemon.pid, end)
            self.assertEqual(screen.end(), 6)
            self.assert_given_back(screen)
            self.assertRegex(screen.said.split(GIVE_BACK)[-1].decode(), "^(\x1b[^k]*)?kurultai: top: .*" + re.escape(daemon.socket))

    def test_without_a_supervisor_the_terminal_is_left_alone(self):
        daemon = self.daemon(settings())
        daemon.terminate()
        screen = self.top(daemon)
        self.assertEqual(screen.end(), 6)
        self.assertNotIn(TAKE_OVER, screen.said)
        self.assertIn(b"no supervisor at", screen.said)

    def test_one_frame(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done()")
        for args in ((), ("--once",)):
            frame = client(daemon, "top", *args)
            self.assertEqual((frame.returncode, frame.stderr), (0, ""))
            self.assertNotIn("\x1b", frame.stdout)
            self.assertRegex(frame.stdout, r"(?s)^kurultai .*\nMemory \[.*\nQueue  0 of 50.*\nWORKER .*\nEVENTS\n.*completed in")
        screen = self.top(daemon, "--once")
        self.assertEqual(screen.end(), 0)
        self.assertIn(b"\x1b[32m", screen.said)
        self.assertNotIn(TAKE_OVER, screen.said)
        plain = self.top(daemon, NO_COLOR="1")
        plain.wait_for("q quit")
        plain.press(b"q")
        self.assertEqual(plain.end(), 0)
        self.assertNotRegex(plain.said.decode(), COLOUR)
        dumb = self.top(daemon, TERM="dumb")
        self.assertEqual(dumb.end(), 0)
        self.assertNotIn(b"\x1b", dumb.said)

    @unittest.skipIf(api.jsonschema is None, "python3-jsonschema is not installed")
    def test_json_is_made_of_the_interfaces_own_objects(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        task_id = daemon.start("puppet", gate.code())
        daemon.wait_state(task_id, "running")
        snapshot = json.loads(client(daemon, "top", "--json").stdout)
        self.assertEqual(set(snapshot), {"health", "workers", "queue", "tasks", "events"})
        self.assertEqual([task["taskId"] for task in snapshot["tasks"]], [task_id])
        self.assertIn("taskStarted", [event["type"] for event in snapshot["events"]])
        with open(api.FILE, encoding="utf-8") as file:
            document = api.Document(file.read())
        kind = {"Content-Type": "application/json"}
        document.check("GET", "/health", 200, kind, json.dumps(snapshot["health"]))
        document.check("GET", "/v1/workers", 200, kind, json.dumps({"workers": snapshot["workers"]}))
        document.check("GET", "/v1/queue", 200, kind, json.dumps(snapshot["queue"]))
        document.check("GET", "/v1/tasks", 200, kind, json.dumps({"tasks": snapshot["tasks"], "next": None}))
        gate.open()


if __name__ == "__main__":
    unittest.main()
