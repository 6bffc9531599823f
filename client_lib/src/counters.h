// What ClientStats reports, counted from any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "cistern/client.h"

namespace cistern::client {

struct Counters {
  std::atomic<uint64_t> plans{0}, plan_failures{0};
  std::atomic<uint64_t> fetches{0}, fetch_failures{0};
  std::atomic<uint64_t> publishes{0}, publish_failures{0};
  std::atomic<uint64_t> token_mismatches{0};
  std::atomic<uint64_t> stale_reads{0};
  std::atomic<uint64_t> checksum_failures{0};
  std::atomic<uint64_t> device_errors{0};
  std::atomic<uint64_t> reconnects{0};
  std::atomic<uint64_t> refused_slow{0};

  ClientStats Snapshot() const {
    ClientStats stats;
    stats.plans = plans;
    stats.plan_failures = plan_failures;
    stats.fetches = fetches;
    stats.fetch_failures = fetch_failures;
    stats.publishes = publishes;
    stats.publish_failures = publish_failures;
    stats.token_mismatches = token_mismatches;
    stats.stale_reads = stale_reads;
    stats.checksum_failures = checksum_failures;
    stats.device_errors = device_errors;
    stats.reconnects = reconnects;
    stats.refused_slow = refused_slow;
    return stats;
  }
};

}  // namespace cistern::client
