#!/usr/bin/env python3
"""An unprivileged user's supervisor inside a group of cgroup v2 that was handed to him the way systemd's Delegate= does
it: the directory, cgroup.procs, cgroup.threads and cgroup.subtree_control are his, the group's own limits are not."""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import start

HANDED_OVER = start.GROUPS / "handed-over"
HIS = ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control")
BECOME = f"import os, sys; os.setgroups([]); os.setgid({start.USER}); os.setuid({start.USER}); os.execv(sys.argv[1], sys.argv[1:])"
AS_USER = f'exec {start.harness.PYTHON} -c "{BECOME}" "$@"'


def remove_tree(group):
    for child in group.iterdir():
        if child.is_dir():
            remove_tree(child)
    group.rmdir()


@unittest.skipUnless(start.IS_VERSION_2 and os.geteuid() == 0, "needs cgroup v2, and root to hand a group over")
class DelegationTest(start.harness.E2E):
    def hand_over(self):
        (start.GROUPS / "cgroup.subtree_control").write_text("+memory +pids")
        HANDED_OVER.mkdir()
        self.addCleanup(remove_tree, HANDED_OVER)
        for name in HIS:
            os.chown(HANDED_OVER / name, start.USER, start.USER)
        return start.started_by(self, f"echo $$ > {HANDED_OVER}/cgroup.procs\n{AS_USER}")

    def test_a_user_gets_the_guarantee_of_cgroup2_in_his_own_group(self):
        daemon = self.hand_over()
        health = daemon.get("/health").json
        self.assertEqual(health["guarantee"], "cgroup2", health)
        supervisor = pathlib.Path(f"/proc/{daemon.pid}/cgroup").read_text()
        self.assertTrue(supervisor.startswith("0::/handed-over/"), supervisor)  # in a leaf, not in the group itself
        self.assertEqual(os.stat(f"/proc/{daemon.pid}").st_uid, start.USER)

    def test_his_workers_run_as_him_in_groups_below_it(self):
        task = self.hand_over().run("where")
        self.assertEqual(task["state"], "completed", task)
        uid, group = task["result"].split()
        self.assertEqual(uid, str(start.USER))
        self.assertTrue(group.startswith("0::/handed-over/"), group)

    def test_a_leak_of_his_dies_of_its_cap(self):
        daemon = self.hand_over()
        task = daemon.run("leak")
        self.assertEqual((task["state"], task["error"]["reason"]), ("failed", "memory_cap"), task)
        self.assertEqual(daemon.get("/health").status, 200)

    def test_his_guardian_clears_his_group_when_the_supervisor_is_killed(self):
        daemon = self.hand_over()
        instance = daemon.instance
        daemon.wait_state(daemon.start("sleep"), "running")
        self.assertNotEqual(start.harness.group_dirs(instance), [])
        daemon.kill()
        left = lambda: start.harness.group_dirs(instance) + start.harness.marked_processes(instance)
        start.harness.wait_until(lambda: not left(), "his groups and processes are gone", 3)

    def test_without_a_group_of_his_own_the_guarantee_is_less_and_says_why(self):
        daemon = start.started_by(self, AS_USER)
        health = daemon.get("/health").json
        self.assertEqual(health["guarantee"], "rlimit", health)
        self.assertIn("Permission denied", health["explanation"])


if __name__ == "__main__":
    unittest.main()
