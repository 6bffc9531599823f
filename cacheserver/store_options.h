// What a node's settings mean to its memory: stores and arenas.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

#include "cacheserver/config.h"
#include "storage/arena.h"
#include "storage/store.h"

namespace cistern::cacheserver {

// Of the store that serves: device memory where there is some, else host memory.
storage::StoreOptions StoreOptionsOf(const NodeConfig& config);

// Of host memory below a device arena.
storage::StoreOptions HostStoreOptionsOf(const NodeConfig& config);

// An error names the setting that asks for so much.
absl::StatusOr<std::unique_ptr<storage::Arena>> MakeArena(const NodeConfig& config,
                                                          const char* setting, uint64_t bytes,
                                                          uint64_t incarnation);

}  // namespace cistern::cacheserver
