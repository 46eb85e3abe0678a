"""The work of a soak, in Python: takes memory, holds it for its time, and writes its key to the ledger before it says that
it is done. {"key", "bytes", "seconds", "leaks", "keeps"}: who leaks grows to `bytes` while its time lasts; `keeps` bytes stay
with the worker."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kurultai_agent import serve

LEDGER = sys.argv[1]
PAGE, STEP, TICK_S = 4096, 1 << 20, 0.05
kept = []


def touched(size):
    block = bytearray(size)
    block[::PAGE] = b"\1" * len(range(0, size, PAGE))
    return block


def work(task):
    payload = task.payload
    size, seconds = payload["bytes"], payload["seconds"]
    begin, held = time.monotonic(), []
    while True:
        share = min(1.0, (time.monotonic() - begin) / seconds if seconds else 1.0)
        wanted = size * share if payload.get("leaks") else size
        while len(held) * STEP < wanted:
            held.append(touched(min(STEP, size - len(held) * STEP)))
        task.progress(100 * share)
        if share >= 1:
            break
        time.sleep(min(TICK_S, seconds * (1 - share)))
    if payload.get("keeps"):
        kept.append(touched(payload["keeps"]))
    with open(LEDGER, "a", encoding="ascii") as ledger:
        ledger.write(f"{payload['key']}\n")
    return {"held": size}


serve(work)
