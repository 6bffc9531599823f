// A bounded disk tier: when it is full the cheapest objects leave it.
#include "cacheserver/trim_disk.h"

#include "gtest/gtest.h"

#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using transport::AdminVerb;
using transport::Where;

class TrimDiskTest : public ServiceTest {
 protected:
  void SetUp() override { Make(); }
};

TEST_F(TrimDiskTest, DropsWhatIsOnDiskOnlyTheOldestOfEquals) {
  const auto older = node().Segment(1), younger = node().Segment(2), pinned = node().Segment(3);
  for (const auto& header : {older, younger, pinned}) node().Publish(header);
  node().Send(transport::AdminRequest{.verb = AdminVerb::kPin, .key = pinned.content})->Wait();
  ASSERT_TRUE(node().Send(transport::AdminRequest{.verb = AdminVerb::kFlush})->WaitStatus().ok());
  node().store_->With([](storage::Store& store) {  // takes all the memory that is not pinned
    const auto all = ServiceWorld::Blob(9, 63 * kPageBytes);
    auto reservation = store.Reserve(77, all, absl::UnixEpoch());
    ASSERT_EQ(reservation->outcome, storage::Reservation::Outcome::kReserved);
    store.CloseSession(77);
  });
  ASSERT_EQ(node().WhereIs(younger), Where::kDisk);
  ASSERT_EQ(node().WhereIs(older), Where::kDisk);

  EXPECT_EQ(TrimDisk(*node().store_, 1), 1u);
  EXPECT_EQ(node().WhereIs(older), Where::kMiss);
  EXPECT_EQ(node().WhereIs(younger), Where::kDisk);
  EXPECT_EQ(TrimDisk(*node().store_, 1 << 20), 1u);
  EXPECT_EQ(node().WhereIs(pinned), Where::kMemory);
  EXPECT_EQ(TrimDisk(*node().store_, 1 << 20), 0u);
}

}  // namespace
}  // namespace cistern::cacheserver
