#include "client_lib/src/mapped_blocks.h"

#include <algorithm>
#include <atomic>

namespace cistern::client {

bool LieWithin(transport::Link& link, uint64_t block_bytes,
               const std::vector<base::BlockRef>& blocks) {
  const uint64_t arena_bytes = link.node().arena_bytes;
  if (block_bytes > arena_bytes) return false;
  const auto* header = reinterpret_cast<const base::ArenaHeader*>(link.arena());
  return std::all_of(blocks.begin(), blocks.end(), [&](const base::BlockRef& block) {
    return block.handle < header->num_handles && block.offset <= arena_bytes - block_bytes;
  });
}

bool StillThere(transport::Link& link, uint64_t incarnation,
                const std::vector<base::BlockRef>& blocks) {
  const std::byte* const arena = link.arena();
  std::atomic_thread_fence(std::memory_order_acquire);
  const auto* header = reinterpret_cast<const base::ArenaHeader*>(arena);
  if (__atomic_load_n(&header->incarnation, __ATOMIC_ACQUIRE) != incarnation) return false;
  return std::all_of(blocks.begin(), blocks.end(), [&](const base::BlockRef& block) {
    return base::ReadGeneration(arena, block.handle) == block.generation;
  });
}

}  // namespace cistern::client
