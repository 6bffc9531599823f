// What the handlers of calls work with. The node owns all of it; nothing here owns anything.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "absl/time/time.h"

#include "base/clock.h"
#include "cacheserver/config.h"
#include "cacheserver/counters.h"
#include "cacheserver/demoter.h"
#include "cacheserver/host_level.h"
#include "cacheserver/load_disk.h"
#include "cacheserver/locked_store.h"
#include "cacheserver/log.h"
#include "cacheserver/model_book.h"
#include "cacheserver/room_queue.h"
#include "cacheserver/sessions.h"
#include "cacheserver/stager.h"
#include "cacheserver/work_pool.h"
#include "storage/arena.h"
#include "storage/tier/disk_tier.h"
#include "transport/service.h"

namespace cistern::cacheserver {

// What a node says of itself.
struct NodeFacts {
  uint64_t incarnation = 0;
  absl::Time started;
  std::string unix_socket;  // as bound; empty: none
  std::string ucx_address;
};

struct Parts {
  const NodeConfig* config = nullptr;
  const base::Clock* clock = nullptr;
  Log* log = nullptr;
  Counters* counters = nullptr;
  LockedStore* store = nullptr;
  Sessions* sessions = nullptr;  // under the store's lock
  storage::Arena* arena = nullptr;
  RoomQueue* room = nullptr;
  WorkPool* copy_pool = nullptr;

  // nullptr without a tier below the store
  storage::Tier* below = nullptr;
  ModelBook* models = nullptr;
  WorkPool* disk_pool = nullptr;
  Demoter* demoter = nullptr;
  Stager* stager = nullptr;

  storage::DiskTier* disk = nullptr;   // the last tier; nullptr: there is no disk
  const DiskLoader* loader = nullptr;  // nullptr: there is no disk
  HostLevel* host = nullptr;           // below a device arena; nullptr: the store is host memory

  uint64_t blob_block_bytes = 64 << 10;
  std::function<NodeFacts()> facts;
  std::function<transport::ServerStats()> server_stats;

  // Whether the node is stopping: work that takes long ends early. The service's own.
  std::function<bool()> stopping = [] { return false; };

  absl::Time Now() const { return clock->Now(); }
  void WantRoom() const {
    if (demoter != nullptr) demoter->MakeRoom();
  }
  void KickDemoter() const {
    if (demoter != nullptr) demoter->Kick();
  }
};

}  // namespace cistern::cacheserver
