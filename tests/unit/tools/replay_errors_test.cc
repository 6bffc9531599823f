// A replay whose node fails: the failures are counted, and the first of each kind is kept.
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/model_presets.h"
#include "tools/bench/hybrid_replay.h"
#include "tools/bench/replay.h"

namespace cistern::tools {
namespace {

using testing::HasSubstr;

// Plans fail, or come too late; nothing can be published.
class FailingClient : public Client {
 public:
  explicit FailingClient(bool late) : late_(late) {}

  absl::StatusOr<Plan> MakePlan(const ModelSpec& /*model*/, std::span<const TokenId> /*tokens*/,
                                const PlanPolicy& /*policy*/,
                                std::span<const uint32_t> /*part_boundaries*/) override {
    ++stats_.plan_failures;
    if (late_) return Plan();  // as the library does: without reuse
    return absl::UnavailableError(absl::StrCat("plan ", stats_.plan_failures));
  }
  absl::StatusOr<FetchHandle> Fetch(Plan&& /*plan*/, const PagedCache& /*destination*/,
                                    const FetchOptions& /*options*/) override {
    return absl::InternalError("nothing was planned");
  }
  absl::StatusOr<PublishReport> Publish(const ModelSpec& /*model*/,
                                        std::span<const TokenId> /*tokens*/,
                                        const FetchResult& /*fetched*/, TokenRange /*range*/,
                                        const RowSource& /*rows*/,
                                        std::span<const uint32_t> /*part_boundaries*/) override {
    return absl::ResourceExhaustedError(absl::StrCat("publish ", ++publishes_));
  }
  absl::StatusOr<PublishHandle> StartPublish(const ModelSpec& /*model*/,
                                             std::span<const TokenId> /*tokens*/,
                                             const FetchResult& /*fetched*/, TokenRange /*range*/,
                                             const RowSource& /*rows*/,
                                             std::span<const uint32_t> /*parts*/) override {
    return absl::InternalError("the replay publishes whole prompts");
  }
  absl::StatusOr<StateReport> PublishStates(const ModelSpec& /*model*/,
                                            std::span<const TokenId> /*tokens*/,
                                            const FetchResult& /*fetched*/,
                                            const StateSource& /*source*/,
                                            const StatePolicy& /*policy*/,
                                            std::span<const uint32_t> /*parts*/) override {
    return absl::ResourceExhaustedError("no room for states");
  }
  Blobs& blobs() override { std::abort(); }  // a replay has none
  ClientStats stats() const override { return stats_; }

 private:
  const bool late_;
  ClientStats stats_;
  int publishes_ = 0;
};

ReplayReport ReplayTwoCalls(bool late) {
  FailingClient client(late);
  const Trace trace{"test", {Call{{RandomPiece(40, 1)}}, Call{{RandomPiece(40, 2)}}}};
  ReplayOptions options;
  options.model = base::WithLayers(*base::ModelPreset("deepseek-v2-lite"), 1);
  options.policy.deadline = absl::Seconds(3);
  absl::StatusOr<ReplayReport> report = Replay(client, trace, options);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *report : ReplayReport{};
}

TEST(ReplayErrorsTest, TheFirstErrorOfEachKindIsKept) {
  const ReplayReport report = ReplayTwoCalls(/*late=*/false);
  EXPECT_EQ(report.failed_plans, 2u);
  EXPECT_EQ(report.failed_publishes, 2u);
  EXPECT_EQ(report.first_plan_error, "UNAVAILABLE: plan 1");
  EXPECT_EQ(report.first_publish_error, "RESOURCE_EXHAUSTED: publish 1");
  EXPECT_EQ(report.computed_tokens, 80u);
}

TEST(ReplayErrorsTest, APlanThatComesTooLateHasFailed) {
  const ReplayReport report = ReplayTwoCalls(/*late=*/true);
  EXPECT_EQ(report.failed_plans, 2u);
  EXPECT_THAT(report.first_plan_error, HasSubstr("did not answer within the plan's 3s"));
}

TEST(ReplayErrorsTest, EachReplayTakesItsOwnModels) {
  FailingClient client(/*late=*/false);
  const Trace trace{"test", {Call{{RandomPiece(40, 1)}}}};
  ReplayOptions options;
  options.model = *base::ModelPreset("kimi-linear");
  EXPECT_THAT(Replay(client, trace, options).status().message(), HasSubstr("recurrent layers"));
  const base::ModelSpec hybrid = base::WithLayers(options.model, 1);
  const StateModel state_model(hybrid);
  StateOracle oracle(state_model, 0);
  EXPECT_THAT(
      HybridReplay(client, trace, {.model = *base::ModelPreset("glm-5")}, state_model, oracle)
          .status()
          .message(),
      HasSubstr("no recurrent layers"));
  EXPECT_THAT(HybridReplay(client, {}, {.model = hybrid}, state_model, oracle).status().message(),
              HasSubstr("no calls"));
}

// The worker computes everything and goes on.
TEST(ReplayErrorsTest, AHybridWithoutANodeComputes) {
  for (const bool late : {false, true}) {
    FailingClient client(late);
    const Trace trace{"test",
                      {Call{{RandomPiece(40, 1)}, RandomPiece(5, 3)}, Call{{RandomPiece(40, 2)}}}};
    HybridReplayOptions options{.model = base::WithLayers(*base::ModelPreset("jamba-1.5-mini"), 1)};
    const StateModel state_model(options.model);
    StateOracle oracle(state_model, 0);
    const auto report = HybridReplay(client, trace, options, state_model, oracle);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->failed_plans, 2u);
    EXPECT_EQ(report->failed_publishes, 4u);
    EXPECT_EQ(report->prompt_tokens, 80u);
    EXPECT_EQ(report->recovered_tokens, 0u);
    EXPECT_EQ(report->scheme, "log");
    EXPECT_THAT(report->first_error, HasSubstr(late ? "deadline" : "UNAVAILABLE: plan 1"));
    EXPECT_THAT(ToTable({&*report, 1}), HasSubstr("failed: 2 plans, 0 fetches, 4 publishes"));
    EXPECT_THAT(ToJson(*report), HasSubstr("\"failed_publishes\":4"));
  }
}

}  // namespace
}  // namespace cistern::tools
