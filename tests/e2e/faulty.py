"""A kurultaid whose system calls fail where and as it was chosen: tests/faults/faults.c preloaded into it."""

import atexit
import errno
import os
import shutil
import subprocess
import tempfile
import threading

import harness

_compiling = threading.Lock()
_library = None


def library():
    """Compiled once a run; g++, which builds everything else, brings the compiler."""
    global _library
    with _compiling:
        if _library is None:
            directory = tempfile.mkdtemp(prefix="kt-")
            atexit.register(shutil.rmtree, directory, True)
            path = os.path.join(directory, "faults.so")
            source = os.path.join(harness.ROOT, "tests", "faults", "faults.c")
            subprocess.run(["gcc", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-o", path, source, "-ldl"], check=True)
            _library = path
        return _library


def environment(report, at=None, do=None, nth=1):
    """Of a kurultaid in which the `nth` call at the places `at` (fnmatch) does `do`; without them places are only noted."""
    env = {"LD_PRELOAD": library(), "FAULTS_REPORT": report}
    if harness.is_instrumented():
        # The sanitizer's own library stands in front of libc either way.
        env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    if at is not None:
        env.update(FAULTS_AT=at, FAULTS_DO=str(do), FAULTS_NTH=str(nth))
    return env


class Site:
    """A place: `function:kind:hash`."""

    def __init__(self, name, callers=""):
        self.name, self.callers = name, callers
        self.function, self.kind, _ = name.split(":")

    def __repr__(self):
        return self.name

    @property
    def _before_us(self):
        """The libraries between the call and the supervisor's own frames."""
        return [frame.split("+")[0] for frame in self.callers.split("<") if not frame.startswith(("kurultaid", "libasan"))]

    @property
    def is_in_signal_handler(self):
        """libuv's, which the kernel has called: it writes a few bytes to a pipe that only it uses."""
        return self.function == "write" and self.kind.startswith("pipe") and any(name.startswith("libc.") for name in self._before_us)

    @property
    def ends_the_process(self):
        """Where libuv gives no error that could be handled: it calls abort()."""
        in_libuv = bool(self._before_us) and self._before_us[0].startswith("libuv.")
        once = any(name.startswith("libc.") for name in self._before_us)  # pthread_once: the pipe of all signals
        return in_libuv and (self.function in ("epoll_ctl", "pthread_create") or self.function == "pipe2" and once)


def sites(report):
    with open(report, encoding="utf-8") as file:
        found = [Site(*line.split(maxsplit=2)[1:]) for line in file if line.startswith("site ")]
    return found


def happened(report):
    """The place where the fault was done; None where it was not."""
    if not os.path.exists(report):
        return None
    with open(report, encoding="utf-8") as file:
        done = [line.split()[1] for line in file if line.startswith("done ")]
    return done[0] if done else None


def answers_of(site):
    """What the kernel may really say there: numbers of errors, and "short". libuv ends the process when a pipe or an eventfd
    says what it cannot say."""
    function, kind = site.function, site.kind
    if site.is_in_signal_handler:
        return [errno.EINTR]
    waits = [errno.EINTR] + ([errno.EAGAIN] if kind.endswith("nonblock") else [])
    in_cgroup = kind.startswith("cgroup/")
    if function in ("read", "pread", "pread64", "readv"):
        if kind.startswith(("pipe", "eventfd")):
            return waits
        if kind.startswith("socket"):
            return [*waits, errno.ECONNRESET, "short"]
        return [errno.EIO, errno.EINTR] + ([] if in_cgroup or kind.startswith("proc/") else ["short"])
    if function in ("write", "writev", "pwrite", "pwrite64"):
        if kind.startswith("eventfd"):
            return waits
        if kind.startswith("pipe"):
            return [*waits, errno.EPIPE] if kind.endswith("nonblock") else waits
        if kind.startswith("socket"):
            return [*waits, errno.EPIPE, "short"]
        if in_cgroup:
            return [errno.EBUSY, errno.EACCES, errno.ENOMEM]
        return [errno.ENOSPC, errno.EIO, errno.EINTR, "short"]
    if function.startswith(("open", "fopen", "fdopendir")):
        return [errno.EMFILE] + ([errno.ENOSPC] if "creat" in function else []) + ([errno.EACCES] if in_cgroup else [errno.EIO])
    if function == "close":
        # Only a file system has something left to say; for a pipe or a socket there is no such answer.
        return [errno.EIO] if kind.startswith(("file/", "spool/", "logs/")) else []
    return {
        "mkdir": [errno.ENOMEM, errno.EACCES] if in_cgroup else [errno.ENOSPC, errno.EACCES],
        "rmdir": [errno.EBUSY], "unlink": [errno.EIO], "unlinkat": [errno.EIO], "rename": [errno.ENOSPC, errno.EIO],
        "chmod": [errno.EPERM], "fchmod": [errno.EPERM],
        "fsync": [errno.EIO, errno.ENOSPC], "fdatasync": [errno.EIO, errno.ENOSPC],
        "ftruncate": [errno.EIO], "ftruncate64": [errno.EIO], "flock": [errno.EINTR],
        "pipe2": [errno.EMFILE, errno.ENFILE], "socket": [errno.EMFILE], "bind": [errno.EADDRINUSE], "listen": [errno.EADDRINUSE],
        "accept4": [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED], "eventfd": [errno.EMFILE], "epoll_create1": [errno.EMFILE],
        "epoll_ctl": [errno.ENOSPC], "inotify_init1": [errno.EMFILE], "dup": [errno.EMFILE],
        "fork": [errno.EAGAIN, errno.ENOMEM], "pthread_create": [errno.EAGAIN],
    }[function]


def name_of(answer):
    return errno.errorcode.get(answer, answer)
