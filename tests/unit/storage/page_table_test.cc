// Handles: a stale reference is always recognised.
#include "storage/pool/page_table.h"

#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {
namespace {

TEST(PageTable, KnowsWhatItMinted) {
  const auto arena = TestArena(64 << 10);
  PageTable table(arena.get());
  const Handle handle = table.Mint(5, 2);
  EXPECT_NE(handle, kNoHandle);
  EXPECT_TRUE(table.IsLive(handle));
  EXPECT_EQ(table.at(handle).slab, 5u);
  EXPECT_EQ(table.at(handle).index, 2u);
  EXPECT_TRUE(table.Check(handle, table.generation(handle)).ok());
}

TEST(PageTable, AStaleHandleIsCaught) {
  const auto arena = TestArena(64 << 10);
  PageTable table(arena.get());
  const Handle handle = table.Mint(0, 0);
  const uint32_t stale = table.generation(handle);
  table.Retire(handle);
  EXPECT_FALSE(table.IsLive(handle));
  EXPECT_TRUE(absl::IsFailedPrecondition(table.Check(handle, stale)));
  while (table.Mint(0, 0) != handle) {
  }
  EXPECT_TRUE(table.IsLive(handle)) << "the handle names another block now";
  EXPECT_TRUE(absl::IsFailedPrecondition(table.Check(handle, stale)));
  EXPECT_TRUE(table.Check(handle, table.generation(handle)).ok());
}

TEST(PageTable, RefusesHandlesThatNeverWere) {
  const auto arena = TestArena(64 << 10);
  const PageTable table(arena.get());
  EXPECT_TRUE(absl::IsInvalidArgument(table.Check(kNoHandle, 0)));
  EXPECT_TRUE(absl::IsInvalidArgument(table.Check(1000, 0)));
  EXPECT_TRUE(absl::IsFailedPrecondition(table.Check(3, 0)));
}

TEST(PageTable, RunsOutAndComesBackInTheOrderOfRetirement) {
  const auto arena = TestArena(64 << 10, 3);
  PageTable table(arena.get());
  EXPECT_EQ(table.available(), 3u);
  const Handle a = table.Mint(0, 0);
  const Handle b = table.Mint(0, 1);
  const Handle c = table.Mint(0, 2);
  EXPECT_EQ(std::set<Handle>({a, b, c}).size(), 3u);
  EXPECT_EQ(table.Mint(0, 3), kNoHandle);
  table.Retire(b);
  table.Retire(a);
  EXPECT_EQ(table.Mint(0, 0), b);
  EXPECT_EQ(table.Mint(0, 0), a);
  EXPECT_EQ(table.Mint(0, 0), kNoHandle);
  EXPECT_EQ(table.live(), 3u);
}

// After 2^32 turns a number would come again, and a reader that slept through them all would be
// fooled.
TEST(PageTable, AHandleWhoseGenerationsAreUsedUpNeverComesBack) {
  const auto arena = TestArena(64 << 10, 2);
  auto* generations = reinterpret_cast<uint32_t*>(arena->At(arena->header().table_offset));
  PageTable table(arena.get());
  const Handle worn = table.Mint(0, 0);
  generations[worn] = std::numeric_limits<uint32_t>::max() - 1;
  table.Retire(worn);
  EXPECT_EQ(table.available(), 1u);
  EXPECT_NE(table.Mint(0, 0), worn);
  EXPECT_EQ(table.Mint(0, 0), kNoHandle);
}

TEST(PageTable, ARowStaysTogetherAndKeepsItsGenerations) {
  const auto arena = TestArena(64 << 10, 10);
  PageTable table(arena.get());
  const Handle row = table.Bind(4);
  EXPECT_EQ(table.available(), 10u) << "it names nothing yet";
  EXPECT_FALSE(table.IsLive(row + 2));
  table.Name(row + 2, 7, 2);
  EXPECT_EQ(table.at(row + 2).slab, 7u);
  EXPECT_EQ(table.at(row + 2).index, 2u);
  EXPECT_EQ(table.available(), 9u);
  const uint32_t stale = table.generation(row + 2);
  EXPECT_TRUE(table.RetireBound(row + 2));
  EXPECT_TRUE(absl::IsFailedPrecondition(table.Check(row + 2, stale)));
  table.Name(row + 2, 7, 2);
  EXPECT_TRUE(absl::IsFailedPrecondition(table.Check(row + 2, stale)));
  EXPECT_TRUE(table.Check(row + 2, stale + 1).ok());
  EXPECT_TRUE(table.CheckInvariants(/*bound_free=*/3).ok());
  EXPECT_FALSE(table.CheckInvariants(/*bound_free=*/2).ok());
}

TEST(PageTable, RowsMergeAndASingleIsOfNoRow) {
  const auto arena = TestArena(64 << 10, 100);
  PageTable table(arena.get());
  const Handle a = table.Bind(40);
  const Handle b = table.Bind(40);
  EXPECT_EQ(table.Bind(40), kNoHandle);
  table.Unbind(a);
  table.Unbind(b);
  const Handle all = table.Bind(100);
  EXPECT_NE(all, kNoHandle);
  EXPECT_EQ(table.Mint(0, 0), kNoHandle) << "they are all in the row";
  table.Name(all + 1, 3, 1);
  table.Loosen(all, 100);
  EXPECT_TRUE(table.IsLive(all + 1));
  std::set<Handle> singles;
  while (table.available() > 0) singles.insert(table.Mint(0, 0));
  EXPECT_EQ(singles.size(), 99u);
  EXPECT_FALSE(singles.contains(all + 1));
  table.Retire(all + 1);
  EXPECT_EQ(table.Mint(0, 0), all + 1);
  EXPECT_TRUE(table.CheckInvariants(0).ok());
}

}  // namespace
}  // namespace cistern::storage
