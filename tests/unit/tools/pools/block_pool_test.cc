#include "tools/bench/pools/block_pool.h"

#include <algorithm>
#include <list>
#include <map>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

using ::testing::ElementsAre;
using Numbers = std::vector<uint32_t>;

Numbers Taken(BlockPool& pool, uint32_t request, uint32_t count) {
  Numbers numbers;
  EXPECT_TRUE(pool.Take(request, count, &numbers));
  return numbers;
}

TEST(BlockPoolTest, LowestFirstThenLastInFirstOut) {
  BlockPool pool(4, 4, 2);
  EXPECT_THAT(Taken(pool, 0, 3), ElementsAre(0, 1, 2));
  pool.GiveAll(0);
  EXPECT_THAT(Taken(pool, 1, 4), ElementsAre(2, 1, 0, 3));
  EXPECT_EQ(pool.num_free(), 0u);
}

TEST(BlockPoolTest, TooManyTakeNothing) {
  BlockPool pool(3, 3, 2);
  ASSERT_TRUE(pool.Take(0, 1));
  EXPECT_FALSE(pool.Take(1, 3));
  EXPECT_EQ(pool.num_free(), 2u);
  EXPECT_EQ(pool.Oldest(), 0u);
}

TEST(BlockPoolTest, OldestIsWhoTookLongestAgo) {
  BlockPool pool(6, 6, 3);
  EXPECT_EQ(pool.Oldest(), kNobody);
  for (const uint32_t request : {0, 1, 2, 0}) ASSERT_TRUE(pool.Take(request, 1));
  EXPECT_EQ(pool.Oldest(), 1u);
  pool.GiveAll(1);
  EXPECT_EQ(pool.Oldest(), 2u);
  pool.GiveAll(1);  // has none: nothing happens
  EXPECT_EQ(pool.num_free(), 3u);
}

TEST(BlockPoolTest, AFailedSweepReversesTheFreeNumbers) {
  BlockPool pool(3, 3, 1);
  pool.ReverseFree();
  EXPECT_THAT(Taken(pool, 0, 3), ElementsAre(2, 1, 0));
}

TEST(BlockPoolTest, OnlyAFreeTailCanGo) {
  BlockPool pool(4, 6, 2);
  EXPECT_THAT(Taken(pool, 0, 2), ElementsAre(0, 1));
  EXPECT_FALSE(pool.Resize(1));
  EXPECT_EQ(pool.num_blocks(), 4u);
  EXPECT_TRUE(pool.Resize(2));
  EXPECT_EQ(pool.num_free(), 0u);
  EXPECT_FALSE(pool.Resize(7));
  EXPECT_TRUE(pool.Resize(5));
  EXPECT_THAT(Taken(pool, 1, 3), ElementsAre(4, 3, 2));  // what was added comes highest first
  pool.GiveAll(0);
  pool.GiveAll(1);
  EXPECT_TRUE(pool.Resize(0));
  EXPECT_EQ(pool.num_free(), 0u);
}

// The same decisions written down plainly: vectors that are searched.
class PlainPool {
 public:
  explicit PlainPool(uint32_t blocks) : blocks_(blocks) {
    for (uint32_t b = blocks; b-- > 0;) free_.push_back(b);
  }
  bool Take(uint32_t request, uint32_t count, Numbers* taken) {
    if (count > free_.size()) return false;
    for (uint32_t i = 0; i < count; ++i) {
      held_[request].push_back(free_.back());
      taken->push_back(free_.back());
      free_.pop_back();
    }
    recent_.remove(request);
    recent_.push_back(request);
    return true;
  }
  void GiveAll(uint32_t request) {
    for (const uint32_t block : held_[request]) free_.push_back(block);
    held_[request].clear();
    recent_.remove(request);
  }
  void ReverseFree() { std::reverse(free_.begin(), free_.end()); }
  bool Resize(uint32_t blocks) {
    for (const auto& [request, held] : held_) {
      for (const uint32_t block : held) {
        if (block >= blocks) return false;
      }
    }
    std::erase_if(free_, [&](uint32_t block) { return block >= blocks; });
    for (; blocks_ < blocks; ++blocks_) free_.push_back(blocks_);
    blocks_ = blocks;
    return true;
  }
  uint32_t Oldest() const { return recent_.empty() ? kNobody : recent_.front(); }
  size_t num_free() const { return free_.size(); }

 private:
  uint32_t blocks_;
  Numbers free_;
  std::map<uint32_t, Numbers> held_;
  std::list<uint32_t> recent_;
};

TEST(BlockPoolTest, RandomOperationsAgreeWithAPlainPool) {
  constexpr uint32_t kMost = 40, kRequests = 8;
  BlockPool pool(20, kMost, kRequests);
  PlainPool plain(20);
  std::mt19937 random(20260520);
  for (int step = 0; step < 5000; ++step) {
    const uint32_t request = random() % kRequests, dice = random() % 10;
    if (dice < 5) {
      Numbers got, expected;
      const uint32_t count = 1 + random() % 6;
      ASSERT_EQ(pool.Take(request, count, &got), plain.Take(request, count, &expected));
      ASSERT_EQ(got, expected) << "step " << step;
    } else if (dice < 8) {
      pool.GiveAll(request);
      plain.GiveAll(request);
    } else if (dice == 8) {
      pool.ReverseFree();
      plain.ReverseFree();
    } else {
      const uint32_t blocks = random() % (kMost + 1);
      ASSERT_EQ(pool.Resize(blocks), plain.Resize(blocks)) << "step " << step;
    }
    ASSERT_EQ(pool.Oldest(), plain.Oldest()) << "step " << step;
    ASSERT_EQ(pool.num_free(), plain.num_free());
  }
}

}  // namespace
}  // namespace cistern::tools
