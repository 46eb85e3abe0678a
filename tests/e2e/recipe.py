"""A recipe as it is shipped, with the real program from npm, against a model of our own. Nothing of it leaves this machine."""
import json
import os
import sys
import tempfile

from harness import E2E, ROOT, is_instrumented, marked_processes, wait_until

sys.path.insert(0, os.path.join(ROOT, "tests", "recipes"))
import npm_agents
from model_server import ANSWER, ModelServer, prompt

RECIPES = os.path.join(ROOT, "config", "recipes")


def recipe(name):
    with open(os.path.join(RECIPES, name + ".yaml"), encoding="utf-8") as file:
        return file.read()


class RealProgram(E2E):
    def start(self, name, file, files=(), env=None):
        """A supervisor with the recipe as it is shipped. All that the program may reach is the model; it has a HOME of its own."""
        if is_instrumented() or os.environ.get("KURULTAI_TEST_PATIENCE", "1") != "1":
            sys.stderr.write(f"\n*** SKIPPED {self.id()}: real coding agents run natively only\n")
            self.skipTest("real coding agents run natively only")
        why = npm_agents.missing(name)
        if why:
            self.skipTest(f"no {name} from npm: {why}")
        self.home = self.enterContext(tempfile.TemporaryDirectory(prefix="kt-home-", ignore_cleanup_errors=True))
        self.model = ModelServer()
        self.addCleanup(self.model.close)
        for path, content in dict(files).items():
            path = os.path.join(self.home, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as out:
                out.write(content.replace("MODEL", self.model.url))
        os.makedirs(os.path.join(self.home, "bin"))
        os.symlink(npm_agents.program(name), os.path.join(self.home, "bin", name))
        with open(os.path.join(self.home, "note.txt"), "w", encoding="ascii") as note:
            note.write("the number is 4711\n")
        surroundings = {"HOME": self.home, "PATH": os.path.join(self.home, "bin") + ":" + os.environ["PATH"], "LANG": "C.UTF-8", "TMPDIR": self.home}
        surroundings |= {key: value.replace("MODEL", self.model.url).replace("HOME", self.home) for key, value in (env or {}).items()}
        # The model's server takes no one further, and notes who asked: nothing leaves this machine.
        surroundings |= {"HTTPS_PROXY": self.model.url, "NO_PROXY": "127.0.0.1"}
        return self.daemon(recipe(file), env=surroundings, cwd=self.home)  # some keep notes in the repository they are started in

    def run_all(self, daemon, agent, refused, shown="cat "):
        """A tool call and the answer, an answer of many words, a refusal of the model's; and a cancellation that leaves nothing."""
        note = os.path.join(self.home, "note.txt")
        task = self.ended(daemon, agent, "RUN", f"cat {note}")
        self.assertEqual(task["state"], "completed", self.told(daemon, task))
        self.assertTrue(task["result"].startswith(ANSWER), task["result"])
        self.assertIn("the number is 4711", task["result"])
        self.assertEqual(task["attempt"], 1)
        told = [event["message"] for event in daemon.events() if event["type"] == "taskProgress" and event["taskId"] == task["taskId"]]
        self.assertTrue([text for text in told if f"{shown}{note}" in text], told)
        task = self.ended(daemon, agent, "SAY", "--no option-- of ours, \"quoted\" $HOME")
        self.assertEqual((task["state"], task["result"].strip()), ("completed", "--no option-- of ours, \"quoted\" $HOME"), self.told(daemon, task))
        task = self.ended(daemon, agent, "REFUSE")
        self.assertEqual(task["state"], "failed", self.told(daemon, task))
        self.assertIn(refused, task["error"]["message"])
        task = daemon.start(agent, {"prompt": prompt("HOLD")})
        self.assertTrue(self.model.held.wait(100), daemon.log_text()[-2000:])
        daemon.request("DELETE", f"/v1/tasks/{task}")
        daemon.wait_state(task, "cancelled", timeout=60)
        # opencode asks npm for its plug-in when it starts, and goes on without.
        self.assertEqual(set(self.model.outside) - {"registry.npmjs.org:443"}, set())
        name = os.path.basename(npm_agents.program(agent)).encode()
        wait_until(lambda: not [pid for pid in marked_processes(daemon.instance) if name in self.command_line(pid)], f"nothing of {agent} is left", 20)

    def ended(self, daemon, agent, what, text=""):
        task = daemon.start(agent, {"prompt": prompt(what, text)})
        return daemon.wait_state(task, "completed", "failed", timeout=120)

    @staticmethod
    def command_line(pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return file.read()
        except OSError:
            return b""

    def told(self, daemon, task):
        logs = daemon.get(f"/v1/tasks/{task['taskId']}/logs").body.decode(errors="replace")
        return f"{task}\n{logs[-3000:]}\nasked of the model: {[(path, len(json.dumps(body))) for path, body in self.model.requests]}, elsewhere: {self.model.others}"
