#!/usr/bin/env python3
"""Runs the unittest cases of one file and writes what came of each as JSON: unittest_file.py FILE REPORT [FILTER]

Counting outcomes here instead of reading them off the output keeps the figures right whatever a test prints.
"""

import importlib.util
import json
import pathlib
import sys
import unittest


class Record(unittest.TextTestResult):
    """Also remembers the names: a test is failed once, whatever its subtests and clean-ups add."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.succeeded = []

    def addSuccess(self, test):
        super().addSuccess(test)
        self.succeeded.append(test.id())


def load(path):
    """The file as a module named like it, with its folder first on the path, as if it had been started."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def name_of(test):
    """The name of a test, for a subtest that of the test around it."""
    return getattr(test, "test_case", test).id()


def outcome(result):
    failed = {name_of(test) for test, _ in result.failures + result.errors}
    failed |= {test.id() for test in result.unexpectedSuccesses}
    skipped = {name_of(test): reason for test, reason in result.skipped}
    passed = set(result.succeeded) | {test.id() for test, _ in result.expectedFailures}
    return {
        "passed": len(passed - failed - skipped.keys()),
        "failed": sorted(failed),
        "skipped": [{"name": name, "reason": reason} for name, reason in skipped.items() if name not in failed],
    }


def main():
    path, report = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    loader = unittest.TestLoader()
    if len(sys.argv) > 3:
        loader.testNamePatterns = [f"*{sys.argv[3]}*"]
    sys.argv = [str(path)]
    tests = loader.loadTestsFromModule(load(path))
    result = unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Record).run(tests)
    report.write_text(json.dumps(outcome(result)))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
