#!/usr/bin/env python3
"""Agents that misbehave: each ends in the right reason, and neither the supervisor nor a neighbour is harmed."""
import os
import stat
import time
import unittest

import harness
from harness import E2E, MIB, agent_command, marked_processes, wait_until
from puppet import KEPT, Gate, Later, has_groups, puppet, settings, supervisor_rss

ECHO = agent_command("say({'type':'READY','protocol':1})\n"
                     "while True:\n t=task(); say({'type':'COMPLETE','taskId':t['taskId'],'result':t.get('payload')})")


def many_puppets(count):
    """One for each case that kills its worker: after several bad ends in a row an agent has to wait for long."""
    return {f"puppet{n}": puppet() for n in range(count)}


class BadAgents(E2E):
    def start(self, agents=None, **sections):
        """A daemon with a puppet, a good neighbour, and whatever a test brings."""
        sections.setdefault("workers", {"max": 3, "max_restarts_per_hour": 1000})
        return self.daemon(settings({"puppet": puppet(), "good": {"command": ECHO}, **(agents or {})}, **sections))

    def healthy(self, daemon):
        self.assertEqual(daemon.run("good", {"still": "here"})["result"], {"still": "here"})
        self.assertEqual(daemon.get("/health").json["status"], "ok")

    def fails(self, daemon, agent, payload=None, *, reason, says="", **fields):
        task = daemon.run(agent, payload, **fields)
        self.assertEqual(task["state"], "failed", task)
        self.assertEqual(task["error"]["reason"], reason, task["error"])
        self.assertIn(says, task["error"]["message"])
        self.healthy(daemon)
        return task


class Lines(BadAgents):
    def test_what_is_no_message_is_log_and_harms_nobody(self):
        daemon = self.start()
        noise = {
            "half an object": r"""'{"type":"PROGRESS",\n'""",
            "words": r"""'hello world\n'""",
            "an array": r"""'[1,2,3]\n'""",
            "a number": r"""'42\n'""",
            "no type": r"""'{"taskId":"1"}\n'""",
            "a type that is no string": r"""'{"type":7}\n'""",
            "two objects": r"""'{"type":"PONG","seq":1}{"type":"PONG","seq":2}\n'""",
            "a number out of range": r"""'{"type":"PROGRESS","taskId":"%s","percent":1e999}\n' % id""",
            "NaN": r"""'{"type":"PROGRESS","taskId":"%s","percent":NaN}\n' % id""",
            "not UTF-8": r"""b'{"type":"LOG","message":"\xff\xfe"}\n'""",
            "binary": r"""bytes(range(256)) * 20 + b'\n'""",
            "NULs": r"""b'\0' * 1000 + b'\n'""",
            "empty lines": r"""'\n\r\n\n   \n'""",
            "deep brackets alone": r"""'[' * 100000 + '\n'""",
        }
        for name, line in noise.items():
            with self.subTest(name):
                task = daemon.run("puppet", f"raw({line})\ndone('fine')")
                self.assertEqual((task["state"], task["result"], task["progress"]), ("completed", "fine", 100))
                self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/logs").status, 200)
        self.healthy(daemon)
        worker = [w for w in daemon.get("/v1/workers").json["workers"] if w["agent"] == "puppet"]
        self.assertEqual(len(worker), 1)  # all of it by one worker
        self.assertGreaterEqual(worker[0]["noiseLines"], len(noise) - 1)

    def test_a_breaker_is_answered_and_shared_by_all_workers(self):
        daemon = self.start(many_puppets(2), circuit_breakers={"failures": 3, "backoff": ["60s"]})
        ask = "about('BREAKER', name='api', op='acquire')\nanswer = until('BREAKER')\n"
        report = "about('BREAKER', name='api', op='failure')\n"
        first = daemon.run("puppet0", (ask + report) * 3 + ask + "done(answer)")
        self.assertEqual((first["result"]["name"], first["result"]["allow"]), ("api", False))
        other = daemon.run("puppet1", ask + "done(answer)")
        self.assertFalse(other["result"]["allow"])
        self.assertGreater(other["result"]["retryAfterMs"], 50000)
        unknown = daemon.run("puppet1", "about('BREAKER', name='x' * 1000, op='acquire')\ndone(until('BREAKER')['allow'])")
        self.assertTrue(unknown["result"])

    def test_noise_is_in_the_log(self):
        daemon = self.start()
        task = daemon.run("puppet", "print('progress bar 10 %')\nprint('{not json}', flush=True)\ndone()")
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/logs").body, b"progress bar 10 %\n{not json}\n")

    def test_a_message_with_wrong_fields_is_a_protocol_error(self):
        cases = {
            "percent is text": """{"type":"PROGRESS","taskId":"%s","percent":"x"}""",
            "no taskId": """{"type":"COMPLETE","result":1}""",
            "taskId is a list": """{"type":"COMPLETE","taskId":[1]}""",
            "no data": """{"type":"CHUNK","taskId":"%s"}""",
            "bad base64": """{"type":"CHUNK","taskId":"%s","data":"!!!","encoding":"base64"}""",
            "NaN in the answer": """{"type":"COMPLETE","taskId":"%s","result":NaN}""",
            "bytes in the answer": """{"type": "FAILED","taskId":"%s","error":"\udcff"}""",
            "half an answer": """  {"type":"COMPLETE","taskId":"%s","result":""",
            "unknown encoding": """{"type":"CHUNK","taskId":"%s","data":"x","encoding":"rot13"}""",
        }
        daemon = self.start(many_puppets(len(cases)))
        for n, (name, line) in enumerate(cases.items()):
            with self.subTest(name):
                code = f"raw(({line!r}.replace('%s', id) + '\\n').encode(errors='surrogateescape'))\ntime.sleep(300)"
                self.fails(daemon, f"puppet{n}", code, reason="protocol_error", timeout="20s")

    def test_nesting_of_100000_levels_is_a_protocol_error(self):
        daemon = self.start()
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            with self.subTest(opening):
                code = (f"raw('{{\"type\":\"COMPLETE\",\"taskId\":\"%s\",\"result\":' % id + {opening!r} * 100000 + '1' + "
                        f"{closing!r} * 100000 + '}}\\n')\ntime.sleep(300)")
                self.fails(daemon, "puppet", code, reason="protocol_error", says="64")

    def test_64_levels_are_good_and_65_are_not(self):
        daemon = self.start()
        code = "raw('{\"type\":\"COMPLETE\",\"taskId\":\"%s\",\"result\":' % id + '[' * n + ']' * n + '}\\n')"
        self.assertEqual(daemon.run("puppet", "n=63\n" + code)["state"], "completed")
        self.fails(daemon, "puppet", "n=64\n" + code + "\ntime.sleep(300)", reason="protocol_error")

    def test_the_longest_line_is_good_and_one_byte_more_is_not(self):
        daemon = self.start()
        code = ("head='{\"type\":\"COMPLETE\",\"taskId\":\"%s\",\"result\":\"' % id\n"
                "raw(head + 'x' * (1048576 - len(head) - 2 + more) + '\"}\\n')\n")
        task = daemon.run("puppet", "more=0\n" + code)
        self.assertEqual(task["state"], "completed", task)
        self.assertGreater(task["resultBytes"], MIB - 100)
        self.fails(daemon, "puppet", "more=1\n" + code + "time.sleep(300)", reason="protocol_error", says="max_line")

    def test_a_line_without_end_is_cut_off(self):
        daemon = self.start()
        self.fails(daemon, "puppet", "raw('x' * 5000000)\ntime.sleep(300)", reason="protocol_error", says="max_line")
        self.fails(daemon, "puppet", "while True: raw('x' * 100000)", reason="protocol_error", says="max_line")
        self.assertLess(supervisor_rss(daemon), 64 * MIB + 2 * KEPT)  # the programs themselves are larger, too

    def test_the_limit_of_a_line_can_be_set(self):
        daemon = self.start(ipc={"max_line": "4KiB"})
        self.assertEqual(daemon.run("puppet", "done('x' * 3000)")["state"], "completed")
        self.fails(daemon, "puppet", "done('x' * 5000)\ntime.sleep(300)", reason="protocol_error", says="4KiB")

    def test_a_message_that_comes_byte_by_byte_is_one_message(self):
        daemon = self.start()
        code = ("for b in json.dumps({'type':'COMPLETE','taskId':id,'result':'aü€😀'}, ensure_ascii=False).encode() + b'\\n':\n"
                " os.write(1, bytes([b])); time.sleep(0.002)")
        self.assertEqual(daemon.run("puppet", code)["result"], "aü€😀")

    def test_many_messages_in_one_write_are_many_messages(self):
        daemon = self.start()
        code = ("raw(''.join(json.dumps({'type':'PROGRESS','taskId':id,'percent':n % 100}) + '\\r\\n' for n in range(20000)) + "
                "json.dumps({'type':'COMPLETE','taskId':id,'result':'all'}) + '\\n')")
        self.assertEqual(daemon.run("puppet", code)["result"], "all")

    def test_a_last_line_without_newline_counts_for_nothing(self):
        daemon = self.start()
        code = "raw(json.dumps({'type':'COMPLETE','taskId':id,'result':'cut'}))\nos._exit(0)"
        self.fails(daemon, "puppet", code, reason="exit_code")

    def test_unknown_types_and_fields_are_ignored_and_counted(self):
        daemon = self.start()
        code = "say({'type':'DANCE','taskId':id})\nsay({'type':'TASK','taskId':id})\nabout('COMPLETE', result=1, mood='good')"
        task = daemon.run("puppet", code)
        self.assertEqual((task["state"], task["result"]), ("completed", 1))
        worker = [w for w in daemon.get("/v1/workers").json["workers"] if w["workerId"] == task["workerId"]][0]
        self.assertEqual(worker["unknownMessages"], 2)

    def test_every_message_of_the_protocol_is_taken(self):
        daemon = self.start()
        code = ("say({'type':'MEMORY','heapUsed':1000,'heapTotal':2000})\nsay({'type':'METRIC','name':'n','value':1,'kind':'counter'})\n"
                "say({'type':'BREAKER','name':'api','op':'acquire'})\nsay({'type':'PONG','seq':3})\nsay({'type':'READY','protocol':1})\n"
                "say({'type':'LOG','level':'info','message':'m'})\nabout('CHECKPOINT', state={})\ndone(1)")
        self.assertEqual(daemon.run("puppet", code)["result"], 1)
        self.healthy(daemon)

    def test_percent_is_kept_between_0_and_100(self):
        daemon = self.start()
        for given, shown in ((-5, 0), (1e9, 100), (55.5, 55.5)):
            with self.subTest(given):
                gate = Gate(daemon, f"gate{shown}")
                task_id = daemon.start("puppet", f"about('PROGRESS', percent={given})\n" + gate.code())
                wait_until(lambda: daemon.task(task_id)["progress"] is not None, "progress")
                self.assertEqual(daemon.task(task_id)["progress"], shown)
                gate.open()
                daemon.wait_state(task_id, "completed")


class Answers(BadAgents):
    def test_only_the_first_answer_counts(self):
        daemon = self.start()
        for first, second, state in (("done(1)", "done(2)", "completed"), ("done(1)", "fail()", "completed"),
                                     ("fail('first')", "done(2)", "failed")):
            with self.subTest(first + second):
                task = daemon.run("puppet", f"{first}\n{second}")
                self.assertEqual(task["state"], state)
                daemon.run("puppet", "done()")  # the second answer was read by now
                self.assertEqual({**daemon.task(task["taskId"]), **task}, daemon.task(task["taskId"]))
        self.healthy(daemon)

    def test_two_answers_while_a_large_result_is_written_are_one(self):
        daemon = self.start()
        task = daemon.run("puppet", "done('x' * 900000)\ndone('y')\nfail()")
        self.assertEqual((task["state"], task["resultBytes"]), ("completed", 900000))
        self.healthy(daemon)

    def test_pieces_after_the_answer_belong_to_nothing(self):
        daemon = self.start()
        task = daemon.run("puppet", "about('CHUNK', data='a' * 100000)\nabout('COMPLETE')\nabout('CHUNK', data='b' * 100000)")
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/result").body, b"a" * 100000)
        self.assertEqual(daemon.run("puppet", "done('next')")["result"], "next")

    def test_an_answer_after_cancellation_does_not_reach_the_next_task(self):
        daemon = self.start({"puppet": puppet(grace="20s")})
        first = daemon.start("puppet", "until('CANCEL')\nfail()\nlast=id\nfor i in range(3): done('late')\n"
                                       "id=task()['taskId']\nsay({'type':'COMPLETE','taskId':last,'result':'late'}); done('right')")
        daemon.wait_state(first, "running")
        second = daemon.request("DELETE", f"/v1/tasks/{first}")
        self.assertEqual(second.status, 202)
        daemon.wait_state(first, "cancelled")  # before that the worker is busy and the next task would get another
        self.assertEqual(daemon.run("puppet", "-")["result"], "right")
        self.assertEqual(daemon.task(first)["state"], "cancelled")

    def test_an_agent_cannot_answer_before_it_is_ready(self):
        early = agent_command("say({'type':'COMPLETE','taskId':'x','result':1}); say({'type':'PROGRESS','taskId':'x','percent':5})\n"
                              "say({'type':'READY'})\nt=task(); say({'type':'COMPLETE','taskId':t['taskId'],'result':'real'})\ntask()")
        daemon = self.start({"early": {"command": early}})
        self.assertEqual(daemon.run("early")["result"], "real")

    def test_what_only_the_exec_host_may_say_is_not_believed(self):
        daemon = self.start()
        failed = self.fails(daemon, "puppet", "fail('x', reason='memory_cap', exitCode=3, signal=9, peakBytes=10**15, fileBytes=50)",
                            reason="agent_error", says="x")
        self.assertIsNone(failed["error"]["exitCode"])
        self.assertIsNone(failed["error"]["signal"])
        self.assertLess(failed["peakMemoryBytes"], 256 * MIB)
        task = daemon.run("puppet", "about('COMPLETE', result='mine', fileBytes=100, peakBytes=10**15)")
        self.assertEqual((task["state"], task.get("result")), ("completed", "mine"))
        self.assertLess(task["peakMemoryBytes"], 256 * MIB)
        task = daemon.run("puppet", "about('SWEPT', count=666)\ndone()")
        self.assertEqual(task["state"], "completed")
        self.assertEqual([e for e in daemon.events() if e["type"] == "orphanSwept" and e["count"] == 666], [])


class Starts(BadAgents):
    def test_commands_that_cannot_start_say_why(self):
        place = self.start()
        plain = os.path.join(place.dir, "plain.txt")
        with open(plain, "w", encoding="ascii") as file:
            file.write("no program\n")
        os.chmod(plain, stat.S_IRUSR | stat.S_IWUSR)
        missing = os.path.join(place.dir, "missing")
        agents = {}
        for protocol in ("jsonl", "exec"):
            for name, command in (("missing", [missing]), ("plain", [plain]), ("folder", [place.dir]),
                                  ("unknown", ["kurultai-no-such-command"])):
                agents[f"{protocol}-{name}"] = {"protocol": protocol, "command": command}
            agents[f"{protocol}-cwd"] = {"protocol": protocol, "command": ["/bin/cat"], "cwd": missing}
        daemon = self.start(agents)
        for name, agent in agents.items():
            with self.subTest(name):
                told = agent.get("cwd") or agent["command"][0]
                self.fails(daemon, name, reason="spawn_failed", says=told)

    def test_an_agent_that_leaves_before_ready(self):
        daemon = self.start({"gone": {"command": ["/bin/sh", "-c", "echo reason >&2; exit 3"]},
                             "killed": {"command": ["/bin/sh", "-c", "kill -9 $$"]},
                             "good0": {"command": ["/bin/true"]}})
        task = self.fails(daemon, "gone", reason="spawn_failed", says="3")
        self.assertIn(b"reason", daemon.get(f"/v1/tasks/{task['taskId']}/logs").body)
        self.fails(daemon, "killed", reason="spawn_failed", says="/bin/sh")
        self.fails(daemon, "good0", reason="spawn_failed", says="/bin/true")

    def test_an_agent_that_never_says_ready(self):
        daemon = self.start({"mute": {"command": ["/bin/sleep", "300"], "start_timeout": "500ms"},
                             "chatty": {"command": ["/bin/sh", "-c", "while :; do echo hello; sleep 0.1; done"], "start_timeout": "500ms"},
                             "deaf": {"command": ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"], "start_timeout": "500ms"}})
        for agent in ("mute", "chatty", "deaf"):
            with self.subTest(agent):
                self.fails(daemon, agent, reason="spawn_failed", says="start_timeout")

    def test_an_agent_that_closes_stdout_before_ready(self):
        daemon = self.start({"closed": {"command": agent_command("os.close(1)\ntime.sleep(300)"), "start_timeout": "20s"}})
        self.fails(daemon, "closed", reason="spawn_failed", says="stdout")

    def test_an_agent_of_another_protocol(self):
        daemon = self.start({"future": {"command": agent_command("say({'type':'READY','protocol':2})\ntask()")},
                             "odd": {"command": agent_command("say({'type':'READY','protocol':'one'})\ntime.sleep(300)")},
                             "deep": {"command": agent_command("print('{\"type\":\"READY\",\"x\":' + '['*100000, flush=True)\ntime.sleep(300)")}})
        self.fails(daemon, "future", reason="spawn_failed", says="protocol 2")
        self.fails(daemon, "odd", reason="spawn_failed")
        self.fails(daemon, "deep", reason="spawn_failed")

    def test_a_process_that_cannot_be_user_nobody_knows(self):
        daemon = self.start({"who": {"command": ECHO, "user": "kurultai-no-such-user"}})
        self.fails(daemon, "who", reason="spawn_failed", says="kurultai-no-such-user")


class Ends(BadAgents):
    def test_leaving_in_the_middle_fails_whatever_the_status(self):
        daemon = self.start(many_puppets(3))
        for n, status in enumerate((0, 1, 77)):
            with self.subTest(status):
                task = self.fails(daemon, f"puppet{n}", f"os._exit({status})", reason="exit_code", says=str(status))
                self.assertEqual((task["error"]["exitCode"], task["error"]["signal"]), (status, None))

    def test_death_by_a_signal_is_told_with_its_number(self):
        daemon = self.start(many_puppets(4))
        for n, number in enumerate((6, 9, 11, 15)):
            with self.subTest(number):
                task = self.fails(daemon, f"puppet{n}", f"os.kill(os.getpid(), {number})\ntime.sleep(300)", reason="signal")
                self.assertEqual((task["error"]["signal"], task["error"]["exitCode"]), (number, None))

    def test_an_agent_that_closes_stdout_and_lives_on(self):
        daemon = self.start()
        self.fails(daemon, "puppet", "os.close(1)\nwhile True: time.sleep(1)", reason="protocol_error", says="stdout")

    def test_an_idle_agent_that_closes_stdout_is_replaced(self):
        daemon = self.start()
        first = daemon.run("puppet", "done()\nos.close(1)\nwhile True: time.sleep(1)")
        daemon.wait_event("workerExited", workerId=first["workerId"])
        self.assertEqual(daemon.run("puppet", "done(2)")["result"], 2)

    def test_an_agent_that_closes_stdin_works_on(self):
        daemon = self.start()
        self.assertEqual(daemon.run("puppet", "os.close(0)\ntime.sleep(0.3)\ndone(1)\nos._exit(0)")["result"], 1)
        self.healthy(daemon)

    def test_an_agent_that_never_reads_does_not_block_anybody(self):
        daemon = self.start({"deaf": {"command": agent_command("say({'type':'READY'})\ntime.sleep(300)"), "grace": "200ms"}})
        self.fails(daemon, "deaf", "x" * 500000, reason="timeout", timeout="1s")  # more than a pipe holds

    def test_an_agent_that_forks_and_leaves_takes_its_children_along(self):
        daemon = self.start()
        task = self.fails(daemon, "puppet", "for i in range(3):\n"
                                            "  if os.fork() == 0:\n"
                                            "    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)\n"
                                            "os._exit(0)", reason="exit_code")
        daemon.wait_event("workerExited", workerId=task["workerId"])
        living = {w["pid"] for w in daemon.get("/v1/workers").json["workers"]}
        wait_until(lambda: len(marked_processes(daemon.instance)) <= 2 * len(living), "its children are gone")
        if has_groups(daemon):
            self.assertGreaterEqual(daemon.wait_event("orphanSwept", workerId=task["workerId"])["count"], 3)

    def test_an_agent_that_does_not_end_when_told(self):
        daemon = self.start()
        task = daemon.run("puppet", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ndone()\nwhile True: time.sleep(1)")
        self.assertEqual(task["state"], "completed")
        started = time.monotonic()
        self.assertEqual(daemon.terminate(), 0)
        self.assertLess(time.monotonic() - started, 10 * harness.PATIENCE)

    def test_a_stopped_agent_is_killed_all_the_same(self):
        daemon = self.start()
        self.fails(daemon, "puppet", "os.kill(os.getpid(), signal.SIGSTOP)", reason="timeout", timeout="500ms")


class Floods(BadAgents):
    def neighbour_answers(self, daemon, until):
        """Round trips with the neighbour while `until` is not done; the longest, in seconds."""
        longest = 0.0
        while until.is_alive():
            started = time.monotonic()
            self.assertEqual(daemon.run("good", 1)["result"], 1)
            longest = max(longest, time.monotonic() - started)
        return longest

    def flood(self, code):
        daemon = self.start()
        daemon.run("good", 1)
        before = supervisor_rss(daemon)
        flood = Later(daemon.run, "puppet", code, wait="200s", timeout="200s")
        longest = self.neighbour_answers(daemon, flood)
        task = flood.result(200)
        self.assertEqual((task["state"], task["result"]), ("completed", "after it all"), task)
        self.assertLess(longest, 5 * harness.PATIENCE)
        self.assertLess(supervisor_rss(daemon) - before, 32 * MIB + KEPT)
        self.assertLessEqual(len(daemon.get(f"/v1/tasks/{task['taskId']}/logs").body), 64 * 1024)
        self.healthy(daemon)

    def test_100_mib_on_stderr_are_drained(self):
        self.flood("line = b'e' * 99 + b'\\n'\nblock = line * 10000\nfor i in range(105): os.write(2, block)\ndone('after it all')")

    def test_50_mib_of_noise_on_stdout_are_drained(self):
        self.flood("line = b'noise ' * 16 + b'...\\n'\nblock = line * 1000\nfor i in range(525): raw(block)\ndone('after it all')")

    def test_stderr_without_a_newline_is_drained(self):
        self.flood("block = b'e' * 1000000\nfor i in range(20): os.write(2, block)\ndone('after it all')")

    def test_a_stream_of_progress_is_taken(self):
        self.flood("raw((json.dumps({'type':'PROGRESS','taskId':id,'percent':5,'message':'m' * 500}) + '\\n') * 20000)\n"
                   "done('after it all')")

    def test_requests_that_are_answered_do_not_pile_up(self):
        # Answers go to a pipe that nobody reads.
        daemon = self.start({"asks": {"command": agent_command(
            "say({'type':'READY'})\n"
            "t=task()\n"
            "for i in range(200000): sys.stdout.write('{\"type\":\"BREAKER\",\"name\":\"x\",\"op\":\"acquire\"}\\n')\n"
            "sys.stdout.flush(); say({'type':'COMPLETE','taskId':t['taskId']})\ntime.sleep(300)"), "grace": "200ms"}})
        self.assertEqual(daemon.run("asks")["state"], "completed")
        self.assertLess(supervisor_rss(daemon), 64 * MIB + 2 * KEPT)  # the programs themselves are larger, too
        self.healthy(daemon)


if __name__ == "__main__":
    unittest.main()
