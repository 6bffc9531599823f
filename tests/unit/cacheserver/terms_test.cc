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

TEST_F(TermsTest, StatusSaysWhenMemoryIsBeingDrained) {
  Make();
  node().disk_->Block();
  for (uint32_t i = 1; i <= 60; ++i) node().Publish(node().Segment(i));  // of 64, above 90 %
  node().service_->Housekeep();
  node().disk_->AwaitBlocked(1);
  EXPECT_EQ(Status().at("eviction").at("draining"), true);
  node().disk_->Release();
  Ask({.verb = AdminVerb::kFlush});
  EXPECT_EQ(Status().at("eviction").at("draining"), false);
}

TEST_F(TermsTest, PinnedObjectsAreCounted) {
  Make();
  const auto a = node().Segment(1, 32), b = node().Segment(2);
  node().Publish(a);
  node().Publish(b);
  Ask({.verb = AdminVerb::kPin, .key = a.content});
  EXPECT_EQ(Status().at("eviction").at("pinned_objects"), 1);
  EXPECT_EQ(Status().at("eviction").at("pinned_bytes"), 2 * kPageBytes);
  Ask({.verb = AdminVerb::kUnpin, .key = a.content});
  EXPECT_EQ(Status().at("eviction").at("pinned_objects"), 0);
  EXPECT_EQ(Status().at("eviction").at("pinned_bytes"), 0);
}

// The JSON of a status travels as one text: however many tenants there are, it fits.
TEST_F(TermsTest, AStatusWithAllTenantsThatThereMayBeCrossesTheWire) {
  WorldOptions options;
  options.config.tenants.named.reserve(kMaxTenants);
  for (size_t i = 0; i < kMaxTenants; ++i)
    options.config.tenants.named.push_back({.tenant = i + 1, .quota_bytes = UINT64_MAX});
  Make(options);
  const auto reply = node().Send(AdminRequest{})->WaitFor<AdminReply>();
  ASSERT_TRUE(transport::CheckBounds(transport::Reply(reply)).ok());
  const std::string wire = transport::EncodeReply({.call_id = 1}, reply);
  EXPECT_LT(wire.size(), uint64_t{256} << 10);
  const auto back = transport::DecodeReply(std::as_bytes(std::span(wire)));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(std::get<AdminReply>(back->reply), reply);
  const Json tenants = Json::parse(reply.json).at("tenants");
  ASSERT_EQ(tenants.size(), kMaxTenants + 1);
  EXPECT_EQ(tenants.at(0).at("tenant"), base::TenantText(1));
  EXPECT_EQ(tenants.at(kMaxTenants - 1).at("tenant"), base::TenantText(kMaxTenants));
  EXPECT_EQ(tenants.at(kMaxTenants - 1).at("quota_bytes"), UINT64_MAX);
  EXPECT_EQ(tenants.at(kMaxTenants).at("tenant"), "others");
}

}  // namespace
}  // namespace cistern::cacheserver
