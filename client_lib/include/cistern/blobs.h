// Bytes by name: what an engine lays out itself and has a name for, such as the KV pages of a model
// without MLA under the hashes that the engine gave them.
//
//   blobs.Put({{name, bytes}, ...})      another worker:   blobs.Find ─► Get | View
//
// A name stands for its bytes for good: who puts other bytes under a name that is stored has them
// ignored. So a name should follow from everything that the bytes depend on (model, layout, tokens
// and their past). Names are any bytes, and belong to the client's salt; an empty name is as good
// as any. A call takes any number of names; each is answered by itself.
//
// Thread   any
// Errors   InvalidArgument: fix the call. Unavailable, DeadlineExceeded: no node, or it is too
// slow:
//          compute. ResourceExhausted: no buffer (ClientOptions::max_staging_bytes) for bytes that
//          go or come by copy: a blob is larger than all of them, or other calls use them. What was
//          stored before stays
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cistern {

struct BlobSource {
  absl::string_view name;
  std::span<const std::byte> bytes;  // 1 to 2^30, and at most max_staging_bytes, in whole MiB
};
enum class PutOutcome : uint8_t {
  kStored = 0,
  kHad = 1,      // the node has it, or somebody else is storing it
  kDropped = 2,  // no room, or larger than the node's memory
};

struct BlobTarget {
  absl::string_view name;
  std::span<std::byte> memory;  // of the blob's size
};
enum class GetOutcome : uint8_t {
  kFilled = 0,
  kMissing = 1,    // not stored, or gone meanwhile, or the node had no room to bring it from disk
  kOtherSize = 2,  // the blob has another size than the memory
};

// Blobs in the node's memory, read in place. The lease ends with the view.
class BlobView {
 public:
  class Impl;
  BlobView();
  explicit BlobView(std::unique_ptr<Impl> impl);
  ~BlobView();
  BlobView(BlobView&&) noexcept;
  BlobView& operator=(BlobView&&) noexcept;

  // False: it is not stored, or not in the node's memory and there was no room for it.
  bool found() const { return impl_ != nullptr; }
  uint64_t size() const;  // bytes
  // The bytes, in order, in as few pieces as they lie in. Read-only memory.
  const std::vector<std::span<const std::byte>>& runs() const;
  // Whether all that was read until now was the blob. False: the node has taken the lease back (it
  // took this process for dead, or was started again), and the bytes may be others.
  bool StillThere() const;

 private:
  std::unique_ptr<Impl> impl_;
};

class Blobs {
 public:
  virtual ~Blobs() = default;

  // Of each name: the blob's size in bytes; 0: it is not stored. Does not keep it from going.
  virtual absl::StatusOr<std::vector<uint64_t>> Find(std::span<const absl::string_view> names,
                                                     absl::Duration deadline) = 0;

  // Returns when the node has the bytes.
  virtual absl::StatusOr<std::vector<PutOutcome>> Put(std::span<const BlobSource> blobs,
                                                      absl::Duration deadline) = 0;

  // Brings from the node's disk what is not in its memory.
  virtual absl::StatusOr<std::vector<GetOutcome>> Get(std::span<const BlobTarget> blobs,
                                                      absl::Duration deadline) = 0;

  // FailedPrecondition: the node's memory is not mapped here (another host, or by choice).
  virtual absl::StatusOr<std::vector<BlobView>> View(std::span<const absl::string_view> names,
                                                     absl::Duration deadline) = 0;

  // A pinned blob is not evicted. Answers how many of the names are stored. PermissionDenied: from
  // other hosts only where the node has --admin_over_network.
  virtual absl::StatusOr<uint64_t> Pin(std::span<const absl::string_view> names, bool pinned,
                                       absl::Duration deadline) = 0;
};

}  // namespace cistern
