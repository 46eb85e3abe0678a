#!/usr/bin/env python3
"""Memory that misbehaves: groups that vanish, readings that hang or jump, pauses, budgets that shrink, and the end of the supervisor
when there was nothing left to give. Whatever it is, nobody is harmed who did nothing, and the supervisor says what is wrong."""

RUNS_IN_VM = True

import contextlib
import ctypes
import glob
import json
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness
from harness import MIB, PATIENCE, PYTHON, agent_command, group_dirs, marked_processes, wait_until
import level
from level import BALLOON, Balloon, LevelE2E, Scale, at_each_level, memory, with_cgroups
from puppet import Gate

# A sanitized supervisor takes 80 MiB more of it.
OWN = harness.own_extra()
BUDGET = 320 + OWN

ECHO = agent_command("""
say({'type':'READY','protocol':1,'name':'echo'})
while True:
 t=task()
 say({'type':'COMPLETE','taskId':t['taskId'],'result':t['payload']})
""")


def balloon(**fields):
    return {"protocol": "jsonl", "command": BALLOON, "grace": "1s", **fields}


def jsonl(script, **fields):
    return {"protocol": "jsonl", "command": agent_command(script), "grace": "1s", **fields}


class Misbehaving(LevelE2E):
    def config(self, agents, budget=BUDGET, cap=None, workers=4, queue=100, **memory_fields):
        cap = f"{cap or budget}MiB"
        return {
            "memory": {"budget": f"{budget}MiB", **memory_fields},
            "workers": {"max": workers, "memory_limit": cap, "memory_warning": cap},
            "queue": {"max_depth": queue, "limits": dict.fromkeys(["critical", "high", "normal", "low", "heartbeat"], queue)},
            "circuit_breakers": {"failures": 1000},
            "admission": "none",
            "agents": {"echo": {"protocol": "jsonl", "command": ECHO}, **agents},
        }

    def misbehaving(self, agents, **fields):
        return self.daemon(self.config(agents, **fields))

    def health(self, daemon):
        """Its answer, which must not be long in coming."""
        began = time.monotonic()
        health = daemon.get("/health").json
        self.assertLess(time.monotonic() - began, 3 * PATIENCE)
        return health

    def troubles(self, daemon):
        return " ".join(self.health(daemon)["troubles"])

    def happened(self, daemon, *types):
        return [event for event in daemon.events() if event["type"] in types]


# Calls vfork's clone with a child that does nothing but sleep in its parent's memory, and holds much meanwhile.
VFORK = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
CLONE_VM, CLONE_VFORK = 0x100, 0x4000
say({'type':'READY','protocol':1,'name':'vfork'})
t = task()
held = hold(t['payload']['mib'])
stack = (ctypes.c_char * 65536)()
top = ctypes.c_void_p((ctypes.addressof(stack) + 65536) & ~15)
say({'type':'PROGRESS','taskId':t['taskId'],'percent':10})
child = libc.clone(ctypes.cast(libc.sleep, ctypes.c_void_p), top, CLONE_VM | CLONE_VFORK | signal.SIGCHLD, ctypes.c_void_p(t['payload']['seconds']))
os.waitpid(child, 0)
say({'type':'COMPLETE','taskId':t['taskId'],'result':child})
"""


@at_each_level
class Jumps(Misbehaving):
    def test_a_process_that_is_counted_twice_while_it_is_in_vfork_costs_nobody_his_task(self):
        daemon = self.misbehaving({"vfork": jsonl(VFORK)})
        task = daemon.start("vfork", {"mib": int(0.55 * (BUDGET - OWN)), "seconds": 3})
        done = daemon.wait_state(task, "completed", "failed")
        self.assertEqual((done["state"], done["preemptions"]), ("completed", 0), done)
        self.assertGreater(done["runMs"], 2900)
        self.assertEqual(self.happened(daemon, "taskPreempted"), [])
        self.assertEqual([e for e in self.happened(daemon, "thresholdCrossed") if e["threshold"] == "kill"], [])


FAMILY = "import subprocess, time\nsubprocess.Popen(['sleep', '611'])\ntime.sleep(611)"


@with_cgroups
class Vanishing(Misbehaving):
    """Somebody moves a worker's processes out of its group, and removes it."""

    def directories(self, daemon, worker):
        return [path for top in group_dirs(daemon.instance) for path in glob.glob(os.path.join(top, "workers", worker))]

    def move_out(self, daemon, worker):
        for directory in self.directories(daemon, worker):
            leaf = os.path.join(directory, "..", "..", "supervisor")
            target = leaf if os.path.exists(leaf) else os.path.join(directory, "..")
            if os.path.exists(os.path.join(directory, "cgroup.procs")):
                with open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as file:
                    for pid in file.read().split():
                        with open(os.path.join(target, "cgroup.procs"), "w", encoding="ascii") as procs:
                            procs.write(pid)

    def taken_away(self, daemon, worker):
        self.move_out(daemon, worker)
        for directory in self.directories(daemon, worker):
            os.rmdir(directory)

    def test_a_worker_without_its_group_is_ended_and_its_task_runs_again_in_another(self):
        daemon = self.misbehaving({"small": balloon()})
        gate = Gate(daemon)
        other = Balloon(daemon, "small", payload={"mib": 8})
        task = Balloon(daemon, "small", payload={"mib": 8, "count": 100, "step_ms": 5, "pause": [50, gate.path]})
        worker, bystander = task.worker(), other.worker()
        self.taken_away(daemon, worker["workerId"])
        sent_back = daemon.wait_event("taskPreempted", taskId=task.id)
        self.assertEqual(sent_back["reason"], "group_lost")
        ended = daemon.wait_event("workerExited", workerId=worker["workerId"])
        self.assertEqual(ended["reason"], "group_lost")
        self.assertFalse(level.is_alive(worker["pid"]))
        self.assertEqual(daemon.metric("kurultai_workers_exited_total", reason="group_lost"), 1)
        gate.open()
        done = daemon.wait_state(task.id, "completed")
        self.assertEqual((done["result"]["sum"], done["attempt"], done["preemptions"]), (100 * 101 // 2, 1, 1))
        self.assertNotEqual(done["workerId"], worker["workerId"])
        self.assertEqual(other.worker()["pid"], bystander["pid"], "nobody else was touched")
        self.assertTrue(self.is_well(daemon))
        other.end()
        daemon.wait_state(other.id, "completed")

    def test_one_that_was_only_moved_out_can_still_be_stopped_with_all_it_started(self):
        daemon = self.misbehaving({"family": {"protocol": "exec", "command": [PYTHON, "-c", FAMILY], "grace": "300ms"}})
        task = daemon.start("family")
        daemon.wait_state(task, "running")
        worker = level.worker_of(daemon, "family")
        mine = lambda: [pid for pid in marked_processes(daemon.instance) if pid in level.with_word("611")]
        wait_until(lambda: len(mine()) >= 2, "the command runs")
        family = mine()
        self.move_out(daemon, worker["workerId"])
        daemon.request("DELETE", f"/v1/tasks/{task}")
        daemon.wait_state(task, "cancelled", timeout=15)
        wait_until(lambda: not any(level.is_alive(pid) for pid in family), "they are gone", 5)
        self.assertEqual(daemon.run("echo", 1)["result"], 1)

    def test_it_does_not_hold_up_the_end(self):
        daemon = self.misbehaving({"small": balloon()})
        task = Balloon(daemon, "small", payload={"mib": 8})
        pid = task.worker()["pid"]
        self.taken_away(daemon, task.worker()["workerId"])
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(daemon.process.wait(15 * PATIENCE), 0)
        self.assertFalse(level.is_alive(pid))


class StoppedThreads:
    """Threads of a process, held by ptrace as a kernel holds who waits for a lock: all but its first and that of the journal."""

    SEIZE, INTERRUPT, DETACH, ALL_CHILDREN = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, pid):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long
        self.threads = [int(name) for name in os.listdir(f"/proc/{pid}/task") if int(name) != pid and self.name_of(pid, name) != "journal"]

    def __enter__(self):
        held = []
        try:
            for thread in self.threads:
                self.call(self.SEIZE, thread)
                held.append(thread)
                self.call(self.INTERRUPT, thread)
                os.waitpid(thread, self.ALL_CHILDREN)
        finally:
            self.threads = held
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            self.call(self.DETACH, thread)

    @staticmethod
    def name_of(pid, thread):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as file:
            return file.read().strip()

    def call(self, request, thread):
        if self.libc.ptrace(request, thread, None, None) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"ptrace: {os.strerror(number)}")


class BlockedProbe(Misbehaving):
    level = "rlimit"  # elsewhere a reading is no matter for a thread

    def test_a_reading_that_hangs_is_said_so_and_holds_up_nobody(self):
        daemon = self.misbehaving({"small": balloon()}, check_interval="100ms")
        task = Balloon(daemon, "small", payload={"mib": 8})
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(StoppedThreads(daemon.pid))
            except OSError as error:
                self.skipTest(f"NOT TESTED: {error}")
            wait_until(lambda: "memory cannot be read: a reading has not ended in 3s" in self.troubles(daemon), "it says so", 10)
            answer = daemon.get("/health")
            self.assertEqual((answer.status, answer.json["status"]), (503, "degraded"))  # nobody can be made to give way
            self.assertEqual(daemon.run("echo", "works on")["result"], "works on")
            before = memory(daemon)["time"]
            self.assertEqual(memory(daemon)["time"], before, "an old reading is shown as what it is")
        wait_until(lambda: self.is_well(daemon), "it reads again", 10)
        wait_until(lambda: memory(daemon)["time"] > before, "and that is shown")
        task.end()
        self.assertEqual(daemon.wait_state(task.id, "completed")["preemptions"], 0)


CHATTY = """
say({'type':'READY','protocol':1,'name':'chatty'})
t = task()
n = 0
while not os.path.exists(t['payload']):
 n += 1
 say({'type':'PROGRESS','taskId':t['taskId'],'percent':n % 100,'message':str(n)})
 time.sleep(0.1)
say({'type':'COMPLETE','taskId':t['taskId'],'result':n})
task()
"""

# A shell, which is there at once on an emulated machine too.
SLOW_START = r"""
read hello
sleep 1
echo '{"type":"READY","protocol":1,"name":"slow"}'
read task
id=${task#*'"taskId":"'}
echo '{"type":"COMPLETE","taskId":"'${id%%'"'*}'","result":"there"}'
read end
"""

QUICK = """
say({'type':'READY','protocol':1,'name':'quick'})
t = task()
say({'type':'PROGRESS','taskId':t['taskId'],'percent':1})
time.sleep(1)
say({'type':'COMPLETE','taskId':t['taskId'],'result':'in time'})
task()
"""


@at_each_level
class Pauses(Misbehaving):
    """The whole supervisor stands still for a while: its machine was busy, or somebody stopped it."""

    def test_nobody_pays_for_a_pause_of_the_supervisor(self):
        pause = 4 * PATIENCE
        short = f"{2000 * PATIENCE:.0f}ms"
        daemon = self.misbehaving({
            "important": balloon(preemptable=False), "small": balloon(),
            "chatty": jsonl(CHATTY, stall_timeout=short), "slow": {"protocol": "jsonl", "command": ["sh", "-c", SLOW_START], "grace": "1s", "start_timeout": short}, "quick": jsonl(QUICK, timeout=short),
        }, workers=8)
        important = Balloon(daemon, "important", priority="critical")
        scale = Scale(daemon, important)
        small = Balloon(daemon, "small", priority="low", payload={"mib": 20})
        gate = Gate(daemon)
        chatty = daemon.start("chatty", gate.path)
        wait_until(lambda: daemon.task(chatty)["progress"], "it talks")
        scale.bring_to(0.78)
        slow = daemon.start("slow")
        quick = daemon.start("quick")
        wait_until(lambda: daemon.task(quick)["progress"], "it has begun")
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(pause)  # what is tested is that this time passes
        daemon.process.send_signal(signal.SIGCONT)
        for task, result in ((slow, "there"), (quick, "in time")):
            done = daemon.wait_state(task, "completed", "failed")
            self.assertEqual((done["state"], done.get("result"), done["attempt"], done["preemptions"]), ("completed", result, 1, 0), done)
        self.assertEqual([daemon.task(task)["state"] for task in (chatty, small.id, important.id)], ["running"] * 3)
        gate.open()
        daemon.wait_state(chatty, "completed")
        self.assertEqual(self.happened(daemon, "taskPreempted", "taskFailed"), [])
        self.assertEqual(daemon.run("echo", "still there")["result"], "still there")
        self.assertTrue(self.is_well(daemon))
        for one in (small, important):
            one.end()
            self.assertEqual(daemon.wait_state(one.id, "completed")["preemptions"], 0)


@at_each_level
class Lowered(Misbehaving):
    """A reload asks for less than is used."""

    LOW = 190 + OWN

    def reload(self, daemon, config):
        daemon.write_config(config)
        return daemon.request("POST", "/v1/reload")

    def lowering(self, **fields):
        """Two tasks at work, of which one can stay when the budget is `LOW`."""
        agents = {"keeps": balloon(preemptable=False), "gives": balloon(**fields)}
        daemon = self.daemon({**self.config(agents, cap=180), "admission": "footprint"})
        keeps = Balloon(daemon, "keeps", priority="high", payload={"mib": 60})
        gate = Gate(daemon)
        payload = {"mib": 110, "count": 100, "step_ms": 5, "pause": [50, gate.path]}
        gives = Balloon(daemon, "gives", priority="low", payload={**payload, **({"on_preempt": "ignore"} if fields else {})})
        lower = {**self.config(agents, budget=self.LOW, cap=180), "admission": "footprint"}
        return daemon, keeps, gives, gate, lower

    def is_limited(self, daemon):
        if not self.caps_hold:
            return True
        for name in ("memory.limit_in_bytes", "memory.max"):
            path = level.groups_file(daemon.instance, name)
            if path:
                with open(path, encoding="ascii") as file:
                    return int(file.read()) <= (self.LOW - 16) * MIB
        return False

    def test_it_is_come_down_to_by_the_ladder(self):
        daemon, keeps, gives, gate, lower = self.lowering()
        self.assertEqual(self.reload(daemon, lower).status, 200)
        sent_back = daemon.wait_event("taskPreempted", taskId=gives.id)
        self.assertEqual(sent_back["reason"], "preempt", "asked, not killed")
        receipt = daemon.get(f"/v1/tasks/{gives.id}/why").json["decisions"][0]
        self.assertEqual((receipt["action"], receipt["reading"]["lowered"]), ("preempt", True))
        self.assertEqual(receipt["reading"]["budgetBytes"], self.LOW * MIB)
        self.assertGreaterEqual(receipt["reading"]["ratio"], 0.95)
        wait_until(lambda: self.is_well(daemon) and memory(daemon)["ratio"] < 0.85, "it is as it should be")
        wait_until(lambda: self.is_limited(daemon), "the kernel knows the new limit", 10)
        self.assertEqual((keeps.task["state"], keeps.task["preemptions"]), ("running", 0))
        self.assertEqual(gives.task["state"], "queued", "it does not fit beside the other any more")
        gate.open()
        keeps.end()
        done = daemon.wait_state(gives.id, "completed")
        self.assertEqual((done["result"]["sum"], done["attempt"], done["preemptions"]), (100 * 101 // 2, 1, 1))

    def test_one_that_does_not_answer_gets_its_grace_and_all_others_are_answered_meanwhile(self):
        daemon, keeps, gives, _, lower = self.lowering(grace="2s")
        self.assertEqual(self.reload(daemon, lower).status, 200)
        said = []
        def gave_way():
            said.append(self.troubles(daemon))
            return gives.task["preemptions"] == 1
        wait_until(gave_way, "it has given way", 20)
        self.assertTrue(any("more is used than the budget of" in one and "since it was lowered" in one for one in said), said[:3])
        self.assertIn("tasks have to give way: the budget is", daemon.log_text())
        sent_back = daemon.wait_event("taskPreempted", taskId=gives.id)
        self.assertEqual(sent_back["reason"], "preempt")
        self.assertGreaterEqual(sent_back["reactionMs"], 1900)
        wait_until(lambda: self.is_well(daemon), "nothing is wrong any more")
        self.assertEqual((keeps.task["state"], keeps.task["preemptions"]), ("running", 0))

    def test_what_cannot_be_preempted_is_killed_when_the_time_is_over(self):
        daemon, keeps, gives, _, lower = self.lowering(grace="100ms", preemptable=False)
        self.assertEqual(self.reload(daemon, lower).status, 200)
        sent_back = daemon.wait_event("taskPreempted", taskId=gives.id, timeout=30)
        self.assertEqual(sent_back["reason"], "kill")
        self.assertEqual((keeps.task["state"], keeps.task["preemptions"]), ("running", 0))

    def test_thresholds_in_the_wrong_order_are_one_line_and_change_nothing(self):
        daemon = self.misbehaving({"small": balloon()})
        before = daemon.get("/v1/memory").json["thresholds"]
        wrong = self.config({"small": balloon()}, thresholds={"preempt": 0.95, "reject": 0.9, "kill": 0.99})
        answer = self.reload(daemon, wrong)
        self.assertEqual((answer.status, answer.json["error"]["code"]), (422, "invalid_config"))
        details = answer.json["error"]["details"]
        self.assertEqual(len(details), 1, details)
        self.assertRegex(details[0], r"memory\.yaml:\d+:\d+: memory\.thresholds\.reject: 0\.9 must be above memory\.thresholds\.preempt, 0\.95")
        said = harness.client(daemon, "reload")
        self.assertEqual((said.returncode, said.stdout), (2, ""))
        self.assertIn("memory.thresholds.reject: 0.9 must be above", said.stderr)
        self.assertEqual(daemon.get("/v1/memory").json["thresholds"], before)
        self.assertEqual(daemon.run("echo", 1)["result"], 1)


@at_each_level
class Crowds(Misbehaving):
    COUNT = 10_000 if PATIENCE < 5 else 1_000  # requests take ten times as long on an emulated processor

    def requests(self, daemon, calls):
        """Statuses and bodies of many requests over one connection."""
        connection = harness._UnixConnection(daemon.socket, 60 * PATIENCE)
        try:
            for method, path, body in calls:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                yield response.status, response.read()
        finally:
            connection.close()

    def test_thousands_of_tasks_are_cancelled_while_some_are_being_preempted(self):
        daemon = self.misbehaving({"important": balloon(preemptable=False), "small": balloon(grace="4s")}, queue=20_000, workers=4)
        important = Balloon(daemon, "important", priority="critical")
        scale = Scale(daemon, important)
        running = [Balloon(daemon, "small", priority="low", payload={"mib": 20, "on_preempt": "ignore"}) for _ in range(3)]
        body = json.dumps({"agent": "small", "priority": "low", "payload": {}})
        tasks = [one.id for one in running]
        for status, answer in self.requests(daemon, [("POST", "/v1/tasks", body)] * (self.COUNT - 3)):
            self.assertEqual(status, 202, answer)
            tasks.append(json.loads(answer)["taskId"])
        scale.bring_to(0.80)
        asked = lambda: sum(b"preempt with" in daemon.get(f"/v1/tasks/{one.id}/logs").body for one in running)
        scale.aim_until(0.88, asked)
        for status, answer in self.requests(daemon, [("DELETE", f"/v1/tasks/{task}", None) for task in tasks]):
            self.assertEqual(status, 202, answer)
        cancelled = lambda: daemon.metric("kurultai_tasks_finished_total", agent="small", state="cancelled", reason="cancelled")
        wait_until(lambda: cancelled() == self.COUNT, f"all are cancelled, of {self.COUNT}", 30)
        queue = daemon.get("/v1/queue").json
        self.assertEqual((queue["depth"], queue["returned"]), (0, 0))
        self.assertEqual([e for e in self.happened(daemon, "taskPreempted")], [], "nobody was sent back who was cancelled")
        wait_until(lambda: level.worker_of(daemon, "small") is None or memory(daemon)["ratio"] < 0.85, "their memory is back", 20)
        self.assertEqual((important.task["state"], important.task["preemptions"]), ("running", 0))
        scale.bring_to(0.65)  # not lower: a sanitized supervisor that has seen so many tasks is half of the budget
        self.assertEqual(daemon.run("echo", "next")["result"], "next")
        important.end()


@with_cgroups
class Exhausted(Misbehaving):
    """There is nothing left to give, and nobody who could be made to give way: all that grow wait at their edges."""

    def exhausted(self):
        daemon = self.misbehaving({"greedy": balloon(protect=True)})
        for _ in range(2):
            Balloon(daemon, "greedy", start=False, payload={"grow": [4, 1, 2 * BUDGET]})
        charges = []
        def waits():
            charges.append(level.charge(daemon.instance) or 0)
            if charges[-1] < 0.85 * (BUDGET - 16 - OWN) * MIB:
                return False
            # Version 2 does not stop those who grow, it slows them down.
            return self.level == "cgroup2" or (len(charges) > 50 and max(charges[-50:]) - min(charges[-50:]) < 4 * MIB)
        wait_until(waits, "both wait for memory", 40)
        return daemon

    def test_that_they_wait_is_told_until_one_of_them_has_ended(self):
        if self.level == "cgroup2":
            self.skipTest("version 2 slows them down and stops nobody: they come to the backstop, and the kernel takes one")
        daemon = self.exhausted()
        def waits():
            return "workers wait for memory, and nobody" in self.troubles(daemon)
        wait_until(waits, "it is told", 30)
        daemon.request("DELETE", f"/v1/tasks/{daemon.get('/v1/tasks?state=running').json['tasks'][0]['taskId']}")
        # The other grows on, up to the same edge.
        wait_until(lambda: not waits(), "it is taken back", 30)

    def test_a_supervisor_that_is_killed_then_leaves_nothing_and_the_next_one_works(self):
        daemon = self.exhausted()
        self.assertEqual(self.health(daemon)["pid"], daemon.pid, "it answers")
        instance = daemon.instance
        daemon.kill()
        wait_until(lambda: not marked_processes(instance) and not group_dirs(instance), "all processes and groups are gone", 3)
        with open(daemon.config_file, encoding="utf-8") as file:
            after = self.daemon(file.read(), directory=daemon.dir)
        self.assertEqual(after.instance, instance)
        self.assertEqual(after.run("echo", "works")["result"], "works")
        self.assertTrue(self.is_well(after))


if __name__ == "__main__":
    unittest.main()
