/* libuv closes descriptors by syscall(SYS_close), which ThreadSanitizer does not see: to it, a number that another thread
   is given next is still the old descriptor, and all that is done with it a race. Linked into programs that are built with
   KURULTAI_SANITIZE_THREADS, where it stands in front of libc's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef long (*Syscall)(long, ...);

long syscall(long number, ...) {
  static Syscall of_libc;
  long a[6];
  va_list arguments;
  va_start(arguments, number);
  for (int i = 0; i < 6; ++i) a[i] = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_close) return close((int)a[0]);
  Syscall next = __atomic_load_n(&of_libc, __ATOMIC_RELAXED);
  if (!next) __atomic_store_n(&of_libc, next = (Syscall)dlsym(RTLD_NEXT, "syscall"), __ATOMIC_RELAXED);
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
