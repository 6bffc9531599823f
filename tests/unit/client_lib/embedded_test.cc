// A client whose node lies in the same process and goes away: the client has what it was given, and
// computes the rest.
#include "cacheserver/embedded.h"

#include <atomic>
#include <future>
#include <memory>

#include "gtest/gtest.h"

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using cacheserver::EmbeddedConfig;
using cacheserver::EmbeddedNode;
using testing::ClientFixture;
using testing::Join;
using testing::RandomTokens;
using testing::Text;

class EmbeddedTest : public ClientFixture {
 protected:
  void SetUp() override {
    cacheserver::NodeConfig config = EmbeddedConfig();
    config.pool_bytes = 64 << 20;
    auto embedded = EmbeddedNode::Start(config);
    ASSERT_TRUE(embedded.ok()) << embedded.status();
    embedded_ = *std::move(embedded);
    auto link = embedded_->Connect();
    ASSERT_TRUE(link.ok()) << link.status();
    client_ = *Client::Over(*std::move(link), {});
    worker_ = std::make_unique<tools::WorkerCache>(model_, kMaxTokens);
    Seed(text_);
  }

  // What was delivered is right, and all is accounted for.
  void Check(const FetchResult& fetched) {
    EXPECT_EQ(Mismatches(fetched), 0u);
    EXPECT_EQ(Recovered(fetched) + MissingTokens(fetched), text_.size() - 1);
  }

  const Text text_ = Join({RandomTokens(3000, 1)});
  std::unique_ptr<EmbeddedNode> embedded_;
};

TEST_F(EmbeddedTest, AFetchFromANodeThatIsGone) {
  Plan plan = MustPlan(text_, Exact());
  ASSERT_EQ(Reused(plan), text_.size() - 1);
  embedded_.reset();
  Check(FetchAll(text_, std::move(plan)));
  EXPECT_FALSE(client_->MakePlan(model_, text_.tokens, Exact()).ok());
}

TEST_F(EmbeddedTest, ANodeThatGoesWhileAFetchRuns) {
  FetchOptions options = Raw();
  options.on_layer = [&](uint32_t layer) {
    if (layer == 0) embedded_.reset();  // rows of two more layers are to come
  };
  FetchHandle fetch = MustFetch(text_, MustPlan(text_, Exact()), options);
  const absl::StatusOr<FetchResult> fetched = fetch.Wait();
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(embedded_, nullptr);
  Check(*fetched);
}

// Two workers that computed the same prompt: each segment is stored once, by either, and is right.
TEST_F(EmbeddedTest, TwoClientsPublishTheSameKeysAtOnce) {
  auto link = embedded_->Connect();
  ASSERT_TRUE(link.ok()) << link.status();
  const std::unique_ptr<Client> other = *Client::Over(*std::move(link), {});
  for (uint64_t round = 0; round < 20; ++round) {
    const Text text = Join({RandomTokens(400, 100 + round)});  // one call, or several
    worker_->Begin(text.tokens);
    worker_->Compute({0, text.size()});
    const auto publish = [&](Client* client) {
      return client->Publish(model_, text.tokens, {}, {0, text.size()}, worker_->Source(true),
                             text.parts);
    };
    std::promise<void> go;
    const std::shared_future<void> start = go.get_future().share();
    auto theirs = std::async(std::launch::async, [&] {
      start.wait();
      return publish(other.get());
    });
    go.set_value();
    const auto mine = publish(client_.get());
    const auto second = theirs.get();
    ASSERT_TRUE(mine.ok() && second.ok()) << mine.status() << second.status();
    EXPECT_EQ(mine->segments_dropped + second->segments_dropped, 0u);
    EXPECT_EQ(mine->segments + mine->segments_had, second->segments + second->segments_had);
    EXPECT_EQ(mine->segments + second->segments, mine->segments + mine->segments_had)
        << "each is stored once";
    const FetchResult fetched = FetchAll(text, MustPlan(text, Exact()));
    EXPECT_EQ(Recovered(fetched), text.size() - 1);
    EXPECT_EQ(Mismatches(fetched), 0u);
  }
}

}  // namespace
}  // namespace cistern
