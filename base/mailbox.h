// A bounded queue from any thread to one owner thread, with a wake-up that an event loop can wait
// on.
//
//   owner:  loop { epoll on fd(); Drain(&batch); handle each }
//   others: if (!mailbox.Push(std::move(item))) back off
//
// Thread   Push and Close from any; Drain and fd from the owner
// Errors   Push returns false when `capacity` items wait or the mailbox is closed, and leaves the
//          item with the caller; what waits when the mailbox closes can still be drained. fd() is
//          -1 when the process had no file descriptor left
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mutex.h"

namespace cistern::base {

template <typename T>
class Mailbox {
 public:
  explicit Mailbox(size_t capacity)
      : capacity_(capacity), fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~Mailbox() {
    if (fd_ >= 0) close(fd_);
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  bool Push(T&& item) {
    {
      MutexLock lock(&mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
      if (items_.size() > 1) return true;  // the owner has been told already
    }
    Wake();
    return true;
  }
  bool Push(const T& item) { return Push(T(item)); }

  // Takes all that waits into `batch` (which is cleared first).
  void Drain(std::vector<T>* batch) {
    batch->clear();
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t ignored = read(fd_, &count, sizeof(count));
    MutexLock lock(&mutex_);
    batch->swap(items_);
  }

  void Close() {
    {
      MutexLock lock(&mutex_);
      closed_ = true;
    }
    Wake();
  }

  bool closed() const {
    MutexLock lock(&mutex_);
    return closed_;
  }

  // Whether something is to be drained.
  bool waits() const {
    MutexLock lock(&mutex_);
    return !items_.empty();
  }

  int fd() const { return fd_; }  // readable while something waits
  void Wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = write(fd_, &one, sizeof(one));
  }

 private:
  const size_t capacity_;
  const int fd_;
  mutable Mutex mutex_;
  std::vector<T> items_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace cistern::base
