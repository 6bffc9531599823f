// What a store is told, when a node starts, of what the tier below it holds: models, then the
// records of objects.
//
// A record that cannot be used (its model is not known, this node takes no such objects) is
// deleted: it would take room of the tier's bound for ever. Models on disk without records are
// kept as long as the node has room for them, and deleted otherwise.
//
// Thread   one, before the node serves
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "cacheserver/locked_store.h"
#include "cacheserver/model_book.h"
#include "storage/tier/tier.h"

namespace cistern::cacheserver {

struct DiskLoad {
  uint64_t objects = 0;
  uint64_t deleted = 0;           // records that no start could use
  uint64_t left_alone = 0;        // records of unknown models, or larger than the memory
  uint64_t forgotten_models = 0;  // deleted
  absl::Status cleaning;          // of those deletions; not fatal: the next start tries again
};
// `max_models`: the store's. The tier's error when it cannot be read.
absl::StatusOr<DiskLoad> LoadDisk(LockedStore& store, storage::Tier& below, ModelBook& models,
                                  uint32_t max_models, absl::Time now);

}  // namespace cistern::cacheserver
