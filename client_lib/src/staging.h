// Buffers for bytes that come or go by copy: bounded, and kept for the next time, because
// registering memory with a network is slow.
//
// Thread   any
// Errors   ResourceExhausted: a buffer over the bound, or none free (TryTake) or free in time
// (Take)
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/mutex.h"
#include "transport/link.h"

namespace cistern::client {

class Staging {
 public:
  // `link` outlives the staging.
  Staging(transport::Link* link, uint64_t max_bytes) : link_(link), max_bytes_(max_bytes) {}
  // Waits for what is lent: to calls that nobody waits for any more, which the link ends soon.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // A buffer that goes back when it is dropped.
  class Lent {
   public:
    Lent() = default;
    Lent(Staging* owner, std::unique_ptr<transport::Buffer> buffer)
        : owner_(owner), buffer_(std::move(buffer)) {}
    Lent(Lent&&) = default;
    Lent& operator=(Lent&& other) noexcept {
      GiveBack();
      owner_ = other.owner_;
      buffer_ = std::move(other.buffer_);
      return *this;
    }
    ~Lent() { GiveBack(); }

    // The first `size` bytes of it.
    transport::MutableSlice bytes(size_t size) const { return buffer_->bytes().first(size); }

   private:
    void GiveBack() {
      if (buffer_ != nullptr) owner_->GiveBack(std::move(buffer_));
    }
    Staging* owner_ = nullptr;
    std::unique_ptr<transport::Buffer> buffer_;
  };

  uint64_t max_bytes() const { return max_bytes_; }  // of all buffers together

  absl::StatusOr<Lent> TryTake(size_t bytes);
  // Waits for others to give back. Who holds a buffer of its own must not wait here: it would wait
  // for itself.
  absl::StatusOr<Lent> Take(size_t bytes, absl::Time until);

 private:
  // Buffers have these sizes, so that one fits where another was.
  static constexpr size_t kStepBytes = 1 << 20;

  void GiveBack(std::unique_ptr<transport::Buffer> buffer);
  // A kept buffer of `bytes`, or room for a new one (null). False: neither.
  bool TakeKeptOrRoom(size_t bytes, std::unique_ptr<transport::Buffer>* buffer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Lent> Make(size_t bytes, std::unique_ptr<transport::Buffer> kept);

  transport::Link* const link_;
  const uint64_t max_bytes_;
  base::Mutex mutex_;
  base::CondVar freed_;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // lent and kept
  uint64_t lent_ ABSL_GUARDED_BY(mutex_) = 0;   // buffers, and promises of them
  std::vector<std::unique_ptr<transport::Buffer>> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::client
