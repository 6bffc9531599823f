// Slots come fresh, at addresses that stay, and come back when they were given.
#include "storage/policy/slot_pool.h"

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
  std::vector<Thing*> taken;
  for (int i = 0; i < 1000; ++i) {
    taken.push_back(pool.Take());
    EXPECT_EQ(taken.back()->number, 7);
    taken.back()->number = 1000 + i;
    taken.back()->more.assign(3, i);
  }
  EXPECT_EQ(std::set<Thing*>(taken.begin(), taken.end()).size(), taken.size());
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(taken[static_cast<size_t>(i)]->number, 1000 + i);
  std::set<Thing*> given;
  for (size_t i = 0; i < taken.size(); i += 2) {
    pool.Give(taken[i]);
    given.insert(taken[i]);
  }
  for (size_t i = 0; i < given.size(); ++i) {
    Thing* again = pool.Take();
    EXPECT_TRUE(given.contains(again));
    EXPECT_EQ(again->number, 7) << "what was there before is left";
    EXPECT_TRUE(again->more.empty());
  }
  EXPECT_FALSE(given.contains(pool.Take()));
}

}  // namespace
}  // namespace cistern::storage
