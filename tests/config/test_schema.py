#!/usr/bin/env python3
"""`kurultai config schema` under a validator that is not ours: it takes what `kurultai config check` takes, and refuses
what that refuses, so that an editor that has the schema tells the truth."""

import json
import os
import subprocess
import tempfile
import unittest

import jsonschema
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KURULTAI = os.path.join(os.environ.get("KURULTAI_BIN_DIR", os.path.join(ROOT, "build", "bin")), "kurultai")

# What is wrong, the document, and where `config check` puts it (LINE:COLUMN).
WRONG = [
    ("an unknown section", "memroy: {budget: 1GiB}", "1:1"),
    ("an unknown key", "memory: {bugdet: 1GiB}", "1:10"),
    ("an unknown threshold", "memory: {thresholds: {reclaim: 0.5}}", "1:23"),
    ("an unknown key of an agent", "agents: {a: {command: [x], comand: [y]}}", "1:28"),
    ("a list for a section", "memory: [1GiB]", "1:9"),
    ("a word for a section", "workers: many", "1:10"),
    ("a word for a whole number", "workers: {max: two}", "1:16"),
    ("a fraction for a whole number", "workers: {max: 1.5}", "1:16"),
    ("a whole number out of range", "workers: {max: 0}", "1:16"),
    ("a number for a truth", "agents: {a: {command: [x], preemptable: 1}}", "1:41"),
    ("text for a list", "agents: {a: {command: run this}}", "1:23"),
    ("an empty command", "agents: {a: {command: []}}", "1:23"),
    ("an output that does not exist", "agents: {a: {protocol: exec, command: [x], output: xml}}", "1:52"),
    ("jsonl without rules", "agents: {a: {protocol: exec, command: [x], output: jsonl}}", "1:52"),
    ("rules without a result", "agents: {a: {protocol: exec, command: [x], output: {format: jsonl, rules: [{error: e}]}}}", "1:75"),
    ("a rule of two meanings", "agents: {a: {protocol: exec, command: [x], output: {format: jsonl, rules: [{error: e, result: r}]}}}", "1:76"),
    ("a rule of no meaning", "agents: {a: {protocol: exec, command: [x], output: {format: jsonl, rules: [{when: {a: 1}}]}}}", "1:76"),
    ("progress that is joined", "agents: {a: {protocol: exec, command: [x], output: {format: jsonl, rules: [{result: r}, {progress: p, join: true}]}}}", "1:89"),
    ("a condition on a list", "agents: {a: {protocol: exec, command: [x], output: {format: jsonl, rules: [{result: r, when: {a: []}}]}}}", "1:76"),
    ("a protocol that does not exist", "agents: {a: {protocol: soap, command: [x]}}", "1:24"),
    ("a strategy that does not exist", "agents: {a: {command: [x], health: pings}}", "1:36"),
    ("an unknown key of health", "agents: {a: {command: [x], health: {strategy: ping, intervall: 1s}}}", "1:53"),
    ("health without a strategy", "agents: {a: {command: [x], health: {interval: 1s}}}", "1:36"),
    ("a size of no known unit", "memory: {budget: 5 parsecs}", "1:18"),
    ("a negative size", "memory: {budget: -1GiB}", "1:18"),
    ("a size as a list", "memory: {budget: [1GiB]}", "1:18"),
    ("a size below the least", "memory: {budget: 1024}", "1:18"),
    ("a duration of no known unit", "workers: {idle_timeout: 5 fortnights}", "1:25"),
    ("a duration without a unit", "memory: {check_interval: 5}", "1:26"),
    ("a negative duration", "memory: {check_interval: -5s}", "1:26"),
    ("a threshold above the whole", "memory: {thresholds: {kill: 1.5}}", "1:29"),
    ("a threshold of nothing", "memory: {thresholds: {skip_heartbeats: 0}}", "1:40"),
    ("a threshold in per cent", "memory: {thresholds: {preempt: 85%}}", "1:32"),
]


def schema():
    done = subprocess.run([KURULTAI, "config", "schema"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def check(file):
    done = subprocess.run([KURULTAI, "config", "check", file], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = schema()
        cls.validator = jsonschema.Draft202012Validator(cls.schema)

    def complaints(self, text):
        return [error.message for error in self.validator.iter_errors(yaml.safe_load(text))]

    def test_it_is_a_schema_of_the_draft_that_it_names(self):
        self.assertIs(jsonschema.validators.validator_for(self.schema), jsonschema.Draft202012Validator)
        jsonschema.Draft202012Validator.check_schema(self.schema)

    def test_the_shipped_configurations_are_good_to_both(self):
        for name in ("memory.yaml", "demo.yaml", *(f"recipes/{name}" for name in sorted(os.listdir(os.path.join(ROOT, "config", "recipes"))))):
            with self.subTest(name):
                file = os.path.join(ROOT, "config", name)
                with open(file, encoding="utf-8") as document:
                    self.assertEqual(self.complaints(document), [])
                self.assertEqual(check(file), (0, ""))

    def test_a_wrong_document_is_refused_by_both(self):
        with tempfile.TemporaryDirectory(prefix="kt-schema-") as directory:
            file = os.path.join(directory, "wrong.yaml")
            for what, text, place in WRONG:
                with self.subTest(what):
                    self.assertEqual(len(self.complaints(text)), 1, self.complaints(text))
                    with open(file, "w", encoding="utf-8") as document:
                        document.write(text + "\n")
                    status, said = check(file)
                    self.assertEqual(status, 2, said)
                    self.assertIn(f" {file}:{place}: ", said)


if __name__ == "__main__":
    unittest.main()
