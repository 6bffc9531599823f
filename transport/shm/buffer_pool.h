// A link's buffers: memory of the worker's own that the node has mapped too.
//
// Fresh memory is slow to touch and each buffer costs both sides a mapping, so buffers come in size
// classes and are used again: one that its user gives back waits here for the next of its class.
// What waits is bounded.
//
// Thread   any. Buffers may outlive the link; they stay plain memory
// Errors   ResourceExhausted: too many buffers or no memory. InvalidArgument: a size out of
//          bounds, or (Locate) memory that is not in one of these buffers. Unavailable: the link
//          is dead
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "transport/link.h"
#include "transport/shm/frame.h"
#include "transport/shm/frame_stream.h"
#include "transport/shm/memfd.h"

namespace cistern::transport {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  static constexpr uint64_t kMaxIdleBytes = 256ull << 20;  // of buffers that nobody uses

  explicit BufferPool(std::shared_ptr<FrameStream> stream) : stream_(std::move(stream)) {}

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t bytes);

  // How the node finds `slice`, which lies whole in one buffer of this pool.
  absl::StatusOr<WireSlice> Locate(Slice slice);

  // Tells the node about a memfd. For the pool itself and for the link's tickets.
  static absl::Status Announce(FrameStream& stream, FrameKind kind, uint32_t buffer, uint64_t bytes,
                               UniqueFd fd);

  // The smallest class that holds `bytes`: 64 KiB, then four per doubling, so that at most a fifth
  // is unused.
  static uint64_t ClassBytes(uint64_t bytes);

 private:
  class PooledBuffer;
  struct Region {
    uint32_t id = 0;
    std::shared_ptr<Mapping> memory;
  };

  absl::StatusOr<Region> Take(uint64_t class_bytes);
  absl::StatusOr<Region> Create(uint64_t class_bytes);
  absl::StatusOr<Region> Make(uint64_t class_bytes);
  void Recycle(Region region);
  void DropIdleLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetLocked(const Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<FrameStream> stream_;
  base::Mutex mutex_;
  uint32_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<const std::byte*, Region> regions_ ABSL_GUARDED_BY(mutex_);    // all, by first byte
  std::map<uint64_t, std::vector<Region>> idle_ ABSL_GUARDED_BY(mutex_);  // by class
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of all, and of those that are being made
  uint64_t idle_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cistern::transport
