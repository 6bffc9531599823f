// The top is the first of what is in the heap, whatever came, went and changed before.
#include "storage/policy/slot_heap.h"

#include <random>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace cistern::storage {
namespace {

struct Entry {
  uint32_t rank = 0;
  uint32_t number = 0;
  uint32_t place = 0;
};
struct Before {
  bool operator()(const Entry& a, const Entry& b) const {
    return std::pair(a.rank, a.number) < std::pair(b.rank, b.number);
  }
};

TEST(SlotHeap, TheTopIsTheFirst) {
  SlotPool<Entry> pool;
  SlotHeap<Ranked<SlotPool<Entry>, Before>> heap({&pool});
  std::vector<Slot> slots;
  for (uint32_t i = 0; i < 300; ++i) {
    slots.push_back(pool.Take());
    pool[slots.back()].number = i;
  }
  std::set<std::pair<uint32_t, uint32_t>> model;
  std::vector<bool> in(slots.size());
  std::mt19937 random(1);
  for (int step = 0; step < 20'000; ++step) {
    const uint32_t i = random() % 300;
    Entry& entry = pool[slots[i]];
    if (in[i]) model.erase({entry.rank, i});
    const bool leaves = in[i] && random() % 2 == 0;
    if (leaves) {
      heap.Erase(slots[i]);
    } else {
      entry.rank = random() % 100;
      model.insert({entry.rank, i});
      if (in[i]) {
        heap.Update(slots[i]);
      } else {
        heap.Insert(slots[i]);
      }
    }
    in[i] = !leaves;
    ASSERT_EQ(heap.empty(), model.empty());
    if (model.empty()) continue;
    ASSERT_EQ(pool[heap.top()].number, model.begin()->second);
  }
}

}  // namespace
}  // namespace cistern::storage
