// What a start makes of the disk: which models and records it takes, and which it deletes.
#include "cacheserver/load_disk.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "storage/arena.h"
#include "tests/fault/faulty_disk.h"
#include "tests/unit/cacheserver/memory_disk.h"

namespace cistern::cacheserver {
namespace {

constexpr uint32_t kMaxModels = 3;

class LoadDiskTest : public testing::Test {
 protected:
  LoadDiskTest()
      : arena_(storage::Arena::Create(
                   {.bytes = 64 << 10, .incarnation = 7, .huge_pages = false, .pre_touch = false})
                   .value()),
        store_({.has_disk = true, .blob_block_bytes = 0, .max_models = kMaxModels}, arena_.get()),
        disk_(std::make_unique<MemoryDisk>()),
        models_(&disk_) {}

  static base::ModelSpec Model(int number) {
    base::ModelSpec spec;
    spec.name = absl::StrCat("model ", number);
    spec.num_layers = 2;
    spec.layout = base::RowLayout::kOpaque;
    spec.row_bytes = 32;
    return spec;
  }
  void PutModel(int number) { ASSERT_TRUE(disk_.PutModel(Model(number)).ok()); }
  // A segment of that model, or with 0 a blob.
  void PutRecord(int model) {
    base::ObjectHeader header;
    header.content = base::HashBytes(absl::StrCat("record ", ++records_put_));
    if (model == 0) {
      header.kind = base::ObjectKind::kBlob;
      header.blob_bytes = 100;
    } else {
      header.model = Model(model).Fingerprint();
      header.context = header.content;
      header.tokens = {1, 2, 3};
    }
    const std::vector<std::byte> bytes(100);
    ASSERT_TRUE(disk_.Write({{header, {bytes}}}).at(0).ok());
  }
  DiskLoad Load() {
    DiskLoad load;
    EXPECT_EQ(MakeLoader()->Load(&load), absl::OkStatus());
    return load;
  }
  std::unique_ptr<DiskLoader> MakeLoader() {
    return std::make_unique<DiskLoader>(DiskLoader::Parts{.store = &store_,
                                                          .models = &models_,
                                                          .above = nullptr,
                                                          .models_above = nullptr,
                                                          .disk = &disk_,
                                                          .max_models = kMaxModels,
                                                          .now = absl::UnixEpoch(),
                                                          .clock = base::Clock::Real(),
                                                          .log = &log_,
                                                          .path = "disk"});
  }
  uint64_t ObjectsOnDisk() {
    return store_.With([](storage::Store& store) { return store.Stats().objects_disk; });
  }
  bool Knows(int model) {
    return store_.With([&](storage::Store& store) {
      return store.FindModel(Model(model).Fingerprint()) != nullptr;
    });
  }
  int ModelsOnDisk() {
    int count = 0;
    EXPECT_TRUE(disk_.ForEachModel([&](const base::ModelSpec&) { ++count; }).ok());
    return count;
  }

  std::unique_ptr<storage::Arena> arena_;
  LockedStore store_;
  storage::FaultyDisk disk_;
  ModelBook models_;
  Log log_{"off", LogFormat::kText};
  int records_put_ = 0;
};

TEST_F(LoadDiskTest, RecordsComeWithTheirModels) {
  for (const int model : {1, 2}) PutModel(model);
  for (const int model : {1, 2, 2}) PutRecord(model);
  const DiskLoad load = Load();
  EXPECT_EQ(load.objects, 3u);
  EXPECT_EQ(load.deleted, 0u);
  EXPECT_EQ(load.left_alone, 0u);
  EXPECT_TRUE(Knows(1) && Knows(2));
  EXPECT_EQ(disk_.Stats().deletes, 0u);
}

// What no start could use goes: it would count towards the tier's bound. What only lacks its model
// stays: a worker will bring it.
TEST_F(LoadDiskTest, OnlyWhatNoStartCouldUseIsDeleted) {
  PutModel(1);
  PutModel(2);
  PutRecord(1);
  PutRecord(0);  // this store takes no blobs
  PutRecord(2);
  ASSERT_TRUE(disk_.DeleteModel(Model(2).Fingerprint()).ok());
  const DiskLoad load = Load();
  EXPECT_EQ(load.objects, 1u);
  EXPECT_EQ(load.deleted, 1u);
  EXPECT_EQ(load.left_alone, 1u);
  EXPECT_TRUE(load.cleaning.ok());
  EXPECT_EQ(disk_.Stats().records, 2u);
}

TEST_F(LoadDiskTest, ADeleteThatFailsIsToldAndNotFatal) {
  PutRecord(0);
  disk_.FailDeletes(absl::UnavailableError("busy"));
  const DiskLoad load = Load();
  EXPECT_EQ(load.deleted, 1u);
  EXPECT_TRUE(absl::IsUnavailable(load.cleaning));
  EXPECT_EQ(disk_.Stats().records, 1u);
}

TEST_F(LoadDiskTest, AnUnreadableDiskIsAnError) {
  disk_.FailReads(absl::DataLossError("damaged"));
  DiskLoad load;
  EXPECT_TRUE(absl::IsDataLoss(MakeLoader()->Load(&load)));
}

// A thread of its own waits for the disk to come back; damage is final, and said.
TEST_F(LoadDiskTest, AnErrorOfTheDiskIsTriedAgainAndDamageIsNot) {
  PutModel(1);
  for (int i = 0; i < 3; ++i) PutRecord(1);
  disk_.FailReads(absl::UnavailableError("a cable"), 1);
  auto loader = MakeLoader();
  loader->Start();
  ASSERT_TRUE(loader->AwaitLoaded(absl::Minutes(1)));
  EXPECT_TRUE(loader->trouble().ok());
  EXPECT_EQ(ObjectsOnDisk(), 3u);

  disk_.FailReads(absl::ResourceExhaustedError("full"), 1);
  loader = MakeLoader();
  loader->Start();
  ASSERT_TRUE(loader->AwaitLoaded(absl::Minutes(1)));
  EXPECT_TRUE(loader->trouble().ok());

  disk_.FailReads(absl::DataLossError("damaged"));
  loader = MakeLoader();
  loader->Start();
  ASSERT_TRUE(loader->AwaitLoaded(absl::Minutes(1)));
  EXPECT_TRUE(absl::IsDataLoss(loader->trouble()));
}

// A stop does not wait for the end, nor for a disk that fails.
TEST_F(LoadDiskTest, AStopEndsTheWaitForTheDisk) {
  disk_.FailReads(absl::UnavailableError("a cable"));
  auto loader = MakeLoader();
  loader->Start();
  ASSERT_FALSE(loader->AwaitLoaded(absl::Milliseconds(1)));
  loader->Stop();
  EXPECT_TRUE(loader->AwaitLoaded(absl::ZeroDuration()));
}

// What was published before its record was come to is one object, and the better one of the two.
TEST_F(LoadDiskTest, WhatWasStoredMeanwhileIsThereOnce) {
  PutModel(1);
  PutRecord(1);
  base::ObjectHeader header;
  ASSERT_TRUE(
      disk_.ForEachRecord([&](base::ObjectHeader found) { header = std::move(found); }).ok());
  store_.With([&](storage::Store& store) {
    ASSERT_TRUE(store.RegisterModel(Model(1)).ok());
    const auto reservation = store.Reserve(1, header, absl::UnixEpoch());
    ASSERT_TRUE(reservation.ok());
    ASSERT_TRUE(store.MarkWritten(1, reservation->id, 0, 2).ok());
    ASSERT_TRUE(store.Commit(1, reservation->id, absl::UnixEpoch()).ok());
  });
  EXPECT_EQ(Load().objects, 1u);
  store_.With([&](storage::Store& store) {
    EXPECT_EQ(store.Stats().objects_memory, 1u);
    EXPECT_EQ(store.Stats().objects_disk, 1u);
    EXPECT_EQ(store.Stats().dirty_bytes, 0u);  // its record is there: it need not be written again
    EXPECT_EQ(store.CheckInvariants(), absl::OkStatus());
  });
}

// Five models lie on disk, two of them with objects; there is room for three.
TEST_F(LoadDiskTest, ModelsWithRecordsStayAndOthersAsLongAsThereIsRoom) {
  for (int model = 1; model <= 5; ++model) PutModel(model);
  for (const int model : {2, 4}) PutRecord(model);
  const DiskLoad load = Load();
  EXPECT_EQ(load.objects, 2u);
  EXPECT_EQ(load.forgotten_models, 2u);
  EXPECT_TRUE(Knows(2) && Knows(4));
  EXPECT_EQ(Knows(1) + Knows(3) + Knows(5), 1);
  EXPECT_EQ(ModelsOnDisk(), 3);
  // One that was forgotten is written again when it is needed again.
  for (const int model : {1, 3, 5}) ASSERT_TRUE(models_.Persist(Model(model)).ok());
  EXPECT_EQ(ModelsOnDisk(), 5);
}

}  // namespace
}  // namespace cistern::cacheserver
