#include "cistern/state_recorder.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/client_lib/state_fixture.h"

namespace cistern {
namespace {

using base::LogTails;
using base::StateFamily;
using ::testing::HasSubstr;
using testing::Join;
using testing::RandomTokens;
using testing::StateFixture;
using testing::StateMemory;
using testing::StateSequence;
using testing::Text;
using testing::Tokens;
using transport::ReserveRequest;

class StateRecorderTest : public StateFixture {
 protected:
  using Options = StateRecorder::Options;

  void Begin(StateFamily family, uint32_t position, const FetchResult& fetched,
             StatePolicy policy) {
    StartHybrid(true, family);
    SeedRows(text_);
    folded_by_recorder_ = true;
    sequence_ = std::make_unique<StateSequence>(model_.state, text_.tokens);
    StateMemory memory = sequence_->At(position);
    auto recorder =
        StateRecorder::Create(client_.get(), model_, Head(position), fetched, memory.view(),
                              sequence_->constants(), Options{.policy = policy});
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    recorder_ = *std::move(recorder);
  }
  std::span<const base::TokenId> Head(uint32_t position) const {
    return std::span(text_.tokens).first(position);
  }
  void MustAppend(uint32_t end) {
    const uint32_t begin = recorder_->position();
    const absl::Status appended = recorder_->Append(
        std::span(text_.tokens).subspan(begin, end - begin), sequence_->Log(begin, end));
    ASSERT_TRUE(appended.ok()) << appended;
  }
  StateReport MustFlush() {
    const auto report = recorder_->Flush();
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : StateReport{};
  }
  // Where a prompt that begins with the first `tokens` of the sequence is resumed, and with what.
  void ExpectResumable(uint32_t tokens, uint32_t position, uint32_t folded) {
    Text prompt = Join({Tokens(text_.tokens.begin(), text_.tokens.begin() + tokens)});
    const Tokens other = RandomTokens(100, 5);
    prompt.tokens.insert(prompt.tokens.end(), other.begin(), other.end());
    ExpectResumed(prompt, position, folded);
  }

  const Text text_ = Join({RandomTokens(400, 1)});
  std::unique_ptr<StateSequence> sequence_;
  std::unique_ptr<StateRecorder> recorder_;
};

TEST_F(StateRecorderTest, TokenByToken) {
  for (StateFamily family : {StateFamily::kGatedDelta, StateFamily::kMamba2, StateFamily::kKda,
                             StateFamily::kMamba1, StateFamily::kLightning}) {
    SCOPED_TRACE(base::ToString(family));
    Begin(family, 0, {}, {.max_chain_tokens = 20});
    for (uint32_t token = 1; token <= 30; ++token) {
      MustAppend(token);
      const StateReport report = MustFlush();
      const bool fold = token == 21;
      EXPECT_EQ(report.checkpoints, fold ? 1u : 0u) << token;
      EXPECT_EQ(report.logs, fold ? 0u : 1u) << token;
      EXPECT_EQ(recorder_->flushed_position(), token);
      EXPECT_EQ(recorder_->chain_tokens(), token < 21 ? token : token - 21);
    }
    ExpectResumable(17, 17, 17);
    ExpectResumable(21, 21, 0);
    ExpectResumable(27, 27, 6);
  }
}

TEST_F(StateRecorderTest, InBatchesThatCanBeLeftAnywhere) {
  Begin(StateFamily::kGatedDelta, 0, {}, {.max_chain_tokens = 40, .tails = LogTails::kEveryToken});
  for (uint32_t end : {30u, 60u, 90u, 120u}) {
    MustAppend(end - 7);
    MustAppend(end);
    MustFlush();
  }
  ExpectResumable(20, 20, 20);
  ExpectResumable(59, 30, 30);  // the second batch became a checkpoint at 60
  ExpectResumable(77, 77, 17);
  ExpectResumable(120, 120, 0);
}

TEST_F(StateRecorderTest, ByDefaultAQuarterOfTheBreakEven) {
  Begin(StateFamily::kGatedDelta, 0, {}, {});
  const uint32_t bound = model_.state.BreakEvenTokens() / 4;
  MustAppend(bound);
  EXPECT_EQ(MustFlush().logs, 1u);
  MustAppend(bound + 1);
  EXPECT_EQ(MustFlush().checkpoints, 1u);
}

// However long a chain may be, an object has a bound of its own.
TEST_F(StateRecorderTest, MoreTokensThanOneLogTakesAreFolded) {
  const uint32_t most = base::ObjectHeader::kMaxTokens;
  const Text text = Join({RandomTokens(most + 1, 3)});
  StartHybrid(true);
  const StateSequence sequence(model_.state, text.tokens);
  recorder_ = *StateRecorder::Create(client_.get(), model_, {}, {}, {}, {},
                                     Options{.policy = {.max_chain_tokens = 2 * most}});
  ASSERT_TRUE(recorder_->Append(text.tokens, sequence.Log(0, most + 1)).ok());
  const StateReport report = MustFlush();
  EXPECT_EQ(report.checkpoints, 1u);
  EXPECT_EQ(report.dropped, 0u);
  EXPECT_EQ(recorder_->flushed_position(), most + 1);
}

TEST_F(StateRecorderTest, GoesOnFromWhatWasFetched) {
  StartHybrid(true);
  SeedRows(text_);
  MustCheckpoint(text_, {200});
  sequence_ = std::make_unique<StateSequence>(model_.state, text_.tokens);
  StateMemory memory = sequence_->At(200);
  recorder_ =
      *StateRecorder::Create(client_.get(), model_, Head(200), ResumedAt(200, 0), memory.view(), {},
                             Options{.policy = {.max_chain_tokens = 50}});
  MustAppend(230);
  EXPECT_EQ(MustFlush().logs, 1u);
  ExpectResumable(230, 230, 30);
}

TEST_F(StateRecorderTest, AStateThatTheNodeDoesNotHaveIsStoredFirst) {
  Begin(StateFamily::kGatedDelta, 200, {}, {.max_chain_tokens = 50});
  MustAppend(210);
  EXPECT_EQ(MustFlush().checkpoints, 1u);
  MustAppend(220);
  EXPECT_EQ(MustFlush().logs, 1u);
  ExpectResumable(220, 220, 10);
}

TEST_F(StateRecorderTest, NothingNewIsNotFlushed) {
  Begin(StateFamily::kGatedDelta, 0, {}, {});
  const uint64_t calls = node_->Calls<ReserveRequest>();
  MustFlush();
  MustAppend(5);
  MustFlush();
  MustFlush();
  EXPECT_EQ(node_->Calls<ReserveRequest>(), calls + 1);
}

TEST_F(StateRecorderTest, WhatALogContinuedMayGo) {
  Begin(StateFamily::kGatedDelta, 200, {}, {.max_chain_tokens = 50});
  MustAppend(210);
  ASSERT_EQ(MustFlush().checkpoints, 1u);
  for (const auto& [id, stored] : node_->objects()) {
    if (stored.header.kind == base::ObjectKind::kCheckpoint) node_->Drop(id);
  }
  MustAppend(220);
  const StateReport report = MustFlush();
  EXPECT_EQ(report.checkpoints, 1u);
  EXPECT_EQ(report.dropped, 0u);
  ExpectResumable(220, 220, 0);
}

TEST_F(StateRecorderTest, ADeadNodeLosesNothingThatComesLater) {
  Begin(StateFamily::kGatedDelta, 0, {}, {.max_chain_tokens = 20});
  MustAppend(10);
  Refuse<ReserveRequest>(absl::UnavailableError("the node dies"));
  EXPECT_EQ(recorder_->Flush().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(recorder_->flushed_position(), 0u);
  node_->intercept = nullptr;
  MustAppend(18);
  EXPECT_EQ(MustFlush().logs, 1u);
  ExpectResumable(18, 18, 18);
}

TEST_F(StateRecorderTest, NoRoomForACheckpointIsTriedAgain) {
  Begin(StateFamily::kGatedDelta, 0, {}, {.max_chain_tokens = 5});
  MustAppend(10);
  Tamper<transport::ReserveReply>([](transport::ReserveReply* reply) {
    for (auto& result : reply->results) result = {.outcome = transport::ReserveOutcome::kNoRoom};
  });
  EXPECT_EQ(MustFlush().dropped, 1u);
  node_->tamper = nullptr;
  MustAppend(16);
  EXPECT_EQ(MustFlush().checkpoints, 1u);
  ExpectResumable(16, 16, 0);
}

TEST_F(StateRecorderTest, WrongCallsAreRefused) {
  Begin(StateFamily::kMamba2, 0, {}, {});
  using Break = std::function<void(LogSource*)>;
  const std::vector<std::pair<std::string, Break>> faults = {
      {"begin at 0", [](LogSource* log) { ++log->begin; }},
      {"inputs of [0, 9)", [](LogSource* log) { --log->end; }},
      {"fields: 2; mamba2 has 3", [](LogSource* log) { log->fields.pop_back(); }},
      {"log.fields[1] has a null layer",
       [](LogSource* log) { log->fields[1].layers[0] = nullptr; }},
      {"log.fields[0].token_stride is 3", [](LogSource* log) { log->fields[0].token_stride = 3; }},
      {"log.conv_rows has 0 layers", [](LogSource* log) { log->conv_rows.layers.clear(); }}};
  for (const auto& [problem, break_it] : faults) {
    LogSource log = sequence_->Log(0, 10);
    break_it(&log);
    const absl::Status status = recorder_->Append(Head(10), log);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << problem;
    EXPECT_THAT(std::string(status.message()), HasSubstr(problem));
  }
  EXPECT_EQ(recorder_->position(), 0u);

  const auto create = [&](const ModelSpec& model, uint32_t position) {
    return StateRecorder::Create(client_.get(), model, Head(position), {}, {}, {}, {})
        .status()
        .ToString();
  };
  EXPECT_THAT(create(testing::SmallModel(), 0), HasSubstr("no recurrent layers"));
  EXPECT_THAT(create(model_, 0), HasSubstr("constants.decay has 0 layers"));
  EXPECT_THAT(create(testing::HybridModel(), 5), HasSubstr("state.temporal has 0 layers"));
}

}  // namespace
}  // namespace cistern
