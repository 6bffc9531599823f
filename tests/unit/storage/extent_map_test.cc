// Extents: merged when free, best fit when taken.
#include "storage/pool/extent_map.h"

#include <random>

#include <gtest/gtest.h>

namespace cistern::storage {
namespace {

TEST(ExtentMap, TakesFromTheBeginningAndMergesOnReturn) {
  ExtentMap map(1000, 300);
  EXPECT_EQ(map.largest_free(), 300u);
  const auto a = map.Take(100, 1);
  const auto b = map.Take(100, 2);
  const auto c = map.Take(100, 3);
  EXPECT_EQ(a, 1000u);
  EXPECT_EQ(b, 1100u);
  EXPECT_EQ(c, 1200u);
  EXPECT_EQ(map.largest_free(), 0u);
  EXPECT_EQ(map.Take(1, 4), std::nullopt);
  map.Give(*a);
  map.Give(*c);
  EXPECT_EQ(map.largest_free(), 100u);
  map.Give(*b);  // joins both neighbours
  EXPECT_EQ(map.largest_free(), 300u);
  EXPECT_EQ(map.extents().size(), 1u);
  EXPECT_TRUE(map.CheckInvariants().ok());
}

TEST(ExtentMap, TakesTheSmallestThatIsLargeEnough) {
  ExtentMap map(0, 1000);
  const auto wide = map.Take(400, 1);
  map.Take(10, 2);
  const auto narrow = map.Take(200, 3);
  map.Take(390, 4);
  map.Give(*wide);
  map.Give(*narrow);
  EXPECT_EQ(map.Take(150, 5), narrow);
  EXPECT_EQ(map.Take(150, 6), wide);
  EXPECT_EQ(map.Take(500, 7), std::nullopt) << "enough bytes, but not in one piece";
  EXPECT_TRUE(map.CheckInvariants().ok());
}

TEST(ExtentMap, WhatIsHeldIsNotTaken) {
  ExtentMap map(0, 300);
  map.Take(100, 1);
  map.Take(100, 2);
  map.Hold(200);  // free until now
  EXPECT_EQ(map.largest_free(), 0u);
  EXPECT_EQ(map.free_bytes(), 0u);
  map.Hold(100);  // a slab's until now
  map.Give(0);
  EXPECT_EQ(map.largest_free(), 100u) << "what is held does not merge";
  EXPECT_EQ(map.Take(150, 3), std::nullopt);
  map.Give(100);
  map.Give(200);
  EXPECT_EQ(map.largest_free(), 300u);
  EXPECT_TRUE(map.CheckInvariants().ok()) << map.CheckInvariants();
}

TEST(ExtentMap, RandomUseKeepsTheTiling) {
  std::mt19937_64 random(3);
  ExtentMap map(128, 1 << 20);
  std::vector<std::pair<uint64_t, uint64_t>> taken;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < 20000; ++i) {
    if (taken.empty() || random() % 2 == 0) {
      const uint64_t want = 1 + random() % 60000;
      const bool fits = map.largest_free() >= want;
      const auto at = map.Take(want, i);
      ASSERT_EQ(at.has_value(), fits);
      if (fits) taken.emplace_back(*at, want);
      if (fits) bytes += want;
    } else {
      const size_t pick = random() % taken.size();
      map.Give(taken[pick].first);
      bytes -= taken[pick].second;
      taken.erase(taken.begin() + static_cast<ptrdiff_t>(pick));
    }
    ASSERT_EQ(map.free_bytes() + bytes, 1u << 20);
    ASSERT_TRUE(i % 64 != 0 || map.CheckInvariants().ok());
  }
}

}  // namespace
}  // namespace cistern::storage
