#include "client_lib/src/resume.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "client_lib/src/state_plan.h"
#include "tests/unit/client_lib/state_fixture.h"

namespace cistern::client {
namespace {

using base::LogTails;
using base::ObjectHeader;
using ::testing::ElementsAre;
using testing::HybridModel;
using testing::Tokens;
using transport::FindReply;

constexpr auto kObject = &StateStep::object;
constexpr auto kTokens = &StateStep::tokens;

// A stored sequence, and what a node says of its states.
class ResumeTest : public ::testing::Test {
 protected:
  Prompt Cut(const Tokens& tokens, const std::vector<uint32_t>& parts = {}) {
    return *MakePrompt(model_, tokens, parts);
  }
  uint32_t Checkpoint(const Tokens& tokens, uint32_t position,
                      const std::vector<uint32_t>& parts = {}) {
    const Prompt prompt = Cut(tokens, parts);
    return Add(CheckpointHeader({prompt, model_, 0, 0, source_, policy_}, position, 0));
  }
  uint32_t Log(const Tokens& tokens, uint32_t begin, uint32_t end,
               LogTails tails = LogTails::kEnd) {
    const Prompt prompt = Cut(tokens);
    policy_.tails = tails;
    return Add(LogHeader({prompt, model_, 0, 0, source_, policy_}, begin, end));
  }
  uint32_t Add(const ObjectHeader& header) {
    EXPECT_TRUE(header.Validate().ok()) << header.Validate();
    reply_.Add(0, header, header.tokens);
    reply_.states.push_back(static_cast<uint32_t>(reply_.objects.size() - 1));
    return reply_.states.back();
  }
  ResumePoint Find(const Tokens& tokens, uint32_t limit) {
    return FindResume(Cut(tokens), model_, reply_, limit);
  }

  // The first `count` tokens of the stored sequence, then others.
  Tokens LeavesAt(uint32_t count, uint64_t seed = 9) const {
    Tokens tokens(stored_.begin(), stored_.begin() + count);
    const Tokens other = testing::RandomTokens(400, seed);
    tokens.insert(tokens.end(), other.begin(), other.end());
    return tokens;
  }

  const Model model_{HybridModel(), ""};
  const Tokens stored_ = testing::RandomTokens(1000, 1);
  StateSource source_;
  StatePolicy policy_;
  FindReply reply_;
};

TEST_F(ResumeTest, ContextsOfPositionsAreThoseOfTheChunksThatEndThere) {
  const Prompt whole = Cut(stored_);
  EXPECT_EQ(ContextAt(whole, model_, 0), model_.keys().ContextSeed());
  for (const Chunk& chunk : whole.chunks) {
    EXPECT_EQ(ContextAt(whole, model_, chunk.end), chunk.context);
    EXPECT_EQ(&ChunkBefore(whole, chunk.end), &chunk);
    EXPECT_EQ(&ChunkBefore(whole, chunk.begin + 1), &chunk);
  }
  // Cut off anywhere, a prompt has the same context there as one that goes on.
  for (uint32_t position : {1u, 31u, 32u, 500u, 777u, 999u}) {
    const Tokens head(stored_.begin(), stored_.begin() + position);
    EXPECT_EQ(Cut(head).chunks.back().context, ContextAt(whole, model_, position)) << position;
  }
}

TEST_F(ResumeTest, TheDeepestCheckpointWithinTheLimit) {
  const uint32_t a = Checkpoint(stored_, 300), b = Checkpoint(stored_, 700);
  Checkpoint(stored_, 900);
  const ResumePoint deep = Find(stored_, 899);
  EXPECT_EQ(deep.position, 700u);
  EXPECT_EQ(deep.checkpoint_position, 700u);
  EXPECT_THAT(deep.steps, ElementsAre(::testing::Field(kObject, b)));
  EXPECT_THAT(Find(stored_, 699).steps, ElementsAre(::testing::Field(kObject, a)));
  EXPECT_EQ(Find(stored_, 299).position, 0u);
  EXPECT_EQ(Find(stored_, 900).position, 900u);
}

TEST_F(ResumeTest, APromptThatLeavesTheStoredPath) {
  Checkpoint(stored_, 300);
  Checkpoint(stored_, 700);
  EXPECT_EQ(Find(LeavesAt(650), 650).position, 300u);
  EXPECT_EQ(Find(LeavesAt(700), 700).position, 700u);
  EXPECT_EQ(Find(LeavesAt(250), 250).position, 0u);
  // What the node says of rows does not make other tokens the same.
  EXPECT_EQ(Find(LeavesAt(650), 1000).position, 300u);
  EXPECT_EQ(Find(LeavesAt(650), 1050).position, 300u);
}

TEST_F(ResumeTest, AStateOfAShorterPromptServesALongerOne) {
  const Tokens head(stored_.begin(), stored_.begin() + 640);
  Checkpoint(head, 640);
  EXPECT_EQ(Find(stored_, 999).position, 640u);
}

TEST_F(ResumeTest, LogsContinueStates) {
  const uint32_t checkpoint = Checkpoint(stored_, 300);
  const uint32_t first = Log(stored_, 300, 340), second = Log(stored_, 340, 400);
  const ResumePoint point = Find(stored_, 999);
  EXPECT_EQ(point.position, 400u);
  EXPECT_EQ(point.checkpoint_position, 300u);
  EXPECT_THAT(
      point.steps,
      ElementsAre(
          ::testing::AllOf(::testing::Field(kObject, checkpoint), ::testing::Field(kTokens, 0u)),
          ::testing::AllOf(::testing::Field(kObject, first), ::testing::Field(kTokens, 40u)),
          ::testing::AllOf(::testing::Field(kObject, second), ::testing::Field(kTokens, 60u))));
  EXPECT_EQ(Find(stored_, 399).position, 340u);
}

TEST_F(ResumeTest, ALogWithTailsAtEveryTokenIsLeftAnywhere) {
  Checkpoint(stored_, 300);
  const uint32_t log = Log(stored_, 300, 400, LogTails::kEveryToken);
  for (uint32_t position : {301u, 302u, 350u, 399u}) {
    const ResumePoint point = Find(LeavesAt(position), position);
    EXPECT_EQ(point.position, position);
    ASSERT_EQ(point.steps.size(), 2u);
    EXPECT_EQ(point.steps[1].object, log);
    EXPECT_EQ(point.steps[1].tokens, position - 300);
    EXPECT_EQ(Find(stored_, position).position, position) << "rows that end there";
  }
  EXPECT_EQ(Find(LeavesAt(300), 300).position, 300u);
}

TEST_F(ResumeTest, OthersOnlyBehindTheirLastToken) {
  Checkpoint(stored_, 300);
  Log(stored_, 300, 400);
  EXPECT_EQ(Find(LeavesAt(399), 399).position, 300u);
  EXPECT_EQ(Find(LeavesAt(400), 400).position, 400u);
}

TEST_F(ResumeTest, WithoutAConvolutionAnyLogIsLeftAnywhere) {
  const Model lightning(HybridModel(base::StateFamily::kLightning), "");
  const Prompt stored = *MakePrompt(lightning, stored_, {});
  Add(LogHeader({stored, lightning, 0, 0, source_, policy_}, 0, 100));
  const Tokens tokens = LeavesAt(61);
  const ResumePoint point = FindResume(*MakePrompt(lightning, tokens, {}), lightning, reply_, 61);
  EXPECT_EQ(point.position, 61u);
}

TEST_F(ResumeTest, ALogFromTheBeginningNeedsNoCheckpoint) {
  const uint32_t log = Log(stored_, 0, 50);
  const ResumePoint point = Find(stored_, 999);
  EXPECT_EQ(point.position, 50u);
  EXPECT_EQ(point.checkpoint_position, 0u);
  EXPECT_THAT(point.steps, ElementsAre(::testing::Field(kObject, log)));
}

TEST_F(ResumeTest, ALogWithoutItsStateIsOfNoUse) {
  Log(stored_, 300, 400);
  EXPECT_EQ(Find(stored_, 999).position, 0u);
}

TEST_F(ResumeTest, OfTwoWaysToOneTokenTheSmaller) {
  Checkpoint(stored_, 300);
  Log(stored_, 300, 900);
  const uint32_t checkpoint = Checkpoint(stored_, 900);
  EXPECT_THAT(Find(stored_, 999).steps, ElementsAre(::testing::Field(kObject, checkpoint)));
  reply_ = {};
  const uint32_t small = Log(stored_, 0, 1, LogTails::kEveryToken);
  Checkpoint(stored_, 1);
  EXPECT_THAT(Find(stored_, 999).steps, ElementsAre(::testing::Field(kObject, small)));
}

TEST_F(ResumeTest, HeadersThatAreNotOfThisPlaceAreNotBelieved) {
  const auto alter = [&](auto change) {
    reply_ = {};
    Checkpoint(stored_, 300);
    change(&reply_.objects[0].header);
    return Find(stored_, 999).position;
  };
  using Head = base::ObjectHead;
  ASSERT_EQ(alter([](Head*) {}), 300u);
  EXPECT_EQ(alter([](Head* h) { h->context.lo ^= 1; }), 0u);
  EXPECT_EQ(alter([](Head* h) { h->parent_context.lo ^= 1; }), 0u);
  EXPECT_EQ(alter([](Head* h) { h->base_position += 1; }), 0u);
  EXPECT_EQ(alter([](Head* h) { h->base_position = UINT32_MAX - 5000; }), 0u);
  EXPECT_EQ(alter([this](Head*) { reply_.tokens.back() ^= 1; }), 0u);
  EXPECT_EQ(alter([this](Head*) { --reply_.objects[0].tokens.count; }), 0u);
}

}  // namespace
}  // namespace cistern::client
