// Many threads on one tier: every read gives some whole version of its object or none, and commits
// are shared.
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kKeys = 8;

// The size tells the version, and the bytes follow from both.
TestObject Version(uint64_t key, uint64_t version) {
  TestObject object = Segment(key + 1, 1);
  object.bytes = PatternBytes(key * 1000 + version, 4000 + (version % 5) * 700000);
  object.header.base_position = static_cast<uint32_t>(version);
  return object;
}

class DiskThreadsTest : public DiskTest {
 protected:
  static void Join(std::vector<std::thread>& threads) {
    for (std::thread& thread : threads) thread.join();
  }
};

TEST_F(DiskThreadsTest, ReadersNeverSeeHalfOfAReplacement) {
  options_.log.file_bytes = 8 << 20;  // files come and go below them
  RocksTier& tier = Open();
  std::atomic<int> writers{3};
  std::atomic<uint64_t> read{0}, wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t w = 0; w < 3; ++w) {
    threads.emplace_back([&, w] {
      std::mt19937_64 random(w);
      for (uint64_t version = 1; version <= 25; ++version) {
        const TestObject object = Version(random() % kKeys, version);
        if (version % 6 == 0) {
          if (!tier.Delete({object.key()}).ok()) ++wrong;
        } else if (!WriteOne(tier, object).ok()) {
          ++wrong;
        }
      }
      --writers;
    });
  }
  for (uint64_t r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      std::mt19937_64 random(100 + r);
      while (writers.load() > 0) {
        const uint64_t key = random() % kKeys, size_class = random() % 5;
        std::vector<std::byte> bytes;
        const absl::Status status = ReadBack(tier, Version(key, size_class), &bytes);
        if (status.ok()) {
          bool some = false;  // a version of this key and size
          for (uint64_t v = size_class; v <= 25 && !some; v += 5)
            some = bytes == Version(key, v).bytes;
          ++(some ? read : wrong);
        } else if (!absl::IsNotFound(status) && !absl::IsDataLoss(status)) {
          ++wrong;  // DataLoss: it has another size now
        }
      }
    });
  }
  Join(threads);
  EXPECT_EQ(wrong.load(), 0u);
  ASSERT_EQ(tier.ForEachRecord([&](base::ObjectHeader header) {
    for (uint64_t key = 0; key < kKeys; ++key) {
      const TestObject object = Version(key, header.base_position);
      if (object.header.content == header.content) {
        EXPECT_EQ(CheckReadBack(tier, object), absl::OkStatus());
      }
    }
  }),
            absl::OkStatus());
}

TEST_F(DiskThreadsTest, ConcurrentWritesShareCommits) {
  RocksTier& tier = Open();
  constexpr uint64_t kThreads = 8, kWrites = 12;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kWrites; ++i) {
        EXPECT_EQ(WriteOne(tier, Segment(t * kWrites + i + 1, 10000 + i)), absl::OkStatus());
      }
    });
  }
  Join(threads);
  EXPECT_EQ(tier.Stats().writes, kThreads * kWrites);
  EXPECT_LT(tier.Stats().commits, kThreads * kWrites);
  for (uint64_t i = 0; i < kThreads * kWrites; ++i) {
    EXPECT_EQ(CheckReadBack(tier, Segment(i + 1, 10000 + i % kWrites)), absl::OkStatus());
  }
}

// Waits until two reads are at the disk at once.
class PairedReads final : public DiskCalls {
 public:
  ssize_t Read(int fd, const iovec* parts, int count, uint64_t offset) override {
    {
      base::MutexLock lock(&mutex_);
      ++reading_;
      changed_.notify_all();
      changed_.wait_for(mutex_, std::chrono::seconds(30),
                        [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return met_ || reading_ == 2; });
      met_ |= reading_ == 2;
      --reading_;
    }
    return DiskCalls::Read(fd, parts, count, offset);
  }
  bool met() {
    base::MutexLock lock(&mutex_);
    return met_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  int reading_ ABSL_GUARDED_BY(mutex_) = 0;
  bool met_ ABSL_GUARDED_BY(mutex_) = false;
};

// Whoever reads several pieces is helped with them.
TEST_F(DiskThreadsTest, TwoPiecesOfAnObjectAreReadAtOnce) {
  PairedReads calls;
  options_.log.calls = &calls;
  const TestObject object = Segment(1, 5 << 20);
  ASSERT_EQ(WriteOne(Open(), object), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, object), absl::OkStatus());
  EXPECT_TRUE(calls.met());
  tier_.reset();  // before `calls`
}

// Closing while room is given back stops that; nothing is lost.
TEST_F(DiskThreadsTest, ClosesWhileReclaiming) {
  for (int round = 0; round < 5; ++round) {
    RocksTier& tier = Open();
    std::vector<TestObject> objects;
    std::vector<DiskTier::Item> items;
    for (uint64_t i = 1; i <= 20; ++i) objects.push_back(Segment(i, 1 << 20));
    for (const TestObject& object : objects) items.push_back(object.Item());
    for (const absl::Status& status : tier.Write(items)) ASSERT_EQ(status, absl::OkStatus());
    ASSERT_EQ(tier.Delete({objects[3].key()}), absl::OkStatus());  // wakes it
    Open();
    EXPECT_EQ(CheckReadBack(*tier_, objects[19]), absl::OkStatus());
  }
}

}  // namespace
}  // namespace cistern::storage
