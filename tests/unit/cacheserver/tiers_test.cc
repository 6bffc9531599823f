// Device memory over host memory over disk: what is published comes back from wherever it went, is
// copied down once, and waits for nothing that it does not need.
#include <future>
#include <thread>
#include <vector>

#include "gmock/gmock.h"

#include "tests/unit/cacheserver/tiers_fixture.h"

namespace cistern::cacheserver {
namespace {

using transport::AdminRequest;
using transport::AdminVerb;
using transport::LeaseOutcome;
using transport::LeaseReply;
using transport::LeaseRequest;
using transport::Where;

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

}  // namespace
}  // namespace cistern::cacheserver
