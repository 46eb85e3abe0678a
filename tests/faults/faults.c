// Preloaded into kurultaid by the tests: lets one chosen system call fail, come short, hang, or be the last thing that the
// process does. A call is known by its place: the function, what kind of thing it is done to, and who called (library and
// supervisor frames as module+offset, so that a name holds from run to run of the same build).
//
//   FAULTS_REPORT=FILE   appended to: "site NAME" once for each place, "done NAME" when the fault has happened
//   FAULTS_AT=PATTERN    fnmatch(3) of a place's name
//   FAULTS_NTH=N         of the calls that match, the N-th (1: the first)
//   FAULTS_DO=ACTION     an errno, "short", "delay MILLISECONDS", "kill before", "kill after"
//
// Children (fork) are left alone; what they execute does not inherit this (workers' environments are an allow-list).
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { max_sites = 4096, max_name = 256, deepest = 48, own_frames = 3 };

static pid_t supervisor;  // 0: this process is none of ours
static int report = -1;
static const char *pattern, *action;
static int nth = 1;
static atomic_int matching;
static uint64_t sites[max_sites];
static pthread_mutex_t sites_mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside;

static uint64_t mix(uint64_t hash, const void* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) hash = (hash ^ ((const unsigned char*)bytes)[i]) * 0x100000001b3u;
  return hash;
}

/// Who called: the frames of libraries up to the first few of the program itself. `where` is the innermost of those.
static uint64_t callers(char* where, size_t size) {
  void* frames[deepest];
  const int count = backtrace(frames, deepest);
  uint64_t hash = 0xcbf29ce484222325u;
  int own = 0;
  Dl_info self;
  dladdr((void*)callers, &self);
  where[0] = 0;
  for (int i = 0; i < count && own < own_frames; ++i) {
    Dl_info info;
    struct link_map* map = NULL;
    if (!dladdr1(frames[i], &info, (void**)&map, RTLD_DL_LINKMAP) || map == NULL) continue;
    if (info.dli_fbase == self.dli_fbase) continue;
    const uintptr_t offset = (uintptr_t)frames[i] - map->l_addr;
    const char* module = strrchr(info.dli_fname, '/');
    module = module == NULL ? info.dli_fname : module + 1;
    if (map->l_name[0] == 0) {
      own += 1;
      module = "kurultaid";
    }
    hash = mix(mix(hash, module, strlen(module)), &offset, sizeof offset);
    const size_t used = strlen(where);
    if (used < size) snprintf(where + used, size - used, "%s%s+%lx", used == 0 ? "" : "<", module, (unsigned long)offset);
  }
  return hash;
}

static const char* name_in(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash == NULL || slash[1] == 0 ? path : slash + 1;
}

/// What the call is done to, without what differs from run to run.
static void kind_of_path(const char* path, char* kind, size_t size) {
  if (strncmp(path, "/sys/fs/cgroup", 14) == 0) {
    const char* name = name_in(path);
    const int knob = strchr(name, '.') != NULL;
    snprintf(kind, size, "cgroup/%s", knob ? name : "group");
  } else if (strncmp(path, "/proc/", 6) == 0) {
    snprintf(kind, size, "proc/%s", strspn(name_in(path), "0123456789") > 0 ? "N" : name_in(path));
  } else if (strncmp(path, "/dev/", 5) == 0) {
    snprintf(kind, size, "dev/%s", name_in(path));
  } else if (strstr(path, "/spool/") != NULL) {
    snprintf(kind, size, "spool/N");
  } else if (strstr(path, "/logs/") != NULL) {
    snprintf(kind, size, "logs/N");
  } else {
    snprintf(kind, size, "file/%.60s", name_in(path));
  }
}

static void kind_of_fd(int fd, char* kind, size_t size) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long length = syscall(SYS_readlink, link, path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  if (path[0] == '/') return kind_of_path(path, kind, size);
  // "pipe:[4711]", "socket:[4712]", "anon_inode:[eventfd]"
  const char* word = strncmp(path, "anon_inode:[", 12) == 0 ? path + 12 : path;
  snprintf(kind, size, "%.20s", word);
  kind[strcspn(kind, ":]")] = 0;
  // Only those say EAGAIN.
  if (syscall(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK) strncat(kind, ",nonblock", size - strlen(kind) - 1);
}

static void tell(const char* what, const char* name, const char* detail) {
  char line[2048];
  const int length = snprintf(line, sizeof line, "%s %s %s\n", what, name, detail);
  if (report >= 0) syscall(SYS_write, report, line, (size_t)length);
}

static int is_new(uint64_t hash) {
  int fresh = 0;
  pthread_mutex_lock(&sites_mutex);
  for (size_t at = hash % max_sites, tries = 0; tries < max_sites; at = (at + 1) % max_sites, ++tries) {
    if (sites[at] == hash) break;
    if (sites[at] != 0) continue;
    sites[at] = hash;
    fresh = 1;
    break;
  }
  pthread_mutex_unlock(&sites_mutex);
  return fresh;
}

/// Whether this very call is the one. `path`: NULL for those that have a descriptor (or none: -1).
static int is_chosen(const char* function, const char* path, int fd) {
  if (supervisor == 0 || inside || syscall(SYS_getpid) != supervisor) return 0;
  const int code = errno;
  inside = 1;
  // A handler of libuv's that ran here would wait for its pipe while another thread's waits for a lock of ours.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  char kind[96] = "-", where[1024], name[max_name];
  if (path != NULL) kind_of_path(path, kind, sizeof kind);
  if (path == NULL && fd >= 0) kind_of_fd(fd, kind, sizeof kind);
  uint64_t hash = mix(callers(where, sizeof where), function, strlen(function));
  hash = mix(hash, kind, strlen(kind));
  snprintf(name, sizeof name, "%s:%s:%08x", function, kind, (unsigned)(hash ^ hash >> 32));
  if (is_new(hash)) tell("site", name, where);
  const int chosen = pattern != NULL && fnmatch(pattern, name, 0) == 0 && atomic_fetch_add(&matching, 1) + 1 == nth;
  if (chosen) tell("done", name, path == NULL ? "" : path);
  inside = 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = code;
  return chosen;
}

static int is(const char* word) { return strncmp(action, word, strlen(word)) == 0; }

static void end_here(void) {
  syscall(SYS_kill, supervisor, SIGKILL);
  for (;;) syscall(SYS_pause);
}

/// What is done in the place of the call, or around it. False: the call is made as it is.
static int fails(int chosen) {
  if (!chosen) return 0;
  if (is("kill before")) end_here();
  if (is("delay")) {
    const long milliseconds = atol(action + 5);
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&pause, NULL);
  }
  if (atoi(action) == 0) return 0;
  errno = atoi(action);
  return 1;
}

static void after(int chosen) {
  if (chosen && is("kill after") && syscall(SYS_getpid) == supervisor) end_here();  // fork returns in the child too
}

/// Of `count` bytes, those that are taken.
static size_t taken(int chosen, size_t count) { return chosen && is("short") && count > 1 ? count / 2 : count; }

static void* real(const char* function) { return dlsym(RTLD_NEXT, function); }

#define PATH_CALL(type, function, bad, parameters, arguments)       \
  type function parameters {                                        \
    static __typeof__(&function) call;                              \
    if (call == NULL) call = (__typeof__(&function))real(#function); \
    const int chosen = is_chosen(#function, path, -1);              \
    if (fails(chosen)) return bad;                                  \
    type result = call arguments;                                   \
    after(chosen);                                                  \
    return result;                                                  \
  }

#define FD_CALL(type, function, fd, bad, parameters, arguments)     \
  type function parameters {                                        \
    static __typeof__(&function) call;                              \
    if (call == NULL) call = (__typeof__(&function))real(#function); \
    const int chosen = is_chosen(#function, NULL, fd);              \
    if (fails(chosen)) return bad;                                  \
    type result = call arguments;                                   \
    after(chosen);                                                  \
    return result;                                                  \
  }

#define TRANSFER(function, parameters, arguments)                   \
  ssize_t function parameters {                                     \
    static __typeof__(&function) call;                              \
    if (call == NULL) call = (__typeof__(&function))real(#function); \
    const int chosen = is_chosen(#function, NULL, fd);              \
    if (fails(chosen)) return -1;                                   \
    count = taken(chosen, count);                                   \
    ssize_t result = call arguments;                                \
    after(chosen);                                                  \
    return result;                                                  \
  }

#define OPEN(function)                                              \
  int function(const char* path, int flags, ...) {                  \
    static int (*call)(const char*, int, ...);                      \
    if (call == NULL) call = (int (*)(const char*, int, ...))real(#function); \
    va_list rest;                                                   \
    va_start(rest, flags);                                          \
    const int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0; \
    va_end(rest);                                                   \
    const int chosen = is_chosen(flags & O_CREAT ? #function "+creat" : #function, path, -1); \
    if (fails(chosen)) return -1;                                   \
    const int result = call(path, flags, mode);                     \
    after(chosen);                                                  \
    return result;                                                  \
  }

OPEN(open)
OPEN(open64)

int openat(int directory, const char* path, int flags, ...) {
  static int (*call)(int, const char*, int, ...);
  if (call == NULL) call = (int (*)(int, const char*, int, ...))real("openat");
  va_list rest;
  va_start(rest, flags);
  const int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;
  va_end(rest);
  const int chosen = is_chosen("openat", path, -1);
  if (fails(chosen)) return -1;
  const int result = call(directory, path, flags, mode);
  after(chosen);
  return result;
}

PATH_CALL(FILE*, fopen, NULL, (const char* path, const char* mode), (path, mode))
PATH_CALL(FILE*, fopen64, NULL, (const char* path, const char* mode), (path, mode))
PATH_CALL(DIR*, opendir, NULL, (const char* path), (path))
FD_CALL(DIR*, fdopendir, fd, NULL, (int fd), (fd))
PATH_CALL(int, mkdir, -1, (const char* path, mode_t mode), (path, mode))
PATH_CALL(int, rmdir, -1, (const char* path), (path))
PATH_CALL(int, unlink, -1, (const char* path), (path))
PATH_CALL(int, unlinkat, -1, (int directory, const char* path, int flags), (directory, path, flags))
PATH_CALL(int, rename, -1, (const char* path, const char* to), (path, to))
PATH_CALL(int, chmod, -1, (const char* path, mode_t mode), (path, mode))
FD_CALL(int, fchmod, fd, -1, (int fd, mode_t mode), (fd, mode))
FD_CALL(int, fsync, fd, -1, (int fd), (fd))
FD_CALL(int, fdatasync, fd, -1, (int fd), (fd))
FD_CALL(int, ftruncate, fd, -1, (int fd, off_t length), (fd, length))
FD_CALL(int, ftruncate64, fd, -1, (int fd, off64_t length), (fd, length))
FD_CALL(int, flock, fd, -1, (int fd, int operation), (fd, operation))
TRANSFER(read, (int fd, void* bytes, size_t count), (fd, bytes, count))
TRANSFER(write, (int fd, const void* bytes, size_t count), (fd, bytes, count))
TRANSFER(pread, (int fd, void* bytes, size_t count, off_t offset), (fd, bytes, count, offset))
TRANSFER(pread64, (int fd, void* bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
TRANSFER(pwrite, (int fd, const void* bytes, size_t count, off_t offset), (fd, bytes, count, offset))
TRANSFER(pwrite64, (int fd, const void* bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
FD_CALL(int, pipe2, -1, -1, (int ends[2], int flags), (ends, flags))
FD_CALL(int, socket, -1, -1, (int domain, int type, int protocol), (domain, type, protocol))
FD_CALL(int, bind, fd, -1, (int fd, const struct sockaddr* address, socklen_t length), (fd, address, length))
FD_CALL(int, listen, fd, -1, (int fd, int backlog), (fd, backlog))
FD_CALL(int, accept4, fd, -1, (int fd, struct sockaddr* address, socklen_t* length, int flags),
        (fd, address, length, flags))
FD_CALL(int, eventfd, -1, -1, (unsigned count, int flags), (count, flags))
FD_CALL(int, epoll_create1, -1, -1, (int flags), (flags))
FD_CALL(int, epoll_ctl, fd, -1, (int poll, int operation, int fd, struct epoll_event* event), (poll, operation, fd, event))
FD_CALL(int, inotify_init1, -1, -1, (int flags), (flags))
FD_CALL(int, dup, fd, -1, (int fd), (fd))
FD_CALL(pid_t, fork, -1, -1, (void), ())

ssize_t writev(int fd, const struct iovec* parts, int count) {
  static __typeof__(&writev) call;
  if (call == NULL) call = (__typeof__(&writev))real("writev");
  const int chosen = is_chosen("writev", NULL, fd);
  if (fails(chosen)) return -1;
  struct iovec first = parts[0];
  first.iov_len = taken(chosen, first.iov_len);
  const ssize_t result = first.iov_len < parts[0].iov_len ? call(fd, &first, 1) : call(fd, parts, count);
  after(chosen);
  return result;
}

/// The descriptor is gone whatever is said.
int close(int fd) {
  static __typeof__(&close) call;
  if (call == NULL) call = (__typeof__(&close))real("close");
  const int chosen = is_chosen("close", NULL, fd);
  const int result = call(fd);
  if (fails(chosen)) return -1;
  after(chosen);
  return result;
}

/// Gives the error itself.
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  static __typeof__(&pthread_create) call;
  if (call == NULL) call = (__typeof__(&pthread_create))real("pthread_create");
  const int chosen = is_chosen("pthread_create", NULL, -1);
  if (fails(chosen)) return errno;
  const int result = call(thread, attributes, start, argument);
  after(chosen);
  return result;
}

__attribute__((constructor)) static void set_up(void) {
  const char* file = getenv("FAULTS_REPORT");
  if (file == NULL) return;
  void* frames[4];
  backtrace(frames, 4);  // its first call loads a library
  pattern = getenv("FAULTS_AT");
  action = getenv("FAULTS_DO");
  if (getenv("FAULTS_NTH") != NULL) nth = atoi(getenv("FAULTS_NTH"));
  if (action == NULL) pattern = NULL;
  // High, or it would take a number that the program expects for its own.
  const int low = (int)syscall(SYS_open, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  report = (int)syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, 900);
  syscall(SYS_close, low);
  supervisor = getpid();
}
