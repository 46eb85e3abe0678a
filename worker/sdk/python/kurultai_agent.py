"""Makes a function a Kurultai agent (protocol 1). One file, standard library only, Python 3.9 or newer.

    from kurultai_agent import serve
    def handle(task):
        for done, item in enumerate(task.payload["items"]):
            work_on(item)
            task.progress(100 * done / len(task.payload["items"]))
        return {"ok": True}             # any JSON value; or yield str or bytes, a large result piece by piece
    serve(handle)

Raising fails the task with the stack; `Fatal` says that a retry cannot help. `async def` works too. When the task is
preempted or cancelled, its next progress, save, chunk or raise_if_stopped raises `Preempted` or `Cancelled`, which
`except Exception` lets pass. A preempted task runs again later, with the last saved state in `task.checkpoint`.
`with breaker("openai"):` around a call leaves alone what keeps failing, see there.
Each task has a thread, so pings are answered while it computes. From serve() on, descriptor 1 is stderr and 0 is
/dev/null, for child processes too: nobody else touches the protocol. MEMORY is never sent: Python has no heap figure
that is true and cheap, and the supervisor measures the process itself.
"""

import base64, gc, itertools, json, os, queue, re, signal, sys, threading, time, traceback, types
from itertools import accumulate

MAX_LINE = 1 << 20    # bytes; the supervisor ends a worker that writes a longer line (ipc.max_line)
MAX_DEPTH = 64        # nesting of a whole line, likewise
MAX_TEXT = 64 * 1024  # of a message, stack or piece: fits a line even when each character is escaped
PROGRESS_GAP_S, HEARTBEAT_S, TICK_S = 0.1, 25.0, 0.25  # the protocol wants a sign of life every 30 s
ANSWER_S = 5.0        # a supervisor that is too busy to answer must not stop an agent's calls
EOF_GRACE_S = 0.3     # nobody waits for answers any more: time for `finally` blocks only


class Fatal(Exception): """Fails the task for good, whatever retries are left."""
class Cancelled(BaseException): """The task is not wanted any more."""
class Preempted(BaseException): """The memory is needed elsewhere; the task will run again."""


class BreakerOpen(Exception):
    """The call was not made: what it calls keeps failing. `name` says what, `retry_after` is in seconds."""

    def __init__(self, name, retry_after):
        super().__init__(f"{name} keeps failing; try again in {retry_after:.1f} s")
        self.name, self.retry_after = name, retry_after


class breaker:
    """`with breaker("openai"): call_it()`, also `async with`: raises BreakerOpen when the supervisor knows, from all its
    workers, that calls of this name keep failing; one is let through now and then to try. An exception that leaves the
    block is a failure, but for BreakerOpen, Cancelled and Preempted, which say nothing of what was called. Without a
    supervisor calls go through. Make one for each block."""

    def __init__(self, name):
        self.name, self._call = str(name), None

    def __enter__(self):
        if self._call is not None:
            raise RuntimeError("a breaker() guards one block: make another for the next")
        self._call = 0
        self._call = _agent.acquire(self.name) if _agent else 0
        return self

    def __exit__(self, kind, error, stack):
        if kind is None:
            self._tell("success")
        else:
            self._tell("failure" if issubclass(kind, Exception) and not issubclass(kind, BreakerOpen) else "release")

    async def __aenter__(self):
        import asyncio
        asked = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:  # what is let through now is not wanted any more
            asked.add_done_callback(lambda done: done.cancelled() or done.exception() or self._tell("release"))
            raise

    async def __aexit__(self, *error):
        self.__exit__(*error)

    def _tell(self, op):
        if self._call:
            _agent.write("BREAKER", name=self.name, op=op, call=self._call)


class Task:
    """One task, as its handler sees it. The methods may be called from any thread."""

    def __init__(self, message, write):
        self.id, self.attempt = message["taskId"], message.get("attempt", 1)
        self.priority = message.get("priority", "normal")
        self.deadline_ms = message.get("deadlineMs")
        self.checkpoint = message.get("checkpoint")
        self.payload_file = message.get("payloadFile")
        self.cancelled = self.preempting = False
        self._payload = message.get("payload")
        self._state = json.dumps(self.checkpoint)  # as text: the handler may change what it saved
        self._write, self._lock = write, threading.Lock()  # nothing of a task may be written behind its final message
        self._finished = self._chunked = False
        self._now = self._sent = (0.0, None)
        self._sent_at, self._high = time.monotonic() - PROGRESS_GAP_S, 0.0

    @property
    def payload(self):
        """The JSON value; a large one is read from payload_file now. What is not JSON, open there yourself."""
        if self._payload is None and self.payload_file:
            with open(self.payload_file, "rb") as file:
                self._payload = json.load(file)
        return self._payload

    def raise_if_stopped(self):
        if self.cancelled or self.preempting:
            raise Cancelled() if self.cancelled else Preempted()

    def progress(self, percent, message=None):
        """Call it as often as you like: about ten a second are sent at most, one every 10 % at least."""
        self.raise_if_stopped()
        self._now = round(min(100.0, max(0.0, float(percent))), 1), message and str(message)[:MAX_TEXT]
        self._report()

    def save(self, state):
        """Leaves a JSON value with the supervisor, for the next run after a preemption or a crash."""
        self._send("CHECKPOINT", state=state)
        self._state = json.dumps(state)
        self.raise_if_stopped()

    def chunk(self, data):
        """Appends str or bytes to the result, which is then all these pieces, however large."""
        self.raise_if_stopped()
        self._chunked, text = True, isinstance(data, str)
        for at in range(0, max(len(data), 1), MAX_TEXT):
            piece = data[at:at + MAX_TEXT] if text else base64.b64encode(data[at:at + MAX_TEXT]).decode()
            self._send("CHUNK", data=piece, encoding="utf8" if text else "base64")

    def preempted(self, state=None):
        """`return task.preempted(state)` frees the worker; the task runs again later, from this state."""
        return Preempted(state)

    def log(self, level, message):
        """level: trace, debug, info, warn or error."""
        self._write("LOG", level=level, message=str(message)[:MAX_TEXT])

    def metric(self, name, value, kind="gauge"):
        """Publishes a figure of the agent's own; kind: gauge or counter."""
        self._write("METRIC", name=name, value=value, kind=kind)

    def _report(self):
        """Sends the progress when it is due; progress() and the main thread, every TICK_S, ask."""
        with self._lock:
            now, quiet = self._now, time.monotonic() - self._sent_at
            news = now != self._sent and (quiet >= PROGRESS_GAP_S or now[0] >= self._high + 10)
            if not self._finished and (news or quiet >= HEARTBEAT_S):
                self._write("PROGRESS", taskId=self.id, percent=now[0], **({"message": now[1]} if now[1] else {}))
                self._sent, self._sent_at, self._high = now, time.monotonic(), max(self._high, now[0])

    def _send(self, kind, final=False, **fields):
        with self._lock:
            if not self._finished:
                self._write(kind, taskId=self.id, **fields)
                self._finished = final

    def _end(self, kind, field, value):
        try:
            self._send(kind, final=True, **({} if value is None else {field: value}))
        except (TypeError, ValueError, RecursionError) as error:
            self._fail(f"the {field} cannot be sent: {error}", retryable=False)

    def _fail(self, error, retryable):
        stack = traceback.format_exc()[-MAX_TEXT:]
        self._send("FAILED", final=True, error=error[:MAX_TEXT // 16], stack=stack, retryable=retryable)

    def _run(self, handler):
        try:
            result = handler(self)
            if hasattr(result, "__await__"):
                import asyncio  # 50 ms that only `async def` handlers should pay for
                result = asyncio.run(result)
            if isinstance(result, types.GeneratorType):
                for piece in result:
                    self.chunk(piece)
                result = None
            if isinstance(result, Preempted):
                raise result
            if self._chunked and result is not None:
                raise Fatal("after task.chunk() nothing else can be returned")
            self._end("COMPLETE", "result", result)
        except Preempted as stop:
            self._end("PREEMPTED", "state", json.loads(self._state) if stop.args in ((), (None,)) else stop.args[0])
        except Cancelled:
            self._fail("cancelled", retryable=False)
        except BaseException as error:
            words = [str(error)] if isinstance(error, Fatal) else traceback.format_exception_only(type(error), error)
            self._fail("".join(words).strip(), retryable=not isinstance(error, Fatal))


class _Agent:
    def __init__(self, handler, on_pressure, out):
        self.handler, self.on_pressure, self.out = handler, on_pressure, out
        self.waiting, self.out_lock = queue.SimpleQueue(), threading.Lock()
        self.changed = threading.Condition()  # guards tasks, threads and leave_at
        self.tasks, self.threads, self.leave_at = set(), 0, None
        self.calls, self.asked = itertools.count(1), {}  # breaker questions by number, and where their answers go

    def write(self, kind, /, **fields):
        line = _encode({"type": kind, **fields})
        try:
            with self.out_lock:
                while line:
                    line = line[os.write(self.out, line):]
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)  # the supervisor is gone, and with it whoever wanted an answer

    def read(self, lines):
        for line in lines:
            try:
                self.take(json.loads(line))
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
                pass  # no message, or not one of ours
        self.leave(EOF_GRACE_S, cancel=True)
        for answer in list(self.asked.values()):
            answer.put({})

    def acquire(self, name):
        """The number of a call that may be made."""
        call, answer = next(self.calls), queue.SimpleQueue()
        self.asked[call] = answer
        try:
            self.write("BREAKER", name=name, op="acquire", call=call)
            said = answer.get(timeout=ANSWER_S)
        except queue.Empty:
            return call
        finally:
            del self.asked[call]
        if said.get("allow") is False:
            raise BreakerOpen(name, said.get("retryAfterMs", 0) / 1000)
        return call

    def take(self, message):
        kind = message.get("type")
        if kind == "TASK":
            self.start(Task(message, self.write))
        elif kind in ("CANCEL", "PREEMPT"):
            with self.changed:
                for task in (task for task in self.tasks if task.id == message.get("taskId")):
                    setattr(task, "cancelled" if kind == "CANCEL" else "preempting", True)
        elif kind == "PING":
            self.write("PONG", seq=message.get("seq"))
        elif kind == "BREAKER" and (answer := self.asked.get(message.get("call"))):
            answer.put(message)
        elif kind == "PRESSURE":  # on a thread: a slow callback must not delay what is read next
            figures = message.get("level"), message.get("ratio")
            threading.Thread(target=self.on_pressure, args=figures, daemon=True).start()
        elif kind == "SHUTDOWN":
            self.leave(message.get("graceMs", 5000) / 1000)

    def start(self, task):
        with self.changed:
            self.tasks.add(task)
            self.waiting.put(task)
            if len(self.tasks) > self.threads:  # as many threads as tasks ever ran at once; they stay
                self.threads += 1
                threading.Thread(target=self.work, daemon=True).start()
            self.changed.notify()

    def work(self):
        while True:
            task = self.waiting.get()
            task._run(self.handler)
            with self.changed:
                self.tasks.discard(task)
                self.changed.notify()
            del task  # or an idle thread would keep its payload

    def leave(self, seconds, cancel=False):
        with self.changed:
            self.leave_at = min(time.monotonic() + seconds, self.leave_at or float("inf"))
            for task in self.tasks if cancel else ():
                task.cancelled = True
            self.changed.notify()

    def wait(self):
        """Keeps the tasks' progress alive until it is time to leave; true when all have ended by then."""
        with self.changed:
            while self.leave_at is None or (self.tasks and time.monotonic() < self.leave_at):
                self.changed.wait(TICK_S if self.tasks else None)
                for task in self.tasks:
                    task._report()
            return not self.tasks


_agent = None  # whom breakers ask, once serve() runs


def _encode(message):
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    line = text.encode("utf-8", "replace")  # half a surrogate pair, as file names can hold, is no JSON
    if len(line) > MAX_LINE:
        raise ValueError(f"a {message['type']} of {len(line)} bytes is over the limit of {MAX_LINE}: "
                         "give large results to task.chunk() in pieces, keep large states in files")
    if text.count("{") + text.count("[") > MAX_DEPTH or re.search("[0-9]{309}", text):
        bare = re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*"', "", text)  # without its strings
        deepest = max(accumulate((c in "{[") - (c in "}]") for c in bare))
        if deepest > MAX_DEPTH or re.search("[0-9]{309}", bare):
            raise ValueError(f"deeper than {MAX_DEPTH} levels, or a number beyond 1e308, in a {message['type']}")
    return line + b"\n"


def serve(handler, name=None, on_pressure=lambda level, ratio: gc.collect()):
    """Runs `handler(task)` for each task until the supervisor has no more; call it once, from the main thread.
    name: shown by the supervisor; the script's by default. on_pressure: memory is short, drop caches.
    Returns when the process should end; ends it at once, with status 0, when a handler does not stop."""
    global _agent
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the supervisor's; SIG_IGN would pass on to children
    source, out = os.dup(0), os.dup(1)  # not inherited by children
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    os.dup2(2, 1)  # before any flush: what was printed until now goes to stderr too
    sys.stdout.reconfigure(line_buffering=True)
    for pipe in (source, out):
        os.set_blocking(pipe, True)
    agent = _agent = _Agent(handler, on_pressure, out)
    agent.write("READY", protocol=1, name=name or os.path.basename(sys.argv[0]))
    threading.Thread(target=agent.read, args=(os.fdopen(source, "rb"),), daemon=True).start()
    if not agent.wait():
        os._exit(0)
