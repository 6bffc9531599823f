// A reader believes a mapping only when its header is one of ours and stays inside of it.
#include "base/arena_layout.h"

#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"

namespace cistern::base {
namespace {

constexpr uint64_t kBytes = 4096;

// An arena of 8 handles whose table ends where the slabs begin.
class ArenaLayoutTest : public testing::Test {
 protected:
  ArenaLayoutTest() : words_(kBytes / sizeof(uint64_t)) {
    header() = {.magic = kArenaMagic,
                .version = kArenaVersion,
                .num_handles = 8,
                .incarnation = 42,
                .arena_bytes = kBytes,
                .table_offset = 64,
                .slabs_offset = 64 + 8 * sizeof(uint32_t)};
  }
  ArenaHeader& header() { return *reinterpret_cast<ArenaHeader*>(words_.data()); }
  absl::Status Check() { return CheckArenaHeader(words_.data(), kBytes); }

  std::vector<uint64_t> words_;
};

// The bytes are a promise to processes of other builds.
TEST_F(ArenaLayoutTest, OffsetsAreFixed) {
  EXPECT_EQ(offsetof(ArenaHeader, magic), 0u);
  EXPECT_EQ(offsetof(ArenaHeader, version), 8u);
  EXPECT_EQ(offsetof(ArenaHeader, num_handles), 12u);
  EXPECT_EQ(offsetof(ArenaHeader, incarnation), 16u);
  EXPECT_EQ(offsetof(ArenaHeader, arena_bytes), 24u);
  EXPECT_EQ(offsetof(ArenaHeader, table_offset), 32u);
  EXPECT_EQ(offsetof(ArenaHeader, slabs_offset), 40u);
  EXPECT_EQ(std::memcmp(words_.data(), "CISTERN1", 8), 0);
}

TEST_F(ArenaLayoutTest, AcceptsAnArena) {
  EXPECT_TRUE(Check().ok()) << Check();
  header().slabs_offset = kBytes;  // no slab yet
  EXPECT_TRUE(Check().ok()) << Check();
}

TEST_F(ArenaLayoutTest, ReadsTheGenerationOfEachHandle) {
  auto* table = reinterpret_cast<uint32_t*>(reinterpret_cast<char*>(words_.data()) + 64);
  for (uint32_t handle = 0; handle < 8; ++handle) table[handle] = 100 + handle;
  for (uint32_t handle = 0; handle < 8; ++handle) {
    EXPECT_EQ(ReadGeneration(words_.data(), handle), 100 + handle);
  }
}

TEST_F(ArenaLayoutTest, RefusesOtherMappings) {
  EXPECT_INVALID(CheckArenaHeader(words_.data(), sizeof(ArenaHeader) - 1), "no room");
  header().magic ^= 1;
  EXPECT_INVALID(Check(), "not a Cistern arena");
  header().magic ^= 1;
  header().version = 2;
  EXPECT_INVALID(Check(), "layout version 2; this build reads version 1");
}

TEST_F(ArenaLayoutTest, RefusesPartsOutsideOfTheMapping) {
  const ArenaHeader good = header();
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  header().arena_bytes = kBytes + 1;
  EXPECT_INVALID(Check(), "4097 bytes, mapped are 4096");
  for (const uint64_t table_offset :
       {uint64_t{0}, uint64_t{47}, uint64_t{65}, kBytes - 4, kBytes, kBytes + 4, kHuge - 3}) {
    header() = good;
    header().table_offset = table_offset;
    EXPECT_INVALID(Check(), "outside of the mapping");
  }
  for (const uint64_t slabs_offset : {uint64_t{0}, uint64_t{95}, kBytes + 1, kHuge}) {
    header() = good;
    header().slabs_offset = slabs_offset;
    EXPECT_INVALID(Check(), "outside of the mapping");
  }
  header() = good;
  header().num_handles = 0xffffffff;
  EXPECT_INVALID(Check(), "outside of the mapping");
}

TEST_F(ArenaLayoutTest, BlockRefsCompareByAllFields) {
  const BlockRef ref{.handle = 1, .generation = 2, .offset = 3};
  EXPECT_EQ(ref, (BlockRef{1, 2, 3}));
  EXPECT_NE(ref, (BlockRef{0, 2, 3}));
  EXPECT_NE(ref, (BlockRef{1, 0, 3}));
  EXPECT_NE(ref, (BlockRef{1, 2, 0}));
}

}  // namespace
}  // namespace cistern::base
