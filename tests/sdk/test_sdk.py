"""Drives real agents, python3 and node, over pipes with the raw protocol. Standard library only:

    python3 tests/sdk/test_sdk.py
"""

import base64
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "worker" / "examples"
DEADLINE_S = 20
MAX_LINE = 1 << 20
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}  # and no PYTHON* of the caller's
PYTHON = shutil.which("python3") or sys.executable
NODE = shutil.which("node")


def node_major():
    answer = subprocess.run([NODE, "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(answer.lstrip("v").split(".")[0])


NO_NODE = "node is not installed" if not NODE else "node is older than 18" if node_major() < 18 else None


class Agent:
    """A process that speaks the protocol, and every line that it wrote."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=ENVIRONMENT)
        self.lines = queue.SimpleQueue()
        self.messages = []  # everything that was read so far, in order
        self.bad_lines = []
        self.stderr = b""
        self.threads = [threading.Thread(target=self.read_stdout), threading.Thread(target=self.read_stderr)]
        for thread in self.threads:
            thread.start()

    def read_stdout(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def read_stderr(self):
        for line in self.process.stderr:
            self.stderr += line

    def send_bytes(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, kind, **fields):
        self.send_bytes(json.dumps({"type": kind, **fields}, separators=(",", ":")).encode() + b"\n")

    def task(self, do, task_id="t", more=None, **payload):
        fields = {"agent": "test", "payload": {"do": do, **payload}, "attempt": 1, "priority": "normal", **(more or {})}
        self.send("TASK", taskId=task_id, **fields)

    def next(self):
        line = self.lines.get(timeout=DEADLINE_S)
        if line is None:
            raise EOFError(f"the agent closed its output; stderr: {self.stderr.decode(errors='replace')}")
        try:
            assert len(line) <= MAX_LINE + 1, f"a line of {len(line)} bytes"
            self.messages.append(json.loads(line.decode("utf-8"), parse_constant=lambda word: 1 / 0))
        except (ValueError, ZeroDivisionError, AssertionError):
            self.bad_lines.append(line[:200])
            return {}
        return self.messages[-1]

    def expect(self, kind):
        """The next message of that type; those before it stay in `messages`."""
        while True:
            message = self.next()
            if message.get("type") == kind:
                return message

    def answer(self, task_id="t"):
        while True:
            message = self.next()
            if message.get("type") in ("COMPLETE", "FAILED", "PREEMPTED") and message["taskId"] == task_id:
                return message

    def of_type(self, kind):
        return [message for message in self.messages if message["type"] == kind]

    def end_input(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()

    def wait(self):
        status = self.process.wait(DEADLINE_S)
        for thread in self.threads:
            thread.join(DEADLINE_S)
        return status

    def close(self):
        self.process.kill()
        self.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except OSError:
                pass


def merged_chunks(messages):
    decode = {"utf8": str.encode, "base64": base64.b64decode}
    return b"".join(decode[message["encoding"]](message["data"]) for message in messages)


class AgentCase(unittest.TestCase):
    def start(self, *command):
        agent = Agent(command)
        self.addCleanup(agent.close)
        self.ready = agent.expect("READY")
        return agent


class Behaviour:
    """What both SDKs promise; `command` starts the agent of the language."""

    def setUp(self):
        self.agent = self.start(*self.command)

    def tearDown(self):
        self.assertEqual(self.agent.bad_lines, [])

    def run_task(self, do, **payload):
        self.agent.task(do, **payload)
        return self.agent.answer()

    def assert_failed(self, message, words, retryable):
        self.assertEqual(message["type"], "FAILED", message)
        self.assertIn(words, message["error"])
        self.assertIs(message["retryable"], retryable)

    def test_ready_names_the_protocol_and_the_agent(self):
        self.assertEqual(self.ready, {"type": "READY", "protocol": 1, "name": "test-agent"})

    def test_a_task_completes_with_the_returned_value(self):
        value = {"ключ": ["ü", "日本", "😀", 1, 2.5, None, True, "\u2028"]}
        self.assertEqual(self.run_task("echo", value=value),
                         {"type": "COMPLETE", "taskId": "t", "result": value})

    def test_no_value_is_no_result(self):
        self.assertEqual(self.run_task("nothing"), {"type": "COMPLETE", "taskId": "t"})

    def test_the_agent_stays_warm_for_many_tasks(self):
        for number in range(200):
            self.agent.task("echo", task_id=f"t{number}", value=number)
            self.assertEqual(self.agent.answer(f"t{number}")["result"], number)

    def test_the_handler_sees_the_tasks_fields(self):
        self.agent.task("about", more={"attempt": 3, "priority": "low", "deadlineMs": 500, "checkpoint": {"at": 7}})
        self.assertEqual(self.agent.answer()["result"], ["t", 3, "low", 500, {"at": 7}])

    def test_a_large_payload_is_read_from_its_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(json.dumps({"do": "echo", "value": "from a file"}))
            file.flush()
            self.agent.send("TASK", taskId="t", agent="test", payloadFile=file.name, attempt=1, priority="normal")
            self.assertEqual(self.agent.answer()["result"], "from a file")

    def test_a_payload_file_that_is_gone_fails_the_task(self):
        self.agent.send("TASK", taskId="t", agent="test", payloadFile="/nonexistent/payload")
        self.assert_failed(self.agent.answer(), "/nonexistent/payload", True)

    def test_a_line_may_arrive_in_pieces_that_split_characters(self):
        line = json.dumps({"type": "TASK", "taskId": "t", "payload": {"do": "echo", "value": "ü😀" * 50}},
                          ensure_ascii=False).encode() + b"\n"
        for at in range(len(line)):
            self.agent.send_bytes(line[at:at + 1])
        self.assertEqual(self.agent.answer()["result"], "ü😀" * 50)

    def test_a_payload_of_several_reads_arrives_whole(self):
        self.assertEqual(self.run_task("echo", value="v" * 700000)["result"], "v" * 700000)

    def test_fast_progress_is_thinned_but_every_tenth_is_sent(self):
        started = time.monotonic()
        self.assertEqual(self.run_task("spin")["type"], "COMPLETE")
        percents = [message["percent"] for message in self.agent.of_type("PROGRESS")]
        self.assertLessEqual(len(percents), 12 + 10 * (time.monotonic() - started))
        self.assertEqual(percents, sorted(set(percents)))
        steps = [0, *percents, 100]
        self.assertLess(max(after - before for before, after in zip(steps, steps[1:])), 10.5)

    def test_changing_messages_at_one_percentage_are_thinned_too(self):
        started = time.monotonic()
        self.assertGreater(self.run_task("spin_messages", seconds=0.35)["result"], 100)
        self.assertLessEqual(len(self.agent.of_type("PROGRESS")), 3 + 10 * (time.monotonic() - started))

    def test_progress_is_repeated_while_the_task_runs(self):
        self.agent.task("progress_until_stopped")
        for _ in range(3):
            message = self.agent.expect("PROGRESS")
            self.assertEqual(message, {"type": "PROGRESS", "taskId": "t", "percent": 42, "message": "at it"})
        self.agent.send("CANCEL", taskId="t", reason="enough")
        self.agent.answer()

    def test_a_silent_task_gives_signs_of_life(self):
        self.agent.task("until_stopped")
        self.assertEqual(self.agent.expect("PROGRESS")["percent"], 0)
        self.agent.send("CANCEL", taskId="t", reason="enough")
        self.agent.answer()

    def test_cancel_stops_the_task(self):
        self.agent.task("until_stopped")
        self.agent.send("CANCEL", taskId="other", reason="not this one")
        self.agent.expect("PROGRESS")
        self.agent.send("CANCEL", taskId="t", reason="asked")
        self.assert_failed(self.agent.answer(), "cancelled", False)
        self.assertEqual(self.run_task("echo", value=1)["result"], 1)

    def test_preempt_hands_over_the_last_saved_state(self):
        self.agent.task("save_then_wait")
        self.assertEqual(self.agent.expect("CHECKPOINT"), {"type": "CHECKPOINT", "taskId": "t", "state": {"step": 1}})
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assertEqual(self.agent.answer(), {"type": "PREEMPTED", "taskId": "t", "state": {"step": 1}})

    def test_preempt_without_a_save_hands_back_the_checkpoint_that_came(self):
        self.agent.task("until_stopped", more={"checkpoint": [1]})
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assertEqual(self.agent.answer(), {"type": "PREEMPTED", "taskId": "t", "state": [1]})

    def test_preempt_without_any_state_sends_none(self):
        self.agent.task("until_stopped")
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assertEqual(self.agent.answer(), {"type": "PREEMPTED", "taskId": "t"})

    def test_a_handler_may_return_preempted_with_a_state(self):
        self.agent.task("return_preempted")
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assertEqual(self.agent.answer(), {"type": "PREEMPTED", "taskId": "t", "state": {"given": True}})

    def test_the_same_task_can_come_back_at_once(self):
        for _ in range(20):
            self.agent.task("until_stopped")
            self.agent.send("PREEMPT", taskId="t", graceMs=5000)
            self.assertEqual(self.agent.answer()["type"], "PREEMPTED")

    def test_an_exception_fails_the_task_with_its_stack(self):
        message = self.run_task("fail")
        self.assert_failed(message, "broken ünit", True)
        self.assertIn(self.source, message["stack"])
        self.assertIn("fail", message["stack"])

    def test_fatal_is_not_retryable(self):
        message = self.run_task("fail_fatally")
        self.assertEqual(message["error"], "never again")
        self.assert_failed(message, "never again", False)

    def test_an_unknown_payload_fails_only_the_task(self):
        self.assertEqual(self.run_task("no such thing")["type"], "FAILED")
        self.assertEqual(self.run_task("echo", value=1)["result"], 1)

    def test_pieces_are_the_result(self):
        message = self.run_task("pieces")
        self.assertEqual(message, {"type": "COMPLETE", "taskId": "t"})
        self.assertEqual(merged_chunks(self.agent.of_type("CHUNK")), self.pieces)

    def test_a_generator_is_sent_in_pieces(self):
        self.assertEqual(self.run_task("generate"), {"type": "COMPLETE", "taskId": "t"})
        self.assertEqual(merged_chunks(self.agent.of_type("CHUNK")), b"one,two")

    def test_pieces_and_a_value_do_not_mix(self):
        self.assert_failed(self.run_task("piece_and_value"), "chunk()", False)

    def test_an_async_handler_is_awaited(self):
        self.assertEqual(self.run_task("async")["result"], "awaited")

    def test_logs_and_metrics_are_messages(self):
        self.assertEqual(self.run_task("logs")["type"], "COMPLETE")
        self.assertEqual(self.agent.of_type("LOG"), [{"type": "LOG", "level": "warn", "message": "careful"}])
        self.assertEqual(self.agent.of_type("METRIC"),
                         [{"type": "METRIC", "name": "score", "value": 1.5, "kind": "gauge"},
                          {"type": "METRIC", "name": "steps", "value": 2, "kind": "counter"}])

    def test_a_result_that_is_no_json_fails_the_task(self):
        for do, words in self.unsendable.items():
            with self.subTest(do):
                message = self.run_task(do)
                self.assert_failed(message, words, False)
                self.assertIn("result cannot be sent", message["error"])

    def test_a_result_over_the_line_limit_says_what_to_use_instead(self):
        self.assert_failed(self.run_task("large"), "chunk()", False)

    def test_a_state_that_cannot_be_sent_fails_the_task(self):
        self.assertEqual(self.run_task("large_state")["type"], "FAILED")
        self.assert_failed(self.run_task("bad_preempted_state"), "state cannot be sent", False)

    def test_nesting_is_bounded_as_the_supervisor_bounds_it(self):
        self.assertEqual(self.run_task("nested", depth=63)["type"], "COMPLETE")
        self.assert_failed(self.run_task("nested", depth=64), "64 levels", False)
        self.assertEqual(self.run_task("nested", depth=5000)["type"], "FAILED")

    def test_brackets_and_escapes_in_strings_are_no_nesting(self):
        for value in ("[{" * 100, '\\"[' * 100, "\\" * 99 + "[" * 99):
            self.assertEqual(self.run_task("echo", value=value)["result"], value)

    def test_a_string_full_of_escapes_is_sent(self):
        self.assertEqual(self.run_task("many_escapes")["result"], "\n" * 400000)

    def test_half_a_surrogate_pair_is_replaced(self):
        self.assertEqual(self.run_task("half_pair")["result"], f"a{self.replacement}b")
        self.agent.send_bytes(b'{"type":"TASK","taskId":"t","payload":{"do":"echo",'
                              b'"value":"a\\ud800\\\\ud800\\udfff"}}\n')
        self.assertEqual(self.agent.answer()["result"], f"a{self.replacement}\\ud800{self.replacement}")

    def test_odd_values_arrive_as_they_are(self):
        self.assertEqual(self.run_task("odd_values")["result"],
                         {"list": [True, None, 1e300, -0.5], "line": "a\nb\u2028c\x00"})

    def test_prints_go_to_stderr(self):
        self.assertEqual(self.run_task("noise")["result"], "")
        self.agent.end_input()
        self.assertEqual(self.agent.wait(), 0)
        for text in self.printed:
            self.assertIn(text, self.agent.stderr.decode())

    def test_ping_is_answered_while_a_task_runs(self):
        self.agent.task("until_stopped")
        self.agent.send("PING", seq=18446744073709)
        self.assertEqual(self.agent.expect("PONG"), {"type": "PONG", "seq": 18446744073709})
        self.agent.send("CANCEL", taskId="t", reason="enough")
        self.agent.answer()

    def test_what_is_no_known_message_is_ignored(self):
        for line in (b"\n", b"noise\n", b"{\n", b"[1]\n", b"null\n", b"7\n", b'"TASK"\n', b"\xff\xfe\x00\n", b"{}\n",
                     b'{"type":7}\n', b'{"type":"TASK"}\n', b'{"type":"WHAT","taskId":"t"}\n', b"[" * 100000 + b"\n",
                     b'{"type":"CANCEL"}\n', b'{"type":"HELLO","protocol":1,"workerId":"w1","new":[]}\n',
                     b'{"type":"BREAKER","name":"api","allow":true}\n'):
            self.agent.send_bytes(line)
        self.assertEqual(self.run_task("echo", value="still here")["result"], "still here")

    def test_pressure_calls_back_and_a_failing_callback_does_no_harm(self):
        self.agent.send("PRESSURE", level=4, ratio=0.96)
        self.agent.send("PRESSURE", level=2, ratio=0.86)
        for _ in range(1000):  # the callbacks run beside the tasks
            seen = self.run_task("pressure")["result"]
            if len(seen) == 2:
                break
        self.assertCountEqual(seen, [[4, 0.96], [2, 0.86]])

    def asked(self, name="api"):
        """The next question to a breaker; its number."""
        question = self.agent.expect("BREAKER")
        self.assertEqual((question["name"], question["op"]), (name, "acquire"))
        return question["call"]

    def let_through(self, call, name="api"):
        self.agent.send("BREAKER", name=name, allow=True, retryAfterMs=0, call=call)

    def assert_told(self, op, call, name="api"):
        told = self.agent.expect("BREAKER")
        self.assertEqual((told["name"], told["op"], told["call"]), (name, op, call))

    def test_a_breaker_asks_first_and_tells_how_it_went(self):
        for fields, op in (({}, "success"), ({"fails": True}, "failure")):
            self.agent.task("call", **fields)
            call = self.asked()
            self.let_through(call)
            self.assert_told(op, call)
            self.assertEqual(self.agent.answer()["type"], "FAILED" if fields else "COMPLETE")

    def test_a_refused_call_is_not_made(self):
        self.agent.task("call", fails=True)
        self.agent.send("BREAKER", name="api", allow=False, retryAfterMs=1500, call=self.asked())
        self.assertEqual(self.agent.answer()["result"], ["api", 1.5])
        self.assertEqual(len(self.agent.of_type("BREAKER")), 1)

    def test_questions_of_tasks_that_run_at_once_find_their_answers(self):
        calls = {}
        for number in range(5):
            self.agent.task("call", task_id=f"t{number}")
            calls[number] = self.asked()
        self.assertEqual(len(set(calls.values())), 5)
        for number in (3, 0, 4, 1, 2):  # in any order
            self.agent.send("BREAKER", name="api", allow=False, retryAfterMs=number * 1000, call=calls[number])
        for number in range(5):
            self.agent.send("PING", seq=number)
        results = {}
        while len(results) < 5:
            message = self.agent.expect("COMPLETE")
            results[message["taskId"]] = message["result"]
        self.assertEqual(results, {f"t{number}": ["api", number] for number in range(5)})

    def test_answers_to_nobody_and_without_a_number_do_no_harm(self):
        self.agent.task("call")
        call = self.asked()
        for fields in ({}, {"call": call + 1}, {"call": None}, {"call": []}, {"call": -1}):
            self.agent.send("BREAKER", name="api", allow=False, retryAfterMs=1, **fields)
        self.let_through(call)
        self.assert_told("success", call)

    def test_a_call_that_its_task_was_stopped_in_says_nothing(self):
        self.agent.task("call", waits=True)
        call = self.asked()
        self.let_through(call)
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assert_told("release", call)
        self.assertEqual(self.agent.answer()["type"], "PREEMPTED")

    def test_what_is_refused_within_a_call_is_not_its_failure(self):
        self.agent.task("call_within_call")
        outer = self.asked("outer")
        self.let_through(outer, "outer")
        self.agent.send("BREAKER", name="inner", allow=False, retryAfterMs=100, call=self.asked("inner"))
        self.assert_told("release", outer, "outer")
        failed = self.agent.answer()
        self.assertIn("inner keeps failing; try again in 0.1 s", failed["error"])
        self.assertTrue(failed["retryable"])

    def test_an_agent_that_is_not_wanted_any_more_waits_for_no_answer(self):
        self.agent.task("call", waits=True)
        self.asked()
        self.agent.end_input()
        self.assertEqual(self.agent.wait(), 0)

    def test_two_tasks_run_at_once(self):
        self.agent.task("until_stopped", task_id="a")
        self.agent.task("until_stopped", task_id="b")
        self.agent.task("echo", task_id="c", value=3)
        self.assertEqual(self.agent.answer("c")["result"], 3)
        self.agent.send("PREEMPT", taskId="b", graceMs=5000)
        self.assertEqual(self.agent.answer("b")["type"], "PREEMPTED")
        self.agent.send("CANCEL", taskId="a", reason="enough")
        self.assert_failed(self.agent.answer("a"), "cancelled", False)

    def test_lines_of_many_tasks_never_mix(self):
        for number in range(8):
            self.agent.task("spin", task_id=f"t{number}")
            self.agent.task("echo", task_id=f"e{number}", value="x" * 300000)
        open_tasks = {f"{kind}{number}" for kind in "te" for number in range(8)}
        while open_tasks:
            message = self.agent.next()
            if message.get("type") == "COMPLETE":
                open_tasks.remove(message["taskId"])

    def test_end_of_input_ends_an_idle_agent(self):
        self.agent.end_input()
        self.assertEqual(self.agent.wait(), 0)

    def test_end_of_input_ends_a_busy_agent_within_a_second(self):
        for do in ("until_stopped", "ignore_all"):
            with self.subTest(do):
                agent = self.start(*self.command)
                agent.task(do)
                agent.expect("PROGRESS")
                started = time.monotonic()
                agent.end_input()
                self.assertEqual(agent.wait(), 0)
                self.assertLess(time.monotonic() - started, 1.0)

    def test_shutdown_lets_a_running_task_finish(self):
        self.agent.task("return_preempted")
        self.agent.expect("PROGRESS")
        self.agent.send("SHUTDOWN", graceMs=60000)
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assertEqual(self.agent.answer()["type"], "PREEMPTED")
        self.assertEqual(self.agent.wait(), 0)

    def test_shutdown_ends_an_agent_that_outlasts_the_grace(self):
        self.agent.task("ignore_all")
        self.agent.send("SHUTDOWN", graceMs=50)
        self.assertEqual(self.agent.wait(), 0)

    def test_a_supervisor_that_stopped_reading_ends_the_agent_quietly(self):
        agent = subprocess.Popen([str(word) for word in self.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=ENVIRONMENT)
        with agent:
            agent.stdout.readline()
            agent.stdout.close()
            agent.stdin.write(b'{"type":"PING","seq":1}\n')
            agent.stdin.flush()
            self.assertEqual(agent.wait(DEADLINE_S), 0)
            self.assertNotIn(b"Error", agent.stderr.read())

    def test_interrupts_are_left_to_the_supervisor(self):
        self.agent.process.send_signal(signal.SIGINT)
        self.assertEqual(self.run_task("echo", value=1)["result"], 1)


class PythonAgent(Behaviour, AgentCase):
    command = (PYTHON, HERE / "agent.py")
    source = "agent.py"
    replacement = "?"
    pieces = ("ü" * 70000).encode() + b"\xff\x00" * 100000 + b"end"
    printed = ["printed before serve", "printed\n", "forged", "from a child", "written to descriptor 1"]
    unsendable = {"nan": "not JSON compliant", "not_json": "not JSON serializable", "huge_number": "1e308"}

    def test_ping_is_answered_while_the_handler_computes(self):
        self.agent.task("busy", stops=True)
        for seq in range(5):
            self.agent.send("PING", seq=seq)
            self.assertEqual(self.agent.expect("PONG")["seq"], seq)
        self.agent.send("CANCEL", taskId="t", reason="enough")
        self.agent.answer()

    def test_end_of_input_ends_a_computing_agent_within_a_second(self):
        self.agent.task("busy")
        self.agent.expect("PROGRESS")
        started = time.monotonic()
        self.agent.end_input()
        self.assertEqual(self.agent.wait(), 0)
        self.assertLess(time.monotonic() - started, 1.0)

    def test_a_breaker_in_an_async_handler(self):
        self.agent.task("call_async")
        call = self.asked()
        self.let_through(call)
        self.assert_told("success", call)
        self.assertEqual(self.agent.answer()["result"], "called")
        self.agent.task("call_async")
        self.agent.send("BREAKER", name="api", allow=False, retryAfterMs=2000, call=self.asked())
        self.assertEqual(self.agent.answer()["result"], ["api", 2])

    def test_an_async_call_that_is_given_up_while_it_asks_is_given_back(self):
        self.agent.task("give_up_asking")
        call = self.asked()
        self.agent.expect("LOG")
        self.let_through(call)
        self.assert_told("release", call)
        self.assertEqual(self.agent.answer()["result"], True)

    def test_without_a_supervisor_calls_go_through(self):
        source = ("import kurultai_agent as k\nwith k.breaker('api') as guard: print('called')\n"
                  "try:\n with guard: print('again')\nexcept RuntimeError as error: print(error)")
        run = subprocess.run([PYTHON, "-c", source], cwd=EXAMPLES.parent / "sdk" / "python", env=ENVIRONMENT,
                             stdout=subprocess.PIPE, check=True, text=True)
        self.assertEqual(run.stdout, "called\na breaker() guards one block: make another for the next\n")

    def test_except_exception_does_not_swallow_a_preemption(self):
        self.agent.task("swallow")
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assertEqual(self.agent.answer()["type"], "PREEMPTED")

    def test_exit_in_a_handler_fails_the_task_alone(self):
        self.assert_failed(self.run_task("exit"), "SystemExit", True)
        self.assertEqual(self.run_task("echo", value=1)["result"], 1)


@unittest.skipIf(NO_NODE, NO_NODE)
class NodeAgent(Behaviour, AgentCase):
    command = (NODE, HERE / "agent.js")
    source = "agent.js"
    replacement = "\ufffd"
    pieces = ("ü" * 70000).encode() + b"\xff\x00end"
    printed = ["printed\n", "forged"]
    unsendable = {"nan": "NaN", "not_json": "BigInt", "a_function": '"call" is'}

    def test_a_call_that_is_aborted_says_nothing(self):
        self.agent.task("abort_call")
        call = self.asked()
        self.let_through(call)
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assert_told("release", call)
        self.assertEqual(self.agent.answer()["type"], "PREEMPTED")

    def test_without_a_supervisor_calls_go_through(self):
        source = "require('./kurultai-agent.js').breaker('api', async () => 'called').then(console.log)"
        run = subprocess.run([NODE, "-e", source], cwd=EXAMPLES.parent / "sdk" / "node", env=ENVIRONMENT,
                             stdout=subprocess.PIPE, check=True, text=True)
        self.assertEqual(run.stdout, "called\n")

    def test_heap_figures_are_sent_at_most_every_five_seconds(self):
        for _ in range(3):
            self.run_task("nothing")
        self.run_task("echo", value=1)
        figures = self.agent.of_type("MEMORY")
        self.assertEqual(len(figures), 1)
        self.assertEqual(set(figures[0]), {"type", "heapUsed", "heapTotal", "external", "arrayBuffers"})
        self.assertTrue(0 < figures[0]["heapUsed"] <= figures[0]["heapTotal"])

    def test_a_stream_is_sent_in_pieces(self):
        self.assertEqual(self.run_task("stream"), {"type": "COMPLETE", "taskId": "t"})
        self.assertEqual(merged_chunks(self.agent.of_type("CHUNK")), b"one,two")

    def test_the_signal_stops_what_is_awaited(self):
        self.agent.task("abort_sleep")
        self.agent.send("PREEMPT", taskId="t", graceMs=5000)
        self.assertEqual(self.agent.answer(), {"type": "PREEMPTED", "taskId": "t"})
        self.agent.task("abort_sleep")
        self.agent.send("CANCEL", taskId="t", reason="asked")
        self.assert_failed(self.agent.answer(), "cancelled", False)

    def test_anything_can_be_thrown(self):
        self.assertEqual(self.run_task("fail_oddly")["type"], "FAILED")

    def test_the_module_can_be_imported_too(self):
        module = HERE.parents[1] / "worker" / "sdk" / "node" / "kurultai-agent.js"
        agent = self.start(NODE, "--input-type=module", "-e",
                           f"import {{ serve, Fatal }} from {json.dumps(module.as_uri())};"
                           "serve(() => { throw new Fatal('imported'); });")
        agent.task("anything")
        self.assertEqual(agent.answer()["error"], "imported")


class Examples(AgentCase):
    def result_of(self, agent, payload):
        agent.send("TASK", taskId="t", agent="example", payload=payload, attempt=1, priority="normal")
        return agent.answer()

    def test_a_preempted_count_goes_on_and_ends_like_an_undisturbed_one(self):
        agent = self.start(PYTHON, EXAMPLES / "count.py")
        undisturbed = self.result_of(agent, {"to": 60})["result"]
        self.assertEqual(undisturbed, {"sum": 1830, "steps_run": 60})

        payload, checkpoint, saved = {"to": 60, "delay_ms": 2}, {}, 0
        for stop_after in (5, 20):
            agent.send("TASK", taskId="t", payload=payload, **checkpoint)
            while saved < stop_after:
                saved = agent.expect("CHECKPOINT")["state"]["done"]
            agent.send("PREEMPT", taskId="t", graceMs=5000)
            answer = agent.answer()
            self.assertEqual(answer["type"], "PREEMPTED")
            checkpoint = {"checkpoint": answer["state"]}

        other = self.start(PYTHON, EXAMPLES / "count.py")  # the next run may be in another worker
        other.send("TASK", taskId="t", payload=payload, **checkpoint)
        result = other.answer()["result"]
        self.assertEqual(result["sum"], undisturbed["sum"])
        self.assertEqual(result["steps_run"], 60 - answer["state"]["done"])

    def test_wordcount_counts_texts_and_files(self):
        agent = self.start(PYTHON, EXAMPLES / "wordcount.py")
        text = "the cat and the hat\nThe end"
        expected = {"words": 7, "distinct": 5, "most": [["the", 3], ["cat", 1], ["and", 1], ["hat", 1], ["end", 1]]}
        self.assertEqual(self.result_of(agent, {"text": text})["result"], expected)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            self.assertEqual(self.result_of(agent, {"path": file.name})["result"], expected)
        self.assertFalse(self.result_of(agent, {})["retryable"])

    def test_leak_touches_what_it_takes(self):
        agent = self.start(PYTHON, EXAMPLES / "leak.py")
        answer = self.result_of(agent, {"step_mib": 8, "interval_ms": 0, "max_mib": 24})
        self.assertEqual(answer["result"], {"mib": 24})
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        peak_kib = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        self.assertGreater(peak_kib, 24 * 1024)

    @unittest.skipIf(NO_NODE, NO_NODE)
    def test_digest_hashes_texts_and_files(self):
        agent = self.start(NODE, EXAMPLES / "digest.js")
        data = b"some bytes " * 50000
        expected = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        self.assertEqual(self.result_of(agent, {"text": data.decode()})["result"], expected)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.assertEqual(self.result_of(agent, {"path": file.name})["result"], expected)
        self.assertGreater(len(agent.of_type("PROGRESS")), 0)
        self.assertEqual(self.result_of(agent, {"path": "/nonexistent"})["type"], "FAILED")
        self.assertFalse(self.result_of(agent, {})["retryable"])

    def test_the_shell_agent_answers_whatever_the_payload_holds(self):
        agent = self.start("sh", EXAMPLES / "shell-agent.sh")
        payloads = ({}, {"type": "TASK", "taskId": "x"}, "a\\n\\\"\u2028'$(id)%s", None)
        for number, payload in enumerate(payloads, start=1):
            self.assertEqual(self.result_of(agent, payload), {"type": "COMPLETE", "taskId": "t",
                                                              "result": {"answered": number}})
        agent.send_bytes(b"noise\n")
        agent.send("PING", seq=42)
        self.assertEqual(agent.expect("PONG")["seq"], 42)
        agent.send("SHUTDOWN", graceMs=1000)
        self.assertEqual(agent.wait(), 0)


if __name__ == "__main__":
    if NO_NODE:
        print(f"NOTE: {NO_NODE}: the Node SDK and its example are NOT tested (apt-get install nodejs)",
              file=sys.stderr)
    unittest.main()
