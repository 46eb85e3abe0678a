#!/usr/bin/env python3
"""MCP servers as agents: calls as tasks, one server for all of them, and servers that misbehave; then real ones from npm."""
import contextlib
import http.server
import json
import os
import re
import signal
import sys
import tempfile
import threading
import unittest

import browser
import harness
from harness import E2E, PYTHON, ROOT, client, marked_processes, wait_until
from puppet import Later, puppet, settings

sys.path.insert(0, os.path.join(ROOT, "tests", "mcp"))
import npm_servers

FAKE = [PYTHON, "-S", os.path.join(ROOT, "tests", "mcp", "fake_server.py")]


def server(*options, **fields):
    return {"protocol": "mcp", "command": [*FAKE, *options], "grace": "2s", **fields}


def tool(tool_, **arguments):
    return {"tool": tool_, "arguments": arguments}


class Mcp(E2E):
    def start(self, *options, agents=None, workers=None, fields=None, **sections):
        every = {"tools": server(*options, **(fields or {})), **(agents or {})}
        return self.daemon(settings(every, workers={"max": 4, "memory_limit": "256MiB", **(workers or {})}, **sections))

    def seen(self, daemon):
        return daemon.run("tools", tool("seen"))["result"]["structuredContent"]

    def agent(self, daemon, name="tools"):
        return next(one for one in daemon.get("/v1/agents").json["agents"] if one["name"] == name)

    def fails(self, task, reason, *words):
        self.assertEqual((task["state"], task["error"]["reason"]), ("failed", reason), task)
        for word in words:
            self.assertIn(word, task["error"]["message"])

    def held(self, daemon, *names):
        """Tasks that the server has and does not answer, and their ids."""
        tasks = [daemon.start("tools", tool("hold", name=name)) for name in names]
        for task in tasks:
            daemon.wait_state(task, "running")
        wait_until(lambda: set(names) <= set(self.seen(daemon)["held"]), f"the server has {names}")
        return tasks


class Calls(Mcp):
    def test_a_call_is_a_task_and_its_result_is_the_servers(self):
        daemon = self.start()
        task = daemon.run("tools", tool("echo", text="hällo"))
        self.assertEqual((task["state"], task["result"]), ("completed", {"content": [{"type": "text", "text": "hällo"}], "structuredContent": {"text": "hällo"}}))
        self.assertEqual(daemon.run("tools", {"resource": "file:///x"})["result"]["contents"][0]["uri"], "file:///x")
        self.assertIn("Ada", daemon.run("tools", {"prompt": "p", "arguments": {"who": "Ada"}})["result"]["messages"][0]["content"]["text"])
        self.fails(daemon.run("tools", tool("fail", text="no such city")), "agent_error", "no such city")
        self.fails(daemon.run("tools", tool("ehco")), "agent_error", "no tool ehco", "its tools: echo, hold")
        answer = client(daemon, "submit", "tools", "--payload", json.dumps(tool("echo", text="x")), "--wait")
        self.assertEqual((answer.returncode, json.loads(answer.stdout)["content"][0]["text"]), (0, "x"))

    def test_wrong_calls_do_not_keep_others_from_the_server(self):
        daemon = self.start(circuit_breakers={"failures": 1, "backoff": ["10m"]})
        sdk = tool("fail", text="MCP error -32602: Invalid arguments for tool echo")
        for call in (tool("ehco"), sdk, tool("ehco")):
            self.assertEqual(daemon.run("tools", call)["error"]["reason"], "agent_error")
        self.assertEqual(daemon.run("tools", tool("echo", text="x"))["state"], "completed")
        self.assertEqual(daemon.run("tools", tool("fail", text="the server's own"))["state"], "failed")
        self.assertEqual(daemon.submit("tools", tool("echo", text="x")).json["error"]["code"], "circuit_open")

    def test_what_a_server_offers_can_be_asked(self):
        daemon = self.start()
        page = daemon.run("tools", {"method": "tools/list"})["result"]
        self.assertEqual((page["tools"][0]["inputSchema"], page["nextCursor"]), ({"type": "object"}, "5"))
        self.assertEqual(len(daemon.run("tools", {"method": "tools/list", "params": {"cursor": "10"}})["result"]["tools"]), 4)
        said = daemon.run("tools", {"method": "initialize"})["result"]
        self.assertEqual((said["serverInfo"]["name"], said["protocolVersion"]), ("fake", "2025-06-18"))
        seen = self.seen(daemon)
        self.assertEqual((seen["initialized"], seen["initialize"]["clientInfo"]["name"]), (1, "kurultai"))  # it was not asked again

    def test_an_error_of_the_server_is_kept_as_it_stands(self):
        daemon = self.start()
        task = daemon.run("tools", {"method": "prompts/list"})
        self.fails(task, "agent_error", "no method prompts/list (JSON-RPC error -32601)")
        self.assertEqual(task["result"], {"error": {"code": -32601, "message": "no method prompts/list"}})
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/result").json, task["result"])

    def test_what_is_no_call_is_refused_at_once(self):
        daemon = self.start()
        for payload in (None, "echo", {}, {"tool": 1}, {"tool": "echo", "args": {}}, {"method": "logging/setLevel"}):
            with self.subTest(str(payload)):
                answer = daemon.submit("tools", payload)
                self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "invalid_task"))
        self.assertEqual(daemon.get("/v1/workers").json["workers"], [])

    def test_a_payload_that_comes_as_bytes_is_a_call_too(self):
        daemon = self.start()
        answer = daemon.request("POST", "/v1/tasks?agent=tools&wait=30s", json.dumps(tool("echo", text="z" * 100_000)),
                                headers={"Content-Type": "application/octet-stream"})
        self.assertEqual(answer.status, 200, answer.body[:300])
        result = daemon.get(f"/v1/tasks/{answer.json['taskId']}/result").json
        self.assertEqual(result["structuredContent"], {"text": "z" * 100_000})

    def test_tools_are_shown_and_shown_anew_when_they_change(self):
        daemon = self.start()
        self.assertEqual((self.agent(daemon)["protocol"], "tools" in self.agent(daemon)), ("mcp", False))
        daemon.run("tools", tool("echo"))
        tools = wait_until(lambda: self.agent(daemon).get("tools"), "the tools are shown")
        self.assertEqual((len(tools), tools[0]), (14, {"name": "echo", "description": "the tool echo"}))
        daemon.run("tools", tool("tools", names=["a", "b"]))
        wait_until(lambda: [one["name"] for one in self.agent(daemon)["tools"]] == ["a", "b"], "the new tools are shown")

    def test_progress_and_log_are_the_tasks(self):
        daemon = self.start()
        task = daemon.run("tools", tool("progress", steps=[{"progress": 1, "total": 4, "message": "a quarter"}]))
        event = daemon.wait_event("taskProgress", taskId=task["taskId"])
        self.assertEqual((event["percent"], event["message"]), (25, "a quarter"))
        line = json.dumps({"method": "notifications/message", "params": {"level": "alert", "data": "hot"}})
        task = daemon.run("tools", tool("reply", lines=[line, "printed", '{"id":ID,"result":{}}']))
        log = daemon.get(f"/v1/tasks/{task['taskId']}/logs").body.decode()
        self.assertIn("[error] hot\nprinted\n", log)

    def test_a_large_result_is_a_stream(self):
        daemon = self.start()
        for size in (100_000, 5_000_000):
            task = daemon.run("tools", tool("huge", bytes=size))
            body = daemon.get(f"/v1/tasks/{task['taskId']}/result").body
            self.assertEqual((task["state"], task["resultBytes"]), ("completed", len(body)))
            self.assertEqual(json.loads(body)["content"][0]["text"], "x" * size)

    def test_a_result_above_the_limit_fails_its_task_alone(self):
        daemon = self.start(store={"max_result": "1MiB"})
        self.fails(daemon.run("tools", tool("huge", bytes=5_000_000)), "agent_error", "result larger than 1MiB")
        self.assertEqual(daemon.run("tools", tool("echo"))["workerId"], "w1")
        self.assertEqual(os.listdir(os.path.join(daemon.state, "spool")), [])


class Shared(Mcp):
    def test_one_server_has_all_tasks_and_the_others_wait_without_holding_anybody_up(self):
        daemon = self.start(fields={"concurrency": 3}, agents={"puppet": puppet()})
        first = self.held(daemon, "a", "b")
        third = daemon.start("tools", tool("hold", name="c"))
        daemon.wait_state(third, "running")
        waiting = daemon.start("tools", tool("hold", name="d"))
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)  # came later, and needs no server
        self.assertEqual(daemon.task(waiting)["state"], "queued")
        self.assertEqual(self.agent(daemon)["workers"], 1)
        daemon.request("DELETE", f"/v1/tasks/{first[0]}")
        daemon.wait_state(waiting, "running")
        self.assertEqual({daemon.task(task)["workerId"] for task in (first[1], third, waiting)}, {"w1"})

    def test_answers_come_in_any_order(self):
        daemon = self.start(fields={"concurrency": 4})
        tasks = self.held(daemon, "a", "b", "c")
        for name, task in (("b", tasks[1]), ("c", tasks[2]), ("a", tasks[0])):
            daemon.run("tools", tool("release", name=name))
            self.assertEqual(daemon.wait_state(task, "completed")["result"]["content"][0]["text"], name)

    def test_more_servers_where_the_configuration_wants_them(self):
        daemon = self.start(fields={"max_workers": 2})
        tasks = [daemon.start("tools", tool("hold", name="a")) for _ in range(3)]
        wait_until(lambda: sorted(daemon.task(task)["state"] for task in tasks) == ["queued", "running", "running"], "two servers run")
        self.assertEqual(self.agent(daemon)["workers"], 2)

    def test_an_idle_server_ends_and_the_next_call_starts_another(self):
        daemon = self.start("child", workers={"idle_timeout": "200ms"})
        before = self.seen(daemon)["pid"]
        wait_until(lambda: not daemon.get("/v1/workers").json["workers"], "the idle server has ended")
        self.assertFalse(os.path.exists(f"/proc/{before}"))
        wait_until(lambda: not marked_processes(daemon.instance), "its child is gone too")
        self.assertNotEqual(self.seen(daemon)["pid"], before)
        self.assertEqual(self.agent(daemon)["restarts"], 0)


class Stops(Mcp):
    def test_a_cancelled_call_is_told_to_the_server_which_lives_on(self):
        daemon = self.start(fields={"concurrency": 2})
        task, = self.held(daemon, "a")
        self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{task}").status, 202)
        daemon.wait_state(task, "cancelled", timeout=1.5)
        self.assertEqual(len(self.seen(daemon)["cancelled"]), 1)
        daemon.run("tools", tool("release", name="a"))  # the late answer of the cancelled one
        self.assertEqual(daemon.run("tools", tool("echo"))["workerId"], "w1")

    def test_a_timeout_cancels_the_call(self):
        daemon = self.start()
        self.fails(daemon.run("tools", tool("hold", name="a"), timeout="100ms"), "timeout")
        self.assertEqual(self.seen(daemon)["cancelled"][0]["reason"], "timeout")

    def test_a_server_that_hangs_is_replaced_and_its_other_calls_run_again(self):
        daemon = self.start(fields={"concurrency": 3, "grace": "200ms"})
        other, = self.held(daemon, "a")
        task = daemon.start("tools", tool("sleep", seconds=60))
        daemon.wait_state(task, "running")
        daemon.request("DELETE", f"/v1/tasks/{task}")
        daemon.wait_state(task, "cancelled")
        wait_until(lambda: daemon.task(other).get("preemptions") == 1, "the other call was sent back")
        self.assertEqual(daemon.wait_state(other, "running")["workerId"], "w2")

    def test_the_end_of_the_server_is_that_of_its_calls(self):
        daemon = self.start("child", fields={"concurrency": 3})
        for number, (arguments, reason) in enumerate((({"status": 3}, "exit_code"), ({"signal": signal.SIGKILL}, "signal"), ({"status": 0}, "exit_code"))):
            tasks = self.held(daemon, "a")
            tasks.append(daemon.start("tools", tool("die", **arguments)))
            for task in tasks:
                self.fails(daemon.wait_state(task, "failed"), reason)
            self.assertEqual(self.agent(daemon)["restarts"], number + 1)

    def test_a_server_that_closes_its_output_is_ended(self):
        daemon = self.start()
        self.fails(daemon.run("tools", tool("close")), "protocol_error", "closed its stdout")

    def test_a_server_that_outgrows_its_cap_says_so(self):
        daemon = self.start(fields={"memory_limit": "64MiB"})
        if daemon.get("/health").json["guarantee"] == "rlimit":
            self.skipTest("without groups an allocation fails instead")
        self.fails(daemon.run("tools", tool("grow", mib=200)), "memory_cap", "exceeded its 64MiB cap")

    def test_a_server_that_is_killed_takes_nothing_with_it(self):
        daemon = self.start("stubborn", "child")
        self.held(daemon)
        daemon.run("tools", tool("echo"))
        self.assertEqual(daemon.terminate(), 0)
        wait_until(lambda: not marked_processes(daemon.instance), "nothing is left")


class BadServers(Mcp):
    def test_those_that_cannot_begin_say_why(self):
        cases = {"silent": ("silent", "start_timeout"), "foreign": ("version=1999-01-01", "it speaks MCP '1999-01-01'"), "refuses": ("refuse", "not today"),
                 "leaves": ("exit=3", "exited with status 3 before READY")}
        agents = {name: server(option, start_timeout="500ms" if name == "silent" else "30s", grace="200ms") for name, (option, _) in cases.items()}
        agents["missing"] = {"protocol": "mcp", "command": ["no-such-server"]}
        daemon = self.start(agents=agents)
        tasks = {name: Later(daemon.run, name, tool("echo")) for name in agents}
        for name, (_, words) in cases.items():
            with self.subTest(name):
                self.fails(tasks[name].result(), "spawn_failed", words)
        self.fails(tasks["missing"].result(), "spawn_failed", "exec no-such-server: No such file or directory")

    def test_bad_answers_fail_their_call_alone(self):
        daemon = self.start("noise", fields={"concurrency": 2})
        other, = self.held(daemon, "a")
        for lines, words in ((['{"id":ID,"result":{"n":1e400}}'], "overflow"), (['{"result":%s,"id":ID}' % ("[" * 99 + "]" * 99)], "nesting deeper"),
                             (['{"id":ID}'], "neither a result nor an error")):
            self.fails(daemon.run("tools", tool("reply", lines=lines)), "protocol_error", words)
        twice = daemon.run("tools", tool("reply", lines=['{"id":99,"result":{}}', '{"id":ID,"result":{"n":1}}', '{"id":ID,"result":{"n":2}}']))
        self.assertEqual(twice["result"], {"n": 1})
        self.assertEqual(daemon.run("tools", tool("release", name="a"))["workerId"], "w1")
        self.assertEqual(daemon.wait_state(other, "completed")["workerId"], "w1")
        self.assertGreaterEqual(daemon.get("/v1/workers").json["workers"][0]["noiseLines"], 5)


class RealServers(Mcp):
    """server-everything, server-filesystem and server-memory as npm has them."""

    def setUp(self):
        if why := npm_servers.missing():
            self.skipTest(f"no MCP servers from npm: {why}")

    def real(self, name, *arguments, **fields):
        return {"protocol": "mcp", "command": ["node", npm_servers.program(name), *arguments], "concurrency": 8, "grace": "2s", **fields}

    def text(self, task):
        self.assertEqual(task["state"], "completed", task)
        return task["result"]["content"][0]["text"]

    def test_everything(self):
        daemon = self.daemon(settings({"every": self.real("everything")}))
        self.assertEqual(self.text(daemon.run("every", tool("echo", message="hällo"))), "Echo: hällo")
        self.assertIn("5", self.text(daemon.run("every", tool("get-sum", a=2, b=3))))
        self.assertEqual(daemon.run("every", tool("get-structured-content", location="New York"))["result"]["structuredContent"]["temperature"], 33)
        self.fails(daemon.run("every", tool("echo")), "agent_error", "expected string")
        long = daemon.start("every", tool("trigger-long-running-operation", duration=60, steps=600))
        wait_until(lambda: (daemon.task(long).get("progress") or 0) > 0, "progress is told")
        quick = daemon.run("every", tool("trigger-long-running-operation", duration=0.3, steps=3))
        self.assertIn("completed", self.text(quick))
        self.assertAlmostEqual(daemon.wait_event("taskProgress", taskId=quick["taskId"])["percent"], 100 / 3)
        daemon.request("DELETE", f"/v1/tasks/{long}")
        daemon.wait_state(long, "cancelled")
        self.assertIn("Features", json.dumps(daemon.run("every", {"resource": "demo://resource/static/document/features.md"})["result"]))
        self.assertIn("Berlin", json.dumps(daemon.run("every", {"prompt": "args-prompt", "arguments": {"city": "Berlin"}})["result"]))
        self.assertIn("echo", [one["name"] for one in self.agent(daemon, "every")["tools"]])
        self.assertEqual({task["workerId"] for task in daemon.get("/v1/tasks").json["tasks"]}, {"w1"})

    def test_filesystem_and_memory(self):
        daemon = self.daemon(settings({"puppet": puppet()}))
        place = os.path.join(daemon.dir, "place")
        os.makedirs(place)
        daemon.write_config(settings({"files": self.real("filesystem", place),
                                      "graph": self.real("memory", env={"MEMORY_FILE_PATH": os.path.join(daemon.dir, "graph.json")})}))
        self.assertEqual(daemon.request("POST", "/v1/reload").status, 200)
        graph = Later(daemon.run, "graph", tool("create_entities", entities=[{"name": "Ada", "entityType": "person", "observations": ["wrote programs"]}]))
        path = os.path.join(place, "a.txt")
        self.assertIn("wrote", self.text(daemon.run("files", tool("write_file", path=path, content="x" * 100_000))))
        task = daemon.run("files", tool("read_text_file", path=path))
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/result").json["content"][0]["text"], "x" * 100_000)
        self.fails(daemon.run("files", tool("read_text_file", path="/etc/passwd")), "agent_error", "Access denied")
        self.assertEqual(graph.result()["state"], "completed")
        self.assertIn("Ada", self.text(daemon.run("graph", tool("search_nodes", query="programs"))))

    def browser(self, **fields):
        """Playwright's server, with a browser of its own below it."""
        if harness.is_instrumented():
            self.skipTest("a real browser is driven by the programs as they are shipped only")
        found = browser.find()
        if found is None:
            self.skipTest("there is no Chromium here")
        program, libraries = found
        place = tempfile.TemporaryDirectory(prefix="kt-")  # the server keeps what it saw where it was started
        self.addCleanup(place.cleanup)
        options = ["--headless", "--isolated", "--no-sandbox", "--executable-path", program]
        return {**self.real("playwright", *options), "env": {"LD_LIBRARY_PATH": ":".join(libraries)}, "memory_limit": "1536MiB", "max_processes": 0,
                "timeout": "3m", "cwd": place.name, **fields}

    def see(self, daemon, name, **arguments):
        return self.text(daemon.run("web", tool(name, **arguments), wait="180s"))

    def test_a_browser_behind_playwright(self):
        site = self.site("<title>Ferry</title><button onclick=\"document.title='Booked'\">Book</button>")
        daemon = self.daemon(settings({"web": self.browser()}, memory={"budget": "2GiB"}))
        snapshot = self.see(daemon, "browser_navigate", url=site) + self.see(daemon, "browser_snapshot")
        self.assertIn("Ferry", snapshot)
        button = re.search(r'button "Book".*?\[ref=(\w+)\]', snapshot)
        self.assertIsNotNone(button, snapshot)
        self.see(daemon, "browser_click", element="Book", target=button[1])
        self.assertIn("Booked", self.see(daemon, "browser_evaluate", function="() => document.title"))
        # The browser's processes are the worker's: counted with it, and gone with it.
        shown = daemon.get("/v1/workers").json["workers"][0]
        self.assertGreater(len(chromiums(daemon.pid)), 2)
        self.assertGreater(shown["memoryBytes"], 100 * harness.MIB)
        # One that breaks inside of the living server is the call's failure, and the server has another one.
        for pid in chromiums(daemon.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not chromiums(daemon.pid), "the browser is gone")
        daemon.run("web", tool("browser_navigate", url=site), wait="180s")  # it may be told of the end first
        self.assertIn("Ferry", self.see(daemon, "browser_navigate", url=site) + self.see(daemon, "browser_snapshot"))

    def site(self, page):
        """The address of a page on loopback."""

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}/"


def chromiums(supervisor):
    """The browser's processes below a supervisor: their environment cannot be read, for they write their names over it."""
    parents, names = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        if rest.split()[0] != "Z":
            parents[int(pid)], names[int(pid)] = int(rest.split()[1]), name

    def is_below(pid):
        while pid in parents and pid != supervisor:
            pid = parents[pid]
        return pid == supervisor

    return [pid for pid, name in names.items() if "chrom" in name and is_below(pid)]


if __name__ == "__main__":
    unittest.main()
