#include "base/blob_key.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace cistern::base {
namespace {

TEST(BlobKeyTest, SaltAndNameAreKeptApart) {
  std::set<Key> keys;
  for (const std::string salt : {"", "a", "ab", "1:"}) {
    for (const std::string name : {"", "b", "bc", "abc", "1:abc"}) keys.insert(BlobKey(salt, name));
  }
  EXPECT_EQ(keys.size(), 20u);
  EXPECT_EQ(BlobKey("a", "bc"), BlobKey("a", "bc"));
}

// Processes of other builds must find what this one has stored. Value: XXH3-128 of "blob:1:abc" by
// the xxhsum program.
TEST(BlobKeyTest, IsTheSameEverywhere) {
  EXPECT_EQ(BlobKey("a", "bc").ToHex(), "45a2e4e5dbbb1c458ad1f4e4f7c55b01");
}

}  // namespace
}  // namespace cistern::base
