// A worker whose cache, k_r before RoPE and state lie in device memory: the same bytes as in host
// memory, and a device that fails.
#include <atomic>
#include <future>

#include "cistern/state_recorder.h"
#include "tests/unit/client_lib/fake_device.h"
#include "tests/unit/client_lib/state_fixture.h"

namespace cistern {
namespace {

using testing::FakeDevice;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Join;
using testing::RandomTokens;
using testing::SmallModel;
using testing::StateFixture;
using testing::StateMemory;
using testing::StateSequence;
using testing::Text;
using testing::Tokens;

struct DeviceCase {
  const char* name;
  base::RowLayout layout;
  uint32_t row_bytes;
  bool rotated;
  bool mapped;
};

class DeviceTest : public StateFixture {
 protected:
  FetchResult FetchToDevice(const Text& text, Plan plan) {
    worker_->Begin(text.tokens);
    FetchOptions options = Raw();
    options.pre_rope = FakeDevice::Hide(std::move(options.pre_rope));
    auto fetch = client_->Fetch(std::move(plan), device_.Hide(worker_->Destination()), options);
    EXPECT_TRUE(fetch.ok()) << fetch.status();
    return fetch.ok() ? *fetch->Wait() : FetchResult();
  }
  absl::StatusOr<PublishReport> PublishFromDevice(const Text& text, const FetchResult& fetched) {
    return client_->Publish(model_, text.tokens, fetched, {0, text.size()},
                            device_.Hide(worker_->Source(!rotated_)), text.parts);
  }
  void Compute(const Text& text) {
    worker_->Begin(text.tokens);
    worker_->Compute({0, text.size()});
  }

  FakeDevice device_;
};

class DeviceRowsTest : public DeviceTest, public ::testing::WithParamInterface<DeviceCase> {};

TEST_P(DeviceRowsTest, AreSharedAndFetched) {
  const DeviceCase& param = GetParam();
  base::ModelSpec model = SmallModel();
  model.layout = param.layout;
  model.row_bytes = param.row_bytes;
  Start({.model = model, .mapped = param.mapped});
  rotated_ = param.rotated;
  const Tokens system = RandomTokens(200, 1), a = RandomTokens(3000, 2), b = RandomTokens(500, 3);
  const Text first = Join({system, a, b});
  Compute(first);
  const auto report = PublishFromDevice(first, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->bytes, first.size() * model.token_bytes());
  EXPECT_EQ(StoredMismatches(), 0u);

  NewWorker();
  const Text text = Join({system, RandomTokens(77, 4), b, Tokens(a.begin(), a.begin() + 3000)});
  const FetchResult fetched = FetchToDevice(text, MustPlan(text, Content()));
  EXPECT_GE(Recovered(fetched), 3600u);
  EXPECT_THAT(fetched.missing, IsEmpty());
  EXPECT_EQ(Mismatches(fetched), 0u);
  ComputeTheRest(text, fetched);
  ASSERT_TRUE(PublishFromDevice(text, fetched).ok());
  EXPECT_EQ(StoredMismatches(), 0u);
  EXPECT_EQ(device_.staged, 0);
}

using base::RowLayout;
INSTANTIATE_TEST_SUITE_P(
    Layouts, DeviceRowsTest,
    ::testing::Values(DeviceCase{"Mapped", RowLayout::kBf16_576, 1152, false, true},
                      DeviceCase{"ByCopy", RowLayout::kBf16_576, 1152, false, false},
                      DeviceCase{"MappedRotated", RowLayout::kBf16_576, 1152, true, true},
                      DeviceCase{"MappedFp8", RowLayout::kFp8DsMla656, 656, false, true}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(DeviceTest, AFetchWhoseDeviceFailsDeliversNothingThatIsNotThere) {
  for (bool no_memory : {false, true}) {
    Start();
    const Text text = Join({RandomTokens(300, 1), RandomTokens(300, 2)});
    Seed(text);
    NewWorker();
    device_.fails_after = no_memory ? 1 << 30 : 0;
    device_.no_memory = no_memory;
    const FetchResult fetched = FetchToDevice(text, MustPlan(text, Exact()));
    EXPECT_THAT(fetched.delivered, IsEmpty());
    EXPECT_FALSE(fetched.device_error.ok());
    EXPECT_EQ(client_->stats().device_errors, 1u);
    EXPECT_EQ(MissingTokens(fetched), 599u);
    // A copy that fails half-way has written rows: they are not delivered.
    EXPECT_EQ(Written(text) > 0, !no_memory);
    ExpectNoLeases();

    device_.fails_after = 1 << 30;
    device_.no_memory = false;
    const FetchResult again = FetchToDevice(text, MustPlan(text, Exact()));
    EXPECT_EQ(Recovered(again), 599u);
    EXPECT_TRUE(again.device_error.ok()) << again.device_error;
    EXPECT_EQ(Mismatches(again), 0u);
  }
}

// What the device had taken before it failed stays delivered.
TEST_F(DeviceTest, ADeviceThatFailsOnTheWay) {
  for (int64_t copies : {1, 2, 3}) {
    Start();
    const Text text = Join({RandomTokens(3000, 1)});
    Seed(text);
    NewWorker();
    device_.fails_after = copies;
    const FetchResult fetched = FetchToDevice(text, MustPlan(text, Exact()));
    EXPECT_EQ(Recovered(fetched) + MissingTokens(fetched), 2999u);
    EXPECT_GT(MissingTokens(fetched), 0u);
    EXPECT_EQ(Mismatches(fetched), 0u);
    EXPECT_EQ(fetched.device_error.message(), "the device has fallen off the bus");
    EXPECT_EQ(device_.fails_after, -1) << "it is not tried again";
    ExpectNoLeases();
  }
}

TEST_F(DeviceTest, ACancelWaitsForTheCopyUnderWayAndNothingIsCopiedAfterIt) {
  StartCopying();
  const Text text = Join({RandomTokens(3000, 1)});
  Seed(text);
  NewWorker();
  std::promise<void> copying, go_on;
  std::atomic<int> copies = 0;
  device_.before_copy = [&] {
    if (copies++ == 0) {
      copying.set_value();
      go_on.get_future().wait();
    }
  };
  worker_->Begin(text.tokens);
  auto fetch = client_->Fetch(MustPlan(text, Exact()), device_.Hide(worker_->Destination()), {});
  ASSERT_TRUE(fetch.ok()) << fetch.status();
  copying.get_future().wait();
  std::future<void> cancelled = std::async(std::launch::async, [&] { fetch->Cancel(); });
  EXPECT_EQ(cancelled.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  go_on.set_value();
  cancelled.wait();
  const int at_cancel = copies;
  EXPECT_THAT(fetch->Wait()->delivered, IsEmpty());
  *fetch = FetchHandle();
  EXPECT_EQ(copies, at_cancel);
  ExpectNoLeases();
  EXPECT_EQ(device_.staged, 0);
}

TEST_F(DeviceTest, APublishWhoseDeviceFailsStoresNothingHalf) {
  for (int64_t copies : {0, 1, 5}) {
    Start();
    const Text text = Join({RandomTokens(3000, 1)});
    Compute(text);
    device_.fails_after = copies;
    const auto report = PublishFromDevice(text, {});
    EXPECT_EQ(report.status().code(), absl::StatusCode::kUnavailable) << report.status();
    EXPECT_THAT(report.status().message(), HasSubstr("fallen off the bus"));
    Drain();
    EXPECT_EQ(node_->num_reservations(), 0u);
    EXPECT_EQ(StoredMismatches(), 0u);

    device_.fails_after = 1 << 30;
    ASSERT_TRUE(PublishFromDevice(text, {}).ok());
    EXPECT_EQ(Recovered(FetchAll(text, MustPlan(text, Exact()))), 2999u);
  }
}

TEST_F(DeviceTest, StatesAreSharedAndResumed) {
  StartHybrid(true);
  const Text text = Join({RandomTokens(600, 1)});
  SeedRows(text);
  const StateSequence sequence(model_.state, text.tokens);
  StateMemory at_250 = sequence.At(250), at_599 = sequence.At(599);
  StateSource source;
  source.points = {{250, device_.Hide(at_250.view())}, {599, device_.Hide(at_599.view())}};
  source.points[1].state.temporal.clear();  // a log leads there
  source.log = sequence.Log(250, 600);
  const auto report = client_->PublishStates(model_, text.tokens, {}, source,
                                             {.max_chain_tokens = 1000}, text.parts);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->checkpoints, 1u);
  EXPECT_EQ(report->logs, 1u);

  StateMemory memory(model_.state);
  FetchOptions options = Raw();
  options.state = device_.Hide(memory.view());
  const FetchResult fetched = *MustFetch(text, MustPlan(text, Exact()), options).Wait();
  EXPECT_EQ(fetched.state_position, 599u);
  EXPECT_LE(memory.DistanceTo(at_599), 2e-6);
  EXPECT_EQ(memory.conv(), at_599.conv());
  EXPECT_EQ(device_.staged, 0);
}

TEST_F(DeviceTest, ARecorderBeginsWithAStateOfTheDevice) {
  StartHybrid(true);
  const Text text = Join({RandomTokens(200, 1)});
  SeedRows(text);
  MustCheckpoint(text, {100});
  const StateSequence sequence(model_.state, text.tokens);
  StateMemory at_100 = sequence.At(100);
  const std::span<const base::TokenId> tokens = text.tokens;
  const auto begin = [&] {
    return StateRecorder::Create(client_.get(), model_, tokens.first(100), ResumedAt(100, 0),
                                 device_.Hide(at_100.view()), sequence.constants(),
                                 {.policy = {.max_chain_tokens = 10}});
  };
  device_.fails_after = 0;
  EXPECT_TRUE(absl::IsUnavailable(begin().status()));
  device_.fails_after = 1 << 30;
  auto recorder = begin();
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  ASSERT_TRUE((*recorder)->Append(tokens.subspan(100, 50), sequence.Log(100, 150)).ok());
  const auto report = (*recorder)->Flush();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->checkpoints, 1u);  // folded from the state that came from the device
  folded_by_recorder_ = true;
  ExpectResumed(Join({Tokens(text.tokens.begin(), text.tokens.begin() + 150), RandomTokens(40, 9)}),
                150, 0);
}

TEST_F(DeviceTest, AStateWhoseDeviceFailsIsNotResumed) {
  StartHybrid(true);
  const Text text = Join({RandomTokens(600, 1)});
  SeedRows(text);
  MustCheckpoint(text, {250});
  StateMemory memory(model_.state);
  FetchOptions options = Raw();
  options.state = device_.Hide(memory.view());
  device_.fails_after = 0;
  const FetchResult fetched = *MustFetch(text, MustPlan(text, Exact()), options).Wait();
  EXPECT_EQ(fetched.state_position, 0u);
  EXPECT_EQ(fetched.device_error.message(), "the device has fallen off the bus");
  EXPECT_THAT(fetched.delivered, IsEmpty());
  ExpectNoLeases();

  const auto report = client_->PublishStates(
      model_, text.tokens, {}, {.points = {{300, device_.Hide(memory.view())}}, .log = {}}, {},
      text.parts);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kUnavailable) << report.status();
  EXPECT_EQ(device_.staged, 0);
}

}  // namespace
}  // namespace cistern
