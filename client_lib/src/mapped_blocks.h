// Leased blocks as they lie in the node's arena, mapped into this process: whether they can be read
// at all, and whether what was read is what was leased.
//
// A lease keeps blocks from moving; generations catch the case that the node has taken the lease
// back (it believed this process dead, or restarted): bytes are copied first, then the numbers are
// compared, and bytes of another generation are never handed out.
//
// Thread   any
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/arena_layout.h"
#include "transport/link.h"

namespace cistern::client {

// Whether blocks of `block_bytes` lie within the arena of `link`, which is mapped.
bool LieWithin(transport::Link& link, uint64_t block_bytes,
               const std::vector<base::BlockRef>& blocks);

// Whether `blocks` are still what they were leased as, in this incarnation of the node. After all
// reads of them.
bool StillThere(transport::Link& link, uint64_t incarnation,
                const std::vector<base::BlockRef>& blocks);

}  // namespace cistern::client
