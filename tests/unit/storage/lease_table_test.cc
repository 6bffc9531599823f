// Leases by id, by session and by age, beside a plain map of them.
#include "storage/lease_table.h"

#include <map>
#include <random>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/index/object.h"

namespace cistern::storage {
namespace {

using testing::ElementsAreArray;

absl::Time At(int64_t seconds) { return absl::FromUnixSeconds(seconds); }

std::vector<uint64_t> IdsByAge(const LeaseTable& table) {
  std::vector<uint64_t> ids;
  for (const HeldLease* lease = table.Oldest(); lease != nullptr; lease = table.NextByAge(*lease))
    ids.push_back(lease->id);
  return ids;
}

std::vector<uint64_t> IdsOf(const LeaseTable& table, const LeaseList& list) {
  std::vector<uint64_t> ids;
  for (const HeldLease* lease = table.First(list); lease != nullptr;
       lease = table.NextOfSession(*lease))
    ids.push_back(lease->id);
  return ids;
}

TEST(LeaseTable, AnIdIsOneLeasesForEver) {
  LeaseTable table;
  LeaseList list;
  Object object;
  const uint64_t first = table.Add(&list, 7, &object, At(1));
  EXPECT_NE(first, 0u);
  ASSERT_NE(table.Find(first), nullptr);
  EXPECT_EQ(table.Find(first)->session, 7u);
  EXPECT_EQ(table.Find(first)->object, &object);
  table.Remove(&list, first);
  EXPECT_EQ(table.Find(first), nullptr);
  const uint64_t second = table.Add(&list, 8, &object, At(2));
  EXPECT_NE(second, first);
  EXPECT_EQ(table.Find(first), nullptr) << "its slot is another one's";
  EXPECT_EQ(table.Find(second)->session, 8u);
  for (const uint64_t stranger : {uint64_t{0}, second + 1, UINT64_MAX, uint64_t{1} << 40})
    EXPECT_EQ(table.Find(stranger), nullptr) << stranger;
}

TEST(LeaseTable, WhereTheClockIsSetBackALeaseIsAsOldAsTheOneBefore) {
  LeaseTable table;
  LeaseList list;
  Object object;
  const uint64_t first = table.Add(&list, 1, &object, At(100));
  const uint64_t second = table.Add(&list, 1, &object, At(50));
  EXPECT_EQ(table.Find(second)->since, At(100));
  table.Remove(&list, first);
  table.Remove(&list, second);
  EXPECT_EQ(table.Find(table.Add(&list, 1, &object, At(50)))->since, At(50));
}

TEST(LeaseTable, HoldsWhatAMapHolds) {
  std::mt19937_64 random(1);
  LeaseTable table;
  LeaseList lists[3];
  Object object;
  std::vector<std::pair<uint64_t, uint64_t>> held;  // ids and sessions, oldest first
  for (int step = 0; step < 20000; ++step) {
    const bool grow = step % 4000 < 2000;
    if (held.empty() || random() % 10 < (grow ? 6 : 4)) {
      const uint64_t session = random() % 3;
      const uint64_t id = table.Add(&lists[session], session, &object, At(step));
      held.emplace_back(id, session);
    } else {
      const auto it = held.begin() + static_cast<ptrdiff_t>(random() % held.size());
      ASSERT_NE(table.Find(it->first), nullptr);
      table.Remove(&lists[it->second], it->first);
      ASSERT_EQ(table.Find(it->first), nullptr);
      held.erase(it);
    }
    ASSERT_EQ(table.size(), held.size());
    if (step % 500 != 0) continue;
    std::vector<uint64_t> all;
    std::map<uint64_t, std::vector<uint64_t>> of;
    for (const auto& [id, session] : held) {
      all.push_back(id);
      of[session].push_back(id);
    }
    ASSERT_THAT(IdsByAge(table), ElementsAreArray(all));
    for (uint64_t session = 0; session < 3; ++session) {
      ASSERT_THAT(IdsOf(table, lists[session]), ElementsAreArray(of[session]));
      ASSERT_EQ(lists[session].size, of[session].size());
    }
  }
}

}  // namespace
}  // namespace cistern::storage
