// The chunker: bounds, structure, pieces, and that boundaries find themselves again after an edit.
#include "client_lib/src/chunker.h"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cistern::client {
namespace {

using base::TokenId;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<TokenId> RandomTokens(size_t count, uint64_t seed, TokenId vocabulary = 128000) {
  std::mt19937_64 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % vocabulary);
  return tokens;
}

std::vector<uint32_t> Sizes(const std::vector<uint32_t>& ends) {
  std::vector<uint32_t> sizes;
  for (size_t i = 0; i < ends.size(); ++i) sizes.push_back(ends[i] - (i == 0 ? 0 : ends[i - 1]));
  return sizes;
}

// The text of each chunk: what content keys are made of.
std::multiset<std::vector<TokenId>> Texts(const std::vector<TokenId>& tokens,
                                          const std::vector<uint32_t>& ends) {
  std::multiset<std::vector<TokenId>> texts;
  uint32_t begin = 0;
  for (uint32_t end : ends) {
    texts.emplace(tokens.begin() + begin, tokens.begin() + end);
    begin = end;
  }
  return texts;
}

TEST(ChunkerTest, NoTokensNoChunks) { EXPECT_THAT(ChunkEnds({}, {}, {}), IsEmpty()); }

TEST(ChunkerTest, ChunksCoverTheTokensWithinTheBounds) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto tokens = RandomTokens(1 + seed * 977, seed);
    const auto ends = ChunkEnds(tokens, {}, {});
    ASSERT_EQ(ends.back(), tokens.size()) << "seed " << seed;
    auto sizes = Sizes(ends);
    sizes.pop_back();  // the last one may be short
    for (uint32_t size : sizes) {
      EXPECT_GE(size, Chunker::kMinTokens) << "seed " << seed;
      EXPECT_LE(size, Chunker::kMaxTokens) << "seed " << seed;
    }
  }
}

TEST(ChunkerTest,
     TheAverageIsNear156) {  // 1.22 of the parameter: models.md of the reference, and our own count
  const auto tokens = RandomTokens(2'000'000, 5);
  const double mean = 2e6 / static_cast<double>(ChunkEnds(tokens, {}, {}).size());
  EXPECT_GT(mean, 140);
  EXPECT_LT(mean, 170);
}

// These very numbers are in every key that is stored anywhere: if this fails, the change must be
// undone.
TEST(ChunkerTest, BoundariesNeverChange) {
  std::vector<TokenId> tokens(2000);
  for (uint32_t i = 0; i < tokens.size(); ++i) tokens[i] = i * 2654435761u % 100003;
  EXPECT_THAT(ChunkEnds(tokens, {}, {}),
              ElementsAre(191, 224, 426, 578, 778, 919, 1109, 1143, 1298, 1437, 1857, 1966, 2000));
  const std::vector<uint32_t> parts = {5, 700, 700, 701};
  EXPECT_THAT(ChunkEnds(tokens, parts, {}), ElementsAre(5, 191, 224, 426, 578, 700, 701, 919, 1109,
                                                        1143, 1298, 1437, 1857, 1966, 2000));
}

TEST(ChunkerTest, ConstantInputCutsOnlyAtTheMaximum) {
  const std::vector<TokenId> tokens(1200, 42);
  EXPECT_THAT(ChunkEnds(tokens, {}, {}), ElementsAre(512, 1024, 1200));
}

TEST(ChunkerTest, PartsBeginChunks) {
  const auto tokens = RandomTokens(3000, 2);
  const std::vector<uint32_t> parts = {0, 10, 10, 900, 2999, 3000};
  const auto ends = ChunkEnds(tokens, parts, {});
  for (uint32_t part : {10u, 900u, 2999u, 3000u}) {
    EXPECT_TRUE(std::binary_search(ends.begin(), ends.end(), part)) << part;
  }
  EXPECT_EQ(ends.front(), 10u);
}

TEST(ChunkerTest, BoundaryTokensBeginChunks) {
  auto tokens = RandomTokens(1000, 3);
  const std::vector<TokenId> markers = {128001, 0xfffffff0};  // one in the bitmap, one beyond it
  for (uint32_t at : {0u, 7u, 8u, 500u}) tokens[at] = markers[at % 2];
  const auto ends = ChunkEnds(tokens, {}, markers);
  for (uint32_t at : {7u, 8u, 500u}) {
    EXPECT_TRUE(std::binary_search(ends.begin(), ends.end(), at)) << at;
  }
  EXPECT_EQ(ends.front(), 7u);
}

TEST(ChunkerTest, APartIsCutTheSameWherever) {
  const auto part = RandomTokens(5000, 11);
  const auto alone = ChunkEnds(part, {}, {});
  for (uint32_t before : {1u, 15u, 16u, 17u, 31u, 200u}) {
    auto tokens = RandomTokens(before, before);
    tokens.insert(tokens.end(), part.begin(), part.end());
    std::vector<uint32_t> expected = {before};
    if (before >= Chunker::kMinTokens) {
      expected = ChunkEnds(std::span(tokens).first(before), {}, {});
    }
    for (uint32_t end : alone) expected.push_back(end + before);
    const std::vector<uint32_t> parts = {before};
    EXPECT_EQ(ChunkEnds(tokens, parts, {}), expected) << before;
  }
}

TEST(ChunkerTest, PiecesGiveTheSameAsAllAtOnce) {
  auto tokens = RandomTokens(20'000, 4);
  for (size_t i = 0; i < tokens.size(); i += 611) tokens[i] = 128002;
  const std::vector<TokenId> markers = {128002};
  const std::vector<uint32_t> parts = {100, 3000, 3001, 12'345};
  const auto expected = ChunkEnds(tokens, parts, markers);
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    std::vector<uint32_t> ends;
    Chunker chunker(markers, &ends);
    for (uint32_t at = 0; at < tokens.size();) {
      const auto next_part = std::upper_bound(parts.begin(), parts.end(), at);
      const uint32_t limit =
          next_part == parts.end() ? static_cast<uint32_t>(tokens.size()) : *next_part;
      const auto count = std::min<uint32_t>(static_cast<uint32_t>(random() % 700), limit - at);
      chunker.Append(std::span(tokens).subspan(at, count));
      at += count;
      if (at == limit) chunker.Boundary();
    }
    chunker.Finish();
    ASSERT_EQ(ends, expected) << "seed " << seed;
  }
}

// After one edit, how much of the text behind it is in chunks that were there before. No markers,
// no structure.
TEST(ChunkerTest, BoundariesComeBackAfterAnEdit) {
  uint64_t lost = 0;
  constexpr uint32_t kTrials = 200, kTokens = 4000;
  for (uint64_t seed = 1; seed <= kTrials; ++seed) {
    const auto before = RandomTokens(kTokens, seed, 30'000);
    auto after = before;
    std::mt19937_64 random(seed);
    const size_t at = 1000 + random() % 1000;
    switch (seed % 3) {
      case 0:
        after.insert(after.begin() + at, 1 + random() % 40, 77);
        break;
      case 1:
        after.erase(after.begin() + at, after.begin() + at + 1 + random() % 40);
        break;
      default:
        after[at] ^= 1;
    }
    const auto known = Texts(before, ChunkEnds(before, {}, {}));
    for (const auto& text : Texts(after, ChunkEnds(after, {}, {}))) {
      if (known.count(text) == 0) lost += text.size();
    }
  }
  EXPECT_LT(lost / kTrials, 300u);  // two chunks, about
}

TEST(ChunkerTest, AShiftedTextIsFoundAgainWithoutMarkers) {
  const auto text = RandomTokens(20'000, 9);
  const auto known = Texts(text, ChunkEnds(text, {}, {}));
  for (uint32_t header : {1u, 50u, 333u}) {
    auto shifted = RandomTokens(header, 100 + header);
    shifted.insert(shifted.end(), text.begin(), text.end());
    uint64_t found = 0;
    for (const auto& chunk : Texts(shifted, ChunkEnds(shifted, {}, {}))) {
      if (known.count(chunk) != 0) found += chunk.size();
    }
    EXPECT_GT(found, text.size() * 95 / 100) << "header of " << header;
  }
}

}  // namespace
}  // namespace cistern::client
