"""Adds up 1 … `to`, slowly: {"to": 100, "delay_ms": 10}. Saves its state at each step, so a preempted run goes on
where it was: `sum` is the same as undisturbed, `steps_run` is what this last run did of it. `hold_mib` makes it hold
so much memory meanwhile."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sdk" / "python"))
from kurultai_agent import serve


def count(task):
    to = task.payload["to"]
    delay_s = task.payload.get("delay_ms", 0) / 1000
    held = bytearray(task.payload.get("hold_mib", 0) << 20)
    held[::4096] = b"\1" * len(range(0, len(held), 4096))  # a page costs memory only once it was written
    state = task.checkpoint or {"done": 0, "sum": 0}
    started_at = state["done"]
    for number in range(state["done"] + 1, to + 1):
        time.sleep(delay_s)
        state = {"done": number, "sum": state["sum"] + number}
        task.save(state)
        task.progress(100 * number / to)
    return {"sum": state["sum"], "steps_run": to - started_at}


serve(count)
