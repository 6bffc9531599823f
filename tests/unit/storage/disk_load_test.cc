// Headers that are read after Open, beside writes and deletions: what has been read is there, what
// has not is a miss, and what was changed meanwhile is what it was changed to.
#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kBytes = 10'000;
constexpr uint64_t kMany = 1000;  // several batches

class DiskLoadTest : public DiskTest {
 protected:
  void Fill(uint64_t objects) {
    RocksTier& tier = Open();
    for (uint64_t seed = 0; seed < objects; ++seed)
      ASSERT_EQ(WriteOne(tier, Segment(seed, kBytes)), absl::OkStatus());
  }
  RocksTier& OpenToLoad() {
    options_.disk.load_later = true;
    return Open();
  }
  // The names that were given.
  std::set<base::Key> LoadAll() {
    std::set<base::Key> given;
    EXPECT_EQ(tier_->Load(stop_,
                          [&](const std::vector<base::ObjectHeader>& headers) {
                            for (const base::ObjectHeader& header : headers)
                              EXPECT_TRUE(given.insert(header.content).second) << "given twice";
                          }),
              absl::OkStatus());
    EXPECT_FALSE(tier_->Stats().loading);
    return given;
  }

  std::atomic<bool> stop_{false};
};

TEST_F(DiskLoadTest, WhatHasNotBeenReadIsAMissAndThenThere) {
  Fill(kMany);
  RocksTier& tier = OpenToLoad();
  EXPECT_TRUE(tier.Stats().loading);
  EXPECT_EQ(tier.Stats().to_load, kMany);
  EXPECT_TRUE(absl::IsNotFound(CheckReadBack(tier, Segment(5, kBytes))));
  std::set<uint64_t> batches;
  uint64_t given = 0;
  ASSERT_EQ(tier.Load(stop_,
                      [&](const std::vector<base::ObjectHeader>& headers) {
                        given += headers.size();
                        batches.insert(given);
                        EXPECT_EQ(tier.Stats().records, given) << "given before it is there";
                      }),
            absl::OkStatus());
  EXPECT_EQ(given, kMany);
  EXPECT_GT(batches.size(), kMany / 200) << "one batch after the other";
  EXPECT_EQ(tier.Stats().loaded, kMany);
  for (uint64_t seed = 0; seed < kMany; seed += 97)
    EXPECT_EQ(CheckReadBack(tier, Segment(seed, kBytes)), absl::OkStatus());
}

TEST_F(DiskLoadTest, WhatIsChangedBeforeItIsReadStaysChanged) {
  Fill(3);
  RocksTier& tier = OpenToLoad();
  TestObject anew = Segment(0, kBytes);
  anew.bytes = PatternBytes(77, kBytes);
  ASSERT_EQ(WriteOne(tier, anew), absl::OkStatus());
  ASSERT_EQ(tier.Delete({Segment(1, kBytes).key()}), absl::OkStatus());
  const TestObject fresh = Segment(9, kBytes);
  ASSERT_EQ(WriteOne(tier, fresh), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, anew), absl::OkStatus());
  EXPECT_EQ(LoadAll(), std::set<base::Key>{Segment(2, kBytes).header.content});
  for (const bool again : {false, true}) {  // and so it is after another start
    EXPECT_EQ(CheckReadBack(*tier_, anew), absl::OkStatus());
    EXPECT_TRUE(absl::IsNotFound(CheckReadBack(*tier_, Segment(1, kBytes))));
    EXPECT_EQ(CheckReadBack(*tier_, Segment(2, kBytes)), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, fresh), absl::OkStatus());
    ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
    EXPECT_EQ(tier_->Stats().file_bytes, 3 * Extent::RoomFor(kBytes)) << "old payload is left";
    options_.disk.load_later = false;
    if (!again) Open();
  }
}

// Nothing has been read: ids rise all the same, and no number of a file comes twice.
TEST_F(DiskLoadTest, IdsRiseThoughNoHeaderHasBeenRead) {
  Fill(2);
  uint64_t last = std::max(Record(Segment(0, kBytes)).id, Record(Segment(1, kBytes)).id);
  for (uint64_t start = 0; start < 3; ++start) {
    OpenToLoad();
    const TestObject object = Segment(100 + start, kBytes);
    ASSERT_EQ(WriteOne(*tier_, object), absl::OkStatus());
    EXPECT_GT(Record(object).id, last);
    last = Record(object).id;
  }
  LoadAll();
  for (const uint64_t seed : {0, 1, 100, 101, 102})
    EXPECT_EQ(CheckReadBack(*tier_, Segment(seed, kBytes)), absl::OkStatus());
}

// What lies on disk of a version that kept no number of starts, or whose number was lost.
TEST_F(DiskLoadTest, ALargerIdThanTheStartsIsSteppedOver) {
  Fill(1);
  DiskRecord record = Record(Segment(0, kBytes));
  record.id = uint64_t{9} << kStartShift;
  PutRecord(Segment(0, kBytes), record);
  OpenToLoad();
  LoadAll();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, kBytes)), absl::OkStatus());
  EXPECT_GT(Record(Segment(1, kBytes)).id, record.id);
}

// A stop in the middle loses nothing, whatever was done before it.
TEST_F(DiskLoadTest, AStopInTheMiddleLosesNothing) {
  Fill(kMany);
  for (int start = 0; start < 3; ++start) {
    RocksTier& tier = OpenToLoad();
    ASSERT_EQ(tier.Delete({Segment(start, kBytes).key()}), absl::OkStatus());
    ASSERT_EQ(WriteOne(tier, Segment(kMany + start, kBytes)), absl::OkStatus());
    stop_ = false;
    const absl::Status stopped =
        tier.Load(stop_, [&](const std::vector<base::ObjectHeader>&) { stop_ = true; });
    EXPECT_TRUE(absl::IsCancelled(stopped)) << stopped;
    EXPECT_LT(tier.Stats().records, kMany / 2);
    ASSERT_EQ(tier.Reclaim(), absl::OkStatus());
  }
  stop_ = false;
  OpenToLoad();
  EXPECT_EQ(LoadAll().size(), kMany);
  for (uint64_t seed = 3; seed < kMany + 3; seed += 49)
    EXPECT_EQ(CheckReadBack(*tier_, Segment(seed, kBytes)), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
}

// Another pass goes on where the first one ended.
TEST_F(DiskLoadTest, NothingIsGivenTwice) {
  Fill(kMany);
  OpenToLoad();
  std::set<base::Key> given;
  EXPECT_TRUE(
      absl::IsCancelled(tier_->Load(stop_, [&](const std::vector<base::ObjectHeader>& headers) {
        for (const base::ObjectHeader& header : headers) given.insert(header.content);
        stop_ = true;
      })));
  stop_ = false;
  const std::set<base::Key> rest = LoadAll();
  EXPECT_EQ(given.size() + rest.size(), kMany);
  given.insert(rest.begin(), rest.end());
  EXPECT_EQ(given.size(), kMany);
}

// How full it is is not known yet: a write that might be too much waits for that, and is not
// refused for good.
TEST_F(DiskLoadTest, TheBoundHoldsWhileItIsNotKnownHowMuchThereIs) {
  Fill(4);
  options_.disk.max_bytes = 5 * kBytes;
  RocksTier& tier = OpenToLoad();
  EXPECT_TRUE(absl::IsDeadlineExceeded(WriteOne(tier, Segment(5, 2 * kBytes))));
  LoadAll();
  EXPECT_TRUE(absl::IsResourceExhausted(WriteOne(tier, Segment(5, 2 * kBytes))));
  EXPECT_EQ(WriteOne(tier, Segment(5, kBytes)), absl::OkStatus());
}

// A header that names another's payload, or none: found out when the second of them is read.
TEST_F(DiskLoadTest, OfTwoThatOverlapTheSoundOneIsLeft) {
  Fill(2);
  DiskRecord record = Record(Segment(1, kBytes));
  record.extent = Record(Segment(0, kBytes)).extent;
  PutRecord(Segment(1, kBytes), record);
  OpenToLoad();
  LoadAll();
  EXPECT_EQ(tier_->Stats().dropped_headers, 1u);
  EXPECT_EQ(CheckReadBack(*tier_, Segment(0, kBytes)), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(CheckReadBack(*tier_, Segment(1, kBytes))));
}

// A damaged file of headers is mended beside those who write, and their changes outlive it.
TEST_F(DiskLoadTest, DamageIsMendedBesideWrites) {
  Fill(kMany);
  ASSERT_TRUE(tier_->rocks().db()->Flush(rocksdb::FlushOptions(), tier_->rocks().headers()).ok());
  tier_.reset();
  uint64_t largest = 0;
  std::filesystem::path table;
  for (const auto& entry : std::filesystem::directory_iterator(options_.disk.path + "/rocksdb")) {
    if (entry.path().extension() != ".sst" || entry.file_size() <= largest) continue;
    largest = entry.file_size();
    table = entry.path();
  }
  FlipByte(table, largest / 2);
  RocksTier& tier = OpenToLoad();
  const TestObject fresh = Segment(kMany, kBytes);
  ASSERT_EQ(WriteOne(tier, fresh), absl::OkStatus());
  ASSERT_EQ(tier.Delete({Segment(7, kBytes).key()}), absl::OkStatus());
  const std::set<base::Key> given = LoadAll();
  EXPECT_GE(given.size(), kMany - 3);  // the damaged one, and the deleted one
  EXPECT_FALSE(given.contains(Segment(7, kBytes).header.content));
  EXPECT_EQ(CheckReadBack(tier, fresh), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(CheckReadBack(tier, Segment(7, kBytes))));
}

// Writers, deleters and readers beside the load, against a map.
TEST_F(DiskLoadTest, AgreesWithAMapWhileOthersWrite) {
  Fill(kMany);
  RocksTier& tier = OpenToLoad();
  std::map<uint64_t, uint64_t> version;  // of the bytes; 0: deleted
  for (uint64_t seed = 0; seed < kMany; ++seed) version[seed] = seed;
  const auto object = [&](uint64_t seed) {
    TestObject changed = Segment(seed, kBytes);
    changed.bytes = PatternBytes(version[seed], kBytes);
    return changed;
  };
  std::set<base::Key> changed;  // before it was given
  std::set<base::Key> given;
  std::thread loading([&] { given = LoadAll(); });
  std::mt19937_64 random(5);
  for (uint64_t step = 1; step <= 300; ++step) {
    const uint64_t seed = random() % kMany;
    if (random() % 3 == 0) {
      version[seed] = 0;
      ASSERT_EQ(tier.Delete({Segment(seed, kBytes).key()}), absl::OkStatus());
    } else {
      version[seed] = kMany + step;
      ASSERT_EQ(WriteOne(tier, object(seed)), absl::OkStatus());
      ASSERT_EQ(CheckReadBack(tier, object(seed)), absl::OkStatus());
    }
  }
  loading.join();
  for (const bool again : {false, true}) {
    uint64_t live = 0;
    for (const auto& [seed, wanted] : version) {
      live += wanted == 0 && seed != 0 ? 0 : 1;
      const absl::Status read = CheckReadBack(*tier_, object(seed));
      const bool deleted = wanted == 0 && absl::IsNotFound(read);
      EXPECT_TRUE(read.ok() || deleted) << seed << ": " << read;
    }
    ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
    EXPECT_EQ(tier_->Stats().file_bytes, tier_->Stats().records * Extent::RoomFor(kBytes));
    EXPECT_LE(tier_->Stats().records, live);
    options_.disk.load_later = false;
    if (!again) Open();
  }
}

}  // namespace
}  // namespace cistern::storage
