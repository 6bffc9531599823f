// Publishing layer by layer: rows are read when their layer is done and not before, nothing is
// visible before all of it is, and what is dropped on the way leaves nothing behind.
#include <cstring>
#include <utility>
#include <vector>

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using testing::ClientFixture;
using testing::Join;
using testing::RandomTokens;
using testing::SmallModel;
using testing::Text;
using transport::AbortRequest;
using transport::LinkRequest;
using transport::ReserveRequest;
using transport::WriteRequest;

class PublishStreamTest : public ClientFixture {
 protected:
  void Compute(const Text& text) {
    worker_->Begin(text.tokens);
    worker_->Compute({0, text.size()});
  }
  absl::StatusOr<PublishHandle> StartStream(const Text& text, const FetchResult& fetched = {}) {
    return client_->StartPublish(model_, text.tokens, fetched, {0, text.size()},
                                 worker_->Source(!rotated_), text.parts);
  }
  PublishHandle MustStart(const Text& text) {
    auto handle = StartStream(text);
    EXPECT_TRUE(handle.ok()) << handle.status();
    return handle.ok() ? *std::move(handle) : PublishHandle();
  }
  std::byte* MutableRow(uint32_t layer, uint32_t token) {
    return const_cast<std::byte*>(worker_->Row(layer, token));
  }
  // Rows of a layer, as if it had not been computed yet.
  void Spoil(const Text& text, uint32_t layer) {
    for (uint32_t token = 0; token < text.size(); ++token) {
      std::memset(MutableRow(layer, token), 0xee, model_.row_bytes);
    }
  }

  const Text text_ = Join({RandomTokens(300, 1), RandomTokens(300, 2), RandomTokens(300, 3)});
};

TEST_F(PublishStreamTest, RowsAreReadWhenTheirLayerIsDone) {
  for (const uint32_t tokens : {900, 100}) {  // units of a layer, and of several
    for (const bool mapped : {true, false}) {
      Start({.model = SmallModel(), .mapped = mapped});
      rotated_ = true;  // all of a row comes from the cache
      const Text text = Join({RandomTokens(tokens, 1)});
      Compute(text);
      tools::WorkerCache computed(model_, kMaxTokens);
      computed.Begin(text.tokens);
      computed.Compute({0, text.size()});
      for (uint32_t layer = 0; layer < model_.num_layers; ++layer) Spoil(text, layer);
      PublishHandle publish = MustStart(text);
      for (uint32_t layer = 0; layer < model_.num_layers; ++layer) {
        for (uint32_t token = 0; token < text.size(); ++token) {
          std::memcpy(MutableRow(layer, token), computed.Row(layer, token), model_.row_bytes);
        }
        EXPECT_TRUE(node_->objects().empty()) << "visible before layer " << layer;
        EXPECT_TRUE(publish.LayerDone(layer).ok());
      }
      const auto report = publish.Finish();
      ASSERT_TRUE(report.ok()) << report.status();
      EXPECT_EQ(report->segments, node_->objects().size());
      EXPECT_EQ(report->bytes, text.size() * model_.token_bytes());
      EXPECT_EQ(StoredMismatches(), 0u);
      EXPECT_EQ(node_->num_reservations(), 0u);
    }
  }
}

TEST_F(PublishStreamTest, LayersMayBeSkippedOver) {
  Start();
  Compute(text_);
  PublishHandle publish = MustStart(text_);
  EXPECT_TRUE(publish.LayerDone(1).ok());
  EXPECT_TRUE(publish.LayerDone(0).ok());  // said already
  EXPECT_TRUE(publish.LayerDone(2).ok());
  const auto report = publish.Finish();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->segments_dropped, 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
  EXPECT_EQ(node_->Calls<WriteRequest>(), 3u);
  EXPECT_EQ(client_->stats().publishes, 1u);
}

TEST_F(PublishStreamTest, DroppedOnTheWayItLeavesNothingBehind) {
  for (uint32_t layers = 0; layers < SmallModel().num_layers; ++layers) {
    Start();
    Compute(text_);
    {
      PublishHandle publish = MustStart(text_);
      EXPECT_GT(node_->num_reservations(), 0u);
      for (uint32_t layer = 0; layer < layers; ++layer) {
        EXPECT_TRUE(publish.LayerDone(layer).ok());
      }
    }
    Drain();
    EXPECT_EQ(node_->Calls<AbortRequest>(), 1u);
    EXPECT_EQ(node_->num_reservations(), 0u);
    EXPECT_TRUE(node_->objects().empty());
    Seed(text_);  // nobody holds the keys
    EXPECT_GT(report_.segments, 0u);
    EXPECT_EQ(report_.segments_had, 0u);
  }
}

TEST_F(PublishStreamTest, AFinishBeforeTheLastLayerMayBeSaidAgain) {
  Start();
  Compute(text_);
  PublishHandle publish = MustStart(text_);
  EXPECT_TRUE(publish.LayerDone(1).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(publish.Finish().status()));
  EXPECT_TRUE(publish.LayerDone(2).ok());
  EXPECT_TRUE(publish.Finish().ok());
  EXPECT_EQ(StoredMismatches(), 0u);
  EXPECT_TRUE(absl::IsInvalidArgument(publish.Finish().status()));
  EXPECT_TRUE(absl::IsInvalidArgument(publish.LayerDone(2)));
  EXPECT_EQ(client_->stats().publish_failures, 0u);
}

TEST_F(PublishStreamTest, WrongCallsAreRefused) {
  Start();
  Compute(text_);
  PublishHandle publish = MustStart(text_);
  EXPECT_TRUE(absl::IsInvalidArgument(publish.LayerDone(model_.num_layers)));
  EXPECT_TRUE(absl::IsInvalidArgument(PublishHandle().LayerDone(0)));
  RowSource bad = worker_->Source(true);
  bad.cache.layer_base.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(
      client_->StartPublish(model_, text_.tokens, {}, {0, 900}, bad, text_.parts).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      client_->StartPublish(model_, text_.tokens, {}, {0, 901}, worker_->Source(true), text_.parts)
          .status()));
  EXPECT_EQ(client_->stats().publish_failures, 2u);
}

TEST_F(PublishStreamTest, WhatTheNodeHasIsNotSent) {
  Start();
  Seed(text_);
  const uint64_t stored = report_.segments;
  PublishHandle publish = MustStart(text_);
  EXPECT_TRUE(publish.LayerDone(2).ok());
  const auto report = publish.Finish();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->segments_had, stored);
  EXPECT_EQ(report->segments, 0u);
}

TEST_F(PublishStreamTest, WhatWasReusedByContentIsLinked) {
  Start();
  const std::vector<base::TokenId> document = RandomTokens(600, 5);
  Seed(Join({RandomTokens(100, 4), document}));
  const Text text = Join({RandomTokens(80, 6), document});
  const FetchResult fetched = FetchAll(text, MustPlan(text, Content()));
  ComputeTheRest(text, fetched);
  auto publish = StartStream(text, fetched);
  ASSERT_TRUE(publish.ok()) << publish.status();
  EXPECT_EQ(node_->Calls<LinkRequest>(), 0u);
  EXPECT_TRUE(publish->LayerDone(2).ok());
  const auto report = publish->Finish();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->segments_linked, 0u);
}

TEST_F(PublishStreamTest, ANodeThatDiesIsToldByFinish) {
  Start();
  Compute(text_);
  PublishHandle publish = MustStart(text_);
  EXPECT_TRUE(publish.LayerDone(0).ok());
  node_->Kill();
  EXPECT_TRUE(publish.LayerDone(2).ok());
  EXPECT_TRUE(absl::IsUnavailable(publish.Finish().status()));
  EXPECT_EQ(client_->stats().publish_failures, 1u);
  EXPECT_TRUE(absl::IsUnavailable(StartStream(text_).status()));
}

TEST_F(PublishStreamTest, WhatFindsNoRoomIsDroppedAndCounted) {
  Start({.model = SmallModel(), .num_pages = 25});
  const Text text = Join({RandomTokens(1500, 1)});
  Compute(text);
  PublishHandle publish = MustStart(text);
  EXPECT_EQ(node_->Calls<ReserveRequest>(), 2u);
  EXPECT_TRUE(publish.LayerDone(2).ok());
  const auto report = publish.Finish();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->segments, 0u);
  EXPECT_GT(report->segments_dropped, 0u);
  EXPECT_EQ(report->segments, node_->objects().size());
  EXPECT_EQ(node_->num_reservations(), 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
}

}  // namespace
}  // namespace cistern
