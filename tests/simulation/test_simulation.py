"""The simulation (main.cc says how to run it): seeds that failed once, and millions of steps of others. KURULTAI_SIMULATION_STEPS:
how many in all (10M)."""

import os
import pathlib
import re
import subprocess
import unittest

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = pathlib.Path(os.environ.get("KURULTAI_BIN_DIR", HERE.parent.parent / "build/bin")) / "kurultai-simulation"
STEPS = os.environ.get("KURULTAI_SIMULATION_STEPS", "10M")


def simulate(*arguments):
    # Others that are tested beside it measure times.
    return subprocess.run(
        ["nice", "-n", "10", str(PROGRAM), *arguments], capture_output=True, text=True, check=False
    )


class SimulationTest(unittest.TestCase):
    def hold(self, *arguments):
        done = simulate(*arguments)
        self.assertEqual(done.returncode, 0, done.stdout[-30000:] + done.stderr)
        return done.stdout

    def test_seeds_that_failed_once_hold(self):
        self.hold("--regressions", str(HERE / "regressions.txt"))

    def test_all_invariants_hold_for_millions_of_steps(self):
        said = self.hold("--until-steps", STEPS)
        print(said)
        for what in (
            "starts", "sent back", "sent back by a kill", "retries", "cancelled", "waits at an edge",
            "suspended", "resumed", "commands completed",
        ):
            with self.subTest(what):
                self.assertGreater(int(re.search(rf"^ +{what} +(\d+)$", said, re.M)[1]), 0)

    def test_one_seed_gives_one_run(self):
        traces = [re.sub(r"\b[0-9a-z]{16}\b", "ID", simulate("--seed", "1", "--steps", "3000", "--trace").stdout) for _ in "ab"]
        first, second = (re.sub(r"in [\d.]+ s: \d+ steps/s", "", trace) for trace in traces)
        self.assertEqual(first, second)
        self.assertIn("taskStarted", first)


if __name__ == "__main__":
    unittest.main()
