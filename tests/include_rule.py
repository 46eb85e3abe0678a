#!/usr/bin/env python3
"""Checks who includes whom, from the #include lines themselves. Run it to see the offenders, one FILE:LINE a line."""

import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A folder may include itself and these. Tests see all; what is measured from inside is measured where it is.
MAY_INCLUDE = {
    "protocol": set(),
    "governance": {"protocol"},
    "config": {"protocol", "governance"},
    "supervisor": {"protocol", "governance", "config"},
    "worker": {"protocol"},
    "publisher": {"protocol"},
    "tools": {"protocol", "governance", "config"},
}
MEASURES = ("tools/bench/", "supervisor/memory/")
LOOP_HEADER, LOOP_FOLDER = "uv.h", "supervisor/uv/"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = {".h", ".hpp", ".cc", ".cpp", ".c"}


def complaint(file, form, header):
    """Why `file` (relative to the root) may not include `header`; None when it may."""
    if header == LOOP_HEADER and not file.startswith(LOOP_FOLDER):
        return f"<{LOOP_HEADER}> belongs under {LOOP_FOLDER} only"
    if form != '"':
        return None
    folder = file.split("/")[0]
    target, slash, _ = header.partition("/")
    if not slash or target in (".", ".."):
        return f'"{header}" is not named from the root of the project'
    if file.startswith(MEASURES[0]) and header.startswith(MEASURES[1]):
        return None
    if target in MAY_INCLUDE and target != folder and target not in MAY_INCLUDE[folder]:
        return f"{folder} may not include {target} (\"{header}\")"
    return None


def offenders(root):
    """Every line under `root` that breaks the rule, as FILE:LINE: why."""
    found = []
    for folder in MAY_INCLUDE:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SOURCES or not path.is_file():
                continue
            file = path.relative_to(root).as_posix()
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                match = INCLUDE.match(line)
                why = match and complaint(file, match[1], match[2])
                if why:
                    found.append(f"{file}:{number}: {why}")
    return found


class IncludeRuleTest(unittest.TestCase):
    def test_the_sources_keep_the_rule(self):
        self.assertEqual(offenders(ROOT), [])

    def test_the_sources_are_really_read(self):
        for folder in MAY_INCLUDE:
            with self.subTest(folder):
                self.assertTrue(any(path.suffix in SOURCES for path in (ROOT / folder).rglob("*")))

    def test_what_breaks_the_rule_is_found(self):
        for file, line in [
            ("protocol/a.h", '#include "governance/governor.h"'),
            ("protocol/a.h", '#include "config/config.h"'),
            ("governance/a.cc", '#include "config/config.h"'),
            ("governance/a.cc", '#include "supervisor/memory/controller.h"'),
            ("config/a.cc", '#include "supervisor/memory/controller.h"'),
            ("supervisor/a.cc", '#include "worker/launch.h"'),
            ("worker/a.cc", '#include "governance/governor.h"'),
            ("worker/a.cc", '#include "config/config.h"'),
            ("publisher/a.cc", '#include "supervisor/events.h"'),
            ("tools/kurultai/a.cc", '#include "supervisor/uv/loop.h"'),
            ("tools/kurultai/a.cc", '#include "worker/launch.h"'),
            ("tools/kurultai/a.cc", '#include "supervisor/memory/controller.h"'),
            ("tools/bench/a.cc", '#include "supervisor/dispatcher.h"'),
            ("supervisor/workers/pool.h", "#include <uv.h>"),
            ("supervisor/uvlike/a.h", '  #  include "uv.h"'),
            ("supervisor/workers/pool.cc", '#include "pool.h"'),
            ("supervisor/workers/pool.cc", '#include "../uv/loop.h"'),
        ]:
            with self.subTest(file=file, line=line):
                self.assertEqual(len(self.found(file, "// first\n" + line + "\n")), 1)
                self.assertTrue(self.found(file, "// first\n" + line + "\n")[0].startswith(file + ":2: "))

    def test_what_keeps_the_rule_is_let_through(self):
        for file, line in [
            ("governance/a.cc", '#include "protocol/bytes.h"'),
            ("config/a.cc", '#include "governance/pressure.h"'),
            ("supervisor/a.cc", '#include "config/load.h"'),
            ("supervisor/uv/loop.h", "#include <uv.h>"),
            ("worker/a.cc", '#include "protocol/codec.h"'),
            ("tools/kurultai/a.cc", '#include "config/load.h"'),
            ("tools/bench/a.cc", '#include "supervisor/memory/controller.h"'),
            ("protocol/a.cc", "#include <worker/strange.h>"),
            ("protocol/a.cc", '// #include "governance/governor.h"'),
            ("supervisor/gateway/a.cc", '#include "llhttp/llhttp.h"'),
        ]:
            with self.subTest(file=file, line=line):
                self.assertEqual(self.found(file, line + "\n"), [])

    def found(self, file, text):
        with tempfile.TemporaryDirectory() as root:
            path = pathlib.Path(root) / file
            path.parent.mkdir(parents=True)
            path.write_text(text)
            return offenders(pathlib.Path(root))


if __name__ == "__main__":
    if lines := offenders(ROOT):
        print("\n".join(lines))
        sys.exit(1)
