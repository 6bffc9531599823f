// The disk tier: headers in RocksDB, payload in files of its own beside it.
//
//   Write    payload into an extent each, synced ─► headers, synced ─► the index
//   Read     header ─► its extent, each piece checked ─► does the record still live?
//   Delete   headers, synced ─► the index ─► the reclaimer gives the extents back
//
// A header is written after its payload is durable, and goes durably before its payload does, so
// whoever sees a header finds its payload.
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
#include "storage/tier/aligned_buffer.h"
#include "storage/tier/disk_tier.h"
#include "storage/tier/live_index.h"
#include "storage/tier/payload_log.h"
#include "storage/tier/reclaimer.h"
#include "storage/tier/record.h"
#include "storage/tier/rocks_db.h"

namespace cistern::storage {

struct RocksTierOptions {
  static constexpr uint64_t kDefaultReserve =
      ~uint64_t{0};  // 1/16 of the file system, at most 256 MiB

  DiskOptions disk;
  PayloadLogOptions log;  // path and alignment are filled in
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

  // One readable header, at the start.
  struct Found {
    RecordKey key;
    LiveIndex::Entry entry;
  };

  explicit RocksTier(const RocksTierOptions& options) : options_(options) {}
  // Gives every readable header; drops the others.
  absl::Status ScanHeaders(absl::FunctionRef<void(const RecordKey&, DiskRecord)> each);

  absl::Status DropUnreadable(const std::string& key);

  // ---- rocks_tier_load.cc; before the tier is used
  absl::Status LoadIndex();
  absl::Status DropUnusable(std::vector<Found>* found);
  bool IsWhole(const Extent& extent) const;
  // By its checksums. An error of the disk is no answer: the payload may be sound.
  absl::StatusOr<bool> IsDamaged(const Found& found);

  // ---- rocks_tier_write.cc; one thread at a time, the leader
  // True: it is done. False: this thread has led a commit, of this request or of earlier ones.
  bool LeadUntilDone(Request& request);
  void CommitGroup(const std::vector<Request*>& group);
  std::vector<Pending> Admit(const std::vector<Request*>& group);
  absl::Status CommitPending(std::vector<Pending>* pending);
  absl::Status WritePayload(const PayloadFile& file, std::vector<Pending>* pending);
  absl::Status WritePieces(const PayloadFile& file, std::vector<Pending>* pending, bool hash);
  absl::Status PrepareUndo(const std::vector<Pending>& pending, rocksdb::WriteBatch* undo) const;
  absl::Status WriteHeaders(const std::vector<Pending>& pending);
  void GiveBackFailed(const std::vector<Pending>& pending);
  void SettleFailed(const std::vector<Pending>& pending, const absl::Status& why);
  absl::Status CheckDoubt();
  // Once that is safe. Whether it was, and there was any.
  bool FreeInDoubt() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  uint64_t RoomForPayload() const;

  absl::StatusOr<DiskRecord> ReadHeader(const RecordKey& key) const;
  absl::Status ReadPayload(const RecordKey& key, bool verify, uint64_t expected_bytes,
                           const std::vector<std::span<std::byte>>* payload);
  absl::Status CountRead(absl::Status status);

  const RocksTierOptions options_;
  mutable Counters counters_;
  LiveIndex live_;
  BufferPool buffers_;  // of readers

  base::Mutex queue_mutex_;
  base::CondVar queue_changed_;
  std::vector<Request*> queue_ ABSL_GUARDED_BY(queue_mutex_);
  bool leading_ ABSL_GUARDED_BY(queue_mutex_) = false;

  // The leader's own.
  uint64_t next_id_ = 1;
  AlignedBuffer buffer_;

  base::Mutex commit_mutex_;  // headers and index change together
  // Payload of headers whose write or deletion failed: the next start may find them. Freed once it
  // cannot.
  std::vector<Extent> in_doubt_ ABSL_GUARDED_BY(commit_mutex_);
  std::unique_ptr<RocksDb> rocks_;
  std::unique_ptr<PayloadLog> log_;
  std::unique_ptr<Reclaimer> reclaimer_;  // goes before the log
};

}  // namespace cistern::storage
