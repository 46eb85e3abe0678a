#!/usr/bin/env python3
"""GET /: the page as any client gets it, and what it does in a real browser."""
import base64
import hashlib
import json
import os
import re
import subprocess
import unittest

import browser
import harness
from harness import E2E, Daemon, client, wait_until
from puppet import Gate, settings
from raw_http import Raw

FILE = os.path.join(harness.ROOT, "supervisor", "gateway", "dashboard.html")
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def address_of(daemon):
    host, port = daemon.get("/health").json["listen"].rsplit(":", 1)
    return host, int(port)


def token_of(daemon):
    with open(os.path.join(daemon.state, "token"), encoding="ascii") as file:
        return file.read().strip()


class Served(E2E):
    def ask(self, address, *lines, method="GET", path="/"):
        with Raw(address) as connection:
            connection.send("\r\n".join([f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{address[1]}", *lines, "", ""]).encode())
            return connection.answer(method)

    def test_the_page_needs_no_token_and_holds_nothing(self):
        daemon = self.daemon(settings(), args=["--listen", "127.0.0.1:0"])
        address = address_of(daemon)
        status, headers, page = self.ask(address)
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        with open(FILE, "rb") as file:
            self.assertEqual(page, file.read())
        self.assertLessEqual(len(page), 40 * 1024)
        self.assertEqual(daemon.get("/").body, page)  # on the socket too
        self.assertEqual(self.ask(address, path="/v1/memory")[0], 401)  # the data does need it
        self.assertEqual(self.ask(address, path="/?token=x")[0], 400)
        self.assertEqual(self.ask(address, method="POST")[0], 405)
        with Raw(address) as connection:
            self.assertEqual(connection.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").answer()[0], 403)
        for outside in (rb"https?://(?!www\.w3\.org/2000/svg)", rb"\bsrc=", rb"<link", rb"@import", rb"url\(", rb"innerHTML|insertAdjacent|document\.write|\beval\b|\son\w+="):
            self.assertIsNone(re.search(outside, page), outside)

    def test_the_policy_allows_its_own_style_and_script_alone(self):
        daemon = self.daemon(settings())
        answer = daemon.get("/")
        headers, page = answer.headers, answer.body
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        for element in ("style", "script"):
            [text] = re.findall(rb"<%b>(.*?)</%b>" % (element.encode(), element.encode()), page, re.DOTALL)
            own = "'sha256-" + base64.b64encode(hashlib.sha256(text).digest()).decode() + "'"
            self.assertEqual(policy[element + "-src"], own)
        self.assertEqual((policy["default-src"], policy["connect-src"], policy["frame-ancestors"], policy["base-uri"], policy["form-action"]), ("'none'", "'self'", "'none'", "'none'", "'none'"))
        self.assertEqual((headers["Cache-Control"], headers["X-Content-Type-Options"], headers["Referrer-Policy"]), ("no-cache", "nosniff", "no-referrer"))

    def test_who_has_the_page_is_not_sent_it_again(self):
        daemon = self.daemon(settings(), args=["--listen", "127.0.0.1:0"])
        address = address_of(daemon)
        _, whole, page = self.ask(address)
        tag = whole["ETag"]
        self.assertRegex(tag, r'^"[0-9a-f]{16}"$')
        for known, status in ((tag, 304), ("W/" + tag, 304), ("*", 304), ('"other", ' + tag, 304), (f'{tag}, "other"', 304),
                              ('"other"', 200), (tag[1:-1], 200), ("", 200), (tag[:-2] + '"', 200)):
            with self.subTest(known):
                got, headers, body = self.ask(address, "If-None-Match: " + known)
                self.assertEqual((got, headers["ETag"], headers["Cache-Control"]), (status, tag, "no-cache"))
                self.assertEqual(body, page if status == 200 else b"")
                if status == 304:
                    self.assertNotIn("Content-Length", headers)
        status, headers, body = self.ask(address, method="HEAD")
        self.assertEqual((status, headers, body), (200, whole, b""))
        # A connection goes on behind an answer without a body.
        with Raw(address) as connection:
            once = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nIf-None-Match: {tag}\r\n\r\n".encode()
            connection.send(once + once)
            self.assertEqual([connection.answer()[0] for _ in "ab"], [304, 304])

    def test_status_prints_the_address_for_who_may_read_the_token(self):
        daemon = self.daemon(settings(), args=["--listen", "127.0.0.1:0"])
        listen, token = daemon.get("/health").json["listen"], token_of(daemon)
        said = client(daemon, "status").stdout
        self.assertRegex(said, rf"(?m)^dashboard +http://{re.escape(listen)}/#token={token}$")
        over_tcp = subprocess.run([os.path.join(harness.BIN, "kurultai"), "--url", f"http://{listen}", "status"], capture_output=True, text=True, timeout=20 * harness.PATIENCE, check=True)
        self.assertNotIn("dashboard", over_tcp.stdout)  # over TCP nobody is told where the token is
        self.ask(address_of(daemon), f"Authorization: Bearer {token}", path="/v1/memory")
        self.assertNotIn(token, daemon.log_text())
        os.rename(os.path.join(daemon.state, "token"), os.path.join(daemon.dir, "away"))
        said = client(daemon, "status").stdout
        self.assertRegex(said, rf"(?m)^dashboard +http://{re.escape(listen)}/, which asks for the token$")
        self.assertNotIn("dashboard", client(self.daemon(settings()), "status").stdout)
        free = self.daemon(settings(gateway={"auth": "none"}), args=["--listen", "127.0.0.1:0"])
        self.assertRegex(client(free, "status").stdout, r"(?m)^dashboard +http://127\.0\.0\.1:\d+/$")


@unittest.skipIf(browser.find() is None, "no Chromium here: neither installed nor unpacked by tools/test")
class Shown(E2E):
    @classmethod
    def setUpClass(cls):
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)

    def start(self, config=None, **kw):
        return self.daemon(config or settings(), args=["--listen", "127.0.0.1:0"], **kw)

    def open(self, daemon, token=None):
        page = self.browser.page(f"http://{daemon.get('/health').json['listen']}/#token={token or token_of(daemon)}")
        self.addCleanup(page.close)
        return page

    def test_it_shows_what_goes_on(self):
        daemon = self.start(settings(workers={"max": 1}))
        gate = Gate(daemon)
        running = daemon.start("puppet", "about('PROGRESS', percent=40, message='half way')\n" + gate.code("fail('no luck')"))
        waiting = daemon.start("puppet", priority="low")
        page = self.open(daemon)
        page.wait_text("#state", "The supervisor is well.")
        self.assertIn("of 1.0 GiB", page.text("#used"))
        self.assertEqual([row.split("\t")[:2] for row in page.text("#thresholds").split("\n")],
                         [["skip_heartbeats", "70 %"], ["preempt", "85 %"], ["reject", "90 %"], ["kill", "95 %"]])
        page.wait_text("#tasks", "40 % half way")
        self.assertRegex(page.text("#tasks"), rf"{running}\tpuppet\tnormal\trunning.*\n{waiting}\tpuppet\tlow\tqueued")
        page.wait_text("#workers", "busy")  # asked for once a second; the tasks come as events
        self.assertRegex(page.text("#workers"), rf"^w1\tpuppet\tbusy\t[\d.]+ [KM]iB \(\d+ %\).*{running}$")
        page.wait_text("#depth", "1 of 50 waiting")
        self.assertIn("low\t1\t50", page.text("#queue"))
        self.assertIn("puppet\tagent\tclosed", page.text("#breakers"))
        self.assertIn("Guarantee\n" + daemon.get("/health").json["guarantee"], page.text("#health"))
        self.assertRegex(page.value("document.getElementById('chart').getAttribute('aria-label')"), r"^Memory in use: .* of 1.0 GiB \(\d+ %\)")
        page.wait_text("#events", f"taskStarted taskId={running}")  # what was before it came
        gate.open()
        page.wait_text("#tasks", "agent_error: no luck")
        page.wait_text("#tasks", "completed\t100 %")
        page.wait_text("#events", "taskFailed")
        self.assertEqual(page.complaints(), [])
        own = page.value("location.origin") + "/"
        self.assertEqual([url for url in page.requests() if not url.startswith(own)], [])

    def test_the_token_leaves_the_address_and_is_kept_for_the_tab(self):
        daemon = self.start()
        page = self.open(daemon)
        page.wait_text("#state", "well")
        own = f"http://{daemon.get('/health').json['listen']}/"
        self.assertEqual(page.value("location.href"), own)
        page.tell("Page.reload")
        page.wait_text("#state", "well")
        self.assertNotIn(token_of(daemon), " ".join(page.requests()).replace(own + "#token=" + token_of(daemon), ""))
        self.assertNotIn(token_of(daemon), daemon.log_text())
        wrong = self.open(daemon, "wrong")
        wrong.wait_text("#state", "does not take this token")
        self.assertTrue(wrong.value("document.getElementById('main').hidden"))
        wrong.value(f"document.getElementById('token').value = {token_of(daemon)!r}")
        wrong.click("#ask button")
        wrong.wait_text("#state", "well")
        self.assertTrue(wrong.value("document.getElementById('ask').hidden"))

    def test_what_agents_say_stays_text(self):
        daemon = self.start(settings())
        bad = f"about('PROGRESS', percent=1, message={HOSTILE!r})\nsay({{'type': 'BREAKER', 'name': {HOSTILE!r}, 'op': 'failure'}})\n"
        gate = Gate(daemon)
        daemon.start("puppet", bad + gate.code())
        failed = daemon.run("puppet", f"say({{'type': 'LOG', 'level': 'info', 'message': {HOSTILE!r}}})\nfail({HOSTILE!r} + chr(0x202e), stack={HOSTILE!r})")["taskId"]
        page = self.open(daemon)
        page.wait_text("#tasks", "agent_error: " + HOSTILE + "\ufffd")
        page.wait_text("#tasks", "1 % " + HOSTILE)
        page.wait_text("#breakers", HOSTILE)
        page.wait_text("#events", HOSTILE)
        page.value(f"[...document.querySelectorAll('#tasks button')].find(b => b.textContent === {failed!r}).click()")
        page.wait_text("#log", HOSTILE)
        self.assertIn(HOSTILE, page.text("#facts"))
        self.assertEqual(page.value("document.title"), "Kurultai")
        self.assertEqual(page.value("document.querySelectorAll('body img, body b, body script').length"), 1)  # its own script
        self.assertEqual(page.complaints(), [])

    def test_a_task_is_cancelled_on_the_second_click(self):
        daemon = self.start()
        gate = Gate(daemon)
        task = daemon.start("puppet", gate.code())
        page = self.open(daemon)
        page.wait_text("#tasks", task)
        page.click("#tasks button")
        page.wait_text("#detail", "runs on w1")
        page.click("#cancel")
        self.assertEqual(daemon.task(task)["state"], "running")
        page.click("#cancel")
        page.wait_text("#said", "is being cancelled")
        daemon.wait_state(task, "cancelled")
        page.click("#close")
        page.wait_text("#tasks", "cancelled")

    def test_it_says_when_the_supervisor_has_gone_and_goes_on_with_the_next(self):
        daemon = self.start()
        before = daemon.run("puppet")["taskId"]
        page = self.open(daemon)
        page.wait_text("#tasks", before)
        listen = daemon.get("/health").json["listen"]
        daemon.kill()
        page.wait_text("#state", f"The supervisor is gone: {listen} has not answered since")
        self.assertIn("What stands below is how it was then", page.text("#state"))
        self.assertIn(before, page.text("#tasks"))
        again = Daemon(settings(), args=["--listen", listen], directory=daemon.dir)
        self.addCleanup(again.close)
        again.wait_ready()
        page.wait_text("#state", "The supervisor is well.", timeout=40)
        after = again.run("puppet", "fail('after')")["taskId"]
        page.wait_text("#tasks", after, timeout=40)
        again.request("POST", "/v1/drain")
        self.assertEqual(again.process.wait(20 * harness.PATIENCE), 0)
        page.wait_text("#state", "has drained its tasks and ended")

    def test_a_supervisor_that_is_not_able_says_so_with_503_and_is_not_taken_for_gone(self):
        daemon = self.start()
        page = self.open(daemon)
        page.wait_text("#state", "The supervisor is well.")
        health = {**daemon.get("/health").json, "status": "degraded", "troubles": ["memory cannot be read: no such luck"]}
        page.value("globalThis.fetch = ((real, said) => (path, options) => path === '/health'"
                   " ? Promise.resolve(new Response(said, {status: 503})) : real(path, options))"
                   f"(fetch, {json.dumps(json.dumps(health))}), 0")
        page.wait_text("#state", "The supervisor is degraded: memory cannot be read: no such luck", timeout=20)
        page.wait_text("#tasks", daemon.run("puppet")["taskId"])  # the rest goes on

    def test_it_takes_a_flood_of_events_in_its_stride(self):
        daemon = self.start(settings(queue={"max_depth": 1000, "limits": {"normal": 1000}}))
        page = self.open(daemon)
        page.wait_text("#state", "well")
        tasks = [{"agent": "puppet"} for _ in range(600)]
        last = daemon.request("POST", "/v1/tasks:batch?wait=50s", tasks).json[-1]["taskId"]
        page.wait_text("#tasks", last, timeout=40)
        wait_until(lambda: page.value("document.querySelectorAll('#tasks tr').length") == 25, "the newest that ended")
        self.assertEqual(page.value("document.querySelectorAll('#events li').length"), 100)
        self.assertEqual(page.complaints(), [])


if __name__ == "__main__":
    unittest.main()
