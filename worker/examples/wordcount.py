"""Counts words: {"text": "…"} or {"path": "FILE"}. Result: {"words", "distinct", "most": [[word, times], …]}."""

import os
import re
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sdk" / "python"))
from kurultai_agent import Fatal, serve


def lines_of(task):
    if "text" in task.payload:
        yield from task.payload["text"].splitlines()
        return
    path = task.payload["path"]
    size, done = os.path.getsize(path) or 1, 0
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            yield line
            done += len(line.encode())
            task.progress(100 * done / size)


def count_words(task):
    if not {"text", "path"} & set(task.payload or ()):
        raise Fatal("the payload needs text or path")
    words = Counter(word for line in lines_of(task) for word in re.findall(r"\w+", line.lower()))
    return {"words": sum(words.values()), "distinct": len(words), "most": words.most_common(5)}


serve(count_words)
