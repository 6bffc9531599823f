// One object as the store knows it: its header, where its bytes are, who uses it and what it is
// worth.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/key.h"
#include "base/object.h"
#include "storage/pool/asymmetric_pools.h"

namespace cistern::storage {

// In which turn objects go that may go; see policy/victim_book.h.
enum class Rung : uint8_t { kSpent = 0, kLeaf = 1, kInterior = 2 };

// "Also serves this context, approximately."
struct ContextLink {
  base::Key context;
  base::Key parent_context;
  uint64_t sequence = 0;  // in which order links and objects came
};

// Flags are bits, and what few objects have lies elsewhere: there are millions of these
// (storage/README.md, "Cost", says what an object takes).
struct Object {
  uint64_t id = 0;  // also its place in the order of commits
  base::ObjectHeader header;

  uint64_t payload_bytes = 0;
  std::vector<Handle> blocks;  // in page order; also while it is being staged
  uint64_t priority = 1;       // its tenant's, then its worth when it was last used
  // Committed, leased, staged or found on disk: since 1970; kept for a finite time to live.
  int64_t last_use_ns = 0;
  uint64_t filed_priority = 0;                          // by Refile
  uint64_t listed_priority = 0;                         // by the victim book
  std::unique_ptr<std::vector<ContextLink>> link_list;  // null: none

  // Lists of the index; its own.
  Object* next_variant = nullptr;  // of the same content, newer
  Object* next_ender = nullptr;    // of the same context, older
  Object* next_child = nullptr;    // of the same parent context, older
  Object* previous_child = nullptr;

  uint32_t num_blocks = 0;  // of its payload
  uint32_t leases = 0;
  uint32_t children = 0;  // objects in memory that continue it
  PoolId pool = 0;
  uint32_t rule = 0;   // of its tenant, by index
  uint32_t group = 0;  // of the victim book; its own
  std::optional<Rung> listed_rung;
  uint8_t failed_writes = 0;  // in a row, as far as that counts
  uint8_t failed_reads = 0;   // in a row, as far as that counts

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

  // What the store has filed it under; kept by Refile alone.
  bool filed_resident : 1 = false;
  bool filed_evictable : 1 = false;
  bool filed_movable : 1 = false;
  bool filed_dirty : 1 = false;
  bool counted_memory : 1 = false;
  bool counted_disk : 1 = false;
  bool counted_dirty : 1 = false;
  bool counted_pinned : 1 = false;
  bool counted_pinned_memory : 1 = false;

  // Oldest first.
  std::span<const ContextLink> links() const {
    return link_list == nullptr ? std::span<const ContextLink>() : *link_list;
  }
  bool busy() const { return demoting || staging; }
  bool in_use() const { return leases > 0 || busy(); }
};

}  // namespace cistern::storage
