"""kurultai-worker --hold: an agent without a group, and that nothing of it outlives it."""

import os
import signal
import sys
import unittest

from worker_process import DAEMON, PATIENCE, NOBODY, WorkerTest, needs_root, read_available, status_of, wait_until

PYTHON = sys.executable


class End(WorkerTest):
    def test_the_exit_status_is_the_agents(self):
        for status in (0, 1, 3, 255):
            self.assertEqual(self.run_worker("--hold", "--", "sh", "-c", f"exit {status}").returncode, status)

    def test_the_signal_is_the_agents(self):
        for name in ("SEGV", "KILL", "TERM", "ABRT"):
            done = self.run_worker("--hold", "--", "sh", "-c", f"kill -{name} $$", cwd=self.scratch.name)
            self.assertEqual(done.returncode, -getattr(signal, "SIG" + name))
        self.assertEqual(os.listdir(self.scratch.name), [])

    def test_failures_to_start_are_told_as_without_a_holder(self):
        table = [
            (["--", "/no/such"], 127, "exec /no/such: No such file or directory"),
            (["--", "/"], 126, "exec /: Permission denied"),
            (["--cwd", "/no/such", "--", "true"], 125, "cwd /no/such: No such file or directory"),
        ]
        for arguments, status, message in table:
            done = self.run_worker("--hold", *arguments)
            self.assertEqual((done.stderr, done.returncode), (f"kurultai-worker: {message}\n", status))

    def test_a_daemon_that_left_the_session_ends_with_the_agent(self):
        done = self.run_worker("--hold", "--", PYTHON, "-c", DAEMON)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(self.marked(), [])

    def test_descendants_that_ignore_sigterm_and_fork_on_end_too(self):
        script = "trap '' TERM HUP; (while :; do sleep 0.01 & done) & (setsid sleep 600 &) ; exit 4"
        self.assertEqual(self.run_worker("--hold", "--", "sh", "-c", script).returncode, 4)
        self.assertEqual(self.marked(), [])


class While(WorkerTest):
    def child_of(self, pid):
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return int(file.read().split()[0])

    def test_the_agents_end_of_output_is_seen_while_it_lives(self):
        worker = self.start_worker("--hold", "--", "sh", "-c", "echo hello; exec >&-; read line; exit 5")
        self.assertEqual(read_available(worker.stdout), b"hello\n")
        self.assertIsNone(worker.poll())
        worker.stdin.write(b"go on\n")
        self.assertEqual(worker.wait(PATIENCE), 5)

    def test_the_agents_closed_input_is_seen_while_it_lives(self):
        worker = self.start_worker("--hold", "--", "sh", "-c", "exec <&-; echo closed; sleep 600")
        read_available(worker.stdout, b"closed\n")

        def write_fails():
            try:
                os.write(worker.stdin.fileno(), b"x")
                return False
            except BrokenPipeError:
                return True

        wait_until(write_fails, "the pipe to the agent broke")
        worker.terminate()
        worker.wait(PATIENCE)

    def test_sigterm_is_for_the_agent(self):
        worker = self.start_worker("--hold", "--", "sh", "-c", "trap 'echo asked; exit 6' TERM; echo up; while :; do sleep 0.05; done")
        read_available(worker.stdout, b"up\n")
        worker.terminate()
        self.assertEqual(read_available(worker.stdout), b"asked\n")
        self.assertEqual(worker.wait(PATIENCE), 6)

    def test_adopted_processes_do_not_stay_as_zombies(self):
        worker = self.start_worker("--hold", "--", "sh", "-c", "for i in 1 2 3; do (sleep 0.05 &); done; echo up; read line")
        read_available(worker.stdout, b"up\n")
        wait_until(lambda: len(self.marked()) == 2 and not self.zombies_of(worker.pid), "only holder and agent are left")
        worker.stdin.close()
        self.assertEqual(worker.wait(PATIENCE), 1)

    def zombies_of(self, parent):
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            return [pid for pid in file.read().split() if status_of(pid)["State"].startswith("Z")]

    def test_only_the_agent_is_offered_to_the_kernel(self):
        worker = self.start_worker("--hold", "--oom-score-adj", "600", "--limit-data", str(1 << 28), "--", "sh", "-c", "echo up; read line")
        read_available(worker.stdout, b"up\n")
        agent = self.child_of(worker.pid)
        with open(f"/proc/{worker.pid}/oom_score_adj") as holder, open(f"/proc/{agent}/oom_score_adj") as held:
            self.assertEqual((held.read(), holder.read() != "600\n"), ("600\n", True))
        self.assertEqual((status_of(agent)["NoNewPrivs"], os.getpgid(agent), os.getsid(agent)), ("1", agent, os.getsid(worker.pid)))
        worker.stdin.close()
        worker.wait(PATIENCE)

    @needs_root
    def test_only_the_agent_changes_its_user(self):
        worker = self.start_worker("--hold", "--uid", str(NOBODY), "--gid", str(NOBODY), "--", "sh", "-c", "echo up; read line")
        read_available(worker.stdout, b"up\n")
        self.assertEqual(status_of(self.child_of(worker.pid))["Uid"].split(), [str(NOBODY)] * 4)
        self.assertEqual(status_of(worker.pid)["Uid"].split(), ["0"] * 4)
        worker.stdin.close()
        worker.wait(PATIENCE)


class Supervisor(WorkerTest):
    def test_everything_ends_at_once_when_the_supervisor_was_killed(self):
        script = "trap '' TERM; (trap '' TERM; setsid sleep 600 &); echo up; sleep 600"
        supervisor = self.start_under_supervisor("--hold", "--", "sh", "-c", script)
        read_available(supervisor.stdout, b"up\n")
        supervisor.kill()
        supervisor.wait(PATIENCE)
        self.assert_nothing_left()

    def test_the_agent_ends_when_its_holder_was_killed(self):
        worker = self.start_worker("--hold", "--", "sh", "-c", "trap '' TERM; echo up; while read line; do :; done; sleep 600")
        read_available(worker.stdout, b"up\n")
        worker.kill()
        self.assertEqual(worker.wait(PATIENCE), -signal.SIGKILL)
        self.assert_nothing_left()

    def test_it_does_not_start_for_a_supervisor_that_is_gone(self):
        done = self.run_worker("--hold", "--parent", str(os.getpid() + 1), "--", "echo", "ran")
        self.assertEqual((done.stdout, done.returncode), ("", 125))


if __name__ == "__main__":
    unittest.main()
