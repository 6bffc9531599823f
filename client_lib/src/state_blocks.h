// The bytes of one leased state, block by block: where they lie in the mapped arena, or as the node
// sends them.
//
//   (Read ─► use the bytes)* ─► Check
//
// Thread   one at a time
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "client_lib/src/plan_impl.h"
#include "client_lib/src/staging.h"

namespace cistern::client {

// Bytes of a state's blocks; the last one may have fewer in use.
struct StateLayout {
  uint64_t block_bytes = 0;
  uint64_t payload_bytes = 0;

  uint32_t num_blocks() const {
    return static_cast<uint32_t>((payload_bytes + block_bytes - 1) / block_bytes);
  }
  uint64_t BytesOf(uint32_t begin, uint32_t end) const {
    return std::min(end * block_bytes, payload_bytes) - begin * block_bytes;
  }
};

StateLayout LayoutOf(const base::StateSpec& spec, base::ObjectKind kind, base::LogTails tails,
                     uint32_t num_tokens);

class StateBlocks {
 public:
  // Both outlive it; `state` is leased.
  StateBlocks(Session* session, const PlannedState& state, const StateLayout& layout);

  // Blocks [begin, end) of it; `blocks` points to the first byte of each, until the next call.
  // DataLoss: blocks that cannot be, or bytes that were damaged on their way.
  absl::Status Read(uint32_t begin, uint32_t end, absl::Time until,
                    std::vector<const std::byte*>* blocks);

  // Whether what has been read is what was leased. Aborted: the node has given the blocks to
  // somebody else.
  absl::Status Check() const;

  const StateLayout& layout() const { return layout_; }
  // No more is to be read at once: a share of the buffers that bytes by copy go through.
  uint64_t max_read_bytes() const;

 private:
  Session& session_;
  const PlannedState& state_;
  const StateLayout layout_;
  Staging::Lent buffer_;
};

}  // namespace cistern::client
