// States: published and read block by block, found on the way of a prompt, deepest first.
#include "cacheserver/service/find_states.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"

#include "tests/unit/cacheserver/states_fixture.h"

namespace cistern::cacheserver {
namespace {

using base::ObjectHeader;
using storage::TestCheckpoint;
using storage::TestFirstLog;
using storage::TestLog;
using testing::ElementsAre;
using testing::IsEmpty;
using transport::FindReply;
using transport::Where;

class FindStatesTest : public StatesTest {
 protected:
  // The prompt's next tokens.
  ObjectHeader LogBehind(const ObjectHeader& state, uint32_t count) {
    std::vector<base::TokenId> prompt;
    for (const ObjectHeader* chunk : {&a_, &b_, &c_})
      prompt.insert(prompt.end(), chunk->tokens.begin(), chunk->tokens.end());
    const uint32_t begin = storage::EndOf(state);
    return storage::TestStateHeader(spec(), base::ObjectKind::kLog, state.context, begin,
                                    {prompt.begin() + begin, prompt.begin() + begin + count},
                                    state.context);
  }
  // By another session, straight into the store.
  void Store(const ObjectHeader& log) {
    node().store_->With([&](storage::Store& store) {
      const auto reservation = store.Reserve(kOther, log, absl::UnixEpoch());
      ASSERT_TRUE(reservation.ok());
      ASSERT_EQ(reservation->outcome, storage::Reservation::Outcome::kReserved);
      ASSERT_TRUE(store.MarkWritten(kOther, reservation->id, 0, LayersOf(log)).ok());
      ASSERT_TRUE(store.Commit(kOther, reservation->id, absl::UnixEpoch()).ok());
    });
  }
};

TEST_F(FindStatesTest, BlocksOfStateAreWrittenAndReadAsLayers) {
  const ObjectHeader state = TestCheckpoint(spec(), a_, 16);
  const ObjectHeader log = TestLog(spec(), state, 5, 7);
  for (const ObjectHeader& header : {state, log}) {
    const std::vector<std::byte> bytes = BytesOf(header);
    const uint64_t block = storage::ShapeOf(header, &spec(), kPageBytes)->layer_bytes;
    const auto id = node().Reserve(header);
    const auto part = [&](uint64_t begin, uint64_t end) {
      return std::vector<std::byte>(bytes.begin() + static_cast<ptrdiff_t>(begin),
                                    bytes.begin() + static_cast<ptrdiff_t>(end));
    };
    const uint32_t layers = LayersOf(header);
    EXPECT_TRUE(node().Write(id, part(0, 2 * block), 0, 2)->WaitStatus().ok());
    EXPECT_TRUE(node().Write(id, part(2 * block, bytes.size()), 2, layers)->WaitStatus().ok());
    EXPECT_EQ(
        node().Send(transport::CommitRequest{{id}})->WaitFor<transport::CommitReply>().committed,
        1u);
    const FindReply found = Find({}, /*lease=*/true);
    const auto object =
        std::ranges::find(found.objects, header,
                          [&](const transport::ObjectRef& one) { return found.HeaderOf(one); });
    ASSERT_NE(object, found.objects.end());
    const auto read = node().Send(transport::ReadRequest{{object->lease}, 1, layers});
    EXPECT_TRUE(read->WaitStatus().ok()) << read->WaitStatus();
    EXPECT_EQ(read->Payload(), part(block, bytes.size()));
    EXPECT_EQ(
        node().Send(transport::ReadRequest{{object->lease}, 0, layers + 1})->WaitStatus().code(),
        absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(FindStatesTest, ModelsWithoutStateLayersTakeNoState) {
  node().model_.name = "test/plain";
  node().model_.state = {};
  node().Register();
  const auto refused =
      node().Send(transport::ReserveRequest{{TestCheckpoint(spec(), node().Segment(1), 16)}});
  EXPECT_EQ(refused->WaitStatus().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused->WaitStatus().message()), testing::HasSubstr("no state layers"));
}

TEST_F(FindStatesTest, DeepestFirstEachFollowedByItsLogs) {
  node().Publish(a_);
  node().Publish(b_);
  const ObjectHeader in_a = TestCheckpoint(spec(), a_, 10), at_a = TestCheckpoint(spec(), a_, 16);
  const ObjectHeader in_c = TestCheckpoint(spec(), c_, 5);
  const ObjectHeader log = LogBehind(at_a, 9), next = LogBehind(log, 9);
  const ObjectHeader first = TestFirstLog(spec(), 1, 4), second = LogBehind(first, 4);
  EXPECT_EQ(Publish({first, second, in_a, at_a, log, next, in_c}), 7u);
  EXPECT_THAT(States({a_, b_, c_}), ElementsAre(in_c, at_a, log, next, in_a, first, second));
  EXPECT_THAT(Find({a_, b_}).neighbours, IsEmpty()) << "no state is a neighbour";
  EXPECT_THAT(node().Find({a_, b_, c_}).states, IsEmpty()) << "nobody asked";
}

// What begins behind the first gap is of no use, and not named.
TEST_F(FindStatesTest, TheWalkEndsAtTheFirstChunkThatIsNotFoundExactly) {
  const ObjectHeader at_b = TestCheckpoint(spec(), b_, 20), at_c = TestCheckpoint(spec(), c_, 16);
  node().Publish(a_);
  node().Publish(c_);
  EXPECT_EQ(Publish({at_b, at_c}), 2u);
  EXPECT_THAT(States({a_, b_, c_}), ElementsAre(at_b));
  EXPECT_THAT(States({b_, c_}), IsEmpty());
}

// Where a chunk is known to be the prompt's, others that begin there are left out.
TEST_F(FindStatesTest, StatesOfOtherPromptsAreLeftOutWhereTokensCanBeCompared) {
  node().Publish(a_);
  node().Publish(b_);
  const ObjectHeader other = node().Segment(9, 20, &a_);
  const ObjectHeader theirs = TestCheckpoint(spec(), other, 12);
  const ObjectHeader ours = TestCheckpoint(spec(), b_, 12);
  EXPECT_EQ(Publish({ours, theirs}), 2u);
  EXPECT_THAT(States({a_, b_}), ElementsAre(ours));
  EXPECT_THAT(States({a_, node().Segment(5, 20, &a_)}), ElementsAre(theirs, ours))
      << "nothing is known there";
}

TEST_F(FindStatesTest, NamesAFewCheckpointsAndNoMore) {
  std::vector<ObjectHeader> chunks;
  std::vector<ObjectHeader> states;
  for (uint32_t i = 0; i < kMaxFoundCheckpoints + 3; ++i) {
    chunks.push_back(node().Segment(20 + i, 16, chunks.empty() ? nullptr : &chunks.back()));
    node().Publish(chunks.back());
    states.push_back(TestCheckpoint(spec(), chunks.back(), 16));
  }
  EXPECT_EQ(Publish(states), states.size());
  std::reverse(states.begin(), states.end());
  states.resize(kMaxFoundCheckpoints);
  EXPECT_EQ(States(chunks), states);
  // At one context of which nothing else is known: fewer, the newest.
  std::vector<ObjectHeader> branches;
  for (uint32_t i = 0; i < kMaxUnknownCheckpoints + 2; ++i)
    branches.push_back(TestCheckpoint(spec(), node().Segment(50 + i), 8));
  EXPECT_EQ(Publish(branches), branches.size());
  std::reverse(branches.begin(), branches.end());
  branches.resize(kMaxUnknownCheckpoints);
  EXPECT_EQ(States({}), branches);
}

// From a state that many prompts share their logs go many ways.
TEST_F(FindStatesTest, LogsOfOtherPromptsDoNotCrowdOutThePromptsOwn) {
  node().Publish(a_);
  node().Publish(b_);
  const ObjectHeader state = TestCheckpoint(spec(), a_, 16);
  EXPECT_EQ(Publish({state}), 1u);
  const ObjectHeader ours = LogBehind(state, 5), further = LogBehind(state, 25);
  Store(ours);
  Store(further);
  for (uint32_t i = 0; i < kMaxFoundLogs + 5; ++i) Store(TestLog(spec(), state, 100 + i, 1));
  EXPECT_THAT(States({a_, b_}), ElementsAre(state, further, ours));
  EXPECT_EQ(States({a_}).size(), 1 + kMaxUnknownLogs) << "nothing is known behind the state";
}

TEST_F(FindStatesTest, LogsAreNamedUpToABound) {
  for (const ObjectHeader* chunk : {&a_, &b_, &c_}) node().Publish(*chunk);
  // All of them the prompt's: behind each of its tokens, of many lengths.
  constexpr uint32_t kLengths = 10;
  ObjectHeader state = TestFirstLog(spec(), 1, 1);
  Store(state);
  size_t logs = 1;
  while (storage::EndOf(state) + kLengths < 50) {
    for (uint32_t length = 1; length <= kLengths; ++length, ++logs) Store(LogBehind(state, length));
    state = LogBehind(state, 1);
  }
  ASSERT_GT(logs, kMaxFoundLogs);
  EXPECT_EQ(States({a_, b_, c_}).size(), kMaxFoundLogs);
}

// However many checkpoints begin at one context, the ones that fit are named.
TEST_F(FindStatesTest, WhatFitsIsNamedThoughManyAreCompared) {
  node().Publish(a_);
  node().Publish(b_);
  const ObjectHeader ours = TestCheckpoint(spec(), b_, 12);
  for (uint32_t i = 0; i < kMaxComparedCheckpoints; ++i) {
    if (i == kMaxComparedCheckpoints / 2) Store(ours);
    Store(TestCheckpoint(spec(), node().Segment(1000 + i, 20, &a_), 1));
  }
  EXPECT_THAT(States({a_, b_}), ElementsAre(ours));
}

TEST_F(FindStatesTest, StatesAreLeasedLikeOtherObjects) {
  const ObjectHeader state = TestCheckpoint(spec(), a_, 16);
  const ObjectHeader log = TestLog(spec(), state, 5, 7);
  EXPECT_EQ(Publish({state, log}), 2u);
  const FindReply reply = Find({}, /*lease=*/true);
  ASSERT_EQ(reply.states.size(), 2u);
  EXPECT_EQ(node().Stats().leases, 2u);
  for (const uint32_t index : reply.states) {
    const transport::ObjectRef& object = reply.objects.at(index);
    EXPECT_EQ(object.where, Where::kMemory);
    EXPECT_NE(object.lease, 0u);
    EXPECT_EQ(object.blocks.count, LayersOf(reply.HeaderOf(object)));
  }
}

// A write that asks for the commit leaves out a log whose base is gone; a commit says why.
TEST_F(FindStatesTest, ALogWithoutItsStateIsNotCommitted) {
  const ObjectHeader state = TestCheckpoint(spec(), a_, 16);
  const ObjectHeader log = TestLog(spec(), state, 5, 7);
  EXPECT_EQ(Publish({log}), 0u);
  EXPECT_EQ(node().Stats().reservations, 0u);
  const auto id = node().Reserve(log);
  EXPECT_TRUE(node().Write(id, BytesOf(log), 0, LayersOf(log))->WaitStatus().ok());
  EXPECT_EQ(node().Send(transport::CommitRequest{{id}})->WaitStatus().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(node().Stats().reservations, 0u);
  EXPECT_EQ(Publish({state, log}), 2u);
}

TEST_F(FindStatesTest, AListingNamesTheKinds) {
  const ObjectHeader state = TestCheckpoint(spec(), a_, 16);
  const ObjectHeader log = TestLog(spec(), state, 5, 7, base::LogTails::kEveryToken);
  EXPECT_EQ(Publish({state, log}), 2u);
  const std::string json =
      node()
          .Send(transport::AdminRequest{.verb = transport::AdminVerb::kInspect, .key = log.context})
          ->WaitFor<transport::AdminReply>()
          .json;
  EXPECT_THAT(json, testing::HasSubstr(R"("kind":"log")"));
  EXPECT_THAT(json, testing::HasSubstr(R"("tails":"every_token")"));
  EXPECT_THAT(json, testing::HasSubstr(state.context.ToHex()));
}

}  // namespace
}  // namespace cistern::cacheserver
