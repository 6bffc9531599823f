#include "tests/fault/stuck/turns.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

#include "base/model_presets.h"

namespace cistern::stuck {
namespace {

constexpr uint32_t kTextTokens = 200, kMostTexts = 4;

// Runs `call`; what it took beyond `deadline`, and the first error.
template <typename Fn>
auto Timed(absl::Duration deadline, Turn* turn, Fn call) {
  const absl::Time start = absl::Now();
  auto result = call();
  const absl::Duration took = absl::Now() - start;
  turn->took += took;
  turn->late = std::max(turn->late, took - deadline);
  if (!result.ok()) turn->trouble.Update(result.status());
  return result;
}

}  // namespace

base::ModelSpec TurnModel() {
  base::ModelSpec model = *base::ModelPreset("deepseek-v2-lite");
  model.num_layers = 2;
  return model;
}

ClientOptions QuickOptions(const std::string& address, const Deadlines& deadlines,
                           bool want_mapping) {
  ClientOptions options;
  options.address = address;
  options.call_deadline = deadlines.plan;
  options.publish_deadline = deadlines.publish;
  options.reconnect_backoff = absl::Milliseconds(50);
  options.want_mapping = want_mapping;
  return options;
}

TurnWorker::TurnWorker(uint64_t seed, const Deadlines& deadlines, uint32_t texts)
    : deadlines_(deadlines),
      texts_(texts),
      random_(seed),
      cache_(model_, kMostTexts * kTextTokens) {}

Turn TurnWorker::Run(Client& client) {
  std::vector<uint32_t> texts(2 + random_() % (kMostTexts - 1));
  for (uint32_t& text : texts) text = static_cast<uint32_t>(random_() % texts_);
  return Run(client, texts);
}

Turn TurnWorker::Run(Client& client, const std::vector<uint32_t>& texts) {
  tokens_.clear();
  boundaries_.clear();
  for (const uint32_t text : texts) {
    boundaries_.push_back(static_cast<uint32_t>(tokens_.size()));
    for (uint32_t i = 0; i < kTextTokens; ++i) tokens_.push_back(text * 1000 + i);
  }
  cache_.Begin(tokens_);
  Turn turn;
  turn.late = -absl::InfiniteDuration();
  const FetchResult fetched = PlanAndFetch(client, &turn);
  for (const Span& span : fetched.delivered) {
    turn.reused += span.end - span.begin;
    turn.wrong_rows += cache_.CountMismatches({span.begin, span.end}, -1);
  }
  for (const TokenRange& range : fetched.missing) turn.missing += range.end - range.begin;
  ComputeTheRest(fetched);
  const auto published = Timed(deadlines_.publish, &turn, [&] {
    return client.Publish(model_, tokens_, fetched, {0, static_cast<uint32_t>(tokens_.size())},
                          cache_.Source(/*pre_rope=*/true), boundaries_);
  });
  if (published.ok()) {
    turn.segments = published->segments;
    turn.had = published->segments_had;
    turn.dropped = published->segments_dropped;
  }
  return turn;
}

FetchResult TurnWorker::PlanAndFetch(Client& client, Turn* turn) {
  PlanPolicy policy{.reuse = Reuse::kContent};
  policy.deadline = deadlines_.plan;
  auto plan = Timed(deadlines_.plan, turn,
                    [&] { return client.MakePlan(model_, tokens_, policy, boundaries_); });
  if (!plan.ok()) return {};
  FetchOptions options;
  options.deadline = deadlines_.fetch;
  options.pre_rope = cache_.pre_rope();
  options.pre_rope_stride = cache_.pre_rope_stride();
  auto result = Timed(deadlines_.fetch, turn, [&]() -> absl::StatusOr<FetchResult> {
    auto fetch = client.Fetch(*std::move(plan), cache_.Destination(), options);
    if (!fetch.ok()) return fetch.status();
    return fetch->Wait();
  });
  return result.ok() ? *std::move(result) : FetchResult{};
}

void TurnWorker::ComputeTheRest(const FetchResult& fetched) {
  uint32_t position = 0;
  for (const Span& span : fetched.delivered) {
    if (span.begin > position) cache_.Compute({position, span.begin});
    position = std::max(position, span.end);
  }
  const auto end = static_cast<uint32_t>(tokens_.size());
  if (end > position) cache_.Compute({position, end});
}

}  // namespace cistern::stuck
