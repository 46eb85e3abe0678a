#!/usr/bin/env python3
"""Builds the fuzzers with clang and runs each for KURULTAI_FUZZ_SECONDS (60), KURULTAI_FUZZ_JOBS at once (as many as there
are processors), beginning with what corpus/ holds. What makes one fail is kept in build-asan/found, to be run again with
`build-asan/bin/fuzz_NAME FILE`, and is worth a place in corpus/. With KURULTAI_FUZZ_KEEP=DIR each begins with what an earlier
run has left in DIR/NAME, too, and leaves there what it found of use."""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build-asan"
SECONDS = int(os.environ.get("KURULTAI_FUZZ_SECONDS", "60"))
JOBS = int(os.environ.get("KURULTAI_FUZZ_JOBS", os.cpu_count()))
KEEP = os.environ.get("KURULTAI_FUZZ_KEEP")
WANTED = os.environ.get("KURULTAI_FUZZ", "").split()  # names; none: all

# The longest input in bytes, and how many have to be tried at least: fewer would show nothing.
FUZZERS = {
    "config": (2000, 100),
    "events": (500, 1000),
    "http": (1200, 200),
    "kernel": (1500, 200),
    "life": (3000, 500),
    "lines": (200, 1000),
    "messages": (2000, 1000),
    "output": (1500, 500),
    "rpc": (1500, 200),
    "trace": (2000, 200),
    "words": (100, 200),
}


@contextlib.contextmanager
def new_corpus(name):
    if KEEP:
        (pathlib.Path(KEEP) / name).mkdir(parents=True, exist_ok=True)
        yield pathlib.Path(KEEP) / name
    else:
        with tempfile.TemporaryDirectory(prefix="kurultai-fuzz-") as new:
            yield new


def fuzz(name):
    """The fuzzer's exit status, and what it said."""
    found = BUILD / "found"
    found.mkdir(exist_ok=True)
    with new_corpus(name) as new:
        done = subprocess.run(
            ["nice", "-n", "10", BUILD / "bin" / f"fuzz_{name}", f"-max_total_time={SECONDS}", f"-max_len={FUZZERS[name][0]}", "-timeout=20",
             "-rss_limit_mb=1024", "-print_final_stats=1", f"-artifact_prefix={found}/{name}-", f"-dict={HERE}/{name}.dict", new, HERE / "corpus" / name],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stderr


class Fuzz(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run([ROOT / "tools/build", "--sanitize", "--target", "fuzzers"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"the fuzzers do not build:\n{done.stdout}{done.stderr}")
        cls.pool = concurrent.futures.ThreadPoolExecutor(JOBS)
        cls.runs = {name: cls.pool.submit(fuzz, name) for name in sorted(FUZZERS) if not WANTED or name in WANTED}

    @classmethod
    def tearDownClass(cls):
        cls.pool.shutdown(cancel_futures=True)

    def check(self, name):
        if name not in self.runs:
            self.skipTest("not among KURULTAI_FUZZ")
        status, said = self.runs[name].result()
        self.assertEqual(status, 0, said[-20000:])
        tried = int(re.search(r"number_of_executed_units: (\d+)", said)[1])
        print(f"{name}: {tried} inputs")
        self.assertGreater(tried, FUZZERS[name][1])

    def test_a_configuration_is_read_whole_and_what_is_shown_of_it_loads_back(self):
        self.check("config")

    def test_events_of_a_stream_are_the_same_however_it_is_cut(self):
        self.check("events")

    def test_requests_are_what_the_rfc_says_however_they_are_cut(self):
        self.check("http")

    def test_readings_of_the_kernels_files_make_sense_whatever_they_hold(self):
        self.check("kernel")

    def test_a_recording_is_replayed_whatever_it_holds(self):
        self.check("life")

    def test_lines_are_the_same_however_they_are_cut(self):
        self.check("lines")

    def test_messages_that_are_understood_are_written_back_the_same(self):
        self.check("messages")

    def test_rules_of_output_find_what_their_paths_point_at(self):
        self.check("output")

    def test_servers_and_clients_of_mcp_are_understood_the_same_in_long_and_short_lines(self):
        self.check("rpc")

    def test_a_file_of_readings_is_judged_with_figures_that_make_sense(self):
        self.check("trace")

    def test_sizes_times_and_addresses_are_shown_as_words_that_mean_the_same(self):
        self.check("words")


if __name__ == "__main__":
    unittest.main()
