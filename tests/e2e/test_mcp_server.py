#!/usr/bin/env python3
"""`kurultai mcp`: a supervisor as an MCP server, and `--proxy`: an agent as if it were its own server, for many clients."""
import json
import os
import re
import signal
import subprocess
import sys
import unittest

import harness
from harness import E2E, PYTHON, ROOT, client, wait_until
from puppet import puppet, settings

sys.path.insert(0, os.path.join(ROOT, "tests", "mcp"))
import npm_clients
import npm_servers
from raw_client import RawClient

KURULTAI = os.path.join(harness.BIN, "kurultai")
FAKE = [PYTHON, "-S", os.path.join(ROOT, "tests", "mcp", "fake_server.py")]
VERSIONS = ("2025-06-18", "2025-03-26", "2024-11-05")
SHELL = {"protocol": "exec", "command": ["sh", "-c", "{script}"], "grace": "300ms"}
PARSE, REQUEST, METHOD, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603


def fake(*options, **fields):
    return {"protocol": "mcp", "command": [*FAKE, *options], "grace": "2s", "concurrency": 8, **fields}


class McpServer(E2E):
    def connect(self, command, begin=True, **kw):
        one = RawClient(command, harness.PATIENCE, **kw)
        self.addCleanup(one.close)
        if begin:
            self.assertIn("result", one.begin())
        return one

    def mcp(self, daemon, *args, **kw):
        return self.connect([KURULTAI, "--socket", daemon.socket, "mcp", *args], **kw)

    def proxy(self, daemon, agent="tools", **kw):
        return self.mcp(daemon, "--proxy", agent, **kw)

    def good(self, answer):
        """What a tool gave, whose text says the same."""
        result = answer["result"]
        self.assertNotIn("isError", result)
        self.assertEqual(json.loads(result["content"][0]["text"]), result["structuredContent"])
        return result["structuredContent"]

    def refused(self, answer, code):
        result = answer["result"]
        self.assertTrue(result["isError"], result)
        self.assertNotIn("structuredContent", result)
        error = json.loads(result["content"][0]["text"])["error"]
        self.assertEqual(error["code"], code, error)
        return error

    def error(self, answer, code, *words):
        self.assertEqual(answer["error"]["code"], code, answer)
        for word in words:
            self.assertIn(word, answer["error"]["message"])


class Conversation(McpServer):
    def test_versions_are_agreed_on(self):
        daemon = self.daemon(settings())
        for wanted, given in [(one, one) for one in VERSIONS] + [("1999-01-01", VERSIONS[0]), (None, VERSIONS[0])]:
            with self.subTest(wanted):
                one = self.mcp(daemon, begin=False)
                result = one.begin(wanted)["result"]
                self.assertEqual((result["protocolVersion"], result["serverInfo"]["name"]), (given, "kurultai"))
                self.assertEqual(result["capabilities"], {"tools": {}, "resources": {}})

    def test_bad_lines_are_answered_and_harm_nothing(self):
        one = self.mcp(self.daemon(settings()), begin=False)
        one.write("not json\n\n  \n{\"jsonrpc\": \"2.0\"")
        one.write("}\n[]\n5\n" + "[" * 100 + "\n" + b"\xff\xfe".decode("latin-1") + "\n")
        codes = [one.odd_answer()["error"]["code"] for _ in range(6)]
        self.assertEqual(codes, [PARSE, REQUEST, REQUEST, REQUEST, PARSE, PARSE])
        for message, code in (({"id": 1, "method": 5}, REQUEST), ({"id": 1}, REQUEST), ({"id": 1, "method": "ping", "params": []}, PARAMS),
                              ({"id": 1, "method": "no/such"}, METHOD), ({"id": 1, "method": "tools/call", "params": {"name": "nothing"}}, PARAMS),
                              ({"id": 1, "method": "tools/call"}, PARAMS), ({"id": 1, "method": "tools/list", "params": {"cursor": "x"}}, PARAMS),
                              ({"id": 1, "method": "tools/call", "params": {"name": "get_task", "arguments": 5}}, PARAMS)):
            with self.subTest(message):
                one.say(**message)
                self.error(one.answer(1), code)
        one.write('{"id": 2, "method": "ping"}\n')
        self.error(one.answer(2), REQUEST, "jsonrpc")
        one.say(id=None, method="ping")
        self.error(one.odd_answer(), REQUEST)
        one.say(id=7, result={})  # answers nothing that we asked
        one.say(method="notifications/cancelled", params={"requestId": "unknown"})
        one.say(method="notifications/unknown")
        for id_ in ("a", 3, -4, 1.5):
            self.assertEqual(one.ask("ping", id_=id_), {"result": {}})

    def test_what_came_in_one_array_is_answered_in_one(self):
        one = self.mcp(self.daemon(settings()), begin=False)
        one.begin("2025-03-26")
        batch = [{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "method": "notifications/x"}, 5,
                 {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "memory_headroom"}}]
        one.write(json.dumps(batch) + "\n" + json.dumps(batch[1:2]) + "\n")
        self.assertEqual(self.good(one.answer(2))["budgetBytes"], 1 << 30)
        self.assertEqual((one.batches, one.answer(1)["result"], one.odd_answer()["error"]["code"]), ([3], {}, REQUEST))
        self.assertEqual(one.ask("ping"), {"result": {}})

    def test_a_line_that_is_too_long_is_refused_and_the_next_one_read(self):
        one = self.mcp(self.daemon(settings()))
        one.write(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"' + b"x" * (8 << 20) + b'"}}\n')
        self.error(one.odd_answer(), REQUEST, "longer than 8MiB")
        self.assertEqual(one.ask("ping"), {"result": {}})

    def test_the_end_of_input_ends_it(self):
        daemon = self.daemon(settings({"shell": SHELL}))
        one = self.mcp(daemon)
        self.assertEqual(one.close(), 0)
        two = self.mcp(daemon)
        two.send("tools/call", {"name": "submit_task", "arguments": {"agent": "shell", "payload": {"script": "echo late"}, "waitSeconds": 60}}, id_="x")
        two.process.stdin.close()
        self.assertEqual(two.answer("x")["result"]["structuredContent"]["result"], "late\n")  # what was asked is still answered
        self.assertEqual(two.close(), 0)

    def test_a_client_that_has_gone_or_a_signal_ends_it(self):
        daemon = self.daemon(settings())
        for signal_, status in ((signal.SIGTERM, 130), (signal.SIGINT, 130)):
            one = self.mcp(daemon)
            one.process.send_signal(signal_)
            self.assertEqual(one.process.wait(30 * harness.PATIENCE), status)
        gone = subprocess.Popen([KURULTAI, "--socket", daemon.socket, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        gone.stdout.close()
        gone.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        gone.stdin.close()
        self.assertEqual(gone.wait(30 * harness.PATIENCE), 0)

    def test_without_a_supervisor_it_says_what_to_do(self):
        for args in ([], ["--proxy", "tools"]):
            one = self.connect([KURULTAI, "--socket", "/nowhere/s", "mcp", *args])
            said = one.ask("tools/list")
            if args:
                self.error(said, INTERNAL, "no supervisor at /nowhere/s; start one with")
            else:
                self.assertEqual(len(said["result"]["tools"]), 9)
            error = self.refused(one.call("list_agents"), "no_supervisor")
            self.assertTrue(error["message"].startswith("no supervisor at /nowhere/s; start one with `kurultaid"), error)

    def test_help_shows_how_to_add_it(self):
        text = subprocess.run([KURULTAI, "mcp", "--help"], capture_output=True, text=True, check=True).stdout
        self.assertIn("claude mcp add", text)
        self.assertIn("--proxy AGENT", text)


class Tools(McpServer):
    def start(self, agents=None, **sections):
        daemon = self.daemon(settings({"shell": SHELL, "puppet": puppet(), **(agents or {})}, **sections))
        return daemon, self.mcp(daemon)

    def submit(self, one, script, **fields):
        return self.good(one.call("submit_task", agent="shell", payload={"script": script}, **fields))

    def test_every_tool_is_described(self):
        _, one = self.start()
        tools = {tool["name"]: tool for tool in one.ask("tools/list")["result"]["tools"]}
        self.assertEqual(sorted(tools), ["cancel_task", "get_task", "list_agents", "list_tasks", "memory_headroom", "read_result", "submit_task", "task_logs",
                                         "wait_for_task"])
        for tool in tools.values():
            self.assertTrue(tool["title"] and tool["description"])
            self.assertEqual((tool["inputSchema"]["type"], tool["outputSchema"]["type"]), ("object", "object"))
        changing = {name for name, tool in tools.items() if not tool["annotations"]["readOnlyHint"]}
        self.assertEqual((changing, tools["cancel_task"]["annotations"]["destructiveHint"]), ({"submit_task", "cancel_task"}, True))

    def test_a_task_from_submission_to_result(self):
        daemon, one = self.start()
        task = self.submit(one, "echo hi; echo oops >&2")
        self.assertEqual((task["finished"], task["state"] in ("queued", "running")), (False, True))
        ended = self.good(one.call("wait_for_task", taskId=task["taskId"]))
        self.assertEqual((ended["state"], ended["finished"], ended["result"]), ("completed", True, "hi\n"))
        self.assertEqual(self.good(one.call("get_task", taskId=task["taskId"])), ended)
        self.assertEqual(self.good(one.call("task_logs", taskId=task["taskId"])), {"taskId": task["taskId"], "text": "oops\n", "leftOutBytes": 0})
        self.assertEqual(self.good(one.call("task_logs", taskId=task["taskId"], bytes=3))["text"], "ps\n")
        failed = self.submit(one, "exit 3", waitSeconds=60, priority="high")
        self.assertEqual((failed["state"], failed["priority"], failed["error"]), ("failed", "high", {"reason": "exit_code", "message": "exit status 3", "exitCode": 3}))
        self.assertEqual(daemon.task(failed["taskId"])["priority"], "high")

    def test_a_wait_that_runs_out_gives_the_task_as_it_is(self):
        _, one = self.start()
        task = self.submit(one, "sleep 60", waitSeconds=1)
        self.assertFalse(task["finished"])
        self.assertFalse(self.good(one.call("wait_for_task", taskId=task["taskId"], waitSeconds=0))["finished"])
        self.assertIn(self.good(one.call("cancel_task", taskId=task["taskId"]))["state"], ("running", "cancelled"))
        self.assertEqual(self.good(one.call("wait_for_task", taskId=task["taskId"]))["state"], "cancelled")

    def test_a_long_result_comes_in_parts(self):
        _, one = self.start()
        task = self.submit(one, "i=0; while [ $i -lt 5000 ]; do echo läuft-$i-und-weiter; i=$((i+1)); done", waitSeconds=60)
        self.assertNotIn("result", task)
        text, offset = "", 0
        while offset is not None:
            part = self.good(one.call("read_result", taskId=task["taskId"], offset=offset, bytes=1001))
            text += part["text"]
            self.assertEqual(part["bytes"], len(part["text"].encode()))
            offset = part.get("nextOffset")
        self.assertEqual((len(text.encode()), text.count("\n")), (task["resultBytes"], 5000))
        short = self.submit(one, "head -c 40000 /dev/zero | tr '\\0' x", waitSeconds=60)  # the API has it inline
        self.assertEqual((short["resultBytes"], "result" in short), (40000, False))
        binary = self.submit(one, "printf '\\377\\376'", waitSeconds=60)
        self.assertEqual(self.good(one.call("read_result", taskId=binary["taskId"]))["base64"], "//4=")

    def test_lists(self):
        _, one = self.start({"tools": fake()})
        ids = [self.submit(one, f"echo {n}", waitSeconds=60)["taskId"] for n in range(3)]
        self.submit(one, "exit 1", waitSeconds=60)
        page = self.good(one.call("list_tasks", state="completed", limit=2))
        self.assertEqual([task["taskId"] for task in page["tasks"]], ids[:0:-1])
        self.assertNotIn("result", page["tasks"][0])
        rest = self.good(one.call("list_tasks", state="completed", limit=2, after=page["next"]))
        self.assertEqual(([task["taskId"] for task in rest["tasks"]], "next" in rest), (ids[:1], False))
        agents = {agent["name"]: agent for agent in self.good(one.call("list_agents"))["agents"]}
        self.assertEqual((agents["shell"]["completed"], agents["shell"]["failed"], agents["tools"]["protocol"]), (3, 1, "mcp"))
        room = self.good(one.call("memory_headroom"))
        self.assertEqual(room["budgetBytes"], 1 << 30)
        self.assertTrue(0 < room["untilPreemptBytes"] < room["untilRejectBytes"] < room["freeBytes"] < 1 << 30)

    def test_refusals_are_for_the_model_to_act_on(self):
        limits = dict.fromkeys(["critical", "high", "normal", "low", "heartbeat"], 1)
        _, one = self.start(workers={"max": 1}, queue={"max_depth": 1, "limits": limits})
        self.refused(one.call("submit_task", agent="nobody"), "unknown_agent")
        self.refused(one.call("get_task", taskId="nosuchtask"), "not_found")
        for wrong in ({}, {"agent": 5}, {"agent": "shell", "priority": "urgent"}, {"agent": "shell", "waitSeconds": 9999}, {"agent": "shell", "script": "x"}):
            self.refused(one.call("submit_task", **wrong), "invalid_arguments")
        running = self.submit(one, "sleep 60")["taskId"]
        wait_until(lambda: self.good(one.call("get_task", taskId=running))["state"] == "running", "it runs")
        waiting = self.submit(one, "true")["taskId"]
        error = self.refused(one.call("submit_task", agent="shell", payload={"script": "true"}), "queue_full")
        self.assertGreaterEqual(error["retryAfter"], 1)
        self.good(one.call("cancel_task", taskId=running))
        self.good(one.call("wait_for_task", taskId=waiting))
        self.refused(one.call("cancel_task", taskId=waiting), "already_finished")

    def test_resources(self):
        _, one = self.start()
        task = self.submit(one, "echo out; echo err >&2", waitSeconds=60)["taskId"]
        listed = [one_["uri"] for one_ in one.ask("resources/list")["result"]["resources"]]
        templates = [one_["uriTemplate"] for one_ in one.ask("resources/templates/list")["result"]["resourceTemplates"]]
        self.assertEqual(listed, [f"kurultai://{name}" for name in ("memory", "queue", "tasks", "agents")])
        read = {}
        for uri in [*listed, *(template.replace("{taskId}", task) for template in templates)]:
            contents, = one.ask("resources/read", {"uri": uri})["result"]["contents"]
            self.assertEqual(contents["uri"], uri)
            read[uri.removeprefix("kurultai://").replace(task, "ID")] = json.loads(contents["text"]) if contents["mimeType"] == "application/json" else contents["text"]
        self.assertEqual((read["tasks/ID/result"], read["tasks/ID/logs"]), ("out\n", "err\n"))
        self.assertEqual((read["memory"]["budgetBytes"], read["tasks"]["tasks"][0]["taskId"], read["tasks/ID"]["taskId"]), (1 << 30, task, task))
        for uri in ("kurultai://nothing", "kurultai://tasks/../x", "file:///etc/passwd", "kurultai://tasks/nosuchtask"):
            self.error(one.ask("resources/read", {"uri": uri}), -32002)
        self.error(one.ask("resources/read"), -32002)
        empty = self.submit(one, "true", waitSeconds=60)["taskId"]
        self.assertEqual(one.ask("resources/read", {"uri": f"kurultai://tasks/{empty}/result"})["result"]["contents"][0]["text"], "")

    def test_waiting_keeps_nobody_waiting_and_can_be_cancelled(self):
        daemon, one = self.start()
        task = self.submit(one, "sleep 60")["taskId"]
        waits = [one.send("tools/call", {"name": "wait_for_task", "arguments": {"taskId": task, "waitSeconds": 3600}}) for _ in range(32)]
        self.assertEqual(one.ask("ping"), {"result": {}})
        self.error(one.call("memory_headroom"), -32000, "32 requests are open")
        one.send("tools/list", id_=waits[0])
        self.error(one.answer(waits[0]), REQUEST, "this id is open")
        for wait in waits[1:]:
            one.say(method="notifications/cancelled", params={"requestId": wait, "reason": "enough"})
        self.assertIn(self.good(one.call("get_task", taskId=task))["state"], ("queued", "running"))  # the task goes on
        daemon.request("DELETE", f"/v1/tasks/{task}")
        self.assertEqual(one.answer(waits[0])["result"]["structuredContent"]["state"], "cancelled")
        self.assertEqual(one.answers, {})  # the cancelled ones were not answered

    def test_progress_is_told_while_waiting(self):
        _, one = self.start()
        id_ = one.send("tools/call", {"name": "submit_task", "_meta": {"progressToken": "p"}, "arguments": {
            "agent": "puppet", "waitSeconds": 60, "payload": "about('PROGRESS', percent=30, message='a third')\nabout('PROGRESS', percent=60)\ndone(1)"}})
        self.assertEqual(one.answer(id_)["result"]["structuredContent"]["result"], 1)
        told = [note["params"] for note in one.notifications if note["method"] == "notifications/progress"]
        self.assertTrue(told)
        self.assertEqual(told[0], {"progressToken": "p", "progress": told[0]["progress"], "total": 100, **({"message": told[0]["message"]} if "message" in told[0] else {})})
        figures = [one_["progress"] for one_ in told]
        self.assertEqual(figures, sorted(set(figures)))


class Proxy(McpServer):
    def start(self, *options, agents=None, **sections):
        return self.daemon(settings({"tools": fake(*options), "shell": SHELL, **(agents or {})}, workers={"max": 4, "memory_limit": "256MiB"}, **sections))

    def seen(self, one):
        return one.call("seen")["result"]["structuredContent"]

    def held(self, one, *names):
        """Calls that the server has and does not answer, and their ids."""
        ids = [one.send("tools/call", {"name": "hold", "arguments": {"name": name}}) for name in names]
        wait_until(lambda: set(names) <= set(self.seen(one)["held"]), f"the server has {names}")
        return ids

    def tasks(self, daemon, *states):
        return daemon.get(f"/v1/tasks?limit=1000&state={','.join(states)}").json["tasks"]

    def test_it_cannot_be_told_from_the_server_itself(self):
        direct, proxied = self.connect(FAKE), self.proxy(self.start())
        requests = [("tools/list", None), ("tools/list", {"cursor": "10"}), ("resources/list", {}), ("prompts/list", {}), ("resources/templates/list", None),
                    ("resources/read", {"uri": "file:///x"}), ("prompts/get", {"name": "p", "arguments": {"who": "Ada"}}),
                    ("tools/call", {"name": "echo", "arguments": {"text": "hällo", "n": 1.5, "deep": [{"a": None}]}}),
                    ("tools/call", {"name": "fail", "arguments": {"text": "no such city"}}), ("tools/call", {"name": "none"}),
                    ("tools/call", {"name": "huge", "arguments": {"bytes": 300_000}}), ("tools/call", {"name": "huge", "arguments": {"bytes": 300_000, "failed": True}})]
        for method, params in requests:
            with self.subTest(f"{method} {params}"):
                self.assertEqual(proxied.ask(method, params), direct.ask(method, params))

    def test_it_says_of_itself_what_the_server_says(self):
        daemon = self.start()
        one = self.proxy(daemon, begin=False)
        result = one.begin("2025-03-26")["result"]
        self.assertEqual(result, {"protocolVersion": "2025-03-26", "capabilities": {"tools": {}}, "serverInfo": {"name": "fake", "version": "1"}})
        self.error(one.ask("logging/setLevel", {"level": "debug"}), METHOD)
        self.error(one.ask("tools/call", {"arguments": {}}), PARAMS)
        self.error(one.ask("tools/call", {"name": "echo", "arguments": []}), PARAMS)
        self.assertEqual([task["agent"] for task in self.tasks(daemon, "completed")], ["tools"])

    def test_many_clients_share_one_server(self):
        daemon = self.start()
        clients = [self.proxy(daemon) for _ in range(5)]
        ids = [[one.send("tools/call", {"name": "echo", "arguments": {"text": f"{n}.{m}"}}) for m in range(4)] for n, one in enumerate(clients)]
        for n, one in enumerate(clients):
            self.assertEqual([one.answer(id_)["result"]["content"][0]["text"] for id_ in ids[n]], [f"{n}.{m}" for m in range(4)])
        self.assertEqual(len({self.seen(one)["pid"] for one in clients}), 1)
        self.assertEqual(len(daemon.get("/v1/workers").json["workers"]), 1)
        self.assertEqual(self.seen(clients[0])["initialized"], 1)

    def test_answers_come_as_they_are_there(self):
        one = self.proxy(self.start())
        first, second = self.held(one, "a", "b")
        one.call("release", name="b")
        self.assertEqual(one.answer(second)["result"]["content"][0]["text"], "b")
        one.call("release", name="a")
        self.assertEqual(one.answer(first)["result"]["content"][0]["text"], "a")

    def test_a_cancelled_request_is_a_cancelled_task(self):
        daemon = self.start()
        one = self.proxy(daemon)
        for params in ({"name": "hold", "arguments": {"name": "a"}}, {"name": "hold", "arguments": {"name": "b"}, "_meta": {"progressToken": 1}}):
            name = params["arguments"]["name"]
            id_ = one.send("tools/call", params)
            wait_until(lambda name=name: name in self.seen(one)["held"], "the server has it")
            before = len(self.tasks(daemon, "cancelled"))
            one.say(method="notifications/cancelled", params={"requestId": id_})
            wait_until(lambda before=before: len(self.tasks(daemon, "cancelled")) == before + 1, "its task is cancelled")
        wait_until(lambda: len(self.seen(one)["cancelled"]) == 2, "the server was told")
        self.assertEqual(one.answers, {})

    def test_what_is_open_at_the_end_is_cancelled(self):
        daemon = self.start()
        for end in (lambda one: one.process.send_signal(signal.SIGTERM), lambda one: one.process.stdin.close()):
            one = self.proxy(daemon)
            self.held(one, "a")
            before = len(self.tasks(daemon, "cancelled"))
            end(one)
            one.process.wait(30 * harness.PATIENCE)
            wait_until(lambda before=before: len(self.tasks(daemon, "cancelled")) == before + 1, "its task is cancelled")

    def test_what_is_open_in_one_that_is_killed_is_cancelled_too(self):
        daemon = self.start()
        for meta in ({}, {"_meta": {"progressToken": 1}}):
            one = self.proxy(daemon)
            one.send("tools/call", {"name": "hold", "arguments": {"name": "a"}, **meta})
            wait_until(lambda one=one: "a" in self.seen(one)["held"], "the server has it")
            before = len(self.tasks(daemon, "cancelled"))
            one.process.kill()
            one.process.wait()
            wait_until(lambda before=before: len(self.tasks(daemon, "cancelled")) == before + 1, "its task is cancelled")

    def test_progress_is_passed_on(self):
        one = self.proxy(self.start())
        steps = [{"progress": n, "total": 4, "message": f"step {n}"} for n in (1, 2, 3)]
        result = one.ask("tools/call", {"name": "progress", "arguments": {"steps": steps}, "_meta": {"progressToken": 7}})
        self.assertEqual(result["result"]["content"][0]["text"], "done")
        told = [note["params"] for note in one.notifications]
        self.assertTrue(told)
        for note in told:  # the supervisor may tell the last of several only
            self.assertIn(note, [{"progressToken": 7, "progress": 25 * n, "total": 100, "message": f"step {n}"} for n in (1, 2, 3)])

    def test_what_the_supervisor_refuses_or_ends_is_said(self):
        daemon = self.start("child")
        one = self.proxy(daemon)
        error = self.refused(one.call("die", status=3), "exit_code")
        self.assertIn("exited with status 3", error["message"])
        self.assertEqual(one.call("echo", text="again")["result"]["content"][0]["text"], "again")  # by the next server
        self.refused(one.call("echo", text="x" * (1 << 20)), "payload_too_large")
        self.held(one, "a")
        self.assertIn(client(daemon, "drain", "--timeout", "100ms").returncode, (0, 124))
        self.assertIn(self.refused(one.call("echo"), "no_supervisor")["message"][:14], ("no supervisor ", "the supervisor"))

    def test_a_refusal_says_when_to_come_again(self):
        limits = dict.fromkeys(["critical", "high", "normal", "low", "heartbeat"], 1)
        daemon = self.daemon(settings({"tools": fake(concurrency=2)}, workers={"max": 1}, queue={"max_depth": 1, "limits": limits}))
        one = self.proxy(daemon)
        for name in ("a", "b"):
            daemon.wait_state(daemon.start("tools", {"tool": "hold", "arguments": {"name": name}}), "running")
        daemon.start("tools", {"tool": "echo"})
        self.assertGreaterEqual(self.refused(one.call("echo"), "queue_full")["retryAfter"], 1)
        self.error(one.ask("tools/list"), INTERNAL)
        for task in self.tasks(daemon, "running", "queued"):
            daemon.request("DELETE", f"/v1/tasks/{task['taskId']}")

    def test_an_agent_that_is_no_server_is_refused_and_does_nothing(self):
        daemon = self.start()
        for agent, words in (("shell", "agent 'shell' has protocol exec"), ("nobody", "nobody")):
            one = self.proxy(daemon, agent, begin=False)
            self.error(one.begin(), REQUEST, words)
            self.assertIn("result", one.call("echo"))
        self.assertEqual(daemon.get("/v1/tasks").json["tasks"], [])

    def test_a_server_that_does_not_start_is_said_at_the_call(self):
        one = self.proxy(self.start("exit=3"), begin=False)
        self.assertIn("exited with status 3 before READY", one.begin()["result"]["instructions"])
        self.assertIn("exited with status 3 before READY", self.refused(one.call("echo"), "spawn_failed")["message"])
        self.error(one.ask("tools/list"), INTERNAL, "exited with status 3")


class Official(McpServer):
    """The inspector's command line and the TypeScript SDK's client, with the reference server behind the proxy."""

    def setUp(self):
        if why := npm_servers.missing() or npm_clients.missing():
            self.skipTest(f"no MCP servers or clients from npm: {why}")

    def start(self):
        every = {"protocol": "mcp", "command": ["node", npm_servers.program("everything")], "concurrency": 8, "grace": "2s", "start_timeout": "120s"}
        return self.daemon(settings({"every": every, "shell": SHELL}))

    def inspect(self, daemon, *options, server="kurultai"):
        """With the configuration that docs/mcp.md prints, but for the socket."""
        with open(os.path.join(ROOT, "docs", "mcp.md"), encoding="utf-8") as file:
            block = re.search(r"```json\n(.*?)```", file.read(), re.DOTALL)[1]
        config = os.path.join(daemon.dir, "mcp.json")
        with open(config, "w", encoding="utf-8") as file:
            file.write(block.replace("/run/kurultai/kurultai.sock", daemon.socket))
        done = subprocess.run(["node", npm_clients.inspector(), "--cli", "--config", config, "--server", server, *options], capture_output=True, text=True,
                              timeout=120 * harness.PATIENCE, stdin=subprocess.DEVNULL, check=False,
                              env={**os.environ, "PATH": f"{os.path.dirname(KURULTAI)}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def sdk(self, *command):
        one = SdkClient(command)
        self.addCleanup(one.close)
        return one

    def test_the_inspector_uses_the_supervisor(self):
        daemon = self.start()
        self.assertEqual(len(self.inspect(daemon, "--method", "tools/list")["tools"]), 9)
        result = self.inspect(daemon, "--method", "tools/call", "--tool-name", "submit_task", "--tool-arg", "agent=shell", 'payload={"script": "echo hi"}', "waitSeconds=60")
        self.assertEqual(result["structuredContent"]["result"], "hi\n")
        self.assertEqual(len(self.inspect(daemon, "--method", "resources/list")["resources"]), 4)

    def test_the_inspector_uses_an_agent(self):
        daemon = self.start()
        self.assertIn("echo", [tool["name"] for tool in self.inspect(daemon, "--method", "tools/list", server="every")["tools"]])
        result = self.inspect(daemon, "--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hi", server="every")
        self.assertEqual(result["content"], [{"type": "text", "text": "Echo: hi"}])

    def test_the_sdk_cannot_tell_the_agent_from_the_server(self):
        daemon = self.start()
        direct = self.sdk("node", npm_servers.program("everything"))
        proxied = self.sdk(KURULTAI, "--socket", daemon.socket, "mcp", "--proxy", "every")
        self.assertEqual(proxied.ask("server")["result"]["info"], direct.ask("server")["result"]["info"])
        for method, params in (("tools/list", {}), ("resources/list", {}), ("resources/templates/list", {}), ("prompts/list", {}),
                               ("prompts/get", {"name": "args-prompt", "arguments": {"city": "Berlin"}}),
                               ("resources/read", {"uri": "demo://resource/static/document/features.md"}),
                               ("completion/complete", {"ref": {"type": "ref/prompt", "name": "completable-prompt"}, "argument": {"name": "department", "value": "E"}}),
                               ("resources/read", {"uri": "demo://nothing"}), ("prompts/get", {"name": "nothing"})):
            with self.subTest(method):
                self.assertEqual(proxied.ask("request", method=method, params=params), direct.ask("request", method=method, params=params))
        for name, arguments in (("echo", {"message": "hällo"}), ("get-sum", {"a": 2, "b": 3}), ("get-structured-content", {"location": "New York"}),
                                ("get-tiny-image", {}), ("echo", {}), ("get-annotated-message", {"messageType": "error", "includeImage": True}), ("nothing", {})):
            with self.subTest(name):
                self.assertEqual(proxied.ask("call", name=name, arguments=arguments), direct.ask("call", name=name, arguments=arguments))

    def test_the_sdk_is_told_progress_and_can_abort(self):
        daemon = self.start()
        one = self.sdk(KURULTAI, "--socket", daemon.socket, "mcp", "--proxy", "every")
        answer = one.ask("call", name="trigger-long-running-operation", arguments={"duration": 1, "steps": 4}, progress=True)
        self.assertIn("completed", answer["result"]["content"][0]["text"])
        self.assertTrue(answer["progress"])
        self.assertEqual({note["total"] for note in answer["progress"]}, {100})
        long = one.send("call", name="trigger-long-running-operation", arguments={"duration": 600, "steps": 600}, progress=True)
        wait_until(lambda: daemon.get("/v1/tasks?state=running").json["tasks"], "it runs")
        one.send("abort", of=long)
        self.assertIn("no longer wanted", one.answer(long)["error"]["message"])
        wait_until(lambda: daemon.get("/v1/tasks?state=cancelled").json["tasks"], "its task is cancelled")

    def test_the_sdk_checks_our_own_answers_by_their_schemas(self):
        daemon = self.start()
        one = self.sdk(KURULTAI, "--socket", daemon.socket, "mcp")
        task = one.ask("call", name="submit_task", arguments={"agent": "shell", "payload": {"script": "echo hi; exit 1"}, "waitSeconds": 60})["result"]["structuredContent"]
        self.assertEqual(task["state"], "failed")
        for name, arguments in (("wait_for_task", {"taskId": task["taskId"]}), ("get_task", {"taskId": task["taskId"]}), ("read_result", {"taskId": task["taskId"]}),
                                ("task_logs", {"taskId": task["taskId"]}), ("list_tasks", {}), ("list_agents", {}), ("memory_headroom", {}),
                                ("cancel_task", {"taskId": task["taskId"]}), ("submit_task", {"agent": "nobody"})):
            with self.subTest(name):
                self.assertNotIn("error", one.ask("call", name=name, arguments=arguments))


class SdkClient:
    """tests/mcp/sdk_client.js, by lines."""

    def __init__(self, command):
        self.process = subprocess.Popen(["node", os.path.join(ROOT, "tests", "mcp", "sdk_client.js"), npm_clients.path(), *command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.last = 0
        self.answers = {}

    def send(self, do, **step):
        self.last += 1
        self.process.stdin.write(json.dumps({"id": self.last, "do": do, **step}) + "\n")
        self.process.stdin.flush()
        return self.last

    def answer(self, id_):
        while id_ not in self.answers:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the SDK's client has ended before it answered {id_}")
            answer = json.loads(line)
            self.answers[answer.pop("id")] = answer
        return self.answers.pop(id_)

    def ask(self, do, **step):
        return self.answer(self.send(do, **step))

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(30 * harness.PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


if __name__ == "__main__":
    unittest.main()
