#!/usr/bin/env python3
"""Workers: kept warm, shared, bounded, replaced, held back after crashes; reload and drain."""
import datetime
import json
import os
import signal
import tempfile
import time
import unittest

import harness
from harness import E2E, agent_command, marked_processes, wait_until
from puppet import EventStream, Gate, Later, has_groups, puppet, settings

LEAVES = {"protocol": "jsonl", "command": ["/bin/sh", "-c", "exit 7"]}  # before READY


def workers(daemon):
    return daemon.get("/v1/workers").json["workers"]


class Pool(E2E):
    def test_a_warm_worker_is_used_again(self):
        daemon = self.daemon(settings())
        ids = {daemon.run("puppet", "done()")["workerId"] for _ in range(5)}
        self.assertEqual(len(ids), 1)
        self.assertEqual([(w["state"], w["tasksDone"]) for w in workers(daemon)], [("idle", 5)])
        self.assertEqual(daemon.metric("kurultai_workers_idle"), 1)

    def test_a_worker_with_two_slots_runs_two_tasks_at_once(self):
        pair = agent_command("say({'type':'READY'})\n"
                             "while True:\n"
                             " both=[task(), task()]\n"
                             " for t in both: say({'type':'COMPLETE','taskId':t['taskId'],'result':t['payload']})")
        daemon = self.daemon(settings({"pair": {"command": pair, "concurrency": 2}}, workers={"max": 1}))
        # Neither would be answered if the second waited for the first.
        answers = [Later(daemon.run, "pair", n) for n in (1, 2)]
        tasks = [answer.result() for answer in answers]
        self.assertEqual([task["result"] for task in tasks], [1, 2])
        self.assertEqual(len({task["workerId"] for task in tasks}), 1)

    def test_tasks_that_one_worker_can_take_do_not_start_four(self):
        gate_kept = agent_command("while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
                                  "say({'type':'READY'})\n"
                                  "while True: say({'type':'COMPLETE','taskId':task()['taskId']})")
        flag = self.enterContext(tempfile.TemporaryDirectory()) + "/may start"
        daemon = self.daemon(settings({"four": {"command": [*gate_kept, flag], "concurrency": 4}}, workers={"max": 8},
                                      queue={"max_depth": 10, "limits": {"normal": 10}}))
        ids = [daemon.start("four", n) for n in range(5)]  # one more than a worker has slots
        wait_until(lambda: [len(w["tasks"]) for w in workers(daemon)] == [4, 1], "four share the first worker, the fifth has its own")
        self.assertEqual({w["state"] for w in workers(daemon)}, {"starting"})
        with open(flag, "w", encoding="ascii"):
            pass
        for task_id in ids:
            daemon.wait_state(task_id, "completed")
        self.assertEqual(daemon.metric("kurultai_workers_spawned_total"), 2)

    def test_a_start_that_fails_costs_one_task_and_the_others_of_its_worker_try_again(self):
        second_time = agent_command("first=not os.path.exists(sys.argv[1])\n"
                                    "open(sys.argv[1],'w').close()\n"
                                    "if first:\n"
                                    " while not os.path.exists(sys.argv[2]): time.sleep(0.01)\n"
                                    " os._exit(3)\n"
                                    "say({'type':'READY'})\n"
                                    "while True: say({'type':'COMPLETE','taskId':task()['taskId']})")
        place = self.enterContext(tempfile.TemporaryDirectory())
        daemon = self.daemon(settings({"pair": {"command": [*second_time, place + "/started", place + "/fail"], "concurrency": 2}}))
        asker, other = [daemon.start("pair", n) for n in (1, 2)]
        wait_until(lambda: [w["tasks"] for w in workers(daemon)] == [[asker, other]], "both wait for one worker")
        with open(place + "/fail", "w", encoding="ascii"):
            pass
        self.assertEqual(daemon.wait_state(asker, "failed")["error"]["reason"], "spawn_failed")
        task = daemon.wait_state(other, "completed")
        self.assertEqual((task["attempt"], task["preemptions"]), (1, 1))

    def test_when_a_shared_worker_dies_both_tasks_are_told(self):
        crash = agent_command("say({'type':'READY'})\nboth=[task(), task()]\nos._exit(9)")
        daemon = self.daemon(settings({"pair": {"command": crash, "concurrency": 2}}, workers={"max": 1}))
        for answer in [Later(daemon.run, "pair", n) for n in (1, 2)]:
            task = answer.result()
            self.assertEqual((task["state"], task["error"]["reason"], task["error"]["exitCode"]), ("failed", "exit_code", 9))

    def test_a_timeout_of_one_task_sends_its_neighbour_back(self):
        # A slot cannot be killed alone: the one that did nothing wrong runs again, no attempt lost.
        deaf = agent_command("second=os.path.exists(sys.argv[1])\n"
                             "open(sys.argv[1],'w').close()\n"
                             "say({'type':'READY'})\n"
                             "while True:\n"
                             " t=task()\n"
                             " if t['payload']=='wait' and second: say({'type':'COMPLETE','taskId':t['taskId']})")
        directory = self.daemon(settings()).dir  # a place for a file
        flag = directory + "/second"
        daemon = self.daemon(settings({"deaf": {"command": [*deaf, flag], "concurrency": 2, "grace": "300ms"}},
                                      workers={"max": 1}))
        neighbour = daemon.start("deaf", "wait")
        daemon.wait_state(neighbour, "running")
        hanging = daemon.run("deaf", "hang", timeout="500ms")
        self.assertEqual(hanging["error"]["reason"], "timeout")
        task = daemon.wait_state(neighbour, "completed", "failed")
        self.assertEqual((task["state"], task["attempt"], task["preemptions"]), ("completed", 1, 1))

    def test_there_are_never_more_workers_than_allowed(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}, workers={"max": 2}))
        gate = Gate(daemon)
        ids = [daemon.start(agent, gate.code()) for agent in ("puppet", "other", "puppet", "other", "puppet")]
        wait_until(lambda: sum(w["state"] == "busy" for w in workers(daemon)) == 2, "two are busy")
        self.assertEqual(len(workers(daemon)), 2)
        self.assertEqual([daemon.task(task_id)["state"] for task_id in ids], ["running"] * 2 + ["queued"] * 3)
        gate.open()
        for task_id in ids:
            self.assertEqual(daemon.wait_state(task_id, "completed", "failed")["state"], "completed")
        spawned = gone = most = 0
        for event in daemon.events():
            spawned += event["type"] == "workerSpawned"
            gone += event["type"] == "workerExited"
            most = max(most, spawned - gone)
        self.assertLessEqual(most, 2)

    def test_an_idle_worker_ends_after_its_time(self):
        daemon = self.daemon(settings(workers={"idle_timeout": "300ms"}))
        first = daemon.run("puppet", "done()")["workerId"]
        event = daemon.wait_event("workerExited", workerId=first)
        self.assertEqual(event["reason"], "asked")
        self.assertEqual(workers(daemon), [])
        self.assertNotEqual(daemon.run("puppet", "done()")["workerId"], first)

    def test_an_idle_worker_that_does_not_go_is_made_to(self):
        stays = agent_command("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                              "say({'type':'READY'})\nt=task(); say({'type':'COMPLETE','taskId':t['taskId']})\n"
                              "while True: time.sleep(60)")
        daemon = self.daemon(settings({"stays": {"command": stays, "grace": "200ms"}}, workers={"idle_timeout": "200ms"}))
        worker = daemon.run("stays")["workerId"]
        daemon.wait_event("workerExited", workerId=worker)
        self.assertEqual(workers(daemon), [])

    def test_the_idle_worker_of_another_agent_yields(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}, workers={"max": 1}))
        first = daemon.run("puppet", "done()")
        second = daemon.run("other", "done()")
        self.assertNotEqual(first["workerId"], second["workerId"])
        self.assertEqual(daemon.wait_event("workerExited", workerId=first["workerId"])["reason"], "asked")
        self.assertLess(second["waitMs"], 5000)

    def test_a_worker_is_replaced_after_max_tasks(self):
        daemon = self.daemon(settings({"puppet": puppet(max_tasks=2)}))
        ids = [daemon.run("puppet", "done()")["workerId"] for _ in range(5)]
        self.assertEqual([len(set(ids[:2])), len(set(ids[2:4])), len(set(ids))], [1, 1, 3])

    def test_max_tasks_holds_for_a_worker_that_is_never_idle_too(self):
        daemon = self.daemon(settings({"puppet": puppet(max_tasks=3, concurrency=2)}, workers={"max": 1}))
        ids = [daemon.start("puppet", "time.sleep(0.05)\ndone()") for _ in range(7)]
        used = [daemon.wait_state(task_id, "completed")["workerId"] for task_id in ids]
        self.assertLessEqual(max(used.count(worker) for worker in used), 3)

    def test_without_the_pool_each_task_has_a_process_of_its_own(self):
        daemon = self.daemon(settings(), env={"FF_WORKER_POOL": "false"})
        ids = [daemon.run("puppet", "done(os.getpid())") for _ in range(3)]
        self.assertEqual(len({task["workerId"] for task in ids}), 3)
        self.assertEqual(len({task["result"] for task in ids}), 3)
        self.assertFalse(daemon.get("/health").json["flags"]["workerPool"])
        wait_until(lambda: not workers(daemon), "no worker is kept")

    def test_nothing_of_an_ended_worker_is_left(self):
        daemon = self.daemon(settings(workers={"idle_timeout": "100ms"}))
        before = None
        for _ in range(3):
            daemon.run("puppet", "import subprocess\nfor i in range(3): subprocess.Popen(['setsid','sleep','300'])\ndone()")
            wait_until(lambda: not workers(daemon), "the worker is gone")
            left = set(marked_processes(daemon.instance))
            before = before if before is not None else left
            self.assertEqual(left, before)
        if has_groups(daemon):
            self.assertGreaterEqual(daemon.wait_event("orphanSwept")["count"], 3)


class Crashes(E2E):
    def test_after_a_failed_start_the_next_one_waits(self):
        daemon = self.daemon(settings({"leaves": LEAVES, "puppet": puppet()}))
        task = daemon.run("leaves")
        self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "spawn_failed"))
        self.assertIn("/bin/sh", task["error"]["message"])
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)  # others need not wait
        for _ in range(2):
            self.assertEqual(daemon.run("leaves")["error"]["reason"], "spawn_failed")
        mine = [event for event in daemon.events() if event.get("agent") == "leaves"]
        starts, ends = ([datetime.datetime.fromisoformat(event["time"]) for event in mine if event["type"] == kind]
                        for kind in ("workerSpawned", "workerExited"))
        pauses = [(start - end).total_seconds() for start, end in zip(starts[1:], ends)]
        self.assertGreaterEqual(pauses[0], 0.9)
        self.assertGreaterEqual(pauses[1], 1.9)
        agents = {agent["name"]: agent for agent in daemon.get("/v1/agents").json["agents"]}
        self.assertEqual((agents["leaves"]["restarts"], agents["leaves"]["failed"]), (3, 3))

    def test_a_spent_restart_budget_holds_the_agent_back_and_nobody_else(self):
        daemon = self.daemon(settings({"leaves": LEAVES, "puppet": puppet()}, workers={"max_restarts_per_hour": 0, "max": 1}))
        self.assertEqual(daemon.run("leaves")["error"]["reason"], "spawn_failed")
        held = daemon.start("leaves", priority="critical")
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)
        time.sleep(1.5)  # longer than the pause after one bad end
        self.assertEqual(daemon.task(held)["state"], "queued")
        self.assertEqual(daemon.request("DELETE", f"/v1/tasks/{held}").status, 202)

    def test_a_good_agent_that_crashed_once_works_again(self):
        daemon = self.daemon(settings())
        self.assertEqual(daemon.run("puppet", "os.kill(os.getpid(), 11)")["error"]["reason"], "signal")
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)

    def test_commands_that_fail_are_not_held_back(self):
        daemon = self.daemon(settings({"false": {"protocol": "exec", "command": ["/bin/false"]}},
                                      workers={"max_restarts_per_hour": 1}))
        waits = [daemon.run("false")["waitMs"] for _ in range(5)]
        self.assertLess(max(waits), 1000)


class Reload(E2E):
    def change(self, daemon, config):
        daemon.write_config(config)
        return daemon.request("POST", "/v1/reload")

    def test_a_changed_command_takes_effect_at_once(self):
        one, two = ({"protocol": "exec", "command": ["echo", word]} for word in ("one", "two"))
        daemon = self.daemon(settings({"say": one}))
        self.assertEqual(daemon.run("say")["result"], "one\n")
        answer = self.change(daemon, settings({"say": two}))
        self.assertEqual(answer.status, 200)
        self.assertIn("agents.say", " ".join(answer.json["live"]))
        self.assertEqual(daemon.run("say")["result"], "two\n")
        self.assertIn("agents.say", " ".join(daemon.wait_event("configReloaded")["live"]))

    def test_sighup_reloads_too_and_warm_workers_of_a_changed_agent_end(self):
        daemon = self.daemon(settings({"puppet": puppet(env={"WHICH": "old"}), "same": puppet()}))
        old = daemon.run("puppet", "done(os.environ['WHICH'])")
        same = daemon.run("same", "done()")["workerId"]
        self.assertEqual(old["result"], "old")
        daemon.write_config(settings({"puppet": puppet(env={"WHICH": "new"}), "same": puppet()}))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_event("configReloaded")
        self.assertEqual(daemon.run("puppet", "done(os.environ['WHICH'])")["result"], "new")
        daemon.wait_event("workerExited", workerId=old["workerId"])
        self.assertEqual(daemon.run("same", "done()")["workerId"], same)

    def test_a_busy_worker_of_a_changed_agent_finishes_and_is_not_used_again(self):
        daemon = self.daemon(settings({"puppet": puppet(env={"WHICH": "old"})}, workers={"max": 1}))
        gate = Gate(daemon)
        running = daemon.start("puppet", gate.code("done(os.environ['WHICH'])"))
        daemon.wait_state(running, "running")
        self.change(daemon, settings({"puppet": puppet(env={"WHICH": "new"})}, workers={"max": 1}))
        waiting = daemon.start("puppet", "done(os.environ['WHICH'])")
        gate.open()
        self.assertEqual(daemon.wait_state(running, "completed")["result"], "old")
        self.assertEqual(daemon.wait_state(waiting, "completed")["result"], "new")

    def test_mistakes_are_all_named_and_the_old_configuration_stays(self):
        daemon = self.daemon(settings())
        before = daemon.get("/v1/config").json
        for text in ("workers: {max: 0}\nnonsense: 1\n", "", "{", "- 1\n", json.dumps(settings({"x": {"command": []}}))):
            with self.subTest(text):
                answer = self.change(daemon, text)
                if answer.status == 200:
                    self.assertEqual(text, "")  # an empty file is all defaults
                    self.change(daemon, settings())
                    continue
                self.assertEqual(answer.status, 422)
                self.assertTrue(answer.json["error"]["details"])
                self.assertEqual(daemon.get("/v1/config").json, before)
        two = self.change(daemon, "workers: {max: 0}\nnonsense: 1\n").json["error"]["details"]
        self.assertEqual(len(two), 2, two)
        self.assertTrue(all(daemon.config_file in line for line in two), two)
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)

    def test_what_needs_a_restart_is_named_and_not_changed(self):
        daemon = self.daemon(settings())
        answer = self.change(daemon, settings(ipc={"max_line": "2MiB"}, queue={"max_depth": 7}))
        self.assertEqual(answer.json["needsRestart"], ["ipc.max_line"])
        self.assertIn("queue.max_depth", answer.json["live"])
        self.assertEqual(daemon.get("/v1/queue").json["maxDepth"], 7)

    def test_more_workers_are_used_at_once(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        ids = [daemon.start("puppet", gate.code()) for _ in range(2)]
        daemon.wait_state(ids[0], "running")
        self.assertEqual(daemon.task(ids[1])["state"], "queued")
        self.change(daemon, settings(workers={"max": 2}))
        daemon.wait_state(ids[1], "running")
        gate.open()
        for task_id in ids:
            daemon.wait_state(task_id, "completed")

    def test_tasks_of_a_removed_agent_end_and_new_ones_are_refused(self):
        daemon = self.daemon(settings({"puppet": puppet(), "doomed": puppet()}, workers={"max": 1}))
        gate = Gate(daemon)
        running = daemon.start("doomed", gate.code("done('still')"))
        daemon.wait_state(running, "running")
        waiting = daemon.start("doomed")
        self.change(daemon, settings({"puppet": puppet()}, workers={"max": 1}))
        self.assertEqual(daemon.submit("doomed").json["error"]["code"], "unknown_agent")
        gate.open()
        self.assertEqual(daemon.wait_state(running, "completed", "failed")["result"], "still")
        task = daemon.wait_state(waiting, "failed")
        self.assertEqual(task["error"]["reason"], "spawn_failed")
        self.assertIn("doomed", task["error"]["message"])
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)

    def test_a_vanished_file_is_an_error_not_an_empty_configuration(self):
        daemon = self.daemon(settings())

        os.remove(daemon.config_file)
        answer = daemon.request("POST", "/v1/reload")
        self.assertEqual(answer.status, 422)
        self.assertIn(daemon.config_file, answer.body.decode())
        self.assertEqual(daemon.run("puppet", "done(1)")["result"], 1)


class Drain(E2E):
    def test_running_tasks_are_awaited_and_new_ones_refused(self):
        daemon = self.daemon(settings(workers={"max": 1}))
        gate = Gate(daemon)
        waiter = Later(daemon.submit, "puppet", gate.code("done('finished')"), wait="60s")
        wait_until(lambda: any(w["state"] == "busy" for w in workers(daemon)), "it runs")
        daemon.start("puppet")
        stream = EventStream(daemon)
        drain = Later(daemon.request, "POST", "/v1/drain?wait=60s")
        wait_until(lambda: daemon.get("/health").json["draining"], "it drains")
        refused = daemon.submit("puppet")
        self.assertEqual((refused.status, refused.json["error"]["code"]), (503, "draining"))
        self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
        self.assertEqual(daemon.get("/ready").status, 503)
        gate.open()
        self.assertEqual(waiter.result().json["result"], "finished")
        statistics = drain.result().json
        self.assertEqual((statistics["initial"], statistics["completed"], statistics["remaining"]), (2, 1, 1))
        self.assertEqual(statistics["status"], "completed")
        self.assertGreaterEqual(statistics["durationSeconds"], 0)
        types = [line for line in stream.response.read().decode().splitlines() if line.startswith("event: drain")]
        self.assertEqual(types, ["event: draining", "event: drained"])
        stream.connection.close()

    def test_a_drain_that_runs_out_of_time_says_so(self):
        daemon = self.daemon(settings())
        task_id = daemon.start("puppet", "time.sleep(300)")
        daemon.wait_state(task_id, "running")
        started = time.monotonic()
        answer = daemon.request("POST", "/v1/drain?wait=500ms")
        self.assertEqual(answer.status, 200)
        self.assertEqual((answer.json["status"], answer.json["initial"], answer.json["remaining"]), ("timed_out", 1, 1))
        self.assertGreaterEqual(answer.json["durationSeconds"], 0.5)
        self.assertLess(time.monotonic() - started, 10 * harness.PATIENCE)

    def test_a_drain_without_waiting_is_accepted_at_once(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        daemon.wait_state(daemon.start("puppet", gate.code()), "running")
        self.assertEqual(daemon.request("POST", "/v1/drain?timeout=nonsense").status, 400)
        answer = daemon.request("POST", "/v1/drain")
        self.assertEqual((answer.status, answer.json["status"]), (202, "draining"))
        gate.open()
        self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 0)

    def test_large_results_are_written_before_the_end(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        waiter = Later(daemon.submit, "puppet", gate.code("done('x' * 900000)"), wait="60s")
        wait_until(lambda: any(w["state"] == "busy" for w in workers(daemon)), "it runs")
        drain = Later(daemon.request, "POST", "/v1/drain?wait=60s")
        wait_until(lambda: daemon.get("/health").json["draining"], "it drains")
        gate.open()
        task = waiter.result().json
        self.assertEqual((task["state"], task["resultBytes"]), ("completed", 900000))
        self.assertEqual(drain.result().json["completed"], 1)
        self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 0)
        again = self.daemon(settings(), directory=daemon.dir)
        self.assertEqual(len(again.get(f"/v1/tasks/{task['taskId']}/result").body), 900000)

    def test_sigterm_waits_for_what_runs(self):
        daemon = self.daemon(settings())
        gate = Gate(daemon)
        waiter = Later(daemon.submit, "puppet", gate.code("done('finished')"), wait="60s")
        wait_until(lambda: any(w["state"] == "busy" for w in workers(daemon)), "it runs")
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: daemon.get("/health").json["draining"], "it drains")
        gate.open()
        self.assertEqual(waiter.result().json["result"], "finished")
        self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 0)

    def test_a_second_sigterm_ends_it_at_once(self):
        daemon = self.daemon(settings())
        task_id = daemon.start("puppet", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(300)")
        daemon.wait_state(task_id, "running")
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: daemon.get("/health").json["draining"], "it drains")
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.process.wait(10 * harness.PATIENCE), 0)

    def test_a_second_sigterm_does_not_wait_for_a_long_grace(self):
        deaf = agent_command("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay({'type':'READY'})\ntime.sleep(300)")
        daemon = self.daemon(settings({"deaf": {"command": deaf, "grace": "5m"}}))
        daemon.wait_state(daemon.start("deaf"), "running")
        for _ in range(2):
            daemon.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)  # two signals that are pending at once are one
        self.assertEqual(daemon.process.wait(10 * harness.PATIENCE), 0)

    def test_an_idle_supervisor_ends_quickly(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "done()")
        started = time.monotonic()
        self.assertEqual(daemon.terminate(), 0)
        self.assertLess(time.monotonic() - started, 5 * harness.PATIENCE)


if __name__ == "__main__":
    unittest.main()
