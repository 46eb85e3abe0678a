#!/usr/bin/env python3
"""Programs that print JSON lines as tasks: progress, answers and errors by rules, and what goes into stdin."""
import os
import unittest

from harness import E2E, PYTHON
from puppet import settings


class Output(E2E):
    def start(self, code, **fields):
        rules = [{"when": {"type": "result"}, "result": "text"}, {"when": {"type": "step"}, "progress": "name"}, {"when": {"type": "error"}, "error": "text"}]
        agent = {"protocol": "exec", "command": [PYTHON, "-c", "import json,os,signal,sys,time\ndef say(type, **fields): print(json.dumps(dict(fields, type=type)), flush=True)\n".replace("{", "{{") + code],
                 "grace": "5s", "output": {"format": "jsonl", "rules": rules}, **fields}
        return self.daemon(settings({"agent": agent}, ipc={"max_line": "64KiB"}))

    def test_progress_log_and_answer(self):
        daemon = self.start("print('loading'); say('step', name='one'); say('result', text=sys.stdin.read())", stdin="<{prompt}>")
        task = daemon.run("agent", {"prompt": "hällo {x}"})
        self.assertEqual((task["state"], task["result"], task["message"]), ("completed", "<hällo {x}>", "one"))
        self.assertEqual(daemon.wait_event("taskProgress", taskId=task["taskId"])["message"], "one")
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/logs").body, b"loading\n")
        long = "x" * 300_000  # longer than an argument could be
        self.assertEqual(daemon.run("agent", {"prompt": long[:60_000]})["result"], f"<{long[:60_000]}>")
        self.assertEqual(daemon.run("agent", {"prompt": long})["error"]["message"], "ended without an answer (1 line longer than 64KiB was skipped)")
        self.assertEqual(daemon.submit("agent", {"text": "no prompt"}).status, 422)

    def test_no_answer_an_error_and_another_try(self):
        daemon = self.start("mark = sys.stdin.read()\nif os.path.exists(mark): say('result', text='second')\nelse: open(mark, 'w'); say('error', text='busy')", stdin="{mark}")
        mark = os.path.join(daemon.dir, "mark")
        task = daemon.run("agent", {"mark": mark})
        self.assertEqual((task["state"], task["error"]["reason"], task["error"]["message"]), ("failed", "agent_error", "busy"))
        os.unlink(mark)
        task = daemon.run("agent", {"mark": mark}, retries=1)
        self.assertEqual((task["state"], task["attempt"], task["result"]), ("completed", 2, "second"))
        daemon = self.start("say('step', name='x')")
        self.assertEqual(daemon.run("agent")["error"]["message"], "ended without an answer")

    def test_cancelled_with_an_answer_on_its_lips_it_is_cancelled(self):
        daemon = self.start("signal.signal(15, lambda *_: (say('result', text='late'), sys.exit(0)))\nsay('step', name='up')\nwhile True: time.sleep(0.01)")
        task = daemon.start("agent")
        daemon.wait_event("taskProgress", taskId=task)
        daemon.request("DELETE", f"/v1/tasks/{task}")
        ended = daemon.wait_state(task, "cancelled")
        self.assertNotIn("result", {key for key, value in ended.items() if value is not None})

    def test_stdout_that_is_log(self):
        daemon = self.start("print('only log')", output="none")
        task = daemon.run("agent")
        self.assertEqual((task["state"], task.get("result")), ("completed", None))
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/logs").body, b"only log\n")


if __name__ == "__main__":
    unittest.main()
