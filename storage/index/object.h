// One object as the store knows it: its header, where its bytes are, who uses it and what it is
// worth.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"

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

struct Object {
  uint64_t id = 0;  // also its place in the order of commits
  base::ObjectHeader header;
  std::vector<ContextLink> links;  // oldest first

  // Where it is. In memory and on disk exclude each other no more than the two tiers do.
  bool in_memory = false;
  bool on_disk = false;
  PoolId pool = 0;
  uint32_t num_blocks = 0;  // of its payload
  uint64_t payload_bytes = 0;
  std::vector<Handle> blocks;  // in page order; also while it is being staged

  // Who uses it.
  uint32_t leases = 0;
  bool pinned = false;    // by an administrator
  bool demoting = false;  // between TakeDemotions and FinishDemotion
  bool staging = false;   // between BeginStage and FinishStage
  bool detached = false;  // no longer found; goes when its last user does
  bool doomed = false;    // goes when the disk is done with it

  // What it is worth.
  uint32_t rule = 0;      // of its tenant, by index
  uint32_t children = 0;  // objects in memory that continue it
  uint64_t priority = 1;  // its tenant's, then its worth when it was last used
  absl::Time
      last_use;  // committed, leased, staged or found on disk at start; kept for a finite TTL

  // Disk trouble.
  bool droppable = false;      // the disk does not take it: may be dropped though it is on no disk
  uint32_t failed_writes = 0;  // in a row
  uint32_t failed_reads = 0;   // in a row
  bool set_aside = false;      // a demotion failed: others go first

  // What the store has filed it under; kept by Refile alone.
  bool filed_resident = false;
  bool filed_evictable = false;
  bool filed_movable = false;
  bool filed_dirty = false;
  bool counted_memory = false;
  bool counted_disk = false;
  bool counted_dirty = false;
  bool counted_pinned = false;
  uint64_t counted_pinned_bytes = 0;
  uint64_t filed_priority = 0;

  // What the victim book has listed it under; kept by the book alone.
  uint32_t group = 0;
  std::optional<Rung> listed_rung;
  uint64_t listed_priority = 0;

  bool busy() const { return demoting || staging; }
  bool in_use() const { return leases > 0 || busy(); }
};

}  // namespace cistern::storage
