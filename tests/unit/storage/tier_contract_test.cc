// What every tier promises, whatever it is made of: the disk, memory alone, memory over the disk
// with room for everything, and with room for hardly anything.
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/storage/tier_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kManyBlocks = 1024;
constexpr uint64_t kFewBlocks = 48;  // the largest object of these tests has 40

struct Kind {
  std::string name;
  uint64_t memory_blocks = 0;  // 0: none
  bool disk = false;
};

class TierContractTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam().disk) {
      auto opened = DiskTier::Open({.path = directory_.path() + "/tier"});
      ASSERT_TRUE(opened.ok()) << opened.status();
      disk_ = *std::move(opened);
    }
    if (GetParam().memory_blocks > 0)
      memory_ = std::make_unique<MemoryOver>(GetParam().memory_blocks, disk_.get());
    ASSERT_EQ(tier().PutModel(TierModel()), absl::OkStatus());
  }
  Tier& tier() { return memory_ != nullptr ? static_cast<Tier&>(memory_->tier()) : *disk_; }

 private:
  ScratchDirectory directory_;
  std::unique_ptr<DiskTier> disk_;
  std::unique_ptr<MemoryOver> memory_;
};

TEST_P(TierContractTest, RoundTripsAllSizesAndKinds) {
  std::vector<TestObject> objects;
  for (const uint32_t tokens : {1, 15, 16, 17, 32, 100})
    objects.push_back(TierSegment(static_cast<uint32_t>(objects.size()) + 1, tokens));
  for (const uint64_t bytes : {uint64_t{1}, kTierBlock - 1, kTierBlock, kTierBlock + 1,
                               7 * kTierBlock + 5, 40 * kTierBlock})
    objects.push_back(TierBlob(static_cast<uint32_t>(objects.size()) + 1, bytes));
  for (const TestObject& object : objects) ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  for (int round = 0; round < 2; ++round) {
    for (const TestObject& object : objects) {
      EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus()) << object.bytes.size();
      EXPECT_EQ(tier().Verify(object.key()), absl::OkStatus());
    }
  }
  const auto headers = HeadersOf(tier());
  ASSERT_EQ(headers.size(), objects.size());
  for (const TestObject& object : objects)
    EXPECT_EQ(headers.at(object.header.content), object.header);
}

TEST_P(TierContractTest, PayloadMayLieInRunsOfAnySize) {
  TestObject object = TierSegment(1, 100);
  object.runs = {1, 0, 1000, 1024, 2048, 7, 0};
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
  object.runs = {3000, 2, 1};
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
  object.runs = {};
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
}

TEST_P(TierContractTest, ABatchHasAStatusForEach) {
  std::vector<TestObject> objects;
  std::vector<Tier::Item> items;
  for (uint32_t i = 0; i < 60; ++i) objects.push_back(TierSegment(i + 1, 16 + i));
  items.reserve(objects.size());
  for (const TestObject& object : objects) items.push_back(object.Item());
  items[10].payload.clear();      // no payload
  items[20].header.content = {};  // no key
  const std::vector<absl::Status> statuses = tier().Write(items);
  ASSERT_EQ(statuses.size(), items.size());
  for (size_t i = 0; i < statuses.size(); ++i) {
    const bool wrong = i == 10 || i == 20;
    EXPECT_EQ(statuses[i].code(),
              wrong ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kOk)
        << i;
    EXPECT_EQ(CheckReadBack(tier(), objects[i]).code(),
              wrong ? absl::StatusCode::kNotFound : absl::StatusCode::kOk)
        << i;
  }
  EXPECT_TRUE(tier().Write({}).empty());
}

TEST_P(TierContractTest, UnknownKeysAreNotFound) {
  EXPECT_EQ(CheckReadBack(tier(), TierSegment(1)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(tier().Verify(TierSegment(1).key()).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(tier().InMemory(TierSegment(1).key()));
  EXPECT_EQ(tier().Delete({TierSegment(1).key()}), absl::OkStatus());
}

TEST_P(TierContractTest, AReadOfAnotherSizeIsDataLossAndHarmsNothing) {
  const TestObject object = TierSegment(1, 40);
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  for (const int more : {-1, 1}) {
    TestObject other = object;
    other.bytes.resize(object.bytes.size() + static_cast<size_t>(more));
    EXPECT_EQ(CheckReadBack(tier(), other).code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
}

// The same text in the same context, computed anew: exactly this time.
TEST_P(TierContractTest, AWriteOfTheSameKeyReplaces) {
  TestObject object = TierSegment(1, 40, base::Lineage::kApproximate);
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  object.header.lineage = base::Lineage::kExact;
  object.bytes = PatternBytes(99, object.bytes.size());
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
  object.header.encoding = base::RotaryEncoding::kRotated;
  object.bytes = PatternBytes(100, object.bytes.size());
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
  const auto headers = HeadersOf(tier());
  ASSERT_EQ(headers.size(), 1u);
  EXPECT_EQ(headers.begin()->second, object.header);
}

TEST_P(TierContractTest, TheSameTwiceIsOneObject) {
  const TestObject object = TierSegment(1, 40);
  for (const absl::Status& status : tier().Write({object.Item(), object.Item()}))
    EXPECT_EQ(status, absl::OkStatus());
  EXPECT_EQ(WriteOne(tier(), object), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
  EXPECT_EQ(HeadersOf(tier()).size(), 1u);
}

TEST_P(TierContractTest, DeletedIsGoneAndMayComeBack) {
  const TestObject kept = TierSegment(1, 40), gone = TierBlob(2, 3000);
  ASSERT_EQ(WriteOne(tier(), kept), absl::OkStatus());
  ASSERT_EQ(WriteOne(tier(), gone), absl::OkStatus());
  ASSERT_EQ(tier().Delete({gone.key(), gone.key()}), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), gone).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(tier().Verify(gone.key()).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CheckReadBack(tier(), kept), absl::OkStatus());
  EXPECT_EQ(HeadersOf(tier()).size(), 1u);
  TestObject back = gone;
  back.bytes = PatternBytes(77, back.bytes.size());
  ASSERT_EQ(WriteOne(tier(), back), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), back), absl::OkStatus());
}

// The same text in two contexts: each is an object of its own, also when one of them is deleted.
TEST_P(TierContractTest, VariantsOfOneContentAreObjectsOfTheirOwn) {
  TestObject first = TierSegment(1, 40), second = first;
  second.header = TestSegment(TierModel(), 1, /*past=*/5, 40);
  second.bytes = PatternBytes(55, first.bytes.size());
  ASSERT_EQ(first.header.content, second.header.content);
  ASSERT_EQ(WriteOne(tier(), first), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), second).code(), absl::StatusCode::kNotFound);
  ASSERT_EQ(WriteOne(tier(), second), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), first), absl::OkStatus());
  ASSERT_EQ(tier().Delete({first.key()}), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), first).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CheckReadBack(tier(), second), absl::OkStatus());
}

TEST_P(TierContractTest, KeepsModels) {
  ASSERT_EQ(tier().PutModel(TierModel()), absl::OkStatus());
  base::ModelSpec other = TierModel();
  other.revision = "other";
  ASSERT_EQ(tier().PutModel(other), absl::OkStatus());
  EXPECT_EQ(tier().PutModel(base::ModelSpec{}).code(), absl::StatusCode::kInvalidArgument);
  std::vector<base::ModelSpec> models;
  ASSERT_EQ(tier().ForEachModel([&](const base::ModelSpec& spec) { models.push_back(spec); }),
            absl::OkStatus());
  ASSERT_EQ(models.size(), 2u);
  EXPECT_NE(std::find(models.begin(), models.end(), other), models.end());
  EXPECT_EQ(tier().DeleteModel(other.Fingerprint()), absl::OkStatus());
  EXPECT_EQ(tier().DeleteModel(base::HashBytes("none such")), absl::OkStatus());
}

TEST_P(TierContractTest, ManyThreads) {
  constexpr uint32_t kThreads = 4;
  std::vector<std::thread> threads;
  for (uint32_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint32_t step = 0; step < 30; ++step) {
        const TestObject object = TierSegment(1000 * thread + step, 16 + step);
        ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
        ASSERT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
        if (step % 3 == 0) {
          ASSERT_EQ(tier().Delete({object.key()}), absl::OkStatus());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(HeadersOf(tier()).size(), kThreads * 20);
}

INSTANTIATE_TEST_SUITE_P(Tiers, TierContractTest,
                         testing::Values(Kind{"Disk", 0, true}, Kind{"Memory", kManyBlocks, false},
                                         Kind{"MemoryOverDisk", kManyBlocks, true},
                                         Kind{"LittleMemoryOverDisk", kFewBlocks, true}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cistern::storage
