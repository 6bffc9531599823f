// In which order objects of several pools and tenants go.
#include "storage/policy/victim_book.h"

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/index/object_table.h"
#include "storage/policy/tenant_ledger.h"
#include "storage/policy/victim_queue.h"
#include "tests/unit/storage/stored_fixture.h"

namespace cistern::storage {
namespace {

using ::testing::ElementsAre;

// Objects of 1000 bytes, numbered as they come.
class VictimBookTest : public testing::TestWithParam<absl::string_view> {
 protected:
  void Reset(const std::string& policy, std::vector<uint32_t> priorities) {
    book_ = std::make_unique<VictimBook>(policy, std::move(priorities), table_.slots());
    objects_.clear();
  }
  Object& Enter(PoolId pool, uint32_t rule, double cost, Rung rung = Rung::kLeaf) {
    Object& object = *objects_.emplace_back(table_.Add(objects_.size() + 1));
    object.header = Header(object.id, pool, rule);
    book_->Enter(object, cost, 1000);
    book_->File(object, rung);
    return object;
  }
  StoredHeader Header(uint64_t name, PoolId pool = 0, uint32_t rule = 0) {
    base::ObjectHeader header;
    header.content = {name, name};
    header.tenant = rule;
    header.model = {1, pool};
    return stored_.Of(header, nullptr, pool, rule);
  }
  std::vector<uint64_t> EvictAll() {
    std::vector<uint64_t> victims;
    while (Object* lowest = book_->Lowest()) {
      victims.push_back(lowest->id);
      book_->Leave(*lowest, VictimBook::Exit::kChosen);
    }
    return victims;
  }

  StoredHeaders stored_;
  ObjectTable table_;
  std::vector<Object*> objects_;  // by id, from 1 on
  std::unique_ptr<VictimBook> book_;
};

TEST_F(VictimBookTest, TheLowestOfAllPoolsGoesFirst) {
  Reset("value", {1});
  Enter(0, 0, 9e9);
  Enter(1, 0, 1e9);
  Enter(0, 0, 4e9);
  EXPECT_EQ(book_->LowestOfPool(0)->id, 3u);
  EXPECT_EQ(book_->LowestOfPool(1)->id, 2u);
  EXPECT_EQ(book_->LowestOfPool(2), nullptr);
  EXPECT_THAT(EvictAll(), ElementsAre(2, 3, 1));
  EXPECT_EQ(book_->size(), 0u);
}

TEST_F(VictimBookTest, PoolsShareOneAge) {
  Reset("value", {1});
  const Object& first = Enter(0, 0, 9e9);
  book_->Leave(*objects_[0], VictimBook::Exit::kChosen);
  EXPECT_EQ(book_->inflation(), first.priority);
  const Object& cheap = Enter(1, 0, 1e3);
  EXPECT_GT(cheap.priority, first.priority) << "what comes now outranks what has gone";
  EXPECT_EQ(book_->Value(cheap), cheap.priority - book_->inflation());
}

TEST_F(VictimBookTest, WhatWasInTheWayDoesNotMakeTheOthersOld) {
  Reset("value", {1});
  Enter(0, 0, 9e9);
  book_->Leave(*objects_[0], VictimBook::Exit::kTaken);
  EXPECT_EQ(book_->inflation(), 0u);
  Enter(0, 0, 9e9);
  book_->Leave(*objects_[1], VictimBook::Exit::kErased);
  EXPECT_EQ(book_->inflation(), 0u);
}

TEST_P(VictimBookTest, ALowerPriorityGoesFirstWhateverItIsWorth) {
  Reset(std::string(GetParam()), {5, 0, 2});
  Enter(0, 0, 1);
  Enter(0, 1, 1e12);
  Enter(0, 2, 1e9);
  for (int i = 0; i < 8; ++i) book_->Use(*objects_[1]);
  EXPECT_LT(objects_[1]->priority, objects_[2]->priority);
  EXPECT_LT(objects_[2]->priority, objects_[0]->priority);
  EXPECT_EQ(book_->LowestOfRule(0)->id, 1u);
  EXPECT_EQ(book_->LowestOfRule(2)->id, 3u);
  EXPECT_THAT(EvictAll(), ElementsAre(2, 3, 1));
}

// A state in the middle of a sequence goes before rows, rows at the end before rows in the middle.
TEST_P(VictimBookTest, SpentThenLeavesThenInterior) {
  Reset(std::string(GetParam()), {1});
  Enter(0, 0, 1, Rung::kInterior);
  Enter(0, 0, 1e6, Rung::kLeaf);
  Enter(0, 0, 1e12, Rung::kSpent);
  Enter(1, 0, 1e11, Rung::kSpent);
  for (int i = 0; i < 4; ++i) book_->Use(*objects_[2]);
  book_->File(*objects_[2], Rung::kSpent);
  EXPECT_THAT(EvictAll(), ElementsAre(4, 3, 2, 1));
}

TEST_P(VictimBookTest, WhatIsFiledNowhereStays) {
  Reset(std::string(GetParam()), {1});
  Enter(0, 0, 1);
  Enter(0, 0, 2);
  Enter(0, 0, 3, Rung::kInterior);
  book_->File(*objects_[0], Rung::kNone);
  book_->File(*objects_[2], Rung::kNone);
  EXPECT_EQ(book_->listed(), 1u);
  EXPECT_THAT(EvictAll(), ElementsAre(2));
  EXPECT_EQ(book_->size(), 2u);
  book_->File(*objects_[2], Rung::kLeaf);
  book_->File(*objects_[0], Rung::kInterior);
  EXPECT_THAT(EvictAll(), ElementsAre(3, 1));
}

TEST_P(VictimBookTest, AnInteriorObjectIsRankedByWhatItIsWorthNow) {
  Reset(std::string(GetParam()), {1});
  Enter(0, 0, 5, Rung::kInterior);
  Enter(0, 0, 5, Rung::kInterior);
  book_->Use(*objects_[0]);
  book_->File(*objects_[0], Rung::kInterior);
  EXPECT_THAT(EvictAll(), ElementsAre(2, 1));
}

INSTANTIATE_TEST_SUITE_P(Policies, VictimBookTest, testing::ValuesIn(EvictionPolicyNames()),
                         [](const auto& param_info) { return std::string(param_info.param); });

TEST_F(VictimBookTest, WhatComesBackIsKnownByItsName) {
  Reset("value", {1});
  Enter(0, 0, 5e9);
  const uint64_t once = objects_[0]->priority;
  for (int i = 0; i < 4; ++i) book_->Use(*objects_[0]);
  Enter(0, 0, 1e12);
  book_->Leave(*objects_[0], VictimBook::Exit::kTaken);
  Object& again = *table_.Add(77);
  again.header = Header(objects_[0]->id);
  book_->Enter(again, 5e9, 1000);
  EXPECT_GT(again.priority, once) << "its uses are remembered";
  book_->Leave(again, VictimBook::Exit::kErased);
}

TEST(TenantLedger, RulesByTenantAndTheOthersTogether) {
  TenantLedger ledger({{.tenant = 7, .quota_bytes = 100}, {.tenant = 9, .priority = 4}},
                      {.priority = 2});
  EXPECT_EQ(ledger.RuleOf(7), 0u);
  EXPECT_EQ(ledger.RuleOf(9), 1u);
  EXPECT_EQ(ledger.RuleOf(0), 2u);
  EXPECT_THAT(ledger.Priorities(), ElementsAre(1, 4, 2));
  Tenancy& seven = ledger.at(0);
  seven.stats.used_bytes = 80;
  EXPECT_FALSE(seven.Exceeds(20));
  EXPECT_TRUE(seven.Exceeds(21));
  EXPECT_FALSE(seven.Allows(21)) << "nothing of it may go";
  seven.evictable_bytes = 10;
  EXPECT_TRUE(seven.Allows(30));
  EXPECT_FALSE(seven.Allows(31));
  EXPECT_TRUE(ledger.at(2).Allows(UINT64_MAX)) << "no quota";
}

TEST(VictimQueue, LowestPriorityFirstThenTheOlder) {
  Object a, b, c;
  a.id = 1;
  b.id = 2;
  c.id = 3;
  VictimQueue queue;
  EXPECT_EQ(queue.Lowest(), nullptr);
  queue.Insert(20, &b);
  queue.Insert(30, &a);
  queue.Insert(20, &c);
  EXPECT_EQ(queue.Lowest(), &b);
  queue.Erase(20, b);
  EXPECT_EQ(queue.Lowest(), &c);
  queue.Erase(20, c);
  EXPECT_EQ(queue.Lowest(), &a);
}

}  // namespace
}  // namespace cistern::storage
