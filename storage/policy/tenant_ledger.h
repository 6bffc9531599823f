// What each tenant rule allows, and what its tenants take of memory.
//
// Rules are numbered as in StoreOptions::tenants; the last number is that of all other tenants.
//
// Cost     O(1)
// Thread   one at a time
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"

#include "storage/policy/victim_queue.h"
#include "storage/store.h"

namespace cistern::storage {

// The tenants of one rule.
struct Tenancy {
  TenantStats stats;
  uint64_t evictable_bytes = 0;  // of stats.used_bytes, that may be evicted now
  uint64_t demoting_bytes = 0;   // of them, that are being written to disk
  uint64_t unsaved_bytes = 0;    // of payload in memory that is on no disk
  bool draining = false;         // above the quota's high watermark, not yet below the low one
  bool wants_room = false;       // was refused for its quota since demotions were last chosen
  VictimQueue dirty;             // should be demoted

  uint64_t quota_bytes() const { return stats.rule.quota_bytes; }
  bool has_quota() const { return quota_bytes() != 0; }
  // Whether `bytes` more would pass the quota.
  bool Exceeds(uint64_t bytes) const {
    return has_quota() && stats.used_bytes + bytes > quota_bytes();
  }
  // Whether they could be had within the quota if all that may go were gone.
  bool Allows(uint64_t bytes) const {
    return !has_quota() || stats.used_bytes - evictable_bytes + bytes <= quota_bytes();
  }
  // Bytes in use that neither are nor will soon be free for the taking.
  uint64_t PressureBytes() const { return stats.used_bytes - evictable_bytes - demoting_bytes; }
};

class TenantLedger {
 public:
  TenantLedger(const std::vector<TenantRule>& tenants, const TenantRule& others) {
    tenancies_.reserve(tenants.size() + 1);
    for (const TenantRule& rule : tenants) {
      index_.emplace(rule.tenant, static_cast<uint32_t>(tenancies_.size()));
      tenancies_.push_back({.stats = {.rule = rule}});
    }
    tenancies_.push_back({.stats = {.rule = others}});
  }

  uint32_t RuleOf(uint64_t tenant) const {
    const auto it = index_.find(tenant);
    return it == index_.end() ? static_cast<uint32_t>(tenancies_.size() - 1) : it->second;
  }
  std::vector<uint32_t> Priorities() const {
    std::vector<uint32_t> priorities;
    priorities.reserve(tenancies_.size());
    for (const Tenancy& tenancy : tenancies_) priorities.push_back(tenancy.stats.rule.priority);
    return priorities;
  }

  Tenancy& at(uint32_t rule) { return tenancies_[rule]; }
  std::vector<Tenancy>& all() { return tenancies_; }
  const std::vector<Tenancy>& all() const { return tenancies_; }

 private:
  absl::flat_hash_map<uint64_t, uint32_t> index_;
  std::vector<Tenancy> tenancies_;
};

}  // namespace cistern::storage
