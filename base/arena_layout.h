// The first bytes of an arena: what a reader in another process needs to trust what it reads.
//
//   offset 0        ArenaHeader
//   table_offset    uint32_t generation[num_handles], little endian, written by the node only
//   slabs_offset    the slabs
//
// A block reference carries (handle, generation, offset). A reader maps the arena read-only, copies
// the bytes out, issues an acquire fence and then checks that `incarnation` and generation[handle]
// are still what its reference says. The node raises a block's generation before it reuses its
// bytes, so a reader that was too slow sees another number and drops what it copied.
// storage/FORMAT.md is the law.
#pragma once

#include <cstdint>
#include <type_traits>

#include "absl/status/status.h"

namespace cistern::base {

inline constexpr uint64_t kArenaMagic = 0x314e524554534943;  // "CISTERN1"
inline constexpr uint32_t kArenaVersion = 1;

struct ArenaHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t num_handles;
  uint64_t incarnation;  // of the node's process; another start, another number
  uint64_t arena_bytes;  // the whole mapping
  uint64_t table_offset;
  uint64_t slabs_offset;
};
static_assert(sizeof(ArenaHeader) == 48 && std::is_trivially_copyable_v<ArenaHeader>);

// What a reader checks once, before it trusts a mapping: InvalidArgument when these are not the
// first bytes of an arena of this version, or a table or slab would lie outside of `mapped_bytes`.
absl::Status CheckArenaHeader(const void* arena, uint64_t mapped_bytes);

// Where a block lies, and the proof that it still does.
struct BlockRef {
  uint32_t handle = 0;
  uint32_t generation = 0;
  uint64_t offset = 0;  // bytes from the arena's first byte

  friend bool operator==(const BlockRef&, const BlockRef&) = default;
};

// The generation of `handle` now. `arena` is the mapping's first byte, its header checked, `handle`
// below its num_handles; call after an acquire fence.
inline uint32_t ReadGeneration(const void* arena, uint32_t handle) {
  const auto* header = static_cast<const ArenaHeader*>(arena);
  const auto* table =
      reinterpret_cast<const uint32_t*>(static_cast<const char*>(arena) + header->table_offset);
  return __atomic_load_n(&table[handle], __ATOMIC_ACQUIRE);
}

}  // namespace cistern::base
