// Who goes away meanwhile: the caller, the client, the time.
#include <atomic>
#include <future>
#include <optional>
#include <thread>

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using testing::ClientFixture;
using ::testing::ElementsAre;
using testing::Join;
using testing::RandomTokens;
using testing::Text;
using transport::LeaseRequest;
using transport::ReadRequest;

class FetchCancelTest : public ClientFixture {};

TEST_F(FetchCancelTest, NothingIsWrittenAfterCancel) {
  StartCopying();
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  NewWorker();
  node_->Hold<ReadRequest>();
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
  node_->AwaitHeld();
  fetch.Cancel();
  EXPECT_TRUE(absl::IsCancelled(fetch.WaitLayer(0)));
  EXPECT_EQ(MissingTokens(*fetch.Wait()), 999u);
  node_->OpenGate();  // the bytes come now
  Drain();
  EXPECT_EQ(Written(text), 0u);
}

TEST_F(FetchCancelTest, NothingIsWrittenAfterTheHandleIsDropped) {
  StartCopying();
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  NewWorker();
  node_->Hold<ReadRequest>();
  {
    const FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
    node_->AwaitHeld();
  }
  node_->OpenGate();
  Drain();
  EXPECT_EQ(Written(text), 0u);
}

TEST_F(FetchCancelTest, LeasesGoBackAfterCancel) {
  StartCopying();
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  node_->Hold<ReadRequest>();
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
  node_->AwaitHeld();
  fetch.Cancel();
  node_->OpenGate();
  const absl::Time until = absl::Now() + absl::Seconds(20);
  while (node_->num_leases() > 0 && absl::Now() < until) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(node_->num_leases(), 0u);
}

// Leases that the node grants when nobody waits for them any more: although the client is idle.
TEST_F(FetchCancelTest, LeasesThatComeAfterCancelGoBack) {
  for (const bool before_the_answer : {true, false}) {
    Start();
    const Text text = Join({RandomTokens(3000, 1)});
    Seed(text);
    node_->MoveAllToDisk();
    if (before_the_answer) {
      node_->Hold<LeaseRequest>();
    } else {
      node_->HoldOne<LeaseRequest>();  // the others are answered
    }
    FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
    node_->AwaitHeld();
    fetch.Cancel();
    const uint32_t missing = MissingTokens(*fetch.Wait());
    EXPECT_GT(missing, 0u);
    if (before_the_answer) EXPECT_EQ(missing, 2999u);
    const uint64_t leased = node_->Calls<LeaseRequest>();
    node_->OpenGate();
    const absl::Time until = absl::Now() + absl::Seconds(20);
    const auto all_is_back = [&] {
      return node_->Calls<LeaseRequest>() > leased && node_->num_leases() == 0;
    };
    while (!all_is_back() && absl::Now() < until) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(node_->num_leases(), 0u);
    EXPECT_GT(node_->Calls<LeaseRequest>(), leased);
  }
}

TEST_F(FetchCancelTest, OnLayerMayCancel) {
  StartCopying();
  const Text text = Join({RandomTokens(3000, 1)});
  Seed(text);
  FetchHandle fetch;
  std::atomic<bool> ready{false};
  std::vector<uint32_t> layers;
  FetchOptions options = Raw();
  options.on_layer = [&](uint32_t layer) {
    while (!ready) std::this_thread::yield();
    layers.push_back(layer);
    fetch.Cancel();
  };
  fetch = MustFetch(text, MustPlan(text, Exact()), options);
  ready = true;
  EXPECT_EQ(MissingTokens(*fetch.Wait()), 2999u);
  EXPECT_THAT(layers, ElementsAre(0));
}

// 3 layers of 2500 rows are three calls; the node keeps the second one.
TEST_F(FetchCancelTest, ALayerThatHasNotComeIsNotThere) {
  StartCopying();
  const Text text = Join({RandomTokens(2500, 1)});
  Seed(text);
  std::promise<void> open;
  node_->intercept = [opened = open.get_future().share()](
                         const testing::Request& request) -> std::optional<absl::Status> {
    const auto* read = std::get_if<ReadRequest>(&request);
    if (read != nullptr && read->layer_begin == 1) opened.wait();
    return std::nullopt;
  };
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
  EXPECT_TRUE(fetch.WaitLayer(0).ok());
  EXPECT_EQ(worker_->CountMismatches({0, 1}, -1), 1u * (model_.num_layers - 1));
  fetch.Cancel();
  EXPECT_TRUE(fetch.WaitLayer(0).ok());
  EXPECT_TRUE(absl::IsCancelled(fetch.WaitLayer(1)));
  EXPECT_EQ(MissingTokens(*fetch.Wait()), 2499u);
  open.set_value();
}

TEST_F(FetchCancelTest, WaitAnswersAtTheDeadline) {
  Start();
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  node_->MoveAllToDisk();
  node_->Hold<LeaseRequest>();
  FetchOptions options = Raw();
  options.deadline = absl::Milliseconds(30);
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), options);
  EXPECT_TRUE(absl::IsDeadlineExceeded(fetch.WaitLayer(0)));
  EXPECT_EQ(MissingTokens(*fetch.Wait()), 999u);
  node_->OpenGate();
}

TEST_F(FetchCancelTest, AFetchThatOutlivesItsClientIsAnswered) {
  StartCopying();
  const Text text = Join({RandomTokens(1000, 1)});
  Seed(text);
  node_->Hold<ReadRequest>();
  FetchHandle running = MustFetch(text, MustPlan(text, Exact()), Raw());
  node_->AwaitHeld();
  FetchHandle queued = MustFetch(text, MustPlan(text, Exact()), Raw());
  std::thread opener([&] { node_->OpenGate(); });
  client_.reset();
  opener.join();
  EXPECT_GT(MissingTokens(*queued.Wait()), 0u);
  EXPECT_TRUE(running.Wait().ok());
}

}  // namespace
}  // namespace cistern
