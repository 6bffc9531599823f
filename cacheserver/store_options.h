// What a node's settings mean to its store.
#pragma once

#include "cacheserver/config.h"
#include "storage/store.h"

namespace cistern::cacheserver {

storage::StoreOptions StoreOptionsOf(const NodeConfig& config);

}  // namespace cistern::cacheserver
