// The disk tier: headers in RocksDB, payload in files of its own beside it.
//
//   Write    payload into an extent each, synced ─► headers, synced ─► the index
//   Read     its extent, its pieces' digest against the index ─► does the record still live?
//   Verify   header ─► its extent, each piece checked ─► does the record still live?
//   Delete   headers, synced ─► the index ─► the reclaimer gives the extents back
//
// The index is memory of ours, read from the headers at the start: by Open, or beside everything
// else by Load. A key that is written or deleted meanwhile is in the index, or in `deleted_`, by
// the time its old header comes along, and that is then garbage.
//
// A header is written after its payload is durable, and goes durably before its payload does, so
// whoever sees a header finds its payload.
//
// Thread   any
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/mutex.h"
#include "storage/tier/aligned_buffer.h"
#include "storage/tier/disk_tier.h"
#include "storage/tier/live_index.h"
#include "storage/tier/payload_log.h"
#include "storage/tier/read_helpers.h"
#include "storage/tier/reclaimer.h"
#include "storage/tier/record.h"
#include "storage/tier/record_read.h"
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

// In the database's text family: the number of the last start that has written. Ids of writes begin
// with it, so that they rise though no header has been read.
inline constexpr char kStartsKey[] = "starts";
inline constexpr int kStartShift = 40;

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
  absl::Status Load(const std::atomic<bool>& stop,
                    absl::FunctionRef<void(std::vector<base::ObjectHeader>)> each) override;
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
    std::atomic<uint64_t> to_load{0}, loaded{0};
  };

  using Headers = std::vector<base::ObjectHeader>;

  explicit RocksTier(const RocksTierOptions& options) : options_(options) {}
  // Gives every readable header, until `each` gives an error; drops the others.
  absl::Status ScanHeaders(absl::FunctionRef<absl::Status(DiskRecord)> each);

  absl::Status DropUnreadable(const std::string& key);

  // ---- rocks_tier_load.cc; beside all other calls
  absl::Status LoadAll(const std::atomic<bool>& stop, absl::FunctionRef<void(Headers)> each);
  absl::Status LoadHeaders(const std::atomic<bool>& stop, absl::FunctionRef<void(Headers)> each);
  absl::Status Salvage();
  // What an earlier try has left half done.
  absl::Status FinishPendingSalvage();
  // Unavailable while the headers are not what the disk holds.
  absl::Status CheckSalvaged() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status AdoptBatch(std::vector<DiskRecord>* batch, absl::FunctionRef<void(Headers)> each);
  // Whether its payload is there, and nobody else's; otherwise its header goes, or the other's.
  absl::StatusOr<bool> Adopt(const DiskRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::StatusOr<bool> Outlives(const DiskRecord& record, const Extent& other)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status DropUnusable(const RecordKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  bool IsWhole(const Extent& extent) const;
  // By its checksums. An error of the disk is no answer: the payload may be sound.
  absl::StatusOr<bool> IsDamaged(const RecordKey& key);
  absl::Status FindFirstId();

  // ---- rocks_tier_write.cc; one thread at a time, the leader
  // True: it is done. False: this thread has led a commit, of this request or of earlier ones.
  bool LeadUntilDone(Request& request);
  void CommitGroup(const std::vector<Request*>& group);
  std::vector<Pending> Admit(const std::vector<Request*>& group);
  absl::Status CommitPending(std::vector<Pending>* pending);
  absl::Status WritePayload(const PayloadFile& file, std::vector<Pending>* pending);
  absl::Status WritePieces(const PayloadFile& file, std::vector<Pending>* pending, bool hash);
  absl::Status PrepareUndo(const std::vector<Pending>& pending, rocksdb::WriteBatch* undo) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status WriteHeaders(const std::vector<Pending>& pending);
  void GiveBackFailed(const std::vector<Pending>& pending);
  void SettleFailed(const std::vector<Pending>& pending, const absl::Status& why);
  absl::Status CheckDoubt();
  // Once that is safe. Whether it was, and there was any.
  bool FreeInDoubt() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  uint64_t RoomForPayload() const;

  absl::Status CountRead(absl::Status status);

  // ---- rocks_tier_read.cc
  static absl::StatusOr<DiskRecord> DecodeFor(const RecordKey& key, absl::string_view value);
  absl::StatusOr<DiskRecord> ReadHeader(const RecordKey& key) const;
  using Runs = std::vector<std::span<std::byte>>;
  // By what the index knows, without the header. `differs`: from the checksums that it knows.
  absl::Status ReadLive(const LiveIndex::Entry& entry, const Runs& payload, bool* differs);
  // By the header, checked if `verify`; `payload` null: only read.
  absl::Status ReadPieces(const DiskRecord& record, bool verify, const Runs* payload);
  // Tries until the record that was read is the one that lives.
  absl::Status ReadByHeader(const RecordKey& key, bool verify, const Runs* payload);
  absl::Status ReadByIndex(const RecordKey& key, const Runs& payload);

  const RocksTierOptions options_;
  mutable Counters counters_;
  LiveIndex live_;
  BufferPool buffers_;  // of readers
  // Four requests at the disk with the two threads that a node reads with: six were no faster.
  static constexpr uint32_t kReadHelpers = 2;
  ReadHelpers helpers_{kReadHelpers};

  base::Mutex queue_mutex_;
  base::CondVar queue_changed_;
  std::vector<Request*> queue_ ABSL_GUARDED_BY(queue_mutex_);
  bool leading_ ABSL_GUARDED_BY(queue_mutex_) = false;

  // The leader's own, but for a header with a larger id.
  std::atomic<uint64_t> next_id_{1};
  uint64_t start_ = 1;         // the number of this one, among those that have written
  bool start_marked_ = false;  // on disk
  AlignedBuffer buffer_;

  base::Mutex commit_mutex_;  // headers and index change together
  bool loading_ ABSL_GUARDED_BY(commit_mutex_) = true;
  std::atomic<bool> salvaging_{false};    // changes under commit_mutex_
  std::atomic<bool> load_failed_{false};  // for good
  std::atomic<bool> loaded_{false};       // the opposite, for who need not know exactly
  // While loading: what the headers that are yet to come may still name.
  absl::flat_hash_set<RecordKey> deleted_ ABSL_GUARDED_BY(commit_mutex_);
  // Payload of headers whose write or deletion failed: the next start may find them. Freed once it
  // cannot.
  std::vector<Extent> in_doubt_ ABSL_GUARDED_BY(commit_mutex_);
  std::unique_ptr<RocksDb> rocks_;
  std::unique_ptr<PayloadLog> log_;
  std::unique_ptr<Reclaimer> reclaimer_;  // goes before the log
};

}  // namespace cistern::storage
