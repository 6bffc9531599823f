// A UCX link's buffers: memory that the network's devices know and whose pages are there.
//
// Fresh memory is slow to touch and to register, so buffers come in size classes and are used
// again: one that its user gives back waits here for the next of its class. What waits is bounded.
//
// Thread   any. Buffers may outlive the link
// Errors   InvalidArgument: no bytes, or more than kMaxBytes; ResourceExhausted: no memory
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "transport/link.h"
#include "transport/ucx/ucx_context.h"

namespace cistern::transport {

class UcxBufferPool : public std::enable_shared_from_this<UcxBufferPool> {
 public:
  static constexpr uint64_t kMaxBytes = 64ull << 30;       // of one buffer
  static constexpr uint64_t kMaxIdleBytes = 256ull << 20;  // of buffers that nobody uses

  explicit UcxBufferPool(std::shared_ptr<UcxContext> context);
  ~UcxBufferPool();

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t bytes);

  // The smallest class that holds `bytes`: 64 KiB, then four per doubling, so that at most a fifth
  // is unused.
  static uint64_t ClassBytes(uint64_t bytes);

 private:
  class Region;
  class PooledBuffer;

  void Recycle(std::unique_ptr<Region> region);

  const std::shared_ptr<UcxContext> context_;
  base::Mutex mutex_;
  std::map<uint64_t, std::vector<std::unique_ptr<Region>>> idle_
      ABSL_GUARDED_BY(mutex_);  // by class
  uint64_t idle_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cistern::transport
