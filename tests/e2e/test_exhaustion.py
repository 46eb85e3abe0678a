#!/usr/bin/env python3
"""Memory that grows steadily: who has a long grace gives way while there is time for it, and one that only starts up is let be."""

RUNS_IN_VM = True

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import MIB, agent_command, wait_until
from level import BALLOON, Balloon, LevelE2E, at_each_level, memory
from puppet import Gate

# A sanitized supervisor takes 60 MiB more of it.
BUDGET = 480 if harness.is_instrumented() else 360

# Grows by MIB a second to a top, however busy the machine is, and holds that until the gate opens. Asked to give way, it does,
# and holds nothing when it runs again.
RAMP = agent_command(r"""
import mmap, select
MIB = 1 << 20
lines, rest = [], b''
def messages(wait):
    global rest
    if not lines and select.select([0], [], [], wait)[0]:
        got = os.read(0, 65536)
        if not got: sys.exit(0)
        *whole, rest = (rest + got).split(b'\n')
        lines.extend(whole)
    while lines: yield json.loads(lines.pop(0))
def serve(task):
    id, rate, top, gate = task['taskId'], *(task['payload'][name] for name in ('rate', 'top', 'gate'))
    held, began = [], time.monotonic()
    while True:
        for message in messages(0.02):
            if message['type'] == 'PREEMPT': return say({'type': 'PREEMPTED', 'taskId': id, 'state': len(held)})
            if message['type'] == 'CANCEL': return say({'type': 'FAILED', 'taskId': id, 'error': 'cancelled', 'retryable': False})
            if message['type'] == 'SHUTDOWN': sys.exit(0)
        while len(held) < min(top, rate * (time.monotonic() - began)) and not task.get('checkpoint'):
            block = mmap.mmap(-1, MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            block.write(b'\1' * MIB)
            held.append(block)
        if os.path.exists(gate): return say({'type': 'COMPLETE', 'taskId': id, 'result': len(held)})
say({'type': 'READY', 'protocol': 1, 'name': 'ramp'})
while True:
    for message in messages(60):
        if message['type'] == 'SHUTDOWN': sys.exit(0)
        if message['type'] == 'TASK': serve(message)
""")


@at_each_level
class Growing(LevelE2E):
    def growing(self, grace):
        cap = f"{BUDGET}MiB"
        daemon = self.daemon({
            # What is between preempting and killing is no time at all for a long grace.
            "memory": {"budget": cap, "thresholds": {"preempt": 0.90, "reject": 0.93, "kill": 0.95}},
            "workers": {"max": 3, "memory_limit": cap, "memory_warning": cap},
            "admission": "none",
            "agents": {"important": {"protocol": "jsonl", "command": BALLOON, "preemptable": False},
                       "ramp": {"protocol": "jsonl", "command": RAMP, "grace": grace}},
        })
        important = Balloon(daemon, "important", priority="critical", payload={"mib": 10})
        gate = Gate(daemon)
        self.addCleanup(gate.open)
        return daemon, important, gate

    def start_ramp(self, daemon, gate, share_a_second, top):
        return daemon.start("ramp", {"rate": share_a_second * BUDGET, "top": top * BUDGET, "gate": gate.path}, priority="low")

    def test_who_needs_long_to_leave_is_asked_before_any_threshold_is_reached(self):
        daemon, important, gate = self.growing("30s")
        # Slow enough to be found even, and to leave, on a slow machine between what is foreseen and the threshold.
        task = self.start_ramp(daemon, gate, 0.04, 0.93)
        preempted = daemon.wait_event("taskPreempted", taskId=task)
        self.assertEqual(preempted["reason"], "preempt")
        self.assertEqual([event for event in daemon.events() if event["type"] == "thresholdCrossed" and event["threshold"] == "preempt"], [])
        self.assertEqual(important.task["state"], "running")
        receipt = daemon.get(f"/v1/tasks/{task}/why").json["decisions"][0]
        self.assertLess(receipt["reading"]["ratio"], 0.85)
        foreseen = receipt["prediction"]
        self.assertAlmostEqual(foreseen["growthBytesPerSecond"] / MIB, 0.04 * BUDGET, delta=0.02 * BUDGET)
        self.assertEqual((foreseen["graceMs"], foreseen["toActMs"]), (30000, 1000))
        self.assertLess(foreseen["leftMs"], 31000)
        self.decided_again(receipt)
        self.assertIn("foreseen: it grew by", harness.client(daemon, "why", task).stdout)
        # Only who grew left: nobody knows whether it was needed, and it is not asked like that again.
        wait_until(lambda: memory(daemon)["predictions"]["averted"] == 1, "it is judged", 20)
        self.assertEqual(daemon.metric("kurultai_exhaustion_predictions_total", outcome="averted"), 1)
        self.assertEqual(daemon.metric("kurultai_exhaustion_predictions_total", outcome="false"), 0)
        gate.open()
        daemon.wait_state(task, "completed")
        important.end()

    def decided_again(self, receipt):
        program = os.path.join(harness.BIN, "kurultai-decide-again")
        done = subprocess.run([program], input=json.dumps([receipt]), capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "1 decided again, 0 otherwise\n"))

    def test_one_that_grows_until_it_has_started_is_let_be(self):
        daemon, important, gate = self.growing("30s")
        task = self.start_ramp(daemon, gate, 0.15, 0.5)
        growth = lambda: max(worker["growthBytesPerSecond"] for worker in memory(daemon)["workers"])
        wait_until(lambda: growth() > 0.05 * BUDGET * MIB, "its growth is known", 20)
        wait_until(lambda: memory(daemon)["ratio"] > 0.5, "it is as large as it will be", 20)
        wait_until(lambda: growth() == 0, "it grows no more", 20)
        self.assertEqual((daemon.task(task)["state"], daemon.task(task)["preemptions"]), ("running", 0))
        predictions = memory(daemon)["predictions"]
        self.assertEqual([predictions[name] for name in ("enabled", "open", "true", "false", "averted")], [True, False, 0, 0, 0])
        gate.open()
        self.assertEqual(daemon.wait_state(task, "completed")["preemptions"], 0)
        important.end()


if __name__ == "__main__":
    unittest.main()
