// An object in memory against its record in the tier below: both are there, and should be the same.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/object.h"
#include "storage/arena.h"
#include "storage/locked_store.h"
#include "storage/store.h"
#include "storage/tier/tier.h"

namespace cistern::storage {

inline constexpr uint64_t kMaxComparedBytes = 64ull << 20;  // of one object: they are read at once

// Whether it is small enough to be read at once: every segment is.
bool Comparable(const Store& store, const base::ObjectHeader& header);

// Holds the object by a lease of `session` and reads the record beside it. Thread: any; blocks as
// the tier does. DataLoss: the record is damaged. Internal: it is sound, and memory holds other
// bytes. Aborted: not in memory (any more). Otherwise the tier's error.
absl::Status CompareWithRecord(LockedStore& store, const Arena& arena, Tier& below, ObjectId id,
                               SessionId session, uint64_t blob_block_bytes, absl::Time now);

}  // namespace cistern::storage
