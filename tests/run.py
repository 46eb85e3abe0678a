#!/usr/bin/env python3
"""Runs test programs side by side and counts what came of them.

  run.py [options] PROGRAM...     a .py file of unittest cases, or a doctest program
  run.py --total REPORT...        the sum of earlier runs, their skips and failures, and the last line
                                  "N passed, N failed, N skipped"; exit status 1 when something failed
  run.py --skip NAME REASON       a run that could not take place, for a later --total

Each program runs in a session of its own under a time limit; its output is shown when it failed. A few cases that failed
beside others (--again) run once more with the machine to themselves; those that pass then are named as unstable.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
DOCTEST_TOTAL = re.compile(r"test cases: +(\d+) \| +(\d+) passed \| +(\d+) failed")
SHOWN_BYTES = 64 * 1024  # of a failed program's output: the end of it


def empty():
    return {"passed": 0, "failed": [], "skipped": [], "unstable": []}


def doctest_cases(output):
    """The names of the cases that failed, and the reasons of those that said MESSAGE("SKIPPED: reason")."""
    case, failed, skipped = "?", [], {}
    for line in output.splitlines():
        if line.startswith("TEST CASE:"):
            case = line.removeprefix("TEST CASE:").strip()
        elif "ERROR: " in line and case not in failed:
            failed.append(case)
        elif match := re.search(r"MESSAGE: SKIPPED: (.*)", line):
            skipped[case] = match[1]
    return failed, {case: reason for case, reason in skipped.items() if case not in failed}


class Runner:
    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.running = set()  # leaders of the sessions under way

    def run(self, program, case=None):
        """Runs one program, or one case of it, and prints its line; returns its outcome."""
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="kurultai-tests-") as scratch:
            report = pathlib.Path(scratch) / "report.json"
            log = pathlib.Path(scratch) / "output"
            status = self.execute(self.command(program, report, case), log)
            output = log.read_bytes()[-SHOWN_BYTES:].decode(errors="replace")
            outcome = self.judge(program, status, output, report)
        self.show(program, outcome, output, time.monotonic() - started)
        return outcome

    def again(self, programs, total):
        """Second runs, one at a time, of cases that failed beside others: when they are few, for many are no accident."""
        suspects = [(program, name) for program in programs for name in total["failed"]
                    if program.endswith(".py") and name.startswith(f"{self.name(program)}: test_")]
        if not 0 < len(total["failed"]) == len(suspects) <= self.options.again:
            return
        for program, name in suspects:
            case = name.removeprefix(f"{self.name(program)}: ")
            sys.stdout.write(f"once more, alone: {name}\n")
            outcome = self.run(program, case)
            if outcome["passed"] == 1 and not outcome["failed"]:
                total["failed"].remove(name)
                total["unstable"].append(name)
                total["passed"] += 1

    def name(self, program):
        path = pathlib.Path(program).resolve()
        known = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        return f"{self.options.title}{known}"

    def command(self, program, report, case):
        wanted = case or self.options.filter
        if not case and wanted and wanted in str(self.name(program)):
            wanted = None  # the program itself was named: all of it
        if program.endswith(".py"):
            return [sys.executable, str(HERE / "unittest_file.py"), program, str(report)] + ([wanted] if wanted else [])
        return self.options.wrap.split() + [program] + ([f"--test-case=*{wanted}*"] if wanted else [])

    def execute(self, command, log):
        """The exit status; None when the time limit ended it. Nothing of its session is left behind."""
        with open(log, "wb") as output:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                )
            except OSError as error:
                output.write(f"{error}\n".encode())
                return 127
        with self.lock:
            self.running.add(process.pid)
        try:
            return process.wait(self.options.time_limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.end(process.pid)
            process.wait()
            with self.lock:
                self.running.discard(process.pid)

    @staticmethod
    def end(leader):
        try:
            os.killpg(leader, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def end_all(self):
        with self.lock:
            for leader in self.running:
                self.end(leader)

    def judge(self, program, status, output, report):
        if status is None:
            return {**empty(), "failed": [f"{self.name(program)}: not done after {self.options.time_limit:.0f} s"]}
        outcome = self.counted(program, status, output, report)
        if status != 0 and not outcome["failed"]:
            why = f"exit status {status}" if status > 0 else f"killed by {signal.Signals(-status).name}"
            outcome["failed"].append(f"{self.name(program)}: {why}")
        return outcome

    def counted(self, program, status, output, report):
        """What the program says of its cases; one that says nothing counts as one case."""
        prefix = f"{self.name(program)}: "
        if report.exists():
            said = {**empty(), **json.loads(report.read_text())}
            said["failed"] = [prefix + name for name in said["failed"]]
            said["skipped"] = [{**skip, "name": prefix + skip["name"]} for skip in said["skipped"]]
            return said
        totals = DOCTEST_TOTAL.findall(output)
        if not totals:
            return {**empty(), "passed": 1 if status == 0 else 0}
        _, passed, count = map(int, totals[-1])  # the last one is its own: a forked child may have printed before
        failed, skipped = doctest_cases(output)
        if len(failed) != count:
            failed = [f"failed case {n + 1} of {count}" for n in range(count)]
        return {
            **empty(),
            "passed": passed - len(skipped),
            "failed": [prefix + name for name in failed],
            "skipped": [{"name": prefix + name, "reason": reason} for name, reason in skipped.items()],
        }

    def show(self, program, outcome, output, seconds):
        counts = f"{outcome['passed']} passed"
        for word in ("failed", "skipped"):
            if outcome[word]:
                counts += f", {len(outcome[word])} {word}"
        if self.options.filter and counts == "0 passed":
            return
        verdict = "FAIL" if outcome["failed"] else "ok  "
        text = f"{verdict} {self.name(program):<44} {counts}, {seconds:.1f} s\n"
        if outcome["failed"]:
            text += "".join(f"  | {line}\n" for line in output.splitlines() if not line.endswith("... ok"))
        with self.lock:
            sys.stdout.write(text)
            sys.stdout.flush()


def merge(outcomes):
    total = empty()
    for outcome in outcomes:
        for key in total:
            total[key] += outcome[key]
    return total


def print_total(total):
    if total["skipped"]:
        print(f"\nSKIPPED, so not shown to work here ({len(total['skipped'])}):")
        for skip in total["skipped"]:
            print(f"  {skip['name']}: {skip['reason']}")
    if total["unstable"]:
        print(f"\nUNSTABLE: failed beside others, passed alone; each is a fault to find ({len(total['unstable'])}):")
        for name in total["unstable"]:
            print(f"  {name}")
    if total["failed"]:
        print("\nFAILED:")
        for name in total["failed"]:
            print(f"  {name}")
    print(f"{total['passed']} passed, {len(total['failed'])} failed, {len(total['skipped'])} skipped")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM")
    parser.add_argument("--total", action="store_true", help="the arguments are reports to be added up")
    parser.add_argument("--broken", action="append", default=[], metavar="NAME", help="with --total: a run without report")
    parser.add_argument("--skip", nargs=2, metavar=("NAME", "REASON"), help="record as skipped, run nothing")
    parser.add_argument("--report", metavar="FILE", help="write the outcome as JSON instead of the totals")
    parser.add_argument("--again", type=int, default=0, metavar="N", help="up to N failed cases of a run get a second one, alone")
    # Most of the time a test waits for something: two at a time keep less than half of two processors busy.
    parser.add_argument("--jobs", type=int, default=os.cpu_count() + 1, metavar="N")
    parser.add_argument("--time-limit", type=float, default=300, metavar="SECONDS", help="for each program")
    parser.add_argument("--filter", metavar="TEXT", help="only programs, or cases, with this in their name")
    parser.add_argument("--title", default="", metavar="TEXT", help="put in front of the names")
    parser.add_argument("--wrap", default="", metavar="COMMAND", help="put in front of doctest programs")
    return parser.parse_args()


def runs_alone(program):
    """Whether it says RUNS_ALONE = True: it changes the machine for all others."""
    return program.endswith(".py") and re.search(r"^RUNS_ALONE = True\b", pathlib.Path(program).read_text(encoding="utf-8"), re.M) is not None


def run_all(options):
    runner = Runner(options)
    alone = [program for program in options.programs if runs_alone(program)]
    beside = [program for program in options.programs if program not in alone]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        try:
            total = merge([*map(runner.run, alone), *pool.map(runner.run, beside)])
            runner.again(options.programs, total)
            return total
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.end_all()
            raise


def main():
    options = parsed()
    if options.total:
        total = merge(json.loads(pathlib.Path(report).read_text()) for report in options.programs)
        total["failed"] += [f"{name} did not come to its end" for name in options.broken]
    elif options.skip:
        total = {**empty(), "skipped": [{"name": options.skip[0], "reason": options.skip[1]}]}
    else:
        total = run_all(options)
    if options.report:
        pathlib.Path(options.report).write_text(json.dumps(total))
    else:
        print_total(total)
    if not options.report and not any(total.values()):
        print("no test ran", file=sys.stderr)
        return 1
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
