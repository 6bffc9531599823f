// The disk tier on RocksDB.
//
//   Write   pieces into a file of their own ─► file into the database ─► headers, synced ─► the
//   index Read    header ─► pieces, each checked against it Delete  headers, synced ─► the index ─►
//   the reclaimer takes the pieces
//
// A header is written after its pieces are durable and part of the database, so whoever sees a
// header finds its pieces.
//
// Thread   any
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "storage/tier/disk_tier.h"
#include "storage/tier/live_index.h"
#include "storage/tier/reclaimer.h"
#include "storage/tier/record.h"
#include "storage/tier/rocks_db.h"

namespace cistern::storage {

struct RocksTierOptions {
  static constexpr uint64_t kDefaultReserve =
      ~uint64_t{0};  // 1/16 of the file system, at most 256 MiB

  DiskOptions disk;
  ReclaimOptions reclaim;
  uint64_t reserve_bytes =
      kDefaultReserve;          // of the file system that payload leaves free: logs need some
  rocksdb::Env* env = nullptr;  // null: the default one. Outlives the tier
};

class RocksTier final : public DiskTier {
 public:
  static absl::StatusOr<std::unique_ptr<RocksTier>> Open(const RocksTierOptions& options);
  ~RocksTier() override;

  absl::Status PutModel(const base::ModelSpec& spec) override;
  absl::Status DeleteModel(const base::Key& fingerprint) override;
  absl::Status ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) override;
  absl::Status ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) override;
  std::vector<absl::Status> Write(const std::vector<Item>& items) override;
  absl::Status Read(const RecordKey& key,
                    const std::vector<std::span<std::byte>>& payload) override;
  absl::Status Delete(const std::vector<RecordKey>& keys) override;
  absl::Status Verify(const RecordKey& key) override;
  absl::Status Reclaim() override;
  DiskStats Stats() const override;

  const RocksDb& rocks() const { return *rocks_; }  // for tests that damage what lies in it

 private:
  // One call of Write, waiting for its turn or for somebody else's commit to carry it.
  struct Request {
    const std::vector<Item>* items;
    std::vector<absl::Status> statuses;
    bool done = false;
  };
  // One item on its way to the disk.
  struct Pending {
    const Item* item;
    absl::Status* status;
    DiskRecord record;
  };
  struct Counters {
    std::atomic<uint64_t> writes{0}, write_failures{0}, reads{0}, read_failures{0},
        checksum_failures{0}, deletes{0};
    std::atomic<uint64_t> dropped_headers{0}, salvaged_headers{0}, commits{0};
  };

  explicit RocksTier(const RocksTierOptions& options) : options_(options) {}
  absl::Status LoadIndex();
  // Gives every readable header; drops the others.
  absl::Status ScanHeaders(absl::FunctionRef<void(const RecordKey&, DiskRecord)> each);

  // ---- rocks_tier_write.cc; one thread at a time, the leader
  void CommitGroup(const std::vector<Request*>& group);
  std::vector<Pending> Admit(const std::vector<Request*>& group);
  absl::Status CommitPending(std::vector<Pending>* pending);
  absl::Status WriteHeaders(const std::vector<Pending>& pending);
  uint64_t RoomForPayload() const;

  absl::StatusOr<DiskRecord> ReadRecord(const RecordKey& key) const;
  absl::Status ReadPayload(const RecordKey& key, bool verify, uint64_t expected_bytes,
                           const std::vector<std::span<std::byte>>* payload);
  absl::Status CountRead(absl::Status status);

  const RocksTierOptions options_;
  mutable Counters counters_;
  LiveIndex live_;
  std::atomic<uint64_t> judged_below_{1};  // writes below it are committed or have failed

  base::Mutex queue_mutex_;
  base::CondVar queue_changed_;
  std::vector<Request*> queue_ ABSL_GUARDED_BY(queue_mutex_);
  bool leading_ ABSL_GUARDED_BY(queue_mutex_) = false;

  // The leader's own.
  uint64_t next_id_ = 1;
  uint32_t commits_since_wake_ = 0;
  bool may_be_stopped_ = false;  // the last commit failed: RocksDB may have stopped writing
  std::vector<std::byte> scratch_;

  base::Mutex commit_mutex_;  // headers and index change together
  std::unique_ptr<RocksDb> rocks_;
  std::unique_ptr<Reclaimer> reclaimer_;  // goes before the database
};

}  // namespace cistern::storage
