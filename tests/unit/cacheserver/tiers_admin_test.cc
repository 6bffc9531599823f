// What administrators and the node itself do with several tiers: flush, evict, pin, verify, status,
// and what has been dropped below.
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"

#include "cacheserver/embedded.h"
#include "cacheserver/forget_lost.h"
#include "tests/unit/cacheserver/tiers_fixture.h"

namespace cistern::cacheserver {
namespace {

using transport::AdminVerb;
using transport::Where;

using TiersAdminTest = TiersTest;

// Nobody has asked for it since: it is forgotten all the same, and what the device still has is
// copied down again.
TEST_F(TiersAdminTest, WhatTheTierBelowHasDroppedIsForgottenUnasked) {
  Make(8, 16, /*disk=*/false);
  std::vector<base::ObjectHeader> headers;
  for (uint32_t i = 0; i < 200; ++i) {
    headers.push_back(node().Segment(i));
    node().Publish(headers.back());
  }
  ASSERT_GT(HostStats().dropped_objects, 100u);
  EXPECT_GT(node().Stats().objects_disk, 150u) << "so far nobody has noticed";
  // The device's objects are copied down again meanwhile, and others go for them: it takes a few
  // looks.
  uint64_t known = 0;
  bool phantoms = true;
  const absl::Time give_up = absl::Now() + absl::Seconds(30);
  while (phantoms && absl::Now() < give_up) {
    node().service_->Housekeep();
    known = 0;
    phantoms = false;
    for (const base::ObjectHeader& header : headers) {
      const Where where = node().WhereIs(header);
      known += where == Where::kMiss ? 0 : 1;
      phantoms |= where == Where::kDisk && !InHost(header);
    }
  }
  EXPECT_FALSE(phantoms);
  EXPECT_LE(known, 24u) << "no more than there is memory";
  EXPECT_GE(known, 16u);
}

TEST_F(TiersAdminTest, WhatTheDeviceStillHasIsCopiedDownAgainWhenTheHostHasLostIt) {
  Make(16, 64);
  const auto header = node().Segment(1);
  node().Publish(header);
  Flush();
  ASSERT_EQ(node().Stats().dirty_bytes, 0u);
  node().host_->store().With([&](storage::Store& store) { store.Evict({.all = true}); });
  node().service_->Housekeep();
  EXPECT_GT(node().Stats().dirty_bytes, 0u);
  Flush();
  EXPECT_EQ(node().host_->tier().Stats().copied_in, 2u);
  node().MoveToDisk({header});
  node().ExpectServed(header);
}

// A look is bounded, and the next one goes on.
TEST_F(TiersAdminTest, LookingForWhatIsLostIsDoneInSteps) {
  Make(16, 64);
  for (uint32_t i = 0; i < 10; ++i) node().Publish(node().Segment(i));
  Flush();
  LostObjects lost(&node().host_->store(), &node().host_->tier());
  EXPECT_EQ(lost.Forget(*node().store_, 4), 0u);
  EXPECT_EQ(node().Stats().dirty_bytes, 0u);
  node().host_->store().With([&](storage::Store& store) { store.Evict({.all = true}); });
  EXPECT_EQ(lost.Forget(*node().store_, 4), 4u);
  EXPECT_EQ(lost.Forget(*node().store_, 4), 4u);
  EXPECT_EQ(lost.Forget(*node().store_, 4), 2u);
  EXPECT_EQ(lost.Forget(*node().store_, 4), 0u);
}

TEST_F(TiersAdminTest, EvictGoesThroughToTheDisk) {
  Make(16, 64);
  const auto gone = node().Segment(1), kept = node().Segment(2);
  node().Publish(gone);
  node().Publish(kept);
  Flush();
  ASSERT_EQ(node().memory_disk_->records(), 2u);
  EXPECT_EQ(Ask({.verb = AdminVerb::kEvict, .key = gone.content}).at("evicted"), 1);
  Flush();  // the device's deletion is behind it ...
  Flush();  // ... and so is the host's
  EXPECT_EQ(node().memory_disk_->records(), 1u);
  EXPECT_EQ(HostStats().objects_disk, 1u);
  EXPECT_EQ(node().WhereIs(gone), Where::kMiss);
  node().ExpectServed(kept);
}

TEST_F(TiersAdminTest, AFlushSaysWhatKeptItFromTheDisk) {
  Make(16, 64);
  const auto first = node().Segment(1), second = node().Segment(2);
  node().Publish(first);
  node().disk_->FailWrites(absl::UnavailableError("I/O error"));
  const auto failed = Flush();
  EXPECT_EQ(failed.at("flushed_objects"), 0);
  EXPECT_GT(failed.at("failures"), 0);
  EXPECT_EQ(failed.at("dirty_bytes_left"), first.num_tokens() * 64);
  EXPECT_THAT(failed.at("error").get<std::string>(), testing::HasSubstr("I/O error"));
  EXPECT_TRUE(InHost(first)) << "that far it came";
  node().disk_->FailWrites(absl::OkStatus());
  node().Publish(second);
  const auto done = Flush();
  EXPECT_EQ(done.at("flushed_objects"), 2);
  EXPECT_EQ(done.at("dirty_bytes_left"), 0);
  EXPECT_EQ(done.at("error"), "");
}

TEST_F(TiersAdminTest, PinsHoldInEveryTier) {
  Make(16, 64);
  const auto header = node().Segment(1);
  node().Publish(header);
  Flush();
  EXPECT_EQ(Ask({.verb = AdminVerb::kPin, .key = header.content}).at("pinned"), 1);
  EXPECT_EQ(PinnedInHost(), 1u);
  EXPECT_EQ(Ask({.verb = AdminVerb::kUnpin, .key = header.content}).at("unpinned"), 1);
  EXPECT_EQ(PinnedInHost(), 0u);
}

TEST_F(TiersAdminTest, StatusAndListingsTellTheTiersApart) {
  Make(16, 64);
  const auto cold = node().Segment(1), warm = node().Segment(2), hot = node().Segment(3);
  node().Publish(cold);
  node().MoveToDisk({cold});
  EmptyHost();
  node().Publish(warm);
  node().MoveToDisk({warm});
  node().Publish(hot);
  const auto status = Ask({.verb = AdminVerb::kStatus});
  const auto& tiers = status.at("tiers");
  ASSERT_EQ(tiers.size(), 3u);
  EXPECT_EQ(tiers[0].at("name"), "device");
  EXPECT_EQ(tiers[0].at("bytes"), 16 * kPageBytes);
  EXPECT_EQ(tiers[0].at("objects"), 1);
  EXPECT_EQ(tiers[1].at("name"), "host");
  EXPECT_EQ(tiers[1].at("bytes"), 64 * kPageBytes);
  EXPECT_EQ(tiers[1].at("used_bytes"), kPageBytes);
  EXPECT_EQ(tiers[1].at("objects"), 1);
  EXPECT_EQ(tiers[1].at("copied_in_objects"), 2);
  EXPECT_EQ(tiers[2].at("name"), "disk");
  EXPECT_EQ(tiers[2].at("objects"), 2);
  EXPECT_EQ(status.at("disk").at("objects"), 2);
  std::map<std::string, std::string> where;
  const auto list = Ask({.verb = AdminVerb::kList});
  for (const auto& object : list.at("objects")) where[object.at("content")] = object.at("where");
  EXPECT_EQ(where.at(cold.content.ToHex()), "disk");
  EXPECT_EQ(where.at(warm.content.ToHex()), "host");
  EXPECT_EQ(where.at(hot.content.ToHex()), "memory");
}

TEST_F(TiersAdminTest, WithoutADeviceThereAreTwoTiers) {
  ServiceTest::Make();
  const auto tiers = Ask({.verb = AdminVerb::kStatus}).at("tiers");
  ASSERT_EQ(tiers.size(), 2u);
  EXPECT_EQ(tiers[0].at("name"), "host");
  EXPECT_EQ(tiers[1].at("name"), "disk");
}

// Whichever of the three is damaged is used no more, and said to be; the others serve.
TEST_F(TiersAdminTest, VerifyLooksAtEveryTier) {
  Make(16, 64);
  const auto header = node().Segment(1, 40);
  node().Publish(header);
  Flush();
  const auto verify = [this] { return Ask({.verb = AdminVerb::kVerify, .all = true}).at("wrong"); };
  EXPECT_TRUE(verify().empty());
  node().memory_disk_->Damage(header);
  EXPECT_EQ(verify().size(), 1u) << "the record on disk";
  Flush();
  EXPECT_TRUE(verify().empty()) << "host memory's bytes have been written anew";
  const auto spoil = [&](LockedStore& locked, storage::Arena& arena) {
    locked.With([&](storage::Store& store) {
      const auto id = store.Find({header.content, header.context}).object.id;
      const auto lease = store.Acquire(76, id, absl::UnixEpoch());
      *arena.At(lease->blocks.at(0).offset) ^= std::byte{1};
      EXPECT_TRUE(store.Release(76, lease->id).ok());
    });
  };
  spoil(*node().store_, *node().arena_);
  EXPECT_EQ(verify().size(), 1u) << "the device's memory";
  EXPECT_NE(node().WhereIs(header), Where::kMemory);
  node().ExpectServed(header);
}

TEST(DeviceSettingTest, WrongSizesAreRefusedByName) {
  NodeConfig config = EmbeddedConfig();
  config.pool_bytes = 1 << 20;
  config.device_bytes = 1;
  const auto small = EmbeddedNode::Start(config).status();
  EXPECT_EQ(small.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(small.message(), testing::HasSubstr("device_bytes"));
  config.device_bytes = 1ull << 62;
  const auto large = EmbeddedNode::Start(config).status();
  EXPECT_FALSE(large.ok());
  EXPECT_THAT(large.message(), testing::HasSubstr("device_bytes"));
}

}  // namespace
}  // namespace cistern::cacheserver
