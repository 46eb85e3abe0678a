"""kurultai-worker --exec-host: commands that print JSON lines, what they say on the way and in the end; and what stdin is."""

import os
import sys
import unittest

from test_exec_host import HostTest
from worker_process import wait_until

PYTHON = sys.executable
RULES = [
    {"when": {"type": "result", "failed": True}, "error": "text"},
    {"when": {"type": "result"}, "result": "text"},
    {"when": {"type": "step"}, "progress": ["name", "detail"]},
    {"when": {"type": "piece"}, "result": "text", "join": True},
    {"when": {"type": "error"}, "error": "message"},
]
SAY = """
import json, os, signal, sys, time
def say(type, **fields): print(json.dumps(dict(fields, type=type)), flush=True)
def on_term(do): signal.signal(signal.SIGTERM, lambda *_: do())
def up(): os.write(2, b"up\\n")
"""


def order(max_line=4096, rules=None):
    return {"format": "jsonl", "maxLine": max_line, "rules": RULES if rules is None else rules}


class Spoken(HostTest):
    def begin(self, code, **fields):
        self.host.start([PYTHON, "-c", SAY + code], **{"output": order(), **fields})

    def answers(self):
        """All that is said of the task, the end last."""
        said = [self.host.answer()]
        while said[-1]["type"] not in ("COMPLETE", "FAILED", "PREEMPTED"):
            said.append(self.host.answer())
        return said

    def spoken(self, code, **fields):
        self.begin(code, **fields)
        return self.answers()

    def ends(self, code, **fields):
        return self.spoken(code, **fields)[-1]

    def fails(self, answer, reason, error):
        self.assertEqual((answer["type"], answer.get("reason"), answer.get("error")), ("FAILED", reason, error), answer)

    def log(self, until):
        """What the host and its commands wrote to stderr."""
        text = b""
        while until not in text:
            text += os.read(self.host.process.stderr.fileno(), 65536)
        return text

    def wait_up(self):
        return self.log(b"up\n")


class Answers(Spoken):
    def test_progress_comes_at_once_and_the_answer_at_the_end(self):
        said = self.spoken("say('step', name='read', detail='a.txt'); say('step', name='think'); say('result', text='done')")
        self.assertEqual([(one["type"], one.get("message")) for one in said[:-1]], [("PROGRESS", "read a.txt"), ("PROGRESS", "think")])
        self.assertEqual((said[-1]["type"], said[-1]["result"]), ("COMPLETE", "done"))

    def test_progress_does_not_wait_for_the_end(self):
        gate = self.path("gate")
        self.begin(f"say('step', name='one')\nwhile not os.path.exists({gate!r}): time.sleep(0.01)\nsay('result', text='x')")
        self.assertEqual(self.host.answer()["message"], "one")
        with open(gate, "w", encoding="ascii"):
            pass
        self.assertEqual(self.answers()[-1]["result"], "x")

    def test_of_two_answers_the_last_counts(self):
        self.assertEqual(self.ends("say('result', text='1'); say('result', text='2')")["result"], "2")

    def test_an_answer_may_be_any_value_and_its_line_may_lack_the_newline(self):
        answer = self.ends("sys.stdout.write('{\"type\":\"result\",\"text\":{\"b\":[1,null]}}')")
        self.assertEqual(answer["result"], {"b": [1, None]})

    def test_pieces_are_joined(self):
        self.assertEqual(self.ends("say('piece', text='old'); say('step', name='x'); say('piece', text='a'); say('piece', text='b')")["result"], "ab")

    def test_without_an_answer_exit_status_0_is_a_failure(self):
        for code in ("", "say('step', name='x')", "say('other')", "print('text')", "print('{')", "print('{\"type\": \"result\"}')"):
            with self.subTest(code):
                self.fails(self.ends(code), "agent_error", "ended without an answer")

    def test_an_error_is_the_failure_unless_an_answer_follows(self):
        self.fails(self.ends("say('error', message='no money')"), "agent_error", "no money")
        self.fails(self.ends("say('result', failed=True, text='too long')"), "agent_error", "too long")
        self.fails(self.ends("say('result', text='half'); say('error', message='lost')"), "agent_error", "lost")
        self.assertEqual(self.ends("say('error', message='retrying'); say('result', text='well')")["result"], "well")

    def test_an_exit_status_fails_with_what_was_said(self):
        self.fails(self.ends("say('error', message='no money'); sys.exit(3)"), "exit_code", "exit status 3: no money")
        answer = self.ends("say('result', text='partly'); sys.exit(3)")
        self.fails(answer, "exit_code", "exit status 3")
        self.assertEqual(answer["result"], "partly")
        self.fails(self.ends("os.kill(os.getpid(), 9)"), "signal", "killed by SIGKILL")

    def test_a_failure_may_be_tried_again(self):
        self.assertTrue(self.ends("")["retryable"])
        self.assertTrue(self.ends("say('error', message='busy')")["retryable"])

    def test_other_lines_are_log(self):
        self.ends("print('text'); say('other', n=1); print('[1]'); say('step', name='x'); say('result', text='y')")
        log = self.log(b"[1]\n")
        for line in (b"text\n", b'{"n": 1, "type": "other"}\n', b"[1]\n"):
            self.assertIn(line, log)
        self.assertNotIn(b"step", log)

    def test_what_one_task_said_is_not_the_nexts(self):
        self.assertEqual(self.ends("say('result', text='1')")["result"], "1")
        self.fails(self.ends(""), "agent_error", "ended without an answer")
        self.assertEqual(self.shell("echo text")["result"], "text\n")


class Limits(Spoken):
    def test_a_line_that_is_too_long_is_skipped_and_counted(self):
        code = "say('result', text='x' * 5000); say('result', text='y' * 5000); say('step', name='on')"
        said = self.spoken(code)
        self.assertEqual(said[0]["message"], "on")
        self.fails(said[-1], "agent_error", "ended without an answer (2 lines longer than 4KiB were skipped)")
        self.assertIn(b"2 lines longer than 4KiB were skipped", self.log(b"skipped"))
        self.assertEqual(self.ends("say('result', text='x' * 5000); say('result', text='z')")["result"], "z")

    def test_a_line_of_exactly_the_limit_is_taken(self):
        line = "'{\"type\":\"result\",\"text\":\"' + 'x' * %d + '\"}'"
        fits = 4096 - len('{"type":"result","text":""}')
        self.assertEqual(len(self.ends(f"print({line % fits})")["result"]), fits)
        self.fails(self.ends(f"print({line % (fits + 1)})"), "agent_error", "ended without an answer (1 line longer than 4KiB was skipped)")

    def test_a_line_without_end_is_not_held(self):
        with open(f"/proc/{self.host.process.pid}/statm", encoding="ascii") as file:
            before = int(file.read().split()[1])
        self.fails(self.ends("for _ in range(2000): sys.stdout.write('x' * 65536)"), "agent_error", "ended without an answer (1 line longer than 4KiB was skipped)")
        with open(f"/proc/{self.host.process.pid}/statm", encoding="ascii") as file:
            self.assertLess((int(file.read().split()[1]) - before) * 4096, 60 << 20)

    def test_a_large_answer_goes_to_the_file(self):
        answer = self.ends("say('result', text='ü' * 50000)", output=order(1 << 20))
        self.assertEqual((answer["type"], answer["fileBytes"]), ("COMPLETE", 100000))
        with open(self.host.file("t1"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "ü" * 50000)
        answer = self.ends("say('result', text=['x' * 70000])", output=order(1 << 20), task_id="t2")
        self.assertEqual(answer["fileBytes"], 70004)

    def test_an_answer_above_the_result_limit_fails(self):
        answer = self.ends("say('result', text='x' * 3000)", resultLimitBytes=2048)
        self.fails(answer, "agent_error", "result larger than 2KiB")
        answer = self.ends("for _ in range(30): say('piece', text='x' * 100)", resultLimitBytes=2048)
        self.fails(answer, "agent_error", "the answer is longer than 2KiB")

    def test_a_message_of_progress_is_cut(self):
        self.assertEqual(len(self.spoken("say('step', name='x' * 3000)")[0]["message"]), 1024)

    def test_an_order_that_is_none_is_refused(self):
        answer = self.ends("", output={"format": "xml"})
        self.assertEqual((answer["type"], answer["reason"]), ("FAILED", "spawn_failed"), answer)
        self.assertEqual(self.ends("say('result', text='x')", task_id="t2")["result"], "x")


class Stopped(Spoken):
    def preempted(self, code):
        self.begin(code)
        self.wait_up()
        self.host.say(type="PREEMPT", taskId="t1", graceMs=5000)
        return self.answers()[-1]

    def test_an_answer_in_the_grace_of_a_preemption_counts_once(self):
        answer = self.preempted("on_term(lambda: (say('result', text='late'), sys.exit(0)))\nup()\nwhile True: time.sleep(0.01)")
        self.assertEqual((answer["type"], answer["result"]), ("COMPLETE", "late"))
        self.host.say(type="PING", seq=1)
        self.assertEqual(self.host.answer()["type"], "PONG")  # and not another answer

    def test_a_command_that_answers_and_is_cut_off_is_handed_back_without_its_answer(self):
        answer = self.preempted("say('result', text='early'); up(); time.sleep(600)")
        self.assertEqual(answer, {"type": "PREEMPTED", "taskId": "t1"})
        self.fails(self.ends(""), "agent_error", "ended without an answer")  # nor does the next run find it

    def test_sigterm_answered_with_0_and_no_answer_is_handed_back(self):
        answer = self.preempted("on_term(lambda: sys.exit(0))\nup()\nwhile True: time.sleep(0.01)")
        self.assertEqual(answer, {"type": "PREEMPTED", "taskId": "t1"})
        answer = self.preempted("on_term(lambda: (say('error', message='aborted'), sys.exit(0)))\nup()\nwhile True: time.sleep(0.01)")
        self.assertEqual(answer, {"type": "PREEMPTED", "taskId": "t1"})

    def test_a_cancelled_command_that_answers_is_cancelled(self):
        self.begin("on_term(lambda: (say('result', text='late'), sys.exit(0)))\nup()\nwhile True: time.sleep(0.01)")
        self.wait_up()
        self.host.say(type="CANCEL", taskId="t1", reason="not needed")
        self.fails(self.answers()[-1], "cancelled", "cancelled: not needed")

    def test_at_a_shutdown_only_an_answer_is_told(self):
        self.begin("on_term(lambda: sys.exit(0))\nup()\nwhile True: time.sleep(0.01)")
        self.wait_up()
        self.host.say(type="SHUTDOWN", graceMs=5000)
        wait_until(lambda: self.host.process.poll() == 0, "the host ended")
        self.assertEqual(self.host.process.stdout.read(), b"")


class Log(Spoken):
    def test_stdout_that_is_log_is_no_result(self):
        answer = self.ends("sys.stdout.write('line\\npart'); sys.stdout.flush(); up()", output={"format": "none"})
        self.assertEqual((answer["type"], answer.get("result")), ("COMPLETE", None))
        self.assertEqual(self.log(b"up\n"), b"line\npartup\n")
        self.fails(self.ends("sys.exit(2)", output={"format": "none"}), "exit_code", "exit status 2")


class Input(Spoken):
    def test_a_given_input_goes_in_the_place_of_the_payload(self):
        for text in ("", "a prompt\n", "ü" * 300000):
            with self.subTest(text[:9]):
                code = "text = sys.stdin.read(); say('result', text=[len(text), text[:9]])"
                self.assertEqual(self.ends(code, input=text, payload={"prompt": "x"})["result"], [len(text), text[:9]])


if __name__ == "__main__":
    unittest.main()
