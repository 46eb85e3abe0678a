#!/usr/bin/env python3
"""Coding agents as tasks: the recipes as they are shipped; Claude Code and Codex from npm. The others: test_recipes_more.py."""
import glob
import os
import subprocess
import unittest

from harness import BIN, E2E
from recipe import RECIPES, RealProgram, recipe


class Shipped(E2E):
    def test_every_recipe_is_a_good_configuration(self):
        files = glob.glob(os.path.join(RECIPES, "*.yaml"))
        self.assertEqual(len(files), 5)
        for file in files:
            with self.subTest(os.path.basename(file)):
                done = subprocess.run([os.path.join(BIN, "kurultaid"), "--check", "--config", file], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_generic_one_runs_everywhere(self):
        daemon = self.daemon(recipe("generic"))
        task = daemon.run("lines", {"prompt": "one two three"})
        self.assertEqual((task["state"], task["result"], task["message"]), ("completed", 3, "counting"))
        task = daemon.run("text", {"prompt": "one two three", "option": "-c"})
        self.assertEqual((task["state"], task["result"]), ("completed", "13\n"))
        self.assertEqual(daemon.submit("lines", {"promt": "x"}).status, 422)


class Programs(RealProgram):
    def test_claude_code(self):
        daemon = self.start("claude", "claude-code", env={"ANTHROPIC_BASE_URL": "MODEL", "ANTHROPIC_API_KEY": "none", "CLAUDE_CONFIG_DIR": "HOME/claude"})
        self.run_all(daemon, "claude", "redit balance is too low", shown="Bash cat ")

    def test_codex(self):
        provider = '{name = "local", base_url = "MODEL/v1", env_key = "OPENAI_API_KEY", wire_api = "responses", stream_max_retries = 0, request_max_retries = 0}'
        settings_ = (f'model = "gpt-5"\nmodel_provider = "local"\nsandbox_mode = "danger-full-access"\nmodel_providers.local = {provider}\n'
                     "features.plugins = false\nfeatures.apps = false\n")
        daemon = self.start("codex", "codex", {"codex/config.toml": settings_}, {"CODEX_HOME": "HOME/codex", "OPENAI_API_KEY": "none"})
        self.run_all(daemon, "codex", "Incorrect API key provided")


if __name__ == "__main__":
    unittest.main()
