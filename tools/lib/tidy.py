#!/usr/bin/env python3
"""tidy.py [--fix] [FILE...]: clang-tidy over all that is compiled of the tree, or over the C++ files named.

Tests are left out: doctest's comparisons look like mistakes to half of the checks. What was found well is remembered in
build-lint/tidy by the content of everything that it includes.
"""

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build-lint"  # configured, not built
KNOWN = BUILD / "tidy"
FOLDERS = ("protocol", "governance", "config", "supervisor", "worker", "publisher", "tools")
BATCH = 10  # files, as in CMakeLists.txt
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def includes(path):
    return [ROOT / name for name in INCLUDE.findall(path.read_text())]


def with_headers(sources):
    """The files and all of the tree that they include, themselves or through each other, in order."""
    seen, found = set(), list(sources)
    while found:
        path = found.pop()
        if path not in seen and path.is_file():
            seen.add(path)
            found += includes(path)
    return sorted(seen)


def is_checked(path):
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in FOLDERS


@dataclasses.dataclass(frozen=True)
class Unit:
    """Files that are compiled together, and the options they are compiled with."""

    sources: list
    options: list

    @staticmethod
    def of(command):
        """From an entry of compile_commands.json: of its files those that are checked, which may be none."""
        file = pathlib.Path(command["file"])
        words = shlex.split(command["command"])
        # What follows the compiler, without the names of what is read and written.
        compiler = next(index for index, word in enumerate(words) if not word.endswith("ccache"))
        options = words[compiler + 1 : words.index("-o")]
        sources = includes(file) if "Unity" in file.parts else [file]
        checked = [source for source in sources if is_checked(source)]
        return Unit(checked, [option for option in options if not option.startswith("-O")])

    def main_file(self):
        """The file to name. The analyzer looks into the files of a batch if the batch has this word in its name (clang's
        AnalysisConsumer.cpp), and takes them for headers otherwise."""
        if len(self.sources) == 1:
            return self.sources[0]
        lines = "".join(f'#include "{source}"  // NOLINT(bugprone-suspicious-include)\n' for source in self.sources)
        batch = KNOWN / f"UnifiedSource_{hashlib.sha256(lines.encode()).hexdigest()[:16]}.cc"
        batch.write_text(lines)
        return batch

    def mark(self):
        """The file that is there when this has been found well."""
        content = hashlib.sha256(shlex.join(self.options).encode())
        for path in [ROOT / ".clang-tidy", *with_headers(self.sources)]:
            content.update(path.read_bytes())
        return KNOWN / content.hexdigest()[:32]

    def size(self):
        return sum(source.stat().st_size for source in self.sources)

    def complaint(self, options):
        """What clang-tidy says; None when all is well."""
        mark = self.mark()
        if mark.exists():
            return None
        command = ["clang-tidy-19", "-quiet", *options, self.main_file(), "--", *self.options]
        done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True)
        if done.returncode == 0:
            mark.touch()
            return None
        return done.stdout or done.stderr


def all_units():
    """What is compiled of the folders, each file once."""
    found, seen = [], set()
    for command in json.loads((BUILD / "compile_commands.json").read_text()):
        unit = Unit.of(command)
        if not seen.issuperset(unit.sources):
            seen.update(unit.sources)
            found.append(unit)
    return found


def gathered(units):
    """The same, with files that are compiled alone put together where their options allow it: headers cost more than what
    includes them."""
    batches, alone = [], {}
    for unit in units:
        if len(unit.sources) > 1 or unit.sources[0].name == "main.cc":
            batches.append(unit)
        else:
            alone.setdefault(tuple(unit.options), []).append(unit)
    for same in alone.values():
        for start in range(0, len(same), BATCH):
            files = [source for unit in same[start : start + BATCH] for source in unit.sources]
            batches.append(dataclasses.replace(same[0], sources=files))
    return batches


def units_of(file, units):
    """A source alone, with its batch's options; a header with the first unit that reads it. Of a test: none."""
    if not is_checked(file):
        return []
    for unit in units:
        if file in unit.sources:
            return [dataclasses.replace(unit, sources=[file])]
        if file.suffix == ".h" and file in with_headers(unit.sources):
            return [unit]
    raise SystemExit(f"{file.relative_to(ROOT)}: is compiled into nothing, so clang-tidy cannot read it")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fix", action="store_true", help="put right what can be put right by itself")
    parser.add_argument("files", nargs="*", type=lambda name: pathlib.Path(name).resolve(), metavar="FILE")
    options = parser.parse_args()
    KNOWN.mkdir(parents=True, exist_ok=True)
    units = gathered(all_units())
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.cc"):
            units_of(file, units)
    if options.files:
        units = [unit for file in options.files for unit in units_of(file, units)]
    # Largest first, so that the end does not wait for one of them. With --fix one at a time: two files must not put the
    # same header right.
    units.sort(key=Unit.size, reverse=True)
    with concurrent.futures.ThreadPoolExecutor(1 if options.fix else os.cpu_count()) as pool:
        complaints = pool.map(lambda unit: unit.complaint(["-fix"] if options.fix else []), units)
        found = [complaint for complaint in complaints if complaint]
    print(*found, sep="\n", end="", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
