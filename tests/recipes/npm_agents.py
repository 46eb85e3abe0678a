"""Coding agents from npm, each in a folder of its own in the user's cache: together they are more than a gigabyte."""
import fcntl
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
import time

INSTALL_LIMIT = 150  # seconds, for all of them: what npm has fetched by then it need not fetch the next time
PLATFORM = "linux-" + {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
# Package, version, and its program below node_modules. Where that is a native one it is named itself: what npm links is
# put in its place by a script of the package, and no scripts are run here.
AGENTS = {
    "claude": ("@anthropic-ai/claude-code", "2.1.330", f"@anthropic-ai/claude-code-{PLATFORM}/claude"),
    "codex": ("@openai/codex", "0.169.0", "@openai/codex/bin/codex.js"),
    "gemini": ("@google/gemini-cli", "0.61.0", "@google/gemini-cli/bundle/gemini.js"),
    "opencode": ("opencode-ai", "1.18.33", f"opencode-{PLATFORM}/bin/opencode"),
}
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "kurultai-tests", "coding-agents")
_spent = [0.0]  # seconds of the limit


def _folder(name):
    return os.path.join(CACHE, name)


def program(name):
    return os.path.join(_folder(name), "node_modules", AGENTS[name][2])


def _wanted(name):
    package, version, _ = AGENTS[name]
    return json.dumps({"private": True, "dependencies": {package: version}}, indent=1)


def _is_there(name):
    try:
        with open(os.path.join(_folder(name), "installed.json"), encoding="utf-8") as file:
            return file.read() == _wanted(name)
    except OSError:
        return False


def _install(name):
    """Why it could not be done; None: it was."""
    begun = time.monotonic()
    try:
        return _install_within(name, INSTALL_LIMIT - _spent[0])
    finally:
        _spent[0] += time.monotonic() - begun


def _install_within(name, limit):
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "there is no npm here"
    folder = _folder(name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with open(os.path.join(folder, "package.json"), "w", encoding="utf-8") as file:
        file.write(_wanted(name))
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--fetch-retries=1"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=max(1, limit), check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"npm install was not done in {INSTALL_LIMIT} s"
    if done.returncode != 0:
        return f"npm install failed: {done.stderr.strip()[-300:]}"
    with open(os.path.join(folder, "installed.json"), "w", encoding="utf-8") as file:
        file.write(_wanted(name))
    return None


@functools.cache
def missing(name):
    """Why a program cannot be had, said aloud; None: it is there. Programs side by side install once."""
    try:
        os.makedirs(CACHE, exist_ok=True)
        with open(_folder(name) + ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            why = None if _is_there(name) else _install(name)
    except OSError as error:
        why = str(error)
    if why is None and not os.path.exists(program(name)):
        why = f"{AGENTS[name][0]} has no program for {PLATFORM}"
    if why:
        print(f"NOTE: the recipe for {name} is NOT tested with the real program: {why}", file=sys.stderr)
    return why
