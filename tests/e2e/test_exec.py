#!/usr/bin/env python3
"""Commands as tasks: arguments, input, output, exit status, environment, user, and everything they leave behind."""
import json
import os
import pwd
import random
import sys
import tempfile
import time
import unittest

import harness
from harness import E2E, MIB, PYTHON, marked_processes, wait_until
from puppet import settings

SHELL = {"protocol": "exec", "command": ["/bin/sh", "-c", "{script}"], "grace": "300ms"}


def command(*argv, **fields):
    return {"protocol": "exec", "command": list(argv), "grace": "300ms", **fields}


def python(source, *argv, **fields):
    return command(PYTHON, "-c", source.replace("{", "{{").replace("}", "}}"), *argv, **fields)


class Exec(E2E):
    def start(self, agents=None, **kw):
        sections = {key: kw.pop(key) for key in list(kw) if key in ("workers", "exec", "store", "queue", "gateway")}
        return self.daemon(settings({"shell": SHELL, **(agents or {})}, **sections), **kw)

    def sh(self, daemon, script, **fields):
        return daemon.run("shell", {"script": script}, **fields)

    def result(self, daemon, task):
        return daemon.get(f"/v1/tasks/{task['taskId']}/result").body

    def only_the_idle_are_left(self, daemon, text):
        """No process of this supervisor's workers has `text` in its command line."""
        def found():
            lines = []
            for pid in marked_processes(daemon.instance):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        lines.append(file.read())
                except OSError:
                    pass
            return [line for line in lines if text.encode() in line]
        wait_until(lambda: not found(), f"nothing runs {text}: {found()}", 5)


class Arguments(Exec):
    def start_argv(self, *argv, **kw):
        return self.start({"argv": command(PYTHON, "-c", "import sys,json; print(json.dumps(sys.argv[1:]))", *argv, output="json")}, **kw)

    def test_relative_paths_count_from_where_the_supervisor_was_started(self):
        place = self.enterContext(tempfile.TemporaryDirectory())
        with open(os.path.join(place, "hello"), "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o700)) as file:
            file.write("#!/bin/sh\npwd\n")
        warm = harness.agent_command("say({'type':'READY'})\nwhile True: say({'type':'COMPLETE','taskId':task()['taskId'],'result':os.getcwd()})")
        daemon = self.daemon(settings({"once": command("./hello", cwd=os.path.relpath(place, harness.ROOT)), "warm": {"command": warm, "cwd": os.path.relpath(place, harness.ROOT)}}))
        self.assertEqual(daemon.run("once")["result"].strip(), os.path.realpath(place))
        self.assertEqual(daemon.run("warm")["result"], os.path.realpath(place))

    def test_fields_are_put_into_arguments(self):
        daemon = self.start_argv("{a}", "x{a}y{b}", "{{{a}}}", "{{a}}", "plain", "--k={b-c.d_e}")
        task = daemon.run("argv", {"a": "1", "b": "2", "b-c.d_e": "3", "unused": "4"})
        self.assertEqual(task["result"], ["1", "x1y2", "{1}", "{a}", "plain", "--k=3"])

    def test_one_field_is_one_argument_whatever_is_in_it(self):
        daemon = self.start_argv("{a}", "-{a}-")
        mark = os.path.join(daemon.dir, "injected")
        for value in ("", " ", "a b", "a\nb", "'\"\\", "$(touch %s)" % mark, "`touch %s`" % mark, "; touch %s #" % mark,
                      "| touch %s" % mark, "{b}", "{{", "}", "-rf", "*", "~", "$HOME", "ü€😀", "x" * 30000):
            with self.subTest(value[:30]):
                self.assertEqual(daemon.run("argv", {"a": value, "b": "no"})["result"], [value, f"-{value}-"])
        self.assertFalse(os.path.exists(mark))

    def test_an_argument_may_be_as_long_as_the_kernel_allows(self):
        daemon = self.start_argv("{a}")
        longest = "x" * (128 * 1024 - 1)
        self.assertEqual(json.loads(self.result(daemon, daemon.run("argv", {"a": longest}))), [longest])
        self.assertEqual(daemon.submit("argv", {"a": longest + "x"}).status, 422)

    def test_values_that_are_no_text_are_put_in_as_json(self):
        daemon = self.start_argv("{a}")
        for value, text in ((5, "5"), (-2.5, "-2.5"), (True, "true"), ({"k": [1, "x"]}, '{"k":[1,"x"]}'), ([], "[]")):
            with self.subTest(text):
                self.assertEqual(daemon.run("argv", {"a": value})["result"], [text])

    def test_what_cannot_be_filled_in_is_refused_at_once(self):
        daemon = self.start_argv("{a}")
        for payload in (None, {}, {"b": "1"}, {"a": None}, "text", 5, ["a"], {"a": "x\0y"}, {"a": "x" * 200000}):
            with self.subTest(str(payload)[:30]):
                answer = daemon.submit("argv", payload)
                self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "invalid_task"))
        self.assertIn("'a'", daemon.submit("argv", {}).json["error"]["message"])
        self.assertEqual(daemon.get("/v1/tasks").json["tasks"], [])


class Input(Exec):
    def test_the_payload_is_on_stdin(self):
        daemon = self.start({"cat": command("/bin/cat")})
        for payload in ({"a": [1, "ü"]}, "text", 5, [], False, {"big": "x" * 500000}):
            with self.subTest(str(payload)[:30]):
                task = daemon.run("cat", payload)
                self.assertEqual(task["state"], "completed", task)
                self.assertEqual(json.loads(self.result(daemon, task)), payload)

    def test_without_payload_stdin_is_empty(self):
        daemon = self.start({"cat": command("/bin/cat")})
        self.assertEqual(daemon.run("cat")["result"], "")

    def test_a_command_need_not_read_its_input(self):
        daemon = self.start({"true": command("/bin/true"), "close": python("import os,time; os.close(0); time.sleep(0.3)")})
        for agent in ("true", "close"):
            self.assertEqual(daemon.run(agent, "x" * 500000)["state"], "completed")


class Output(Exec):
    def test_text_is_a_string(self):
        daemon = self.start()
        task = self.sh(daemon, "printf 'h\\303\\274llo\\n'")
        self.assertEqual((task["state"], task["result"]), ("completed", "hüllo\n"))
        self.assertEqual(self.result(daemon, task), "hüllo\n".encode())
        self.assertEqual(self.sh(daemon, ":")["result"], "")

    def test_64_kib_are_a_string_and_one_byte_more_is_a_stream(self):
        daemon = self.start()
        task = self.sh(daemon, "head -c 65536 /dev/zero | tr '\\0' x")
        self.assertEqual(task["result"], "x" * 65536)
        task = self.sh(daemon, "head -c 65536 /dev/zero | tr '\\0' '\\n'")  # twice as long in JSON
        self.assertEqual(task.get("result"), "\n" * 65536)
        self.assertEqual(self.result(daemon, task), b"\n" * 65536)
        task = self.sh(daemon, "head -c 65537 /dev/zero | tr '\\0' x")
        self.assertEqual(task["resultBytes"], 65537)
        self.assertEqual(self.result(daemon, task), b"x" * 65537)

    def test_bytes_that_are_no_text_are_a_stream(self):
        daemon = self.start({"bytes": python("import sys; sys.stdout.buffer.write(bytes(range(256)))")})
        task = daemon.run("bytes")
        self.assertEqual((task["state"], task["resultBytes"]), ("completed", 256))
        self.assertEqual(self.result(daemon, task), bytes(range(256)))

    def test_5_mib_come_back_byte_for_byte(self):
        daemon = self.start({"bytes": python("import sys,random; sys.stdout.buffer.write(random.Random(7).randbytes(5<<20))")})
        task = daemon.run("bytes")
        self.assertEqual((task["state"], task["resultBytes"]), ("completed", 5 * MIB))

        self.assertEqual(self.result(daemon, task), random.Random(7).randbytes(5 * MIB))

    def test_a_result_above_the_limit_fails_and_is_not_kept(self):
        daemon = self.start(store={"max_result": "1MiB"})
        task = self.sh(daemon, "head -c 2000000 /dev/zero; sleep 300")
        self.assertEqual(task["state"], "failed", task)
        self.assertIn("1MiB", task["error"]["message"])
        spool = [name for _, _, names in os.walk(daemon.state) for name in names if task["taskId"] in name]
        self.assertEqual(spool, [])

    def test_json_output_is_a_value(self):
        daemon = self.start({"json": command("/bin/sh", "-c", "{script}", output="json")})
        for text, value in (('{"a": [1, "x"]}', {"a": [1, "x"]}), (" 5\n", 5), ('"text"', "text"), ("null", None), ("[]", [])):
            with self.subTest(text):
                task = daemon.run("json", {"script": f"printf '%s' '{text}'"})
                self.assertEqual((task["state"], task["result"]), ("completed", value))

    def test_json_output_that_is_none_fails(self):
        daemon = self.start({"json": command("/bin/sh", "-c", "{script}", output="json")})
        for script in ("echo no json", ":", "echo '{'", "echo '1 2'", "printf '\\377'"):
            with self.subTest(script):
                task = daemon.run("json", {"script": script})
                self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "agent_error"), task)

    def test_large_json_output_is_a_stream(self):
        daemon = self.start({"json": python("import json; print(json.dumps(['x' * 100000]))", output="json")})
        task = daemon.run("json")
        self.assertEqual(task["state"], "completed", task)
        self.assertEqual(json.loads(self.result(daemon, task)), ["x" * 100000])

    def test_stderr_is_log(self):
        daemon = self.start()
        task = self.sh(daemon, "echo out; echo err >&2")
        self.assertEqual(task["result"], "out\n")
        self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/logs").body, b"err\n")

    def test_output_of_a_command_that_leaves_at_once_is_complete(self):
        daemon = self.start()
        for _ in range(10):
            task = self.sh(daemon, "head -c 60000 /dev/zero | tr '\\0' o; echo last >&2; exit 4")
            self.assertEqual(task["result"], "o" * 60000)
            self.assertEqual(daemon.get(f"/v1/tasks/{task['taskId']}/logs").body, b"last\n")


class Status(Exec):
    def test_the_exit_status_decides(self):
        daemon = self.start()
        for status in (1, 3, 126, 255):
            with self.subTest(status):
                task = self.sh(daemon, f"echo before; exit {status}")
                self.assertEqual((task["state"], task["error"]["reason"], task["error"]["exitCode"], task["error"]["signal"]),
                                 ("failed", "exit_code", status, None))
                self.assertEqual(task["result"], "before\n")

    def test_a_signal_is_told_by_its_number(self):
        daemon = self.start()
        for number in (9, 11, 15):
            with self.subTest(number):
                error = self.sh(daemon, f"kill -{number} $$")["error"]
                self.assertEqual((error["reason"], error["signal"], error["exitCode"]), ("signal", number, None))

    def test_killing_its_own_group_does_not_reach_the_host(self):
        daemon = self.start()
        error = self.sh(daemon, "kill -9 0")["error"]
        self.assertEqual((error["reason"], error["signal"]), ("signal", 9))

    def test_killing_the_host_is_a_lost_worker_and_the_next_task_runs(self):
        daemon = self.start()
        error = self.sh(daemon, "kill -9 $PPID; sleep 300")["error"]
        self.assertEqual(error["reason"], "worker_lost", error)
        self.assertEqual(self.sh(daemon, "echo well")["result"], "well\n")
        self.only_the_idle_are_left(daemon, "sleep")

    def test_failures_are_tried_again(self):
        daemon = self.start()
        mark = os.path.join(daemon.dir, "mark")
        task = self.sh(daemon, f"[ -e {mark} ] && echo second || {{ touch {mark}; exit 1; }}", retries=1)
        self.assertEqual((task["state"], task["attempt"], task["result"]), ("completed", 2, "second\n"))


class Surroundings(Exec):
    def environment(self, daemon, agent="env"):
        return dict(line.split("=", 1) for line in daemon.run(agent)["result"].split("\0") if line)

    def test_only_allowed_variables_pass(self):
        outer = {"SECRET_TOKEN": "s", "LD_PRELOAD": "", "AWS_SECRET_ACCESS_KEY": "s", "LC_TIME": "C", "TZ": "UTC", "KURULTAI_WORKERS_MAX": "1"}
        daemon = self.start({"env": command("env", "-0"), "more": command("env", "-0", env={"ADDED": "1", "TZ": "own"}, env_pass=["SECRET_TOKEN"]),
                             "all": command("env", "-0", env_pass=["*"])}, env=outer)
        plain = self.environment(daemon)
        self.assertEqual(plain["LC_TIME"], "C")
        self.assertEqual(plain["PATH"], os.environ["PATH"])
        for name in ("SECRET_TOKEN", "AWS_SECRET_ACCESS_KEY", "KURULTAI_WORKERS_MAX", "LD_PRELOAD"):
            self.assertNotIn(name, plain)
        more = self.environment(daemon, "more")
        self.assertEqual((more["SECRET_TOKEN"], more["ADDED"], more["TZ"]), ("s", "1", "own"))
        self.assertNotIn("AWS_SECRET_ACCESS_KEY", more)
        self.assertEqual(self.environment(daemon, "all")["AWS_SECRET_ACCESS_KEY"], "s")

    def test_a_worker_knows_its_id_and_node_its_heap(self):
        daemon = self.start({"env": command("env", "-0", memory_limit="200MiB")})
        found = self.environment(daemon)
        self.assertRegex(found["WORKER_ID"], r"^w\d+$")
        self.assertEqual(found["NODE_OPTIONS"], "--max-old-space-size=150")

    def test_it_runs_where_it_is_told(self):
        place = self.start()
        daemon = self.start({"here": command("pwd", cwd=place.dir)})
        self.assertEqual(daemon.run("here")["result"], os.path.realpath(place.dir) + "\n")

    def test_it_inherits_no_descriptor_signal_or_terminal(self):
        source = ("import os,json,signal\n"
                  "print(json.dumps(dict(fds=sorted(int(f) for f in os.listdir('/proc/self/fd'))[:-1], core=__import__('resource').getrlimit(4)[0],"
                  " pipe=signal.getsignal(signal.SIGPIPE).name, blocked=len(signal.pthread_sigmask(0, [])),"
                  " group=os.getpgrp() == os.getpid(), sid=os.getsid(0) == os.getppid(), umask=os.umask(0))))")
        daemon = self.start({"look": python(source, output="json")})
        task = daemon.run("look", {"some": "input"})
        self.assertEqual(task["state"], "completed", task)
        # Python itself ignores SIGPIPE.
        self.assertEqual(task["result"], {"fds": [0, 1, 2], "core": 0, "pipe": "SIG_IGN", "blocked": 0, "group": True, "sid": True, "umask": 0o77})

    def test_it_cannot_gain_privileges(self):
        daemon = self.start({"status": command("grep", "NoNewPrivs", "/proc/self/status")})
        self.assertEqual(daemon.run("status")["result"].split(), ["NoNewPrivs:", "1"])


class Users(Exec):
    def setUp(self):
        if os.geteuid() != 0:
            sys.stderr.write(f"\n*** SKIPPED {self.id()}: needs root, only root can give agents another user\n")
            self.skipTest("needs root: only root can give agents another user")

    def test_a_user_by_name_and_by_number(self):
        nobody = pwd.getpwnam("nobody")
        look = "id -u; id -g; id -G; echo $USER $HOME"
        daemon = self.start({"name": command("/bin/sh", "-c", look, user="nobody", cwd="/"),
                             "number": command("/bin/sh", "-c", look, user=str(nobody.pw_uid), cwd="/"),
                             "unnamed": command("/bin/sh", "-c", "id -u; id -g", user="54321", cwd="/")})
        expected = [str(nobody.pw_uid), str(nobody.pw_gid), str(nobody.pw_gid), "nobody", nobody.pw_dir]
        self.assertEqual(daemon.run("name")["result"].split(), expected)
        self.assertEqual(daemon.run("number")["result"].split(), expected)
        self.assertEqual(daemon.run("unnamed")["result"].split(), ["54321", "54321"])

    def test_auto_gives_each_worker_its_own(self):
        daemon = self.start({"auto": command("/bin/sh", "-c", "id -u; id -g; sleep {seconds}", user="auto", cwd="/")})
        ids = [daemon.start("auto", {"seconds": 1}) for _ in range(2)]
        tasks = [daemon.wait_state(task_id, "completed", "failed") for task_id in ids]
        users = [task["result"].split() for task in tasks]
        self.assertNotEqual(users[0], users[1])
        for uid, gid in users:
            self.assertTrue(61184 <= int(uid) <= 65519 and uid == gid, users)

    def test_another_user_cannot_touch_the_supervisor_or_its_host(self):
        daemon = self.start({"curious": command("/bin/sh", "-c", "{script}", user="auto", cwd="/")})
        for script in (f"kill -0 {daemon.pid}", "kill -0 $PPID", f"ls {daemon.state}", f"cat {daemon.config_file} {daemon.socket}",
                       "cat /proc/$PPID/environ", "cat /proc/$PPID/mem"):
            with self.subTest(script):
                task = daemon.run("curious", {"script": script})
                self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "exit_code"), task)

    def test_large_results_of_another_user_are_kept(self):
        daemon = self.start({"large": command("/bin/sh", "-c", "head -c 200000 /dev/zero", user="auto", cwd="/")})
        task = daemon.run("large")
        self.assertEqual((task["state"], task["resultBytes"]), ("completed", 200000))
        self.assertEqual(self.result(daemon, task), bytes(200000))


class Trees(Exec):
    def test_what_a_successful_command_left_behind_is_swept(self):
        daemon = self.start()
        script = "setsid sleep 3001 </dev/null >/dev/null 2>&1 & (trap '' TERM HUP; setsid sleep 3002 & ) ; echo done"
        task = self.sh(daemon, script)
        self.assertEqual((task["state"], task["result"]), ("completed", "done\n"))
        self.only_the_idle_are_left(daemon, "sleep")
        self.assertGreaterEqual(daemon.wait_event("orphanSwept", taskId=task["taskId"])["count"], 2)

    def test_a_daemon_that_forked_twice_is_swept(self):
        source = ("import os,time,signal\n"
                  "if os.fork() == 0:\n"
                  "  os.setsid()\n"
                  "  if os.fork() == 0:\n"
                  "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                  "    for fd in (0,1,2): os.close(fd)\n"
                  "    time.sleep(3003)\n"
                  "  os._exit(0)\n"
                  "os.wait(); print('parent done')")
        daemon = self.start({"daemonize": python(source)})
        self.assertEqual(daemon.run("daemonize")["result"], "parent done\n")
        self.only_the_idle_are_left(daemon, "3003")

    def test_a_child_that_holds_the_output_does_not_hold_the_task(self):
        daemon = self.start()
        started = time.monotonic()
        task = self.sh(daemon, "echo mine; sleep 3004 &")
        self.assertEqual((task["state"], task["result"]), ("completed", "mine\n"))
        self.assertLess(time.monotonic() - started, 5 * harness.PATIENCE)
        self.only_the_idle_are_left(daemon, "3004")

    def test_late_output_of_a_filter_is_in_the_result(self):
        daemon = self.start({"bash": command("/bin/bash", "-c", "{script}")})
        task = daemon.run("bash", {"script": "exec > >(tr a b); echo aaa"})
        self.assertEqual(task["result"], "bbb\n")

    def test_cancelling_ends_the_whole_tree(self):
        daemon = self.start()
        cases = {"obeys": "sleep 3005 & sleep 3005", "deaf": "trap '' TERM; setsid sh -c \"trap '' TERM; sleep 3005\" & sleep 3005; sleep 3005"}
        for name, script in cases.items():
            with self.subTest(name):
                task_id = daemon.start("shell", {"script": script})
                daemon.wait_state(task_id, "running")
                wait_until(lambda: len(marked_processes(daemon.instance)) >= 3, "its children run")
                self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{task_id}").status, 202)
                task = daemon.wait_state(task_id, "cancelled", "failed", "completed")
                self.assertEqual((task["state"], task["error"]["reason"]), ("cancelled", "cancelled"))
                self.only_the_idle_are_left(daemon, "sleep")

    def test_a_command_may_clean_up_before_it_ends(self):
        daemon = self.start({"tidy": command("/bin/sh", "-c", "{script}", grace="10s")})
        mark = os.path.join(daemon.dir, "cleaned")
        task_id = daemon.start("tidy", {"script": f"trap 'touch {mark}; exit 0' TERM; echo up >&2; while :; do sleep 0.05; done"})
        wait_until(lambda: daemon.get(f"/v1/tasks/{task_id}/logs").body, "it is up")
        daemon.request("DELETE", f"/v1/tasks/{task_id}")
        self.assertEqual(daemon.wait_state(task_id, "cancelled", "completed")["state"], "cancelled")
        self.assertTrue(os.path.exists(mark))

    def test_a_timeout_ends_the_whole_tree(self):
        daemon = self.start()
        task = self.sh(daemon, "setsid sleep 3006 & trap '' TERM; sleep 3006; sleep 3006", timeout="500ms")
        self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "timeout"))
        self.only_the_idle_are_left(daemon, "3006")
        self.assertEqual(self.sh(daemon, "echo next")["result"], "next\n")

    def test_a_stopped_command_can_be_cancelled(self):
        daemon = self.start()
        task_id = daemon.start("shell", {"script": "kill -STOP $$"})
        daemon.wait_state(task_id, "running")
        daemon.request("DELETE", f"/v1/tasks/{task_id}")
        daemon.wait_state(task_id, "cancelled")

    def test_a_fork_bomb_is_contained(self):
        daemon = self.start({"bomb": python("import os\nwhile True:\n try: os.fork()\n except OSError: pass", max_processes=64, timeout="1s")})
        task = daemon.run("bomb")
        self.assertEqual(task["state"], "failed", task)
        self.assertEqual(self.sh(daemon, "echo well")["result"], "well\n")
        self.only_the_idle_are_left(daemon, "os.fork")

    def test_many_commands_one_after_the_other_leave_nothing(self):
        daemon = self.start(workers={"max": 4}, queue={"max_depth": 200})
        ids = [daemon.start("shell", {"script": "sleep 0.01 & :"}) for _ in range(50)]
        for task_id in ids:
            self.assertEqual(daemon.wait_state(task_id, "completed", "failed")["state"], "completed")
        self.assertLessEqual(len(daemon.get("/v1/workers").json["workers"]), 4)
        self.only_the_idle_are_left(daemon, "sleep")


class Named(Exec):
    def test_commands_of_clients_need_permission(self):
        daemon = self.start()
        answer = daemon.submit("exec", {"command": ["/bin/true"]})
        self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "unknown_agent"))
        self.assertIn("exec.allow", answer.json["error"]["message"])

    def test_with_permission_they_run(self):
        daemon = self.start(exec={"allow": True})
        task = daemon.run("exec", {"command": ["printf", "%s-%s", "{a}", "$HOME"]})
        self.assertEqual((task["state"], task["result"]), ("completed", "{a}-$HOME"))
        self.assertEqual(daemon.run("exec", {"command": ["cat"]})["result"], "")  # the payload is not its input

    def test_they_run_where_the_client_says_under_its_cap(self):
        daemon = self.start(exec={"allow": True})
        where = daemon.run("exec", {"command": ["pwd"], "cwd": "/usr/share"})
        self.assertEqual(where["result"], "/usr/share\n")
        gone = daemon.run("exec", {"command": ["pwd"], "cwd": "/nowhere"})
        self.assertEqual((gone["state"], gone["error"]["reason"]), ("failed", "spawn_failed"))
        self.assertIn("/nowhere", gone["error"]["message"])
        greedy = {"command": [PYTHON, "-c", "x = b'x' * (100 << 20); print(len(x))"]}
        self.assertEqual(daemon.run("exec", greedy)["state"], "completed")
        capped = daemon.run("exec", {**greedy, "memoryLimitBytes": 50 * MIB})
        self.assertEqual((capped["state"], capped["error"]["reason"]), ("failed", "memory_cap"))
        self.assertIn("50MiB", capped["error"]["message"])
        self.assertEqual(daemon.run("exec", greedy)["state"], "completed")  # not on that worker
        large = daemon.submit("exec", {"command": ["true"], "memoryLimitBytes": 2 << 30})
        self.assertEqual((large.status, large.json["error"]["code"]), (422, "invalid_task"))

    def test_wrong_commands_are_refused(self):
        daemon = self.start(exec={"allow": True})
        for payload in (None, {}, "ls", ["ls"], {"command": "ls"}, {"command": []}, {"command": [1]}, {"command": ["a\0b"]}):
            with self.subTest(str(payload)):
                answer = daemon.submit("exec", payload)
                self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "invalid_task"))
        for argv in ([""], ["/no/such/program"], ["/"]):
            with self.subTest(str(argv)):
                task = daemon.run("exec", {"command": argv})
                self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "spawn_failed"), task)

    def test_no_agent_may_take_the_reserved_name(self):
        daemon = self.daemon(settings({"exec": SHELL}), ready=False)
        self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 2)
        self.assertIn("reserved", daemon.log_text())


if __name__ == "__main__":
    unittest.main()
