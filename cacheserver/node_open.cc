// Starting a node: storage, what is on disk, threads, the door.
#include <random>
#include <utility>

#include "base/status_macros.h"
#include "cacheserver/load_disk.h"
#include "cacheserver/load_models.h"
#include "cacheserver/node_impl.h"
#include "cacheserver/store_options.h"

namespace cistern::cacheserver {
namespace {

constexpr size_t kMaxDiskTasks = 65536;  // reads that wait for a disk thread
constexpr size_t kMaxCopyTasks = 65536;  // payloads that wait for a copy thread
constexpr size_t kMaxParkedCalls = 65536;
// How long the door stays closed for what is on disk. Some ten thousand objects are loaded by then,
// and a worker that comes at once finds all of them.
constexpr absl::Duration kLoadPatience = absl::Milliseconds(250);

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
    const absl::Time began = clock->Now();
    CISTERN_ASSIGN_OR_RETURN(disk, storage::DiskTier::Open({.path = config.disk_path,
                                                            .max_bytes = config.disk_max_bytes,
                                                            .direct_io = config.direct_io,
                                                            .load_later = true}));
    log->Info("disk tier opened",
              {{"path", config.disk_path}, {"took", absl::FormatDuration(clock->Now() - began)}});
  }
  const storage::StoreOptions options = StoreOptionsOf(config);
  below = disk.get();
  CISTERN_ASSIGN_OR_RETURN(arena, TouchMemory("pool_bytes", config.pool_bytes));
  if (config.device_bytes > 0) {
    host = std::make_unique<HostLevel>(
        HostLevel::Parts{&config, disk.get(), &counters, log, clock, options.blob_block_bytes},
        std::move(arena));
    below = &host->tier();
    CISTERN_ASSIGN_OR_RETURN(arena, TouchMemory("device_bytes", config.device_bytes));
  }
  store = std::make_unique<LockedStore>(options, arena.get());
  models = std::make_unique<ModelBook>(below, /*forgetful=*/host != nullptr);
  return absl::OkStatus();
}

// It may take a second for each GiB that the machine has to find first.
absl::StatusOr<std::unique_ptr<storage::Arena>> Node::Impl::TouchMemory(const char* setting,
                                                                        uint64_t bytes) {
  if (!config.pre_touch) return MakeArena(config, setting, bytes, incarnation);
  log->Info("touching the memory; pre_touch=false would leave it to the first writes",
            {{"setting", setting}, {"bytes", bytes}, {"huge_pages", config.huge_pages}});
  const absl::Time began = clock->Now();
  auto memory = MakeArena(config, setting, bytes, incarnation);
  if (memory.ok())
    log->Info("memory touched", {{"setting", setting},
                                 {"bytes", bytes},
                                 {"took", absl::FormatDuration(clock->Now() - began)}});
  return memory;
}

absl::Status Node::Impl::RegisterModels() {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<base::ModelSpec> configured,
                           LoadModels(config.models));
  for (const base::ModelSpec& spec : configured) {
    CISTERN_RETURN_IF_ERROR(CheckModelFits(spec, arena->slab_bytes_total()));
    const auto add = [&](storage::Store& locked) { return locked.RegisterModel(spec); };
    CISTERN_RETURN_IF_ERROR(store->With(add));
    if (host != nullptr) CISTERN_RETURN_IF_ERROR(host->store().With(add));
  }
  return absl::OkStatus();
}

// What little there is on disk is there when the door opens; the rest comes while the node serves.
void Node::Impl::StartLoading() {
  if (disk == nullptr) return;
  LockedStore* const lowest = host == nullptr ? store.get() : &host->store();
  loader = std::make_unique<DiskLoader>(
      DiskLoader::Parts{.store = lowest,
                        .models = host == nullptr ? models.get() : &host->models(),
                        .above = host == nullptr ? nullptr : store.get(),
                        .models_above = host == nullptr ? nullptr : models.get(),
                        .disk = disk.get(),
                        .max_models = StoreOptionsOf(config).max_models,
                        .now = started,
                        .clock = clock,
                        .log = log,
                        .path = config.disk_path});
  loader->Start();
  if (loader->AwaitLoaded(kLoadPatience)) return;
  const storage::DiskStats found = disk->Stats();
  log->Info("the disk's index is being loaded while the node serves",
            {{"path", config.disk_path}, {"loaded", found.loaded}, {"of_about", found.to_load}});
}

// What writes to the tiers below, and reads from them.
void Node::Impl::StartTiers() {
  if (below == nullptr) return;
  const uint64_t blob_block_bytes = StoreOptionsOf(config).blob_block_bytes;
  const auto room_came = [this] { room->RoomCame(); };
  disk_pool = std::make_unique<WorkPool>("cistern-disk", config.disk_threads, kMaxDiskTasks);
  DemoterOptions options{.batch_bytes = config.demote_batch_bytes,
                         .blob_block_bytes = blob_block_bytes,
                         .eager = config.demote_eagerly};
  if (host == nullptr) {
    options.disk_max_bytes = config.disk_max_bytes;
  } else {
    options.batch_bytes = DemoterOptions::kOneByOne;
    options.below = "host memory";
    options.thread_name = "cistern-to-host";
    host->Start();
  }
  demoter = std::make_unique<Demoter>(
      options, Demoter::Parts{store.get(), arena.get(), below, models.get(), &counters, log, clock,
                              room_came, disk.get()});
  stager = std::make_unique<Stager>(Stager::Parts{store.get(), arena.get(), below, disk_pool.get(),
                                                  &counters, log, blob_block_bytes, room_came,
                                                  host == nullptr ? nullptr : copy_pool.get()});
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
  StartTiers();
  parts.below = below;
  parts.models = below == nullptr ? nullptr : models.get();
  parts.disk_pool = disk_pool.get();
  parts.demoter = demoter.get();
  parts.stager = stager.get();
  parts.disk = disk.get();
  parts.loader = loader.get();
  parts.host = host.get();
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
  options.blob_block_bytes = StoreOptionsOf(config).blob_block_bytes;
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
