"""kurultai-worker --mcp-host: an MCP server's calls as tasks, told by a server that does as it is told."""

import json
import os
import signal
import sys
import unittest

from worker_process import MIB, NOBODY, PATIENCE, Host, WorkerTest, is_sanitized, needs_root, status_of, wait_until

SERVER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "mcp", "fake_server.py")


class McpHost(Host):
    """The supervisor's side of an MCP host."""

    def __init__(self, test, *server, options=()):
        super().__init__(test, *options, "--mcp-host", "--", sys.executable, "-S", SERVER, *server)
        self.tools = []

    def line(self, patience=PATIENCE):
        """The next line that is no list of tools; the newest list is kept."""
        while True:
            line = super().line(patience)
            if not line.startswith(b'{"type":"TOOLS"'):
                return line
            self.tools = [tool["name"] for tool in json.loads(line)["tools"]]

    def begin(self, payload, task_id="t1", **fields):
        message = {"type": "TASK", "taskId": task_id, "agent": "test", "payload": payload, "inlineLimitBytes": 65536,
                   "resultLimitBytes": 1 << 30, "resultFile": self.file(task_id), "graceMs": 5000}
        self.say(**{**message, **fields})

    def tool(self, tool, task_id="t1", fields=None, **arguments):
        self.begin({"tool": tool, "arguments": arguments}, task_id, **(fields or {}))

    def call(self, tool, task_id="t1", fields=None, **arguments):
        self.tool(tool, task_id, fields, **arguments)
        return self.answer()

    def seen(self):
        return self.call("seen")["result"]["structuredContent"]

    def wait_for_tools(self, count):
        wait_until(lambda: self.call("echo", text="") and len(self.tools) == count, f"{count} tools are told")
        return self.tools


class McpTest(WorkerTest):
    def start(self, *server, options=(), ready=True):
        host = McpHost(self, *server, options=options)
        if ready:
            self.assertEqual(host.answer(), {"type": "READY", "protocol": 1, "name": "fake"})
        return host

    def failure(self, answer, reason="agent_error"):
        self.assertEqual((answer["type"], answer["reason"]), ("FAILED", reason), answer)
        return answer["error"]


class Start(McpTest):
    def test_the_server_is_told_who_asks_and_when_it_may_begin(self):
        seen = self.start().seen()
        self.assertEqual(seen["initialized"], 1)
        self.assertEqual(seen["initialize"]["protocolVersion"], "2025-06-18")
        self.assertEqual(seen["initialize"]["clientInfo"]["name"], "kurultai")
        self.assertEqual(seen["initialize"]["capabilities"], {})

    def test_older_versions_are_spoken_too(self):
        for version in ("2025-03-26", "2024-11-05"):
            with self.subTest(version):
                self.assertEqual(self.start(f"version={version}").call("echo", text="hi")["type"], "COMPLETE")

    def test_a_version_that_is_not_known_ends_it_with_the_names_of_those_that_are(self):
        host = self.start("version=1999-01-01", ready=False)
        self.assertEqual(host.process.wait(PATIENCE), 125)
        complaint = host.process.stderr.read().decode()
        self.assertIn("kurultai-worker: it speaks MCP '1999-01-01', and none of 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05", complaint)

    def test_a_server_that_refuses_says_why(self):
        host = self.start("refuse", ready=False)
        self.assertEqual(host.process.wait(PATIENCE), 125)
        self.assertIn("initialize: not today (JSON-RPC error -32600)", host.process.stderr.read().decode())

    def test_a_server_that_leaves_at_once_is_followed(self):
        host = self.start("exit=9", ready=False)
        self.assertEqual(host.process.wait(PATIENCE), 9)

    def test_a_command_that_is_not_there_is_named(self):
        ended = self.run_worker("--mcp-host", "--", "no-such-server")
        self.assertEqual((ended.returncode, ended.stderr), (127, "kurultai-worker: exec no-such-server: No such file or directory\n"))

    def test_noise_before_the_start_is_handed_on_and_never_as_a_message(self):
        host = McpHost(self, "noise")
        lines = [host.line() for _ in range(4)]
        self.assertEqual(lines[:3], ["Starting up…".encode(), b'not a message of MCP: {"type":"READY"}', b"123"])
        self.assertEqual(json.loads(lines[3])["type"], "READY")

    def test_all_pages_of_tools_are_told_and_again_when_they_change(self):
        host = self.start()
        self.assertEqual(host.wait_for_tools(14)[-1], "tools")
        self.assertEqual(host.call("tools", names=["a", "b"])["type"], "COMPLETE")
        self.assertEqual(host.wait_for_tools(2), ["a", "b"])

    def test_a_ping_is_answered_when_the_server_answers_one(self):
        host = self.start()
        host.say(type="PING", seq=7)
        self.assertEqual(host.answer(), {"type": "PONG", "seq": 7})
        host.tool("sleep", seconds=0.4)
        host.say(type="PING", seq=8)
        with self.assertRaises(AssertionError):
            host.answer(patience=0.2)
        self.assertEqual([host.answer()["type"] for _ in range(2)], ["COMPLETE", "PONG"])

    def test_a_thousand_tools_are_cut_to_what_may_be_told(self):
        host = self.start()
        host.wait_for_tools(14)  # else the first list may still be under way, and end with the new ones
        host.call("tools", names=[f"tool-{n}-" + "x" * 200 for n in range(1000)])
        self.assertEqual(len(host.wait_for_tools(256)[0]), 128)


class Calls(McpTest):
    def test_the_result_is_what_the_server_gave(self):
        answer = self.start().call("echo", text="hällo", n=[1, {"a": None}])
        self.assertEqual(answer["result"], {"content": [{"type": "text", "text": "hällo"}], "structuredContent": {"text": "hällo", "n": [1, {"a": None}]}})

    def test_resources_and_prompts_are_read(self):
        host = self.start()
        host.begin({"resource": "file:///x"})
        self.assertEqual(host.answer()["result"], {"contents": [{"uri": "file:///x", "text": "what is there"}]})
        host.begin({"prompt": "greet", "arguments": {"who": "Ada"}})
        self.assertEqual(json.loads(host.answer()["result"]["messages"][0]["content"]["text"]), {"who": "Ada"})

    def test_what_the_tool_calls_an_error_fails_with_its_text_and_its_result(self):
        answer = self.start().call("fail", text="no such city")
        self.assertEqual(self.failure(answer), "no such city")
        self.assertTrue(answer["retryable"])
        self.assertTrue(answer["result"]["isError"])

    def test_an_unknown_tool_fails_with_those_that_there_are(self):
        host = self.start()
        host.wait_for_tools(14)
        answer = host.call("ehco")
        self.assertEqual(self.failure(answer), "no tool ehco (JSON-RPC error -32602) "
                         "(its tools: echo, hold, release, seen, ask, reply, huge, progress, sleep, die, …)")
        self.assertFalse(answer["retryable"])

    def test_a_payload_that_is_no_call_fails_at_once(self):
        host = self.start()
        for payload in (None, 5, "echo", [], {}, {"tool": 5}, {"tool": "echo", "args": {}}, {"tool": "echo", "arguments": [1]}):
            with self.subTest(str(payload)):
                host.begin(payload)
                answer = host.answer()
                self.failure(answer)
                self.assertFalse(answer["retryable"])

    def test_a_payload_may_come_in_a_file(self):
        path = self.path("payload")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"tool": "echo", "arguments": {"text": "y" * 200_000}}, file)
        host = self.start()
        host.begin(None, payloadFile=path)
        self.assertEqual(host.answer()["fileBytes"], os.path.getsize(host.file()))
        with open(path, "w", encoding="utf-8") as file:
            file.write("x" * (17 * MIB))
        host.begin(None, payloadFile=path)
        self.assertIn("larger than 16MiB", self.failure(host.answer()))

    def test_calls_run_at_once_and_are_answered_in_any_order(self):
        host = self.start()
        for number in range(100):
            host.tool("hold", f"t{number}", name=f"n{number}")
        for number in reversed(range(100)):
            host.tool("release", "r", name=f"n{number}")
            self.assertEqual([host.answer()["taskId"] for _ in range(2)], [f"t{number}", "r"])

    def test_progress_is_of_its_task(self):
        host = self.start()
        steps = [{"progress": 1, "total": 4}, {"progress": 3, "total": 4, "message": "nearly"}, {"progress": 5, "total": 4}, {"progress": 7},
                 {"progress": 1e308, "total": 1e-308}, {"progress": 0, "total": 0}, {"progress": -1, "total": 2}]
        host.tool("progress", steps=steps)
        told = [host.answer() for _ in steps]
        self.assertEqual([(m["type"], m["taskId"], m["percent"], m.get("message")) for m in told],
                         [("PROGRESS", "t1", percent, message) for percent, message in
                          ((25, None), (75, "nearly"), (100, None), (0, "7"), (100, None), (0, "0"), (0, None))])
        self.assertEqual(host.answer()["type"], "COMPLETE")

    def test_a_server_may_ask_and_log(self):
        host = self.start()
        for method, expected in (("ping", {"result": {}}), ("roots/list", {"result": {"roots": []}})):
            self.assertEqual(host.call("ask", method=method)["result"]["structuredContent"], expected)
        for method in ("sampling/createMessage", "elicitation/create", "no/such"):
            self.assertEqual(host.call("ask", method=method)["result"]["structuredContent"]["error"]["code"], -32601)
        levels = (("debug", "debug"), ("notice", "info"), ("warning", "warn"), ("alert", "error"), ("news", "info"))
        lines = [json.dumps({"method": "notifications/message", "params": {"level": level, "logger": "db", "data": {"a": 1}}}) for level, _ in levels]
        host.tool("reply", lines=lines)
        for _, level in levels:
            self.assertEqual(host.answer(), {"type": "LOG", "level": level, "message": 'db: {"a":1}'})

    def test_the_agents_directory_is_its_root(self):
        odd = self.path("a b%ü")
        os.makedirs(odd)
        host = self.start(options=("--cwd", odd))
        seen = host.seen()
        self.assertEqual((seen["cwd"], "roots" in seen["initialize"]["capabilities"]), (odd, True))
        root = host.call("ask", method="roots/list")["result"]["structuredContent"]["result"]["roots"][0]
        self.assertEqual(root["uri"], "file://" + self.scratch.name + "/a%20b%25%C3%BC")

    @needs_root
    def test_the_server_alone_runs_as_the_agents_user(self):
        host = self.start(options=("--uid", str(NOBODY), "--gid", str(NOBODY), "--cwd", "/"))
        self.assertEqual(status_of(host.seen()["pid"])["Uid"].split(), [str(NOBODY)] * 4)
        self.assertEqual(status_of(host.process.pid)["Uid"].split(), ["0"] * 4)


class Stops(McpTest):
    def test_a_cancellation_reaches_the_server_and_is_answered_when_it_lives(self):
        host = self.start()
        host.tool("hold", "t7", name="a")
        host.say(type="CANCEL", taskId="t7", reason="user")
        answer = host.answer()
        self.assertEqual((answer["taskId"], self.failure(answer, "cancelled")), ("t7", "cancelled: user"))
        self.assertEqual(host.seen()["cancelled"][0]["reason"], "user")
        # A late answer is for nobody; nothing of it is heard.
        self.assertEqual(host.call("release", name="a")["taskId"], "t1")

    def test_a_server_that_hangs_answers_no_cancellation(self):
        host = self.start()
        host.tool("sleep", "t7", seconds=0.7)
        host.say(type="CANCEL", taskId="t7", reason="")
        with self.assertRaises(AssertionError):
            host.answer(patience=0.3)
        self.assertEqual(self.failure(host.answer(), "cancelled"), "cancelled")  # then it wakes up

    def test_a_preempted_call_is_handed_back(self):
        host = self.start()
        host.tool("hold", "t7", name="a")
        host.say(type="PREEMPT", taskId="t7", graceMs=1000)
        self.assertEqual(host.answer(), {"type": "PREEMPTED", "taskId": "t7"})
        self.assertEqual(host.seen()["cancelled"][0]["reason"], "preempted")

    def test_a_call_that_may_be_made_once_only_is_not_handed_back(self):
        host = self.start()
        host.tool("hold", "t7", {"idempotent": False}, name="a")
        host.say(type="PREEMPT", taskId="t7", graceMs=1000)
        host.tool("release", name="a")
        self.assertEqual(host.answer()["taskId"], "t7")

    def test_shutdown_ends_the_server_by_the_end_of_its_input(self):
        host = self.start("child")
        host.say(type="SHUTDOWN", graceMs=30_000)
        self.assertEqual(host.end(), 0)
        self.assert_nothing_left()

    def test_one_that_does_not_heed_it_is_ended_in_the_grace(self):
        host = self.start("stubborn", "child")
        host.say(type="SHUTDOWN", graceMs=300)
        self.assertEqual(host.end(), 0)
        self.assert_nothing_left()

    def test_nothing_outlives_the_supervisor(self):
        supervisor = self.start_under_supervisor("--mcp-host", "--", sys.executable, "-S", SERVER, "stubborn", "child", feed=b"\n")
        wait_until(lambda: len(self.marked()) >= 4, "the server runs")
        supervisor.kill()
        self.assert_nothing_left()

    def test_the_servers_end_is_the_hosts(self):
        for arguments, status in (({"status": 3}, 3), ({}, 0), ({"signal": signal.SIGKILL}, -signal.SIGKILL)):
            with self.subTest(str(arguments)):
                host = self.start("child")
                host.tool("hold", "t7", name="a")
                host.tool("die", **arguments)
                self.assertEqual(host.process.wait(PATIENCE), status)
                self.assert_nothing_left()

    def test_a_server_that_closes_its_output_has_its_pipe_closed(self):
        host = self.start()
        host.tool("close")
        with self.assertRaises(EOFError):
            host.answer()
        self.assertIsNone(host.process.poll())
        host.process.send_signal(signal.SIGTERM)
        self.assertEqual(host.process.wait(PATIENCE), 0)


class BadAnswers(McpTest):
    def reply(self, host, *lines):
        host.tool("reply", lines=list(lines))

    def test_answers_to_nothing_and_second_answers_are_noise(self):
        host = self.start()
        self.reply(host, '{"id":ID,"result":{"n":1}}', '{"id":ID,"result":{"n":2}}', '{"id":4711,"result":{}}', '{"id":"x","result":{}}', '{"id":-1,"result":{}}')
        self.assertEqual(host.answer()["result"], {"n": 1})
        self.assertIn(b"an answer to nothing that was asked: id ", host.line())
        self.assertEqual(host.line(), b"an answer to nothing that was asked: id 4711")
        self.assertIn(b"not a message of MCP: ", host.line())
        self.assertIn(b"not a message of MCP: ", host.line())
        self.assertEqual(host.call("echo", text="still there")["type"], "COMPLETE")

    def test_an_answer_that_is_broken_fails_its_call_alone(self):
        deep = "[" * 200 + "]" * 200
        for line, why in (('{"id":ID,"result":{"n":1e400}}', "number"), ('{"id":ID,"result":%s}' % deep, "nesting deeper than 64"),
                          ('{"result":%s,"id":ID}' % deep, "nesting deeper than 64"), ('{"id":ID}', "neither a result nor an error"),
                          ('{"id":ID,"result":{"a":nul}}', "byte")):
            with self.subTest(line[:40]):
                host = self.start()
                host.tool("hold", "other", name="a")
                self.reply(host, line)
                answer = host.answer()
                self.assertEqual(answer["taskId"], "t1")
                self.assertIn(why, self.failure(answer, "protocol_error"))
                host.tool("release", name="a")
                self.assertEqual(host.answer()["taskId"], "other")

    def test_what_is_no_message_is_noise(self):
        host = self.start()
        self.reply(host, "Warning: slow", '{"a":1}', "{", "[]", "nul", '{"id":null,"error":{"code":-32700,"message":"parse"}}', '{"id":ID,"result":{}}')
        lines = [host.line() for _ in range(5)]
        self.assertEqual(lines, [b"Warning: slow", b'not a message of MCP: {"a":1}', b"not a message of MCP: {", b"nul",
                                 b'not a message of MCP: {"error":{"code":-32700,"message":"parse"},"id":null}'])
        self.assertEqual(host.answer()["type"], "COMPLETE")

    def test_batches_are_taken_apart(self):
        host = self.start()
        self.reply(host, '[{"method":"notifications/message","params":{"data":"x"}},{"id":ID,"result":{"n":1}},5]')
        self.assertEqual(host.answer()["message"], "x")
        self.assertEqual(host.answer()["result"], {"n": 1})

    def test_a_flood_of_notifications_and_questions_drowns_nothing(self):
        host = self.start()
        question = '{"id":"q","method":"ping"}'
        self.reply(host, *['{"method":"notifications/tools/list_changed"}', '{"method":"no/such","params":{}}', question] * 3000, '{"id":ID,"result":{}}')
        self.assertEqual(host.answer()["type"], "COMPLETE")
        self.assertLess(host.seen()["lists"], 3000)


class LargeAnswers(McpTest):
    def file_of(self, answer, task_id="t1"):
        with open(self.host.file(task_id), "rb") as file:
            data = file.read()
        self.assertEqual(answer["fileBytes"], len(data))
        os.unlink(self.host.file(task_id))
        return data

    def test_what_is_more_than_the_inline_limit_is_in_the_file(self):
        self.host = self.start()
        for size in (65_000, 70_000, 900_000, 1_048_000, 1_048_576, 1_100_000, 3_000_000):
            for first in (False, True):
                with self.subTest(size=size, first=first):
                    answer = self.host.call("huge", bytes=size, first=first)
                    result = answer["result"] if size < 65536 else json.loads(self.file_of(answer))
                    self.assertEqual(result, {"content": [{"type": "text", "text": "x" * size}]})

    def test_a_huge_answer_is_not_held(self):
        self.host = self.start()
        answer = self.host.call("huge", bytes=130 * MIB)
        self.assertEqual(answer["fileBytes"], 130 * MIB + len('{"content":[{"type":"text","text":""}]}'))
        self.assertEqual(os.path.getsize(self.host.file()), answer["fileBytes"])
        if not is_sanitized():
            self.assertLess(int(status_of(self.host.process.pid)["VmHWM"].split()[0]), 12 * 1024)

    def test_a_huge_error_is_one(self):
        self.host = self.start()
        answer = self.host.call("huge", bytes=2_000_000, failed=True)
        self.assertIn("what it says is in the result", self.failure(answer))
        self.assertTrue(json.loads(self.file_of(answer))["isError"])
        self.host.tool("reply", lines=['{"id":ID,"error":{"code":-32000,"message":"%s"}}' % ("y" * 2_000_000)])
        self.assertIn('"code":-32000', self.failure(self.host.answer()))

    def test_an_id_that_is_cut_off_is_nobodys(self):
        self.host = self.start()
        self.host.tool("reply", lines=['{"id":ID', '{"x":"%s","id":ID' % ("y" * 2_000_000), '{"id":ID,"result":{"x":1}}'])
        self.assertIn(b"not a message of MCP", self.host.line())
        self.assertIn(b"that answers nothing", self.host.line())
        self.assertEqual(self.host.answer()["result"], {"x": 1})

    def test_a_huge_answer_is_understood_however_it_is_spaced_and_null_is_no_error(self):
        self.host = self.start()
        self.host.tool("reply", lines=['{"error": null, "id":%sID, "result": {"x":"%s"}}' % (" " * 40, "y" * 2_000_000)])
        self.assertEqual(len(self.file_of(self.host.answer())), 2_000_009)
        self.host.tool("reply", lines=['{"id":ID,"result":{"isError":\ttrue\t,"x":"%s"}}' % ("y" * 2_000_000)])
        answer = self.host.answer()
        self.assertIn("what it says is in the result", self.failure(answer))
        self.file_of(answer)

    def test_more_than_the_result_limit_fails_its_call_alone(self):
        self.host = self.start()
        for size in (200_000, 5_000_000):
            answer = self.host.call("huge", fields={"resultLimitBytes": 102_400}, bytes=size)
            self.assertEqual(self.failure(answer), "result larger than 100KiB")
        self.assertEqual(os.listdir(self.host.results), [])
        self.assertEqual(self.host.call("echo", text="x")["type"], "COMPLETE")

    def test_a_huge_line_that_answers_nothing_leaves_nothing(self):
        self.host = self.start()
        self.host.tool("reply", lines=['{"id":99,"result":"%s"}' % ("z" * 2_000_000), '{"method":"notifications/message","params":"%s"}' % ("z" * 2_000_000),
                                       "z" * 2_000_000, '{"id":ID,"result":{}}'])
        for _ in range(3):
            self.assertIn(b"that answers nothing", self.host.line())
        self.assertEqual(self.host.answer()["type"], "COMPLETE")
        self.assertEqual(os.listdir(self.host.results), [])

    def test_a_huge_answer_that_is_broken_fails_its_call(self):
        self.host = self.start()
        for broken, why in ((',"b":nul', "not JSON"), (',"b":' + "[" * 100 + "]" * 100, "nesting deeper than 64")):
            self.host.tool("reply", lines=['{"id":ID,"result":{"a":"%s"%s}}' % ("z" * 2_000_000, broken)])
            self.assertIn(why, self.failure(self.host.answer()))
        self.assertEqual(os.listdir(self.host.results), [])


if __name__ == "__main__":
    unittest.main()
