// Where each block lies: 32-bit handles, and the generations that tell a live block from a stale
// reference.
//
// A handle names one block from Name or Mint until it is retired. That raises its generation in the
// arena's table before the handle or the bytes can be used again, so that whoever still holds the
// old reference can tell. One whose generation has run out never comes back. Handle 0 names
// nothing.
//
//   row       as many handles as a slab has blocks, one after the other: Bind (Name RetireBound)*
//             Unbind. Which handle a block has follows from its place
//   single    for slabs that got no row: Mint Retire. They come back in the order of retirement
//   Loosen    makes singles of a row; they never become a row again
//
// Cost     O(1); Bind and Unbind are O(log rows), Bind also O(handles that were never used), Loosen
//          O(handles of the row)
//
// Thread   one at a time
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

#include "storage/arena.h"
#include "storage/pool/extent_map.h"
#include "storage/pool/huge_page_allocator.h"

namespace cistern::storage {

using Handle = uint32_t;
inline constexpr Handle kNoHandle = 0;

// 16 bytes: there is one for each block, in use or not any more. Where the block lies follows from
// its slab.
struct PageEntry {
  uint64_t priority : 47 = 0;  // of the object if it may be evicted now; 0: it must stay in memory
  uint64_t movable : 1 = 0;    // its bytes may be copied elsewhere now
  uint64_t index : 16 = 0;     // within the slab
  uint32_t owner = 0;          // the object; 0 while it is being written
  uint32_t slab = 0;
};

class PageTable {
 public:
  // `arena` outlives the table.
  explicit PageTable(Arena* arena);

  // How many handles name no block and still may, in rows or not.
  uint32_t available() const { return available_; }

  // The first of a row of so many (not 0); kNoHandle when no row is that long.
  Handle Bind(uint32_t count);
  // Of a row, which names nothing now.
  void Unbind(Handle first) { rows_.Give(first); }
  void Name(Handle handle, uint32_t slab, uint32_t index);
  // Of a row. False: its generation has run out, and the row has to be loosened.
  bool RetireBound(Handle handle);
  // Of a row: what it names, it names on, but is a single now.
  void Loosen(Handle first, uint32_t count);

  // A single; kNoHandle when none is left. There may be some in rows.
  Handle Mint(uint32_t slab, uint32_t index);
  void Retire(Handle handle);
  // Call it after the last Retire and before the bytes are written again: a reader that sees those
  // sees the generation, too.
  static void PublishRetired() { Arena::PublishGenerations(); }
  // It is about to be retired: asks for its memory.
  void PrefetchRetire(Handle handle) const {
    if (handle >= entries_.size()) return;
    arena_->PrefetchGeneration(handle);
    __builtin_prefetch(&entries_[handle], 1);
  }

  bool IsLive(Handle handle) const;
  PageEntry& at(Handle handle) { return entries_[handle]; }
  const PageEntry& at(Handle handle) const { return entries_[handle]; }

  uint32_t generation(Handle handle) const { return arena_->generation(handle); }
  // InvalidArgument: there never was such a handle. FailedPrecondition: its block has been freed
  // since it was of this generation.
  absl::Status Check(Handle handle, uint32_t generation) const;

  uint32_t live() const { return live_; }

  // Internal when the handles do not add up; `bound_free` are in rows and name nothing.
  absl::Status CheckInvariants(uint64_t bound_free) const;

 private:
  static constexpr uint32_t kRetired = UINT32_MAX;  // in PageEntry::slab
  static constexpr uint32_t kSinglesAtOnce = 64;

  // False: its generation has run out.
  bool RaiseGeneration(Handle handle);
  void Enqueue(Handle handle);

  Arena* arena_;
  // Grows as handles are first used, in place; [0] is unused.
  std::vector<PageEntry, HugePageAllocator<PageEntry>> entries_;
  uint32_t max_handles_;  // entries_ never grows beyond it
  uint32_t available_;
  uint32_t live_ = 0;
  // Of handles, not bytes. Free: in no row, and no single yet. Taken: a slab's row, or a batch that
  // became singles, which never goes back.
  ExtentMap rows_;
  uint32_t singles_free_ = 0;
  Handle free_head_ = kNoHandle;  // queue of singles that name nothing, linked by PageEntry::owner
  Handle free_tail_ = kNoHandle;
};

}  // namespace cistern::storage
