// One object as the store knows it: its header, where its bytes are, who uses it and what it is
// worth.
#pragma once

#include <cstdint>
#include <vector>

#include "base/key.h"
#include "storage/pool/handle_list.h"
#include "storage/pool/slab.h"
#include "storage/slot_pool.h"
#include "storage/stored_header.h"

namespace cistern::storage {

// In which turn objects go that may go; see policy/victim_book.h.
// kNone: they may not go.
enum class Rung : uint8_t { kSpent = 0, kLeaf = 1, kInterior = 2, kNone = 3 };

// "Also serves this context, approximately."
struct ContextLink {
  base::Key context;
  base::Key parent_context;
  uint64_t sequence = 0;  // in which order links and objects came
};

// Flags are bits, and what few objects have lies elsewhere: there are millions of these
// (storage/README.md, "Cost", says what an object takes).
struct Object {
  StoredHeader header;
  HandleList blocks;  // in page order; also while it is being staged

  uint64_t id : 55 = 0;  // also its place in the order of commits
  // Where it is. In memory and on disk exclude each other no more than the two tiers do.
  bool in_memory : 1 = false;
  bool on_disk : 1 = false;
  // Who uses it.
  bool pinned : 1 = false;    // by an administrator
  bool demoting : 1 = false;  // between TakeDemotions and FinishDemotion
  bool staging : 1 = false;   // between BeginStage and FinishStage
  bool detached : 1 = false;  // no longer found; goes when its last user does
  bool doomed : 1 = false;    // goes when the disk is done with it
  // Disk trouble.
  bool droppable : 1 = false;  // the disk does not take it: may be dropped though it is on no disk
  bool set_aside : 1 = false;  // a demotion failed: others go first

  uint64_t priority : 47 = 1;          // its tenant's, then its worth when it was last used
  uint64_t failed_writes : 2 = 0;      // in a row, as far as that counts
  uint64_t failed_reads : 2 = 0;       // in a row, as far as that counts
  Rung listed_rung : 2 = Rung::kNone;  // of the victim book, like policy_slot; its own
  bool linked : 1 = false;             // it serves other contexts, too; the index's own
  // What the store has filed it under; kept by Refile, and cleared by what frees its blocks.
  bool repriced : 1 = false;  // its priority has changed since; set by the victim book
  bool filed_resident : 1 = false;
  bool filed_evictable : 1 = false;
  bool filed_movable : 1 = false;
  bool filed_dirty : 1 = false;
  bool counted_memory : 1 = false;
  bool counted_disk : 1 = false;
  bool counted_dirty : 1 = false;
  bool counted_pinned : 1 = false;
  bool counted_pinned_memory : 1 = false;

  Slot slot = kNoSlot;  // its own, in the table of objects

  // Lists of the index; its own.
  Slot next_variant = kNoSlot;  // of the same content, newer
  Slot next_ender = kNoSlot;    // of the same context, older
  Slot next_child = kNoSlot;    // of the same parent context, older
  Slot previous_child = kNoSlot;

  uint32_t leases = 0;
  uint32_t children = 0;  // objects in memory that continue it
  Slot policy_slot = kNoSlot;

  PoolId pool() const { return header.form()->pool; }
  uint32_t rule() const { return header.form()->rule; }
  bool busy() const { return demoting || staging; }
  // Of two that may both go.
  bool GoesBefore(const Object& other) const {
    return priority != other.priority ? priority < other.priority : id < other.id;
  }
  bool in_use() const { return leases > 0 || busy(); }
};
static_assert(sizeof(Object) == 120);

// So many in a chunk that the chunks' addresses stay in the cache.
using ObjectSlots = SlotPool<Object, 1024>;

}  // namespace cistern::storage
