# What a hostile agent runs: the task's payload, which is Python source. Given to `python3 -c` as text, since other users
# may not be able to read this file. A command (exec) has the payload in argv and prints its result; an agent (jsonl)
# speaks. Both have done(), and the words below.
import ctypes, errno, fcntl, json, mmap, os, resource, select, signal, socket, stat, struct, subprocess, sys, threading, time

MIB = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)


def say(message):
    raw(json.dumps(message) + '\n')


def about(kind, **fields):
    say({'type': kind, 'taskId': id, **fields})


def raw(text):
    data = memoryview(text if isinstance(text, bytes) else text.encode())
    while data:
        data = data[os.write(1, data):]


def hear():
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    return json.loads(line)


def until(kind):
    while True:
        message = hear()
        if message['type'] == kind:
            return message


def done(result=None):
    about('COMPLETE', result=result) if speaks else raw(str(result))


def fail(error, **more):
    about('FAILED', error=error, **more)


def touch(block):
    for at in range(0, len(block), 4096):
        block[at] = 1
    return block


def hold(mib):
    return touch(bytearray(mib * MIB))


def refusal(action):
    """The name of the error that `action` ends with; what it gave if there was none."""
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno]


def write(path, text):
    with open(path, 'w') as file:
        file.write(text)
    return 'written'


def call(name, *arguments):
    """A function of libc, with an OSError for -1."""
    ctypes.set_errno(0)
    answer = getattr(libc, name)(*arguments)
    if answer == -1:
        raise OSError(ctypes.get_errno(), name)
    return answer


def wide_pipe(fd=1):
    """As much of what we write as the kernel allows lies ready for the supervisor at once."""
    fcntl.fcntl(fd, 1031, MIB)  # F_SETPIPE_SZ


def flood(block, fd=1):
    """Until the task is cancelled: lines go on and on, and words from the supervisor are looked for."""
    block = block if isinstance(block, bytes) else block.encode()
    while not select.select([0], [], [], 0)[0]:
        data = memoryview(block)
        while data:
            data = data[os.write(fd, data):]
    until('CANCEL')
    fail('cancelled')


def own_group():
    """Its directory in the memory controller's hierarchy, whichever version."""
    for line in open('/proc/self/cgroup'):
        _, controllers, path = line.rstrip('\n').split(':', 2)
        if 'memory' in controllers.split(','):
            return '/sys/fs/cgroup/memory' + path
    return '/sys/fs/cgroup' + path


def outside_group():
    """The directory of the supervisor's own leaf."""
    return own_group().split('/workers/')[0] + '/supervisor'


def child(action):
    """A child that does this and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(0)
    return pid


speaks = len(sys.argv) < 2
if not speaks:
    exec(sys.argv[1], globals())
    sys.exit(0)
say({'type': 'READY', 'protocol': 1, 'name': 'hostile'})
while True:
    message = hear()
    if message['type'] == 'SHUTDOWN':
        sys.exit(0)
    if message['type'] == 'TASK':
        task, id = message, message['taskId']
        source = task['payload'] if 'payload' in task else open(task['payloadFile']).read()
        exec(source, globals())
