// In the coverage build only, where the linker puts this in place of _exit: a forked child that ends so (the guardian, the
// children of tests) would take what it has counted with it.
#include <gcov.h>

void __real__exit(int status) __attribute__((noreturn));

void __wrap__exit(int status) {
  __gcov_dump();
  __real__exit(status);
}
