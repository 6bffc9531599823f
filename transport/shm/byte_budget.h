// So many bytes of address space, and no more: what one peer maps, and what all of them map.
//
// Thread   any
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace cistern::transport {

class ByteBudget {
 public:
  explicit ByteBudget(uint64_t limit) : limit_(limit) {}

  bool Take(uint64_t bytes) {
    uint64_t used = used_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit_ || used > limit_ - bytes) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  void Give(uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  uint64_t limit() const { return limit_; }
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> used_{0};
};

// Bytes taken from a budget; given back at the end.
class Charge {
 public:
  Charge(std::shared_ptr<ByteBudget> budget, uint64_t bytes)
      : budget_(std::move(budget)), bytes_(budget_->Take(bytes) ? bytes : 0) {}
  ~Charge() { budget_->Give(bytes_); }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

  bool granted() const { return bytes_ != 0; }  // of more than nothing

 private:
  const std::shared_ptr<ByteBudget> budget_;
  const uint64_t bytes_;
};

}  // namespace cistern::transport
