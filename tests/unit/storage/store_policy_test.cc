// The store's victims follow the policy that it was given.
#include "storage/policy/eviction_policy.h"
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

class StorePolicyTest : public StoreTest {
 protected:
  void WithPolicy(absl::string_view policy) {
    Reset({.eviction_policy = std::string(policy), .blob_block_bytes = kPage});
  }
  void Use(ObjectId id) { EXPECT_TRUE(store_->Release(kSession, MustAcquire(id).id).ok()); }
  // The deeper, the dearer; each in a past of its own.
  base::ObjectHeader At(uint32_t text, uint32_t depth) const {
    base::ObjectHeader header = Segment(text, text);
    header.base_position = depth * 10000;
    return header;
  }
};

// Sixteen objects fill the arena; the oldest is the dearest, and was used once.
TEST_F(StorePolicyTest, LruGoesByTheLastUseValueByWhatItCosts) {
  for (const bool lru : {true, false}) {
    WithPolicy(lru ? "lru" : "value");
    Use(Put(At(16, 16)));
    for (uint32_t text = 15; text >= 1; --text) Put(At(text, text));
    Put(At(20, 0));
    EXPECT_EQ(WhereIs(At(16, 16)), lru ? Where::kMiss : Where::kMemory);
    EXPECT_EQ(WhereIs(At(1, 1)), lru ? Where::kMemory : Where::kMiss);
  }
}

TEST_F(StorePolicyTest, S3FifoKeepsWhatWasUsedTwice) {
  WithPolicy("s3fifo");
  const ObjectId used = Put(At(1, 1));
  Use(used);
  Use(used);
  for (uint32_t text = 2; text <= 40; ++text) Put(At(text, 1));
  EXPECT_EQ(WhereIs(At(1, 1)), Where::kMemory) << "a scan of new ones does not wash it out";
  EXPECT_EQ(WhereIs(At(2, 1)), Where::kMiss);
}

TEST_F(StorePolicyTest, MarconiWeighsRecencyAndEfficiency) {
  WithPolicy("marconi");
  for (uint32_t text = 1; text <= 16; ++text) Put(At(text, text == 3 ? 0 : 16));
  Put(At(20, 16));
  EXPECT_EQ(WhereIs(At(3, 0)), Where::kMiss) << "nearly the oldest, and the cheapest";
  EXPECT_EQ(WhereIs(At(1, 16)), Where::kMemory);
}

class EveryStorePolicy : public StorePolicyTest,
                         public testing::WithParamInterface<absl::string_view> {};

// A prompt of twelve chunks, then others: its end goes before its beginning.
TEST_P(EveryStorePolicy, APromptIsGivenUpFromItsEnd) {
  WithPolicy(GetParam());
  std::vector<base::ObjectHeader> prompt;
  for (uint32_t i = 0; i < 12; ++i) {
    base::ObjectHeader header = Segment(100 + i);
    if (i > 0) {
      header.parent_context = prompt[i - 1].context;
      header.context = base::KeySpace::Context(header.parent_context, header.content);
      header.base_position = i * 16;
    }
    prompt.push_back(header);
    Put(header);
  }
  for (uint32_t text = 1; text <= 10; ++text) Put(At(text, 1));
  size_t kept = 0;
  while (kept < prompt.size() && WhereIs(prompt[kept]) == Where::kMemory) ++kept;
  for (size_t i = kept; i < prompt.size(); ++i) EXPECT_EQ(WhereIs(prompt[i]), Where::kMiss) << i;
  EXPECT_GT(kept, 0u);
}

// When the ends may not go, the middle does: room is never refused for order's sake.
TEST_P(EveryStorePolicy, WhatOthersContinueGoesWhenNothingElseMay) {
  WithPolicy(GetParam());
  const base::ObjectHeader first = Segment(100, 0, 8);
  base::ObjectHeader second = Segment(101, 0, 8);
  second.parent_context = first.context;
  second.context = base::KeySpace::Context(first.context, second.content);
  Put(first);
  const Lease lease = MustAcquire(Put(second));
  Put(Segment(102, 5));
  EXPECT_EQ(WhereIs(first), Where::kMiss);
  EXPECT_EQ(WhereIs(second), Where::kMemory);
  EXPECT_TRUE(store_->Release(kSession, lease.id).ok());
}

INSTANTIATE_TEST_SUITE_P(Policies, EveryStorePolicy, testing::ValuesIn(EvictionPolicyNames()),
                         [](const auto& param_info) { return std::string(param_info.param); });

}  // namespace
}  // namespace cistern::storage
