// Room in a disk tier that has reached its bound: the objects worth least leave it.
//
// Thread   any but a lane's: it walks over all objects, under the store's lock
#pragma once

#include <cstdint>

#include "cacheserver/locked_store.h"

namespace cistern::cacheserver {

// Drops objects that are on disk only, neither leased nor pinned, cheapest first (of equals, and
// what has left memory long ago is worth equally little, the oldest), until `bytes` of payload are
// gone. Returns how many went. Their records are among the next TakeRecordDrops.
uint64_t TrimDisk(LockedStore& store, uint64_t bytes);

}  // namespace cistern::cacheserver
