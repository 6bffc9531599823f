// The session and the next one: attempts are apart, and nobody waits for one.
#include "client_lib/src/connection.h"

#include <chrono>
#include <deque>
#include <future>
#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern::client {
namespace {

using std::chrono::seconds;

// Opened once; waits are long enough that only what hangs ends them.
class Gate {
 public:
  void Open() { open_.set_value(); }
  bool Wait() { return opened_.wait_for(seconds(20)) == std::future_status::ready; }

 private:
  std::promise<void> open_;
  std::shared_future<void> opened_ = open_.get_future().share();
};

// A link whose end takes as long as the test likes.
class SlowToClose final : public transport::Link {
 public:
  SlowToClose(std::unique_ptr<transport::Link> link, Gate* closing, Gate* may_close)
      : link_(std::move(link)), closing_(*closing), may_close_(*may_close) {}
  ~SlowToClose() override {
    closing_.Open();
    may_close_.Wait();
  }
  void Call(transport::Request request, transport::CallOptions options,
            transport::Completion done) override {
    link_->Call(std::move(request), std::move(options), std::move(done));
  }
  absl::StatusOr<std::unique_ptr<transport::Buffer>> Allocate(size_t bytes) override {
    return link_->Allocate(bytes);
  }
  const std::byte* arena() const override { return link_->arena(); }
  const transport::HelloReply& node() const override { return link_->node(); }
  bool alive() const override { return link_->alive(); }

 private:
  const std::unique_ptr<transport::Link> link_;
  Gate& closing_;
  Gate& may_close_;
};

class ConnectionTest : public ::testing::Test {
 protected:
  using MadeLink = absl::StatusOr<std::unique_ptr<transport::Link>>;

  // Attempts answer with what is put into `next_`, and wait for it.
  void Open(std::unique_ptr<transport::Link> link) {
    ConnectionOptions options;
    options.backoff = absl::Seconds(1);
    connection_ = std::make_unique<Connection>(
        std::move(link),
        [this] {
          ++attempts_;
          std::unique_lock lock(mutex_);
          EXPECT_TRUE(changed_.wait_for(lock, seconds(20), [this] { return !next_.empty(); }));
          MadeLink made = std::move(next_.front());
          next_.pop_front();
          return made;
        },
        options, &clock_, &counters_);
  }
  void Put(MadeLink link) {
    const std::lock_guard lock(mutex_);
    next_.push_back(std::move(link));
    changed_.notify_all();
  }
  // Asks until there is a session. False: there was none within 20 s.
  bool AwaitSession() {
    const absl::Time end = absl::Now() + absl::Seconds(20);
    while (!connection_->Current().ok()) {
      if (absl::Now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  // Asks until the last attempt has failed, as `message` says.
  bool AwaitFailure(absl::string_view message) {
    const absl::Time end = absl::Now() + absl::Seconds(20);
    while (!absl::StrContains(connection_->Current().status().message(), message)) {
      if (absl::Now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

  const std::shared_ptr<testing::FakeNode> node_ = std::make_shared<testing::FakeNode>(
      testing::FakeNodeOptions{.model = testing::SmallModel(), .num_pages = 4});
  base::ManualClock clock_;
  Counters counters_;
  std::atomic<int> attempts_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<MadeLink> next_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ConnectionTest, AnswersWithItsSessionWhileItLives) {
  Open(node_->Connect());
  const auto session = connection_->Current();
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ(*session, *connection_->Current());
  EXPECT_EQ(attempts_, 0);
}

TEST_F(ConnectionTest, WithoutAConnectorADeadLinkIsTheLastOne) {
  Connection connection(node_->Connect(), nullptr, {}, &clock_, &counters_);
  node_->Kill();
  EXPECT_TRUE(absl::IsUnavailable(connection.Current().status()));
  clock_.Advance(absl::Hours(1));
  EXPECT_TRUE(absl::IsUnavailable(connection.Current().status()));
}

TEST_F(ConnectionTest, NobodyWaitsForAnAttempt) {
  Open(node_->Connect());
  node_->Kill();
  for (int i = 0; i < 3; ++i) {  // the attempt has nothing to answer with yet
    EXPECT_TRUE(absl::IsUnavailable(connection_->Current().status()));
  }
  Put(node_->Connect());
  ASSERT_TRUE(AwaitSession());
  EXPECT_EQ(attempts_, 1);
  EXPECT_EQ(counters_.reconnects, 1u);
}

// After each number of failures: not before half of the wait, but after one and a half of it
// (jitter).
TEST_F(ConnectionTest, AttemptsAreApartByAWaitThatDoublesUpToABound) {
  for (int failures = 1; failures <= 8; ++failures) {
    Open(node_->Connect());
    node_->Kill();
    attempts_ = 0;
    double wait = 0.5;
    for (int i = 1; i <= failures; ++i) {
      const std::string error = absl::StrCat("failure ", i, ".");
      Put(absl::UnavailableError(error));
      ASSERT_TRUE(AwaitFailure(error));
      ASSERT_EQ(attempts_, i);
      wait = std::min(wait * 2, 30.0);
      if (i < failures) clock_.Advance(absl::Seconds(wait * 1.501));
    }
    clock_.Advance(absl::Seconds(wait * 0.499));
    Put(absl::UnavailableError("too early"));
    EXPECT_TRUE(absl::IsUnavailable(connection_->Current().status()));
    connection_.reset();  // joins an attempt, should there be one
    EXPECT_EQ(attempts_, failures);
    next_.clear();
  }
}

TEST_F(ConnectionTest, ASuccessMakesTheNextAttemptPromptAgain) {
  Open(node_->Connect());
  for (int i = 1; i <= 3; ++i) {
    node_->Kill();
    Put(node_->Connect());
    ASSERT_TRUE(AwaitSession());  // the clock stands still
    EXPECT_EQ(attempts_, i);
  }
  EXPECT_EQ(counters_.reconnects, 3u);
}

// The old link takes its time to close, and its successor dies meanwhile.
TEST_F(ConnectionTest, NobodyWaitsForTheEndOfAnOldSession) {
  Gate closing, may_close;
  Open(std::make_unique<SlowToClose>(node_->Connect(), &closing, &may_close));
  node_->Kill();
  Put(node_->Connect());
  ASSERT_TRUE(AwaitSession());
  ASSERT_TRUE(closing.Wait());
  node_->Kill();
  auto asked = std::async(std::launch::async, [this] { return connection_->Current().status(); });
  EXPECT_EQ(asked.wait_for(seconds(5)), std::future_status::ready) << "it waits";
  may_close.Open();
  EXPECT_TRUE(absl::IsUnavailable(asked.get()));
  Put(node_->Connect());
  EXPECT_TRUE(AwaitSession());  // and the next attempt comes
}

// Whoever began on a session keeps it; it dies with its last user.
TEST_F(ConnectionTest, AnOldSessionLivesAsLongAsItsUsers) {
  Open(node_->Connect());
  std::shared_ptr<Session> mine = *connection_->Current();
  node_->Kill();
  Put(node_->Connect());
  ASSERT_TRUE(AwaitSession());
  EXPECT_NE(*connection_->Current(), mine);
  EXPECT_FALSE(mine->alive());
  EXPECT_EQ(mine->incarnation(), 77u);
}

TEST_F(ConnectionTest, TheDestructorWaitsForTheAttempt) {
  Open(node_->Connect());
  node_->Kill();
  EXPECT_FALSE(connection_->Current().ok());
  auto destroyed = std::async(std::launch::async, [this] { connection_.reset(); });
  Put(node_->Connect());
  EXPECT_EQ(destroyed.wait_for(seconds(20)), std::future_status::ready);
  EXPECT_EQ(attempts_, 1);
}

}  // namespace
}  // namespace cistern::client
