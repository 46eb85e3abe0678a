#!/usr/bin/env python3
"""coverage_floor.py SUMMARY FOLDER[=FLOOR]...: line coverage of folders from gcovr's JSON summary.

Exit status 1 when one is not above its floor, or holds no line at all.
"""

import json
import sys


def coverage(files, folder):
    lines = [(file["line_covered"], file["line_total"]) for file in files if file["filename"].startswith(folder + "/")]
    covered, total = (sum(column) for column in zip(*lines)) if lines else (0, 0)
    return 100 * covered / total if total else 0.0, covered, total


def main():
    files = json.load(open(sys.argv[1]))["files"]
    below = False
    for argument in sys.argv[2:]:
        folder, _, floor = argument.partition("=")
        percent, covered, total = coverage(files, folder)
        verdict = ""
        if floor:
            enough = percent > float(floor)
            below |= not enough
            verdict = f"  above {floor} %" if enough else f"  NOT above {floor} %"
        print(f"{folder:<20} {percent:6.1f} %  {covered:>5} of {total:>5} lines{verdict}")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
