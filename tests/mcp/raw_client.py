"""An MCP client that says what it is told, right or wrong: lines of JSON-RPC to a program's stdin, and what comes back."""
import json
import queue
import subprocess
import threading
import time


class RawClient:
    def __init__(self, command, patience=1.0, **kw):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **kw)
        self.patience = patience
        self.last = 0
        self.answers = {}  # by id, as JSON
        self.notifications = []
        self.batches = []  # sizes of the arrays that came
        self.odd = []  # answers without an id
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def _take(self, deadline, what):
        """Sorts in one more line."""
        try:
            message = self.lines.get(timeout=max(0.001, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"it never came: {what}") from None
        if message is None:
            self.lines.put(None)
            raise AssertionError(f"the program has ended: {what}")
        for one in message if isinstance(message, list) else [message]:
            self._sort(one)
        if isinstance(message, list):
            self.batches.append(len(message))

    def _sort(self, message):
        if "method" in message:
            self.notifications.append(message)
        elif message["id"] is None:
            self.odd.append(message)
        else:
            self.answers[json.dumps(message["id"])] = message

    def write(self, text):
        self.process.stdin.write(text.encode() if isinstance(text, str) else text)
        self.process.stdin.flush()

    def say(self, **message):
        self.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")

    def send(self, method, params=None, id_=None):
        """Asks, and gives the id."""
        self.last += 1
        id_ = self.last if id_ is None else id_
        self.say(id=id_, method=method, **({} if params is None else {"params": params}))
        return id_

    def answer(self, id_, timeout=60):
        deadline = time.monotonic() + timeout * self.patience
        while json.dumps(id_) not in self.answers:
            self._take(deadline, f"the answer to {id_}")
        return self.answers.pop(json.dumps(id_))

    def odd_answer(self, timeout=60):
        deadline = time.monotonic() + timeout * self.patience
        while not self.odd:
            self._take(deadline, "an answer without an id")
        return self.odd.pop(0)

    def ask(self, method, params=None, **kw):
        """The answer to a request: {"result"} or {"error"}."""
        answer = self.answer(self.send(method, params, **kw))
        return {key: answer[key] for key in ("result", "error") if key in answer}

    def begin(self, version="2025-06-18"):
        answer = self.ask("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
        self.say(method="notifications/initialized")
        return answer

    def call(self, tool, **arguments):
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def close(self, timeout=30):
        """Ends its input; the exit status."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            return self.process.wait(timeout * self.patience)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            self.process.stdout.close()
