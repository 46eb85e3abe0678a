#!/usr/bin/env python3
"""Coding agents as tasks: Gemini CLI and opencode from npm. Apart from the others, since they take their time."""
import json
import unittest

from recipe import RealProgram


class Programs(RealProgram):
    def test_gemini_cli(self):
        settings_ = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False}}
        daemon = self.start("gemini", "gemini-cli", {".gemini/settings.json": json.dumps(settings_)},
                            {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": "MODEL", "GEMINI_MODEL": "gemini-2.5-pro"})
        self.run_all(daemon, "gemini", "API key not valid", shown="run_shell_command cat ")

    def test_opencode(self):
        provider = {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": "MODEL/v1", "apiKey": "none"}, "models": {"model": {}}}
        settings_ = {"provider": {"local": provider}, "model": "local/model", "small_model": "local/model", "share": "disabled", "autoupdate": False, "permission": "allow"}
        daemon = self.start("opencode", "opencode", {"opencode.json": json.dumps(settings_)},
                            {"OPENCODE_CONFIG": "HOME/opencode.json", "OPENCODE_DISABLE_MODELS_FETCH": "1"})
        self.run_all(daemon, "opencode", "Incorrect API key provided")


if __name__ == "__main__":
    unittest.main()
