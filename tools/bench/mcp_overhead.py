#!/usr/bin/env python3
"""What an MCP call through Kurultai costs more than the same call made directly.

  mcp_overhead.py [--calls N] [--durable] [SERVER...]

SERVER is the command of an MCP server on stdio with a tool `echo`; without one, server-everything from npm. Four ways in
turn, so that all see the same machine: the server itself; the server behind three times `cat` each way, as many processes
as there are on the way through Kurultai, which is the least that this can cost here; `kurultai mcp --proxy`; and POST
/v1/tasks?wait on the supervisor's socket. Prints p50 and p99 of each in microseconds, and what is added. Tasks are kept in memory alone
(`durability: none`) unless --durable is given.
"""
import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("KURULTAI_BIN_DIR", os.path.join(ROOT, "build", "bin"))
ROUND = 50  # calls of one way before the next has its turn


class Stdio:
    """An MCP client of a program."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.last = 0
        self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}})
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def write(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        self.last += 1
        self.write({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params})
        while True:
            message = json.loads(self.process.stdout.readline())
            if message.get("id") == self.last and "method" not in message:
                return message["result"]

    def echo(self, text):
        return self.ask("tools/call", {"name": "echo", "arguments": {"message": text}})

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Socket:
    """The supervisor's own HTTP, on a connection that stays; written out, because http.client alone takes as long as the rest."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)

    def echo(self, text):
        body = json.dumps({"agent": "tools", "payload": {"tool": "echo", "arguments": {"message": text}}}).encode()
        self.socket.sendall(b"POST /v1/tasks?wait=60s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                            b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        head, _, body = self.socket.recv(65536).partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        while len(body) < length:
            body += self.socket.recv(65536)
        return json.loads(body)["result"]

    def close(self):
        self.socket.close()


def measure(ways, calls):
    """Microseconds of each call, by way."""
    took = {name: [] for name in ways}
    for _ in range(max(1, calls // ROUND)):
        for name, way in ways.items():
            for number in range(ROUND):
                text = f"call {number}"
                begin = time.perf_counter()
                answer = way.echo(text)
                took[name].append((time.perf_counter() - begin) * 1e6)
                if text not in json.dumps(answer):
                    sys.exit(f"{name}: a wrong answer: {answer}")
    return took


def everything():
    sys.path.insert(0, os.path.join(ROOT, "tests", "mcp"))
    import npm_servers
    if npm_servers.missing():
        sys.exit(1)
    return ["node", npm_servers.program("everything")]


def supervisor(directory, server, durable):
    config = {"memory": {"budget": "1GiB"}, "workers": {"max": 1, "memory_limit": "512MiB"},
              "agents": {"tools": {"protocol": "mcp", "command": server, "durability": "full" if durable else "none"}}}
    with open(os.path.join(directory, "memory.yaml"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    process = subprocess.Popen([os.path.join(BIN, "kurultaid"), "--config", os.path.join(directory, "memory.yaml"), "--listen", "none", "--socket",
                                os.path.join(directory, "s"), "--state-dir", os.path.join(directory, "state"), "--log-level", "error"])
    while not os.path.exists(os.path.join(directory, "s")):
        if process.poll() is not None:
            sys.exit("kurultaid does not start")
        time.sleep(0.01)
    return process


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("server", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    server = options.server or everything()
    with tempfile.TemporaryDirectory(prefix="kt-") as directory:
        daemon = supervisor(directory, server, options.durable)
        path = os.path.join(directory, "s")
        relays = ["sh", "-c", 'cat | cat | cat | "$@" | cat | cat | cat', "sh", *server]
        ways = {"direct": Stdio(server), "cat": Stdio(relays), "proxy": Stdio([os.path.join(BIN, "kurultai"), "--socket", path, "mcp", "--proxy", "tools"]), "http": Socket(path)}
        try:
            measure(ways, 4 * ROUND)  # warm
            took = measure(ways, options.calls)
        finally:
            for way in ways.values():
                way.close()
            daemon.terminate()
            daemon.wait()
    medians = {name: statistics.median(times) for name, times in took.items()}
    for name, times in took.items():
        print(f"{name:6}  p50 {medians[name]:7.0f} us  p99 {statistics.quantiles(times, n=100)[98]:7.0f} us  added at p50 {medians[name] - medians['direct']:6.0f} us")


if __name__ == "__main__":
    main()
