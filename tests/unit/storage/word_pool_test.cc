// Arrays of words keep what is in them, whatever comes and goes beside them, and chunks go with
// their last one.
#include "storage/word_pool.h"

#include <algorithm>
#include <map>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace cistern::storage {
namespace {

TEST(WordPool, NoWordsAreNoArray) {
  WordPool pool;
  EXPECT_EQ(pool.Take(0), kNoWords);
  pool.Give(kNoWords);
  EXPECT_EQ(pool.arrays(), 0u);
  EXPECT_EQ(pool.chunks(), 0u);
}

TEST(WordPool, EachArrayKeepsItsWords) {
  WordPool pool;
  std::mt19937 random(1);
  std::map<WordsRef, std::vector<uint32_t>> model;
  for (int step = 0; step < 30'000; ++step) {
    if (model.empty() || random() % 100 < (step < 15'000 ? 70u : 30u)) {
      // Many of some lengths, a few of others, up to more than a chunk is large.
      const uint32_t count = random() % 8 == 0 ? 1 + random() % (random() % 50 == 0 ? 40'000 : 600)
                                               : 125 + random() % 4;
      const WordsRef ref = pool.Take(count);
      ASSERT_NE(ref, kNoWords);
      const auto [it, fresh] = model.try_emplace(ref, count, random());
      ASSERT_TRUE(fresh);
      std::ranges::copy(it->second, pool.At(ref));
    } else {
      auto it = model.lower_bound(random() % (model.rbegin()->first + 1));
      ASSERT_TRUE(std::ranges::equal(it->second, std::span(pool.At(it->first), it->second.size())));
      pool.Give(it->first);
      model.erase(it);
    }
    ASSERT_EQ(pool.arrays(), model.size());
  }
  for (const auto& [ref, words] : model)
    EXPECT_TRUE(std::ranges::equal(words, std::span(pool.At(ref), words.size())));
}

TEST(WordPool, ChunksGoAndOneOfALengthStays) {
  WordPool pool;
  std::vector<WordsRef> refs;
  for (int i = 0; i < 10'000; ++i) refs.push_back(pool.Take(i % 2 == 0 ? 128 : 64));
  EXPECT_LT(pool.chunks(), 10'000u / 24) << "they grow with what is in use";
  const uint32_t* first = pool.At(refs[0]);
  for (size_t i = 1; i < refs.size(); ++i) pool.Give(refs[i]);
  EXPECT_EQ(pool.At(refs[0]), first);
  EXPECT_LE(pool.chunks(), 3u);
  pool.Give(refs[0]);
  EXPECT_EQ(pool.chunks(), 2u);
  const WordsRef again = pool.Take(127);
  EXPECT_EQ(pool.chunks(), 2u) << "of the same length, when it is rounded up";
  pool.Give(again);
}

}  // namespace
}  // namespace cistern::storage
