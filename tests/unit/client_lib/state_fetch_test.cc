// A hybrid model's prompt is resumed: rows and state agree, whatever way the bytes come, or nothing
// is handed out.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/client_lib/state_fixture.h"

namespace cistern {
namespace {

using base::LogTails;
using base::StateFamily;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Join;
using testing::RandomTokens;
using testing::Reply;
using testing::Request;
using testing::StateFixture;
using testing::StateMemory;
using testing::StateSequence;
using testing::Text;
using testing::Tokens;
using transport::LeaseReply;
using transport::LeaseRequest;
using transport::ReadReply;
using transport::ReadRequest;

class StateFetchTest : public StateFixture {
 protected:
  static Text Longer(const Text& text, uint32_t tokens) {
    Text longer = text;
    longer += RandomTokens(tokens, 1234);
    return longer;
  }
  const Text text_ = Join({RandomTokens(300, 1), RandomTokens(300, 2)});
  const Text next_ = Longer(text_, 100);
};

struct Way {
  const char* name;
  StateFamily family;
  bool mapped;
  bool disk;
};
void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }

class StateFetchWays : public StateFetchTest, public ::testing::WithParamInterface<Way> {
 protected:
  void SetUp() override { StartHybrid(GetParam().mapped, GetParam().family); }
  void Settle() {
    if (GetParam().disk) node_->MoveAllToDisk();
  }
};

TEST_P(StateFetchWays, ACheckpointIsCopiedBitByBit) {
  SeedRows(text_);
  MustCheckpoint(text_, {250, 600});
  Settle();
  ExpectResumed(next_, 600, 0);
}

TEST_P(StateFetchWays, LogsAreFoldedBehindIt) {
  SeedRows(text_);
  MustCheckpoint(text_, {250});
  MustLog(text_, 250, 0, {252, 430}, LogTails::kEnd);
  MustLog(text_, 430, 180, {431, 600}, LogTails::kEveryToken);
  Settle();
  ExpectResumed(next_, 600, 350);
}

TEST_P(StateFetchWays, ALogFromTheBeginningStartsAtZero) {
  SeedRows(text_);
  MustLog(text_, 0, 0, {70}, LogTails::kEnd);
  Settle();
  ExpectResumed(next_, 70, 70);
}

TEST_P(StateFetchWays, ALogIsLeftAtAnyToken) {
  SeedRows(text_);
  MustCheckpoint(text_, {250});
  MustLog(text_, 250, 0, {600}, LogTails::kEveryToken);
  Settle();
  for (uint32_t leaves : {301u, 444u, 598u}) {
    Text other;
    other += Tokens(text_.tokens.begin(), text_.tokens.begin() + 300);
    other += Tokens(text_.tokens.begin() + 300, text_.tokens.begin() + leaves);
    const Tokens rest = RandomTokens(100, leaves);
    other.tokens.insert(other.tokens.end(), rest.begin(), rest.end());
    ExpectResumed(other, leaves, leaves - 250);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, StateFetchWays,
    ::testing::Values(Way{"GatedDeltaMapped", StateFamily::kGatedDelta, true, false},
                      Way{"GatedDeltaByCopy", StateFamily::kGatedDelta, false, false},
                      Way{"GatedDeltaFromDisk", StateFamily::kGatedDelta, true, true},
                      Way{"KdaMapped", StateFamily::kKda, true, false},
                      Way{"Mamba1ByCopy", StateFamily::kMamba1, false, false},
                      Way{"Mamba2Mapped", StateFamily::kMamba2, true, false},
                      Way{"LightningByCopy", StateFamily::kLightning, false, true},
                      Way{"GatedLinearMapped", StateFamily::kGatedLinear, true, false}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(StateFetchTest, ThroughBuffersSmallerThanTheState) {
  base::ModelSpec model = testing::HybridModel();
  model.state.num_layers = 64;
  Start({.model = model, .mapped = false}, {.max_staging_bytes = 1 << 20});
  ASSERT_GT(model.state.checkpoint_bytes(), 2u << 20);
  // Short: each state of so many layers is computed from the first token on, several times.
  const Text text = Join({RandomTokens(70, 1), RandomTokens(70, 2)});
  SeedRows(text);
  MustCheckpoint(text, {50});
  MustLog(text, 50, 0, {120}, LogTails::kEnd);
  ExpectResumed(Longer(text, 40), 120, 70);
}

// What is shared next continues a state that is stored, not one that was folded on the way.
TEST_F(StateFetchTest, ALogThatIsLeftInItsMiddleIsNotContinued) {
  StartHybrid(true);
  SeedRows(text_);
  MustCheckpoint(text_, {250});
  MustLog(text_, 250, 0, {400}, LogTails::kEveryToken);
  Text other;
  other += Tokens(text_.tokens.begin(), text_.tokens.begin() + 300);
  other += RandomTokens(100, 77);
  StateMemory memory(model_.state);
  const FetchResult fetched = FetchState(other, MustPlan(other, Exact()), &memory);
  EXPECT_EQ(fetched.state_position, 300u);
  EXPECT_EQ(fetched.stored_position, 250u);
  EXPECT_EQ(fetched.stored_chain_tokens, 0u);
  const auto report = SeedStates(other, {310}, fetched, 300);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->checkpoints, 1u);
  EXPECT_EQ(report->dropped, 0u);
}

// A shallower state in memory is taken where the deepest would take longer than computing.
TEST_F(StateFetchTest, AShallowerStateMayBeWorthIt) {
  ClientOptions options;
  options.cost.fetch_bytes_per_second = 1e12;
  options.cost.disk_bytes_per_second = 1;
  options.cost.prefill_tokens_per_second = 1e6;
  Start({.model = testing::HybridModel()}, options);
  SeedRows(text_);
  MustCheckpoint(text_, {250, 600});
  for (const auto& [id, stored] : node_->objects()) {
    const uint32_t end = stored.header.base_position + stored.header.num_tokens();
    if (stored.header.kind == base::ObjectKind::kCheckpoint && end == 600) node_->MoveToDisk(id);
  }
  const Plan plan = MustPlan(next_, Exact());
  EXPECT_EQ(plan.resume().position, 250u);
  EXPECT_FALSE(plan.resume().on_disk);
  EXPECT_EQ(plan.stats().left_out_tokens, 350u);
}

TEST_F(StateFetchTest, RowsAloneAreNotEnough) {
  StartHybrid(true);
  SeedRows(text_);
  const Plan plan = MustPlan(next_, Exact());
  EXPECT_EQ(plan.resume().position, 0u);
  EXPECT_EQ(Reused(plan), 0u);
  EXPECT_THAT(plan.wanted_states(), ElementsAre(600u)) << "here prompts leave the stored path";
}

TEST_F(StateFetchTest, AStateAloneIsNotEnough) {
  StartHybrid(true);
  MustCheckpoint(text_, {250, 600});
  EXPECT_EQ(MustPlan(next_, Exact()).resume().position, 0u);
  // The first 300 tokens have rows: the state at 600 is too deep.
  SeedRows(Join({Tokens(text_.tokens.begin(), text_.tokens.begin() + 300)}));
  const Plan plan = MustPlan(next_, Exact());
  EXPECT_EQ(plan.resume().position, 250u);
  EXPECT_EQ(Reused(plan), 250u);
  EXPECT_THAT(plan.wanted_states(), ElementsAre(300u));
}

TEST_F(StateFetchTest, NothingIsWantedWhereTheStateReachesAsFarAsTheRows) {
  StartHybrid(true);
  SeedRows(text_);
  MustCheckpoint(text_, {600});
  EXPECT_THAT(MustPlan(next_, Exact()).wanted_states(), IsEmpty());
}

TEST_F(StateFetchTest, ContentReuseNeverApplies) {
  StartHybrid(true);
  SeedRows(text_);
  MustCheckpoint(text_, {300, 600});
  Text moved = Join({RandomTokens(64, 50)});
  moved += Tokens(text_.tokens.begin(), text_.tokens.begin() + 300);
  const Plan plan = MustPlan(moved, Content());
  EXPECT_EQ(Reused(plan), 0u);
  EXPECT_EQ(plan.resume().position, 0u);
}

TEST_F(StateFetchTest, WhatIsFasterToComputeIsNotFetched) {
  ClientOptions options;
  options.cost.fetch_bytes_per_second = 1e6;
  options.cost.prefill_tokens_per_second = 1e9;
  Start({.model = testing::HybridModel()}, options);
  SeedRows(text_);
  MustCheckpoint(text_, {600});
  const Plan plan = MustPlan(next_, Exact());
  EXPECT_EQ(plan.resume().position, 0u);
  EXPECT_EQ(plan.stats().left_out_tokens, 600u);
}

// All or nothing: each of these loses a part, and nothing is delivered.
class StateLostTest : public StateFetchTest {
 protected:
  void SeedAll() {
    SeedRows(text_);
    MustCheckpoint(text_, {250});
    MustLog(text_, 250, 0, {600}, LogTails::kEnd);
  }
  testing::ObjectId IdOf(base::ObjectKind kind) {
    for (const auto& [id, stored] : node_->objects()) {
      if (stored.header.kind == kind) return id;
    }
    ADD_FAILURE() << "no " << base::ToString(kind);
    return 0;
  }
  void ExpectNothing(Plan plan) {
    ASSERT_EQ(plan.resume().position, 600u);
    StateMemory memory(model_.state);
    const FetchResult fetched = FetchState(next_, std::move(plan), &memory);
    EXPECT_EQ(fetched.state_position, 0u);
    EXPECT_THAT(fetched.delivered, IsEmpty());
    ASSERT_EQ(fetched.missing.size(), 1u);
    EXPECT_EQ(fetched.missing[0].begin, 0u);
    EXPECT_EQ(fetched.missing[0].end, 600u);
    EXPECT_EQ(client_->stats().fetch_failures, 1u);
    node_->intercept = nullptr;
    node_->tamper = nullptr;
    ExpectNoLeases();
  }
};

TEST_F(StateLostTest, BlocksThatWereReusedMeanwhile) {
  for (base::ObjectKind kind :
       {base::ObjectKind::kCheckpoint, base::ObjectKind::kLog, base::ObjectKind::kSegment}) {
    SCOPED_TRACE(base::ToString(kind));
    StartHybrid(true);
    SeedAll();
    Plan plan = MustPlan(next_, Exact());
    node_->ReuseBlocks(IdOf(kind));
    ExpectNothing(std::move(plan));
    EXPECT_EQ(client_->stats().stale_reads, 1u);
  }
}

TEST_F(StateLostTest, AStateThatIsGone) {
  for (base::ObjectKind kind : {base::ObjectKind::kCheckpoint, base::ObjectKind::kLog}) {
    SCOPED_TRACE(base::ToString(kind));
    StartHybrid(false);
    SeedAll();
    node_->MoveAllToDisk();
    Plan plan = MustPlan(next_, Exact());
    EXPECT_TRUE(plan.resume().on_disk);
    node_->Drop(IdOf(kind));
    ExpectNothing(std::move(plan));
  }
}

TEST_F(StateLostTest, ANodeWithoutRoomToStageIt) {
  StartHybrid(true);
  SeedAll();
  node_->MoveToDisk(IdOf(base::ObjectKind::kLog));
  Plan plan = MustPlan(next_, Exact());
  node_->tamper = [](const Request& request, Reply* reply) {
    if (!std::holds_alternative<LeaseRequest>(request)) return;
    for (auto& result : std::get<LeaseReply>(*reply).results) {
      result = {.outcome = transport::LeaseOutcome::kNoRoom};
    }
  };
  StateMemory memory(model_.state);
  const FetchResult fetched = FetchState(next_, std::move(plan), &memory);
  EXPECT_EQ(fetched.state_position, 0u);
  EXPECT_EQ(MissingTokens(fetched), 600u);
}

TEST_F(StateLostTest, AnswersThatCannotBe) {
  const std::vector<std::function<void(const Request&, Reply*)>> lies = {
      [](const Request&, Reply* reply) {  // another number of bytes
        if (auto* read = std::get_if<ReadReply>(reply)) --read->payload_bytes;
      },
      [](const Request& request, Reply* reply) {
        if (!std::holds_alternative<ReadRequest>(request)) return;
        *reply = transport::ErrorReply::From(absl::DataLossError("damaged on its way"));
      },
      [](const Request& request, Reply* reply) {
        if (!std::holds_alternative<ReadRequest>(request)) return;
        *reply = transport::ErrorReply::From(absl::UnavailableError("the node dies"));
      }};
  for (const auto& lie : lies) {
    StartHybrid(false);
    SeedAll();
    Plan plan = MustPlan(next_, Exact());
    node_->tamper = lie;
    ExpectNothing(std::move(plan));
  }
}

TEST_F(StateLostTest, BlocksOutsideTheArenaAreNotRead) {
  StartHybrid(true);
  SeedAll();
  node_->tamper = [](const Request&, Reply* reply) {
    auto* find = std::get_if<transport::FindReply>(reply);
    if (find == nullptr) return;
    for (uint32_t state : find->states) {
      find->blocks[find->objects[state].blocks.first].offset = UINT64_MAX - 4096;
    }
  };
  Plan plan = MustPlan(next_, Exact());
  ExpectNothing(std::move(plan));
}

TEST_F(StateLostTest, ANodeThatIsKilledMeanwhile) {
  StartHybrid(false);
  SeedAll();
  Plan plan = MustPlan(next_, Exact());
  node_->Kill();
  StateMemory memory(model_.state);
  const FetchResult fetched = FetchState(next_, std::move(plan), &memory);
  EXPECT_EQ(fetched.state_position, 0u);
  EXPECT_EQ(MissingTokens(fetched), 600u);
}

TEST_F(StateLostTest, AFetchThatIsCancelledWritesNothingMore) {
  StartHybrid(false);
  SeedAll();
  node_->Hold<ReadRequest>();
  StateMemory memory(model_.state);
  memory.Fill(std::byte{0x5a});
  const StateMemory before = memory;
  FetchOptions options = Raw();
  options.state = memory.view();
  FetchHandle fetch = MustFetch(next_, MustPlan(next_, Exact()), options);
  node_->AwaitHeld();
  fetch.Cancel();
  node_->OpenGate();
  Drain();
  EXPECT_TRUE(memory == before);
  const auto fetched = fetch.Wait();
  ASSERT_TRUE(fetched.ok());
  EXPECT_EQ(fetched->state_position, 0u);
  EXPECT_EQ(MissingTokens(*fetched), 600u);
}

TEST_F(StateLostTest, AWorkerThatStartsEarlyIsTold) {
  StartHybrid(true);
  SeedAll();
  Plan plan = MustPlan(next_, Exact());
  node_->ReuseBlocks(IdOf(base::ObjectKind::kCheckpoint));
  StateMemory memory(model_.state);
  FetchOptions options = Raw();
  options.state = memory.view();
  FetchHandle fetch = MustFetch(next_, std::move(plan), options);
  ASSERT_TRUE(fetch.WaitLayer(0).ok());
  const std::vector<TokenRange> missing = fetch.Missing();
  ASSERT_EQ(missing.size(), 1u);
  EXPECT_EQ(missing[0].end, 600u);
}

TEST_F(StateFetchTest, TargetsThatCannotBeAreRefused) {
  StartHybrid(true, StateFamily::kMamba2);
  SeedRows(text_);
  MustCheckpoint(text_, {600});
  const StateSequence sequence(model_.state, next_.tokens);
  using Break = std::function<void(FetchOptions*)>;
  const std::vector<std::pair<std::string, Break>> faults = {
      {"state.temporal has 0 layers", [](FetchOptions* o) { o->state.temporal.clear(); }},
      {"state.temporal has a null layer", [](FetchOptions* o) { o->state.temporal[1] = nullptr; }},
      {"state.conv has 1 layers", [](FetchOptions* o) { o->state.conv.pop_back(); }},
      {"constants.decay has 0 layers", [](FetchOptions* o) { o->constants.decay.clear(); }}};
  for (const auto& [problem, break_it] : faults) {
    StateMemory memory(model_.state);
    FetchOptions options = Raw();
    options.state = memory.view();
    options.constants = sequence.constants();
    break_it(&options);
    worker_->Begin(next_.tokens);
    const auto fetch = client_->Fetch(MustPlan(next_, Exact()), worker_->Destination(), options);
    EXPECT_EQ(fetch.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(fetch.status().message()), HasSubstr(problem));
  }
}

}  // namespace
}  // namespace cistern
