#!/usr/bin/env python3
"""README's "Run what you already have", as it is printed: its configurations, its commands, and what they print."""
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

import browser
import harness
from harness import BIN, PATIENCE, ROOT
from recipe import RealProgram

sys.path.insert(0, os.path.join(ROOT, "tests", "mcp"))
import npm_servers

SECTION = "Run what you already have"
# npx with what was fetched before: `npx -y PACKAGE ARGUMENT...`
NPX = """#!/bin/sh
case $2 in
{cases}
*) echo "npx: $2 is not in this README" >&2; exit 1 ;;
esac
shift 2
exec node "$program" "$@"
"""


def section():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.search(rf"^## {SECTION}\n(.*?)^## ", file.read(), re.MULTILINE | re.DOTALL)[1]


def configurations(text):
    """By name, of "In `NAME`…" with a block of YAML."""
    return dict(re.findall(r"[Ii]n\s`([a-z.]+)`(?:(?!```).)*```yaml\n(.*?)```", text, re.DOTALL))


def conversations(text):
    """[(file of the configuration, [(arguments of kurultai, what is printed)…])…]"""
    found = []
    for block in re.findall(r"^```\n(\$.*?)^```", text, re.MULTILINE | re.DOTALL):
        parts = [part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
        started = [shlex.split(command)[2] for command, _, _ in parts if command.startswith("build/bin/kurultaid --config ")]
        asked = [(shlex.split(command)[1:], printed) for command, _, printed in parts if command.startswith("build/bin/kurultai ")]
        found.append((*started, asked))
    return found


class Printed(RealProgram):
    def shim(self, directory):
        names = {f"@modelcontextprotocol/server-{name}": name for name in ("everything", "filesystem", "memory")} | {"@playwright/mcp": "playwright"}
        cases = "\n".join(f"{package}) program={shlex.quote(npm_servers.program(name))} ;;" for package, name in names.items())
        path = os.path.join(directory, "npx")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NPX.format(cases=cases))
        os.chmod(path, 0o755)
        return {"PATH": directory + ":" + os.environ["PATH"]}

    def say(self, daemon, asked):
        for arguments, printed in asked:
            done = subprocess.run([os.path.join(BIN, "kurultai"), *arguments], env={**os.environ, "KURULTAI_SOCKET": daemon.socket}, capture_output=True,
                                  text=True, timeout=200 * PATIENCE, stdin=subprocess.DEVNULL, check=False)
            self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}\n{daemon.log_text()[-2000:]}")
            expected = printed.strip()
            if expected.endswith("…"):
                self.assertTrue(done.stdout.startswith(expected[:-1]), done.stdout)
            elif expected:
                self.assertEqual(done.stdout.strip(), expected)

    def test_the_servers_and_the_browser(self):
        if why := npm_servers.missing():
            self.skipTest(f"no MCP servers from npm: {why}")
        text = section()
        files, spoken = configurations(text), conversations(text)
        self.assertEqual(sorted(files), ["browser.yaml", "mcp.yaml"])
        place = self.enterContext(tempfile.TemporaryDirectory(prefix="kt-", ignore_cleanup_errors=True))
        for file in files:
            with self.subTest(file):
                config, env = files[file], self.shim(place)
                if "chromium" in config:
                    if harness.is_instrumented() or not browser.find():
                        self.skipTest("a real browser is driven by the programs as they are shipped only, and where there is one")
                    program, libraries = browser.find()
                    config = config.replace("/usr/bin/chromium", program).replace("memory_limit:", f"env: {{LD_LIBRARY_PATH: \"{':'.join(libraries)}\"}}\n    cwd: {place}\n    memory_limit:")
                daemon = self.daemon(config, env=env)
                asked = [said for started, said in spoken if started == file]
                self.assertTrue(asked)
                self.say(daemon, asked[0])
                daemon.close()

    def test_the_coding_agent(self):
        asked = [said for started, said in conversations(section()) if started == "config/recipes/claude-code.yaml"]
        self.assertEqual(len(asked), 1)
        daemon = self.start("claude", "claude-code", env={"ANTHROPIC_BASE_URL": "MODEL", "ANTHROPIC_API_KEY": "none", "CLAUDE_CONFIG_DIR": "HOME/claude"})
        self.say(daemon, [(arguments, "nothing was asked") for arguments, _ in asked[0]])


if __name__ == "__main__":
    unittest.main()
