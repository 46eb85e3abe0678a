// What a fuzzer holds to be true. A failure aborts, so that libFuzzer keeps the input.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace kurultai::fuzz {

[[noreturn]] inline void does_not_hold(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
  std::abort();
}

}  // namespace kurultai::fuzz

#define HOLDS(condition) \
  ((condition) ? static_cast<void>(0) : ::kurultai::fuzz::does_not_hold(__FILE__, __LINE__, #condition))
