#include "client_lib/python/src/unlocked.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <unistd.h>

namespace cistern::python {
namespace {

std::atomic<bool> ended = false;
std::atomic<int> coming_back = 0;
thread_local bool ends = false;  // the interpreter, on this thread

}  // namespace

Unlock::~Unlock() {
  ++coming_back;  // before `ended` is looked at, as that is set before this is
  if (ended && !ends) {
    --coming_back;
    for (;;) pause();
  }
  PyEval_RestoreThread(state_);
  --coming_back;
}

void EndOtherThreads() {
  ends = true;
  ended = true;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  PyThreadState* const state = PyEval_SaveThread();
  while (coming_back > 0 && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  PyEval_RestoreThread(state);
}

}  // namespace cistern::python
