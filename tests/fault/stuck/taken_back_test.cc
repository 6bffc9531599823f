// The race that generations are there for, staged: a worker reads in place while its lease runs out
// and its blocks are given to somebody else. What it read is never handed out.
#include <atomic>
#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "base/model_presets.h"
#include "tests/fault/stuck/stuck_node.h"
#include "tools/bench/worker_cache.h"

namespace cistern::stuck {
namespace {

using cacheserver::Await;

// A layer of them is more than a fetch moves in one step, so that on_layer runs between two.
constexpr uint32_t kTokens = 6000;

std::vector<base::TokenId> Prompt(uint32_t number) {
  std::vector<base::TokenId> tokens(kTokens);
  for (uint32_t i = 0; i < kTokens; ++i) tokens[i] = number * 100000 + i;
  return tokens;
}

class TakenBack : public testing::Test {
 protected:
  TakenBack() : node_({"--lease_max_age=1s", "--pool_bytes=32MiB"}), cache_(model_, kTokens) {
    auto client = Client::Connect(Options());
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  ClientOptions Options() {
    const Deadlines patient{absl::Seconds(30), absl::Seconds(30), absl::Seconds(30)};
    return node_.options(Carrier::kMapped, patient);
  }

  void PublishAs(Client& client, const std::vector<base::TokenId>& tokens) {
    tools::WorkerCache rows(model_, kTokens);
    rows.Begin(tokens);
    rows.Compute({0, kTokens});
    const auto report =
        client.Publish(model_, tokens, {}, {0, kTokens}, rows.Source(/*pre_rope=*/true));
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->segments_dropped, 0u);
  }
  // Until what had been there has gone.
  void FillWithOtherTexts() {
    auto other = Client::Connect(Options());
    ASSERT_TRUE(other.ok()) << other.status();
    for (uint32_t number = 10; number < 14; ++number) PublishAs(**other, Prompt(number));
  }
  uint64_t Expired() { return node_.node().Status().at("calls").at("expired_leases"); }

  const base::ModelSpec model_ = TurnModel();
  StuckNode node_;
  std::unique_ptr<Client> client_;
  tools::WorkerCache cache_;
};

TEST_F(TakenBack, WhileARowIsReadItIsNotHandedOut) {
  const std::vector<base::TokenId> tokens = Prompt(1);
  PublishAs(*client_, tokens);
  cache_.Begin(tokens);
  auto plan = client_->MakePlan(model_, tokens, {.deadline = absl::Seconds(30)});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->stats().exact_tokens, kTokens - 1);
  std::atomic<bool> reached{false}, go_on{false};
  FetchOptions options;
  options.pre_rope = cache_.pre_rope();
  options.pre_rope_stride = cache_.pre_rope_stride();
  options.on_layer = [&](uint32_t layer) {
    if (layer != 0) return;
    reached.store(true);
    while (!go_on.load()) absl::SleepFor(absl::Milliseconds(1));
  };
  auto fetch = client_->Fetch(*std::move(plan), cache_.Destination(), options);
  ASSERT_TRUE(fetch.ok()) << fetch.status();
  Await("the first layer", [&] { return reached.load(); });
  Await("the node to take the leases back", [&] { return Expired() > 0; });
  FillWithOtherTexts();
  ASSERT_GT(node_.node().Status().at("totals").at("evicted_objects"), 0);
  go_on.store(true);
  const auto result = fetch->Wait();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(client_->stats().stale_reads, 0u);
  uint32_t missing = 0;
  for (const TokenRange& range : result->missing) missing += range.end - range.begin;
  EXPECT_EQ(missing, kTokens - 1) << "its memory is full of other texts";
  for (const Span& span : result->delivered)
    EXPECT_EQ(cache_.CountMismatches({span.begin, span.end}, -1), 0u);
}

// Blocks that nobody else was given still hold what they held: a lease that ran out costs nothing.
TEST_F(TakenBack, WhatIsStillThereIsHandedOut) {
  const std::vector<base::TokenId> tokens = Prompt(2);
  PublishAs(*client_, tokens);
  cache_.Begin(tokens);
  auto plan = client_->MakePlan(model_, tokens, {.deadline = absl::Seconds(30)});
  ASSERT_TRUE(plan.ok()) << plan.status();
  Await("the node to take the leases back", [&] { return Expired() > 0; });
  auto fetch = client_->Fetch(*std::move(plan), cache_.Destination());
  ASSERT_TRUE(fetch.ok()) << fetch.status();
  const auto result = fetch->Wait();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->missing.empty());
  EXPECT_EQ(client_->stats().stale_reads, 0u);
  EXPECT_EQ(cache_.CountMismatches({0, kTokens - 1}, -1), 0u);
}

}  // namespace
}  // namespace cistern::stuck
