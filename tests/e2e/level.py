"""The same tests at each guarantee level: what this machine's memory controller can do, and RLIMIT_DATA with supervision.

`@at_each_level` on a class of tests makes one class a level. Which level the machine itself offers is found out here by a
group made by hand, so a supervisor that settles for less than it could have fails its tests. KURULTAI_TEST_LEVEL names a
level instead: then only that one is tested.
"""
import contextlib
import datetime
import glob
import http.client
import os
import sys
import time

import harness
from harness import MIB, PATIENCE, wait_until

PARENT_VARIABLE = "KURULTAI_MEMORY_CGROUP_PARENT"
# No group can be made below it, so every controller is refused by the kernel itself.
NO_SUCH_PARENT = "/kurultai-no-such-parent/below"


def _mounts():
    """(version, controllers, mount point, root of the mount) of each cgroup hierarchy."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, after = line.rstrip("\n").split(" - ", 1)
            kind, _, options = after.split(" ")[:3]
            if kind in ("cgroup", "cgroup2"):
                fields = before.split(" ")
                yield (2 if kind == "cgroup2" else 1), options.split(","), fields[4], fields[3]


def _own_group(version, controller="memory"):
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if (version == 2 and not controllers) or (version == 1 and controller in controllers.split(",")):
                return path
    return "/"


def _parent(version, point, root):
    parent = os.environ.get(PARENT_VARIABLE, "self")
    if parent != "self":
        return point + parent.rstrip("/")
    own = _own_group(version)
    if root != "/" and own.startswith(root):
        own = own[len(root):]
    return point + own.rstrip("/")


def _attempt(parent, limit_file):
    """Whether a group with a limit can be made in `parent`."""
    probe = os.path.join(parent, f"kurultai-probe-{os.getpid()}")
    try:
        os.mkdir(probe)
    except OSError:
        return False
    try:
        with open(os.path.join(probe, limit_file), "w", encoding="ascii") as file:
            file.write(str(64 * MIB))
        return True
    except OSError:
        return False
    finally:
        os.rmdir(probe)


def _enable_memory(parent):
    try:
        with open(os.path.join(parent, "cgroup.controllers"), encoding="ascii") as file:
            if "memory" not in file.read().split():
                return False
        with open(os.path.join(parent, "cgroup.subtree_control"), "w", encoding="ascii") as file:
            file.write("+memory")
        return True
    except OSError:
        return False


def machine_level():
    """The best level that can be had here: "cgroup2", "cgroup1" or "rlimit"."""
    mounts = list(_mounts())
    for version, _, point, root in mounts:
        parent = _parent(2, point, root)
        if version == 2 and _enable_memory(parent) and _attempt(parent, "memory.max"):
            return "cgroup2"
    for version, controllers, point, root in mounts:
        if version == 1 and "memory" in controllers and _attempt(_parent(1, point, root), "memory.limit_in_bytes"):
            return "cgroup1"
    return "rlimit"


_named = os.environ.get("KURULTAI_TEST_LEVEL")
LEVELS = [_named] if _named else sorted({machine_level(), "rlimit"})


def at_each_level(mixin):
    """One class of tests a level in the module of `mixin`, which itself is no test."""
    return _make(mixin, LEVELS)


def with_cgroups(mixin):
    """Like at_each_level, for what only a memory controller can do."""
    return _make(mixin, [level for level in LEVELS if level != "rlimit"] or ["rlimit"], needs_cgroup=True)


def _make(mixin, levels, needs_cgroup=False):
    module = sys.modules[mixin.__module__]
    for level in levels:
        name = f"{mixin.__name__}_{level}"
        members = {"level": level, "needs_cgroup": needs_cgroup, "__module__": mixin.__module__, "__doc__": mixin.__doc__}
        setattr(module, name, type(name, (mixin,), members))
    return None


class LevelE2E(harness.E2E):
    """Daemons of one level; each must say that it is at that level."""

    level = None
    needs_cgroup = False

    def setUp(self):
        if self.needs_cgroup and self.level == "rlimit":
            self.skipTest("no memory controller can be written here: only RLIMIT_DATA is tested")

    @property
    def caps_hold(self):
        return self.level != "rlimit"

    def level_env(self):
        return {PARENT_VARIABLE: NO_SUCH_PARENT} if self.level == "rlimit" else {}

    def is_well(self, daemon):
        """Nothing is degraded, but that no group can be had where one is asked for, where that is so on purpose."""
        parts = daemon.get("/health").json["parts"]
        return {one["part"] for one in parts if one["status"] != "ok"} == ({"guarantee"} if self.level == "rlimit" else set())

    def _close(self, daemon):
        """Ends what still runs first: a drain would wait for it."""
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            for task in daemon.get("/v1/tasks?state=queued,running").json["tasks"] if daemon.process.poll() is None else []:
                daemon.request("DELETE", f"/v1/tasks/{task['taskId']}")
        super()._close(daemon)

    def daemon(self, config, ready=True, env=None, **kw):
        daemon = super().daemon(config, ready=ready, env={**self.level_env(), **(env or {})}, **kw)
        if ready:
            health = daemon.get("/health").json
            self.assertEqual(health["guarantee"], self.level, health["explanation"])
        return daemon


def groups_file(instance, name, below="workers"):
    """The path of a file in the memory controller's `workers` group of an instance, or in one below it."""
    for top in harness.group_dirs(instance):
        path = os.path.join(top, below, name)
        if os.path.exists(path):
            return path
    return None


def highest_charge(instance, below="workers"):
    """The kernel's own maximum of the group's charge in bytes; None where it keeps none."""
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        path = groups_file(instance, name, below)
        if path:
            with open(path, encoding="ascii") as file:
                return int(file.read())
    return None


def charge(instance, below="workers"):
    """The group's charge in bytes now, page cache included."""
    for name in ("memory.usage_in_bytes", "memory.current"):
        path = groups_file(instance, name, below)
        if path:
            with open(path, encoding="ascii") as file:
                return int(file.read())
    return None


def worker_groups(instance):
    """Names of the workers' groups that exist."""
    found = set()
    for top in harness.group_dirs(instance):
        found |= {os.path.basename(os.path.dirname(path)) for path in glob.glob(os.path.join(top, "workers", "*", ""))}
    return found


def with_word(word):
    """Living processes (no zombies: their command line is empty) with `word` in their command line, except this one."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        pid = int(path.split("/")[2])
        try:
            with open(path, "rb") as file:
                if pid != os.getpid() and word.encode() in file.read():
                    found.append(pid)
        except OSError:
            pass
    return found


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def worker_of(daemon, agent):
    """The worker of an agent as /v1/workers shows it, or None."""
    for worker in daemon.get("/v1/workers").json["workers"]:
        if worker["agent"] == agent:
            return worker
    return None


# A task that holds as much memory as a file says, so that a test moves memory up and down at will. The file holds
# {"mib": N} and at last {"end": true}; the payload {"file": PATH} and what else it is to do:
#   "on_preempt": "answer" (gives its memory back and says PREEMPTED with a checkpoint; the default) or "ignore"
#   "keep": MIB that stays with the warm worker after the task
#   "grow": [MIB, MS, TOP]  grows by MIB every MS milliseconds up to TOP, until the file says how much to hold
#   "count": N  counts to N in steps of "step_ms" with a checkpoint each, and answers with the sum; needs no file
#   "pause": [N, GATE]  counts no further than N until the file GATE is there
# With the environment's DEAF=1 it ignores SIGTERM; LEAVE_MS is how long it takes to leave after SHUTDOWN.
BALLOON = harness.agent_command(r"""
import mmap, select
leave_ms = int(os.environ.get('LEAVE_MS', '0'))
if os.environ.get('DEAF'): signal.signal(signal.SIGTERM, signal.SIG_IGN)
MIB = 1 << 20
ONES = b'\1' * MIB
held, kept, lines, rest = [], [], [], b''

def grow(to):
    while len(held) < to:
        block = mmap.mmap(-1, MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        block.write(ONES)
        held.append(block)
    while len(held) > to: held.pop().close()

def messages(wait):
    global rest
    if not lines and select.select([0], [], [], wait)[0]:
        got = os.read(0, 65536)
        if not got: sys.exit(0)
        *whole, rest = (rest + got).split(b'\n')
        lines.extend(whole)
    while lines: yield json.loads(lines.pop(0))

def leave():
    time.sleep(leave_ms / 1000)
    sys.exit(0)

def serve(task):
    payload, id = task['payload'] or {}, task['taskId']
    state = task.get('checkpoint') or {'done': 0, 'sum': 0}
    first, count = state['done'], payload.get('count')
    pause, gate = payload.get('pause', (count, None))
    paused = lambda: gate and state['done'] >= pause and not os.path.exists(gate)
    if 'mib' in payload: grow(payload['mib'])
    step = payload.get('step_ms', 10) / 1000
    next_step = time.monotonic() + step
    told = None
    by, pace, top = payload.get('grow', (0, 0, 0))
    while True:
        for message in messages(pace / 1000 if by else 0.005):
            if message['type'] == 'PRESSURE': say({'type': 'LOG', 'level': 'info', 'message': 'pressure %d' % message['level']})
            if message['type'] == 'SHUTDOWN': leave()
            if message['type'] == 'CANCEL': grow(0); return say({'type': 'FAILED', 'taskId': id, 'error': 'cancelled', 'retryable': False})
            if message['type'] == 'PREEMPT':
                say({'type': 'LOG', 'level': 'info', 'message': 'preempt with %d ms' % message['graceMs']})
                if payload.get('on_preempt') == 'ignore': continue
                grow(0)
                return say({'type': 'PREEMPTED', 'taskId': id, 'state': state})
        if count and time.monotonic() >= next_step and not paused():
            next_step += step
            state = {'done': state['done'] + 1, 'sum': state['sum'] + state['done'] + 1}
            say({'type': 'CHECKPOINT', 'taskId': id, 'state': state})
            if state['done'] >= count:
                grow(0)
                return say({'type': 'COMPLETE', 'taskId': id, 'result': {'sum': state['sum'], 'steps': count - first}})
        if 'file' in payload:
            try: order = json.load(open(payload['file']))
            except (OSError, ValueError): continue
            grow(order.get('mib', min(top, len(held) + by) if by else len(held)))
            if len(held) != told:
                told = len(held)
                with open(payload['file'] + '.held', 'w') as file: file.write(str(told))
            if order.get('end'):
                grow(payload.get('keep', 0))
                return say({'type': 'COMPLETE', 'taskId': id, 'result': 'let go'})

say({'type': 'READY', 'protocol': 1, 'name': 'balloon'})
while True:
    for message in messages(60):
        if message['type'] == 'SHUTDOWN': leave()
        if message['type'] == 'TASK': serve(message)
""")


class Balloon:
    """A running task of a BALLOON agent."""

    def __init__(self, daemon, agent, start=True, **fields):
        self.daemon = daemon
        payload = fields.pop("payload", {})
        self.file = os.path.join(daemon.dir, f"balloon-{agent}-{id(self)}")
        self.order({})
        self.id = daemon.start(agent, {"file": self.file, **payload}, **fields)
        if start:
            daemon.wait_state(self.id, "running")
            wait_until(lambda: self.memory() > payload.get("mib", 0) * MIB, "the balloon is blown up")

    def order(self, what):
        with open(self.file + ".new", "w", encoding="ascii") as file:
            file.write(harness.json.dumps(what))
        os.replace(self.file + ".new", self.file)

    def hold(self, mib):
        self.order({"mib": int(mib)})

    def holds(self, mib):
        with contextlib.suppress(OSError, ValueError), open(self.file + ".held", encoding="ascii") as file:
            return int(file.read()) == mib
        return False

    def wait_held(self, mib):
        wait_until(lambda: self.holds(mib), f"the balloon holds {mib} MiB", 20)

    def end(self):
        self.order({"end": True, "mib": 0})

    def worker(self):
        """Its worker as /v1/workers shows it, or None while it has none."""
        for worker in self.daemon.get("/v1/workers").json["workers"]:
            if self.id in worker["tasks"]:
                return worker
        return None

    def memory(self):
        return (self.worker() or {"memoryBytes": 0})["memoryBytes"]

    @property
    def task(self):
        return self.daemon.task(self.id)


def memory(daemon):
    return daemon.get("/v1/memory").json


def ratio(daemon):
    return memory(daemon)["ratio"]


def reading_after(daemon, moment):
    """A reading of memory that was begun after `moment`."""
    def look():
        now = memory(daemon)
        at = datetime.datetime.fromisoformat(now["time"].replace("Z", "+00:00")).timestamp()
        return now if at > moment + 0.15 * PATIENCE else None
    return wait_until(look, "memory is read", 10)


class Scale:
    """Brings the whole to a share of the budget by one balloon: what the others use is measured, not assumed."""

    def __init__(self, daemon, balloon):
        self.daemon, self.balloon, self.mib = daemon, balloon, 0

    def aim_at(self, share):
        """Orders what should bring it to `share`, and does not wait: where something acts, it may never be read."""
        now = reading_after(self.daemon, time.time())
        self.mib += int((share - now["ratio"]) * now["budgetBytes"] / MIB)
        self.balloon.hold(self.mib)

    def aim_until(self, share, acted):
        """Aims at `share` until `acted()`. Once may not do: without groups, readings near a threshold count
        shared pages once, so they are lower than the one that was aimed by (by 10 MiB a sanitized worker)."""
        for _ in range(6):
            self.aim_at(share)
            wait_until(lambda: acted() or self.balloon.holds(self.mib), f"the balloon holds {self.mib} MiB or something acts", 20)
            with contextlib.suppress(AssertionError):
                return wait_until(acted, f"something acts at {share:.0%}", 2)
        raise AssertionError(f"nothing acted at {share:.0%}")

    def bring_to(self, share):
        now = reading_after(self.daemon, time.time())
        for _ in range(6):
            miss = share - now["ratio"]
            if abs(miss) < 0.012:
                return
            self.mib = max(0, self.mib + int(miss * now["budgetBytes"] / MIB))
            self.balloon.hold(self.mib)
            self.balloon.wait_held(self.mib)
            now = reading_after(self.daemon, time.time())
        raise AssertionError(f"memory is at {now['ratio']:.1%} of the budget, not at {share:.0%}")


def file_system_of(path):
    """The type of the file system that holds `path`."""
    best = ("", "")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, after = line.split(" - ", 1)
            point = before.split(" ")[4]
            inside = os.path.realpath(path).startswith(point.rstrip("/") + "/") or point == os.path.realpath(path)
            if inside and len(point) >= len(best[0]):
                best = (point, after.split(" ")[0])
    return best[1]
