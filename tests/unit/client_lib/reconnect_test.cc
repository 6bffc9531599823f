// A client and a real socket: nobody there, gone, back again, damaged on the way.
#include <filesystem>
#include <thread>

#include "tests/unit/client_lib/client_fixture.h"
#include "tests/unit/client_lib/served_node.h"
#include "tests/unit/transport/test_socket.h"

namespace cistern {
namespace {

using testing::ClientFixture;
using testing::FakeNode;
using testing::Join;
using testing::RandomTokens;
using testing::ServedNode;
using testing::SmallModel;
using testing::Text;
using transport::ReadRequest;

size_t EntriesOf(const char* directory) {
  const std::filesystem::directory_iterator entries(directory);
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}
size_t NumThreads() { return EntriesOf("/proc/self/task"); }
size_t NumDescriptors() { return EntriesOf("/proc/self/fd"); }

class ReconnectTest : public ClientFixture {
 protected:
  void SetUp() override {
    node_ = std::make_shared<FakeNode>(testing::FakeNodeOptions{.model = model_, .mapped = false});
    served_ = std::make_unique<ServedNode>(node_, socket_.path());
    worker_ = std::make_unique<tools::WorkerCache>(model_, kMaxTokens);
  }
  ClientOptions Options() const {
    ClientOptions options;
    options.address = served_->address();
    options.want_mapping = false;
    options.connect_timeout = absl::Milliseconds(200);
    options.call_deadline = absl::Seconds(10);
    options.reconnect_backoff = absl::Milliseconds(1);
    return options;
  }
  void Connect() {
    auto client = Client::Connect(Options());
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  // Plans until the client has found the node again.
  bool AwaitNode() {
    const absl::Time end = absl::Now() + absl::Seconds(20);
    while (!client_->MakePlan(model_, RandomTokens(64, 1), Exact()).ok()) {
      if (absl::Now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

  transport::SocketPath socket_;
  std::unique_ptr<ServedNode> served_;
};

TEST_F(ReconnectTest, NobodyThereIsUnavailableWithinTheTimeout) {
  const absl::Time start = absl::Now();
  const auto client = Client::Connect(Options());
  EXPECT_TRUE(absl::IsUnavailable(client.status())) << client.status();
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(ReconnectTest, ARoundTripOverTheSocket) {
  served_->Start();
  Connect();
  const Text text = Join({RandomTokens(3000, 1)});
  Seed(text);
  EXPECT_EQ(StoredMismatches(), 0u);
  const FetchResult fetched = FetchAll(text, MustPlan(text, Exact()));
  EXPECT_EQ(Recovered(fetched), 2999u);
  EXPECT_EQ(Mismatches(fetched), 0u);
  EXPECT_EQ(fetched.mapped_bytes, 0u);
}

TEST_F(ReconnectTest, ADamagedPayloadIsNoticedAndMissing) {
  served_->Start();
  Connect();
  const Text text = Join({RandomTokens(64, 1)});
  Seed(text);
  served_->DamagePayloads();
  const FetchResult fetched = FetchAll(text, MustPlan(text, Exact()));
  EXPECT_EQ(MissingTokens(fetched), 63u);
  // One call or several, by how its layers were cut.
  EXPECT_GE(node_->Calls<ReadRequest>(), 1u);
  EXPECT_EQ(client_->stats().checksum_failures, node_->Calls<ReadRequest>());
  EXPECT_EQ(Written(text), 0u);
}

TEST_F(ReconnectTest, ANodeThatComesBackIsFoundAgain) {
  served_->Start();
  Connect();
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  Plan old = MustPlan(text, Exact());
  served_->Stop();
  const auto gone = client_->MakePlan(model_, text.tokens, Exact(), text.parts);
  EXPECT_TRUE(absl::IsUnavailable(gone.status())) << gone.status();
  served_->Start();
  ASSERT_TRUE(AwaitNode());
  EXPECT_GE(client_->stats().reconnects, 1u);
  EXPECT_EQ(Recovered(FetchAll(text, MustPlan(text, Exact()))), 299u);
  // What was planned before belongs to a session that is gone.
  EXPECT_EQ(MissingTokens(FetchAll(text, std::move(old))), 299u);
}

TEST_F(ReconnectTest, NeitherThreadsNorDescriptorsStay) {
  served_->Start();
  Connect();  // what is made once for the process is made now
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  client_.reset();
  served_->Stop();
  const size_t threads = NumThreads(), descriptors = NumDescriptors();
  for (int round = 0; round < 5; ++round) {
    served_->Start();
    Connect();
    EXPECT_EQ(Recovered(FetchAll(text, MustPlan(text, Exact()))), 299u);
    served_->Stop();
    EXPECT_FALSE(client_->MakePlan(model_, text.tokens, Exact()).ok());
    served_->Start();
    ASSERT_TRUE(AwaitNode());
    EXPECT_GT(NumThreads(), threads);
    client_.reset();
    served_->Stop();
    EXPECT_FALSE(Client::Connect(Options()).ok());
  }
  EXPECT_EQ(NumThreads(), threads);
  EXPECT_EQ(NumDescriptors(), descriptors);
}

}  // namespace
}  // namespace cistern
