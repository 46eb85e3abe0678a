"""kurultai-worker --become: what the agent finds itself in, and how failures to start it are told."""

import os
import resource
import shutil
import signal
import struct
import sys
import unittest

from worker_process import NOBODY, PATIENCE, WORKER, WorkerTest, needs_release_build, needs_root, read_available, wait_until

PYTHON = sys.executable


class Command(WorkerTest):
    def test_it_is_replaced_by_the_command_with_its_arguments(self):
        done = self.run_worker("--", "sh", "-c", 'echo "$1"; exit 3', "name", "a b")
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("a b\n", "", 3))

    def test_the_process_keeps_its_number(self):
        worker = self.start_worker("--become", "--", "sh", "-c", "echo $$")
        self.assertEqual(int(read_available(worker.stdout)), worker.pid)

    def test_stdin_and_environment_are_passed_on(self):
        done = self.run_worker("--", "sh", "-c", "cat; env", input="hello\n")
        self.assertTrue(done.stdout.startswith("hello\n"))
        self.assertIn(self.mark, done.stdout.splitlines())

    def test_a_signal_is_the_commands_own_end(self):
        self.assertEqual(self.run_worker("--", "sh", "-c", "kill -SEGV $$").returncode, -signal.SIGSEGV)

    def test_options_after_the_separator_belong_to_the_command(self):
        self.assertEqual(self.run_worker("--", "echo", "--uid", "--").stdout, "--uid --\n")


class Program(WorkerTest):
    @needs_release_build
    def test_it_is_static_and_small(self):
        with open(WORKER, "rb") as file:
            image = file.read()
        table, size, count = *struct.unpack_from("<Q", image, 32), *struct.unpack_from("<HH", image, 54)
        kinds = [struct.unpack_from("<I", image, table + number * size)[0] for number in range(count)]
        self.assertNotIn(3, kinds)  # PT_INTERP: the dynamic linker
        self.assertLess(len(image), 3 << 20)


class Failure(WorkerTest):
    def assert_fails(self, status, message, *arguments):
        done = self.run_worker(*arguments)
        self.assertEqual((done.stderr, done.returncode), (f"kurultai-worker: {message}\n", status))

    def test_a_command_that_does_not_exist_is_127(self):
        self.assert_fails(127, "exec no-such-command: No such file or directory", "--", "no-such-command")
        self.assert_fails(127, "exec /no/such: No such file or directory", "--", "/no/such")

    def test_a_command_that_is_not_executable_is_126(self):
        path = self.path("plain")
        with open(path, "w") as file:
            file.write("text")
        self.assert_fails(126, f"exec {path}: Permission denied", "--", path)
        self.assert_fails(126, "exec /: Permission denied", "--", "/")

    def test_a_missing_working_directory_is_125(self):
        self.assert_fails(125, "cwd /no/such: No such file or directory", "--cwd", "/no/such", "--", "true")

    def test_a_group_that_cannot_be_joined_is_125(self):
        self.assert_fails(125, "join /no/such: No such file or directory", "--join", "/no/such", "--", "true")

    def test_the_command_does_not_run_after_a_failure(self):
        done = self.run_worker("--join", "/no/such", "--", "echo", "ran")
        self.assertEqual(done.stdout, "")

    def test_wrong_options_are_125_and_name_the_option(self):
        table = [
            ([], "--"),
            (["--"], "--"),
            (["--unknown", "--", "true"], "--unknown"),
            (["--unknown", "x", "--", "true"], "--unknown"),
            (["--cwd"], "--cwd"),
            (["--uid", "x", "--gid", "1", "--", "true"], "--uid"),
            (["--uid", "-1", "--gid", "1", "--", "true"], "--uid"),
            (["--uid", "5000000000", "--gid", "1", "--", "true"], "--uid"),
            (["--uid", "1", "--", "true"], "--uid"),
            (["--gid", "1", "--", "true"], "--uid"),
            (["--limit-data", "1M", "--", "true"], "--limit-data"),
            (["--limit-data", "", "--", "true"], "--limit-data"),
            (["--nofile", "-1", "--", "true"], "--nofile"),
            (["--oom-score-adj", "1001", "--", "true"], "--oom-score-adj"),
            (["--nice", "20", "--", "true"], "--nice"),
            (["--nice", "x", "--", "true"], "--nice"),
            (["--oom-score-adj", "5 ", "--", "true"], "--oom-score-adj"),
            (["--parent", "me", "--", "true"], "--parent"),
        ]
        for arguments, option in table:
            with self.subTest(arguments=arguments):
                done = self.run_worker(*arguments)
                self.assertEqual(done.returncode, 125)
                self.assertTrue(done.stderr.startswith(f"kurultai-worker: option {option} is wrong"), done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)

    def test_a_user_cannot_be_taken_without_the_right_to(self):
        if os.geteuid() == 0:
            done = self.run_worker("--uid", str(NOBODY), "--gid", str(NOBODY), "--",
                                   os.path.abspath(self.worker_copy()), "--uid", "0", "--gid", "0", "--", "true")
        else:
            done = self.run_worker("--uid", "0", "--gid", "0", "--", "true")
        self.assertEqual((done.stderr, done.returncode), ("kurultai-worker: setuid: Operation not permitted\n", 125))

    def worker_copy(self):
        """The build folder may be closed to nobody."""
        os.chmod(self.scratch.name, 0o755)
        shutil.copy(WORKER, self.path("worker"))
        os.chmod(self.path("worker"), 0o755)
        return self.path("worker")


class Surroundings(WorkerTest):
    def inside(self, code, *arguments, **options):
        done = self.run_worker(*arguments, "--", PYTHON, "-c", code, **options)
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        return done.stdout.split()

    def test_every_group_is_joined_by_writing_0(self):
        for name in ("one", "two"):
            open(self.path(name), "w").close()
        self.assertEqual(self.run_worker("--join", self.path("one"), "--join", self.path("two"), "--", "true").returncode, 0)
        for name in ("one", "two"):
            with open(self.path(name)) as file:
                self.assertEqual(file.read(), "0")

    def test_it_has_a_session_of_its_own(self):
        self.assertEqual(self.inside("import os; print(os.getsid(0) == os.getpgrp() == os.getpid())"), ["True"])

    def test_signals_are_at_their_defaults(self):
        def spoil():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

        done = self.run_worker("--", "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status", preexec_fn=spoil)
        self.assertEqual(done.stdout.split(), ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16])

    def test_limits_are_set(self):
        code = "import resource as r; print(*(r.getrlimit(getattr(r, 'RLIMIT_' + n)) for n in ('CORE', 'DATA', 'NOFILE')))"
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        out = " ".join(self.inside(code, "--limit-data", str(1 << 28), "--nofile", "200"))
        self.assertEqual(out, f"(0, 0) ({1 << 28}, {1 << 28}) (200, {hard})")

    def test_a_descriptor_limit_above_the_hard_one_is_the_hard_one(self):
        code = "import resource as r; s, h = r.getrlimit(r.RLIMIT_NOFILE); print(s == h)"
        self.assertEqual(self.inside(code, "--nofile", str(1 << 40)), ["True"])

    def test_memory_beyond_the_data_limit_is_refused(self):
        code = "try:\n  bytearray(1 << 28)\nexcept MemoryError:\n  print('refused')"
        self.assertEqual(self.inside(code, "--limit-data", str(1 << 27)), ["refused"])

    def test_files_are_private(self):
        self.assertEqual(self.inside("import os; print(oct(os.umask(0)))"), ["0o77"])

    def test_the_working_directory_is_set(self):
        self.assertEqual(self.inside("import os; print(os.getcwd())", "--cwd", "/usr/lib"), ["/usr/lib"])

    def test_no_new_privileges_can_be_had(self):
        self.assertEqual(self.run_worker("--", "grep", "NoNewPrivs", "/proc/self/status").stdout.split()[1], "1")

    def test_the_kernel_is_told_whom_to_prefer(self):
        self.assertEqual(self.run_worker("--nice", "7", "--", "nice").stdout, "7\n")
        self.assertEqual(self.run_worker("--oom-score-adj", "789", "--", "cat", "/proc/self/oom_score_adj").stdout, "789\n")

    def test_descriptors_of_the_supervisor_are_not_inherited(self):
        with open("/dev/null") as secret:
            done = self.run_worker("--", "ls", "/proc/self/fd", pass_fds=[secret.fileno()])
        self.assertEqual(done.stdout.split(), ["0", "1", "2", "3"])  # 3 is the listing's own

    @needs_root
    def test_user_group_and_oom_score_are_all_set(self):
        out = self.run_worker("--uid", str(NOBODY), "--gid", "12345", "--oom-score-adj", "500", "--", "sh", "-c",
                              "grep -E '^(Uid|Gid|Groups|NoNewPrivs|CapEff)' /proc/self/status; cat /proc/self/oom_score_adj")
        words = out.stdout.split()
        self.assertEqual(words, ["Uid:", *["65534"] * 4, "Gid:", *["12345"] * 4, "Groups:", "CapEff:", "0" * 16,
                                 "NoNewPrivs:", "1", "500"])

    @needs_root
    def test_a_real_group_is_joined_before_the_command_runs(self):
        group = make_group()
        if group is None:
            print("SKIPPED: no cgroup can be made here", file=sys.stderr)
            self.skipTest("no cgroup can be made here")
        try:
            out = self.run_worker("--join", os.path.join(group, "cgroup.procs"), "--", "cat", "/proc/self/cgroup").stdout
            self.assertIn("/" + os.path.basename(group), out)
        finally:
            self.assert_nothing_left()
            os.rmdir(group)


def make_group():
    """A group of our own under cgroup v2's root, else that of v1's pids or memory."""
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"):
        group = f"{root}/kurultai-test-{os.getpid()}"
        if not os.path.exists(root + "/cgroup.procs"):
            continue
        try:
            os.mkdir(group)
            return group
        except OSError:
            continue
    return None


class Parent(WorkerTest):
    def test_it_dies_with_its_supervisor(self):
        supervisor = self.start_under_supervisor("--", "sh", "-c", "trap '' TERM; echo up; sleep 600")
        read_available(supervisor.stdout, b"up")
        supervisor.kill()
        supervisor.wait(PATIENCE)
        # The shell is killed; its sleep is for the group or the holder to end.
        wait_until(lambda: len(self.marked()) <= 1, "the agent ended with its supervisor")
        for pid in self.marked():
            os.kill(pid, signal.SIGKILL)

    @needs_root
    def test_it_dies_with_its_supervisor_under_another_user_too(self):
        supervisor = self.start_under_supervisor("--uid", str(NOBODY), "--gid", str(NOBODY), "--", "sh", "-c",
                                                 "echo up; exec sleep 600")
        read_available(supervisor.stdout, b"up")
        supervisor.kill()
        supervisor.wait(PATIENCE)
        self.assert_nothing_left()

    def test_it_does_not_start_for_a_supervisor_that_is_gone(self):
        done = self.run_worker("--parent", str(os.getpid() + 1), "--", "echo", "ran")
        self.assertEqual((done.stdout, done.returncode), ("", 125))

    def test_it_starts_for_the_right_supervisor(self):
        self.assertEqual(self.run_worker("--parent", str(os.getpid()), "--", "echo", "ran").stdout, "ran\n")


if __name__ == "__main__":
    unittest.main()
