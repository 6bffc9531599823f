// Slots come fresh, at addresses that stay, and come back when they were given.
#include "storage/slot_pool.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace cistern::storage {
namespace {

struct Thing {
  int number = 7;
  std::vector<int> more;
};

TEST(SlotPool, SlotsStayWhereTheyAreAndAreUsedAgain) {
  SlotPool<Thing> pool;
  std::vector<Slot> taken;
  std::vector<Thing*> things;
  for (int i = 0; i < 1000; ++i) {
    taken.push_back(pool.Take());
    EXPECT_NE(taken.back(), kNoSlot);
    things.push_back(&pool[taken.back()]);
    EXPECT_EQ(things.back()->number, 7);
    things.back()->number = 1000 + i;
    things.back()->more.assign(3, i);
  }
  EXPECT_EQ(std::set<Slot>(taken.begin(), taken.end()).size(), taken.size());
  for (size_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(&pool[taken[i]], things[i]);
    EXPECT_EQ(things[i]->number, 1000 + static_cast<int>(i));
  }
  std::set<Slot> given;
  for (size_t i = 0; i < taken.size(); i += 2) {
    pool.Give(taken[i]);
    given.insert(taken[i]);
  }
  for (size_t i = 0; i < given.size(); ++i) {
    const Slot again = pool.Take();
    EXPECT_TRUE(given.contains(again));
    EXPECT_EQ(pool[again].number, 7) << "what was there before is left";
    EXPECT_TRUE(pool[again].more.empty());
  }
  EXPECT_FALSE(given.contains(pool.Take()));
}

}  // namespace
}  // namespace cistern::storage
