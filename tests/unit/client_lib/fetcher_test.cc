// Fetching: every row where it belongs, in layer order, in place and by copy; from disk, from a
// small pool, from many threads.
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using testing::ClientFixture;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::Join;
using testing::RandomTokens;
using testing::SmallModel;
using testing::Text;
using testing::Tokens;
using transport::ReadRequest;

class FetcherTest : public ClientFixture {};

struct LayoutCase {
  const char* name;
  base::RowLayout layout;
  uint32_t row_bytes;
  base::RotaryStyle style;
  bool rotated;
  bool mapped;
};

class FetchedRowsTest : public ClientFixture, public ::testing::WithParamInterface<LayoutCase> {};

// Exact and moved rows of every layout, bit for bit where they are stored unrotated, within the
// bound where they are not.
TEST_P(FetchedRowsTest, AreWhatComputingWouldHaveLeft) {
  const LayoutCase& param = GetParam();
  base::ModelSpec model = SmallModel();
  model.layout = param.layout;
  model.row_bytes = param.row_bytes;
  model.rotary.style = param.style;
  model.rotary.scaling = base::RotaryScaling::kYarn;
  model.rotary.factor = 40;
  Start({.model = model, .mapped = param.mapped});
  rotated_ = param.rotated;
  const Tokens system = RandomTokens(200, 1), a = RandomTokens(700, 2), b = RandomTokens(500, 3);
  Turn(Join({system, a, b}), Content());
  const Text text = Join({system, RandomTokens(77, 4), b, a});
  const FetchResult fetched = Turn(text, Content());  // checks the rows
  EXPECT_GE(Recovered(fetched), 1399u);
  EXPECT_EQ(fetched.bytes_memory, Recovered(fetched) * model.token_bytes());
  EXPECT_EQ(fetched.mapped_bytes, param.mapped ? fetched.bytes_memory : 0);
  EXPECT_EQ(fetched.bytes_disk, 0u);
  EXPECT_TRUE(fetched.approximate);
  Drain();
  EXPECT_EQ(node_->num_leases(), 0u);
  EXPECT_EQ(StoredMismatches(), 0u);
}

using base::RotaryStyle;
using base::RowLayout;
INSTANTIATE_TEST_SUITE_P(
    Layouts, FetchedRowsTest,
    ::testing::Values(
        LayoutCase{"Mapped", RowLayout::kBf16_576, 1152, RotaryStyle::kInterleaved, false, true},
        LayoutCase{"Copied", RowLayout::kBf16_576, 1152, RotaryStyle::kInterleaved, false, false},
        LayoutCase{"MappedHalf", RowLayout::kBf16_576, 1152, RotaryStyle::kHalf, false, true},
        LayoutCase{"MappedRotated", RowLayout::kBf16_576, 1152, RotaryStyle::kInterleaved, true,
                   true},
        LayoutCase{"CopiedRotated", RowLayout::kBf16_576, 1152, RotaryStyle::kHalf, true, false},
        LayoutCase{"MappedFp8", RowLayout::kFp8DsMla656, 656, RotaryStyle::kInterleaved, false,
                   true},
        LayoutCase{"CopiedFp8Rotated", RowLayout::kFp8DsMla656, 656, RotaryStyle::kInterleaved,
                   true, false},
        LayoutCase{"NoPosition", RowLayout::kBf16_576, 1152, RotaryStyle::kNone, true, true}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(FetcherTest, LayersAreAnnouncedInOrderAndComplete) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .mapped = mapped});
    const Tokens a = RandomTokens(2500, 1);
    Seed(Join({RandomTokens(100, 2), a}));
    const Text text = Join({RandomTokens(90, 3), a});
    NewWorker();
    std::vector<uint32_t> layers;
    uint64_t wrong = 0;
    FetchOptions options = Raw();
    options.on_layer = [&](uint32_t layer) {
      layers.push_back(layer);
      tools::RowModel rows(model_);
      for (uint32_t i = 90; i + 1 < text.size(); ++i) {
        wrong += rows.RowEquals(text.tokens[i], layer, i, worker_->Row(layer, i)) ? 0 : 1;
      }
    };
    Plan plan = MustPlan(text, Content());
    FetchHandle fetch = MustFetch(text, std::move(plan), options);
    EXPECT_TRUE(fetch.WaitLayer(2).ok());
    EXPECT_EQ(Recovered(*fetch.Wait()), 2499u);
    EXPECT_THAT(layers, ElementsAre(0, 1, 2));
    EXPECT_EQ(wrong, 0u);
    EXPECT_TRUE(absl::IsInvalidArgument(fetch.WaitLayer(3)));
  }
}

// Who waits moves the rows himself and does not tell the node: a fetch thread does, soon.
TEST_F(FetcherTest, TheLeasesOfAFetchGoBackThoughNobodyCallsAgain) {
  for (const bool by_layers : {false, true}) {
    Start({.model = SmallModel(), .mapped = true});
    const Text text = Join({RandomTokens(500, 1)});
    Seed(text);
    NewWorker();
    FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
    if (by_layers) {
      EXPECT_TRUE(fetch.WaitLayer(0).ok());
    }
    EXPECT_EQ(Recovered(*fetch.Wait()), 499u);
    const absl::Time give_up = absl::Now() + absl::Seconds(20);
    while (node_->num_leases() > 0 && absl::Now() < give_up) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(node_->num_leases(), 0u);
  }
}

// What a caller has begun, waiting for a layer, is ended by a fetch thread that nobody wakes.
TEST_F(FetcherTest, WhatACallerHasBegunIsEndedThoughHeDoesNotWait) {
  Start({.model = SmallModel(), .mapped = true});
  const Text text = Join({RandomTokens(500, 1)});
  Seed(text);
  NewWorker();
  std::atomic<uint32_t> layers = 0;
  FetchOptions options = Raw();
  options.on_layer = [&](uint32_t /*layer*/) { ++layers; };
  FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), options);
  EXPECT_TRUE(fetch.WaitLayer(0).ok());
  const absl::Time give_up = absl::Now() + absl::Seconds(20);
  while (layers < model_.num_layers && absl::Now() < give_up) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(layers, model_.num_layers);
  EXPECT_EQ(Recovered(*fetch.Wait()), 499u);
}

TEST_F(FetcherTest, LayersAreAnnouncedWhenThereIsNothingToFetch) {
  Start();
  const Text text = Join({RandomTokens(100, 1)});
  std::vector<uint32_t> layers;
  FetchOptions options;
  options.on_layer = [&](uint32_t layer) { layers.push_back(layer); };
  const FetchResult fetched = *MustFetch(text, MustPlan(text, Content()), options).Wait();
  EXPECT_THAT(layers, ElementsAre(0, 1, 2));
  EXPECT_THAT(fetched.missing, IsEmpty());
  EXPECT_THAT(fetched.delivered, IsEmpty());
}

TEST_F(FetcherTest, WhatLiesOnDiskIsStagedAndCounted) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .mapped = mapped});
    const Text text = Join({RandomTokens(500, 1), RandomTokens(700, 2)});
    Seed(text);
    node_->MoveAllToDisk();
    const FetchResult fetched = FetchAll(text, MustPlan(text, Exact()));
    EXPECT_EQ(Recovered(fetched), 1199u);
    EXPECT_EQ(Mismatches(fetched), 0u);
    EXPECT_EQ(fetched.bytes_disk, 1199u * model_.token_bytes());
    EXPECT_EQ(fetched.bytes_memory, 0u);
  }
}

// A long prompt on disk comes in windows, and several are asked for before the first has come.
TEST_F(FetcherTest, WindowsOnDiskComeOneAfterAnother) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .mapped = mapped});
    const Text text = Join({RandomTokens(3000, 1)});
    Seed(text);
    node_->MoveAllToDisk();
    const uint64_t before = node_->Calls<transport::LeaseRequest>();
    const FetchResult fetched = FetchAll(text, MustPlan(text, Exact()));
    EXPECT_EQ(Recovered(fetched), 2999u);
    EXPECT_EQ(Mismatches(fetched), 0u);
    EXPECT_EQ(fetched.bytes_disk, 2999u * model_.token_bytes());
    EXPECT_GE(node_->Calls<transport::LeaseRequest>() - before, 2u);
    Drain();
    EXPECT_EQ(node_->num_leases(), 0u);
  }
}

// The disk does not wait until a thread has woken, if one is free to go on.
TEST_F(FetcherTest, WhoFetchesAsksTheDiskHimself) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .mapped = mapped});
    const Text text = Join({RandomTokens(300, 1)});
    Seed(text);
    const std::thread::id caller = std::this_thread::get_id();
    bool in_fetch = false;  // the caller's
    std::atomic<bool> asked{false};
    node_->called = [&](const transport::Request& request) {
      if (!std::holds_alternative<transport::LeaseRequest>(request)) return;
      if (std::this_thread::get_id() == caller && in_fetch) asked = true;
    };
    // The thread may not sleep yet when the first one comes.
    const absl::Time until = absl::Now() + absl::Seconds(20);
    while (!asked && absl::Now() < until) {
      node_->MoveAllToDisk();
      Plan plan = MustPlan(text, Exact());
      in_fetch = true;
      FetchHandle fetch = MustFetch(text, std::move(plan), Raw());
      in_fetch = false;
      EXPECT_EQ(Recovered(*fetch.Wait()), 299u);
      Drain();
    }
    EXPECT_TRUE(asked);
    node_->called = nullptr;
  }
}

// As when it waits for the very room that another one holds.
TEST_F(FetcherTest, AWindowThatIsNotAnsweredKeepsNoOther) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .mapped = mapped});
    const Text text = Join({RandomTokens(3000, 1)});
    Seed(text);
    node_->MoveAllToDisk();
    node_->HoldOne<transport::LeaseRequest>();
    const uint64_t before = node_->Calls<transport::ReleaseRequest>();
    FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), Raw());
    node_->AwaitHeld();
    const absl::Time until = absl::Now() + absl::Seconds(20);
    while (node_->Calls<transport::ReleaseRequest>() == before && absl::Now() < until) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_GT(node_->Calls<transport::ReleaseRequest>(), before);
    node_->OpenGate();
    const FetchResult fetched = *fetch.Wait();
    EXPECT_EQ(Recovered(fetched), 2999u);
    EXPECT_EQ(Mismatches(fetched), 0u);
    Drain();
    EXPECT_EQ(node_->num_leases(), 0u);
  }
}

// The node's memory holds a fifth of the prompt: windows shrink until they fit, and leases go back
// in between.
TEST_F(FetcherTest, APoolThatIsTooSmallForAllLeasesServesThemInTurn) {
  for (bool mapped : {true, false}) {
    Start({.model = SmallModel(), .num_pages = 60, .mapped = mapped});
    const Text text = Join({RandomTokens(3000, 1)});
    for (uint32_t end : {750, 1500, 2250, 3000}) {  // a publish holds room for all its segments
      Seed(Join({Tokens(text.tokens.begin(), text.tokens.begin() + end)}));
      EXPECT_EQ(report_.segments_dropped, 0u);
    }
    std::vector<uint32_t> layers;
    FetchOptions options = Raw();
    options.on_layer = [&](uint32_t layer) { layers.push_back(layer); };
    const FetchResult fetched = *MustFetch(text, MustPlan(text, Exact()), options).Wait();
    EXPECT_EQ(Recovered(fetched), 2999u);
    EXPECT_EQ(Mismatches(fetched), 0u);
    EXPECT_GT(fetched.bytes_disk, 0u);
    EXPECT_THAT(layers, ElementsAre(0, 1, 2));
    Drain();
    EXPECT_EQ(node_->num_leases(), 0u);
  }
}

// The only fetch thread is kept by one fetch, and another one is in the queue. With and without
// mapped memory.
class FetchHelpTest : public ClientFixture, public ::testing::WithParamInterface<bool> {
 protected:
  void TearDown() override { LetTheThreadGo(); }

  void KeepTheThread() {
    Start({.model = SmallModel(), .mapped = GetParam()});
    const Text other = Join({RandomTokens(300, 8)});
    Seed(other);
    Seed(text_);
    NewWorker();
    FetchOptions options = Raw();
    options.on_layer = [this](uint32_t layer) {
      if (layer > 0) return;
      kept_.Notify();
      let_go_.WaitForNotification();
    };
    first_ = MustFetch(other, MustPlan(other, Exact()), options);
    kept_.WaitForNotification();
    other_worker_ = std::move(worker_);
    NewWorker();
  }
  void LetTheThreadGo() {
    if (!let_go_.HasBeenNotified()) let_go_.Notify();
    first_.Wait().IgnoreError();
  }
  FetchHandle FetchBehindIt() {
    FetchOptions options = Raw();
    options.on_layer = [this](uint32_t layer) {
      layers_.push_back(layer);
      helped_ &= std::this_thread::get_id() == caller_;
      if (on_layer_) on_layer_();
    };
    return MustFetch(text_, MustPlan(text_, Exact()), options);
  }
  // Of the rows of `layer`, those that are right.
  uint32_t RightRows(uint32_t layer) {
    tools::RowModel rows(model_);
    uint32_t right = 0;
    for (uint32_t i = 0; i + 1 < text_.size(); ++i)
      right += rows.RowEquals(text_.tokens[i], layer, i, worker_->Row(layer, i)) ? 1 : 0;
    return right;
  }

  const Text text_ = Join({RandomTokens(2500, 1)});
  const std::thread::id caller_ = std::this_thread::get_id();
  std::unique_ptr<tools::WorkerCache> other_worker_;  // outlives the fetch into it
  absl::Notification kept_, let_go_;
  FetchHandle first_;
  std::vector<uint32_t> layers_;
  bool helped_ = true;
  std::function<void()> on_layer_;
};

TEST_P(FetchHelpTest, WhoWaitsMovesTheRowsHimself) {
  KeepTheThread();
  FetchHandle fetch = FetchBehindIt();
  const FetchResult fetched = *fetch.Wait();
  EXPECT_EQ(Recovered(fetched), 2499u);
  EXPECT_EQ(Mismatches(fetched), 0u);
  EXPECT_THAT(layers_, ElementsAre(0, 1, 2));
  EXPECT_TRUE(helped_);
  LetTheThreadGo();
  EXPECT_EQ(Recovered(*first_.Wait()), 299u);
  Drain();
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_P(FetchHelpTest, WhoWaitsForALayerGetsItBeforeTheNextOneIsMoved) {
  KeepTheThread();
  FetchHandle fetch = FetchBehindIt();
  for (uint32_t layer = 0; layer < 2; ++layer) {
    EXPECT_TRUE(fetch.WaitLayer(layer).ok());
    EXPECT_EQ(layers_.size(), layer + 1);
    EXPECT_EQ(RightRows(layer), 2499u);
    EXPECT_EQ(RightRows(layer + 1), 0u);
  }
  EXPECT_EQ(Recovered(*fetch.Wait()), 2499u);
  EXPECT_TRUE(helped_);
}

// What the caller has begun goes on in a fetch thread.
TEST_P(FetchHelpTest, TheRestComesWithoutTheCaller) {
  KeepTheThread();
  FetchHandle fetch = FetchBehindIt();
  std::promise<void> all;
  on_layer_ = [&] {
    if (layers_.size() == 3) all.set_value();
  };
  EXPECT_TRUE(fetch.WaitLayer(0).ok());
  LetTheThreadGo();
  all.get_future().wait();
  EXPECT_FALSE(helped_);
  EXPECT_THAT(layers_, ElementsAre(0, 1, 2));
  EXPECT_EQ(RightRows(2), 2499u);
  EXPECT_EQ(Recovered(*fetch.Wait()), 2499u);
}

TEST_P(FetchHelpTest, OnLayerMayCancelWhatItsOwnThreadMoves) {
  KeepTheThread();
  FetchHandle fetch = FetchBehindIt();
  on_layer_ = [&] { fetch.Cancel(); };
  EXPECT_EQ(MissingTokens(*fetch.Wait()), 2499u);
  EXPECT_THAT(layers_, ElementsAre(0));
  EXPECT_EQ(RightRows(1), 0u);
  EXPECT_TRUE(absl::IsCancelled(fetch.WaitLayer(1)));
}

TEST_P(FetchHelpTest, AClientThatGoesAnswersWhatIsHalfMoved) {
  KeepTheThread();
  FetchHandle fetch = FetchBehindIt();
  EXPECT_TRUE(fetch.WaitLayer(0).ok());
  std::thread opener([&] { let_go_.Notify(); });
  client_.reset();
  opener.join();
  EXPECT_EQ(Recovered(*fetch.Wait()) + MissingTokens(*fetch.Wait()), 2499u);
  EXPECT_EQ(RightRows(0), 2499u);
}

// The thread looks rarely by then; what nobody waits for, or no caller can do, is done all the
// same.
TEST_P(FetchHelpTest, WhatNobodyWaitsForComesAfterManyThatCallersMoved) {
  Start({.model = SmallModel(), .mapped = GetParam()});
  const Text text = Join({RandomTokens(100, 7)});
  Seed(text);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Recovered(FetchAll(text, MustPlan(text, Exact()))), 99u);
  for (const bool on_disk : {false, true}) {
    if (on_disk) node_->MoveAllToDisk();
    absl::Notification all;
    FetchOptions options = Raw();
    options.on_layer = [&](uint32_t layer) {
      if (layer == 2) all.Notify();
    };
    const FetchHandle fetch = MustFetch(text, MustPlan(text, Exact()), options);
    EXPECT_TRUE(all.WaitForNotificationWithTimeout(absl::Seconds(20)));
    Drain();
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, FetchHelpTest, ::testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "Mapped" : "Copied");
});

TEST_F(FetcherTest, AFullQueueIsResourceExhausted) {
  ClientOptions options;
  options.max_queued_fetches = 1;
  Start({.model = SmallModel(), .mapped = false}, options);
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  node_->Hold<ReadRequest>();
  FetchHandle running = MustFetch(text, MustPlan(text, Exact()), Raw());
  node_->AwaitHeld();  // the thread is busy
  FetchHandle queued = MustFetch(text, MustPlan(text, Exact()), Raw());
  Plan plan = MustPlan(text, Exact());
  const auto refused = client_->Fetch(std::move(plan), worker_->Destination(), {});
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  EXPECT_EQ(Reused(plan), 299u) << "it can be fetched later";  // NOLINT(bugprone-use-after-move)
  node_->OpenGate();
  EXPECT_EQ(Recovered(*queued.Wait()), 299u);
  EXPECT_EQ(Recovered(FetchAll(text, std::move(plan))), 299u);
}

TEST_F(FetcherTest, WrongCallsAreInvalidAndLeakNothing) {
  Start();
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  const PagedCache good = worker_->Destination();
  std::vector<PagedCache> bad(5, good);
  bad[0].layer_base.pop_back();
  bad[1].block_table = bad[1].block_table.first(2);
  bad[2].row_stride = 100;
  bad[3].num_blocks = 1;
  bad[4].layer_base[1] = nullptr;
  for (const PagedCache& cache : bad) {
    const auto fetch = client_->Fetch(MustPlan(text, Exact()), cache, {});
    EXPECT_TRUE(absl::IsInvalidArgument(fetch.status())) << fetch.status();
  }
  FetchOptions options = Raw();
  options.pre_rope.pop_back();
  EXPECT_TRUE(
      absl::IsInvalidArgument(client_->Fetch(MustPlan(text, Exact()), good, options).status()));
  options = Raw();
  options.pre_rope[0] = nullptr;
  EXPECT_TRUE(
      absl::IsInvalidArgument(client_->Fetch(MustPlan(text, Exact()), good, options).status()));
  options = Raw();
  options.pre_rope_stride = 3;
  EXPECT_TRUE(
      absl::IsInvalidArgument(client_->Fetch(MustPlan(text, Exact()), good, options).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(client_->Fetch(Plan(), good, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FetchHandle().Wait().status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FetchHandle().WaitLayer(0)));
  Drain();
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_F(FetcherTest, APlanThatWasRefusedCanBeFetchedStill) {
  Start();
  const Text text = Join({RandomTokens(300, 1)});
  Seed(text);
  Plan plan = MustPlan(text, Exact());
  PagedCache bad = worker_->Destination();
  bad.layer_base.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(client_->Fetch(std::move(plan), bad, {}).status()));
  EXPECT_EQ(plan.num_tokens(), 300u);
  EXPECT_EQ(Recovered(FetchAll(text, std::move(plan))), 299u);
}

TEST_F(FetcherTest, ManyFetchesAtOnceFromManyThreads) {
  ClientOptions options;
  options.fetch_threads = 3;
  Start({.model = SmallModel()}, options);
  const Text text = Join({RandomTokens(1500, 1)});
  Seed(text);
  std::atomic<uint32_t> recovered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      tools::WorkerCache worker(model_, 2048);
      for (int i = 0; i < 5; ++i) {
        worker.Begin(text.tokens);
        auto plan = client_->MakePlan(model_, text.tokens, Exact(), text.parts);
        auto fetch = client_->Fetch(*std::move(plan), worker.Destination(), {});
        const FetchResult fetched = *fetch->Wait();
        if (worker.CountMismatches({0, 1499}, -1) == 0) recovered += Recovered(fetched);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(recovered, 4u * 5 * 1499);
}

// For a worker that turns k_r by its own operation: k_r before RoPE of every row, whole chunks too.
TEST_F(FetcherTest, PreRopeComesEverywhereWhenAsked) {
  Start();
  const Text text = Join({RandomTokens(700, 1)});
  Seed(text);
  const auto delivered = [&](bool everywhere) {
    FetchOptions options = Raw();
    options.pre_rope_everywhere = everywhere;
    NewWorker();  // nothing in its buffers
    options.pre_rope = worker_->pre_rope();
    std::vector<Span> spans = MustFetch(text, MustPlan(text, Exact()), options).Wait()->delivered;
    return std::count_if(spans.begin(), spans.end(), [](const Span& s) { return s.pre_rope; }) ==
           static_cast<ptrdiff_t>(spans.size());
  };
  EXPECT_FALSE(delivered(false));
  ASSERT_TRUE(delivered(true));
  for (uint32_t layer = 0; layer < model_.num_layers; ++layer) {
    const std::byte* const side = worker_->pre_rope()[layer];
    const std::vector<std::byte> came(side, side + 699 * worker_->pre_rope_stride());
    worker_->Compute({0, 699});
    EXPECT_EQ(std::memcmp(came.data(), side, came.size()), 0) << layer;
  }
}

}  // namespace
}  // namespace cistern
