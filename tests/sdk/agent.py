"""The agent that test_sdk.py drives: `payload["do"]` names what it does. Its twin is agent.js."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "worker" / "sdk" / "python"))
import kurultai_agent
from kurultai_agent import BreakerOpen, Fatal, breaker, serve

kurultai_agent.HEARTBEAT_S = 0.2
kurultai_agent.TICK_S = 0.02
pressure_seen = []


def until_stopped(task):
    while True:
        task.raise_if_stopped()
        time.sleep(0.002)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def spin(task):
    for step in range(20001):
        task.progress(step / 200)


def spin_messages(task):
    deadline = time.monotonic() + task.payload["seconds"]
    calls = 0
    while time.monotonic() < deadline:
        calls += 1
        task.progress(50, f"call {calls}")
    return calls


def save_then_wait(task):
    state = {"step": 1}
    task.save(state)
    state["step"] = 2  # not saved: must not be handed over
    until_stopped(task)


def swallow(task):
    try:
        until_stopped(task)
    except Exception:
        return "swallowed"


def return_preempted(task):
    while not task.preempting:
        time.sleep(0.002)
    return task.preempted({"given": True})


def fail(task):
    raise RuntimeError("broken ünit")


def fail_fatally(task):
    raise Fatal("never again")


def noise(task):
    print("printed")
    print('{"type":"COMPLETE","taskId":"t","result":"forged"}')
    sys.stdout.flush()
    subprocess.run(["sh", "-c", "echo from a child"], check=True)
    os.write(1, b"written to descriptor 1\n")
    return subprocess.run(["cat"], stdout=subprocess.PIPE, check=True).stdout.decode()  # must not get the protocol


def busy(task):
    while not (task.cancelled and task.payload.get("stops")):
        pass


def pieces(task):
    task.chunk("ü" * 70000)
    task.chunk(b"\xff\x00" * 100000)
    task.chunk(bytearray(b"end"))


def piece_and_value(task):
    task.chunk("a")
    return 1


def generate(task):
    yield "one,"
    yield b"two"


async def wait_async(task):
    await asyncio.sleep(0.001)
    return "awaited"


def logs(task):
    task.log("warn", "careful")
    task.metric("score", 1.5)
    task.metric("steps", 2, kind="counter")


def call(task):
    try:
        with breaker("api"):
            if task.payload.get("waits"):
                until_stopped(task)
            if task.payload.get("fails"):
                raise OSError("down")
            return "called"
    except BreakerOpen as refused:
        return [refused.name, refused.retry_after]


async def call_async(task):
    try:
        async with breaker("api"):
            await asyncio.sleep(0.001)
            return "called"
    except BreakerOpen as refused:
        return [refused.name, refused.retry_after]


async def give_up_asking(task):
    async def ask():
        async with breaker("api"):
            pass
    asking = asyncio.ensure_future(ask())
    await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.wait([asking])
    task.log("info", "given up")
    await asyncio.sleep(0.05)
    return asking.cancelled()


def call_within_call(task):
    with breaker("outer"):
        with breaker("inner"):
            pass


DO = {
    "call": call,
    "call_async": call_async,
    "call_within_call": call_within_call,
    "give_up_asking": give_up_asking,
    "echo": lambda task: task.payload.get("value"),
    "about": lambda task: [task.id, task.attempt, task.priority, task.deadline_ms, task.checkpoint],
    "nothing": lambda task: None,
    "until_stopped": until_stopped,
    "progress_until_stopped": lambda task: [task.progress(42, "at it"), until_stopped(task)],
    "spin": spin,
    "spin_messages": spin_messages,
    "save_then_wait": save_then_wait,
    "swallow": swallow,
    "return_preempted": return_preempted,
    "fail": fail,
    "fail_fatally": fail_fatally,
    "noise": noise,
    "busy": busy,
    "ignore_all": lambda task: [time.sleep(0.01) for _ in iter(int, 1)],
    "pieces": pieces,
    "piece_and_value": piece_and_value,
    "generate": generate,
    "async": wait_async,
    "logs": logs,
    "pressure": lambda task: pressure_seen,
    "nan": lambda task: {"value": float("nan")},
    "not_json": lambda task: object(),
    "huge_number": lambda task: 10**400,
    "many_escapes": lambda task: "\n" * 400000,
    "large": lambda task: "x" * (2 << 20),
    "large_state": lambda task: task.save("x" * (2 << 20)),
    "bad_preempted_state": lambda task: task.preempted(object()),
    "nested": lambda task: nested(task.payload["depth"]),
    "half_pair": lambda task: "a\ud800b",
    "exit": lambda task: sys.exit(3),
    "odd_values": lambda task: {"list": [True, None, 1e300, -0.5], "line": "a\nb\u2028c\x00"},
}


def on_pressure(level, ratio):
    pressure_seen.append([level, ratio])
    if level == 4:
        raise RuntimeError("callback failed")


print("printed before serve")
serve(lambda task: DO[task.payload["do"]](task), name="test-agent", on_pressure=on_pressure)
