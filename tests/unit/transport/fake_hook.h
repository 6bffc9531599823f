// A source of work that a lane polls: `left` pieces are there, then it arms.
#pragma once

#include <atomic>
#include <thread>

#include <sys/eventfd.h>
#include <unistd.h>

#include "transport/rpc/lane.h"

namespace cistern::transport {

class FakeHook final : public PollHook {
 public:
  FakeHook() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~FakeHook() override { close(fd_); }

  bool Progress() override {
    if (left == 0) return false;
    --left;
    last_on = std::this_thread::get_id();
    ++done;
    return true;
  }
  bool Arm(bool) override {
    ++arms;
    eventfd_t ignored = 0;
    eventfd_read(fd_, &ignored);
    return left == 0 && !busy_once.exchange(false);
  }

  // Any thread: so much work comes, and the descriptor says so.
  void Bring(int pieces) {
    left += pieces;
    eventfd_write(fd_, 1);
  }
  int fd() const { return fd_; }

  std::atomic<int> left = 0, done = 0, arms = 0;
  std::atomic<bool> busy_once = false;
  std::atomic<std::thread::id> last_on;  // who made progress

 private:
  const int fd_;
};

}  // namespace cistern::transport
