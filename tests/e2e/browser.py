"""A headless Chromium that is told what to do over a pipe (the DevTools protocol): a page, its text, its clicks."""
import fcntl
import glob
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

import harness
from harness import PATIENCE, wait_until

UNPACKED = os.path.join(harness.ROOT, "build", "packages", "chromium-headless-shell")


def find():
    """(program, directories of its libraries), or None where there is none."""
    unpacked = os.path.join(UNPACKED, "usr", "lib", "chromium", "chromium-headless-shell")
    if os.path.exists(unpacked):
        # Some libraries name the place of their own parts, where those would be if they were installed.
        return unpacked, sorted({os.path.dirname(file) for file in glob.glob(os.path.join(UNPACKED, "usr", "lib", "*-linux-gnu", "**", "*.so*"), recursive=True)})
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    return (program, []) if program else None


class Browser:
    def __init__(self):
        program, libraries = find()
        self.dir = tempfile.mkdtemp(prefix="kt-")
        pipes = [*os.pipe(), *os.pipe()]
        # Above 3 and 4, which the browser wants for its own ends.
        ours_in, theirs_out, theirs_in, ours_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in pipes)
        for fd in pipes:
            os.close(fd)
        # No sandbox of its own: it would need user namespaces, and it opens our page only.
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                   "--disable-component-update", "--hide-scrollbars", "--window-size=1200,1600", f"--user-data-dir={self.dir}/profile", "--remote-debugging-pipe", "about:blank"]
        environment = {**os.environ, "HOME": self.dir, "TMPDIR": self.dir, "LD_LIBRARY_PATH": ":".join(libraries)}
        self.process = subprocess.Popen(["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-', "browser", *command],
                                        pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        os.close(theirs_in)
        os.close(theirs_out)
        self.incoming, self.outgoing, self.pending, self.last = ours_in, ours_out, b"", 0
        self.notices = []  # what it said without being asked, but for the answers

    def close(self):
        try:
            self.tell("Browser.close")
        except (AssertionError, OSError):
            self.process.kill()
        self.process.wait()
        os.close(self.incoming)
        os.close(self.outgoing)
        shutil.rmtree(self.dir, ignore_errors=True)

    def message(self, deadline):
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.incoming], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.incoming, 1 << 20) if ready else b""
            if not data:
                raise AssertionError("the browser does not answer")
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\0")
        return json.loads(line)

    def tell(self, method, session=None, **parameters):
        """The result of one command."""
        self.last += 1
        command = {"id": self.last, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self.outgoing, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + 30 * PATIENCE
        while True:
            said = self.message(deadline)
            if said.get("id") != self.last:
                self.notices.append(said)
                continue
            if "error" in said:
                raise AssertionError(f"{method}: {said['error']}")
            return said["result"]

    def page(self, url):
        return Page(self, url)


class Page:
    """One tab, with a storage of its own."""

    def __init__(self, browser, url):
        self.browser = browser
        self.context = browser.tell("Target.createBrowserContext")["browserContextId"]
        target = browser.tell("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        self.session = browser.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Runtime", "Page", "Log", "Network"):
            self.tell(part + ".enable")
        self.go(url)

    def tell(self, method, **parameters):
        return self.browser.tell(method, self.session, **parameters)

    def go(self, url):
        self.tell("Page.navigate", url=url)

    def close(self):
        self.browser.tell("Target.disposeBrowserContext", browserContextId=self.context)

    def value(self, expression):
        result = self.tell("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def text(self, part="body"):
        """What a reader sees of it."""
        return self.value(f"document.querySelector({json.dumps(part)})?.innerText ?? ''")

    def wait_text(self, part, wanted, timeout=20):
        """The text of `part` once it contains `wanted`."""
        seen = [""]

        def look():
            seen[0] = self.text(part)
            return wanted in seen[0]
        try:
            wait_until(look, "", timeout)
        except AssertionError:
            raise AssertionError(f"{part} does not say {wanted!r}, but {seen[0]!r}") from None
        return seen[0]

    def click(self, part):
        self.value(f"document.querySelector({json.dumps(part)}).click()")

    def complaints(self):
        """Errors of the script, and what the page's policy has blocked."""
        self.value("0")
        ours = [notice for notice in self.browser.notices if notice.get("sessionId") == self.session]
        thrown = [n["params"]["exceptionDetails"] for n in ours if n["method"] == "Runtime.exceptionThrown"]
        return thrown + [n["params"]["entry"]["text"] for n in ours if n["method"] == "Log.entryAdded" and n["params"]["entry"]["source"] in ("security", "javascript")]

    def requests(self):
        """The addresses it has asked for."""
        return [n["params"]["request"]["url"] for n in self.browser.notices if n.get("sessionId") == self.session and n["method"] == "Network.requestWillBeSent"]
