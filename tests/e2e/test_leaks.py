#!/usr/bin/env python3
"""A worker that keeps what it uses is told of, and replaced where its agent asks for it; one that gives it back is left alone."""

import unittest

from harness import E2E, PYTHON, wait_until

# A task takes a mebibyte each PAUSE seconds, ROUNDS times; it keeps all of it, or gives it back each fortieth time.
AGENT = (
    "import sys, json, time\n"
    "def say(m):\n sys.stdout.write(json.dumps(m)+'\\n'); sys.stdout.flush()\n"
    "held = []\n"
    "for line in sys.stdin:\n"
    "  m = json.loads(line)\n"
    "  if m['type'] == 'HELLO': say({'type': 'READY', 'protocol': 1})\n"
    "  if m['type'] == 'SHUTDOWN': sys.exit(0)\n"
    "  if m['type'] == 'TASK':\n"
    "    p = m['payload']\n"
    "    for round in range(p['rounds']):\n"
    "      held.append(bytearray(b'x') * (1 << 20))\n"
    "      if not p['keep'] and round % 40 == 39: held.clear()\n"
    "      time.sleep(p['pause'])\n"
    "    say({'type': 'COMPLETE', 'taskId': m['taskId'], 'result': len(held)})\n")


def agent(**fields):
    return {"protocol": "jsonl", "command": [PYTHON, "-c", AGENT], **fields}


class Leaks(E2E):
    def watched(self, **agents):
        return self.daemon({
            "memory": {"budget": "900MiB", "check_interval": "100ms", "leak_interval": "200ms"},
            "workers": {"memory_limit": "400MiB", "memory_warning": "400MiB"},
            "agents": agents})

    def worker(self, daemon, name):
        return next(worker for worker in daemon.get("/v1/workers").json["workers"] if worker["agent"] == name)

    def test_a_worker_that_leaks_is_told_of_and_replaced_after_its_task(self):
        daemon = self.watched(one=agent(on_leak="recycle"))
        task = daemon.start("one", {"keep": True, "rounds": 300, "pause": 0.06})
        event = daemon.wait_event("leakSuspected", agent="one")
        self.assertEqual((event["level"], event["weakness"]), ("critical", "CWE-401"))
        self.assertGreater(event["growthBytesPerHour"], 100e6)
        self.assertGreater(event["secondsToCap"], 0)
        worker = self.worker(daemon, "one")
        self.assertEqual((worker["leak"], worker["state"]), ("critical", "busy"))
        metrics = daemon.get("/metrics").body.decode()
        self.assertRegex(metrics, f'kurultai_leak_growth_bytes_per_hour{{worker="{worker["workerId"]}"}} [1-9]')
        self.assertIn('kurultai_leak_growth_bytes_per_hour{worker="supervisor"} ', metrics)
        wait_until(lambda: daemon.task(task)["state"] == "completed", "it ends well", 60)
        mark = next(e for e in daemon.events() if e["type"] == "memoryWarning" and e.get("mark") == "warning")
        self.assertEqual((mark["agent"], mark["warningBytes"], mark["weakness"]), ("one", 256_000_000, "CWE-401"))
        self.assertGreaterEqual(mark["usedBytes"], mark["warningBytes"])
        daemon.wait_event("workerExited", workerId=worker["workerId"])
        self.assertEqual(daemon.run("one", {"keep": True, "rounds": 0, "pause": 0})["result"], 0)

    def test_one_that_gives_back_what_it_takes_is_left_alone_and_so_is_one_that_is_not_to_be_watched(self):
        daemon = self.watched(tidy=agent(on_leak="recycle"), ignored=agent(on_leak="ignore"))
        daemon.start("ignored", {"keep": True, "rounds": 120, "pause": 0.06})
        daemon.run("tidy", {"keep": False, "rounds": 120, "pause": 0.06})
        # A supervisor that is a few seconds old grows, a sanitized one by much.
        self.assertEqual([e for e in daemon.events() if e["type"] == "leakSuspected" and "workerId" in e], [])
        for name in ("tidy", "ignored"):
            worker = self.worker(daemon, name)
            self.assertEqual((worker["leak"], worker["growthBytesPerHour"]), ("none", 0))


if __name__ == "__main__":
    unittest.main()
