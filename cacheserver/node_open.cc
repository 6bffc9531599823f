// Starting a node: storage, what is on disk, threads, the door.
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/units.h"
#include "cacheserver/load_disk.h"
#include "cacheserver/load_models.h"
#include "cacheserver/node_impl.h"
#include "cacheserver/store_options.h"

namespace cistern::cacheserver {
namespace {

constexpr size_t kMaxDiskTasks = 65536;  // reads that wait for a disk thread
constexpr size_t kMaxCopyTasks = 65536;  // payloads that wait for a copy thread
constexpr size_t kMaxParkedCalls = 65536;

uint64_t NewIncarnation() {
  std::random_device random;
  const uint64_t number = (uint64_t{random()} << 32) | random();
  return number == 0 ? 1 : number;
}

}  // namespace

Node::Impl::Impl(const NodeConfig& node_config, Log* node_log, const base::Clock* node_clock)
    : config(node_config),
      log(node_log),
      clock(node_clock),
      started(node_clock->Now()),
      incarnation(NewIncarnation()),
      sessions({.leases = node_config.max_leases_per_session,
                .reservations = node_config.max_reservations_per_session}) {}

absl::Status Node::Impl::OpenStorage() {
  if (!config.disk_path.empty()) {
    CISTERN_ASSIGN_OR_RETURN(disk, storage::DiskTier::Open({.path = config.disk_path,
                                                            .max_bytes = config.disk_max_bytes,
                                                            .direct_io = config.direct_io}));
  }
  absl::StatusOr<std::unique_ptr<storage::Arena>> memory =
      storage::Arena::Create({.bytes = config.pool_bytes,
                              .incarnation = incarnation,
                              .huge_pages = config.huge_pages,
                              .pre_touch = config.pre_touch});
  if (!memory.ok())
    return absl::Status(memory.status().code(),
                        absl::StrCat("pool_bytes = ", base::FormatBytes(config.pool_bytes), ": ",
                                     memory.status().message()));
  arena = *std::move(memory);
  store = std::make_unique<LockedStore>(StoreOptionsOf(config), arena.get());
  models = std::make_unique<ModelBook>(disk.get());
  return absl::OkStatus();
}

absl::Status Node::Impl::LoadDisk() {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<base::ModelSpec> configured,
                           LoadModels(config.models));
  CISTERN_RETURN_IF_ERROR(store->With([&](storage::Store& locked) -> absl::Status {
    for (const base::ModelSpec& spec : configured) {
      CISTERN_RETURN_IF_ERROR(CheckModelFits(spec, arena->slab_bytes_total()));
      CISTERN_RETURN_IF_ERROR(locked.RegisterModel(spec));
    }
    return absl::OkStatus();
  }));
  if (disk == nullptr) return absl::OkStatus();
  CISTERN_ASSIGN_OR_RETURN(
      const DiskLoad load,
      cacheserver::LoadDisk(*store, *disk, *models, StoreOptionsOf(config).max_models, started));
  if (!load.cleaning.ok())
    log->Warning("records and models that nobody can use could not be deleted",
                 {{"path", config.disk_path}, {"error", load.cleaning}});
  const storage::DiskStats found = disk->Stats();
  if (found.dropped_headers > 0)
    log->Warning("disk tier had damaged headers",
                 {{"path", config.disk_path},
                  {"lost", found.dropped_headers},
                  {"salvaged", found.salvaged_headers},
                  {"what_to_do",
                   "nothing: what was lost is computed again. Check the disk: it, or "
                   "what writes to it, changes bytes"}});
  log->Info("disk tier opened", {{"path", config.disk_path},
                                 {"objects", load.objects},
                                 {"left_alone", load.left_alone},
                                 {"deleted", load.deleted},
                                 {"forgotten_models", load.forgotten_models},
                                 {"bytes", found.payload_bytes}});
  return absl::OkStatus();
}

void Node::Impl::StartThreads() {
  room = std::make_unique<RoomQueue>(clock, kMaxParkedCalls);
  copy_pool = std::make_unique<WorkPool>("cistern-copy", config.copy_threads, kMaxCopyTasks);
  Parts parts;
  parts.config = &config;
  parts.clock = clock;
  parts.log = log;
  parts.counters = &counters;
  parts.store = store.get();
  parts.sessions = &sessions;
  parts.arena = arena.get();
  parts.room = room.get();
  parts.copy_pool = copy_pool.get();
  parts.blob_block_bytes = StoreOptionsOf(config).blob_block_bytes;
  if (disk != nullptr) {
    disk_pool = std::make_unique<WorkPool>("cistern-disk", config.disk_threads, kMaxDiskTasks);
    const auto room_came = [this] { room->RoomCame(); };
    demoter =
        std::make_unique<Demoter>(DemoterOptions{.batch_bytes = config.demote_batch_bytes,
                                                 .blob_block_bytes = parts.blob_block_bytes,
                                                 .eager = config.demote_eagerly,
                                                 .disk_max_bytes = config.disk_max_bytes},
                                  Demoter::Parts{store.get(), arena.get(), disk.get(), models.get(),
                                                 &counters, log, clock, room_came});
    stager = std::make_unique<Stager>(Stager::Parts{store.get(), arena.get(), disk.get(),
                                                    disk_pool.get(), &counters, log,
                                                    parts.blob_block_bytes, room_came});
    parts.disk = disk.get();
    parts.models = models.get();
    parts.disk_pool = disk_pool.get();
    parts.demoter = demoter.get();
    parts.stager = stager.get();
  }
  parts.server_stats = [this] {
    base::MutexLock lock(&server_mutex);
    return server == nullptr ? transport::ServerStats{} : server->stats();
  };
  parts.facts = [this] {
    base::MutexLock lock(&server_mutex);
    return NodeFacts{incarnation, started, server == nullptr ? "" : server->unix_path(),
                     server == nullptr ? "" : server->ucx_address()};
  };
  service = std::make_unique<NodeService>(parts);
  timer = std::thread([this] {
    NameThread("cistern-timer");
    Housekeep();
  });
}

absl::Status Node::Impl::OpenDoor(Door door) {
  transport::ServerOptions options;
  if (door == Door::kSockets) {
    options.unix_path = config.unix_socket;
    options.ucx_address = config.ucx_address;
  }
  options.lanes = config.lanes;
  options.max_sessions = config.max_sessions;
  options.max_calls_per_session = config.max_calls_per_session;
  options.node_name = config.name;
  options.incarnation = incarnation;
  options.arena_fd = arena->fd();
  options.arena_bytes = arena->mapped_bytes();
  options.arena = arena->data();
  options.allow_mapping = config.allow_mapping;
  std::unique_ptr<transport::Server> opened;
  if (door == Door::kSockets) {
    CISTERN_ASSIGN_OR_RETURN(opened, transport::StartServer(options, service.get()));
  } else {
    CISTERN_ASSIGN_OR_RETURN(auto local, transport::StartInProcess(options, service.get()));
    in_process = local.get();
    opened = std::move(local);
  }
  base::MutexLock lock(&server_mutex);
  server = std::move(opened);
  return absl::OkStatus();
}

}  // namespace cistern::cacheserver
