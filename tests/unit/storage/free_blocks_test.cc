// Free blocks: the lowest first, each once, at every size where a level begins.
#include "storage/pool/free_blocks.h"

#include <random>
#include <set>

#include <gtest/gtest.h>

namespace cistern::storage {
namespace {

TEST(FreeBlocks, GivesEachOnceFromTheLowest) {
  for (const uint32_t count : {1u, 2u, 63u, 64u, 65u, 4095u, 4096u, 4097u, 65'535u, 65'536u}) {
    FreeBlocks free;
    free.Reset(count);
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_TRUE(free.IsFree(i));
      ASSERT_EQ(free.Take(), i) << "of " << count;
      ASSERT_FALSE(free.IsFree(i));
    }
    EXPECT_FALSE(free.any()) << count;
    free.Give(count - 1);
    EXPECT_EQ(free.Take(), count - 1);
    free.Reset(count);
    EXPECT_EQ(free.Take(), 0u) << "all are free again";
  }
}

TEST(FreeBlocks, AgreesWithASet) {
  std::mt19937_64 random(11);
  for (const uint32_t count : {50u, 3000u, 65'536u}) {
    FreeBlocks free;
    free.Reset(count);
    std::set<uint32_t> set;
    for (uint32_t i = 0; i < count; ++i) set.insert(i);
    for (int step = 0; step < 20'000; ++step) {
      ASSERT_EQ(free.any(), !set.empty());
      if (!set.empty() && random() % 16 < (step / 5000 % 2 == 0 ? 12 : 4)) {
        ASSERT_EQ(free.Take(), *set.begin());
        set.erase(set.begin());
        continue;
      }
      const auto block = static_cast<uint32_t>(random() % count);
      ASSERT_EQ(free.IsFree(block), set.contains(block));
      free.Give(block);  // giving what is free changes nothing
      set.insert(block);
    }
  }
}

}  // namespace
}  // namespace cistern::storage
