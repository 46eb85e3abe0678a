#!/usr/bin/env python3
"""`kurultai run` with the real binaries: arguments, parallelism, outputs, exit status, Ctrl-C, the terminal, and its own death.

Commands wait at a gate, a FIFO of which each takes one line: what runs at a moment is decided here and never by luck.
"""
import fcntl
import glob
import json
import os
import re
import secrets
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest

import harness
import level
from harness import PATIENCE, PYTHON, group_dirs, marked_processes, wait_until
from level import at_each_level

KURULTAI = os.path.join(harness.BIN, "kurultai")
GONE_WITHIN = 3.0
# $0 is the test's directory; the log has a "+" of each command that has begun and a "-" of each that goes on.
AT_THE_GATE = 'echo + >> "$0/log"; read _ < "$0/gate"; echo - >> "$0/log"; echo "$1"'
LEAK = """
import sys
if sys.argv[1] == "leak":
    held = []
    while True: held.append(b"x" * 1048576)
print(sys.argv[1])
"""


class Run(unittest.TestCase):
    """`kurultai run` with a directory of its own for what it keeps: empty at the end, with no process and no group left."""

    level = None

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="kt-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        self.tmp = os.path.join(self.dir, "tmp")
        os.mkdir(self.tmp)

    def environment(self, **more):
        levels = {level.PARENT_VARIABLE: level.NO_SUCH_PARENT} if self.level == "rlimit" else {}
        return {**os.environ, "TMPDIR": self.tmp, **levels, **more}

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def text(self, *names):
        with open(self.path(*names), encoding="utf-8") as file:
            return file.read()

    def run_(self, *arguments, lines=None, **environment):
        """The finished run; `lines` is its stdin. Nothing of it is left."""
        done = subprocess.run([KURULTAI, "run", *arguments], input=lines or b"", capture_output=True, check=False,
                              timeout=90 * PATIENCE, env=self.environment(**environment), cwd=self.dir)
        done.stdout, done.stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        self.assertEqual(os.listdir(self.tmp), [])
        return done

    def shell(self, script):
        """Kurultai and its commands in a pipeline of sh, $K being the program."""
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=60 * PATIENCE,
                              env=self.environment(K=KURULTAI), cwd=self.dir, stdin=subprocess.DEVNULL)

    def start(self, *arguments, **options):
        process = subprocess.Popen([KURULTAI, "run", *arguments], env=self.environment(), cwd=self.dir,
                                   **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def gate(self):
        """Commands that read a line of `gate` go on when `open` has written it."""
        os.mkfifo(self.path("gate"))
        descriptor = os.open(self.path("gate"), os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        return lambda count: os.write(descriptor, b"\n" * count)

    def log(self, mark):
        path = self.path("log")
        return self.text("log").count(mark) if os.path.exists(path) else 0

    def wait_log(self, mark, count):
        wait_until(lambda: self.log(mark) >= count, f"{count} times {mark} in the log", 30)

    def private(self, *arguments):
        """What the private supervisor answers to a command of the client; None while there is none."""
        for path in glob.glob(os.path.join(self.tmp, "kurultai-run-*", "s")):
            done = subprocess.run([KURULTAI, "--socket", path, *arguments, "--json"], capture_output=True, text=True, check=False,
                                  timeout=20 * PATIENCE)
            if done.returncode == 0:
                return json.loads(done.stdout)
        return None

    def instance(self):
        paths = glob.glob(os.path.join(self.tmp, "kurultai-run-*", "instance"))
        if not paths:
            return None
        with open(paths[0], encoding="ascii") as file:
            return file.read().strip() or None

    def assert_gone(self, instance, mark=None, within=GONE_WITHIN):
        wait_until(lambda: not marked_processes(instance) and not group_dirs(instance) and not os.listdir(self.tmp) and
                   not (mark and level.with_word(mark)), f"all of {instance} is gone: {os.listdir(self.tmp)}", within)


class Arguments(Run):
    def test_they_replace_the_braces_wherever_they_stand(self):
        done = self.run_("-k", "--", "echo", "{}-x{}y", "{}", ":::", "a", "b c", "")
        self.assertEqual((done.returncode, done.stdout), (0, "a-xay a\nb c-xb cy b c\n-xy \n"))

    def test_without_braces_they_are_appended(self):
        done = self.run_("-k", "echo", "x", ":::", "a", "b")
        self.assertEqual((done.returncode, done.stdout), (0, "x a\nx b\n"))

    def test_they_are_what_they_are_and_no_shell_reads_them(self):
        words = ["--jobs", "--", "-h", "$HOME", "`touch x`", "; touch x", "{}", "{a}", "{{", "*", "'\"\\", "ü€😀", "a\nb", "\t"]
        done = self.run_("-k", "--", PYTHON, "-c", "import sys,json; print(json.dumps(sys.argv[1:]))", ":::", *words)
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()], [[word] for word in words])
        self.assertFalse(os.path.exists(self.path("x")))

    def test_lines_of_stdin(self):
        done = self.run_("-k", "--", "echo", "<{}>", lines="a\nb c\n\n:::\nü\nlast".encode())
        self.assertEqual((done.returncode, done.stdout), (0, "<a>\n<b c>\n<>\n<:::>\n<ü>\n<last>\n"))

    def test_lines_are_run_as_they_come(self):
        run = self.start("--", "echo", stdin=subprocess.PIPE)
        for line in (b"one\n", b"two\n"):
            run.stdin.write(line)
            run.stdin.flush()
            self.assertEqual(run.stdout.readline(), line)
        run.stdin.close()
        self.assertEqual(run.wait(20 * PATIENCE), 0)

    def test_a_line_that_can_be_no_argument_ends_the_run_and_is_named(self):
        for line, why in ((b"a\0b", "line 2 of the input holds a NUL byte"), (b"\xff", "line 2 of the input is not UTF-8"),
                          (b"x" * 140000, "line 2 of the input is longer than 128KiB")):
            with self.subTest(why):
                done = self.run_("--", "true", lines=b"good\n" + line + b"\n")
                self.assertEqual((done.returncode, done.stderr.splitlines()[-1]), (255, f"kurultai: run: {why}"))

    def test_a_command_runs_here_with_our_environment_and_no_input(self):
        with open(self.path("input"), "w", encoding="ascii") as file:
            file.write("not for it\n")
        done = self.shell('MARK=ours "$K" run -- sh -c \'cat; pwd; echo "$MARK $0"\' ::: a < input')
        self.assertEqual((done.returncode, done.stdout), (0, f"{self.dir}\nours a\n"))

    def test_ten_thousand_each_once_and_in_order(self):
        run = self.start("-k", "--jobs", "4", "--memory", "64MiB", "--", "echo", ":::", *map(str, range(10000)))
        peak = 0
        out = []
        for line in run.stdout:
            out.append(int(line))
            if len(out) % 1000 == 0:
                peak = resident_peak(run.pid) or peak
        self.assertEqual((run.wait(60 * PATIENCE), out), (0, list(range(10000))))
        if not harness.is_instrumented():
            self.assertLess(peak, 32 * harness.MIB)


def resident_peak(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) * 1024
    except (OSError, TypeError):
        return None


class Parallel(Run):
    def test_so_many_at_once_and_not_more(self):
        open_gate = self.gate()
        run = self.start("--jobs", "3", "--memory", "64MiB", "--", "sh", "-c", AT_THE_GATE, self.dir, ":::", *"abcdefg")
        self.wait_log("+", 3)
        wait_until(lambda: self.private("queue")["depth"] == 4, "the others wait", 20)
        self.assertEqual(len([w for w in self.private("workers")["workers"] if w["state"] == "busy"]), 3)
        open_gate(1)
        self.wait_log("+", 4)
        self.assertEqual(self.log("-"), 1)
        open_gate(6)
        out, _ = run.communicate(timeout=30 * PATIENCE)
        self.assertEqual((run.returncode, sorted(out.decode().split())), (0, list("abcdefg")))
        at_once = [0]
        for mark in self.text("log").split():
            at_once.append(at_once[-1] + (1 if mark == "+" else -1))
        self.assertEqual(max(at_once), 3)

    def test_two_are_the_default(self):
        self.gate()
        run = self.start("--", "sh", "-c", AT_THE_GATE, self.dir, ":::", *"abc")
        self.wait_log("+", 2)
        wait_until(lambda: self.private("queue")["depth"] == 1, "the third waits", 20)
        self.assertEqual(self.log("+"), 2)
        run.terminate()
        self.assertEqual(run.wait(20 * PATIENCE), 130)
        self.assertEqual(os.listdir(self.tmp), [])

    # The first command ends only when the last has.
    FIRST_LAST = 'if [ "$1" = a ]; then read _ < "$0/gate"; elif [ "$1" = d ]; then echo > "$0/gate"; fi; echo "$1"; echo "err $1" >&2'

    def test_outputs_come_as_commands_end(self):
        self.gate()
        done = self.run_("--", "sh", "-c", self.FIRST_LAST, self.dir, ":::", *"abcd")
        self.assertEqual((done.returncode, sorted(done.stdout.split())), (0, list("abcd")))
        self.assertEqual(done.stdout.split()[:2], ["b", "c"])

    def test_outputs_are_kept_in_order(self):
        self.gate()
        done = self.run_("--keep-order", "--", "sh", "-c", self.FIRST_LAST, self.dir, ":::", *"abcd")
        self.assertEqual((done.returncode, done.stdout.split()), (0, list("abcd")))
        self.assertEqual([line for line in done.stderr.splitlines() if line.startswith("err")], [f"err {c}" for c in "abcd"])

    def test_in_order_each_is_shown_as_soon_as_it_can_be(self):
        open_gate = self.gate()
        run = self.start("-k", "--", "sh", "-c", 'if [ "$1" = b ]; then read _ < "$0/gate"; fi; echo "$1"', self.dir, ":::", *"abc")
        self.assertEqual(run.stdout.readline(), b"a\n")
        open_gate(1)
        self.assertEqual((run.stdout.read(), run.wait(20 * PATIENCE)), (b"b\nc\n", 0))


class Results(Run):
    SCRIPT = 'echo "out $0"; echo "err $0" >&2; exit $0'

    def test_stdout_stderr_and_task_are_kept_and_still_shown(self):
        for number, order in enumerate(([], ["-k"])):
            with self.subTest(order):
                done = self.run_(*order, "--results", f"deep/{number}", "--", "sh", "-c", self.SCRIPT, ":::", "0", "3")
                self.assertEqual((done.returncode, sorted(done.stdout.splitlines())), (1, ["out 0", "out 3"]))
                self.assertLessEqual({"err 0", "err 3"}, set(done.stderr.splitlines()))
                kept = self.path("deep", str(number))
                self.assertEqual(sorted(os.listdir(kept)), ["1", "2"])
                for folder, argument in (("1", "0"), ("2", "3")):
                    self.assertEqual(sorted(os.listdir(os.path.join(kept, folder))), ["stderr", "stdout", "task.json"])
                    self.assertEqual((self.text(kept, folder, "stdout"), self.text(kept, folder, "stderr")),
                                     (f"out {argument}\n", f"err {argument}\n"))
                good, bad = (json.loads(self.text(kept, folder, "task.json")) for folder in ("1", "2"))
                self.assertEqual((good["state"], good["error"], good["attempt"], good["priority"]), ("completed", None, 1, "normal"))
                self.assertEqual((bad["state"], bad["error"]["reason"], bad["error"]["exitCode"]), ("failed", "exit_code", 3))

    def test_large_outputs_are_whole(self):
        done = self.run_("--results", "r", "--", "sh", "-c", 'head -c 300000 /dev/zero | tr "\\0" "$0"', ":::", "x")
        self.assertEqual((done.returncode, done.stdout), (0, "x" * 300000))
        self.assertEqual(self.text("r", "1", "stdout"), done.stdout)

    def test_a_directory_that_cannot_be_made_is_an_error_before_anything_runs(self):
        with open(self.path("file"), "w", encoding="ascii"):
            pass
        for where in ("file", "file/below"):
            with self.subTest(where):
                done = self.run_("--results", where, "--", "touch", self.path("ran"), ":::", "a")
                self.assertEqual((done.returncode, done.stdout), (255, ""))
                self.assertEqual(done.stderr, f"kurultai: run: --results {where}: Not a directory; name a directory that can be made\n")
        self.assertFalse(os.path.exists(self.path("ran")))

    def test_a_directory_that_cannot_be_written_ends_the_run(self):
        os.makedirs(self.path("r"))
        with open(self.path("r", "1"), "w", encoding="ascii"):
            pass
        done = self.run_("--results", "r", "--", "echo", ":::", "a", "b")
        self.assertEqual((done.returncode, done.stderr.splitlines()[-1]), (255, "kurultai: run: r/1/stdout: Not a directory"))


class Status(Run):
    def test_the_number_of_failed(self):
        for failed, status in ((0, 0), (3, 3), (100, 100), (101, 101), (103, 101)):
            with self.subTest(failed):
                done = self.run_("--", "sh", "-c", 'exit "$0"', ":::", *["0"] * 2, *["9"] * failed)
                self.assertEqual(done.returncode, status)
                self.assertEqual(done.stderr.count("failed: exit_code: exit status 9\n"), failed)

    def test_a_command_that_dies_of_a_signal_has_failed(self):
        done = self.run_("--", "sh", "-c", 'kill -"$0" $$', ":::", "KILL", "SEGV")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count("failed: signal: "), 2, done.stderr)

    def test_a_command_that_does_not_exist(self):
        done = self.run_("-k", "--", "no-such-command", "{}", ":::", "a", "b")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual([line for line in done.stderr.splitlines() if "no-such" in line],
                         [f"kurultai: 'no-such-command {c}' failed: spawn_failed: exec no-such-command: No such file or directory"
                          for c in "ab"])
        done = self.run_("--", self.dir, ":::", "a")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"exec {self.dir}: Permission denied", done.stderr)

    def test_a_failure_names_its_argument_however_long_the_command_is(self):
        done = self.run_("--", "sh", "-c", "exit 1 # " + "word " * 50, "{}", ":::", "this-one")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.splitlines()[-1], r"^kurultai: 'sh -c exit 1 .*… this-one' failed: ")

    def test_its_own_errors_are_255_and_one_line(self):
        cases = {
            ("--", ":::", "a"): "no command given",
            (): "no command given",
            ("--", "echo", ":::", "a", ":::", "b"): "::: was given twice",
            ("--budget", "x", "--", "true"): "--budget: \"x\" is not a size",
            ("--budget", "16MiB", "--", "true"): "--budget 16MiB leaves no room",
            ("--memory", "2GiB", "--", "true"): "--memory 2GiB is more than --budget 1GiB",
            ("--memory", "0", "--", "true"): "--memory",
            ("--jobs", "0", "--", "true"): "--jobs",
            ("--retries", "-1", "--", "true"): "--retries",
            ("--timeout", "0s", "--", "true"): "--timeout",
            ("--priority", "urgent", "--", "true"): "'urgent' is none of critical, high, normal, low, heartbeat",
            ("--frobnicate", "--", "true"): "--frobnicate",
        }
        for arguments, text in cases.items():
            with self.subTest(arguments):
                done = self.run_(*arguments, lines=b"a\n")
                self.assertEqual((done.returncode, done.stdout, len(done.stderr.splitlines())), (255, "", 1), done.stderr)
                self.assertTrue(done.stderr.startswith("kurultai: "), done.stderr)
                self.assertIn(text, done.stderr)

    def test_without_a_supervisor_or_a_place_for_it_it_says_so(self):
        alone = self.path("alone")
        os.mkdir(alone)
        shutil.copy(KURULTAI, alone)
        done = subprocess.run([os.path.join(alone, "kurultai"), "run", "--", "true", ":::", "a"], capture_output=True, text=True, check=False,
                              env=self.environment(PATH=alone), timeout=30 * PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (255, "kurultai: run: kurultaid is neither beside this program nor in PATH\n"))
        self.assertEqual(os.listdir(self.tmp), [])
        missing = self.path("missing")
        done = self.run_("--", "true", ":::", "a", TMPDIR=missing)
        self.assertEqual((done.returncode, done.stderr),
                         (255, f"kurultai: run: make a directory in {missing}: No such file or directory\n"))


class Options(Run):
    def test_a_failed_command_is_tried_again(self):
        script = 'echo x >> "$0/$1"; [ $(wc -l < "$0/$1") -ge 3 ]'
        done = self.run_("--retries", "2", "--results", "r", "--", "sh", "-c", script, self.dir, ":::", "tries")
        self.assertEqual((done.returncode, done.stderr.count("failed")), (0, 0), done.stderr)
        self.assertEqual(json.loads(self.text("r", "1", "task.json"))["attempt"], 3)
        done = self.run_("--retries", "1", "--", "sh", "-c", script, self.dir, ":::", "fewer")
        self.assertEqual((done.returncode, self.text("fewer")), (1, "x\nx\n"))

    def test_a_command_may_take_so_long(self):
        done = self.run_("--timeout", "300ms", "--results", "r", "--", "sleep", ":::", "600", "0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("kurultai: 'sleep 600' failed: timeout: ran longer than its timeout of 300ms\n", done.stderr)
        self.assertEqual(json.loads(self.text("r", "1", "task.json"))["error"]["reason"], "timeout")

    def test_each_priority(self):
        for priority in ("critical", "heartbeat"):
            with self.subTest(priority):
                done = self.run_("--priority", priority, "--results", priority, "--", "true", ":::", "a")
                self.assertEqual(done.returncode, 0)
                self.assertEqual(json.loads(self.text(priority, "1", "task.json"))["priority"], priority)


@at_each_level
class Memory(Run):
    def test_a_leak_dies_of_its_cap_and_says_so_while_the_others_complete(self):
        done = self.run_("-k", "--memory", "64MiB", "--results", "r", "--", PYTHON, "-c", LEAK, ":::", "a", "leak", "b", "c")
        self.assertEqual((done.returncode, done.stdout), (1, "a\nb\nc\n"), done.stderr)
        error = json.loads(self.text("r", "2", "task.json"))["error"]
        if self.level == "rlimit":  # there malloc fails, and Python says what that means
            self.assertIn("no memory cgroup can be written here", done.stderr.splitlines()[0])
            self.assertIn("MemoryError", self.text("r", "2", "stderr"))
            return
        self.assertEqual(error["reason"], "memory_cap")
        self.assertRegex(done.stderr.splitlines()[-1], r"leak' failed: memory_cap: exceeded its 64MiB cap")


class Terminal(Run):
    """With a controlling terminal of its own, in which Ctrl-C is typed."""

    def on_terminal(self, *arguments, columns=120, **options):
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        if options.get("stdout") == "same":
            options["stdout"] = slave
        run = self.start(*arguments, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
                         **{"stdin": slave, "stderr": slave, **options})
        os.close(slave)
        run.screen = Screen(master)
        self.addCleanup(run.screen.close)
        return run

    def waiting(self, *arguments, jobs=2, **options):
        """A run of five commands that wait at the gate, two of them already there."""
        self.open_gate = self.gate()
        run = self.on_terminal("--jobs", str(jobs), "--memory", "64MiB", *arguments, "--", "sh", "-c", AT_THE_GATE, self.dir,
                               ":::", *"abcde", **options)
        self.wait_log("+", jobs)
        run.screen.wait(rf"{jobs} running")
        return run

    def finish(self, run):
        out = run.stdout.read().decode()
        return run.wait(20 * PATIENCE), out

    def test_the_first_ctrl_c_lets_running_commands_finish(self):
        run = self.waiting()
        run.screen.type(b"\x03")
        run.screen.wait("letting 2 running commands finish; press Ctrl-C again to end at once")
        self.open_gate(9)
        status, out = self.finish(run)
        self.assertEqual((status, sorted(out.split()), self.log("+")), (130, ["a", "b"], 2))
        run.screen.wait(r"2 done, 0 failed, 3 not run in ")
        self.assertEqual(os.listdir(self.tmp), [])

    def test_the_second_ends_at_once(self):
        run = self.waiting()
        instance = self.instance()
        run.screen.type(b"\x03")
        run.screen.wait("press Ctrl-C again")
        self.assertIsNone(run.poll())
        run.screen.type(b"\x03")
        self.assertEqual(self.finish(run), (130, ""))
        run.screen.wait(r"0 done, 0 failed, 5 not run in ")
        self.assert_gone(instance)

    def test_what_failed_meanwhile_decides_over_the_status(self):
        open_gate = self.gate()
        run = self.on_terminal("--", "sh", "-c", AT_THE_GATE + "; exit 1", self.dir, ":::", *"abc")
        self.wait_log("+", 2)
        run.screen.wait("2 running")
        run.screen.type(b"\x03")
        run.screen.wait("letting 2 running")
        open_gate(9)
        self.assertEqual(self.finish(run)[0], 2)
        run.screen.wait(r"0 done, 2 failed, 1 not run in ")

    def test_sigterm_ends_at_once(self):
        run = self.waiting()
        instance = self.instance()
        run.terminate()
        self.assertEqual(self.finish(run), (130, ""))
        self.assert_gone(instance)

    def test_ctrl_c_while_lines_are_awaited(self):
        source, sink = os.pipe()
        run = self.on_terminal("--", "echo", stdin=source)
        os.close(source)
        os.write(sink, b"a\n")
        self.assertEqual(run.stdout.readline(), b"a\n")
        run.screen.type(b"\x03")
        self.assertEqual(self.finish(run), (130, ""))
        os.close(sink)

    def test_the_progress_line(self):
        open_gate = self.gate()
        script = 'case "$1" in ok) exit 0;; bad) exit 1;; esac; ' + AT_THE_GATE
        run = self.on_terminal("--budget", "1GiB", "--memory", "64MiB", "--", "sh", "-c", script, self.dir, ":::", "ok", "bad", *"abcd")
        run.screen.wait(r"\r\x1b\[K1 done, 2 running, 2 queued, 1 failed \| memory [0-9.]+[KM]iB of 1GiB \| ~[0-9a-z.]+ left")
        open_gate(9)
        status, out = self.finish(run)
        self.assertEqual((status, sorted(out.split())), (1, list("abcd")))
        run.screen.wait(r"\r\x1b\[Kkurultai: 5 done, 1 failed in ")
        self.assertRegex(run.screen.text(), r"\r\x1b\[Kkurultai: 'sh .*… bad' failed: exit_code: exit status 1\r\n")

    def test_the_line_fits_a_narrow_terminal(self):
        run = self.waiting(columns=30)
        self.open_gate(9)
        self.assertEqual(self.finish(run)[0], 0)
        drawn = re.findall(r"\x1b\[K(\d+ done[^\r]*)", run.screen.text())
        self.assertTrue(drawn)
        self.assertLessEqual(max(map(len, drawn)), 29, drawn)

    def test_the_line_does_not_hide_what_ended_without_a_newline(self):
        """Where outputs come to the same terminal."""
        open_gate = self.gate()
        script = 'printf "out-$1"; [ "$1" = a ] || read _ < "$0/gate"'
        run = self.on_terminal("-k", "--jobs", "1", "--", "sh", "-c", script, self.dir, ":::", *"ab", stdout="same")
        run.screen.wait(r"out-a\r\n1 done, 1 running")
        open_gate(1)
        self.assertEqual(run.wait(20 * PATIENCE), 0)
        run.screen.wait(r"\r\x1b\[Kout-b\r\nkurultai: 2 done, 0 failed in ")

    def test_without_arguments_the_command_runs_once(self):
        run = self.on_terminal("--", "echo", "once")
        self.assertEqual(self.finish(run), (0, "once\n"))

    def test_without_a_terminal_there_is_no_line(self):
        open_gate = self.gate()
        run = self.start("--", "sh", "-c", AT_THE_GATE, self.dir, ":::", *"abc")
        self.wait_log("+", 2)
        open_gate(9)
        _, errors = run.communicate(timeout=30 * PATIENCE)
        lines = [line for line in errors.decode().splitlines() if "no memory cgroup can be written" not in line]
        self.assertEqual((run.returncode, lines), (0, []))


class Screen:
    """The other end of a terminal: everything that was written to it."""

    def __init__(self, master):
        self.master = master
        self.seen = bytearray()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        try:
            while data := os.read(self.master, 65536):
                self.seen += data
        except OSError:  # EIO: nobody has it open any more
            pass

    def close(self):
        self.reader.join(10 * PATIENCE)
        os.close(self.master)

    def type(self, keys):
        os.write(self.master, keys)

    def text(self):
        return bytes(self.seen).decode(errors="replace")

    def wait(self, pattern):
        wait_until(lambda: re.search(pattern, self.text()), f"the terminal shows {pattern}: {self.text()[-600:]!r}", 30)


@at_each_level
class Killed(Run):
    def busy(self):
        """A run whose two commands have left descendants in sessions of their own, without their mark and deaf to SIGTERM."""
        self.mark = "8" + str(secrets.randbelow(10**9)).zfill(9)
        sleep = f"sleep {self.mark}"
        script = f"""
            setsid {sleep} &
            (trap '' TERM HUP; env -i setsid {sleep}) > /dev/null 2>&1 &
            echo + >> "$0/log"
            {sleep}
        """
        run = self.start("--", "sh", "-c", script, self.dir, ":::", "a", "b", "c")
        self.wait_log("+", 2)
        wait_until(lambda: len(level.with_word(self.mark)) >= 6, "their descendants are there", 20)
        instance = self.instance()
        self.assertTrue(marked_processes(instance))
        return run, instance

    def test_nothing_is_left_of_a_killed_run(self):
        run, instance = self.busy()
        run.kill()
        self.assert_gone(instance, self.mark)

    def test_nothing_is_left_when_its_supervisor_is_killed(self):
        run, instance = self.busy()
        os.kill(self.private("status")["pid"], signal.SIGKILL)
        self.assert_gone(instance, self.mark)
        _, errors = run.communicate(timeout=20 * PATIENCE)
        self.assertEqual(run.returncode, 255)
        self.assertRegex(errors.decode().splitlines()[-1], "^kurultai: run: the private supervisor ended")

    def test_nothing_is_left_when_both_are_killed(self):
        run, instance = self.busy()
        supervisor = self.private("status")["pid"]
        os.kill(run.pid, signal.SIGSTOP)
        os.kill(supervisor, signal.SIGKILL)
        run.kill()
        self.assert_gone(instance, self.mark)

    def test_killed_while_it_starts(self):
        for what in ("", "lock", "instance", "s"):
            with self.subTest(what):
                run = self.start("--", "sleep", ":::", "600")
                deadline = time.monotonic() + 0.5 * PATIENCE
                while not glob.glob(os.path.join(self.tmp, "kurultai-run-*", what)) and time.monotonic() < deadline:
                    pass
                instance = self.instance()
                run.kill()
                run.wait()
                if instance:
                    self.assert_gone(instance)


class Readers(Run):
    def test_the_run_ends_when_nobody_reads_its_output(self):
        mark = "8" + str(secrets.randbelow(10**9)).zfill(9)
        run = self.start("--jobs", "3", "--", "sh", "-c", f'case "$1" in a) echo first;; b) read _ < "$0/gate"; echo more;; *) sleep {mark};; esac',
                         self.dir, ":::", *"abc")
        open_gate = self.gate()
        self.assertEqual(run.stdout.readline(), b"first\n")
        wait_until(lambda: level.with_word(mark), "the third is asleep", 20)
        run.stdout.close()
        open_gate(1)
        self.assertEqual(run.wait(20 * PATIENCE), 255)
        self.assertEqual(run.stderr.read().decode().splitlines()[-1], "kurultai: run: stdout: Broken pipe")
        self.assertEqual((os.listdir(self.tmp), level.with_word(mark)), ([], []))

    def test_head_gets_its_line(self):
        done = self.shell('"$K" run -k -- sh -c \'echo "$0"; head -c 200000 /dev/zero\' ::: a b c d | head -n 1')
        self.assertEqual((done.returncode, done.stdout), (0, "a\n"))
        self.assertEqual(done.stderr.splitlines()[-1], "kurultai: run: stdout: Broken pipe")
        self.assertEqual(os.listdir(self.tmp), [])


if __name__ == "__main__":
    unittest.main()
