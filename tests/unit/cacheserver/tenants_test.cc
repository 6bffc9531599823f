// Two tenants of one node: quotas and priorities, as workers see them through the service.
#include "gmock/gmock.h"

#include "base/tenant.h"
#include "nlohmann/json.hpp"
#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using transport::AdminReply;
using transport::AdminRequest;
using transport::ReserveOutcome;
using transport::Where;
using Json = nlohmann::json;

constexpr uint64_t kQuotaPages = 8;

class TenantsTest : public ServiceTest {
 protected:
  // 64 pages of memory; `rules` as a setting.
  void MakeWith(const std::string& rules, bool disk) {
    WorldOptions options;
    options.disk = disk;
    ASSERT_TRUE(SetConfigField(options.config, "tenants", rules).ok());
    Make(options);
  }
  // One page each, texts [begin, end).
  std::vector<base::ObjectHeader> PublishAll(const std::string& salt, uint32_t begin,
                                             uint32_t end) {
    std::vector<base::ObjectHeader> headers;
    for (uint32_t text = begin; text < end; ++text) {
      headers.push_back(node().Segment(text, 16, nullptr, salt));
      node().Publish(headers.back());
    }
    return headers;
  }
  size_t CountAt(Where where, const std::vector<base::ObjectHeader>& headers) {
    size_t count = 0;
    for (const base::ObjectHeader& header : headers)
      count += node().WhereIs(header) == where ? 1 : 0;
    return count;
  }
  // What status says of the tenant with this salt, or of "others".
  Json Of(const std::string& salt) {
    const std::string name = salt == "others" ? salt : base::TenantText(base::TenantOf(salt));
    const Json status = Json::parse(node().Send(AdminRequest{})->WaitFor<AdminReply>().json);
    for (const Json& tenant : status.at("tenants")) {
      if (tenant.at("tenant") == name) return tenant;
    }
    ADD_FAILURE() << "status does not name " << name << ": " << status.at("tenants");
    return {};
  }
};

TEST_F(TenantsTest, AQuotaIsPaidWithTheTenantsOwnObjects) {
  MakeWith("a:quota=8KiB", /*disk=*/false);
  const auto others = PublishAll("b", 100, 120);
  const auto a = PublishAll("a", 1, 21);
  EXPECT_EQ(CountAt(Where::kMemory, a), kQuotaPages);
  EXPECT_EQ(CountAt(Where::kMemory, others), others.size()) << "there is free memory besides";
  const Json of_a = Of("a");
  EXPECT_EQ(of_a.at("priority"), 1);
  EXPECT_EQ(of_a.at("quota_bytes"), kQuotaPages * kPageBytes);
  EXPECT_EQ(of_a.at("used_bytes"), kQuotaPages * kPageBytes);
  EXPECT_EQ(of_a.at("objects"), kQuotaPages);
  EXPECT_EQ(of_a.at("evicted_objects"), a.size() - kQuotaPages);
  EXPECT_EQ(Of("others").at("used_bytes"), others.size() * kPageBytes);
  EXPECT_EQ(Of("others").at("evicted_objects"), 0);
}

TEST_F(TenantsTest, WhatAQuotaDrivesOutOfMemoryIsOnDisk) {
  MakeWith("a:quota=8KiB", /*disk=*/true);
  const auto others = PublishAll("b", 100, 120);
  const auto a = PublishAll("a", 1, 21);
  EXPECT_EQ(CountAt(Where::kMemory, a), kQuotaPages);
  EXPECT_EQ(CountAt(Where::kDisk, a), a.size() - kQuotaPages);
  EXPECT_EQ(CountAt(Where::kMemory, others), others.size());
  // Back from disk it comes within the quota, too.
  for (const base::ObjectHeader& header : a)
    node().Send(transport::ReleaseRequest{{node().Lease(header)}})->Wait();
  EXPECT_LE(Of("a").at("used_bytes"), kQuotaPages * kPageBytes);
  EXPECT_EQ(CountAt(Where::kMiss, a), 0u);
  EXPECT_EQ(CountAt(Where::kMemory, others), others.size());
}

TEST_F(TenantsTest, AQuotaFullOfLeasedObjectsIsRefusedAndCounted) {
  MakeWith("a:quota=8KiB", /*disk=*/false);
  const auto a = PublishAll("a", 1, 1 + kQuotaPages);
  for (const base::ObjectHeader& header : a) node().Lease(header);
  const auto refused =
      node().Send(transport::ReserveRequest{{node().Segment(50, 16, nullptr, "a")}});
  node().clock_.Advance(absl::Seconds(10));
  node().room_->RoomCame();
  EXPECT_EQ(refused->WaitFor<transport::ReserveReply>().results.at(0).outcome,
            ReserveOutcome::kNoRoom);
  EXPECT_GE(Of("a").at("over_quota"), 1);
  PublishAll("b", 100, 120);  // nobody else minds
  EXPECT_EQ(Of("others").at("over_quota"), 0);
}

TEST_F(TenantsTest, WhatIsLargerThanTheQuotaIsRefusedAtOnce) {
  MakeWith("a:quota=8KiB", /*disk=*/true);
  const auto a = PublishAll("a", 1, 3);
  const uint32_t tokens = 16 * (kQuotaPages + 1);
  const auto reply =
      node()
          .Send(transport::ReserveRequest{
              {node().Segment(50, tokens, nullptr, "a"), node().Segment(50, tokens, nullptr, "b")}})
          ->WaitFor<transport::ReserveReply>();
  ASSERT_EQ(reply.results.size(), 2u);
  EXPECT_EQ(reply.results[0].outcome, ReserveOutcome::kTooLarge);
  EXPECT_EQ(reply.results[1].outcome, ReserveOutcome::kReserved);
  EXPECT_EQ(CountAt(Where::kMemory, a), 2u) << "nothing went for it";
}

TEST_F(TenantsTest, OthersShareOneQuota) {
  MakeWith("a:priority=1,others:quota=8KiB", /*disk=*/false);
  PublishAll("b", 100, 106);
  PublishAll("c", 200, 206);
  PublishAll("a", 1, 21);
  EXPECT_EQ(Of("others").at("used_bytes"), kQuotaPages * kPageBytes);
  EXPECT_EQ(Of("others").at("evicted_objects"), 12 - kQuotaPages);
  EXPECT_EQ(Of("a").at("objects"), 20);
}

TEST_F(TenantsTest, TheLowestPriorityGoesFirstWhateverItIsWorth) {
  MakeWith("high:priority=2,low:priority=0", /*disk=*/false);
  const auto high = PublishAll("high", 1, 21);
  const auto middle = PublishAll("b", 100, 120);
  const auto low = PublishAll("low", 200, 224);  // 64 of 64 pages
  for (const base::ObjectHeader& header : low)   // the dearest, by use
    node().Send(transport::ReleaseRequest{{node().Lease(header)}})->Wait();
  PublishAll("high", 300, 324);
  EXPECT_EQ(CountAt(Where::kMemory, low), 0u);
  EXPECT_EQ(CountAt(Where::kMemory, middle), middle.size());
  EXPECT_EQ(CountAt(Where::kMemory, high), high.size());
  PublishAll("high", 400, 420);
  EXPECT_EQ(CountAt(Where::kMemory, middle), 0u);
  EXPECT_EQ(CountAt(Where::kMemory, high), high.size());
}

}  // namespace
}  // namespace cistern::cacheserver
