"""The reference MCP servers and Playwright's from npm, in a cache below build/ that lies outside of what is versioned."""
import fcntl
import functools
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, "build", "mcp-servers")
VERSION = "2026.8.31"
PACKAGES = {f"@modelcontextprotocol/server-{name}": VERSION for name in ("everything", "filesystem", "memory")} | {"@playwright/mcp": "0.0.83"}
INSTALL_LIMIT = 240  # seconds


def program(name):
    return os.path.join(CACHE, "node_modules", ".bin", "playwright-mcp" if name == "playwright" else f"mcp-server-{name}")


def _wanted():
    return json.dumps({"private": True, "dependencies": PACKAGES}, indent=1)


def _is_there():
    try:
        with open(os.path.join(CACHE, "installed.json"), encoding="utf-8") as file:
            return file.read() == _wanted()
    except OSError:
        return False


def _install():
    """Why it could not be done; None: it was."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "there is no npm here"
    shutil.rmtree(CACHE, ignore_errors=True)
    os.makedirs(CACHE)
    with open(os.path.join(CACHE, "package.json"), "w", encoding="utf-8") as file:
        file.write(_wanted())
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--fetch-retries=1"]
    try:
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"npm install was not done after {INSTALL_LIMIT} s"
    if done.returncode != 0:
        return f"npm install failed: {done.stderr.strip()[-300:]}"
    with open(os.path.join(CACHE, "installed.json"), "w", encoding="utf-8") as file:
        file.write(_wanted())
    return None


@functools.cache
def missing():
    """Why the servers cannot be had, said aloud; None: they are there. Programs side by side install once."""
    try:
        os.makedirs(os.path.dirname(CACHE), exist_ok=True)
        with open(CACHE + ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            why = None if _is_there() else _install()
    except OSError as error:
        why = str(error)
    if why:
        print(f"NOTE: MCP servers from npm are NOT tested: {why}", file=sys.stderr)
    return why
