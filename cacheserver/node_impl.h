// A node's parts and the steps of its life. Private to node.cc (serving and stopping) and
// node_open.cc (starting).
#pragma once

#include <memory>
#include <thread>

#include "base/mutex.h"
#include "cacheserver/load_disk.h"
#include "cacheserver/node.h"
#include "cacheserver/service/node_service.h"
#include "transport/local/in_process.h"

namespace cistern::cacheserver {

// Members are in the order of their making; they go in reverse.
struct Node::Impl {
  Impl(const NodeConfig& node_config, Log* node_log, const base::Clock* node_clock);

  absl::Status OpenStorage();
  absl::Status RegisterModels();
  absl::StatusOr<std::unique_ptr<storage::Arena>> TouchMemory(const char* setting, uint64_t bytes);
  void StartLoading();
  void StartTiers();
  void StartThreads();
  absl::Status OpenDoor(Door door);
  void Housekeep();
  void StopServer();
  void StopThreads();
  void StopTiers();
  void WarnOfUnsaved();

  const NodeConfig config;
  Log* const log;
  const base::Clock* const clock;
  const absl::Time started;
  const uint64_t incarnation;
  Counters counters;
  std::unique_ptr<storage::DiskTier> disk;
  std::unique_ptr<HostLevel> host;  // below a device arena; else there is none
  storage::Tier* below = nullptr;   // the store: host memory, or the disk, or nothing
  std::unique_ptr<storage::Arena> arena;
  std::unique_ptr<LockedStore> store;  // the one that serves
  Sessions sessions;
  std::unique_ptr<ModelBook> models;
  std::unique_ptr<DiskLoader> loader;
  std::unique_ptr<RoomQueue> room;
  std::unique_ptr<WorkPool> copy_pool;
  std::unique_ptr<WorkPool> disk_pool;
  std::unique_ptr<Demoter> demoter;
  std::unique_ptr<Stager> stager;
  std::unique_ptr<NodeService> service;

  base::Mutex server_mutex;
  std::unique_ptr<transport::Server> server ABSL_GUARDED_BY(server_mutex);
  transport::InProcessServer* in_process = nullptr;  // the server, if it is of this kind

  base::Mutex timer_mutex;
  base::CondVar timer_changed;
  bool timer_stop ABSL_GUARDED_BY(timer_mutex) = false;
  std::thread timer;
  bool serving = false;
  bool stopped = false;
};

}  // namespace cistern::cacheserver
