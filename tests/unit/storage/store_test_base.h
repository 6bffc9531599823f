// A small store for tests: 16 pages of 4 KiB, one model, one session.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {

class StoreTest : public testing::Test {
 protected:
  static constexpr SessionId kSession = 1;
  static constexpr SessionId kOther = 2;
  static constexpr uint64_t kPage = 4096;  // 16 tokens x 2 layers x 128 bytes

  explicit StoreTest(StoreOptions options = {.blob_block_bytes = kPage},
                     uint64_t arena_bytes = 16 * kPage)
      : options_(options), arena_(TestArena(arena_bytes)) {
    Reset(options);
  }
  void Reset(const StoreOptions& options) {
    options_ = options;
    store_ = std::make_unique<Store>(options, arena_.get());
    EXPECT_TRUE(store_->RegisterModel(model_).ok());
  }
  void TearDown() override {
    EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  }

  base::ObjectHeader Segment(uint32_t text, uint32_t past = 0, uint32_t pages = 1,
                             base::Lineage lineage = base::Lineage::kExact) const {
    return TestSegment(model_, text, past, pages * 16, lineage);
  }
  Reservation Reserve(const base::ObjectHeader& header, SessionId session = kSession) {
    auto reservation = store_->Reserve(session, header, now_);
    EXPECT_TRUE(reservation.ok()) << reservation.status();
    return reservation.ok() ? *reservation : Reservation{};
  }
  // Writes and commits it; the object's id.
  ObjectId Put(const base::ObjectHeader& header, SessionId session = kSession) {
    const Reservation reservation = Reserve(header, session);
    EXPECT_EQ(reservation.outcome, Reservation::Outcome::kReserved);
    FillBlocks(*arena_, reservation.blocks, kPage, header.content.lo ^ header.context.lo);
    const uint32_t layers = header.kind == base::ObjectKind::kBlob ? 1 : model_.num_layers;
    EXPECT_TRUE(store_->MarkWritten(session, reservation.id, 0, layers).ok());
    const auto id = store_->Commit(session, reservation.id, now_);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(0);
  }
  Where WhereIs(const base::ObjectHeader& header) {
    const Found found = store_->Find({.content = header.content, .context = header.context});
    return found.object.where;
  }
  bool HoldsBytesOf(const base::ObjectHeader& header, const std::vector<base::BlockRef>& blocks) {
    return BlocksHold(*arena_, blocks, kPage, header.content.lo ^ header.context.lo);
  }
  Lease MustAcquire(ObjectId id, SessionId session = kSession) {
    auto lease = store_->Acquire(session, id, now_);
    EXPECT_TRUE(lease.ok()) << lease.status();
    return lease.ok() ? *lease : Lease{};
  }

  base::ModelSpec model_ = TestModel("model", 2, 128);
  StoreOptions options_;
  absl::Time now_ = absl::UnixEpoch();
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<Store> store_;
};

}  // namespace cistern::storage
