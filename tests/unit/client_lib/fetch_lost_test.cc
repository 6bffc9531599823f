// What is lost between plan and fetch, or on the way: it is said, never handed out.
#include <atomic>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using testing::ClientFixture;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::Join;
using testing::RandomTokens;
using testing::Reply;
using testing::Request;
using testing::SmallModel;
using testing::Text;
using testing::Tokens;
using transport::FindReply;
using transport::LeaseReply;
using transport::LeaseRequest;
using transport::ReadReply;
using transport::ReadRequest;

class FetchLostTest : public ClientFixture {};

TEST_F(FetchLostTest, RowsWhoseBlocksWereReusedMeanwhileAreNotHandedOut) {
  Start();
  const Text text = Join({RandomTokens(300, 1), RandomTokens(300, 2), RandomTokens(300, 3)});
  Seed(text);
  Plan plan = MustPlan(text, Exact());
  const Span victim = ReusedSpans(plan)[1];
  node_->ReuseBlocks(victim.object_id);
  const FetchResult fetched = FetchAll(text, std::move(plan));
  ASSERT_EQ(fetched.missing.size(), 1u);
  EXPECT_EQ(fetched.missing[0].begin, victim.begin);
  EXPECT_EQ(fetched.missing[0].end, victim.end);
  EXPECT_EQ(Recovered(fetched), 899u - (victim.end - victim.begin));
  EXPECT_EQ(client_->stats().stale_reads, 1u);
  EXPECT_EQ(client_->stats().fetch_failures, 1u);
}

TEST_F(FetchLostTest, ArenasOfAnotherIncarnationAreNotRead) {
  Start();
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  Plan plan = MustPlan(text, Exact());
  node_->SetIncarnation(78);
  const FetchResult fetched = FetchAll(text, std::move(plan));
  EXPECT_THAT(fetched.delivered, IsEmpty());
  EXPECT_EQ(MissingTokens(fetched), 299u);
}

TEST_F(FetchLostTest, BlocksOutsideTheArenaAreNotRead) {
  const std::vector<std::function<void(std::vector<base::BlockRef>*)>> lies = {
      [](auto* blocks) { blocks->front().offset = UINT64_MAX - 100; },
      [](auto* blocks) { blocks->front().offset = 1ull << 40; },
      [](auto* blocks) { blocks->front().handle = 1u << 30; },
      [](auto* blocks) { blocks->pop_back(); },
      [](auto* blocks) { blocks->clear(); },
  };
  for (const auto& lie : lies) {
    Start();
    const Text text = Join({RandomTokens(300, 1), RandomTokens(30, 2), RandomTokens(30, 3)});
    Seed(text);
    Tamper<FindReply>([&](FindReply* reply) {
      transport::ListRun& last = reply->objects.back().blocks;
      const std::span<const base::BlockRef> honest = reply->BlocksOf(reply->objects.back());
      std::vector<base::BlockRef> blocks(honest.begin(), honest.end());
      lie(&blocks);
      reply->blocks.resize(last.first);
      reply->blocks.insert(reply->blocks.end(), blocks.begin(), blocks.end());
      last.count = static_cast<uint32_t>(blocks.size());
    });
    const FetchResult fetched = FetchAll(text, MustPlan(text, Exact()));
    EXPECT_EQ(MissingTokens(fetched), 29u);
    EXPECT_EQ(Recovered(fetched), 330u);
  }
}

// By copy the node is the one who knows.
TEST_F(FetchLostTest, AnObjectThatIsGoneInSpiteOfItsLeaseIsMissing) {
  StartCopying();
  const Text text = Join({RandomTokens(300, 1), RandomTokens(300, 2), RandomTokens(300, 3)});
  Seed(text);
  Plan plan = MustPlan(text, Exact());
  const Span victim = ReusedSpans(plan)[1];
  node_->Drop(victim.object_id);
  const FetchResult fetched = FetchAll(text, std::move(plan));
  EXPECT_EQ(Recovered(fetched) + MissingTokens(fetched), 899u);
  EXPECT_EQ(Mismatches(fetched), 0u);
  for (const Span& span : fetched.delivered) EXPECT_NE(span.object_id, victim.object_id);
  EXPECT_EQ(client_->stats().fetch_failures, 1u);
  ComputeTheRest(text, fetched);  // and what the caller shares then is right
  const auto report = Publish(text, fetched);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->segments, 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
  EXPECT_EQ(Recovered(FetchAll(text, MustPlan(text, Exact()))), 899u);
}

TEST_F(FetchLostTest, WhatIsGoneWhenItIsLeasedIsMissing) {
  flat_ = true;
  Start();
  const Tokens all = RandomTokens(1000, 1);
  Seed(Join({Tokens(all.begin(), all.begin() + 900)}));
  const Text text = Join({all});
  Plan plan = MustPlan(text, Exact());
  const Span tail = ReusedSpans(plan).back();  // a neighbour: described, not leased
  node_->Drop(tail.object_id);
  const FetchResult fetched = FetchAll(text, std::move(plan));
  ASSERT_EQ(fetched.missing.size(), 1u);
  EXPECT_EQ(fetched.missing[0].begin, tail.begin);
  EXPECT_EQ(Recovered(fetched), tail.begin);
  EXPECT_EQ(Mismatches(fetched), 0u);
}

TEST_F(FetchLostTest, WhatNeverFindsRoomIsMissing) {
  Start({.model = SmallModel(), .num_pages = 60});
  const Text big = Join({RandomTokens(700, 1)}), other = Join({RandomTokens(900, 2)});
  Seed(big);
  Seed(other);
  Drain();
  node_->MoveAllToDisk();
  // Another worker holds almost all of the node's memory.
  auto holder = *Client::Over(node_->Connect(), {});
  auto plan = holder->MakePlan(model_, other.tokens, Exact(), other.parts);
  ASSERT_TRUE(plan.ok());
  std::vector<transport::ObjectId> ids;
  for (const Span& span : ReusedSpans(*plan)) ids.push_back(span.object_id);
  const Reply held = node_->Serve(LeaseRequest{ids}, {});
  ASSERT_GT(node_->num_leases(), 0u);

  const FetchResult fetched = FetchAll(big, MustPlan(big, Exact()));
  EXPECT_GT(MissingTokens(fetched), 0u);
  EXPECT_EQ(Recovered(fetched) + MissingTokens(fetched), 699u);
  EXPECT_EQ(Mismatches(fetched), 0u);
}

TEST_F(FetchLostTest, ALeaseCallThatFailsMeansMissing) {
  Start();
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  node_->MoveAllToDisk();
  Refuse<LeaseRequest>(absl::InternalError("broken"));
  EXPECT_EQ(MissingTokens(FetchAll(text, MustPlan(text, Exact()))), 299u);
  node_->intercept = nullptr;
  Tamper<LeaseReply>([](LeaseReply* reply) { reply->results.pop_back(); });
  EXPECT_EQ(MissingTokens(FetchAll(text, MustPlan(text, Exact()))), 299u);
}

TEST_F(FetchLostTest, ADamagedPayloadIsMissingAndCounted) {
  StartCopying();
  const Text text = Join({RandomTokens(64, 1)});
  Seed(text);
  Refuse<ReadRequest>(absl::DataLossError("checksum"));
  EXPECT_EQ(MissingTokens(FetchAll(text, MustPlan(text, Exact()))), 63u);
  // One call or several, by how its layers were cut.
  EXPECT_GE(node_->Calls<ReadRequest>(), 1u);
  EXPECT_EQ(client_->stats().checksum_failures, node_->Calls<ReadRequest>());
}

TEST_F(FetchLostTest, APayloadOfAnotherSizeIsMissing) {
  StartCopying();
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  Tamper<ReadReply>([](ReadReply* reply) { --reply->payload_bytes; });
  EXPECT_EQ(MissingTokens(FetchAll(text, MustPlan(text, Exact()))), 299u);
}

TEST_F(FetchLostTest, TransfersOverTheStagingBoundAreMissing) {
  base::ModelSpec wide = SmallModel();
  wide.layout = base::RowLayout::kOpaque;
  wide.row_bytes = 1 << 16;
  wide.num_layers = 1;
  wide.rotary.style = base::RotaryStyle::kNone;
  Start({.model = wide, .num_pages = 64, .mapped = false});
  worker_ = std::make_unique<tools::WorkerCache>(SmallModel(), 64);  // rows are not looked at here
  ClientOptions small;
  small.max_staging_bytes = 1 << 20;
  const Text text = Join({Tokens(300, 42)});
  std::vector<std::byte> rows(300 * wide.row_bytes);
  const std::vector<int32_t> table = {0};
  const PagedCache cache = {{rows.data()}, table, 1, 300, rows.size(), wide.row_bytes};
  // Published with room enough, fetched without.
  ASSERT_EQ(client_->Publish(wide, text.tokens, {}, {0, 300}, {cache})->segments, 1u);
  client_ = *Client::Over(node_->Connect(), small);
  auto plan = client_->MakePlan(wide, text.tokens, Exact());
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(Reused(*plan), 299u);
  auto fetch = client_->Fetch(*std::move(plan), cache, {});
  EXPECT_EQ(MissingTokens(*fetch->Wait()), 299u);
  // And the other way: dropped, counted.
  const auto report = client_->Publish(wide, Tokens(301, 43), {}, {0, 301},
                                       {{{rows.data()}, table, 1, 301, rows.size(), 65536}});
  EXPECT_FALSE(report.ok() && report->segments > 0);
}

TEST_F(FetchLostTest, ADeadLinkMeansMissing) {
  StartCopying();
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  node_->Hold<ReadRequest>();
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
  node_->AwaitHeld();
  node_->Kill();
  const FetchResult fetched = *fetch.Wait();
  EXPECT_EQ(MissingTokens(fetched), 999u);
  EXPECT_THAT(fetched.delivered, IsEmpty());
  EXPECT_FALSE(fetch.WaitLayer(0).ok() && Recovered(fetched) > 0);
}

TEST_F(FetchLostTest, ALinkThatDiesWhileLeasingMeansMissing) {
  Start();
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  node_->MoveAllToDisk();
  node_->Hold<LeaseRequest>();
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
  node_->AwaitHeld();
  node_->Kill();
  EXPECT_EQ(MissingTokens(*fetch.Wait()), 999u);
  EXPECT_EQ(client_->stats().fetch_failures, 1u);
}

// A range as what ElementsAre compares.
std::vector<std::pair<uint32_t, uint32_t>> Pairs(const std::vector<TokenRange>& ranges) {
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  pairs.reserve(ranges.size());
  for (const TokenRange& range : ranges) pairs.emplace_back(range.begin, range.end);
  return pairs;
}

// An engine that starts layer 0 early must know then what it has to compute.
TEST_F(FetchLostTest, WhatIsLostIsSaidBeforeTheLayerIsAnnounced) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .mapped = mapped});
    const Text text = Join({RandomTokens(300, 1), RandomTokens(300, 2), RandomTokens(300, 3)});
    Seed(text);
    Plan plan = MustPlan(text, Exact());
    const Span victim = ReusedSpans(plan)[1];
    node_->MoveAllToDisk();  // only what is not leased
    if (mapped) {
      node_->ReuseBlocks(victim.object_id);
    } else {
      Refuse<ReadRequest>(absl::DataLossError("checksum"));
    }
    FetchHandle fetch = MustFetch(text, std::move(plan), Raw());
    ASSERT_TRUE(fetch.WaitLayer(0).ok());
    const auto early = Pairs(fetch.Missing());
    if (mapped) {
      EXPECT_THAT(early, ElementsAre(std::pair(victim.begin, victim.end)));
    } else {
      EXPECT_THAT(early, ElementsAre(std::pair(0u, 899u)));
    }
    const FetchResult fetched = *fetch.Wait();
    EXPECT_EQ(Pairs(fetched.missing), early);
    EXPECT_EQ(Pairs(fetch.Missing()), early);
    EXPECT_EQ(client_->stats().fetch_failures, 1u);
  }
}

// 3 layers of 2500 rows are three calls: the second one fails.
TEST_F(FetchLostTest, ALossInALaterLayerIsSaidWithThatLayer) {
  StartCopying();
  const Text text = Join({RandomTokens(2500, 1)});
  Seed(text);
  node_->intercept = [](const Request& request) -> std::optional<absl::Status> {
    const auto* read = std::get_if<ReadRequest>(&request);
    if (read == nullptr || read->layer_begin == 0) return std::nullopt;
    return absl::DataLossError("checksum");
  };
  std::vector<std::vector<std::pair<uint32_t, uint32_t>>> missing;
  FetchHandle fetch;
  std::atomic<bool> ready{false};
  FetchOptions options = Raw();
  options.on_layer = [&](uint32_t) {
    while (!ready) std::this_thread::yield();
    missing.push_back(Pairs(fetch.Missing()));
  };
  fetch = MustFetch(text, MustPlan(text, Exact()), options);
  ready = true;
  const FetchResult fetched = *fetch.Wait();
  ASSERT_EQ(missing.size(), 3u);
  EXPECT_THAT(missing[0], IsEmpty());
  EXPECT_THAT(missing[1], ElementsAre(std::pair(0u, 2499u)));
  EXPECT_EQ(missing[2], missing[1]);
  EXPECT_EQ(Pairs(fetched.missing), missing[2]);
}

// The worker goes on with what it computed from the rows that it had: what lies behind them is not
// what computing all would have left. Lost before the first layer is lost in time.
TEST_F(FetchLostTest, WhatIsComputedBehindASpanThatIsLostOnTheWayIsApproximate) {
  const Tokens document = RandomTokens(2400, 5);
  const Text text = Join({RandomTokens(80, 6), document, RandomTokens(50, 7)});
  for (uint32_t failing_layer : {0u, 1u}) {
    StartCopying();
    Seed(Join({RandomTokens(100, 4), document}));
    node_->intercept = [=](const Request& request) -> std::optional<absl::Status> {
      const auto* read = std::get_if<ReadRequest>(&request);
      if (read == nullptr || read->layer_begin < failing_layer) return std::nullopt;
      return absl::DataLossError("checksum");
    };
    Plan plan = MustPlan(text, Content());
    ASSERT_GT(plan.stats().content_tokens, 2000u);
    const uint32_t begin = ReusedSpans(plan)[0].begin;
    const FetchResult fetched = FetchAll(text, std::move(plan));
    ASSERT_THAT(fetched.delivered, IsEmpty());
    EXPECT_EQ(fetched.approximate, failing_layer > 0);
    EXPECT_EQ(fetched.approximate_from, failing_layer > 0 ? begin : UINT32_MAX);
    ComputeTheRest(text, fetched);
    const absl::StatusOr<PublishReport> report = Publish(text, fetched);
    ASSERT_TRUE(report.ok()) << report.status();
    uint32_t approximate = 0;
    for (const auto& [id, stored] : node_->objects()) {
      if (stored.header.lineage == base::Lineage::kExact) continue;
      EXPECT_GT(stored.header.base_position + stored.header.num_tokens(), begin);
      approximate += stored.header.num_tokens();
    }
    EXPECT_EQ(approximate, failing_layer > 0 ? text.size() - begin : 0u);
  }
}

// A deadline between two layers: what was not given up was announced all the same.
TEST_F(FetchLostTest, WhatIsComputedBehindASpanThatIsLateIsApproximate) {
  StartCopying();
  const Tokens document = RandomTokens(2400, 5);
  const Text text = Join({RandomTokens(80, 6), document});
  Seed(Join({RandomTokens(100, 4), document}));
  FetchHandle fetch;
  std::atomic<bool> ready{false};
  FetchOptions options = Raw();
  options.on_layer = [&](uint32_t) {
    while (!ready) std::this_thread::yield();
    fetch.Cancel();  // by the deadline or the caller: the same
  };
  Plan plan = MustPlan(text, Content());
  const uint32_t begin = ReusedSpans(plan)[0].begin;
  fetch = MustFetch(text, std::move(plan), options);
  ready = true;
  const FetchResult fetched = *fetch.Wait();
  EXPECT_FALSE(fetched.missing.empty());
  EXPECT_EQ(fetched.approximate_from, begin);
  EXPECT_TRUE(fetched.approximate);
}

// The rest of a fetch whose link has died is announced as well: as missing. A layer of 16,000 rows
// is five calls, three are under way at a time: the last ones are never made.
TEST_F(FetchLostTest, WhatADeadLinkLeavesIsSaidBeforeTheLayersAreAnnounced) {
  StartCopying();
  worker_ = std::make_unique<tools::WorkerCache>(model_, 16000);
  const Text text = Join({RandomTokens(16000, 1)});
  Seed(text);
  node_->tamper = [this](const Request& request, Reply*) {
    if (std::holds_alternative<ReadRequest>(request)) node_->Kill();
  };
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
  ASSERT_TRUE(fetch.WaitLayer(2).ok());
  EXPECT_THAT(Pairs(fetch.Missing()), ElementsAre(std::pair(0u, 15999u)));
  EXPECT_EQ(MissingTokens(*fetch.Wait()), 15999u);
}

TEST_F(FetchLostTest, NothingIsMissingOfWhatCameOrWasNeverPlanned) {
  Start();
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
  ASSERT_TRUE(fetch.WaitLayer(2).ok());
  EXPECT_THAT(fetch.Missing(), IsEmpty());
  EXPECT_THAT(FetchHandle().Missing(), IsEmpty());
  EXPECT_THAT(fetch.Wait()->missing, IsEmpty());
  EXPECT_EQ(client_->stats().fetch_failures, 0u);
}

// A key with other tokens behind it: what the tokens say counts, and nothing of it is handed out.
TEST_F(FetchLostTest, AKeyWithOtherTokensBehindItIsNotUsed) {
  Start();
  const Text text = Join({RandomTokens(300, 1), RandomTokens(40, 2), RandomTokens(300, 3)});
  Seed(text);
  for (const auto& [id, stored] : node_->objects()) {
    if (stored.header.base_position != 300) continue;
    node_->ChangeTokens(id, RandomTokens(40, 4));
  }
  const FetchResult fetched = FetchAll(text, MustPlan(text, Content()));
  EXPECT_EQ(client_->stats().token_mismatches, 1u);
  for (const Span& span : fetched.delivered) {
    EXPECT_TRUE(span.end <= 300 || span.begin >= 340) << span.begin << " to " << span.end;
  }
  EXPECT_EQ(Recovered(fetched), 300u + 299u);
  EXPECT_EQ(Mismatches(fetched), 0u);
}

}  // namespace
}  // namespace cistern
