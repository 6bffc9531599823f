// Keys are the same on every machine and in every version, and differ with all that they name. The
// golden values were computed outside of this code base, from libxxhash and the text of base/key.h.
#include "base/key.h"

#include <array>
#include <numeric>
#include <set>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"

namespace cistern::base {
namespace {

constexpr Key kModel{0x0123456789abcdef, 0xfedcba9876543210};
constexpr std::array<TokenId, 4> kTokens = {1, 2, 3, 100000};

std::vector<TokenId> Iota(size_t count) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

TEST(KeyTest, HexRoundTrip) {
  for (const Key& key : {Key{}, kModel, Key{~0ull, 1}, Key{0, ~0ull}}) {
    const absl::StatusOr<Key> back = Key::FromHex(key.ToHex());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, key);
  }
  EXPECT_EQ(kModel.ToHex(), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(Key::FromHex("0123456789ABCDEFfedcba9876543210").value(), kModel);
}

TEST(KeyTest, FromHexRefusesWhatIsNotAKey) {
  for (const char* text :
       {"", "0123", "0123456789abcdeffedcba987654321", "0123456789abcdeffedcba98765432100",
        "0123456789abcdeg0123456789abcdef", "0123456789abcdef 123456789abcdef",
        "0x23456789abcdef0123456789abcdef", "-123456789abcdef0123456789abcdef"}) {
    EXPECT_INVALID(Key::FromHex(text), "32 hex digits");
  }
}

TEST(KeyTest, OrderFollowsHex) {
  EXPECT_LT((Key{1, ~0ull}), (Key{2, 0}));
  EXPECT_LT((Key{1, 1}), (Key{1, 2}));
  EXPECT_TRUE(Key{}.IsZero());
  EXPECT_FALSE((Key{1, 0}.IsZero()));
  EXPECT_FALSE((Key{0, 1}.IsZero()));
}

TEST(KeyTest, HashTableTellsKeysApartThatShareALowHalf) {
  const absl::flat_hash_set<Key> keys = {Key{1, 7}, Key{2, 7}, Key{1, 7}};
  EXPECT_EQ(keys.size(), 2u);
}

TEST(KeyTest, HashBytesIsPublishedXxh3) {
  EXPECT_EQ(HashBytes("").ToHex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(HashBytes("cistern").ToHex(), "fc5626f9fe0c01f7795ecf79bd004882");
  constexpr absl::string_view kText = "cistern";
  EXPECT_EQ(HashBytes(std::as_bytes(std::span(kText.data(), kText.size()))), HashBytes(kText));
}

TEST(KeyTest, GoldenValuesWithoutSalt) {
  const KeySpace space(kModel, "");
  const Key content = space.Content(kTokens);
  EXPECT_EQ(content.ToHex(), "1fa117f67781b3b9098484b5609b795e");
  EXPECT_EQ(space.ContextSeed().ToHex(), "30e2428263491ea1bfd5db5e43ef71b3");
  const Key context = KeySpace::Context(space.ContextSeed(), content);
  EXPECT_EQ(context.ToHex(), "65eae4e6f4bf7fed097eac27843d9881");
  const Key long_content = space.Content(Iota(500));
  EXPECT_EQ(long_content.ToHex(), "181dddbbff52bd8cee2cbfa1f8866f78");
  EXPECT_EQ(KeySpace::Context(context, long_content).ToHex(), "5a1c2179debecb1d7b90a1fb96df70c0");
  EXPECT_EQ(space.tenant(), 0u);
}

TEST(KeyTest, GoldenValuesWithSalt) {
  const KeySpace space(kModel, "tenant-a");
  const Key content = space.Content(kTokens);
  EXPECT_EQ(content.ToHex(), "3d1704561c123d06827bfc65a9548812");
  EXPECT_EQ(space.ContextSeed().ToHex(), "4528e7f5f045043f7994df7d14ccd6fd");
  const Key context = KeySpace::Context(space.ContextSeed(), content);
  EXPECT_EQ(context.ToHex(), "e44077204fc0c5d2823f4f5889d9c491");
  EXPECT_EQ(KeySpace::Context(context, space.Content(Iota(500))).ToHex(),
            "82c4f2da3acf1662edc403135343d36c");
  EXPECT_EQ(space.tenant(), 0xd8919ace7a274aa9u);
}

// Every one of these is another text, model, tenant or kind of hash, so every key is another.
TEST(KeyTest, EverythingThatIsNamedChangesTheKey) {
  const Key other_hi{kModel.hi + 1, kModel.lo};
  const Key other_lo{kModel.hi, kModel.lo + 1};
  std::set<Key> keys;
  size_t expected = 0;
  for (const Key& model : {kModel, other_hi, other_lo}) {
    for (const char* salt : {"", "a", "b", "ab"}) {
      const KeySpace space(model, salt);
      keys.insert(space.ContextSeed());
      for (const std::vector<TokenId>& tokens :
           std::vector<std::vector<TokenId>>{{}, {0}, {0, 0}, {1}, {1, 2}, {2, 1}, {1, 2, 3}}) {
        keys.insert(space.Content(tokens));
      }
      expected += 8;
    }
  }
  EXPECT_EQ(keys.size(), expected);
}

TEST(KeyTest, ContextDependsOnTheWholePast) {
  const KeySpace space(kModel, "");
  const Key a = space.Content(Iota(10));
  const Key b = space.Content(Iota(11));
  const Key ab = KeySpace::Context(KeySpace::Context(space.ContextSeed(), a), b);
  const Key bb = KeySpace::Context(KeySpace::Context(space.ContextSeed(), b), b);
  const Key ba = KeySpace::Context(KeySpace::Context(space.ContextSeed(), b), a);
  const Key only_b = KeySpace::Context(space.ContextSeed(), b);
  EXPECT_EQ((std::set<Key>{ab, bb, ba, only_b, a, b}).size(), 6u);
  EXPECT_EQ(ab, KeySpace::Context(KeySpace::Context(space.ContextSeed(), a), b));
}

TEST(KeyTest, TenantIsANameForTheSalt) {
  EXPECT_EQ(TenantOf(""), 0u);
  EXPECT_EQ(TenantOf("tenant-a"), KeySpace(Key{9, 9}, "tenant-a").tenant());
  EXPECT_NE(TenantOf("tenant-a"), TenantOf("tenant-b"));
}

}  // namespace
}  // namespace cistern::base
