// State in the store: shapes, contexts of its own, and logs that go with what they stand on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StoreStateTest : public StoreTest {
 protected:
  // Slabs for three pools and more.
  StoreStateTest() : StoreTest({.blob_block_bytes = kPage}, 1 << 20) {
    hybrid_ = TestModel("hybrid", 2, 128);
    hybrid_.state = TestState();
    ResetHybrid({.blob_block_bytes = kPage});
  }
  void ResetHybrid(const StoreOptions& options) {
    Reset(options);
    ASSERT_TRUE(store_->RegisterModel(hybrid_).ok());
    chunk_ = TestSegment(hybrid_, 1, 0, 40);
    state_ = TestCheckpoint(hybrid_, chunk_, 40);
  }

  static uint64_t SeedOf(const base::ObjectHeader& header) { return header.content.lo; }
  uint64_t BlockBytes(const base::ObjectHeader& header) const {
    return header.kind == base::ObjectKind::kCheckpoint
               ? hybrid_.state.layer_bytes()
               : hybrid_.state.log_token_bytes(header.tails);
  }
  // Reserved and written, not committed.
  ReservationId Written(const base::ObjectHeader& header) {
    const Reservation reservation = Reserve(header);
    EXPECT_EQ(reservation.outcome, Reservation::Outcome::kReserved);
    FillBlocks(*arena_, reservation.blocks, BlockBytes(header), SeedOf(header));
    const auto blocks = static_cast<uint32_t>(reservation.blocks.size());
    EXPECT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, blocks).ok());
    return reservation.id;
  }
  absl::Status TryPut(const base::ObjectHeader& header) {
    return store_->Commit(kSession, Written(header), now_).status();
  }
  ObjectId PutState(const base::ObjectHeader& header) {
    const auto id = store_->Commit(kSession, Written(header), now_);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(0);
  }
  bool Has(const base::ObjectHeader& header) { return WhereIs(header) != Where::kMiss; }
  std::vector<ObjectId> Logs(const base::Key& context, uint32_t position) const {
    std::vector<ObjectId> ids;
    for (const ObjectView& view : store_->LogsFrom(context, position, 99)) ids.push_back(view.id);
    return ids;
  }
  std::vector<ObjectId> Checkpoints(const base::Key& context) const {
    std::vector<ObjectId> ids;
    for (const ObjectView& view : store_->CheckpointsFrom(context, 99)) ids.push_back(view.id);
    return ids;
  }
  void Evict(const base::ObjectHeader& header) {
    EXPECT_EQ(store_->Evict({.key = header.content}), 1u);
  }
  // To disk, and out of memory.
  void Save(ObjectId id) {
    for (const Demotion& demotion : store_->TakeDemotions(1 << 20, false))
      store_->FinishDemotion(demotion.id, absl::OkStatus());
    store_->ForgetMemory(id);
    EXPECT_EQ(store_->Describe(id).where, Where::kDisk);
  }

  base::ModelSpec hybrid_;
  base::ObjectHeader chunk_, state_;
};

// Blocks come back as they were written, from pools of their own sizes.
TEST_F(StoreStateTest, KeepsCheckpointsAndLogsInBlocksOfTheirOwn) {
  const base::ObjectHeader log = TestLog(hybrid_, state_, 5, 7);
  const base::ObjectHeader every = TestLog(hybrid_, state_, 6, 7, base::LogTails::kEveryToken);
  for (const base::ObjectHeader& header : {state_, log, every}) {
    const Lease lease = MustAcquire(PutState(header));
    EXPECT_EQ(lease.blocks.size(), header.kind == base::ObjectKind::kCheckpoint ? 3u
                                   : header.tails == base::LogTails::kEnd       ? 10u
                                                                                : 7u);
    EXPECT_TRUE(BlocksHold(*arena_, lease.blocks, BlockBytes(header), SeedOf(header)));
  }
  std::vector<uint64_t> sizes;
  for (const PoolStats& pool : store_->Stats().pools) sizes.push_back(pool.block_bytes);
  EXPECT_THAT(sizes, ElementsAre(352, 120, 216));
}

TEST_F(StoreStateTest, CommitWantsEveryBlockOfAState) {
  const Reservation reservation = Reserve(state_);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->MarkWritten(kSession, reservation.id, 0, 4)));
  EXPECT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, 2).ok());
  EXPECT_FALSE(store_->MayCommit(kSession, reservation.id));
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Commit(kSession, reservation.id, now_).status()));
  EXPECT_TRUE(store_->MarkWritten(kSession, reservation.id, 2, 3).ok());
  EXPECT_TRUE(store_->MayCommit(kSession, reservation.id));
}

TEST_F(StoreStateTest, RefusesStateOfAModelWithoutStateLayers) {
  const base::ObjectHeader state = TestCheckpoint(model_, TestSegment(model_, 1, 0, 16), 16);
  const absl::Status refused = store_->Reserve(kSession, state, now_).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_NE(refused.message().find("no state layers"), std::string::npos) << refused;
}

// A segment and states that end and begin at the same contexts.
TEST_F(StoreStateTest, AStateIsNoSegmentOfItsContext) {
  PutState(state_);
  const base::ObjectHeader log = TestLog(hybrid_, state_, 5, 7);
  const ObjectId log_id = PutState(log);
  ASSERT_EQ(state_.context, chunk_.context);
  EXPECT_EQ(store_->ByContext(chunk_.context, false).object.where, Where::kMiss);
  EXPECT_THAT(store_->Children(chunk_.parent_context, false), IsEmpty());
  EXPECT_THAT(store_->Children(chunk_.context, false), IsEmpty());

  const ObjectId rows = Put(chunk_);
  EXPECT_EQ(store_->ByContext(chunk_.context, true).object.id, rows);
  ASSERT_EQ(store_->Children(chunk_.parent_context, true).size(), 1u);
  EXPECT_EQ(store_->Children(chunk_.parent_context, true)[0].object.id, rows);
  const ObjectId state_id =
      store_->Find({.content = state_.content, .context = state_.context}).object.id;
  EXPECT_THAT(Checkpoints(chunk_.parent_context), ElementsAre(state_id));
  EXPECT_THAT(Checkpoints(chunk_.context), IsEmpty());
  EXPECT_THAT(Logs(state_.context, 40), ElementsAre(log_id));
  EXPECT_THAT(Logs(state_.context, 39), IsEmpty()) << "it begins elsewhere";
}

TEST_F(StoreStateTest, AStateIsFoundInItsOwnContextAloneAndNeverLinked) {
  const ObjectId id = PutState(state_);
  EXPECT_TRUE(Has(state_));
  EXPECT_EQ(
      store_->Find({.content = state_.content, .context = base::Key{1, 2}, .accept_content = true})
          .object.where,
      Where::kMiss);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Link(id, base::Key{1, 2}, base::Key{})));
}

TEST_F(StoreStateTest, CheckpointsAndLogsAreNamedNewestFirstUpToABound) {
  const ObjectId short_one = PutState(TestCheckpoint(hybrid_, chunk_, 20));
  const ObjectId long_one = PutState(state_);
  EXPECT_THAT(Checkpoints(chunk_.parent_context), ElementsAre(long_one, short_one));
  EXPECT_EQ(store_->CheckpointsFrom(chunk_.parent_context, 1).size(), 1u);
  const ObjectId first = PutState(TestLog(hybrid_, state_, 5, 7));
  const ObjectId second = PutState(TestLog(hybrid_, state_, 6, 3));
  EXPECT_THAT(Logs(state_.context, 40), ElementsAre(second, first));
  EXPECT_EQ(store_->LogsFrom(state_.context, 40, 1).size(), 1u);
}

// ---- A log is never kept without what it needs

TEST_F(StoreStateTest, ALogWithoutItsStateIsRefusedAndGivesItsBlocksBack) {
  const uint64_t used = store_->Stats().used_bytes;
  const base::ObjectHeader log = TestLog(hybrid_, state_, 5, 7);
  const ReservationId id = Written(log);
  const absl::Status refused = store_->Commit(kSession, id, now_).status();
  EXPECT_TRUE(absl::IsNotFound(refused)) << refused;
  EXPECT_EQ(store_->Stats().used_bytes, used);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Abort(kSession, id))) << "it is gone";
  EXPECT_FALSE(Has(log));
}

TEST_F(StoreStateTest, ALogWaitsForAStateThatIsBeingWritten) {
  const ReservationId state = Written(state_);
  const ReservationId log = Written(TestLog(hybrid_, state_, 5, 7));
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Commit(kSession, log, now_).status()));
  EXPECT_TRUE(store_->Commit(kSession, state, now_).ok());
  EXPECT_TRUE(store_->Commit(kSession, log, now_).ok());
}

TEST_F(StoreStateTest, ALogOfTheFirstTokensStandsOnNothing) {
  const base::ObjectHeader first = TestFirstLog(hybrid_, 1, 10);
  PutState(first);
  PutState(TestLog(hybrid_, first, 2, 10));
  EXPECT_TRUE(TryPut(TestLog(hybrid_, chunk_, 3, 10)).code() == absl::StatusCode::kNotFound)
      << "rows are no state";
}

TEST_F(StoreStateTest, AChainGoesWithItsState) {
  PutState(state_);
  base::ObjectHeader end = state_;
  std::vector<base::ObjectHeader> chain;
  for (uint32_t i = 0; i < 4; ++i) {
    chain.push_back(end = TestLog(hybrid_, end, 5 + i, 3));
    PutState(end);
  }
  const base::ObjectHeader other = TestFirstLog(hybrid_, 9, 3);
  PutState(other);
  Evict(chain[1]);
  EXPECT_TRUE(Has(state_) && Has(chain[0]) && Has(other));
  EXPECT_FALSE(Has(chain[1]) || Has(chain[2]) || Has(chain[3]));
  Evict(state_);
  EXPECT_FALSE(Has(chain[0]));
  EXPECT_TRUE(Has(other));
  EXPECT_EQ(store_->Stats().objects_memory, 1u);
}

// Two states at one context: either will do.
TEST_F(StoreStateTest, LogsStayWithTheOtherStateOfTheirContext) {
  base::ObjectHeader log = TestFirstLog(hybrid_, 1, 40);
  log.context = state_.context;
  log.content = base::StateKey(log.kind, log.context, log.parent_context);
  PutState(log);
  PutState(state_);
  const base::ObjectHeader next = TestLog(hybrid_, state_, 5, 7);
  PutState(next);
  Evict(log);
  EXPECT_TRUE(Has(next));
  Evict(state_);
  EXPECT_FALSE(Has(next));
}

TEST_F(StoreStateTest, ALeasedLogStaysReadableWhenItsStateGoes) {
  PutState(state_);
  const base::ObjectHeader log = TestLog(hybrid_, state_, 5, 7);
  const Lease lease = MustAcquire(PutState(log));
  Evict(state_);
  EXPECT_FALSE(Has(log));
  EXPECT_TRUE(BlocksHold(*arena_, lease.blocks, BlockBytes(log), SeedOf(log)));
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  EXPECT_TRUE(store_->Release(kSession, lease.id).ok());
  EXPECT_EQ(store_->Stats().used_bytes, 0u);
}

// Thousands of logs, one on the other: no call goes as deep.
TEST_F(StoreStateTest, ALongChainGoesWithoutALongStack) {
  hybrid_.state.num_layers = 1;
  hybrid_.name = "tiny";
  store_.reset();
  arena_ = TestArena(4 << 20, /*max_handles=*/1 << 15);
  ResetHybrid({.blob_block_bytes = kPage});
  base::ObjectHeader end = TestFirstLog(hybrid_, 1, 1);
  const base::ObjectHeader first = end;
  PutState(end);
  for (uint32_t i = 0; i < 5000; ++i) PutState(end = TestLog(hybrid_, end, 2, 1));
  EXPECT_EQ(store_->Stats().objects_memory, 5001u);
  Evict(first);
  EXPECT_EQ(store_->Stats().objects_memory, 0u);
}

// ---- With a disk

TEST_F(StoreStateTest, AStateThatIsOnlyDemotedKeepsItsLogs) {
  ResetHybrid({.has_disk = true, .blob_block_bytes = kPage});
  const ObjectId id = PutState(state_);
  const base::ObjectHeader log = TestLog(hybrid_, state_, 5, 7);
  PutState(log);
  Save(id);
  EXPECT_TRUE(Has(log));
  store_->ForgetRecord(id);  // damaged, and not in memory
  EXPECT_FALSE(Has(state_) || Has(log));
  EXPECT_THAT(store_->TakeRecordDrops(), testing::SizeIs(2));
}

TEST_F(StoreStateTest, WhileRecordsMayComeNothingIsJudged) {
  ResetHybrid({.has_disk = true, .blob_block_bytes = kPage});
  store_->ExpectRecords(true);
  const base::ObjectHeader log = TestLog(hybrid_, state_, 5, 7);
  const base::ObjectHeader next = TestLog(hybrid_, log, 6, 7);
  const base::ObjectHeader lonely = TestLog(hybrid_, TestCheckpoint(hybrid_, chunk_, 20), 7, 7);
  EXPECT_TRUE(store_->AddDiskRecord(next, now_).ok());
  EXPECT_TRUE(store_->AddDiskRecord(lonely, now_).ok());
  EXPECT_TRUE(TryPut(log).ok());
  EXPECT_TRUE(store_->AddDiskRecord(state_, now_).ok());
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  store_->ExpectRecords(false);
  EXPECT_TRUE(Has(state_) && Has(log) && Has(next));
  EXPECT_FALSE(Has(lonely));
  EXPECT_THAT(store_->TakeRecordDrops(), ElementsAre(RecordKey{lonely.content, lonely.context}));
  EXPECT_TRUE(absl::IsNotFound(store_->AddDiskRecord(lonely, now_)));
}

// The store above knows what stands on what.
TEST_F(StoreStateTest, AStoreThatServesAnotherJudgesNothing) {
  ResetHybrid({.has_disk = true, .serves_above = true, .blob_block_bytes = kPage});
  const base::ObjectHeader log = TestLog(hybrid_, state_, 5, 7);
  EXPECT_TRUE(TryPut(log).ok());
  PutState(state_);
  Evict(state_);
  EXPECT_TRUE(Has(log));
}

// The record of a state that is being written again comes meanwhile: one of both is kept, and what
// stands on it stays.
TEST_F(StoreStateTest, ARecordOfTheSameStateTakesNothingAlong) {
  ResetHybrid({.has_disk = true, .blob_block_bytes = kPage});
  store_->ExpectRecords(true);
  const ReservationId again = Written(state_);
  EXPECT_TRUE(store_->AddDiskRecord(state_, now_).ok());
  const base::ObjectHeader log = TestLog(hybrid_, state_, 5, 7);
  PutState(log);
  store_->ExpectRecords(false);
  EXPECT_TRUE(store_->Commit(kSession, again, now_).ok());
  EXPECT_TRUE(Has(state_) && Has(log));
  EXPECT_EQ(store_->Stats().already_have, 1u);
}

}  // namespace
}  // namespace cistern::storage
