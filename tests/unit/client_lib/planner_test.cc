// Planning: what is taken, in which order, and what every rule leaves out.
#include "absl/time/clock.h"

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using testing::ClientFixture;
using ::testing::IsEmpty;
using testing::Join;
using testing::Offsets;
using testing::RandomTokens;
using ::testing::SizeIs;
using testing::Text;
using testing::Tokens;
using transport::FindReply;
using transport::FindRequest;

class PlannerTest : public ClientFixture {
 protected:
  void SetUp() override { Start(); }

  // Spans have no gaps and add up to the stats.
  static void CheckSpans(const Plan& plan, uint32_t tokens) {
    uint32_t position = 0;
    uint64_t by_kind[3] = {0, 0, 0};
    for (const Span& span : plan.spans()) {
      EXPECT_EQ(span.begin, position);
      EXPECT_LT(span.begin, span.end);
      by_kind[static_cast<int>(span.kind)] += span.end - span.begin;
      position = span.end;
    }
    EXPECT_EQ(position, tokens);
    EXPECT_EQ(by_kind[0], plan.stats().exact_tokens);
    EXPECT_EQ(by_kind[1], plan.stats().content_tokens);
    EXPECT_EQ(by_kind[2], plan.stats().compute_tokens);
  }
};

TEST_F(PlannerTest, AnEmptyNodeMeansComputeEverything) {
  const Text text = Join({RandomTokens(1000, 1)});
  const Plan plan = MustPlan(text, Content());
  ASSERT_THAT(plan.spans(), SizeIs(1));
  EXPECT_EQ(plan.spans()[0].kind, SpanKind::kCompute);
  EXPECT_EQ(plan.num_tokens(), 1000u);
  CheckSpans(plan, 1000);
}

TEST_F(PlannerTest, NoTokensNoSpans) {
  EXPECT_THAT(MustPlan(Text(), Content()).spans(), IsEmpty());
  EXPECT_THAT(Plan().spans(), IsEmpty());
}

TEST_F(PlannerTest, TheSamePromptIsExactButForItsLastToken) {
  const Text text = Join({RandomTokens(300, 1), RandomTokens(700, 2)});
  Seed(text);
  const Plan plan = MustPlan(text, Exact());
  EXPECT_EQ(plan.stats().exact_tokens, 999u);
  EXPECT_EQ(plan.stats().lossless_tokens, 999u);
  CheckSpans(plan, 1000);
  PlanPolicy all = Exact();
  all.compute_last_token = false;
  EXPECT_EQ(MustPlan(text, all).stats().exact_tokens, 1000u);
}

TEST_F(PlannerTest, ExactPrefixThenSeveralContentSpans) {
  const Tokens system = RandomTokens(400, 1), a = RandomTokens(300, 2), b = RandomTokens(300, 3),
               c = RandomTokens(300, 4);
  Seed(Join({system, a, b, c}));
  const Text text = Join({system, c, RandomTokens(50, 9), a, RandomTokens(60, 10), b});
  const Plan plan = MustPlan(text, Content());
  CheckSpans(plan, text.size());
  EXPECT_EQ(plan.stats().exact_tokens, 400u);
  EXPECT_EQ(plan.stats().content_tokens, 899u);
  EXPECT_EQ(plan.stats().compute_tokens, 111u);
  const auto spans = ReusedSpans(plan);
  for (const Span& span : spans) EXPECT_EQ(span.kind == SpanKind::kExact, span.begin < 400);
  // Where a content span's rows were computed is where the text stood then.
  const auto at_c =
      std::find_if(spans.begin(), spans.end(), [](const Span& span) { return span.begin == 400; });
  ASSERT_NE(at_c, spans.end());
  EXPECT_EQ(at_c->source_position, 1000u);
}

TEST_F(PlannerTest, PolicyExactTakesNothingByContent) {
  const Tokens a = RandomTokens(300, 2);
  Seed(Join({RandomTokens(100, 1), a}));
  EXPECT_EQ(Reused(MustPlan(Join({RandomTokens(90, 5), a}), Exact())), 0u);
  EXPECT_FALSE(MustPlan(Join({RandomTokens(90, 5), a}), Exact()).stats().timed_out);
}

TEST_F(PlannerTest, PolicyNoneAsksNothing) {
  const Text text = Join({RandomTokens(300, 2)});
  Seed(text);
  node_->Kill();
  PlanPolicy none;
  none.reuse = Reuse::kNone;
  EXPECT_EQ(Reused(MustPlan(text, none)), 0u);
  EXPECT_EQ(node_->Calls<FindRequest>(), 0u);
}

TEST_F(PlannerTest, NoRowOfTheSinkComesByContent) {
  const Tokens document = RandomTokens(600, 2);
  Seed(Join({RandomTokens(100, 1), document}));
  const Text text = Join({RandomTokens(10, 5), document});
  const Plan plan = MustPlan(text, Content());
  ASSERT_GT(plan.stats().content_tokens, 500u);
  EXPECT_EQ(ReusedSpans(plan).front().begin,
            32u);  // the chunk at 10 in part, from the next one's neighbour
  PlanPolicy no_sink = Content();
  no_sink.sink_tokens = 0;
  EXPECT_EQ(ReusedSpans(MustPlan(text, no_sink)).front().begin, 10u);
  PlanPolicy long_sink = Content();
  long_sink.sink_tokens = 5000;
  EXPECT_EQ(Reused(MustPlan(text, long_sink)), 0u);
}

// They attended to next to nothing where they were computed.
TEST_F(PlannerTest, NoRowOfTheSinkGoesElsewhere) {
  const Tokens document = RandomTokens(600, 2);
  Seed(Join({RandomTokens(10, 1), document}));
  const Text text = Join({RandomTokens(500, 5), document});
  const Span first = ReusedSpans(MustPlan(text, Content())).front();
  EXPECT_EQ(first.begin, 522u);
  EXPECT_EQ(first.source_position, 32u);
  PlanPolicy no_sink = Content();
  no_sink.sink_tokens = 0;
  EXPECT_EQ(ReusedSpans(MustPlan(text, no_sink)).front().begin, 500u);
  PlanPolicy long_sink = Content();
  long_sink.sink_tokens = 5000;
  EXPECT_EQ(Reused(MustPlan(text, long_sink)), 0u);
}

TEST_F(PlannerTest, TheSinkIsReusedExactly) {
  const Text text = Join({RandomTokens(10, 5), RandomTokens(300, 2)});
  Seed(text);
  EXPECT_EQ(ReusedSpans(MustPlan(text, Content())).front().begin, 0u);
}

TEST_F(PlannerTest, HeadsOfMovedRunsAreComputed) {
  const Tokens a = RandomTokens(1000, 2), b = RandomTokens(1000, 3);
  Seed(Join({RandomTokens(100, 1), a}));
  Seed(Join({RandomTokens(110, 4), b}));
  const Text text = Join({RandomTokens(90, 5), a, b});
  PlanPolicy policy = Content();
  const uint64_t whole = MustPlan(text, policy).stats().content_tokens;
  EXPECT_EQ(whole, 1999u);
  policy.recompute_head = 24;
  const Plan plan = MustPlan(text, policy);
  EXPECT_EQ(plan.stats().content_tokens,
            whole - 2 * 24);  // one head for each document, not for each chunk
  const auto spans = ReusedSpans(plan);
  EXPECT_EQ(spans.front().begin, 90u + 24);
  EXPECT_EQ(spans.front().first_token, 24u);
  EXPECT_TRUE(std::any_of(spans.begin(), spans.end(),
                          [](const Span& span) { return span.begin == 1090u + 24; }));
  policy.recompute_head = 5000;
  EXPECT_EQ(Reused(MustPlan(text, policy)), 0u);
}

TEST_F(PlannerTest, AGrowingTailIsReusedAsFarAsItGoes) {
  flat_ = true;
  const Tokens all = RandomTokens(1500, 7);
  for (uint32_t length : {200u, 333u, 610u, 611u, 1234u}) {
    Seed(Join({Tokens(all.begin(), all.begin() + length)}));
    const Plan plan = MustPlan(Join({all}), Exact());
    EXPECT_EQ(plan.stats().lossless_tokens, length);
    CheckSpans(plan, 1500);
  }
  PlanPolicy whole_only = Exact();
  whole_only.partial_segments = false;
  const uint64_t whole = MustPlan(Join({all}), whole_only).stats().exact_tokens;
  EXPECT_LT(whole, 1234u);
  EXPECT_GT(whole, 700u);
}

TEST_F(PlannerTest, AnEditInTheMiddleCostsTheEditOnly) {
  flat_ = true;
  const Tokens before = RandomTokens(3000, 7);
  Seed(Join({before}));
  Tokens after = before;
  for (int i = 0; i < 5; ++i) after[1500 + i] ^= 1;
  after.insert(after.begin() + 1505, {1, 2, 3});
  const Text text = Join({after});
  const Plan plan = MustPlan(text, Content());
  CheckSpans(plan, 3003);
  EXPECT_EQ(plan.stats().exact_tokens, 1500u);
  EXPECT_EQ(plan.stats().content_tokens, 3003u - 1508 - 1);
  EXPECT_EQ(plan.stats().compute_tokens, 9u);
  const FetchResult fetched = FetchAll(text, MustPlan(text, Content()));
  EXPECT_EQ(Mismatches(fetched), 0u);
  EXPECT_EQ(Recovered(fetched), 2994u);
}

TEST_F(PlannerTest, RunsThatAreTooShortAreComputed) {
  flat_ = true;
  const Tokens shared = RandomTokens(20, 1);
  Tokens first = shared, second = shared;
  const Tokens rest_a = RandomTokens(200, 2), rest_b = RandomTokens(200, 3);
  first.insert(first.end(), rest_a.begin(), rest_a.end());
  second.insert(second.end(), rest_b.begin(), rest_b.end());
  Seed(Join({first}));
  PlanPolicy policy = Exact();
  policy.min_span_tokens = 20;
  EXPECT_EQ(Reused(MustPlan(Join({second}), policy)), 20u);
  policy.min_span_tokens = 21;
  const Plan plan = MustPlan(Join({second}), policy);
  EXPECT_EQ(Reused(plan), 0u);
  EXPECT_EQ(plan.stats().left_out_tokens, 20u);
}

TEST_F(PlannerTest, OtherTokensBehindAKeyAreAMissAndCounted) {
  const Text text = Join({RandomTokens(400, 1), RandomTokens(30, 2)});
  Seed(text);
  const auto objects = node_->objects();
  const auto victim = std::find_if(objects.begin(), objects.end(), [](const auto& object) {
    return object.second.header.num_tokens() == 30;
  });
  ASSERT_NE(victim, objects.end());
  Tokens forged = victim->second.header.tokens;
  forged[7] ^= 1;
  node_->ChangeTokens(victim->first, forged);
  const Plan plan = MustPlan(text, Exact());
  EXPECT_EQ(plan.stats().token_mismatches, 1u);
  EXPECT_EQ(Reused(plan), 400u);
  EXPECT_EQ(client_->stats().token_mismatches, 1u);
}

TEST_F(PlannerTest, WhatIsFasterToComputeIsNotFetched) {
  const Text text = Join({RandomTokens(1000, 1)});
  ClientOptions options;
  options.cost.fetch_bytes_per_second = 1e9;
  options.cost.disk_bytes_per_second = 1e6;
  options.cost.prefill_tokens_per_second = 1e9 / static_cast<double>(model_.token_bytes()) / 2;
  client_ = *Client::Over(node_->Connect(), options);
  Seed(text);
  EXPECT_EQ(Reused(MustPlan(text, Exact())), 999u);  // twice as fast to fetch
  Drain();
  node_->MoveAllToDisk();
  const Plan plan = MustPlan(text, Exact());
  EXPECT_EQ(Reused(plan), 0u);
  EXPECT_EQ(plan.stats().left_out_tokens, 999u);
}

TEST_F(PlannerTest, ExactTakesOnlyLosslessRowsAndContentPrefersItsOwnContext) {
  const Tokens a = RandomTokens(300, 1), b = RandomTokens(300, 2);
  Seed(Join({RandomTokens(64, 3), a}));
  const Text text = Join({RandomTokens(70, 4), a, b});
  Turn(text, Content());  // a by content, b computed behind it: approximate
  EXPECT_GT(report_.segments_linked, 0u);
  const Plan exact = MustPlan(text, Exact());
  EXPECT_EQ(exact.stats().exact_tokens, 70u);
  const Plan content = MustPlan(text, Content());
  EXPECT_EQ(content.stats().exact_tokens, 669u);
  EXPECT_EQ(content.stats().lossless_tokens, 70u);
  EXPECT_EQ(content.stats().content_tokens, 0u);
}

TEST_F(PlannerTest, ANodeThatIsTooSlowMeansComputeAndItsLeasesGoBack) {
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  node_->Hold<FindRequest>();
  PlanPolicy hasty = Content();
  hasty.deadline = absl::Milliseconds(20);
  const Plan plan = MustPlan(text, hasty);
  EXPECT_EQ(Reused(plan), 0u);
  EXPECT_TRUE(plan.stats().timed_out) << "not what a cold cache looks like";
  EXPECT_EQ(client_->stats().plan_failures, 1u);
  node_->OpenGate();  // the node answers now, with leases that nobody waits for
  const absl::Time until = absl::Now() + absl::Seconds(20);
  while (node_->num_leases() == 0 && absl::Now() < until) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_GT(node_->num_leases(), 0u);
  Drain();  // gives them back, once their answer is here
  Drain();
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_F(PlannerTest, APlanThatIsDroppedGivesItsLeasesBack) {
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  {
    const Plan plan = MustPlan(text, Content());
    EXPECT_GT(node_->num_leases(), 0u);
  }
  Drain();
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_F(PlannerTest, LeasesThatAPlanDoesNotNeedGoBackAtOnce) {
  const Tokens a = RandomTokens(300, 2);
  Seed(Join({RandomTokens(100, 1), a}));
  PlanPolicy policy = Content();
  policy.recompute_head = 1000;
  const Plan plan = MustPlan(Join({RandomTokens(90, 5), a}), policy);
  Drain();
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_F(PlannerTest, AnswersThatDoNotFitAreErrorsAndLeakNothing) {
  const Text text = Join({RandomTokens(100, 1), RandomTokens(300, 2)});
  Seed(text);
  const std::vector<std::function<void(FindReply*)>> lies = {
      [](FindReply* reply) { reply->results.pop_back(); },
      [](FindReply* reply) { reply->results[0].object = 1000; },
      [](FindReply* reply) {
        reply->neighbours.push_back({0, true, {}, {}, 1000});
      },
      [](FindReply* reply) {
        reply->neighbours.push_back({-2, true, {}, {}, 0});
      },
      [](FindReply* reply) {
        reply->neighbours.push_back({-1, false, {}, {}, 0});
      },
      [](FindReply* reply) {
        reply->neighbours.push_back({1000, true, {}, {}, 0});
      },
      [](FindReply* reply) { reply->objects[0].header.model.lo ^= 1; },
      [](FindReply* reply) { reply->objects[0].header.tenant ^= 1; },
      [](FindReply* reply) { reply->objects[0].header.kind = base::ObjectKind::kBlob; },
      [](FindReply* reply) { reply->objects[0].tokens.count = 0; },
  };
  for (size_t i = 0; i < lies.size(); ++i) {
    node_->tamper = [&](const testing::Request& request, testing::Reply* reply) {
      if (std::holds_alternative<FindRequest>(request)) lies[i](std::get_if<FindReply>(reply));
    };
    const auto plan = client_->MakePlan(model_, text.tokens, Content(), text.parts);
    EXPECT_TRUE(absl::IsInternal(plan.status())) << i << ": " << plan.status();
    node_->tamper = nullptr;
  }
  EXPECT_EQ(client_->stats().plan_failures, lies.size());
  Drain();
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_F(PlannerTest, AReplyOfAnotherKindIsAnError) {
  node_->tamper = [](const testing::Request&, testing::Reply* reply) {
    *reply = transport::ReleaseReply{};
  };
  const auto plan = client_->MakePlan(model_, RandomTokens(100, 1), Content(), {});
  EXPECT_TRUE(absl::IsInternal(plan.status())) << plan.status();
}

TEST_F(PlannerTest, ErrorsOfTheNodeArePassedOn) {
  node_->intercept = [](const testing::Request& request) -> std::optional<absl::Status> {
    if (!std::holds_alternative<FindRequest>(request)) return std::nullopt;
    return absl::ResourceExhaustedError("busy");
  };
  const auto plan = client_->MakePlan(model_, RandomTokens(100, 1), Content(), {});
  EXPECT_TRUE(absl::IsResourceExhausted(plan.status())) << plan.status();
}

TEST_F(PlannerTest, ADeadNodeIsUnavailable) {
  node_->Kill();
  const auto plan = client_->MakePlan(model_, RandomTokens(100, 1), Content(), {});
  EXPECT_TRUE(absl::IsUnavailable(plan.status())) << plan.status();
}

TEST_F(PlannerTest, ANodeThatForgotTheModelIsToldAgain) {
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  node_->ForgetModels();
  EXPECT_EQ(Reused(MustPlan(text, Exact())), 299u);
  EXPECT_EQ(node_->Calls<transport::RegisterModelRequest>(), 2u);
}

TEST_F(PlannerTest, AModelIsIntroducedOnce) {
  for (int i = 0; i < 3; ++i) Drain();
  EXPECT_EQ(node_->Calls<transport::RegisterModelRequest>(), 1u);
}

TEST_F(PlannerTest, ANodeThatNamesModelsOtherwiseDoesNotFit) {
  node_->tamper = [](const testing::Request&, testing::Reply* reply) {
    if (auto* named = std::get_if<transport::RegisterModelReply>(reply)) named->fingerprint.lo ^= 1;
  };
  const auto plan = client_->MakePlan(model_, RandomTokens(100, 1), Content(), {});
  EXPECT_TRUE(absl::IsFailedPrecondition(plan.status())) << plan.status();
}

TEST_F(PlannerTest, WrongCallsAreInvalid) {
  const Tokens tokens = RandomTokens(100, 1);
  for (const Offsets& parts : {Offsets{101}, Offsets{50, 40}}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(client_->MakePlan(model_, tokens, Content(), parts).status()));
  }
  base::ModelSpec bad = model_;
  bad.num_layers = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(client_->MakePlan(bad, tokens, Content(), {}).status()));
  ClientOptions options;
  options.call_deadline = absl::ZeroDuration();
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Over(node_->Connect(), options).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Over(nullptr, {}).status()));
}

TEST_F(PlannerTest, ATenantFindsNothingOfAnother) {
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  ClientOptions options;
  options.salt = "pepper";
  client_ = *Client::Over(node_->Connect(), options);
  EXPECT_EQ(Reused(MustPlan(text, Content())), 0u);
}

TEST_F(PlannerTest, OpaqueRowsAreReusedOnlyWhereTheyStood) {
  base::ModelSpec opaque = testing::SmallModel();
  opaque.layout = base::RowLayout::kOpaque;
  opaque.row_bytes = 64;
  opaque.rotary.style = base::RotaryStyle::kNone;
  Start({.model = opaque});
  rotated_ = true;
  const Tokens a = RandomTokens(300, 1);
  const Text text = Join({RandomTokens(100, 2), a});
  Seed(text);
  EXPECT_EQ(Reused(MustPlan(text, Content())), 399u);
  EXPECT_EQ(Reused(MustPlan(Join({RandomTokens(90, 3), a}), Content())), 0u);
}

}  // namespace
}  // namespace cistern
