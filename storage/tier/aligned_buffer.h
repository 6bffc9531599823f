// Page-aligned memory for direct I/O, kept and used again: fresh memory is slower than the disk.
//
// In huge pages where the kernel gives them: a device takes only so many stretches of memory in one
// request (254 of virtio's, which are 1 MiB of small pages), and its host copies each by itself. A
// virtual disk read 2 MiB at 2.6 GB/s into huge pages and at 1.2 into small ones.
//
// Thread   a buffer: one. A pool: any
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "base/aligned_map.h"
#include "base/mutex.h"

namespace cistern::storage {

inline constexpr uint64_t kPageBytes = 4096;

constexpr uint64_t RoundUpToPage(uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(uint64_t bytes) { Grow(bytes); }

  // At least `bytes` from now on; what was in it is gone if it had fewer.
  void Grow(uint64_t bytes) {
    if (bytes <= bytes_) return;
    const uint64_t page = bytes < kHugeFrom ? kPageBytes : base::kHugePageBytes;
    bytes_ = (bytes + page - 1) / page * page;
    at_ = {static_cast<std::byte*>(::operator new (bytes_, std::align_val_t{page})), Free{page}};
    if (page != kPageBytes) madvise(at_.get(), bytes_, MADV_HUGEPAGE);  // a wish
  }
  std::span<std::byte> bytes() const { return {at_.get(), bytes_}; }

 private:
  static constexpr uint64_t kHugeFrom = 256 << 10;

  struct Free {
    uint64_t page;
    void operator()(std::byte* at) const { ::operator delete (at, std::align_val_t{page}); }
  };
  std::unique_ptr<std::byte, Free> at_{nullptr, Free{kPageBytes}};
  uint64_t bytes_ = 0;
};

// As many buffers as were ever in use at once.
class BufferPool {
 public:
  class Loan {
   public:
    explicit Loan(BufferPool* pool) : pool_(pool), buffer_(pool->Take()) {}
    ~Loan() { pool_->Put(std::move(buffer_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    AlignedBuffer& operator*() { return buffer_; }

   private:
    BufferPool* const pool_;
    AlignedBuffer buffer_;
  };

 private:
  AlignedBuffer Take() {
    base::MutexLock lock(&mutex_);
    if (free_.empty()) return {};
    AlignedBuffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void Put(AlignedBuffer buffer) {
    base::MutexLock lock(&mutex_);
    free_.push_back(std::move(buffer));
  }

  base::Mutex mutex_;
  std::vector<AlignedBuffer> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::storage
