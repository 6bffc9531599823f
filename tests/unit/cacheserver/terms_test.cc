// On which terms objects stay: time to live, pins, watermarks and tenants, as a node keeps and
// shows them.
#include "gmock/gmock.h"

#include "base/tenant.h"
#include "nlohmann/json.hpp"
#include "tests/unit/cacheserver/service_fixture.h"
#include "transport/wire/codec.h"

namespace cistern::cacheserver {
namespace {

using testing::HasSubstr;
using transport::AdminReply;
using transport::AdminRequest;
using transport::AdminVerb;
using transport::Where;
using Json = nlohmann::json;

class TermsTest : public ServiceTest {
 protected:
  Json Ask(const AdminRequest& request) {
    return Json::parse(node().Send(request)->WaitFor<AdminReply>().json);
  }
  Json Status() { return Ask({.verb = AdminVerb::kStatus}); }
  void MakeWithTtl(absl::Duration ttl) {
    WorldOptions options;
    options.config.object_ttl = ttl;
    Make(options);
  }
  void After(absl::Duration by) {
    node().clock_.Advance(by);
    node().service_->Housekeep();
  }
};

TEST_F(TermsTest, AnObjectThatNobodyUsesGoesAndItsRecordToo) {
  MakeWithTtl(absl::Minutes(5));
  const auto idle = node().Segment(1), used = node().Segment(2);
  node().Publish(idle);
  node().Publish(used);
  Ask({.verb = AdminVerb::kFlush});
  ASSERT_EQ(node().memory_disk_->records(), 2u);
  After(absl::Minutes(3));
  node().Send(transport::ReleaseRequest{{node().Lease(used)}})->Wait();
  After(absl::Minutes(3));
  EXPECT_EQ(node().WhereIs(idle), Where::kMiss);
  EXPECT_EQ(node().WhereIs(used), Where::kMemory);
  Ask({.verb = AdminVerb::kFlush});  // the demoter has looked at what there is to delete
  EXPECT_EQ(node().memory_disk_->records(), 1u);
  EXPECT_EQ(Status().at("eviction").at("expired_objects"), 1);
  EXPECT_EQ(Status().at("eviction").at("object_ttl_ms"), 300000);
}

TEST_F(TermsTest, WhatIsOnDiskOnlyExpiresToo) {
  MakeWithTtl(absl::Minutes(5));
  const auto header = node().Segment(1);
  node().Publish(header);
  node().MoveToDisk({header});
  After(absl::Minutes(6));
  EXPECT_EQ(node().WhereIs(header), Where::kMiss);
  Ask({.verb = AdminVerb::kFlush});
  EXPECT_EQ(node().memory_disk_->records(), 0u);
}

TEST_F(TermsTest, LeasedAndPinnedObjectsOutliveTheirTime) {
  MakeWithTtl(absl::Minutes(5));
  const auto leased = node().Segment(1), pinned = node().Segment(2);
  node().Publish(leased);
  node().Publish(pinned);
  const auto lease = node().Lease(leased);
  Ask({.verb = AdminVerb::kPin, .key = pinned.content});
  After(absl::Minutes(6));
  EXPECT_EQ(node().WhereIs(leased), Where::kMemory);
  EXPECT_EQ(node().WhereIs(pinned), Where::kMemory);
  // From their last use on they have as long as any.
  node().Send(transport::ReleaseRequest{{lease}})->Wait();
  Ask({.verb = AdminVerb::kUnpin, .key = pinned.content});
  After(absl::Minutes(6));
  EXPECT_EQ(node().WhereIs(leased), Where::kMiss);
  EXPECT_EQ(node().WhereIs(pinned), Where::kMiss);
}

TEST_F(TermsTest, WithoutATimeToLiveNothingExpires) {
  Make();
  const auto header = node().Segment(1);
  node().Publish(header);
  After(absl::Hours(24 * 365));
  EXPECT_EQ(node().WhereIs(header), Where::kMemory);
  EXPECT_EQ(Status().at("eviction").at("object_ttl_ms"), 0);
}

TEST_F(TermsTest, OneLookTakesABoundedNumberOfObjects) {
  WorldOptions options;
  options.config.object_ttl = absl::Minutes(5);
  options.pool_bytes = 1200 * kPageBytes;
  options.disk = false;
  Make(options);
  for (uint32_t i = 1; i <= 1100; ++i) node().Publish(node().Segment(i, 1));
  After(absl::Minutes(6));
  EXPECT_EQ(node().Stats().objects_memory, 1100u - 1024u);
  After(absl::Seconds(1));
  EXPECT_EQ(node().Stats().objects_memory, 0u);
}

TEST_F(TermsTest, StatusNamesPolicyAndWatermarks) {
  WorldOptions options;
  options.config.eviction_policy = "lru";
  options.config.demote_above = 0.75;
  options.config.demote_below = 0.5;
  Make(options);
  const Json eviction = Status().at("eviction");
  EXPECT_EQ(eviction.at("policy"), "lru");
  EXPECT_EQ(eviction.at("demote_above"), 0.75);
  EXPECT_EQ(eviction.at("demote_above_bytes"), 48 * kPageBytes);
  EXPECT_EQ(eviction.at("demote_below"), 0.5);
  EXPECT_EQ(eviction.at("demote_below_bytes"), 32 * kPageBytes);
  EXPECT_EQ(eviction.at("draining"), false);
}

}  // namespace
}  // namespace cistern::cacheserver
