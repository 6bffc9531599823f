// Device memory over host memory over disk: what is published comes back from wherever it went, is
// copied down once, and waits for nothing that it does not need.
#include <future>
#include <thread>
#include <vector>

#include "gmock/gmock.h"

#include "cacheserver/embedded.h"
#include "nlohmann/json.hpp"
#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using transport::AdminReply;
using transport::AdminRequest;
using transport::AdminVerb;
using transport::LeaseOutcome;
using transport::LeaseReply;
using transport::LeaseRequest;
using transport::Where;

class TiersTest : public ServiceTest {
 protected:
  void Make(uint64_t device_pages, uint64_t host_pages, bool disk = true) {
    WorldOptions options;
    options.pool_bytes = device_pages * kPageBytes;
    options.host_bytes = host_pages * kPageBytes;
    options.disk = disk;
    ServiceTest::Make(options);
  }
  nlohmann::json Ask(AdminRequest request) {
    return nlohmann::json::parse(node().Send(std::move(request))->WaitFor<AdminReply>().json);
  }
  nlohmann::json Flush() { return Ask({.verb = AdminVerb::kFlush}); }
  storage::StoreStats HostStats() {
    return node().host_->store().With([](storage::Store& store) { return store.Stats(); });
  }
  bool InHost(const base::ObjectHeader& header) {
    return node().host_->tier().InMemory({header.content, header.context});
  }
  uint64_t PinnedInHost() {
    uint64_t count = 0;
    node().host_->store().With([&](storage::Store& store) {
      store.List({.all = true}, 0, 100,
                 [&](const storage::ObjectView&, bool pinned, uint32_t, double) {
                   count += pinned ? 1 : 0;
                 });
    });
    return count;
  }
  // What may go leaves the host's memory.
  void EmptyHost() {
    node().host_->store().With([&](storage::Store& store) {
      const auto all = ServiceWorld::Blob(998, node().host_->arena().slab_bytes_total());
      const auto reservation = store.Reserve(77, all, absl::UnixEpoch());
      ASSERT_EQ(reservation->outcome, storage::Reservation::Outcome::kReserved);
      store.CloseSession(77);
    });
  }
};

TEST_F(TiersTest, EverythingComesBackFromAWorkingSetManyTimesTheDevice) {
  Make(/*device_pages=*/16, /*host_pages=*/64);
  std::vector<base::ObjectHeader> headers;
  for (uint32_t i = 0; i < 150; ++i) {
    headers.push_back(node().Segment(i, 1 + i * 7 % 60));
    node().Publish(headers.back());
  }
  for (int round = 0; round < 2; ++round) {
    for (const base::ObjectHeader& header : headers) node().ExpectServed(header);
  }
  EXPECT_EQ(Flush().at("dirty_bytes_left"), 0);
  EXPECT_EQ(node().memory_disk_->records(), headers.size());
  EXPECT_EQ(node().memory_disk_->Stats().writes, headers.size()) << "each was written once";
  EXPECT_EQ(node().host_->tier().Stats().copied_in, headers.size()) << "and copied down once";
  const auto verified = Ask({.verb = AdminVerb::kVerify, .all = true});
  EXPECT_EQ(verified.at("checked"), headers.size());
  EXPECT_TRUE(verified.at("wrong").empty()) << verified;
  EXPECT_EQ(verified.at("invariants"), "ok");
}

TEST_F(TiersTest, WithoutADiskHostMemoryIsTheLastTier) {
  Make(8, 64, /*disk=*/false);
  std::vector<base::ObjectHeader> headers;
  for (uint32_t i = 0; i < 40; ++i) {
    headers.push_back(node().Segment(i));
    node().Publish(headers.back());
  }
  for (const base::ObjectHeader& header : headers) node().ExpectServed(header);
  EXPECT_EQ(node().Send(AdminRequest{.verb = AdminVerb::kFlush})->WaitStatus().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(TiersTest, WhatHasBeenDemotedIsNotCopiedAgain) {
  Make(16, 64);
  const auto header = node().Segment(1, 40);
  node().Publish(header);
  for (int round = 0; round < 3; ++round) {
    node().MoveToDisk({header});  // out of the device's memory
    node().ExpectServed(header);
    EXPECT_EQ(node().WhereIs(header), Where::kMemory);
  }
  EXPECT_EQ(node().host_->tier().Stats().copied_in, 1u);
  EXPECT_EQ(node().host_->tier().Stats().copied_out, 3u);
  EXPECT_EQ(node().memory_disk_->Stats().writes, 1u);
  EXPECT_EQ(node().memory_disk_->reads(), 0u) << "host memory has had it all the time";
}

// The disk stands still: host memory fills with what it cannot write, then the device's. Who finds
// no room waits; who reads what is there does not; and nothing is lost.
TEST_F(TiersTest, AStandingDiskLosesNothingAndHoldsUpNoReader) {
  Make(8, 8);
  node().disk_->Block();
  std::vector<base::ObjectHeader> headers;
  for (uint32_t i = 0; i < 16; ++i) {
    headers.push_back(node().Segment(i));
    node().Publish(headers.back());
  }
  while (HostStats().objects_memory < 8) node().demoter_->MakeRoom();
  EXPECT_EQ(node().memory_disk_->records(), 0u);
  const auto late = node().Segment(99);
  const auto waiting = node().Send(transport::ReserveRequest{{late}});
  while (node().host_->tier().Stats().waits == 0) std::this_thread::yield();
  EXPECT_FALSE(waiting->answered());
  int served = 0;
  for (const base::ObjectHeader& header : headers) {
    ASSERT_NE(node().WhereIs(header), Where::kMiss);
    if (node().WhereIs(header) != Where::kMemory) continue;
    node().ExpectServed(header);
    ++served;
  }
  EXPECT_EQ(served, 8);
  EXPECT_FALSE(waiting->answered());
  node().disk_->Release();
  const auto reserved = waiting->WaitFor<transport::ReserveReply>().results.at(0);
  EXPECT_EQ(reserved.outcome, transport::ReserveOutcome::kReserved);
  node().Send(transport::AbortRequest{{reserved.reservation}})->Wait();
  for (const base::ObjectHeader& header : headers) node().ExpectServed(header);
  EXPECT_EQ(node().Stats().dropped_objects + HostStats().dropped_objects, 0u);
}

// All disk threads stand at the disk; what host memory has is copied up meanwhile.
TEST_F(TiersTest, WhatHostMemoryHasDoesNotWaitForReadsFromDisk) {
  Make(16, 64);
  std::vector<base::ObjectHeader> cold;
  for (uint32_t i = 0; i < 3; ++i) {
    cold.push_back(node().Segment(i));
    node().Publish(cold.back());
  }
  node().MoveToDisk(cold);
  EmptyHost();
  const auto warm = node().Segment(50);
  node().Publish(warm);
  node().MoveToDisk({warm});
  ASSERT_TRUE(InHost(warm));
  ASSERT_FALSE(InHost(cold[0]));
  node().disk_->Block();
  std::vector<std::shared_ptr<CallResult>> slow;
  for (const base::ObjectHeader& header : cold)
    slow.push_back(node().Send(LeaseRequest{{node().IdOf(header)}}));
  node().disk_->AwaitBlocked(2);  // as many as there are threads
  node().ExpectServed(warm);
  for (const auto& lease : slow) EXPECT_FALSE(lease->answered());
  node().disk_->Release();
  for (const auto& lease : slow)
    EXPECT_EQ(lease->WaitFor<LeaseReply>().results.at(0).outcome, LeaseOutcome::kLeased);
}

TEST_F(TiersTest, AFailedReadBelowDropsOnlyThatObject) {
  Make(16, 64);
  const auto damaged = node().Segment(1, 40), sound = node().Segment(2, 40);
  node().Publish(damaged);
  node().Publish(sound);
  node().MoveToDisk({damaged, sound});
  EmptyHost();
  node().memory_disk_->Damage(damaged);
  EXPECT_EQ(
      node().Send(LeaseRequest{{node().IdOf(damaged)}})->WaitFor<LeaseReply>().results[0].outcome,
      LeaseOutcome::kGone);
  EXPECT_EQ(node().WhereIs(damaged), Where::kMiss);
  node().ExpectServed(sound);
  Flush();  // behind the deletion of the record
  EXPECT_EQ(node().memory_disk_->records(), 1u);
  node().Publish(damaged);  // it may come back
  node().ExpectServed(damaged);
}

// The host dropped it (its disk's bound, say): a miss when it is asked for, and stored anew then.
TEST_F(TiersTest, WhatTheTierBelowHasDroppedIsAMiss) {
  Make(16, 64);
  const auto header = node().Segment(1);
  node().Publish(header);
  node().MoveToDisk({header});
  node().host_->store().With([&](storage::Store& store) { store.Evict({.all = true}); });
  EXPECT_EQ(
      node().Send(LeaseRequest{{node().IdOf(header)}})->WaitFor<LeaseReply>().results[0].outcome,
      LeaseOutcome::kGone);
  EXPECT_EQ(node().WhereIs(header), Where::kMiss);
  node().Publish(header);
  node().ExpectServed(header);
}

// Nobody has asked for it since: it is forgotten all the same, and what the device still has is
// copied down again.
TEST_F(TiersTest, WhatTheTierBelowHasDroppedIsForgottenUnasked) {
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

TEST_F(TiersTest, WhatTheDeviceStillHasIsCopiedDownAgainWhenTheHostHasLostIt) {
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
TEST_F(TiersTest, LookingForWhatIsLostIsDoneInSteps) {
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

TEST_F(TiersTest, EvictGoesThroughToTheDisk) {
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

TEST_F(TiersTest, AnExactComputationReplacesAnApproximateOneAllTheWayDown) {
  Make(16, 64);
  auto header = node().Segment(1);
  header.lineage = base::Lineage::kApproximate;
  node().Publish(header);
  node().MoveToDisk({header});
  header.lineage = base::Lineage::kExact;
  node().Publish(header);
  node().MoveToDisk({header});
  EmptyHost();
  const auto found = node().Find({header});
  EXPECT_EQ(found.results.at(0).lineage, base::Lineage::kExact);
  node().ExpectServed(header);
  EXPECT_EQ(node().memory_disk_->records(), 1u);
}

TEST_F(TiersTest, AFlushSaysWhatKeptItFromTheDisk) {
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

// The host forgets models of which it has nothing; by the time the device demotes, it must know.
TEST_F(TiersTest, AModelThatTheHostHasForgottenIsToldToItAgain) {
  Make(16, 64);
  const auto header = node().Segment(1);
  node().Publish(header);
  base::ModelSpec other = node().model_;
  for (int i = 0; i < 256; ++i) {
    other.revision = absl::StrCat("other ", i);
    ASSERT_TRUE(node().Send(transport::RegisterModelRequest{other.ToJson()})->WaitStatus().ok());
  }
  ASSERT_TRUE(node().host_->store().With(
      [&](storage::Store& store) { return store.FindModel(header.model) == nullptr; }));
  EXPECT_EQ(Flush().at("flushed_objects"), 1);
  node().MoveToDisk({header});
  node().ExpectServed(header);
}

// The queue of disk reads is full: whoever waits is told, and the object is still there.
TEST_F(TiersTest, AFullQueueOfDiskReadsIsToldToWhoWaits) {
  Make(16, 64);
  const auto cold = node().Segment(1), warm = node().Segment(2);
  node().Publish(cold);
  node().MoveToDisk({cold});
  EmptyHost();
  node().Publish(warm);
  node().MoveToDisk({warm});
  WorkPool busy("busy", 1, 1);
  base::Mutex gate;
  gate.Lock();
  const auto wait = [&gate] { base::MutexLock lock(&gate); };
  ASSERT_TRUE(busy.Post(wait));
  while (busy.queued() > 0) std::this_thread::yield();  // its thread has it now
  ASSERT_TRUE(busy.Post(wait));
  Stager stager({node().store_.get(), node().arena_.get(), &node().host_->tier(), &busy,
                 &node().counters_, &node().log_, kPageBytes, [] {}, node().copy_pool_.get()});
  const auto stage = [&](const base::ObjectHeader& header) {
    std::promise<absl::Status> read;
    const auto outcome = node().store_->With([&](storage::Store& store) {
      const auto id = store.Find({header.content, header.context}).object.id;
      return stager.Stage(
          store, id, absl::UnixEpoch(),
          [&](storage::Store&, const absl::Status& status, AfterLock&) { read.set_value(status); });
    });
    EXPECT_EQ(outcome, Stager::Outcome::kStarted);
    return read.get_future().get();
  };
  EXPECT_EQ(stage(cold).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(stage(warm), absl::OkStatus()) << "a copy needs no disk thread";
  gate.Unlock();
  busy.Stop();
  EXPECT_EQ(node().WhereIs(cold), Where::kDisk);
  node().ExpectServed(cold);
}

TEST_F(TiersTest, PinsHoldInEveryTier) {
  Make(16, 64);
  const auto header = node().Segment(1);
  node().Publish(header);
  Flush();
  EXPECT_EQ(Ask({.verb = AdminVerb::kPin, .key = header.content}).at("pinned"), 1);
  EXPECT_EQ(PinnedInHost(), 1u);
  EXPECT_EQ(Ask({.verb = AdminVerb::kUnpin, .key = header.content}).at("unpinned"), 1);
  EXPECT_EQ(PinnedInHost(), 0u);
}

TEST_F(TiersTest, StatusAndListingsTellTheTiersApart) {
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

TEST_F(TiersTest, WithoutADeviceThereAreTwoTiers) {
  ServiceTest::Make();
  const auto tiers = Ask({.verb = AdminVerb::kStatus}).at("tiers");
  ASSERT_EQ(tiers.size(), 2u);
  EXPECT_EQ(tiers[0].at("name"), "host");
  EXPECT_EQ(tiers[1].at("name"), "disk");
}

// Whichever of the three is damaged is used no more, and said to be; the others serve.
TEST_F(TiersTest, VerifyLooksAtEveryTier) {
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
