"""Pinned packages from npm, each set in a cache of its own below build/, outside of what is versioned."""
import fcntl
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSTALL_LIMIT = 240  # seconds


class NpmCache:
    """`packages` are names with exact versions; `what` names them where they cannot be had."""

    def __init__(self, folder, packages, what):
        self.path = os.path.join(ROOT, "build", folder)
        self.packages = packages
        self.what = what

    def program(self, name):
        return os.path.join(self.path, "node_modules", ".bin", name)

    def missing(self):
        """Why they cannot be had, said aloud; None: they are there. Programs side by side install once."""
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path + ".lock", "w", encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                why = None if self._is_there() else self._install()
        except OSError as error:
            why = str(error)
        if why:
            print(f"NOTE: {self.what} from npm are NOT tested: {why}", file=sys.stderr)
        return why

    def _wanted(self):
        return json.dumps({"private": True, "dependencies": self.packages}, indent=1)

    def _is_there(self):
        try:
            with open(os.path.join(self.path, "installed.json"), encoding="utf-8") as file:
                return file.read() == self._wanted()
        except OSError:
            return False

    def _install(self):
        """Why it could not be done; None: it was."""
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            return "there is no npm here"
        shutil.rmtree(self.path, ignore_errors=True)
        os.makedirs(self.path)
        self._write("package.json")
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--fetch-retries=1"]
        try:
            done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return f"npm install was not done after {INSTALL_LIMIT} s"
        if done.returncode != 0:
            return f"npm install failed: {done.stderr.strip()[-300:]}"
        self._write("installed.json")
        return None

    def _write(self, name):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as file:
            file.write(self._wanted())
