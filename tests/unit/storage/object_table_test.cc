// Objects by id and by slot, in the order of ids.
#include "storage/index/object_table.h"

#include <iterator>
#include <random>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cistern::storage {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

std::vector<uint64_t> Ids(ObjectTable::Iterator begin, const ObjectTable::Iterator& end) {
  std::vector<uint64_t> ids;
  for (; begin != end; ++begin) ids.push_back((*begin)->id);
  return ids;
}

TEST(ObjectTable, ObjectsAreFoundByTheirIdsAndListedInTheirOrder) {
  constexpr uint64_t kLarge = (uint64_t{1} << 33) + 1;
  ObjectTable table;
  Object* const three = table.Add(3);
  table.Add(5);
  Object* const large = table.Add(kLarge);
  EXPECT_EQ(table.Find(3), three);
  EXPECT_EQ(table.Find(kLarge), large);
  EXPECT_EQ(table.Find(1), nullptr) << "the low half of another's id";
  EXPECT_EQ(&table.slots()[three->slot], three);
  EXPECT_THAT(Ids(table.begin(), table.end()), ElementsAre(3, 5, kLarge));
  EXPECT_THAT(Ids(table.From(4), table.end()), ElementsAre(5, kLarge));
}

TEST(ObjectTable, WhatIsRemovedIsNotFoundWhoeverHasItsSlot) {
  ObjectTable table;
  Object* const first = table.Add(1);
  first->leases = 7;
  table.Remove(first);
  EXPECT_EQ(table.Find(1), nullptr);
  Object* const second = table.Add(2);
  EXPECT_EQ(second, first) << "slots are used again";
  EXPECT_EQ(second->leases, 0u);
  EXPECT_EQ(table.Find(1), nullptr);
  EXPECT_EQ(table.Find(2), second);
  EXPECT_THAT(Ids(table.begin(), table.end()), ElementsAre(2));
}

// Ids on both sides of where the high half changes, and far away: as a plain map has them.
TEST(ObjectTable, IdsOfAnySizeAreInOrder) {
  ObjectTable table;
  std::set<uint64_t> model;
  std::mt19937_64 random(1);
  uint64_t next = (uint64_t{1} << 32) - 200;
  for (int step = 0; step < 2000; ++step) {
    if (step % 400 == 399) next = (((next >> 32) + 1 + random() % 3) << 32) - random() % 100;
    if (random() % 3 != 0) {
      next += 1 + random() % 3;
      table.Add(next);
      model.insert(next);
    } else if (!model.empty()) {
      const auto it = random() % 2 == 0 ? model.begin() : std::prev(model.end());
      table.Remove(table.Find(*it));
      EXPECT_EQ(table.Find(*it), nullptr);
      model.erase(it);
    }
    if (step % 20 != 0) continue;
    ASSERT_THAT(Ids(table.begin(), table.end()), ElementsAreArray(model));
    const uint64_t from = next - random() % 300;
    ASSERT_THAT(Ids(table.From(from), table.end()),
                ElementsAreArray(std::vector<uint64_t>(model.lower_bound(from), model.end())));
  }
}

}  // namespace
}  // namespace cistern::storage
