#!/usr/bin/env python3
"""The client and its standard streams: closed, full, empty. An error is one line; nothing hangs and nothing is left."""
import os
import subprocess
import tempfile
import unittest

import harness

KURULTAI = os.path.join(harness.BIN, "kurultai")


def last_line(done):
    """Of stderr. Before it may stand that there is no cgroup to be had."""
    return done.stderr.splitlines()[-1]


class Streams(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="kt-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def shell(self, script, **kw):
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=60 * harness.PATIENCE,
                              env={**os.environ, "TMPDIR": self.dir, "KURULTAI": KURULTAI}, **kw)
        self.assertEqual(os.listdir(self.dir), [])
        return done

    def test_a_closed_stdin_is_an_error_unless_it_is_not_needed(self):
        done = self.shell('"$KURULTAI" run -- echo <&-')
        self.assertEqual((done.returncode, last_line(done)), (255, "kurultai: run: read stdin: Bad file descriptor"))
        done = self.shell('"$KURULTAI" run -- echo ::: a <&-')
        self.assertEqual((done.returncode, done.stdout), (0, "a\n"))

    def test_a_closed_or_full_stdout_is_an_error_of_the_run(self):
        done = self.shell('"$KURULTAI" run -- echo ::: a >&-')
        self.assertEqual((done.returncode, last_line(done)), (255, "kurultai: run: stdout: Bad file descriptor"))
        done = self.shell('"$KURULTAI" run -- echo ::: a >/dev/full')
        self.assertEqual((done.returncode, last_line(done)), (255, "kurultai: run: stdout: No space left on device"))

    def test_a_reader_that_goes_away_ends_the_run(self):
        done = self.shell('"$KURULTAI" run -- echo ::: $(seq 500) | head -n 1')
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertEqual(last_line(done), "kurultai: run: stdout: Broken pipe")

    def test_a_closed_stderr_stops_nothing(self):
        done = self.shell('"$KURULTAI" run -- echo ::: a b 2>&-')
        self.assertEqual((done.returncode, sorted(done.stdout.split())), (0, ["a", "b"]))

    def test_without_arguments_it_says_that_nothing_was_run(self):
        for script in ('"$KURULTAI" run -- echo </dev/null', '"$KURULTAI" run -- echo :::'):
            done = self.shell(script)
            self.assertEqual((done.returncode, done.stdout), (0, ""))
            self.assertEqual(last_line(done), "kurultai: no arguments were given, so nothing was run")

    def test_a_supervisor_without_streams_does_not_write_into_its_files(self):
        script = """
            "$(dirname "$KURULTAI")/kurultaid" --socket "$PLACE/s" --state-dir "$PLACE/state" --listen none --log-level debug <&- >&- 2>&- &
            for _ in $(seq 200); do "$KURULTAI" --socket "$PLACE/s" status >/dev/null 2>&1 && break; sleep 0.05; done
            wc -l < "$PLACE/state/lock"; wc -l < "$PLACE/state/instance"
            kill $!; wait $!
        """
        with tempfile.TemporaryDirectory(prefix="kt-") as place:
            done = self.shell(f"PLACE={place}\n{script}", cwd=place)
        self.assertEqual((done.returncode, done.stdout.split()), (0, ["1", "1"]), done.stderr)


if __name__ == "__main__":
    unittest.main()
