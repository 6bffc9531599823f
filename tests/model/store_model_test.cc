// Random calls against the store and against a plain map; the seed is printed when they disagree,
// and can be given, as can the number of calls (seed.h).
#include <gtest/gtest.h>

#include "tests/model/seed.h"
#include "tests/model/store_world.h"

namespace cistern::model_test {
namespace {

constexpr uint64_t kWorlds = 6;
constexpr uint64_t kSteps = 4000;

void RunWorlds(WorldOptions options) {
  const uint64_t first = GivenSeed().value_or(options.seed);
  const uint64_t count = GivenSeed().has_value() ? 1 : kWorlds;
  const uint64_t steps = StepsOr(count * kSteps) / count;
  storage::StoreStats sum;
  uint64_t over_quota = 0;
  uint64_t records_met = 0;
  uint64_t logs_refused = 0, logs_followed = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    options.seed = seed;
    World world(options);
    for (uint64_t i = 0; i < steps && world.trouble().empty(); ++i) world.Step();
    const storage::StoreStats stats = world.store().Stats();
    if (world.trouble().empty()) world.Settle();
    ASSERT_EQ(world.trouble(), "") << "repeat with --seed=" << seed;
    records_met += world.records_met();
    logs_refused += world.logs_refused();
    logs_followed += world.logs_followed();
    sum.commits += stats.commits;
    sum.evicted_objects += stats.evicted_objects;
    sum.moved_blocks += stats.moved_blocks;
    sum.no_room += stats.no_room;
    sum.demoted_objects += stats.demoted_objects;
    sum.staged_objects += stats.staged_objects;
    sum.content_hits += stats.content_hits;
    sum.moved_ahead_bytes += stats.moved_ahead_bytes;
    sum.expired_objects += stats.expired_objects;
    for (const storage::TenantStats& tenant : stats.tenants) over_quota += tenant.over_quota;
  }
  // These seeds at this length must have reached what the test is about; statistics begin anew when
  // a store with a disk restarts, so a longer run says no more.
  if (GivenSeed().has_value() || steps != kSteps) return;
  if (options.loads_later) {
    EXPECT_GT(records_met, 0u);
    return;  // it restarts too often for what follows
  }
  EXPECT_GT(sum.commits, 8 * count);
  EXPECT_GT(logs_refused, count);
  // Where handles run out, logs of many blocks do not stay long enough.
  if (options.max_handles == 0) {
    EXPECT_GT(logs_followed, 0u);
  }
  EXPECT_GT(sum.evicted_objects, 4 * count);
  if (options.arena_bytes > 128 << 10) {
    EXPECT_GT(sum.moved_blocks, 0u);  // a smaller arena has a single slab
  }
  EXPECT_GT(sum.no_room, count);
  EXPECT_GT(sum.content_hits, 0u);
  EXPECT_EQ(sum.expired_objects > 0, options.object_ttl < absl::InfiniteDuration());
  EXPECT_EQ(sum.moved_ahead_bytes > 0, options.predict_demand);
  EXPECT_EQ(over_quota > count, options.quota_bytes != 0);
  if (options.has_disk) {
    EXPECT_GT(sum.demoted_objects, 5 * count);
    EXPECT_GT(sum.staged_objects, 2 * count);
  }
}

TEST(StoreModel, MemoryOnly) { RunWorlds({.seed = 1}); }
TEST(StoreModel, WithDisk) { RunWorlds({.seed = 1000, .has_disk = true}); }
TEST(StoreModel, TinyArena) { RunWorlds({.seed = 2000, .arena_bytes = 80 << 10}); }
TEST(StoreModel, TinyArenaWithDisk) {
  RunWorlds({.seed = 3000, .has_disk = true, .arena_bytes = 80 << 10});
}
TEST(StoreModel, LoadsLater) { RunWorlds({.seed = 13000, .has_disk = true, .loads_later = true}); }
TEST(StoreModel, LoadsLaterWithTenants) {
  RunWorlds({.seed = 14000, .has_disk = true, .quota_bytes = 40 << 10, .loads_later = true});
}
TEST(StoreModel, Lru) { RunWorlds({.seed = 6100, .has_disk = true, .eviction_policy = "lru"}); }
TEST(StoreModel, S3Fifo) { RunWorlds({.seed = 7000, .eviction_policy = "s3fifo"}); }
TEST(StoreModel, Marconi) {
  RunWorlds({.seed = 8000, .has_disk = true, .eviction_policy = "marconi"});
}
TEST(StoreModel, Tenants) { RunWorlds({.seed = 9000, .quota_bytes = 40 << 10}); }
TEST(StoreModel, TenantsWithDisk) {
  RunWorlds({.seed = 10000, .has_disk = true, .quota_bytes = 40 << 10});
}
TEST(StoreModel, PredictedDemand) {
  RunWorlds({.seed = 12000, .has_disk = true, .arena_bytes = 448 << 10, .predict_demand = true});
}
TEST(StoreModel, TimeToLive) {
  RunWorlds({.seed = 11000,
             .has_disk = true,
             .object_ttl = absl::Milliseconds(1500),
             .steps_per_look = 200});
}
// Small blocks run out of handles before the arena runs out of bytes.
TEST(StoreModel, FewHandles) { RunWorlds({.seed = 4000, .max_handles = 20}); }

// The same calls give the same answers, handles, offsets and victims.
TEST(StoreModel, Deterministic) {
  for (uint64_t seed = 5000; seed < 5004; ++seed) {
    World a({.seed = seed, .has_disk = true});
    World b({.seed = seed, .has_disk = true});
    for (uint64_t i = 0; i < kSteps; ++i) {
      a.Step();
      b.Step();
      ASSERT_EQ(a.trace(), b.trace()) << "seed " << seed << ", step " << i;
    }
    ASSERT_EQ(a.trouble(), "") << "seed " << seed;
    EXPECT_EQ(a.store().Stats().evicted_bytes, b.store().Stats().evicted_bytes);
    EXPECT_EQ(a.store().Stats().used_bytes, b.store().Stats().used_bytes);
    World other({.seed = seed + 100, .has_disk = true});
    for (uint64_t i = 0; i < kSteps; ++i) other.Step();
    EXPECT_NE(other.trace(), a.trace()) << "the trace says nothing";
  }
}

}  // namespace
}  // namespace cistern::model_test
