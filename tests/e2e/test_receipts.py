#!/usr/bin/env python3
"""A run in which much goes wrong at once: what each decision was made on is in its receipt, and gives the same decision again."""

RUNS_IN_VM = True

import json
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import MIB, PATIENCE, PYTHON, wait_until
import level
from level import BALLOON, LevelE2E, at_each_level

BUDGET = 320 + harness.own_extra()

# How often it is all started, at most, until enough decisions were made: which ones depends on who is faster.
WAVES = 4

# Takes MIB by MIB with a pause in ms, up to a top, holds that for so many ms, and ends well.
GROWS = ("import sys, time\nheld = []\nstep, pause, top, hold = map(int, sys.argv[1:])\n"
         "while len(held) * step < top:\n    held.append(b'x' * (step << 20))\n    time.sleep(pause / 1000)\n"
         "time.sleep(hold / 1000)\n")


def balloon(**fields):
    return {"protocol": "jsonl", "command": BALLOON, "grace": "500ms", "max_preemptions": 1000, **fields}


def command(**fields):
    return {"protocol": "exec", "command": [PYTHON, "-c", GROWS, "{step}", "{pause}", "{top}", "{hold}"], "grace": "300ms",
            "max_preemptions": 1000, **fields}


AGENTS = {
    "polite": balloon(),
    "deaf": balloon(env={"DEAF": "1"}),
    "firm": balloon(preemptable=False),
    "once": balloon(idempotent=False),
    "grows": command(),
    "leak": command(memory_limit="100MiB", preemptable=False),
}


@at_each_level
class Chaos(LevelE2E):
    def chaotic(self):
        cap = f"{BUDGET}MiB"
        return self.daemon({
            "memory": {"budget": cap, "check_interval": "200ms"},
            "workers": {"max": 8, "memory_limit": cap, "memory_warning": cap},
            "queue": {"max_depth": 100, "limits": dict.fromkeys(["critical", "high", "normal", "low", "heartbeat"], 100)},
            "circuit_breakers": {"failures": 1000},
            "admission": "none",  # more starts than fits
            "agents": AGENTS,
        })

    def start_all(self, daemon):
        """Two dozen tasks that want more than twice what there is, among them some that do not give way."""
        started = []
        for round_ in range(4):
            for agent, priority, payload in (
                ("polite", "low", {"mib": 40, "count": 60, "step_ms": 20}),
                ("deaf", "normal", {"mib": 40, "count": 60, "step_ms": 20, "on_preempt": "ignore"}),
                ("firm", "high", {"mib": 50, "count": 60, "step_ms": 20}),
                ("once", "low", {"mib": 30, "count": 60, "step_ms": 20}),
                ("grows", "normal", {"step": 1, "pause": 3, "top": 120, "hold": 500}),
                ("grows", "low", {"step": 2 * round_ + 1, "pause": 1, "top": 90, "hold": 500}),
                ("leak", "critical", {"step": 4, "pause": 2, "top": 300, "hold": 1}),
            ):
                started.append(self.submitted(daemon, agent, payload, priority))
        return started

    def submitted(self, daemon, agent, payload, priority):
        """Its id. While memory is short new work is refused, and comes again as its client was told to."""
        def taken():
            answer = daemon.submit(agent, payload, priority=priority)
            self.assertIn(answer.status, (202, 503), answer.body)
            return answer.json.get("taskId")
        return wait_until(taken, "it is taken", 30)

    def test_every_decision_can_be_made_again_from_its_receipt(self):
        daemon = self.chaotic()
        receipts = {}
        for _ in range(WAVES):
            receipts |= self.receipts_of(daemon, self.start_all(daemon))
            actions = [receipt["action"] for receipt in receipts.values()]
            if actions.count("preempt") + actions.count("suspend") >= 3 and actions.count("kill") >= 2:
                break
        else:
            self.fail(f"too little went wrong for a test of it: {actions}")
        self.decided_again(receipts)
        self.assertTrue(self.is_well(daemon))

    def receipts_of(self, daemon, tasks):
        """All that are made until the tasks have ended."""
        receipts = {}

        def look():
            """Keeps what is there: of a task that gave way often only the newest receipts are."""
            for task in tasks:
                for decision in daemon.get(f"/v1/tasks/{task}/why").json["decisions"]:
                    receipts[decision["id"]] = decision
            return all(daemon.task(task)["state"] in ("completed", "failed") for task in tasks)
        wait_until(look, "all have come to their end", 120)
        return receipts

    def decided_again(self, receipts):
        program = os.path.join(harness.BIN, "kurultai-decide-again")
        done = subprocess.run([program], input=json.dumps(list(receipts.values())), capture_output=True, text=True,
                              timeout=60 * PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stdout.splitlines()), (0, [f"{len(receipts)} decided again, 0 otherwise"]), done.stderr)
        # A reading that was another one would have shown: the program does compare.
        for receipt in receipts.values():
            receipt["ranking"] = [{**one, "memoryBytes": one["memoryBytes"] + MIB, "chosen": not one["chosen"]} for one in receipt["ranking"]]
        done = subprocess.run([program], input=json.dumps(list(receipts.values())), capture_output=True, text=True,
                              timeout=60 * PATIENCE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stdout.endswith(f"{len(receipts)} decided again, {len(receipts)} otherwise\n"), done.stdout[-500:])


if __name__ == "__main__":
    unittest.main()
