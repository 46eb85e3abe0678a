#!/usr/bin/env python3
"""Checks that a function of an unnamed namespace has no name that a header gives a function, too. Sources are compiled in
batches: in the files behind it such a function would hide the header's, and calls of that would become calls of it
wherever an argument converts. Run it to see the offenders, one FILE:LINE a line."""

import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A folder's sources, and whose headers they see.
SEES = {
    "protocol": ["protocol"],
    "governance": ["governance", "protocol"],
    "config": ["config", "governance", "protocol"],
    "supervisor": ["supervisor", "config", "governance", "protocol"],
    "worker": ["worker", "protocol"],
    "tools/kurultai": ["tools/kurultai", "config", "governance", "protocol"],
    "tools/bench": ["tools/bench", "tools/kurultai", "config", "governance", "protocol", "supervisor/memory"],
    "tools/soak": ["tools/soak", "tools/bench", "tools/kurultai", "config", "governance", "protocol"],
}
# At the beginning of a line, as clang-format leaves declarations: members are indented.
FUNCTION = re.compile(r"^(?!//|#|using\b|namespace\b|template\b|static_assert\b|return\b)[A-Za-z][\w:<>,&*\[\] ]*? [&*]*(\w+)\(")


def declared(folder):
    """The functions that the headers of the folder declare outside of classes."""
    names = {}
    for path in sorted(folder.rglob("*.h")):
        for line in path.read_text(errors="replace").splitlines():
            if match := FUNCTION.match(line):
                names.setdefault(match[1], path.name)
    return names


def unnamed(text):
    """The functions of unnamed namespaces, with the numbers of their lines."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line == "namespace {":
            inside = True
        elif line == "}  // namespace":
            inside = False
        elif inside and (match := FUNCTION.match(line)):
            yield number, match[1]


def offenders(root):
    """Every function under `root` that breaks the rule, as FILE:LINE: why."""
    found = []
    for folder, seen in SEES.items():
        names = {}
        for other in reversed(seen):
            names.update(declared(root / other))
        for path in sorted((root / folder).rglob("*.cc")):
            for number, name in unnamed(path.read_text(errors="replace")):
                if name in names:
                    found.append(f"{path.relative_to(root).as_posix()}:{number}: {name} is declared in {names[name]}, too")
    return found


class NameRuleTest(unittest.TestCase):
    def test_the_sources_keep_the_rule(self):
        self.assertEqual(offenders(ROOT), [])

    def test_what_breaks_the_rule_is_found(self):
        for header, source in [
            ("std::string to_text(const json& value);", "std::string to_text(std::uint64_t count) {"),
            ("inline bool is_good(const Response& r) { return true; }", "bool is_good(int status) { return status == 0; }"),
            ("Result<std::vector<int>> read(int fd);", "const char* read(const std::string& text) {"),
        ]:
            with self.subTest(source=source):
                found = self.found(header, f"namespace {{\n\n{source}\n}}\n\n}}  // namespace\n")
                self.assertEqual(len(found), 1)
                self.assertTrue(found[0].startswith("governance/b.cc:3: "))

    def test_what_keeps_the_rule_is_let_through(self):
        for header, source in [
            ("std::string to_text(const json& value);", "namespace {\nstd::string text_of(int count) {\n}\n}  // namespace\n"),
            ("std::string to_text(const json& value);", "std::string to_text(const json& value) {\n}\n"),
            ("class A {\n  void run(int a);\n};", "namespace {\nvoid run(int count) {\n}\n}  // namespace\n"),
            ("void run(int a);", "namespace {\nvoid Host::run(int count) {\n}\n}  // namespace\n"),
        ]:
            with self.subTest(source=source):
                self.assertEqual(self.found(header, source), [])

    def found(self, header, source):
        with tempfile.TemporaryDirectory() as root:
            folder = pathlib.Path(root) / "governance"
            folder.mkdir()
            (folder / "a.h").write_text(header + "\n")
            (folder / "b.cc").write_text(source)
            return offenders(pathlib.Path(root))


if __name__ == "__main__":
    if lines := offenders(ROOT):
        print("\n".join(lines))
        sys.exit(1)
