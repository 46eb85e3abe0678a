"""kurultai-worker makes a working place: secrets, a home, a /tmp, a sandbox; here by hand and, where it can be, without root."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

from worker_process import NOBODY, PATIENCE, WORKER, WorkerTest, needs_root

FILL = "dd if=/dev/zero of=/tmp/x bs=64k count=64 2>&1; umount /tmp 2>&1; unshare -Urm umount /tmp 2>&1; ls /tmp"


class Place(WorkerTest):
    def place(self, *levels):
        return os.path.join(self.scratch.name, "places", "1", *levels)

    def test_a_home_is_new_and_leads_xdg(self):
        script = 'echo "$HOME $XDG_DATA_HOME $(stat -c %a "$HOME")"'
        home = self.place("w1", "home")
        arguments = ("--place", self.place("w1"), "--home", "private", "--", "sh", "-c", script)
        done = self.run_worker(*arguments)
        self.assertEqual((done.stdout, done.stderr), (f"{home} {home}/.local/share 700\n", ""))
        self.assertEqual(stat.S_IMODE(os.stat(self.place("w1")).st_mode), 0o711)
        again = self.run_worker(*arguments)
        self.assertEqual((again.stderr, again.returncode), (f"kurultai-worker: make {home}: File exists\n", 125))

    def test_a_place_is_not_made_through_a_link(self):
        os.makedirs(self.path("elsewhere"))
        os.symlink(self.path("elsewhere"), self.path("places"))
        done = self.run_worker("--place", self.place("w1"), "--home", "private", "--", "true")
        self.assertEqual((done.stderr, done.returncode), (f"kurultai-worker: {self.path('places')} is not ours\n", 125))
        self.assertEqual(os.listdir(self.path("elsewhere")), [])

    @needs_root
    def test_a_place_is_not_made_in_somebody_elses_directory(self):
        os.mkdir(self.path("places"))
        os.chown(self.path("places"), NOBODY, NOBODY)
        done = self.run_worker("--place", self.place("w1"), "--home", "private", "--", "true")
        self.assertEqual((done.stderr, done.returncode), (f"kurultai-worker: {self.path('places')} is not ours\n", 125))

    def test_a_tmp_that_is_not_mounted_is_a_directory(self):
        done = self.run_worker("--place", self.place("w1"), "--tmp", "65536", "--", "sh", "-c", "echo $TMPDIR; stat -c %a $TMPDIR")
        self.assertEqual(done.stdout, self.place("w1", "tmp") + "\n700\n")

    def test_secrets_are_read_once_and_without_their_newline(self):
        with open(self.path("key"), "w") as file:
            file.write("a b\n\n")
        done = self.run_worker("--secret", f"KEY={self.path('key')}", "--", "sh", "-c", 'printf "%s." "$KEY"')
        self.assertEqual(done.stdout, "a b\n.")
        done = self.run_worker("--secret", f"KEY={self.path('none')}", "--", "true")
        self.assertEqual((done.stderr, done.returncode),
                         (f"kurultai-worker: env KEY: open {self.path('none')}: No such file or directory\n", 125))
        done = self.run_worker("--secret", "KEY", "--", "true")
        self.assertEqual(done.returncode, 125)


class WithoutRoot(WorkerTest):
    """A supervisor that is not root has user namespaces, if the machine allows them."""

    def as_nobody(self, *arguments):
        if os.geteuid() != 0:
            return self.run_worker(*arguments)
        # A directory of root's may be on the way to the program.
        directory = tempfile.mkdtemp(dir="/var/tmp")
        self.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o755)
        program = shutil.copy(WORKER, directory)
        return subprocess.run([program, *arguments], env=self.environment, capture_output=True, text=True, timeout=PATIENCE,
                              user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", check=False)

    def need(self, question, answer):
        found = self.as_nobody(question).stdout.strip()
        if found != answer:
            print(f"SKIPPED, NO USER NAMESPACES HERE: {self.id()}: {found}", file=sys.stderr)
            self.skipTest(found)

    def test_tmp_is_limited_and_stays_where_it_is(self):
        self.need("--try-tmp", "userns")
        done = self.as_nobody("--tmp", "1048576", "--tmp-by", "userns", "--", "sh", "-c", FILL)
        self.assertIn("No space left on device", done.stdout)
        self.assertTrue(done.stdout.endswith("\nx\n"), done)

    def test_a_sandbox_leaves_no_descriptor_and_no_ignored_signal(self):
        self.need("--try-sandbox", "works")
        script = "ls /proc/self/fd | wc -l; grep SigIgn /proc/self/status; touch /var/tmp/kt-x 2>&1"
        done = self.as_nobody("--sandbox", "none", "--", "sh", "-c", script)
        count, ignored, touched = done.stdout.splitlines()
        self.assertEqual((int(count), ignored.split()[1]), (4, "0000000000000000"), done)  # the fourth is the directory
        self.assertIn("Read-only file system", touched)

    def test_a_command_that_is_not_there_is_127_in_a_sandbox_too(self):
        self.need("--try-sandbox", "works")
        done = self.as_nobody("--sandbox", "none", "--", "no-such-command")
        self.assertEqual((done.stderr, done.returncode), ("kurultai-worker: exec no-such-command: No such file or directory\n", 127))


if __name__ == "__main__":
    unittest.main()
