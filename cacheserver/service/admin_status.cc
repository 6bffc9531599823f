// `status` and `models`: what the node is, holds and counts.
#include <algorithm>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/tenant.h"
#include "cacheserver/service/admin_verbs.h"
#include "cacheserver/version.h"
#include "nlohmann/json.hpp"

namespace cistern::cacheserver {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kListedSessions = 256;

Json NodeJson(const Parts& parts) {
  const NodeFacts facts = parts.facts();
  return {{"name", parts.config->name},
          {"version", kVersion},
          {"incarnation", absl::StrFormat("%016x", facts.incarnation)},
          {"pid", getpid()},
          {"uptime_s", absl::ToInt64Seconds(parts.Now() - facts.started)},
          {"unix_socket", facts.unix_socket},
          {"ucx_address", facts.ucx_address},
          {"lanes", parts.config->lanes},
          {"allow_mapping", parts.config->allow_mapping}};
}

Json MemoryJson(const storage::StoreStats& stats) {
  Json pools = Json::array();
  for (const storage::PoolStats& pool : stats.pools)
    pools.push_back({{"block_bytes", pool.block_bytes},
                     {"slabs", pool.slabs},
                     {"blocks_used", pool.blocks_used},
                     {"blocks_free", pool.blocks_free}});
  return {{"arena_bytes", stats.arena_bytes}, {"used_bytes", stats.used_bytes},
          {"free_bytes", stats.free_bytes},   {"remainder_bytes", stats.remainder_bytes},
          {"objects", stats.objects_memory},  {"dirty_bytes", stats.dirty_bytes},
          {"pools", std::move(pools)}};
}

Json EvictionJson(const NodeConfig& config, const storage::StoreStats& stats) {
  const auto bytes = [&](double share) {
    return static_cast<uint64_t>(share * static_cast<double>(stats.arena_bytes));
  };
  return {{"policy", config.eviction_policy},
          {"demote_above", config.demote_above},
          {"demote_above_bytes", bytes(config.demote_above)},
          {"demote_below", config.demote_below},
          {"demote_below_bytes", bytes(config.demote_below)},
          {"draining", stats.draining},
          {"predict_demand", config.predict_demand},
          {"pinned_objects", stats.pinned_objects},
          {"pinned_bytes", stats.pinned_bytes},
          {"object_ttl_ms", absl::ToInt64Milliseconds(config.object_ttl)},
          {"expired_objects", stats.expired_objects}};
}

// Those with a rule of their own, then all others together.
Json TenantsJson(const storage::StoreStats& stats) {
  Json tenants = Json::array();
  for (size_t i = 0; i < stats.tenants.size(); ++i) {
    const storage::TenantStats& tenant = stats.tenants[i];
    const bool others = i + 1 == stats.tenants.size();
    tenants.push_back({{"tenant", others ? "others" : base::TenantText(tenant.rule.tenant)},
                       {"priority", tenant.rule.priority},
                       {"quota_bytes", tenant.rule.quota_bytes},
                       {"used_bytes", tenant.used_bytes},
                       {"objects", tenant.objects_memory},
                       {"evicted_objects", tenant.evicted_objects},
                       {"over_quota", tenant.over_quota}});
  }
  return tenants;
}

storage::StoreStats HostStats(const Parts& parts) {
  return parts.host->store().With([](storage::Store& store) { return store.Stats(); });
}

Json MemoryTierJson(const char* name, const storage::StoreStats& stats) {
  return {{"name", name},
          {"bytes", stats.arena_bytes},
          {"used_bytes", stats.used_bytes},
          {"objects", stats.objects_memory},
          {"dirty_bytes", stats.dirty_bytes},
          {"demoted_objects", stats.demoted_objects},
          {"staged_objects", stats.staged_objects},
          {"evicted_objects", stats.evicted_objects}};
}

// From the top down: where objects are served, and what lies below.
Json TiersJson(const Parts& parts, const storage::StoreStats& stats) {
  Json tiers = Json::array();
  tiers.push_back(MemoryTierJson(parts.host == nullptr ? "host" : "device", stats));
  if (parts.host != nullptr) {
    Json host = MemoryTierJson("host", HostStats(parts));
    const storage::MemoryTierStats copies = parts.host->tier().Stats();
    host["copied_in_objects"] = copies.copied_in;
    host["copied_in_bytes"] = copies.copied_in_bytes;
    host["copied_out_objects"] = copies.copied_out;
    host["read_through_objects"] = copies.read_through;
    host["waited_for_room"] = copies.waits;
    host["refused_for_room"] = copies.refused;
    tiers.push_back(std::move(host));
  }
  if (parts.disk != nullptr) {
    const storage::DiskStats disk = parts.disk->Stats();
    tiers.push_back({{"name", "disk"},
                     {"bytes", parts.config->disk_max_bytes},
                     {"used_bytes", disk.payload_bytes},
                     {"objects", disk.records}});
  }
  return tiers;
}

// null once all of the disk's index is there.
Json LoadingJson(const Parts& parts, const storage::DiskStats& disk) {
  if (!disk.loading) return nullptr;
  const absl::Status trouble = parts.loader == nullptr ? absl::OkStatus() : parts.loader->trouble();
  return {{"loaded", disk.loaded},
          {"of", std::max(disk.loaded, disk.to_load)},
          {"error", trouble.ok() ? "" : trouble.ToString()}};
}

Json DiskJson(const Parts& parts, const storage::StoreStats& stats) {
  if (parts.disk == nullptr) return nullptr;
  const storage::DiskStats disk = parts.disk->Stats();
  const uint64_t objects =
      parts.host == nullptr ? stats.objects_disk : HostStats(parts).objects_disk;
  return {{"path", parts.config->disk_path},
          {"max_bytes", parts.config->disk_max_bytes},
          {"objects", objects},
          {"records", disk.records},
          {"payload_bytes", disk.payload_bytes},
          {"writes", disk.writes},
          {"write_failures", disk.write_failures},
          {"reads", disk.reads},
          {"read_failures", disk.read_failures},
          {"checksum_failures", disk.checksum_failures},
          {"deletes", disk.deletes},
          {"loading", LoadingJson(parts, disk)}};
}

Json SessionsJson(const Parts& parts, const std::vector<Sessions::Summary>& sessions,
                  const transport::ServerStats& server) {
  Json list = Json::array();
  for (const Sessions::Summary& session : sessions)
    list.push_back({{"id", session.id},
                    {"client", session.info.client_name},
                    {"peer", session.info.peer},
                    {"age_s", absl::ToInt64Seconds(parts.Now() - session.opened)},
                    {"leases", session.leases},
                    {"reservations", session.reservations},
                    {"reads", session.reads},
                    {"lane", session.info.lane},
                    {"maps_memory", session.info.maps_arena}});
  return {
      {"open", server.sessions_open}, {"total", server.sessions_total}, {"list", std::move(list)}};
}

Json TotalsJson(const storage::StoreStats& stats) {
  return {{"commits", stats.commits},
          {"aborts", stats.aborts},
          {"already_have", stats.already_have},
          {"links", stats.links},
          {"moved_blocks", stats.moved_blocks},
          {"moved_bytes", stats.moved_bytes},
          {"moved_ahead_bytes", stats.moved_ahead_bytes},
          {"evicted_objects", stats.evicted_objects},
          {"evicted_bytes", stats.evicted_bytes},
          {"dropped_objects", stats.dropped_objects},
          {"demoted_objects", stats.demoted_objects},
          {"demoted_bytes", stats.demoted_bytes},
          {"demotion_failures", stats.demotion_failures},
          {"staged_objects", stats.staged_objects},
          {"staged_bytes", stats.staged_bytes},
          {"corrupt_records", stats.corrupt_records},
          {"no_room", stats.no_room}};
}

Json CallsJson(const Counters& counters, const transport::ServerStats& server) {
  Json by_kind = Json::object();
  for (size_t kind = 0; kind < kCallKinds; ++kind) {
    Json errors = Json::object();
    for (size_t code = 0; code < kStatusCodes; ++code) {
      const auto status_code = static_cast<absl::StatusCode>(code);
      if (const uint64_t count = counters.errors(kind, status_code); count > 0)
        errors[absl::StatusCodeToString(status_code)] = count;
    }
    if (counters.calls(kind) > 0)
      by_kind[std::string(CallKindName(kind))] = {{"calls", counters.calls(kind)},
                                                  {"errors", std::move(errors)}};
  }
  return {{"total", server.calls},
          {"errors", counters.errors()},
          {"bad_messages", server.bad_messages},
          {"payload_bytes_in", server.payload_bytes_in},
          {"payload_bytes_out", server.payload_bytes_out},
          {"waited_for_room", counters.parked.load()},
          {"refused_for_room", counters.no_room.load()},
          {"refused_by_limit", counters.limited.load()},
          {"coalesced_disk_reads", counters.coalesced_stages.load()},
          {"truncated_finds", counters.truncated_finds.load()},
          {"expired_leases", counters.expired_leases.load()},
          {"by_kind", std::move(by_kind)}};
}

}  // namespace

std::string StatusJson(const Parts& parts) {
  storage::StoreStats stats;
  std::vector<Sessions::Summary> sessions;
  parts.store->With([&](storage::Store& store) {
    stats = store.Stats();
    sessions = parts.sessions->List(store, kListedSessions);
  });
  const transport::ServerStats server = parts.server_stats();
  const Json json = {{"node", NodeJson(parts)},
                     {"memory", MemoryJson(stats)},
                     {"eviction", EvictionJson(*parts.config, stats)},
                     {"tenants", TenantsJson(stats)},
                     {"tiers", TiersJson(parts, stats)},
                     {"disk", DiskJson(parts, stats)},
                     {"sessions", SessionsJson(parts, sessions, server)},
                     {"leases", stats.leases},
                     {"reservations", stats.reservations},
                     {"lookups",
                      {{"finds", stats.finds},
                       {"exact_hits", stats.exact_hits},
                       {"content_hits", stats.content_hits},
                       {"misses", stats.misses}}},
                     {"totals", TotalsJson(stats)},
                     {"calls", CallsJson(*parts.counters, server)},
                     {"waiting",
                      {{"for_room", parts.room->parked()},
                       {"for_disk", parts.disk_pool == nullptr ? 0 : parts.disk_pool->queued()},
                       {"for_copy", parts.copy_pool->queued()}}}};
  return Text(json);
}

std::string ModelsJson(const Parts& parts) {
  Json models = Json::array();
  parts.store->With([&](storage::Store& store) {
    for (const base::ModelSpec* spec : store.Models())
      models.push_back({{"fingerprint", spec->Fingerprint().ToHex()},
                        {"name", spec->name},
                        {"revision", spec->revision},
                        {"layers", spec->num_layers},
                        {"layout", std::string(base::ToString(spec->layout))},
                        {"row_bytes", spec->row_bytes},
                        {"token_bytes", spec->token_bytes()},
                        {"page_bytes", spec->page_bytes()}});
  });
  return Text({{"models", std::move(models)}});
}

}  // namespace cistern::cacheserver
