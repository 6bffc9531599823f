// Which state goes when room is needed: what a later one has made superfluous, then leaves and
// branch points by their worth, then what logs in memory stand on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

class StoreStateEvictTest : public StoreTest {
 protected:
  StoreStateEvictTest() {
    hybrid_ = TestModel("hybrid", 2, 128);
    hybrid_.state = TestState();
    chunk_ = TestSegment(hybrid_, 1, 0, 100);
    Make(1);
  }
  // A slab is one pool's: with as many as there are pools, each makes room in its own.
  void Make(uint32_t slabs, bool has_disk = false) {
    store_.reset();
    arena_ = TestArena(slabs * kSlab, /*max_handles=*/1 << 14);
    Reset({.has_disk = has_disk, .blob_block_bytes = kPage});
    EXPECT_TRUE(store_->RegisterModel(hybrid_).ok());
  }
  // The state behind `tokens` tokens of one prompt.
  base::ObjectHeader At(uint32_t tokens, const base::ObjectHeader* previous = nullptr) const {
    return TestCheckpoint(hybrid_, chunk_, tokens,
                          previous == nullptr ? base::Key{} : previous->context);
  }
  ObjectId PutState(const base::ObjectHeader& header) {
    const Reservation reservation = Reserve(header);
    EXPECT_EQ(reservation.outcome, Reservation::Outcome::kReserved);
    const auto blocks = static_cast<uint32_t>(reservation.blocks.size());
    EXPECT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, blocks).ok());
    const auto id = store_->Commit(kSession, reservation.id, now_);
    EXPECT_TRUE(id.ok()) << id.status();
    EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
    return id.value_or(0);
  }
  bool Has(const base::ObjectHeader& header) { return WhereIs(header) != Where::kMiss; }
  // Takes room of the pool that `last` is in until one of these has left memory: which, and that no
  // other has left with it.
  base::ObjectHeader FirstToGo(const std::vector<base::ObjectHeader>& headers) {
    std::vector<base::ObjectHeader> gone;
    for (; gone.empty() && text_ < 3000; ++text_) {
      const base::ObjectHeader filler =
          headers.back().kind == base::ObjectKind::kLog
              ? TestFirstLog(hybrid_, text_, 1)
              : TestCheckpoint(hybrid_, TestSegment(hybrid_, text_, 0, 16), 16);
      EXPECT_EQ(Reserve(filler, kOther).outcome, Reservation::Outcome::kReserved);
      for (const base::ObjectHeader& header : headers) {
        if (WhereIs(header) != Where::kMemory) gone.push_back(header);
      }
    }
    EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
    EXPECT_EQ(gone.size(), 1u);
    return gone.empty() ? base::ObjectHeader() : gone.front();
  }
  void Use(const base::ObjectHeader& header) {
    const ObjectId id =
        store_->Find({.content = header.content, .context = header.context}).object.id;
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(store_->Release(kSession, MustAcquire(id).id).ok());
  }

  static constexpr uint64_t kSlab = 64 << 10;

  base::ModelSpec hybrid_;
  base::ObjectHeader chunk_;
  uint32_t text_ = 1000;  // of the next filler
};

// However deep it lies, and however often it was used.
TEST_F(StoreStateEvictTest, ACheckpointThatASequenceHasLeftBehindGoesFirst) {
  const base::ObjectHeader first = At(20), second = At(90, &first);
  PutState(first);
  PutState(second);
  Use(first);
  EXPECT_EQ(FirstToGo({first, second}), first);
}

TEST_F(StoreStateEvictTest, ABranchPointIsKeptLikeALeaf) {
  const base::ObjectHeader branch = At(80), left = At(90, &branch), right = At(95, &branch);
  const base::ObjectHeader passed = At(81), end = At(99, &passed);
  for (const auto& header : {branch, left, right, passed, end}) PutState(header);
  EXPECT_EQ(FirstToGo({branch, left, right, passed, end}), passed);
  // One of its branches gone, it is inside a single sequence.
  EXPECT_EQ(store_->Evict({.key = left.content}), 1u);
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  EXPECT_EQ(FirstToGo({branch, right, end}), branch);
}

// What has gone leaves its successors to the state that it was computed from.
TEST_F(StoreStateEvictTest, ACheckpointIsLeftBehindAlsoByTheSuccessorOfItsSuccessor) {
  const base::ObjectHeader first = At(70), second = At(80, &first), third = At(90, &second);
  for (const auto& header : {first, second, third}) PutState(header);
  EXPECT_EQ(store_->Evict({.key = second.content}), 1u);
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  EXPECT_EQ(FirstToGo({first, third}), first);
}

// A chain of logs, and the checkpoint that replaced it: from the chain's end to what it stood on.
TEST_F(StoreStateEvictTest, AChainThatACheckpointReplacedGoesFromItsEnd) {
  Make(2);
  const base::ObjectHeader base = At(40);
  const base::ObjectHeader log = TestLog(hybrid_, base, 5, 10), next = TestLog(hybrid_, log, 6, 10);
  const base::ObjectHeader other = TestFirstLog(hybrid_, 8, 1);
  const base::ObjectHeader folded = At(99, &next);
  for (const auto& header : {base, other, log, next, folded}) PutState(header);
  Use(next);
  EXPECT_EQ(FirstToGo({base, log, folded, next, other}), next);
  EXPECT_EQ(FirstToGo({base, folded, log, other}), log);
  EXPECT_TRUE(Has(other)) << "a leaf, though it is worth little";
  EXPECT_EQ(FirstToGo({other, base, folded}), base);
}

// The checkpoint stands where the log ends.
TEST_F(StoreStateEvictTest, ALogGoesWhenACheckpointHasItsEnd) {
  Make(2);
  base::ObjectHeader log = TestFirstLog(hybrid_, 1, 100);
  const base::ObjectHeader folded = At(100);
  log.context = folded.context;
  log.content = base::StateKey(log.kind, log.context, log.parent_context);
  PutState(log);
  PutState(folded);
  const base::ObjectHeader on = TestLog(hybrid_, folded, 7, 4);
  PutState(on);
  EXPECT_EQ(FirstToGo({folded, on, log}), log);
  EXPECT_TRUE(Has(on));
}

TEST_F(StoreStateEvictTest, ALogWithTailsOfEveryTokenIsNotReplaced) {
  Make(2);
  const base::ObjectHeader base = At(40);
  const base::ObjectHeader log = TestLog(hybrid_, base, 5, 10, base::LogTails::kEveryToken);
  const base::ObjectHeader folded = At(99, &log);
  const base::ObjectHeader passed = At(60), later = At(98, &passed);
  for (const auto& header : {base, log, folded, passed, later}) PutState(header);
  EXPECT_EQ(FirstToGo({log, base, folded, later, passed}), passed);
  EXPECT_NE(FirstToGo({log, base, folded, later}), base) << "the log stands on it";
}

// What logs in memory stand on goes after them.
TEST_F(StoreStateEvictTest, AStateGoesAfterItsLogs) {
  const base::ObjectHeader base = TestFirstLog(hybrid_, 1, 1);
  const base::ObjectHeader log = TestLog(hybrid_, base, 5, 60);
  const base::ObjectHeader on = TestLog(hybrid_, log, 6, 60);
  for (const auto& header : {base, log, on}) PutState(header);
  Use(on);
  EXPECT_EQ(FirstToGo({base, log, on}), on);
  EXPECT_EQ(FirstToGo({base, log}), log);
}

// Blocks of state and pages of rows are pools of one arena: each takes room of the other.
TEST_F(StoreStateEvictTest, RowsAndStatesTakeRoomFromEachOther) {
  Make(4);
  std::vector<base::ObjectHeader> rows;
  for (uint32_t i = 0; i < 4 * 16; ++i) Put(rows.emplace_back(Segment(100 + i)));
  const auto count = [&](const std::vector<base::ObjectHeader>& headers) {
    return std::ranges::count_if(headers, [&](const auto& header) { return Has(header); });
  };
  EXPECT_EQ(count(rows), 4 * 16);
  // Deep: a byte of it is worth more than one of rows.
  std::vector<base::ObjectHeader> states;
  for (uint32_t i = 0; i < 62; ++i) {
    base::ObjectHeader chunk = TestSegment(hybrid_, 500 + i, 0, 100);
    chunk.base_position = 100'000;
    PutState(states.emplace_back(TestCheckpoint(hybrid_, chunk, 100)));
  }
  EXPECT_EQ(count(states), 62);
  EXPECT_EQ(count(rows), 3 * 16) << "one slab has become state's";

  // What later states have made superfluous is worth less than any rows.
  const auto continued = [&](const std::vector<base::ObjectHeader>& before) {
    std::vector<base::ObjectHeader> next;
    for (const base::ObjectHeader& state : before) {
      base::ObjectHeader chunk = TestSegment(hybrid_, 500, 0, 100);
      chunk.base_position = EndOf(state);
      chunk.parent_context = state.context;
      PutState(next.emplace_back(TestCheckpoint(hybrid_, chunk, 100, state.context)));
    }
    return next;
  };
  const std::vector<base::ObjectHeader> later = continued(states);
  EXPECT_EQ(count(rows), 2 * 16) << "before the first of them there was nothing superfluous";
  EXPECT_EQ(count(states) + count(later), 2 * 62);
  const std::vector<base::ObjectHeader> last = continued(later);
  EXPECT_EQ(count(rows), 2 * 16);
  EXPECT_EQ(count(last), 62);
}

TEST_F(StoreStateEvictTest, WhatIsSpentIsKnownAgainAfterAStart) {
  Make(1, /*has_disk=*/true);
  const base::ObjectHeader first = At(20), second = At(90, &first),
                           log = TestLog(hybrid_, first, 3, 4);
  store_->ExpectRecords(true);
  for (const auto& header : {log, second, first})
    EXPECT_TRUE(store_->AddDiskRecord(header, now_).ok());
  store_->ExpectRecords(false);
  const auto id_of = [&](const base::ObjectHeader& header) {
    return store_->Find({.content = header.content, .context = header.context}).object.id;
  };
  for (const auto& header : {first, second}) {
    ASSERT_EQ(store_->BeginStage(id_of(header), now_).outcome, Staging::Outcome::kBegun);
    store_->FinishStage(id_of(header), absl::OkStatus());
  }
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  EXPECT_EQ(store_->Evict({.key = log.content}), 1u);
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  EXPECT_EQ(FirstToGo({first, second}), first);
}

// A log is staged, and its base, which no disk takes, is the only one that may make room for it.
TEST_F(StoreStateEvictTest, ALogThatIsStagedMayGoForItsOwnRoom) {
  Make(1, /*has_disk=*/true);
  const base::ObjectHeader base = TestFirstLog(hybrid_, 1, 200),
                           log = TestLog(hybrid_, base, 2, 50);
  PutState(base);
  const ObjectId id = PutState(log);
  for (const Demotion& demotion : store_->TakeDemotions(1 << 20, false))
    store_->FinishDemotion(
        demotion.id, demotion.id == id ? absl::OkStatus() : absl::ResourceExhaustedError("full"));
  store_->ForgetMemory(id);
  ASSERT_EQ(WhereIs(log), Where::kDisk);
  ASSERT_EQ(Reserve(TestFirstLog(hybrid_, 9, 255), kOther).outcome,
            Reservation::Outcome::kReserved);
  ASSERT_TRUE(Has(base));
  EXPECT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kGone);
  EXPECT_FALSE(Has(base) || Has(log));
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
}

}  // namespace
}  // namespace cistern::storage
