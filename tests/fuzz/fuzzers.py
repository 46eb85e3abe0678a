#!/usr/bin/env python3
"""Builds the fuzzers with clang and runs each for KURULTAI_FUZZ_SECONDS (20), beginning with what corpus/ holds. What makes
one fail is kept in build-fuzz/found, to be run again with `build-fuzz/bin/fuzz_NAME FILE`, and is worth a place in corpus/."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build-fuzz"
SECONDS = int(os.environ.get("KURULTAI_FUZZ_SECONDS", "20"))


class Fuzz(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        options = ["-DKURULTAI_FUZZ=ON", "-DCMAKE_C_COMPILER=clang-19", "-DCMAKE_CXX_COMPILER=clang++-19", "-DCMAKE_CXX_FLAGS=-O1"]
        done = subprocess.run([ROOT / "tools/build", "--type", "Debug", "--dir", BUILD, "--", *options], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"the fuzzers do not build:\n{done.stdout}{done.stderr}")

    def fuzz(self, name, most, least):
        """Inputs of up to `most` bytes; fewer than `least` of them tried would show nothing."""
        found = BUILD / "found"
        found.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="kurultai-fuzz-") as new:
            done = subprocess.run(
                ["nice", "-n", "10", BUILD / "bin" / f"fuzz_{name}", f"-max_total_time={SECONDS}", f"-max_len={most}", "-timeout=20",
                 "-rss_limit_mb=1024", "-print_final_stats=1", f"-artifact_prefix={found}/{name}-", f"-dict={HERE}/{name}.dict", new, HERE / "corpus" / name],
                capture_output=True, text=True, errors="replace", check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-20000:])
        tried = int(re.search(r"number_of_executed_units: (\d+)", done.stderr)[1])
        print(f"{name}: {tried} inputs")
        self.assertGreater(tried, least)

    def test_requests_are_what_the_rfc_says_however_they_are_cut(self):
        self.fuzz("http", 1200, 200)

    def test_a_recording_is_replayed_whatever_it_holds(self):
        self.fuzz("life", 3000, 500)

    def test_lines_are_the_same_however_they_are_cut(self):
        self.fuzz("lines", 200, 1000)

    def test_messages_that_are_understood_are_written_back_the_same(self):
        self.fuzz("messages", 2000, 1000)


if __name__ == "__main__":
    unittest.main()
