// The queues: bounded, in order, and nothing in them is forgotten at the end.
#include <atomic>
#include <future>
#include <vector>

#include "gtest/gtest.h"

#include "cacheserver/room_queue.h"
#include "cacheserver/work_pool.h"

namespace cistern::cacheserver {
namespace {

TEST(WorkPoolTest, RunsWhatItAcceptsAndRefusesWhatIsTooMuch) {
  WorkPool pool("test", 1, 2);
  std::promise<void> begun, go;
  ASSERT_TRUE(pool.Post([&] {
    begun.set_value();
    go.get_future().wait();
  }));
  begun.get_future().wait();  // the thread is busy: what follows waits
  std::atomic<int> ran{0};
  EXPECT_TRUE(pool.Post([&] { ++ran; }));
  EXPECT_TRUE(pool.Post([&] { ++ran; }));
  EXPECT_FALSE(pool.Post([&] { ++ran; }));
  EXPECT_EQ(pool.queued(), 2u);
  go.set_value();
  pool.Stop();
  EXPECT_EQ(ran, 2);
  EXPECT_FALSE(pool.Post([] {}));
}

TEST(RoomQueueTest, TriesAtOnceAndThenInOrderOfArrivalWhenRoomComes) {
  base::ManualClock clock;
  RoomQueue queue(&clock, 8);
  std::vector<int> order;  // the queue's thread's, but for what the promises order
  std::promise<void> tried[2], done;
  int tries = 0;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(queue.Park(clock.Now() + absl::Hours(1), [&, i](bool last) {
      EXPECT_FALSE(last);
      order.push_back(i);
      if (++tries <= 2) tried[i].set_value();
      if (tries == 4) done.set_value();
      return tries > 2;
    }));
    tried[i].get_future().wait();
  }
  queue.RoomCame();
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 0, 1}));
  queue.Stop();
  EXPECT_EQ(queue.parked(), 0u);
}

TEST(RoomQueueTest, WhoWaitsForSomethingElseIsTriedWhenRoomComes) {
  base::ManualClock clock;
  RoomQueue queue(&clock, 8);
  std::atomic<bool> came = false;
  std::promise<void> tried, other;
  ASSERT_TRUE(queue.Park(
      clock.Now() + absl::Hours(1),
      [&](bool) {
        EXPECT_TRUE(came);
        tried.set_value();
        return true;
      },
      RoomQueue::First::kWhenRoomCame));
  ASSERT_TRUE(queue.Park(clock.Now() + absl::Hours(1), [&](bool) {  // a look at all who wait
    if (!came) other.set_value();
    return true;
  }));
  other.get_future().wait();
  came = true;
  queue.RoomCame();
  tried.get_future().wait();
}

TEST(RoomQueueTest, TheLastAttemptComesAtTheDeadline) {
  base::ManualClock clock;
  RoomQueue queue(&clock, 8);
  std::promise<bool> last_seen;
  ASSERT_TRUE(queue.Park(clock.Now() + absl::Seconds(5), [&](bool last) {
    if (last) last_seen.set_value(true);
    return last;
  }));
  clock.Advance(absl::Seconds(6));
  queue.RoomCame();
  EXPECT_TRUE(last_seen.get_future().get());
}

TEST(RoomQueueTest, StopGivesEveryoneALastAttempt) {
  base::ManualClock clock;
  RoomQueue queue(&clock, 2);
  int last = 0;
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(queue.Park(clock.Now() + absl::Hours(1), [&](bool is_last) {
      last += is_last ? 1 : 0;
      return false;
    }));
  EXPECT_FALSE(queue.Park(clock.Now(), [](bool) { return true; })) << "it has room for two";
  queue.Stop();
  EXPECT_EQ(last, 2);
  EXPECT_FALSE(queue.Park(clock.Now(), [](bool) { return true; }));
}

}  // namespace
}  // namespace cistern::cacheserver
