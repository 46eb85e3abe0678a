"""Hostile agents: what each does, and what the user sees of it. How they are run is in stage.py, the words that
programs may use in agent.py; @SUPERVISOR@, @GUARDIAN@, @HOST@ and @SIBLING@ are process ids, @STATE@ and @SOCKET@ paths of
the supervisor, @HELD@ is the id of the task that the sibling, a good agent, has all the time, @DIR@ a directory.

`user: own` has the supervisor's rights, root's in these tests; all others a uid of their own (`user: auto`).
"""
import dataclasses
import glob
import os
import re
from typing import Any

REFUSED = ("EPERM", "EACCES", "ESRCH", "ENOENT", "EROFS")
ERRORS = (*REFUSED, "EAGAIN", "EMFILE", "ENOSPC")


@dataclasses.dataclass
class Row:
    name: str
    program: str
    state: str = "completed"  # what the user sees: the task's state,
    reason: str = ""          # its error's reason,
    says: str = ""            # words of its error's message,
    result: Any = None        # and its result, or a function of it that says whether it is right
    loud: bool = False        # goes on until it is cancelled; the neighbour's latency is measured meanwhile
    cancel: bool = False      # is cancelled once it says PROGRESS
    user: str = "auto"
    protocol: str = "jsonl"
    agent: dict = dataclasses.field(default_factory=dict)   # further settings
    fields: dict = dataclasses.field(default_factory=dict)  # further fields of the task
    trouble: str = ""         # what /health has to say of it
    after: Any = None         # function of (stage, task): what else has to be true; raises AssertionError


def refused(result):
    """Every attempt was answered by the kernel with a no."""
    answers = result if isinstance(result, list) else [result]
    return bool(answers) and all(answer in REFUSED for answer in answers)


CAP = {"memory_limit": "48MiB"}
MEMORY = [
    Row("touches more than its cap", "hold(200)", "failed", "memory_cap", "48MiB", agent=CAP),
    Row("touches more than its cap in many processes",
        "for i in range(8): child(lambda: (hold(16), time.sleep(60)))\ntime.sleep(60)", "failed", "memory_cap", "48MiB", agent=CAP),
    Row("fills a memfd", "fd = os.memfd_create('hog')\nwhile True: os.write(fd, b'x' * MIB)", "failed", "memory_cap", "48MiB",
        agent=CAP),
    Row("fills /dev/shm", "with open('/dev/shm/kurultai-hostile', 'wb', 0) as hog:\n while True: hog.write(b'x' * MIB)",
        "failed", "memory_cap", "48MiB", agent=CAP, after=lambda stage, task: stage.nothing_in_memory()),
    Row("fills System V shared memory and gives it to root",
        "libc.shmat.restype = ctypes.c_void_p\nkey = call('shmget', 0, ctypes.c_size_t(200 * MIB), 0o1600)\n"
        "at = libc.shmat(key, None, 0)\n"
        "for offset in range(0, 200 * MIB, 4096): ctypes.memset(at + offset, 1, 1)",
        "failed", "memory_cap", "48MiB", agent=CAP, after=lambda stage, task: stage.nothing_in_memory()),
    Row("leaves files, a queue, semaphores and a segment in memory",
        "os.makedirs('/dev/shm/kurultai-hostile-left/deep/er')\nwrite('/dev/shm/kurultai-hostile-left/deep/er/file', 'x' * 20 * MIB)\n"
        "os.chmod('/dev/shm/kurultai-hostile-left/deep', 0)\nos.symlink('/etc/passwd', '/dev/shm/kurultai-hostile-link')\n"
        "call('shmget', 0, ctypes.c_size_t(MIB), 0o1600)\ncall('msgget', 0, 0o1600)\ncall('semget', 0, 4, 0o1600)\ndone('left')",
        result="left", agent={"max_tasks": 1}, after=lambda stage, task: stage.nothing_in_memory()),
    Row("maps a terabyte and touches none of it",
        "done(len(mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)) >> 40)", result=1, agent=CAP),
    Row("fills its private /tmp", "done(refusal(lambda: write('/tmp/hog', 'x' * 64 * MIB)))", result="ENOSPC",
        agent={"tmp": {"private": True, "size": "8MiB"}}),
    Row("makes files without content in its private /tmp",
        "def many():\n for n in range(100000): write('/tmp/%d' % n, '')\ndone(refusal(many))", result="ENOSPC",
        agent={"tmp": {"private": True, "size": "2MiB"}}),
    Row("grows pipes and sockets as far as it may",
        "kept = []\ndef fill():\n while True:\n  pipe = os.pipe2(os.O_NONBLOCK)\n  kept.extend(pipe)\n  fcntl.fcntl(pipe[1], 1031, MIB)\n"
        "  os.write(pipe[1], b'x' * MIB)\ndone(refusal(fill))",
        result=lambda error: error in ("EPERM", "EMFILE", "ENOMEM"), agent={"memory_limit": "200MiB"}),
]

PROCESSES = [
    Row("forks until it may not", "def bomb():\n while True: child(lambda: time.sleep(60))\ndone(refusal(bomb))", result="EAGAIN",
        agent={"max_processes": 16}),
    Row("is a fork bomb, and its children are too",
        "about('PROGRESS', percent=1)\nwhile True:\n try: os.fork()\n except OSError: time.sleep(0.01)", "cancelled", cancel=True,
        agent={"max_processes": 32}),
    Row("makes zombies by the thousand", "for n in range(1000): child(lambda: None)\ndone('z' * 3)", result="zzz",
        agent={"max_processes": 2000}),
    Row("leaves in the middle, again and again", "os._exit(0)", "cancelled", cancel=True, fields={"retries": 1000},
        after=lambda stage, task: stage.assert_paused(task)),
    Row("stops itself", "os.kill(os.getpid(), signal.SIGSTOP)", "failed", "timeout", fields={"timeout": "400ms"}),
    Row("stops all of its group and ignores every signal",
        "for number in set(range(1, 65)) - {9, 19, 32, 33}: signal.signal(number, signal.SIG_IGN)\n"
        "about('PROGRESS', percent=1)\nos.kill(0, signal.SIGSTOP)\nwhile True: time.sleep(1)", "cancelled", cancel=True),
    Row("leaves a daemon of a double fork that ignores signals",
        "def daemon():\n os.setsid()\n if os.fork(): os._exit(0)\n for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
        " for fd in (0, 1, 2): os.close(fd)\n time.sleep(600)\nos.waitpid(child(daemon), 0)\ndone('left')",
        result="left", protocol="exec"),
    Row("asks for no signal when its parent ends, and adopts orphans",
        "call('prctl', 1, 0)\ncall('prctl', 36, 1)\ncall('prctl', 4, 0)\nchild(lambda: (os.setsid(), time.sleep(600)))\n"
        "about('PROGRESS', percent=1)\nwhile True: time.sleep(1)", "cancelled", cancel=True),
    Row("kills all that it may", "os.kill(-1, signal.SIGKILL)\ndone('alone')", result="alone"),
    Row("kills its process group", "os.killpg(0, signal.SIGKILL)", "failed", "signal", protocol="exec"),
    Row("kills the supervisor, its guardian, its host and its sibling",
        "done([refusal(lambda: os.kill(pid, signal.SIGKILL)) for pid in (@SUPERVISOR@, @GUARDIAN@, @SIBLING@)])", result=refused),
    Row("traces the supervisor and its sibling, and looks into them",
        "who = (@SUPERVISOR@, @GUARDIAN@, @SIBLING@)\n"
        "done([refusal(lambda: call('ptrace', 0x4206, pid, 0, 0)) for pid in who] +\n"
        "     [refusal(lambda: open('/proc/%d/%s' % (pid, name)).read()) for pid in who for name in ('mem', 'environ', 'maps')] +\n"
        "     [refusal(lambda: os.readlink('/proc/%d/fd/1' % pid)) for pid in who])", result=refused),
    Row("has a name that looks like a line of /proc/PID/stat",
        "call('prctl', 15, b'x) Z 1 1\\n(y')\nblock = hold(20)\nabout('PROGRESS', percent=1)\ntime.sleep(600)", "cancelled", cancel=True),
    Row("runs a program with as many words as the kernel takes",
        "os.execve(sys.executable, [sys.executable, '-c', 'print(7, end=\"\")'] + ['x' * 100000] * 8, {'X%d' % n: 'y' * 100000 for n in range(8)})",
        result="7", protocol="exec"),
    Row("sleeps in a hundred threads, for a millisecond each",
        "def nap():\n while True: time.sleep(0.001)\nfor n in range(100): threading.Thread(target=nap, daemon=True).start()\n"
        "until('CANCEL')\nfail('cancelled')", "cancelled", loud=True),
]

RIGHTS = [
    Row("moves itself to another group", "done([refusal(lambda: write(place + '/cgroup.procs', '0')) for place in (outside_group(), own_group())])",
        result=refused),
    Row("raises its own limits",
        "done([refusal(lambda: write(own_group() + '/' + name, '1000000000')) for name in ('memory.limit_in_bytes', 'memory.max', 'memory.high')] +\n"
        "     [refusal(lambda: write(path, 'max')) for path in (own_group().replace('/memory/', '/pids/') + '/pids.max',)])", result=refused),
    Row("raises its rlimits",
        "def more(what): resource.setrlimit(what, (resource.getrlimit(what)[1] + 1,) * 2)\n"
        "def try_core():\n try: resource.setrlimit(resource.RLIMIT_CORE, (1, 1))\n except ValueError: raise OSError(errno.EPERM, 'core')\n"
        "done([refusal(try_core)])", result=refused),
    Row("makes itself the last to be killed", "done([refusal(lambda: write('/proc/self/oom_score_adj', n)) for n in ('-1000', '-1')])",
        result=refused),
    Row("becomes root, and more important",
        "done([refusal(lambda: os.setuid(0)), refusal(lambda: os.setgroups([0])), refusal(lambda: os.nice(-20)),\n"
        "      refusal(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))])", result=refused),
    Row("looks for what the supervisor keeps",
        "def connect():\n with socket.socket(socket.AF_UNIX) as s: s.connect('@SOCKET@')\n"
        "done([refusal(lambda: os.listdir('@STATE@')), refusal(lambda: open('@STATE@/token').read()), refusal(connect),\n"
        "      refusal(lambda: open('@STATE@/journal.db').read()), refusal(lambda: os.listdir('@STATE@/payloads')),\n"
        "      refusal(lambda: write('/proc/sysrq-trigger', 'h')), refusal(lambda: open('/proc/@SUPERVISOR@/fd/1').read())])", result=refused),
    Row("goes to other workers' homes",
        "base = os.path.dirname(os.path.dirname(os.path.dirname(os.environ['HOME'])))\n"
        "done([refusal(lambda: os.listdir(base)), refusal(lambda: os.mkdir(base + '/mine')),\n"
        "      refusal(lambda: os.symlink('/etc', os.path.dirname(os.environ['HOME']) + '/tmp')),\n"
        "      refusal(lambda: os.rename(os.environ['HOME'], os.environ['HOME'] + '2'))])", result=refused, agent={"home": "private"}),
    Row("moves itself to another group, as root", "write(outside_group() + '/cgroup.procs', '0')\nblock = hold(100)\ntime.sleep(600)",
        "failed", "protocol_error", "has left its memory group", user="own", agent=CAP),
    Row("moves a command to another group, as root", "write(outside_group() + '/cgroup.procs', '0')\ntime.sleep(600)",
        "failed", "protocol_error", "has left its memory group", user="own", protocol="exec"),
    Row("submits a task itself, as the supervisor's user",
        "with socket.socket(socket.AF_UNIX) as s:\n s.connect('@SOCKET@')\n body = b'{\"agent\":\"neighbour\",\"payload\":7}'\n"
        " s.sendall(b'POST /v1/tasks?wait=30s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\nContent-Type: application/json\\r\\n'\n"
        "           b'Content-Length: %d\\r\\n\\r\\n' % len(body) + body)\n"
        " answer = b''.join(iter(lambda: s.recv(65536), b''))\ndone(json.loads(answer.split(b'\\r\\n\\r\\n', 1)[1])['result'])",
        result=7, user="own"),
]

BUSY = "computes on two processors, and is silent"
NOISE = "b'noise ' * 16 + b'...\\n'"
OUTPUT = [
    Row("does nothing for a while", "until('CANCEL')\nfail('cancelled')", "cancelled", loud=True),
    Row(BUSY,
        "def spin():\n while True: pass\nchild(spin)\nwhile not select.select([0], [], [], 0)[0]: pass\nuntil('CANCEL')\nfail('cancelled')",
        "cancelled", loud=True),
    Row("floods stdout", f"wide_pipe()\nflood(({NOISE}) * 10000)", "cancelled", loud=True),
    Row("floods stdout with lines of a byte", "wide_pipe()\nflood(b'x\\n' * 500000)", "cancelled", loud=True),
    Row("floods stderr", "wide_pipe(2)\nflood(b'e' * MIB, 2)", "cancelled", loud=True),
    Row("floods with PROGRESS",
        "wide_pipe()\nflood((json.dumps({'type': 'PROGRESS', 'taskId': id, 'percent': 5, 'message': 'm'}) + '\\n') * 10000)", "cancelled", loud=True),
    Row("floods with LOG", "wide_pipe()\nflood('{\"type\":\"LOG\",\"message\":\"m\"}\\n' * 30000)", "cancelled", loud=True),
    Row("floods with figures of a hundred thousand names",
        "wide_pipe()\nflood(''.join('{\"type\":\"METRIC\",\"name\":\"n%d\",\"value\":1}\\n' % n for n in range(100000)))", "cancelled", loud=True),
    Row("floods with circuits of a hundred thousand names",
        "wide_pipe()\nflood(''.join('{\"type\":\"BREAKER\",\"name\":\"n%d\",\"op\":\"failure\"}\\n' % n for n in range(100000)))", "cancelled", loud=True),
    Row("floods with answers for tasks of nobody",
        "wide_pipe()\nflood('{\"type\":\"COMPLETE\",\"taskId\":\"1m7y8h2tk97skjmn\",\"result\":1}\\n' * 10000)", "cancelled", loud=True),
    Row("floods with READY", "wide_pipe()\nflood('{\"type\":\"READY\",\"protocol\":1}\\n' * 30000)", "cancelled", loud=True),
    Row("floods with checkpoints", "wide_pipe()\nflood((json.dumps({'type': 'CHECKPOINT', 'taskId': id, 'state': 'x'}) + '\\n') * 10000)",
        "cancelled", loud=True),
    Row("floods with checkpoints of 900 KB",
        "flood(json.dumps({'type': 'CHECKPOINT', 'taskId': id, 'state': 'x' * 900000}) + '\\n')", "cancelled", loud=True),
    Row("prints one line without end", "while True: raw(b'x' * MIB)", "failed", "protocol_error", "max_line"),
    Row("prints its answer byte by byte",
        "for byte in json.dumps({'type': 'COMPLETE', 'taskId': id, 'result': 'drip'}).encode() + b'\\n': os.write(1, bytes([byte])); time.sleep(0.005)",
        result="drip"),
    Row("closes its stdout", "os.close(1)\ntime.sleep(600)", "failed", "protocol_error", "stdout"),
    Row("closes its stdin", "os.close(0)\ndone('deaf')\nos._exit(0)", result="deaf"),
    Row("makes its pipes wait for nobody", "for fd in (0, 1, 2): os.set_blocking(fd, False)\nfcntl.fcntl(1, 1031, 4096)\ndone(5)", result=5),
    Row("hands its stdout to a process outside",
        "with socket.socket(socket.AF_UNIX) as s:\n s.connect('\\0@STATE@')\n socket.send_fds(s, [b'x'], [1])\n s.recv(1)\ndone('gone')",
        result="gone", protocol="exec", after=lambda stage, task: stage.write_to_kept()),
]

LIES = [
    Row("answers for another worker's task",
        "for kind in ('COMPLETE', 'FAILED', 'PREEMPTED', 'PROGRESS', 'CHUNK', 'CHECKPOINT'):\n"
        " say({'type': kind, 'taskId': '@HELD@', 'result': 'forged', 'error': 'forged', 'percent': 99, 'data': 'forged', 'state': 'forged'})\n"
        "done('mine')", result="mine", after=lambda stage, task: stage.assert_held_untouched()),
    Row("answers for tasks that cannot be", "for name in ('', '../../etc/passwd', 'x' * 100000, '\\u0000'): say({'type': 'COMPLETE', 'taskId': name})\ndone('mine')",
        result="mine"),
    Row("answers twice", "done('first')\ndone('second')\nfail('third')", result="first"),
    Row("says READY again, in another protocol", "say({'type': 'READY', 'protocol': 1})\nsay({'type': 'READY', 'protocol': 99})\ndone(1)", result=1),
    Row("says numbers that are none",
        "for number in ('-5', '1e308', '-1e308', '1e999', '-0.0', '12345678901234567890123'):\n"
        " raw('{\"type\":\"PROGRESS\",\"taskId\":\"%s\",\"percent\":%s}\\n' % (id, number))\ndone('counted')", result="counted",
        after=lambda stage, task: stage.assert_progress(task, 100)),
    Row("says how much memory it has, and lies",
        "raw('{\"type\":\"MEMORY\",\"heapUsed\":-1,\"heapTotal\":9223372036854775807}\\n')\ntime.sleep(600)", "failed", "protocol_error", "heapUsed"),
    Row("says what only hosts may say",
        "about('SWEPT', count=10**9)\nsay({'type': 'TOOLS', 'tools': []})\nabout('COMPLETE', result='own', fileBytes=10**15, peakBytes=10**15)",
        result="own"),
    Row("hands its task back again and again", "about('PREEMPTED', state={'n': 1})", "failed", "memory_budget"),
    Row("answers with 100,000 brackets", "raw('{\"type\":\"COMPLETE\",\"taskId\":\"%s\",\"result\":' % id + '[' * 100000 + ']' * 100000 + '}\\n')\ntime.sleep(600)",
        "failed", "protocol_error", "64"),
    Row("answers with bytes that are no text", "raw(b'{\"type\":\"COMPLETE\",\"taskId\":\"%s\",\"result\":\"\\xff\"}\\n' % id.encode())\ntime.sleep(600)",
        "failed", "protocol_error"),
    Row("answers with more than may be kept", "while True: about('CHUNK', data='x' * 500000)", "failed", "protocol_error", "store.max_result"),
    Row("fails with words for the terminal and the log",
        "fail('\\x1b]0;owned\\x07\\x1b[2J\\n2026-01-01T00:00:00.000 error forged by an agent\\r\\u202e')", "failed", "agent_error", "forged",
        after=lambda stage, task: stage.assert_printable(task)),
    Row("never says READY", "", "failed", "spawn_failed", "start_timeout",
        agent={"start_timeout": "300ms", "command": ["/bin/sleep", "600"]}),
]

FILES = [
    Row("removes its working directory", "os.rmdir(os.getcwd())\ndone('gone')\nos._exit(0)", result="gone", user="own", agent={"cwd": "@DIR@/own-cwd"},
        after=lambda stage, task: stage.assert_fails_next(task, "spawn_failed", "own-cwd")),
    Row("removes its own program", "os.unlink('@DIR@/own-program')\ndone('gone')\nos._exit(0)", result="gone", user="own",
        agent={"command": ["@DIR@/own-program"]}, after=lambda stage, task: stage.assert_fails_next(task, "spawn_failed", "own-program")),
    Row("unlinks, truncates and links its payload",
        "path = task['payloadFile']\nos.truncate(path, 0)\nos.chmod(path, 0o4777)\n"
        "done([refusal(lambda: os.unlink(path)), refusal(lambda: os.rename(path, path + '2')), refusal(lambda: os.symlink('/etc', path + '3'))])",
        result=refused, fields={"as_bytes": True}, after=lambda stage, task: stage.assert_empty("payloads")),
    Row("leaves a labyrinth in its home",
        "home = os.environ['HOME']\nos.chdir(home)\nos.symlink('@DIR@/precious', 'link')\nos.symlink('.', 'loop')\nos.link('link', 'hard')\nos.mkfifo('fifo')\n"
        "with open('sparse', 'wb') as file: file.truncate(1 << 40)\n"
        "for n in range(300):\n os.mkdir('d'); os.chdir('d')\nos.symlink('@DIR@/precious', 'link')\n"
        "for n in range(20): os.chdir('..'); os.chmod('d', 0)\ndone('lost')",
        result="lost", agent={"home": "private", "max_tasks": 1}, after=lambda stage, task: stage.assert_home_gone()),
    Row("puts a FIFO in its result's place, as root",
        "os.mkfifo('@STATE@/spool/%s-1-0' % id)\ndone('x' * 200000)", "failed", "agent_error", "could not be kept", user="own"),
    Row("puts a symlink in its result's place, as root",
        "os.symlink('@DIR@/precious/file', '@STATE@/spool/%s-1-0' % id)\ndone('x' * 200000)", "failed", "agent_error", "could not be kept", user="own",
        after=lambda stage, task: stage.assert_precious()),
    Row("puts FIFOs in its logs' place, as root",
        "for name in (id, id + '.1'):\n if not os.path.exists('@STATE@/logs/' + name): os.mkfifo('@STATE@/logs/' + name)\n"
        "os.write(2, b'e' * 100000)\ntime.sleep(0.1)\ndone('logged')", result="logged", user="own",
        trouble="logs of tasks cannot be written down", after=lambda stage, task: stage.assert_logs_recover()),
    Row("watches files until it may not", "libc.inotify_init.restype = ctypes.c_int\ndef more():\n while True: call('inotify_init')\ndone(refusal(more))", result="EMFILE"),
    Row("opens files until it may not", "kept = []\ndef more():\n while True: kept.append(os.open('/dev/null', os.O_RDONLY))\ndone(refusal(more))", result="EMFILE"),
    Row("makes rings of io_uring until it may not",
        "buffer = ctypes.create_string_buffer(120)\nlibc.syscall.restype = ctypes.c_long\n"
        "def more():\n while True: call('syscall', 425, 4096, ctypes.memset(buffer, 0, 120) and buffer)\ndone(refusal(more))",
        result=lambda error: error in ("ENOMEM", "EMFILE", "ENOSYS", "EPERM"), agent={"memory_limit": "200MiB"}),
]

GROUPS = {"memory": MEMORY, "processes": PROCESSES, "rights": RIGHTS, "output": OUTPUT, "lies": LIES, "files": FILES}
