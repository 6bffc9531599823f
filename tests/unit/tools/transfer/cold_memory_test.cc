#include "tools/bench/transfer/cold_memory.h"

#include <cstring>
#include <set>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

// Every word counts, wherever the pass begins and ends.
TEST(ColdMemoryTest, ReadOnceAddsEveryWordAndTheTail) {
  Memory memory(4096);
  for (const size_t words : {0u, 1u, 15u, 16u, 17u, 64u, 100u}) {
    uint64_t expected = 0;
    for (size_t i = 0; i < words; ++i) {
      const uint64_t word = (i + 1) * 0x9E3779B97F4A7C15u;
      std::memcpy(memory.data() + 8 + i * 8, &word, sizeof(word));
      expected += word;
    }
    for (const size_t tail : {0u, 3u}) {
      std::memset(memory.data() + 8 + words * 8, 2, tail);
      EXPECT_EQ(ReadOnce({memory.data() + 8, words * 8 + tail}), expected + 2 * tail)
          << words << " words and " << tail << " bytes";
    }
  }
}

TEST(ColdMemoryTest, ARingGivesEachPieceOnceBeforeTheFirstComesAgain) {
  Ring ring(10 * 128 + 5, 128);
  std::set<std::byte*> seen;
  std::byte* const first = ring.Next().data();
  seen.insert(first);
  for (int i = 1; i < 10; ++i) {
    const std::span<std::byte> piece = ring.Next();
    EXPECT_EQ(piece.size(), 128u);
    EXPECT_TRUE(seen.insert(piece.data()).second);
  }
  EXPECT_EQ(ring.Next().data(), first);
  EXPECT_EQ(static_cast<size_t>(*seen.rbegin() - *seen.begin()), 9u * 128);
}

TEST(ColdMemoryTest, ARingIsNeverSmallerThanAPiece) {
  Ring ring(1, 4096);
  EXPECT_EQ(ring.Next().size(), 4096u);
}

TEST(ColdMemoryTest, MemoryIsZeroAndASweepLeavesItAlone) {
  Memory memory(8192);
  CacheSweep sweep;
  sweep.Sweep();
  EXPECT_EQ(ReadOnce({memory.data(), memory.size()}), 0u);
}

}  // namespace
}  // namespace cistern::tools
