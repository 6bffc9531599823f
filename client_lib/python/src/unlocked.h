// The interpreter's lock (GIL), let go of while a call may wait.
//
// A daemon thread may be inside of a call when the interpreter ends. Up to 3.13 Python ends such a
// thread where it asks for the lock, by unwinding its stack, which C++ answers with SIGABRT for the
// whole process. So whoever comes back after the end has begun stays where he is, as in 3.14.
#pragma once

#include <nanobind/nanobind.h>

namespace cistern::python {

class Unlock {
 public:
  Unlock() : state_(PyEval_SaveThread()) {}
  ~Unlock();  // with the lock, or never
  Unlock(const Unlock&) = delete;
  Unlock& operator=(const Unlock&) = delete;

 private:
  PyThreadState* const state_;
};

// Runs what may wait while other Python threads go on.
template <typename Fn>
auto Unlocked(Fn call) {
  const Unlock unlock;
  return call();
}

// The interpreter ends: from here on only the calling thread gets its lock back. Waits, a second at
// most, for those who are about to have it.
void EndOtherThreads();

}  // namespace cistern::python
