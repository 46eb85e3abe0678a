#!/usr/bin/env python3
"""A small MCP server that does what its arguments and its calls say, good or bad. Standard library only.

Arguments, any of them: version=V (answered to initialize), silent (never answers it), refuse, exit=N (before it), noise
(prints first), stubborn (ignores SIGTERM and the end of its input), child (leaves a process in a session of its own).
"""
import json
import os
import signal
import subprocess
import sys
import time

OPTIONS = dict(word.split("=", 1) if "=" in word else (word, "yes") for word in sys.argv[1:])
TOOLS = ["echo", "hold", "release", "seen", "ask", "reply", "huge", "progress", "sleep", "die", "close", "fail", "grow", "tools"]
seen = {"cancelled": [], "tokens": [], "initialize": None, "initialized": 0, "answers": 0, "lists": 0}
held = {}  # name: id of the call that waits
asked = {}  # id of our request: id of the call that made it
tools = list(TOOLS)


def write(text):
    data = text.encode() if isinstance(text, str) else text
    while data:
        data = data[os.write(1, data):]


def say(**message):
    write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def answer(id_, text, **more):
    say(id=id_, result={"content": [{"type": "text", "text": text}], **more})


def notify(method, **params):
    say(method=method, params=params)


def huge(id_, arguments):
    """A result of so many bytes of text; the id before it or behind it, as libraries differ."""
    text, left = b"x" * 65536, arguments["bytes"]
    failed = b',"isError":true' if arguments.get("failed") else b""
    first = b'"id":%d,' % id_ if arguments.get("first") else b""
    last = b"" if arguments.get("first") else b',"id":%d' % id_
    write(b'{' + first + b'"result":{"content":[{"type":"text","text":"')
    while left > 0:
        write(text[:left])
        left -= len(text)
    write(b'"}]' + failed + b'},"jsonrpc":"2.0"' + last + b"}\n")


def call(id_, name, arguments, token):
    seen["tokens"].append(token)
    if name == "echo":
        answer(id_, arguments.get("text", ""), structuredContent=arguments)
    elif name == "hold":
        held[arguments["name"]] = id_
    elif name == "release":
        if arguments["name"] in held:
            answer(held.pop(arguments["name"]), arguments["name"])
        answer(id_, "released")
    elif name == "seen":
        answer(id_, "", structuredContent={**seen, "pid": os.getpid(), "cwd": os.getcwd(), "held": list(held)})
    elif name == "ask":
        asked[f"s{id_}"] = id_
        say(id=f"s{id_}", method=arguments["method"], params=arguments.get("params", {}))
    elif name == "reply":  # lines as they are, with this call's own id for ID
        for line in arguments["lines"]:
            write(line.replace("ID", str(id_)) + "\n")
    elif name == "huge":
        huge(id_, arguments)
    elif name == "progress":
        for step in arguments["steps"]:
            notify("notifications/progress", progressToken=token, **step)
        answer(id_, "done")
    elif name == "sleep":
        time.sleep(arguments["seconds"])
        answer(id_, "slept")
    elif name == "die":
        if "signal" in arguments:
            os.kill(os.getpid(), arguments["signal"])
        os._exit(arguments.get("status", 0))
    elif name == "close":
        os.close(1)
        time.sleep(60)
    elif name == "fail":
        answer(id_, arguments["text"], isError=True)
    elif name == "grow":
        block = bytearray(arguments["mib"] << 20)
        block[::4096] = b"x" * len(block[::4096])
        answer(id_, str(len(block)))
    elif name == "tools":
        tools[:] = arguments["names"]
        answer(id_, "ok")
        notify("notifications/tools/list_changed")
    else:
        say(id=id_, error={"code": -32602, "message": f"no tool {name}"})


def list_tools(id_, cursor):
    """In pages of five."""
    seen["lists"] += 1
    at = int(cursor or 0)
    page = {"tools": [{"name": name, "description": f"the tool {name}", "inputSchema": {"type": "object"}} for name in tools[at:at + 5]]}
    say(id=id_, result={**page, "nextCursor": str(at + 5)} if at + 5 < len(tools) else page)


def initialize(id_, params):
    seen["initialize"] = params
    if "silent" in OPTIONS:
        return
    if "refuse" in OPTIONS:
        say(id=id_, error={"code": -32600, "message": "not today"})
        return
    say(id=id_, result={"protocolVersion": OPTIONS.get("version", params["protocolVersion"]), "capabilities": {"tools": {"listChanged": True}},
                        "serverInfo": {"name": "fake", "version": "1"}})


def on(message):
    id_, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if method == "initialize":
        initialize(id_, params)
    elif method == "notifications/initialized":
        seen["initialized"] += 1
    elif method == "notifications/cancelled":
        seen["cancelled"].append(params)
    elif method == "ping":
        say(id=id_, result={})
    elif method == "tools/list":
        list_tools(id_, params.get("cursor"))
    elif method == "tools/call":
        call(id_, params["name"], params.get("arguments"), params.get("_meta", {}).get("progressToken"))
    elif method == "resources/read":
        say(id=id_, result={"contents": [{"uri": params["uri"], "text": "what is there"}]})
    elif method == "prompts/get":
        say(id=id_, result={"messages": [{"role": "user", "content": {"type": "text", "text": json.dumps(params.get("arguments"))}}]})
    elif method is None and id_ in asked:
        answer(asked.pop(id_), "", structuredContent={key: message[key] for key in ("result", "error") if key in message})
    elif method is None:
        seen["answers"] += 1
    else:
        say(id=id_, error={"code": -32601, "message": f"no method {method}"})


def main():
    if "exit" in OPTIONS:
        sys.exit(int(OPTIONS["exit"]))
    if "stubborn" in OPTIONS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "child" in OPTIONS:
        subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if "noise" in OPTIONS:
        write("Starting up…\n\n{\"type\":\"READY\"}\n123\n")
    print("the fake server has begun", file=sys.stderr, flush=True)
    for line in sys.stdin:
        on(json.loads(line))
    while "stubborn" in OPTIONS:
        time.sleep(60)


main()
