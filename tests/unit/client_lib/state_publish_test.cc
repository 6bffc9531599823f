// States are shared as logs where that is cheaper, as checkpoints otherwise; what the node does not
// take is dropped, and said.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "client_lib/src/resume.h"
#include "client_lib/src/state_plan.h"
#include "tests/unit/client_lib/state_fixture.h"

namespace cistern {
namespace {

using base::LogTails;
using base::ObjectKind;
using base::StateFamily;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Join;
using testing::RandomTokens;
using testing::Reply;
using testing::Request;
using testing::StateFixture;
using testing::StateMemory;
using testing::StateSequence;
using testing::Text;
using transport::ReserveReply;
using transport::ReserveRequest;
using transport::WriteRequest;

class StatePublishTest : public StateFixture {
 protected:
  uint32_t BreakEven() const { return model_.state.BreakEvenTokens(); }
  std::vector<std::string> Kinds() {
    std::vector<std::string> kinds;
    for (const auto& [id, stored] : node_->objects()) {
      kinds.emplace_back(base::ToString(stored.header.kind));
    }
    return kinds;
  }
  const Text text_ = Join({RandomTokens(300, 1), RandomTokens(300, 2)});
};

TEST_F(StatePublishTest, ALogWhereItIsShortACheckpointOtherwise) {
  StartHybrid(true);
  const uint32_t short_log = BreakEven() / 4, too_long = short_log + 1;
  const auto report =
      SeedStates(text_, {300, 300 + short_log, 300 + short_log + too_long}, {}, 0, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->checkpoints, 2u);
  EXPECT_EQ(report->logs, 1u);
  EXPECT_EQ(report->dropped, 0u);
  EXPECT_EQ(report->bytes, 2 * model_.state.checkpoint_bytes() +
                               model_.state.log_bytes(short_log, LogTails::kEnd));
  EXPECT_THAT(Kinds(), ElementsAre("checkpoint", "log", "checkpoint"));
}

TEST_F(StatePublishTest, ChainsAreBoundedAsAWhole) {
  StartHybrid(true);
  const StatePolicy policy{.max_chain_tokens = 50};
  const auto report = SeedStates(text_, {300, 320, 340, 360, 380}, {}, 0, policy);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(Kinds(), ElementsAre("checkpoint", "log", "log", "checkpoint", "log"));
  // What was resumed behind a chain goes on with it.
  const auto next = SeedStates(text_, {400, 420}, ResumedAt(380, 20), 380, policy);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->logs, 1u);
  EXPECT_EQ(next->checkpoints, 1u);
}

TEST_F(StatePublishTest, ALogIsNeverLargerThanItsCheckpoint) {
  StartHybrid(true);
  const auto report = SeedStates(text_, {300, 600}, {}, 0, {.max_chain_tokens = 100'000});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_LT(model_.state.checkpoint_bytes(), model_.state.log_bytes(300, LogTails::kEnd));
  EXPECT_EQ(report->checkpoints, 2u);
}

TEST_F(StatePublishTest, HeadersSayWhatTheStateIs) {
  StartHybrid(true);
  ASSERT_TRUE(SeedStates(text_, {450, 460}, ResumedAt(250, 0), 450).ok());
  const client::Model model(model_, "");
  const client::Prompt prompt = *client::MakePrompt(model, text_.tokens, text_.parts);
  for (const auto& [id, stored] : node_->objects()) {
    const base::ObjectHeader& header = stored.header;
    EXPECT_TRUE(header.Validate().ok()) << header.Validate();
    const bool log = header.kind == ObjectKind::kLog;
    const uint32_t end = header.base_position + header.num_tokens();
    EXPECT_EQ(end, log ? 460u : 450u);
    EXPECT_EQ(header.context, client::ContextAt(prompt, model, end));
    EXPECT_EQ(header.previous_state, client::ContextAt(prompt, model, log ? 450 : 250));
    if (!log) {
      EXPECT_EQ(header.parent_context, client::ChunkBefore(prompt, 450).parent_context);
    }
  }
}

TEST_F(StatePublishTest, WhatTheNodeHasIsNotSentAgain) {
  StartHybrid(true);
  MustCheckpoint(text_, {300});
  const uint64_t writes = node_->Calls<WriteRequest>();
  const auto report = SeedStates(text_, {300}, {}, kNoLog);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->had, 1u);
  EXPECT_EQ(report->bytes, 0u);
  EXPECT_EQ(node_->Calls<WriteRequest>(), writes);
}

TEST_F(StatePublishTest, ALogWithoutItsBeginningBecomesACheckpoint) {
  StartHybrid(true);
  const auto report = SeedStates(text_, {300}, ResumedAt(250, 0), 250);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->checkpoints, 1u);
  EXPECT_EQ(report->dropped, 0u);
  EXPECT_THAT(Kinds(), ElementsAre("checkpoint"));
  Drain();
  EXPECT_EQ(node_->num_reservations(), 0u);
}

TEST_F(StatePublishTest, WithoutItsStateItIsDropped) {
  StartHybrid(true);
  const StateSequence sequence(model_.state, text_.tokens);
  StateMemory memory = sequence.At(300);
  StateSource source;
  source.points.push_back({300, memory.view()});
  source.points[0].state.temporal.clear();
  source.log = sequence.Log(250, 600);
  const auto report = client_->PublishStates(model_, text_.tokens, ResumedAt(250, 0), source,
                                             {.max_chain_tokens = 100}, text_.parts);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->dropped, 1u);
  EXPECT_EQ(report->without_base, 1u);
  EXPECT_TRUE(node_->objects().empty());
}

TEST_F(StatePublishTest, NoRoomIsNoError) {
  for (transport::ReserveOutcome outcome :
       {transport::ReserveOutcome::kNoRoom, transport::ReserveOutcome::kTooLarge}) {
    StartHybrid(true);
    Tamper<ReserveReply>([outcome](ReserveReply* reply) {
      for (auto& result : reply->results) result = {.outcome = outcome};
    });
    const auto report = SeedStates(text_, {300, 310}, {}, 0);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->dropped, 2u);
  }
}

TEST_F(StatePublishTest, AStateThatIsNotTakenWholeIsGivenUp) {
  for (bool mapped : {true, false}) {
    StartHybrid(mapped);
    Refuse<WriteRequest>(absl::DataLossError("damaged on its way"));
    const auto report = SeedStates(text_, {300}, {}, kNoLog);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->dropped, 1u);
    EXPECT_EQ(client_->stats().checksum_failures, 1u);
    node_->intercept = nullptr;
    Drain();
    EXPECT_EQ(node_->num_reservations(), 0u);
  }
}

// Two threads of the node copy: the write that completes the state need not be the last one.
TEST_F(StatePublishTest, WhicheverWriteEndsLastCommits) {
  base::ModelSpec model = testing::HybridModel();
  model.state.num_layers = 64;
  Start({.model = model}, {.max_staging_bytes = 1 << 20});
  node_->tamper = [first = true](const Request&, Reply* reply) mutable {
    auto* written = std::get_if<transport::WriteReply>(reply);
    if (written != nullptr) written->committed = std::exchange(first, false) ? 1 : 0;
  };
  const auto report = SeedStates(text_, {300}, {}, kNoLog);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(node_->Calls<WriteRequest>(), 1u);
  EXPECT_EQ(report->checkpoints, 1u);
  EXPECT_EQ(report->dropped, 0u);
}

TEST_F(StatePublishTest, BuffersWithoutRoomForABlockAreRefused) {
  base::ModelSpec model = testing::HybridModel();
  model.state.num_heads = 64;
  model.state.value_dim = 256;
  ASSERT_GT(model.state.layer_bytes(), 1u << 20);
  Start({.model = model}, {.max_staging_bytes = 1 << 20});
  const auto report = SeedStates(text_, {300}, {}, kNoLog);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("max_staging_bytes is 1048576"));
}

TEST_F(StatePublishTest, AKnownStateBehindThePointIsNotItsPast) {
  StartHybrid(true);
  ASSERT_TRUE(SeedStates(text_, {300}, ResumedAt(450, 0), kNoLog).ok());
  ASSERT_EQ(node_->objects().size(), 1u);
  EXPECT_TRUE(node_->objects().begin()->second.header.previous_state.IsZero());
  const auto past_the_end = SeedStates(text_, {300}, ResumedAt(601, 0), kNoLog);
  EXPECT_THAT(std::string(past_the_end.status().message()),
              HasSubstr("stored_position is 601 of 600"));
}

// A log without its beginning is not there for want of room: no checkpoint is sent instead.
TEST_F(StatePublishTest, OnlyALogWithoutItsBeginningBecomesACheckpoint) {
  StartHybrid(true);
  MustCheckpoint(text_, {290});
  Tamper<ReserveReply>([](ReserveReply* reply) {
    for (auto& result : reply->results) result = {.outcome = transport::ReserveOutcome::kNoRoom};
  });
  const uint64_t before = node_->Calls<ReserveRequest>();
  const auto report = SeedStates(text_, {300}, ResumedAt(290, 0), 290);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->dropped, 1u);
  EXPECT_EQ(report->without_base, 0u);
  EXPECT_EQ(node_->Calls<ReserveRequest>(), before + 1);
}

TEST_F(StatePublishTest, ADeadNodeIsAnError) {
  StartHybrid(true);
  MustCheckpoint(text_, {250});
  Refuse<WriteRequest>(absl::UnavailableError("the node dies"));
  EXPECT_EQ(SeedStates(text_, {300}, {}, kNoLog).status().code(), absl::StatusCode::kUnavailable);
  Refuse<ReserveRequest>(absl::UnavailableError("the node dies"));
  EXPECT_EQ(SeedStates(text_, {300}, {}, kNoLog).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->stats().publish_failures, 2u);
}

TEST_F(StatePublishTest, AModelThatTheNodeHasForgottenIsIntroducedAgain) {
  StartHybrid(true);
  MustCheckpoint(text_, {250});
  node_->ForgetModels();
  MustCheckpoint(text_, {300});
}

TEST_F(StatePublishTest, WrongCallsAreRefused) {
  StartHybrid(true);
  const StateSequence sequence(model_.state, text_.tokens);
  StateMemory memory = sequence.At(300);
  StateMemory deeper = sequence.At(400);
  using Break = std::function<void(StateSource*, StatePolicy*)>;
  const std::vector<std::pair<std::string, Break>> faults = {
      {"position 0 after 0", [](StateSource* s, StatePolicy*) { s->points[0].position = 0; }},
      {"position 300 after 300", [](StateSource* s, StatePolicy*) { s->points[1].position = 300; }},
      {"position 601 after 300", [](StateSource* s, StatePolicy*) { s->points[1].position = 601; }},
      {"points: temporal",
       [](StateSource* s, StatePolicy*) { s->points[0].state.temporal.pop_back(); }},
      {"points: conv", [](StateSource* s, StatePolicy*) { s->points[0].state.conv[0] = nullptr; }},
      {"log: [begin, end)", [](StateSource* s, StatePolicy*) { s->log.end = 601; }},
      {"log.fields: 3; gated_delta has 4",
       [](StateSource* s, StatePolicy*) { s->log.fields.pop_back(); }},
      {"log.fields[2]", [](StateSource* s, StatePolicy*) { s->log.fields[2].layers.clear(); }},
      {"log.fields[1].token_stride is 3",
       [](StateSource* s, StatePolicy*) { s->log.fields[1].token_stride = 3; }},
      {"log.conv_rows", [](StateSource* s, StatePolicy* p) {
         p->tails = LogTails::kEveryToken;
         s->log.conv_rows.layers.clear();
       }}};
  for (const auto& [problem, break_it] : faults) {
    StateSource source;
    source.points = {{300, memory.view()}, {400, deeper.view()}};
    source.log = sequence.Log(0, 600);
    StatePolicy policy;
    break_it(&source, &policy);
    const auto report =
        client_->PublishStates(model_, text_.tokens, {}, source, policy, text_.parts);
    EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument) << problem;
    EXPECT_THAT(std::string(report.status().message()), HasSubstr(problem));
  }
  EXPECT_TRUE(node_->objects().empty());
}

TEST_F(StatePublishTest, AModelWithoutStateHasNone) {
  Start();
  const auto report = client_->PublishStates(model_, text_.tokens, {}, {}, {}, text_.parts);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("no recurrent layers"));
}

}  // namespace
}  // namespace cistern
