"""kurultai-worker --exec-host: one command a task, its input, its output and how it ended."""

import json
import os
import resource
import signal
import stat
import sys
import time
import unittest

from worker_process import NOBODY, PATIENCE, ExecHost, WorkerTest, needs_release_build, needs_root, read_available, status_of

PYTHON = sys.executable
MIB = 1 << 20


class HostTest(WorkerTest):
    arguments = ()

    def setUp(self):
        super().setUp()
        self.host = ExecHost(self, *self.arguments)

    def python(self, code, **fields):
        return self.host.run([PYTHON, "-c", code], **fields)

    def shell(self, script, **fields):
        return self.host.run(["sh", "-c", script], **fields)


class Conversation(HostTest):
    def test_it_is_ready_at_once(self):
        self.assertEqual(self.host.ready, {"type": "READY", "protocol": 1, "name": "exec"})

    def test_a_ping_is_answered(self):
        self.host.say(type="PING", seq=7)
        self.assertEqual(self.host.answer(), {"type": "PONG", "seq": 7})

    def test_tasks_follow_each_other(self):
        for number in range(20):
            answer = self.shell(f"echo {number}", task_id=f"task {number}")
            self.assertEqual((answer["taskId"], answer["result"]), (f"task {number}", f"{number}\n"))

    def test_tasks_sent_in_one_write_as_pieces_or_with_a_return_are_all_run(self):
        line = {"type": "TASK", "agent": "a", "argv": ["echo", "x"], "taskId": "1"}
        self.host.say_line(json.dumps({"type": "PING", "seq": 1}).encode() + b"\r\n" + json.dumps(line).encode())
        self.assertEqual(self.host.answer()["type"], "PONG")
        self.assertEqual(self.host.answer()["result"], "x\n")
        text = json.dumps(line).encode() + b"\n"
        for at in range(0, len(text), 7):
            os.write(self.host.process.stdin.fileno(), text[at : at + 7])
        self.assertEqual(self.host.answer()["result"], "x\n")

    def test_lines_that_are_no_message_are_logged_and_ignored(self):
        for line in (b"noise", b"", b"{", b"\xff\x00", b'{"type":"TASK"}', b"[" * 100_000, b'{"a":' * 100_000,
                     b'{"type":"TASK","taskId":"1","agent":"a","argv":[1]}'):
            with self.subTest(line=line[:20]):
                self.host.say_line(line)
                self.assertEqual((self.host.answer() | {"message": ""}), {"type": "LOG", "level": "warn", "message": ""})
        self.assertEqual(self.shell("echo fine")["result"], "fine\n")

    def test_what_is_meant_for_other_agents_or_other_versions_is_ignored(self):
        self.host.say(type="HELLO", protocol=1, workerId="w", memoryLimitBytes=1, memoryWarningBytes=1)
        self.host.say(type="PRESSURE", level=1, ratio=0.7)
        self.host.say(type="BREAKER", name="b", allow=True)
        self.host.say(type="NEWS")
        self.host.say(type="CANCEL", taskId="no such task", reason="")
        self.host.say(type="PREEMPT", taskId="no such task", graceMs=1)
        self.assertEqual(self.shell("echo fine")["result"], "fine\n")

    def test_a_line_beyond_the_limit_is_dropped_and_the_next_one_served(self):
        piece = b"x" * MIB
        for _ in range(65):
            view = memoryview(piece)
            while view:
                view = view[os.write(self.host.process.stdin.fileno(), view):]
        self.host.say_line(b"")
        self.assertEqual(self.host.answer()["message"], "exec host: a line longer than 64MiB")
        self.assertEqual(self.shell("echo fine")["result"], "fine\n")

    def test_a_second_task_is_refused_while_one_runs(self):
        self.host.start(["sh", "-c", "sleep 0.2; echo first"], task_id="first")
        self.host.start(["echo", "second"], task_id="second")
        refusal = self.host.answer()
        self.assertEqual((refusal["taskId"], refusal["error"], refusal["reason"]), ("second", "busy", "protocol_error"))
        self.assertEqual(self.host.answer()["result"], "first\n")

    @needs_release_build
    def test_it_is_small(self):
        self.shell("true")
        self.assertLess(int(status_of(self.host.process.pid)["VmHWM"].split()[0]), 2048)

    @needs_release_build
    def test_memory_of_a_large_message_is_given_back(self):
        self.shell("cat > /dev/null", payload="x" * (30 * MIB))
        self.assertLess(int(status_of(self.host.process.pid)["VmRSS"].split()[0]), 4096)


class Exit(HostTest):
    def test_exit_status_0_completes_the_task(self):
        answer = self.shell("echo done")
        self.assertGreater(answer.pop("peakBytes"), 100_000)
        self.assertEqual(answer, {"type": "COMPLETE", "taskId": "t1", "result": "done\n"})

    def test_another_exit_status_fails_it_with_its_output(self):
        answer = self.shell("echo partly; exit 3")
        del answer["peakBytes"]
        self.assertEqual(answer, {"type": "FAILED", "taskId": "t1", "error": "exit status 3", "retryable": True,
                                  "reason": "exit_code", "exitCode": 3, "result": "partly\n"})

    def test_a_signal_fails_it_by_name(self):
        for name, number in (("SIGSEGV", 11), ("SIGKILL", 9), ("SIGTERM", 15)):
            answer = self.shell(f"kill -{number} $$")
            self.assertEqual((answer["error"], answer["reason"], answer["signal"], answer["result"]),
                             (f"killed by {name}", "signal", number, ""))
        self.assertEqual(self.shell("kill -40 $$")["error"], "killed by signal 40")

    def test_the_peak_is_that_of_the_command(self):
        self.assertGreater(self.python("x = bytearray(50 << 20)")["peakBytes"], 50 * MIB)
        self.assertLess(self.shell("true")["peakBytes"], 20 * MIB)

    def test_a_command_that_cannot_start_says_why(self):
        plain = self.path("plain")
        open(plain, "w").close()
        table = [
            (["no-such-command"], "exec no-such-command: No such file or directory"),
            (["/no/such", "a"], "exec /no/such: No such file or directory"),
            ([plain], f"exec {plain}: Permission denied"),
            (["/"], "exec /: Permission denied"),
            (["a" * 5000], "exec " + "a" * 5000 + ": File name too long"),
            (["echo", "x" * 200_000], "exec echo: Argument list too long"),
            (["echo", "a\0b"], "an argument holds a NUL byte"),
            ([], "the task names no command"),
        ]
        for argv, error in table:
            with self.subTest(error=error[:40]):
                self.assertEqual(self.host.run(argv), {"type": "FAILED", "taskId": "t1", "error": error,
                                                       "retryable": False, "reason": "spawn_failed"})
        self.assertEqual(self.shell("echo fine")["result"], "fine\n")

    def test_a_script_without_interpreter_line_is_run_by_the_shell(self):
        path = self.path("script")
        with open(path, "w") as file:
            file.write('echo "$@"\n')
        os.chmod(path, 0o700)
        self.assertEqual(self.host.run([path, *["a"] * 5000])["result"], "a " * 4999 + "a\n")

    def test_the_command_is_looked_up_along_the_path_of_the_environment(self):
        path = self.path("tool-of-this-test")
        with open(path, "w") as file:
            file.write("#!/bin/sh\necho found\n")
        os.chmod(path, 0o700)
        self.environment["PATH"] = self.scratch.name + ":" + os.environ["PATH"]
        self.assertEqual(ExecHost(self).run(["tool-of-this-test"])["result"], "found\n")

    def test_no_zombie_and_no_descriptor_is_left(self):
        self.shell("true")
        before = os.listdir(f"/proc/{self.host.process.pid}/fd")
        for number in range(50):
            self.shell(f"(sleep 0.01 &); exit {number % 2}", payload=[1])
        self.host.run(["no-such-command"], payload=[1])
        self.assertEqual(os.listdir(f"/proc/{self.host.process.pid}/fd"), before)
        self.assertEqual(self.marked(), [self.host.process.pid])


class Input(HostTest):
    def test_the_payload_is_its_json_text(self):
        self.assertEqual(json.loads(self.shell("cat", payload={"a": [1, "ü"]})["result"]), {"a": [1, "ü"]})

    def test_without_payload_the_input_is_empty_and_no_pipe(self):
        self.assertEqual(self.shell("readlink /proc/self/fd/0; cat")["result"], "/dev/null\n")

    def test_the_payload_may_lie_in_a_file(self):
        with open(self.path("payload"), "w") as file:
            file.write("from a file")
        self.assertEqual(self.shell("cat", payloadFile=self.path("payload"))["result"], "from a file")

    def test_a_payload_file_that_cannot_be_read_fails_the_task(self):
        answer = self.shell("cat", payloadFile="/no/such")
        self.assertEqual((answer["error"], answer["reason"]), ("open /no/such: No such file or directory", "spawn_failed"))

    def test_a_large_payload_goes_in_while_output_comes_out(self):
        payload = "x" * (3 * MIB)
        self.assertEqual(self.shell("cat", payload=payload)["fileBytes"], 3 * MIB + 2)
        with open(self.host.file()) as file:
            self.assertEqual(file.read(), json.dumps(payload))

    def test_a_command_that_does_not_read_its_payload_is_fine(self):
        for script in ("echo fine", "exec <&-; echo fine; sleep 0.1"):
            self.assertEqual(self.shell(script, payload="x" * MIB)["result"], "fine\n")

    def test_a_command_that_outlives_the_reading_of_its_payload_is_fine(self):
        self.assertEqual(self.shell("head -c 100000 > /dev/null; echo fine", payload="x" * MIB)["result"], "fine\n")


class OutputOf(HostTest):
    def test_text_is_kept_exactly(self):
        for text in ("", "\n", "a\n\n", "no newline", 'quote " and \\', "tab\t\r\nü€😀", "nul \0"):
            with self.subTest(text=text):
                self.assertEqual(self.host.run(["printf", "%b", text.replace("\\", "\\\\").replace("\0", "\\0000")])["result"], text)

    def test_bytes_that_are_no_text_go_to_the_file(self):
        answer = self.shell(r"printf '\377\376'")
        self.assertEqual((answer["fileBytes"], "result" in answer), (2, False))
        with open(self.host.file(), "rb") as file:
            self.assertEqual(file.read(), b"\xff\xfe")

    def test_the_limit_decides_between_message_and_file(self):
        self.assertEqual(len(self.python("print('x' * 65536, end='')", task_id="a")["result"]), 65536)
        self.assertEqual(self.python("print('x' * 65537, end='')", task_id="b")["fileBytes"], 65537)
        self.assertEqual(self.python("print('x' * 11, end='')", task_id="c", inlineLimitBytes=10)["fileBytes"], 11)
        self.assertEqual(sorted(os.listdir(self.host.results)), ["b", "c"])

    def test_large_output_is_streamed_into_a_private_file(self):
        code = "import sys\nfor i in range(10): sys.stdout.buffer.write(bytes([i]) * (1 << 20))"
        self.assertEqual(self.python(code)["fileBytes"], 10 * MIB)
        with open(self.host.file(), "rb") as file:
            self.assertEqual(file.read(), b"".join(bytes([i]) * MIB for i in range(10)))
        self.assertEqual(stat.S_IMODE(os.stat(self.host.file()).st_mode), 0o600)

    @needs_release_build
    def test_output_is_never_held_whole(self):
        self.shell("yes | head -c 50000000")
        self.assertLess(int(status_of(self.host.process.pid)["VmHWM"].split()[0]), 3072)

    def test_a_failed_command_delivers_its_file_too(self):
        answer = self.python("import sys; print('x' * 100000); sys.exit(1)")
        self.assertEqual((answer["fileBytes"], answer["exitCode"]), (100001, 1))

    def test_output_beyond_the_limit_ends_the_command_and_leaves_no_file(self):
        for limit, file in ((MIB, "t1"), (1000, "t2")):
            begun = time.monotonic()
            answer = self.shell("trap '' TERM; yes & yes", task_id=file, resultLimitBytes=limit)
            self.assertEqual((answer["error"], answer["reason"], answer["retryable"], "fileBytes" in answer),
                             ("result larger than " + {MIB: "1MiB", 1000: "1000B"}[limit], "agent_error", False, False))
            self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(os.listdir(self.host.results), [])

    def test_output_that_just_fits_is_delivered(self):
        self.assertEqual(self.python("print('x' * 99999)", resultLimitBytes=100_000)["fileBytes"], 100_000)

    def test_a_file_that_exists_is_not_overwritten(self):
        with open(self.host.file(), "w") as file:
            file.write("precious")
        answer = self.shell("yes")
        self.assertEqual((answer["error"], answer["reason"]), (f"open {self.host.file()}: File exists", "agent_error"))
        with open(self.host.file()) as file:
            self.assertEqual(file.read(), "precious")

    def test_a_file_that_takes_no_more_fails_the_task_and_is_removed(self):
        resource.prlimit(self.host.process.pid, resource.RLIMIT_FSIZE, (MIB, MIB))
        answer = self.shell("yes")
        self.assertEqual((answer["error"], answer["reason"]), (f"write {self.host.file()}: File too large", "agent_error"))
        self.assertEqual(os.listdir(self.host.results), [])

    def test_a_file_that_cannot_be_made_fails_the_task(self):
        answer = self.shell("yes", resultFile="/no/such/folder/file")
        self.assertEqual(answer["error"], "open /no/such/folder/file: No such file or directory")

    def test_without_a_file_only_short_text_is_taken(self):
        self.assertEqual(self.shell("echo fine", resultFile="", inlineLimitBytes=0)["result"], "fine\n")
        self.assertEqual(self.shell("yes", resultFile="")["error"], "result larger than 64KiB")
        self.assertEqual(self.shell(r"printf '\377'", resultFile="")["reason"], "agent_error")

    def test_stderr_is_the_hosts(self):
        self.shell("echo to log >&2")
        self.assertEqual(read_available(self.host.process.stderr, b"\n"), b"to log\n")

    def test_a_command_that_closes_its_output_and_lives_on_is_waited_for(self):
        answer = self.shell("echo early; exec >&-; sleep 0.1; exit 2")
        self.assertEqual((answer["exitCode"], answer["result"]), (2, "early\n"))


class Surroundings(HostTest):
    arguments = ("--oom-score-adj", "700", "--limit-data", str(1 << 28), "--nofile", "123", "--cwd", "/usr/lib")

    def test_the_limits_are_the_commands_alone(self):
        code = "import resource as r, os; print(r.getrlimit(r.RLIMIT_DATA)[0], r.getrlimit(r.RLIMIT_NOFILE)[0], r.getrlimit(r.RLIMIT_CORE)[1], os.getcwd())"
        self.assertEqual(self.python(code)["result"], f"{1 << 28} 123 0 /usr/lib\n")
        self.assertEqual(self.shell("cat /proc/self/oom_score_adj")["result"], "700\n")
        with open(f"/proc/{self.host.process.pid}/oom_score_adj") as file:
            self.assertNotEqual(file.read(), "700\n")

    def test_the_kernel_takes_commands_of_less_important_tasks_first(self):
        for priority, wanted in (("critical", 300), ("high", 500), ("normal", 700), ("low", 900), ("heartbeat", 1000)):
            self.assertEqual(self.shell("cat /proc/self/oom_score_adj", priority=priority)["result"], f"{wanted}\n", priority)

    def test_signals_group_and_descriptors_are_fresh(self):
        found = self.shell("grep -E 'Sig(Blk|Ign)|NoNewPrivs' /proc/self/status")["result"].split()
        self.assertEqual(sorted(found), sorted(["SigBlk:", "0" * 16, "SigIgn:", "0" * 16, "NoNewPrivs:", "1"]))
        mine = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0))"
        self.assertEqual(self.python(mine)["result"], f"True {os.getsid(self.host.process.pid)}\n")
        self.assertEqual(self.shell("ls /proc/self/fd", payload=1)["result"].split(), ["0", "1", "2", "3"])

    def test_a_command_that_kills_its_process_group_does_not_reach_the_host(self):
        self.assertEqual(self.shell("kill -9 0")["signal"], signal.SIGKILL)
        self.assertEqual(self.shell("echo fine")["result"], "fine\n")

    def test_the_environment_is_the_hosts(self):
        self.assertIn(self.mark, self.shell("env")["result"].splitlines())


class MissingDirectory(HostTest):
    arguments = ("--cwd", "/no/such")

    def test_it_fails_each_task(self):
        answer = self.shell("true")
        self.assertEqual((answer["error"], answer["reason"]), ("cwd /no/such: No such file or directory", "spawn_failed"))


@needs_root
class OtherUser(HostTest):
    arguments = ("--uid", str(NOBODY), "--gid", str(NOBODY), "--oom-score-adj", "300")

    def test_only_the_command_changes_its_user(self):
        found = self.shell("grep -E '^(Uid|Gid|Groups|NoNewPrivs)' /proc/self/status; cat /proc/self/oom_score_adj")["result"].split()
        nobody = [str(NOBODY)] * 4
        self.assertEqual(found, ["Uid:", *nobody, "Gid:", *nobody, "Groups:", "NoNewPrivs:", "1", "300"])
        self.assertEqual(status_of(self.host.process.pid)["Uid"].split(), ["0"] * 4)
        with open(f"/proc/{self.host.process.pid}/oom_score_adj") as file:
            self.assertNotEqual(file.read(), "300\n")

    def test_the_command_cannot_reach_the_host(self):
        answer = self.shell(f"kill -9 {self.host.process.pid}; cat /proc/{self.host.process.pid}/environ; exit 9")
        self.assertEqual((answer["exitCode"], answer["result"]), (9, ""))

    def test_its_payload_and_result_files_stay_the_hosts(self):
        with open(self.path("payload"), "w") as file:
            file.write("secret")
        os.chmod(self.path("payload"), 0o600)
        self.assertEqual(self.shell("cat; yes | head -c 100000", payloadFile=self.path("payload"))["fileBytes"], 100006)
        self.assertEqual(os.stat(self.host.file()).st_uid, 0)

    def test_its_processes_are_swept_as_others_are(self):
        self.host.start(["sh", "-c", "(setsid sleep 600 &); echo fine"])
        self.assertEqual((self.host.answer()["type"], self.host.answer()["result"]), ("SWEPT", "fine\n"))


if __name__ == "__main__":
    unittest.main()
