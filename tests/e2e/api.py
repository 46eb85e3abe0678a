"""Every answer that the tests get, held against the description of the interface (supervisor/gateway/openapi.json)."""
import collections
import json
import os
import re
import sys
import urllib.parse

try:
    import jsonschema
except ImportError:  # a virtual machine has a bare Python
    jsonschema = None
    print("answers are not held against openapi.json: there is no python3-jsonschema here", file=sys.stderr)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(ROOT, "supervisor", "gateway", "openapi.json")
# What any path may answer, its `default`: no request at all, or not one that is understood there.
NO_REQUEST = (400, 405, 408, 413, 417, 431, 503, 505)
# Of one route and status, the first are all looked at, then one of so many. A long list takes a validator seconds.
FIRST, FIRST_LONG, THEN_EVERY = 50, 2, 20
LONG = 64 * 1024


class Mismatch(AssertionError):
    pass


class Document:
    def __init__(self, text):
        self.whole = json.loads(text)
        self.paths = {re.compile(re.sub(r"{\w+}", "[^/]+", path) + "$"): item for path, item in self.whole["paths"].items()}
        self.validators = {}
        self.seen = collections.Counter()

    def resolved(self, part):
        while "$ref" in part:
            name = part["$ref"]
            part = self.whole
            for step in name.removeprefix("#/").split("/"):
                part = part[step]
        return part

    def response(self, method, path, status):
        """The description of this answer, and the name under which it is counted."""
        found = [(pattern, item) for pattern, item in self.paths.items() if pattern.match(path)]
        operation = found[0][1].get("get" if method == "HEAD" else method.lower()) if found else None
        if operation is None:  # every route refuses in the same words
            refusals = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}
            name = refusals.get(status, "Malformed" if status in NO_REQUEST else None)
            if name is None or (status == 404) == bool(found):
                raise Mismatch(f"{method} {path}: {status} where openapi.json has no such call")
            return self.whole["components"]["responses"][name], name
        responses = operation["responses"]
        key = str(status) if str(status) in responses else "default" if status in NO_REQUEST else None
        if key is None:
            raise Mismatch(f"{method} {path}: openapi.json does not know of {status}")
        return self.resolved(responses[key]), f"{operation['operationId']} {key}"

    def validator(self, name, schema):
        if name not in self.validators:
            whole = {**schema, "components": self.whole["components"]}
            self.validators[name] = jsonschema.Draft202012Validator(whole)
        return self.validators[name]

    def check_value(self, name, schema, text):
        name += " (long)" if len(text) > LONG else ""
        self.seen[name] += 1
        if self.seen[name] > (FIRST_LONG if len(text) > LONG else FIRST) and self.seen[name] % THEN_EVERY:
            return
        value = json.loads(text)
        for error in sorted(self.validator(name, schema).iter_errors(value), key=lambda e: len(e.absolute_path)):
            best = jsonschema.exceptions.best_match([error])
            raise Mismatch(f"{name} is not as openapi.json has it: {best.json_path}: {best.message[:500]}\n{json.dumps(value)[:2000]}")

    def check(self, method, target, status, headers, body):
        path = urllib.parse.unquote(target.partition("?")[0], errors="replace")
        if method == "OPTIONS" and status == 204:  # every path has it, and it says nothing but Allow
            return
        response, name = self.response(method, path, status)
        headers = {key.lower(): value for key, value in headers.items()}
        for key in response.get("headers", {}):
            if key.lower() not in headers:
                raise Mismatch(f"{name}: the header {key} is missing")
        if "content" not in response:
            if body:
                raise Mismatch(f"{name} has a body, and openapi.json none for it")
            return
        kind = headers.get("content-type", "").partition(";")[0]
        if kind not in response["content"]:
            raise Mismatch(f"{name} is {kind or 'of no type'}, in openapi.json {', '.join(response['content'])}")
        if kind == "application/json" and method != "HEAD":
            self.check_value(f"{name} {kind}", response["content"][kind]["schema"], body)

    def check_event(self, event):
        schemas = {"anyOf": [{"$ref": "#/components/schemas/Event"}]}
        self.check_value(f"event {event.get('type')}", schemas, json.dumps(event))


_document = None


def document():
    """None where nothing can be checked."""
    global _document
    if _document is None and jsonschema is not None and os.path.exists(FILE):
        with open(FILE, encoding="utf-8") as file:
            _document = Document(file.read())
    return _document


def check(method, target, status, headers, body):
    if document() is not None:
        document().check(method, target, status, headers, body)


def check_event(event):
    if document() is not None:
        document().check_event(event)
