"""Leaks on purpose: {"step_mib": 16, "interval_ms": 100, "max_mib": 1024}. Under a cap below max_mib it dies of it."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sdk" / "python"))
from kurultai_agent import serve

MIB = 1 << 20
PAGE = 4096


def touched(size):
    block = bytearray(size)
    block[::PAGE] = b"\1" * len(range(0, size, PAGE))  # a page costs memory only once it was written
    return block


def leak(task):
    payload = task.payload or {}
    step, most = payload.get("step_mib", 16), payload.get("max_mib", 1024)
    kept = []
    while len(kept) * step < most:
        kept.append(touched(step * MIB))
        held = len(kept) * step
        task.progress(100 * held / most, f"{held} MiB")
        time.sleep(payload.get("interval_ms", 100) / 1000)
    return {"mib": len(kept) * step}


serve(leak)
