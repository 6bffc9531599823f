// Callbacks that run exactly once, whatever becomes of their owner.
//
// A promise like "`sent` always runs" is hard to keep on ten error paths. These keep it by
// destruction: whoever drops one without calling it has called it. They may be moved into a Lane
// task: a task that is refused or dropped runs them too.
//
// Thread   one at a time; the callback runs on the thread that calls or drops it
#pragma once

#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

namespace cistern::transport {

// Runs its function when called, or else when destroyed.
class Sent {
 public:
  Sent() = default;
  explicit Sent(absl::AnyInvocable<void()> run) : run_(std::move(run)) {}
  Sent(Sent&& other) noexcept : run_(std::exchange(other.run_, nullptr)) {}
  Sent& operator=(Sent&& other) noexcept {
    if (this != &other) {
      (*this)();
      run_ = std::exchange(other.run_, nullptr);
    }
    return *this;
  }
  ~Sent() { (*this)(); }

  void operator()() {
    if (auto run = std::exchange(run_, nullptr)) run();
  }

 private:
  absl::AnyInvocable<void()> run_;
};

// Runs its function with the status it is called with, or else, when destroyed, with Unavailable.
class Received {
 public:
  Received() = default;
  explicit Received(absl::AnyInvocable<void(absl::Status)> run) : run_(std::move(run)) {}
  Received(Received&& other) noexcept : run_(std::exchange(other.run_, nullptr)) {}
  Received& operator=(Received&& other) noexcept {
    if (this != &other) {
      Drop();
      run_ = std::exchange(other.run_, nullptr);
    }
    return *this;
  }
  ~Received() { Drop(); }

  void operator()(absl::Status status) {
    if (auto run = std::exchange(run_, nullptr)) run(std::move(status));
  }

 private:
  void Drop() {
    if (run_ != nullptr) (*this)(absl::UnavailableError("the peer is gone"));
  }

  absl::AnyInvocable<void(absl::Status)> run_;
};

}  // namespace cistern::transport
