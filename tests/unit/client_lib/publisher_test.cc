// Publishing: what is stored, what is linked, what is dropped; and everything that may go wrong
// meanwhile.
#include <future>

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using testing::ClientFixture;
using testing::Join;
using testing::RandomTokens;
using testing::Reply;
using testing::Request;
using testing::SmallModel;
using testing::Text;
using testing::Tokens;
using transport::AbortRequest;
using transport::CommitRequest;
using transport::LinkRequest;
using transport::ReserveOutcome;
using transport::ReserveReply;
using transport::ReserveRequest;
using transport::WriteRequest;

class PublisherTest : public ClientFixture {
 protected:
  // All of `text` computed, nothing published.
  void Compute(const Text& text) {
    worker_->Begin(text.tokens);
    worker_->Compute({0, text.size()});
  }
  // Publishes on a thread of its own.
  std::future<absl::StatusOr<PublishReport>> PublishAside(const Text& text) {
    return std::async(std::launch::async, [this, &text] { return Publish(text, {}); });
  }
  static bool Hangs(const std::future<absl::StatusOr<PublishReport>>& published) {
    return published.wait_for(std::chrono::seconds(20)) != std::future_status::ready;
  }

  const Text text_ = Join({RandomTokens(300, 1), RandomTokens(300, 2), RandomTokens(300, 3)});
};

TEST_F(PublisherTest, WhatIsStoredIsWhatWasComputed) {
  for (bool rotated : {false, true}) {
    for (bool mapped : {true, false}) {
      Start({.model = SmallModel(), .mapped = mapped});
      rotated_ = rotated;
      Seed(text_);
      EXPECT_EQ(report_.segments, node_->objects().size());
      EXPECT_EQ(report_.bytes, text_.size() * model_.token_bytes());
      EXPECT_EQ(report_.segments_had + report_.segments_dropped + report_.segments_linked, 0u);
      EXPECT_EQ(StoredMismatches(), 0u);
      for (const auto& [id, stored] : node_->objects()) {
        EXPECT_EQ(stored.header.encoding,
                  rotated ? base::RotaryEncoding::kRotated : base::RotaryEncoding::kUnrotated);
        EXPECT_EQ(stored.header.lineage, base::Lineage::kExact);
      }
      EXPECT_EQ(node_->num_reservations(), 0u);
    }
  }
}

TEST_F(PublisherTest, WhatTheNodeHasIsNotSentAgain) {
  Start();
  Seed(text_);
  const uint64_t stored = report_.segments, writes = node_->Calls<WriteRequest>();
  Seed(text_);
  EXPECT_EQ(report_.segments, 0u);
  EXPECT_EQ(report_.segments_had, stored);
  EXPECT_EQ(report_.bytes, 0u);
  EXPECT_EQ(node_->Calls<WriteRequest>(), writes);
}

TEST_F(PublisherTest, ASmallPublishIsOneCall) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .mapped = mapped});
    Seed(Join({RandomTokens(200, 1)}));
    EXPECT_GT(report_.segments, 0u);
    EXPECT_EQ(node_->Calls<ReserveRequest>(), 1u);
    EXPECT_EQ(node_->Calls<WriteRequest>(), 0u);
    EXPECT_EQ(node_->Calls<CommitRequest>(), 0u);
    EXPECT_EQ(StoredMismatches(), 0u);
  }
}

TEST_F(PublisherTest, APayloadThatWasNotTakenIsWrittenAfterwards) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .mapped = mapped});
    node_->write_later = true;
    Seed(text_);
    EXPECT_EQ(report_.segments, node_->objects().size());
    EXPECT_EQ(report_.bytes, text_.size() * model_.token_bytes());
    EXPECT_EQ(node_->Calls<WriteRequest>(), 3u);  // a unit for each layer
    EXPECT_EQ(StoredMismatches(), 0u);
  }
}

TEST_F(PublisherTest, WhereSomeIsThereTheRestIsWritten) {
  Start();
  Text head = text_;
  head.tokens.resize(600);
  head.parts.pop_back();
  Seed(head);
  const uint64_t had = report_.segments;
  Seed(text_);
  EXPECT_EQ(report_.segments_had, had);
  EXPECT_GT(report_.segments, 0u);
  EXPECT_EQ(node_->objects().size(), had + report_.segments);
  EXPECT_EQ(node_->num_reservations(), 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
}

// Where the node follows, calls go ahead of their rows.
TEST_F(PublisherTest, RowsFollowTheirCall) {
  base::ModelSpec model = SmallModel();
  model.num_layers = 20;
  for (const bool later : {false, true}) {
    Start({.model = model});
    node_->follows = true;
    node_->write_later = later;
    Seed(text_);
    EXPECT_GT(report_.bytes, 16u << 20);
    EXPECT_EQ(report_.bytes, text_.size() * model_.token_bytes());
    EXPECT_EQ(report_.segments, node_->objects().size());
    EXPECT_EQ(StoredMismatches(), 0u);
    EXPECT_EQ(node_->ahead, later ? 3u : 2u) << "16 MiB each, the first one on the Reserve";
    EXPECT_EQ(node_->num_reservations(), 0u);
  }
}

TEST_F(PublisherTest, AFewRowsDoNotFollow) {
  Start();
  node_->follows = true;
  Seed(Join({RandomTokens(10, 1)}));
  EXPECT_EQ(report_.segments, 1u);
  EXPECT_EQ(node_->ahead, 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
}

// The node answers before it has looked at the rows: what is left of them is not gathered for it.
TEST_F(PublisherTest, RowsThatNobodyFollowsAreSentToWhoeverWantsThem) {
  Start();
  node_->follows = true;
  Text head = text_;
  head.tokens.resize(600);
  head.parts.pop_back();
  Seed(head);
  Seed(text_);
  EXPECT_GT(report_.segments, 0u);
  EXPECT_GT(report_.segments_had, 0u);
  EXPECT_EQ(node_->num_reservations(), 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
}

// As much staging as one small unit: no unit is larger.
TEST_F(PublisherTest, UnitsFitIntoTheStaging) {
  Start({.model = SmallModel()}, {.max_staging_bytes = 1 << 20});
  node_->follows = true;
  Seed(Join({RandomTokens(300, 1)}));
  EXPECT_EQ(report_.segments, node_->objects().size());
  EXPECT_EQ(report_.segments_dropped, 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
}

// Batches of 64 MiB: while one is written the next is reserved for.
TEST_F(PublisherTest, MoreThanABatchIsStored) {
  base::ModelSpec model = SmallModel();
  model.num_layers = 20;
  Start({.model = model});
  Seed(Join({RandomTokens(4000, 1)}));
  EXPECT_GT(report_.bytes, 64u << 20);
  EXPECT_EQ(report_.segments, node_->objects().size());
  EXPECT_EQ(report_.segments_dropped, 0u);
  EXPECT_EQ(node_->Calls<ReserveRequest>(), 2u);
  EXPECT_EQ(StoredMismatches(), 0u);
}

TEST_F(PublisherTest, OnlyChunksWithinTheRangeAreShared) {
  Start();
  Compute(text_);
  const auto report =
      client_->Publish(model_, text_.tokens, {}, {300, 899}, worker_->Source(true), text_.parts);
  ASSERT_TRUE(report.ok()) << report.status();
  uint32_t tokens = 0;
  for (const auto& [id, stored] : node_->objects()) {
    EXPECT_GE(stored.header.base_position, 300u);
    tokens += stored.header.num_tokens();
  }
  EXPECT_GE(tokens, 300u);
  EXPECT_LT(tokens, 600u);  // the last chunk does not lie within
}

TEST_F(PublisherTest, WhatFindsNoRoomAtFirstIsTriedOnceMore) {
  Start();
  Compute(text_);
  auto refused = std::make_shared<std::atomic<int>>(0);
  Tamper<ReserveReply>([refused](ReserveReply* reply) {
    if ((*refused)++ > 0) return;
    reply->results[0] = {};
    reply->results[0].outcome = ReserveOutcome::kNoRoom;
  });
  const auto report = Publish(text_, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(*refused, 2);
  EXPECT_EQ(report->segments_dropped, 0u);
  EXPECT_EQ(report->segments, node_->objects().size());
  EXPECT_EQ(report->bytes, text_.size() * model_.token_bytes());
}

// 25 pages hold 400 tokens at a time: twice that is stored, the rest finds no room twice.
TEST_F(PublisherTest, WhatFindsNoRoomIsDroppedAndCounted) {
  Start({.model = SmallModel(), .num_pages = 25});
  const Text text = Join({RandomTokens(1500, 1)});
  Seed(text);
  EXPECT_GT(report_.segments, 0u);
  EXPECT_GT(report_.segments_dropped, 0u);
  EXPECT_EQ(report_.segments, node_->objects().size());
  EXPECT_LE(report_.bytes, 800 * model_.token_bytes());
  EXPECT_EQ(node_->num_reservations(), 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
}

TEST_F(PublisherTest, AnErrorOfReserveIsTheCallers) {
  Start();
  Compute(text_);
  Refuse<ReserveRequest>(absl::ResourceExhaustedError("too many calls"));
  EXPECT_TRUE(absl::IsResourceExhausted(Publish(text_, {}).status()));
  EXPECT_EQ(client_->stats().publish_failures, 1u);
}

TEST_F(PublisherTest, NoRoomTwiceIsADropNotAnError) {
  Start();
  Compute(text_);
  Tamper<ReserveReply>([](ReserveReply* reply) {
    for (auto& result : reply->results) result = {};
    for (auto& result : reply->results) result.outcome = ReserveOutcome::kNoRoom;
  });
  const auto report = Publish(text_, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->segments, 0u);
  EXPECT_GT(report->segments_dropped, 0u);
  EXPECT_EQ(node_->Calls<ReserveRequest>(), 2u);
  EXPECT_EQ(node_->Calls<WriteRequest>(), 0u);
}

TEST_F(PublisherTest, WhatIsTooLargeIsDroppedAtOnce) {
  Start({.model = SmallModel(), .num_pages = 1});
  Seed(text_);
  EXPECT_EQ(report_.segments, 0u);
  EXPECT_GT(report_.segments_dropped, 0u);
  EXPECT_EQ(node_->Calls<ReserveRequest>(), 1u);
}

TEST_F(PublisherTest, WhatCouldNotBeWrittenIsGivenUp) {
  for (const absl::Status& error :
       {absl::InternalError("broken"), absl::DataLossError("checksum")}) {
    Start();
    Compute(text_);
    Refuse<WriteRequest>(error);
    const auto report = Publish(text_, {});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->segments, 0u);
    EXPECT_GT(report->segments_dropped, 0u);
    Drain();
    EXPECT_EQ(node_->num_reservations(), 0u);
    EXPECT_EQ(node_->Calls<CommitRequest>(), 0u);
    EXPECT_EQ(client_->stats().checksum_failures > 0, absl::IsDataLoss(error));
    EXPECT_EQ(client_->stats().publish_failures, 0u);
  }
}

TEST_F(PublisherTest, WhatCouldNotBeCommittedIsGivenUp) {
  Start();
  Compute(text_);
  node_->never_commit = true;
  const auto report = Publish(text_, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->segments, 0u);
  EXPECT_GT(report->segments_dropped, 0u);
  EXPECT_EQ(report->bytes, 0u);
  Drain();
  EXPECT_EQ(node_->Calls<AbortRequest>(), 1u);
  EXPECT_EQ(node_->num_reservations(), 0u);
  EXPECT_TRUE(node_->objects().empty());
}

TEST_F(PublisherTest, AnAnswerOfAnotherSizeIsAnError) {
  Start();
  Compute(text_);
  Tamper<ReserveReply>([](ReserveReply* reply) { reply->results.pop_back(); });
  EXPECT_TRUE(absl::IsInternal(Publish(text_, {}).status()));
  EXPECT_EQ(node_->Calls<WriteRequest>(), 0u);
}

TEST_F(PublisherTest, ANodeThatHasForgottenTheModelIsToldAgain) {
  Start();
  Seed(Join({RandomTokens(100, 9)}));
  node_->ForgetModels();
  Seed(text_);
  EXPECT_GT(report_.segments, 0u);
  EXPECT_EQ(report_.segments_dropped, 0u);
}

TEST_F(PublisherTest, ANodeThatDiesMeanwhileIsUnavailable) {
  for (const bool reserved : {false, true}) {
    StartCopying();
    Compute(text_);
    if (reserved) {
      node_->Hold<WriteRequest>();
    } else {
      node_->Hold<ReserveRequest>();
    }
    auto published = PublishAside(text_);
    node_->AwaitHeld();
    node_->Kill();
    ASSERT_FALSE(Hangs(published)) << "reserved " << reserved;
    const auto report = published.get();
    EXPECT_TRUE(absl::IsUnavailable(report.status())) << report.status();
    EXPECT_EQ(client_->stats().publish_failures, 1u);
    EXPECT_TRUE(absl::IsUnavailable(Publish(text_, {}).status()));
  }
}

TEST_F(PublisherTest, ANodeThatNeverAnswersCostsOneDeadline) {
  ClientOptions options;
  options.publish_deadline = absl::Milliseconds(50);
  for (int step = 0; step < 2; ++step) {
    Start({.model = SmallModel()}, options);
    Compute(text_);
    if (step == 0) {
      node_->Hold<ReserveRequest>();
    } else {
      node_->Hold<WriteRequest>();
    }
    const absl::Time start = absl::Now();
    const auto report = Publish(text_, {});
    EXPECT_TRUE(absl::IsDeadlineExceeded(report.status())) << report.status();
    EXPECT_LT(absl::Now() - start, absl::Seconds(4));  // a call's own deadline is 5 s
    node_->OpenGate();
    for (int i = 0; i < 3; ++i) Drain();       // a late answer comes, then goes back, with these
    EXPECT_EQ(node_->num_reservations(), 0u);  // told to give up
  }
}

TEST_F(PublisherTest, WhatWasReusedByContentIsLinkedAndThenExact) {
  Start();
  const Tokens document = RandomTokens(600, 5);
  Seed(Join({RandomTokens(100, 4), document}));
  const Text text = Join({RandomTokens(80, 6), document, RandomTokens(50, 7)});
  const FetchResult fetched = Turn(text, Content());
  EXPECT_GT(report_.segments_linked, 0u);
  EXPECT_GT(report_.segments, 0u);
  for (const auto& [id, stored] : node_->objects()) {  // what was computed behind moved rows
    if (stored.header.base_position != 680) continue;
    EXPECT_EQ(stored.header.lineage, base::Lineage::kApproximate);
  }
  const Plan again = MustPlan(text, Content());
  EXPECT_EQ(again.stats().content_tokens, 0u);
  EXPECT_EQ(again.stats().exact_tokens, text.size() - 1);
  EXPECT_EQ(StoredMismatches(), 0u);  // nothing moved was put in again
}

TEST_F(PublisherTest, NamesOfAnotherIncarnationAreNotLinked) {
  Start();
  const Tokens document = RandomTokens(600, 5);
  Seed(Join({RandomTokens(100, 4), document}));
  const Text text = Join({RandomTokens(80, 6), document});
  FetchResult fetched = FetchAll(text, MustPlan(text, Content()));
  ComputeTheRest(text, fetched);
  ++fetched.incarnation;
  const auto report = Publish(text, fetched);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->segments_linked, 0u);
  EXPECT_EQ(node_->Calls<LinkRequest>(), 0u);
}

TEST_F(PublisherTest, LinksThatFailAreNoError) {
  Start();
  const Tokens document = RandomTokens(600, 5);
  Seed(Join({RandomTokens(100, 4), document}));
  const Text text = Join({RandomTokens(80, 6), document});
  const FetchResult fetched = FetchAll(text, MustPlan(text, Content()));
  ComputeTheRest(text, fetched);
  Refuse<LinkRequest>(absl::NotFoundError("gone"));
  const auto report = Publish(text, fetched);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->segments_linked, 0u);
  EXPECT_EQ(node_->Calls<LinkRequest>(), 1u);
}

TEST_F(PublisherTest, WrongCallsSendNothing) {
  Start();
  Compute(text_);
  const RowSource good = worker_->Source(true);
  const auto status = [&](TokenRange range, const RowSource& rows) {
    return client_->Publish(model_, text_.tokens, {}, range, rows, text_.parts).status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(status({0, 901}, good)));
  EXPECT_TRUE(absl::IsInvalidArgument(status({2, 1}, good)));
  std::vector<RowSource> bad(5, good);
  bad[0].cache.layer_base.pop_back();
  bad[1].cache.block_table = bad[1].cache.block_table.first(2);
  bad[2].pre_rope.pop_back();
  bad[3].pre_rope[1] = nullptr;
  bad[4].pre_rope_stride = 3;
  for (const RowSource& rows : bad) {
    const absl::Status refused = status({0, 900}, rows);
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  }
  EXPECT_EQ(node_->Calls<ReserveRequest>(), 0u);
  EXPECT_EQ(client_->stats().publish_failures, 7u);
}

}  // namespace
}  // namespace cistern
