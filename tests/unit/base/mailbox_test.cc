// A mailbox is bounded, closes, wakes its owner, and loses and doubles nothing between threads.
#include "base/mailbox.h"

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <poll.h>

#include "gtest/gtest.h"

namespace cistern::base {
namespace {

// Whether fd() is readable, waiting up to `timeout_ms` (-1: as long as it takes).
bool Readable(int fd, int timeout_ms) {
  pollfd poll_fd{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&poll_fd, 1, timeout_ms) == 1 && (poll_fd.revents & POLLIN) != 0;
}

TEST(MailboxTest, DeliversInOrder) {
  Mailbox<int> mailbox(4);
  EXPECT_FALSE(Readable(mailbox.fd(), 0));
  for (const int item : {1, 2, 3}) EXPECT_TRUE(mailbox.Push(item));
  EXPECT_TRUE(Readable(mailbox.fd(), 0));
  std::vector<int> batch = {99};
  mailbox.Drain(&batch);
  EXPECT_EQ(batch, (std::vector<int>{1, 2, 3}));
  EXPECT_FALSE(Readable(mailbox.fd(), 0));
  mailbox.Drain(&batch);
  EXPECT_TRUE(batch.empty());
}

TEST(MailboxTest, RefusesMoreThanItsCapacityAndLeavesTheItem) {
  Mailbox<std::unique_ptr<std::string>> mailbox(2);
  EXPECT_TRUE(mailbox.Push(std::make_unique<std::string>("a")));
  EXPECT_TRUE(mailbox.Push(std::make_unique<std::string>("b")));
  auto item = std::make_unique<std::string>("c");
  EXPECT_FALSE(mailbox.Push(std::move(item)));
  ASSERT_NE(item,
            nullptr);  // NOLINT(bugprone-use-after-move): that it was not moved is the promise
  EXPECT_EQ(*item, "c");
  std::vector<std::unique_ptr<std::string>> batch;
  mailbox.Drain(&batch);
  EXPECT_EQ(batch.size(), 2u);
  EXPECT_TRUE(mailbox.Push(std::move(item)));
  EXPECT_EQ(item, nullptr);  // NOLINT(bugprone-use-after-move)
}

TEST(MailboxTest, ZeroCapacityTakesNothing) {
  Mailbox<int> mailbox(0);
  EXPECT_FALSE(mailbox.Push(1));
  EXPECT_FALSE(Readable(mailbox.fd(), 0));
}

TEST(MailboxTest, ClosingWakesTheOwnerAndKeepsWhatWaits) {
  Mailbox<int> mailbox(4);
  EXPECT_TRUE(mailbox.Push(7));
  std::vector<int> batch;
  EXPECT_FALSE(mailbox.closed());
  mailbox.Close();
  EXPECT_TRUE(mailbox.closed());
  EXPECT_TRUE(Readable(mailbox.fd(), 0));
  EXPECT_FALSE(mailbox.Push(8));
  mailbox.Drain(&batch);
  EXPECT_EQ(batch, std::vector<int>{7});
  mailbox.Close();  // again: the owner wakes once more, nothing else
  EXPECT_TRUE(Readable(mailbox.fd(), 0));
}

TEST(MailboxTest, WakeReachesAnOwnerThatWaits) {
  Mailbox<int> mailbox(1);
  std::thread waker([&] { mailbox.Wake(); });
  EXPECT_TRUE(Readable(mailbox.fd(), -1));
  waker.join();
}

// Producers push until the mailbox takes it; the owner sleeps in poll() whenever nothing waits. A
// lost wake-up would hang this test, a race would make items vanish or come twice.
TEST(MailboxTest, ManyProducersOneOwner) {
  constexpr int kProducers = 4;
  constexpr int kItems = 5000;
  Mailbox<std::pair<int, int>> mailbox(16);
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&mailbox, p] {
      for (int i = 0; i < kItems; ++i) {
        while (!mailbox.Push({p, i})) std::this_thread::yield();
      }
    });
  }
  std::array<int, kProducers> next{};
  int received = 0;
  std::vector<std::pair<int, int>> batch;
  while (received < kProducers * kItems) {
    ASSERT_TRUE(Readable(mailbox.fd(), -1));
    mailbox.Drain(&batch);
    ASSERT_LE(batch.size(), 16u);
    for (const auto& [producer, item] : batch) {
      ASSERT_EQ(item, next[static_cast<size_t>(producer)]++);  // each producer's own order holds
      ++received;
    }
  }
  for (std::thread& producer : producers) producer.join();
  mailbox.Drain(&batch);
  EXPECT_TRUE(batch.empty());
}

TEST(MailboxTest, CloseEndsProducersThatRetry) {
  Mailbox<int> mailbox(1);
  ASSERT_TRUE(mailbox.Push(0));
  std::thread producer([&] {
    while (!mailbox.Push(1) && !mailbox.closed()) std::this_thread::yield();
  });
  mailbox.Close();
  producer.join();
  std::vector<int> batch;
  mailbox.Drain(&batch);
  EXPECT_EQ(batch, std::vector<int>{0});
}

}  // namespace
}  // namespace cistern::base
