// A client whose node lies in the same process and goes away: the client has what it was given, and
// computes the rest.
#include "cacheserver/embedded.h"

#include <atomic>
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

}  // namespace
}  // namespace cistern
