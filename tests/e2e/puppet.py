"""What the tests of tasks, pool and hostile agents share: a configuration with room, and an agent that does what its
payload says."""
import json
import os
import threading

import api
import harness
from harness import agent_command

# The payload is Python source that runs with `t` (the TASK), `id`, done(), fail(), and what agent_command() offers.
PUPPET = agent_command(
    "def about(kind, **fields): say({'type': kind, 'taskId': id, **fields})\n"
    "def done(result=None): about('COMPLETE', result=result)\n"
    "def fail(error='told to', **more): about('FAILED', error=error, **more)\n"
    "def raw(line):\n"
    " data = line if isinstance(line, bytes) else line.encode()\n"
    " while data: data = data[os.write(1, data):]\n"
    "def until(kind):\n"
    " while True:\n"
    "  m = hear()\n"
    "  if m is None: sys.exit(0)\n"
    "  if m['type'] == kind: return m\n"
    "def gate(path):\n"
    " while not os.path.exists(path): time.sleep(0.01)\n"
    "say({'type': 'READY', 'protocol': 1, 'name': 'puppet'})\n"
    "while True:\n"
    " t = task(); id = t['taskId']\n"
    " exec(t.get('payload') or 'done()', globals())\n")

# Of bounds on the supervisor's memory. A sanitizer's quarantine keeps what was freed apart by sizes: measured are 27 MiB
# after one request with 16 KiB of headers, that stay 27 MiB however often it is repeated (3 MiB without quarantine).
KEPT = 32 * harness.MIB if harness.is_instrumented() else 0


def puppet(**fields):
    """A configured puppet; `fields` are settings of the agent."""
    return {"protocol": "jsonl", "command": PUPPET, "grace": "300ms", **fields}


def settings(agents=None, **sections):
    """Room for a test's tasks and no breaker in the way. A section is laid over its default, setting by setting."""
    whole = {
        "memory": {"budget": "1GiB"},
        "workers": {"max": 2, "memory_limit": "256MiB"},
        "queue": {"max_depth": 50, "limits": dict.fromkeys(["critical", "high", "normal", "low", "heartbeat"], 50)},
        "circuit_breakers": {"failures": 1000},
        "agents": {"puppet": puppet()} if agents is None else agents,
    }
    for name, section in sections.items():
        if not isinstance(section, dict):
            whole[name] = section
            continue
        whole[name] = {**whole.get(name, {}), **section}
    return whole


class Gate:
    """A file that puppets wait for: `gate(PATH)` in their source."""

    def __init__(self, daemon, name="gate"):
        self.path = os.path.join(daemon.dir, name)

    def code(self, then="done()"):
        return f"gate({self.path!r})\n{then}"

    def open(self):
        with open(self.path, "w", encoding="ascii"):
            pass


class Later(threading.Thread):
    """Runs `function` on a thread; `result()` gives what it returned or raises what it raised."""

    def __init__(self, function, *args, **kw):
        super().__init__(daemon=True)
        self.call = lambda: function(*args, **kw)
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.call()
        except BaseException as error:  # handed to the test's own thread
            self.error = error

    def result(self, timeout=60):
        self.join(timeout * harness.PATIENCE)
        if self.is_alive():
            raise AssertionError("still waiting for an answer")
        if self.error is not None:
            raise self.error
        return self.value


class EventStream:
    """Server-sent events as (id, name, data), read as they come."""

    def __init__(self, daemon, path="/v1/events", last_id=None, timeout=20):
        self.connection = harness._UnixConnection(daemon.socket, timeout * harness.PATIENCE)
        self.connection.request("GET", path, headers={} if last_id is None else {"Last-Event-ID": str(last_id)})
        self.response = self.connection.getresponse()
        self.response.readline()  # the greeting: from here on nothing is missed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def next(self):
        fields = {}
        while True:
            line = self.response.readline().decode()
            if not line:
                raise AssertionError(f"the stream has ended, status {self.response.status}")
            line = line.rstrip("\n")
            if not line and "data" in fields:
                data = json.loads(fields["data"])
                api.check_event(data)
                return int(fields["id"]), fields["event"], data
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value

    def until(self, name):
        """The data of all events up to and with the first of this name."""
        found = []
        while True:
            _, event, data = self.next()
            found.append(data)
            if event == name:
                return found


def has_groups(daemon):
    """Whether workers are in groups; without, the holder of a tree sweeps it and says nothing of it."""
    return daemon.get("/health").json["guarantee"] != "rlimit"


def supervisor_rss(daemon):
    with open(f"/proc/{daemon.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def open_files(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))
