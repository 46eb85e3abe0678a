#!/usr/bin/env python3
"""Records the workloads: `tests/leaks/record.py --seed 1 [--only TEXT] DIR` writes DIR/NAME.csv, 60 s at 10 Hz, and DIR/labels.csv.

Each process is recorded from its start. Bytes are its resident memory, in whole pages as the kernel counts it; those of a browser are
what its processes hold without what they share.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SECONDS, INTERVAL = 60.0, 0.1
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def descendants(pid):
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in pathlib.Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


class OwnMemoryOfTree:
    """What the processes of a browser hold without what they share. The tree is walked once a second: that costs most."""

    def __init__(self):
        self.walked, self.tree = 0.0, []

    def __call__(self, pid):
        if time.monotonic() - self.walked > 1:
            self.walked, self.tree = time.monotonic(), descendants(pid)
        total = 0
        for each in self.tree:
            with contextlib.suppress(OSError):
                pages = pathlib.Path(f"/proc/{each}/statm").read_text().split()
                total += (int(pages[1]) - int(pages[2])) * PAGE
        return total


def browser(page, profile):
    return [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={profile}", page,
    ]  # fmt: skip


def recordings(seed):
    """(name, label, hard, command, reading) of each."""
    sys.path.insert(0, str(HERE))
    import workloads

    for kinds, label in ((workloads.LEAKS, "leak"), (workloads.BOUNDED, "none")):
        for name, (_, hard) in kinds.items():
            yield f"python_{name}", label, hard, ["python3", HERE / "workloads.py", name, seed], resident
    script = (HERE / "workloads.js").read_text()
    for part, label in (script.split("const bounded =")[0], "leak"), (script.split("const bounded =")[1], "none"):
        for name in re.findall(r"^  (\w+)\(\) {( *// hard)?", part, re.M):
            command = ["node", "--expose-gc", HERE / "workloads.js", name[0], seed]
            yield f"node_{name[0]}", label, bool(name[1]), command, resident
    if shutil.which("chromium"):
        text = (HERE / "page.html").read_text()
        for name, label, hard in re.findall(r"^    (\w+): (leak|none)(, hard)?$", text, re.M):
            page = (HERE / "page.html").as_uri() + f"?{name}&{seed}"
            yield f"browser_{name}", label, bool(hard), functools.partial(browser, page), OwnMemoryOfTree()


def write(path, points):
    path.write_text("seconds,bytes\n" + "".join(f"{seconds:.1f},{size}\n" for seconds, size in points))


def record(path, command, reading):
    with tempfile.TemporaryDirectory() as profile:
        words = command(profile) if callable(command) else command
        process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        start, points = time.monotonic() + 0.2, []
        try:
            for number in range(int(SECONDS / INTERVAL)):
                time.sleep(max(0.0, start + number * INTERVAL - time.monotonic()))
                if (now := time.monotonic() - start) > SECONDS:
                    break
                points.append((now, reading(process.pid)))
        finally:
            process.terminate()
            process.wait()
    write(path, points)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="those with this in their name")
    parser.add_argument("--jobs", type=int, default=12, help="processes at a time")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    chosen = [each for each in recordings(options.seed) if not options.only or any(text in each[0] for text in options.only)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(record, options.directory / f"{name}.csv", command, reading)
                   for name, _, _, command, reading in chosen]  # fmt: skip
        for each in running:
            each.result()
    labels = "".join(f"{name},{label},{'hard' if hard else 'plain'}\n" for name, label, hard, _, _ in chosen)
    (options.directory / "labels.csv").write_text("name,label,kind\n" + labels)


if __name__ == "__main__":
    main()
