// The start: which headers name payload that is there, and everything else is garbage.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"

#include "base/status_macros.h"
#include "storage/tier/header_salvage.h"
#include "storage/tier/rocks_tier.h"

namespace cistern::storage {
namespace {

// Adopted together: writes and deletions wait for no more, and `each` of a store holds its lock for
// no more than a few hundred microseconds.
constexpr size_t kBatchHeaders = 128;

}  // namespace

// Ids of this start are above those of all earlier ones: also of such as have left no mark, whose
// ids are small.
absl::Status RocksTier::FindFirstId() {
  std::string text;
  const rocksdb::Status got =
      rocks_->db()->Get(rocksdb::ReadOptions(), rocks_->meta(), kStartsKey, &text);
  uint64_t last = 0;
  if (!got.IsNotFound()) CISTERN_RETURN_IF_ERROR(FromRocks(got, "reading the number of starts"));
  if (got.ok() && !absl::SimpleAtoi(text, &last)) last = 0;  // damaged: the headers will tell
  start_ = last + 1;
  next_id_ = start_ << kStartShift;
  return absl::OkStatus();
}

absl::Status DiskTier::Load(const std::atomic<bool>& stop,
                            absl::FunctionRef<void(std::vector<base::ObjectHeader>)> each) {
  std::vector<base::ObjectHeader> headers;
  CISTERN_RETURN_IF_ERROR(
      ForEachRecord([&](base::ObjectHeader header) { headers.push_back(std::move(header)); }));
  if (stop) return absl::CancelledError("stopped");
  each(std::move(headers));
  return absl::OkStatus();
}

absl::Status RocksTier::Load(const std::atomic<bool>& stop,
                             absl::FunctionRef<void(std::vector<base::ObjectHeader>)> each) {
  absl::Status status = LoadAll(stop, each);
  load_failed_ = !status.ok() && !absl::IsCancelled(status) && !absl::IsUnavailable(status) &&
                 !absl::IsResourceExhausted(status);
  return status;
}

absl::Status RocksTier::LoadAll(const std::atomic<bool>& stop,
                                absl::FunctionRef<void(Headers)> each) {
  CISTERN_RETURN_IF_ERROR(BeyondOpening(FinishPendingSalvage(), options_.disk.path));
  absl::Status scanned = LoadHeaders(stop, each);
  if (absl::IsDataLoss(scanned)) {
    CISTERN_RETURN_IF_ERROR(BeyondOpening(Salvage(), options_.disk.path));
    scanned = LoadHeaders(stop, each);
  }
  CISTERN_RETURN_IF_ERROR(BeyondOpening(scanned, options_.disk.path));
  {
    base::MutexLock lock(&commit_mutex_);
    log_->FinishLoading();
    loading_ = false;
    deleted_ = {};
  }
  loaded_.store(true, std::memory_order_release);
  reclaimer_->Wake();  // payload of writes that did not come to their headers
  return absl::OkStatus();
}

absl::Status RocksTier::LoadHeaders(const std::atomic<bool>& stop,
                                    absl::FunctionRef<void(Headers)> each) {
  std::vector<DiskRecord> batch;
  counters_.loaded.store(0, std::memory_order_relaxed);
  CISTERN_RETURN_IF_ERROR(ScanHeaders([&](DiskRecord record) -> absl::Status {
    if (stop) return absl::CancelledError("disk tier: stopped while headers were read");
    batch.push_back(std::move(record));
    return batch.size() < kBatchHeaders ? absl::OkStatus() : AdoptBatch(&batch, each);
  }));
  return AdoptBatch(&batch, each);
}

// Writes and deletions wait, reads of what is there do not.
absl::Status RocksTier::Salvage() {
  base::MutexLock lock(&commit_mutex_);
  salvaging_ = true;
  const absl::StatusOr<SalvagedHeaders> salvaged = SalvageHeaders(rocks_.get());
  salvaging_ = !salvaged.ok() && SalvagePending(*rocks_);
  CISTERN_RETURN_IF_ERROR(salvaged.status());
  counters_.salvaged_headers.store(salvaged->kept, std::memory_order_relaxed);
  counters_.dropped_headers.fetch_add(salvaged->lost, std::memory_order_relaxed);
  return absl::OkStatus();
}

// The headers may be empty: a scan of them would make garbage of all payload.
absl::Status RocksTier::FinishPendingSalvage() {
  base::MutexLock lock(&commit_mutex_);
  if (!salvaging_) return absl::OkStatus();
  CISTERN_RETURN_IF_ERROR(FinishSalvage(rocks_.get()));
  salvaging_ = false;
  return absl::OkStatus();
}

absl::Status RocksTier::CheckSalvaged() const {
  if (!salvaging_) return absl::OkStatus();
  return absl::UnavailableError(
      "disk tier: salvaging its damaged headers has failed half way and is tried again; check the "
      "disk");
}

absl::Status RocksTier::AdoptBatch(std::vector<DiskRecord>* batch,
                                   absl::FunctionRef<void(Headers)> each) {
  Headers headers;
  headers.reserve(batch->size());
  absl::Status status;
  base::MutexLock lock(&commit_mutex_);
  for (DiskRecord& record : *batch) {
    const RecordKey key = KeyOf(record.header);
    if (deleted_.contains(key) || live_.Find(key)) continue;
    const absl::StatusOr<bool> adopted = Adopt(record);
    status = adopted.status();
    if (!status.ok()) break;  // what came before it is given all the same
    if (!*adopted) continue;
    uint64_t next = next_id_.load();  // the leader of a commit takes ids meanwhile
    while (record.id >= next && !next_id_.compare_exchange_weak(next, record.id + 1)) {
    }
    live_.Insert(key, LiveIndex::EntryOf(record));
    headers.push_back(std::move(record.header));
  }
  counters_.loaded.fetch_add(batch->size(), std::memory_order_relaxed);
  batch->clear();
  each(std::move(headers));
  return status;
}

// Of two extents that overlap, one is not what its header says. So may be one with a hole in it;
// some file systems make holes of zeros. In both cases the checksums tell.
absl::StatusOr<bool> RocksTier::Adopt(const DiskRecord& record) {
  const RecordKey key = KeyOf(record.header);
  bool lost = !log_->Contains(record.extent);
  if (!lost && !IsWhole(record.extent)) {
    CISTERN_ASSIGN_OR_RETURN(lost, IsDamaged(key));
  }
  while (!lost) {
    const std::optional<Extent> other = log_->Adopt(record.extent);
    if (!other) return true;
    CISTERN_ASSIGN_OR_RETURN(const bool outlives, Outlives(record, *other));
    lost = !outlives;
  }
  CISTERN_RETURN_IF_ERROR(DropUnusable(key));
  return false;
}

// Whether `record`, and not the record that `other` has been adopted for; that one is then gone.
absl::StatusOr<bool> RocksTier::Outlives(const DiskRecord& record, const Extent& other) {
  CISTERN_ASSIGN_OR_RETURN(const bool damaged, IsDamaged(KeyOf(record.header)));
  if (damaged) return false;
  const auto [key, entry] = live_.At(other);
  if (entry.id > record.id) {
    CISTERN_ASSIGN_OR_RETURN(const bool other_damaged, IsDamaged(key));
    if (!other_damaged) return false;
  }
  CISTERN_RETURN_IF_ERROR(DropUnusable(key));
  live_.Erase(key);
  log_->Free(other);
  return true;
}

absl::Status RocksTier::DropUnusable(const RecordKey& key) {
  counters_.dropped_headers.fetch_add(1, std::memory_order_relaxed);
  rocksdb::WriteBatch batch;
  batch.Delete(rocks_->headers(), EncodeRecordKey(key));
  return rocks_->Write(&batch, "dropping a header whose payload is not there");
}

bool RocksTier::IsWhole(const Extent& extent) const {
  const auto file = log_->FileOf(extent);
  return file.ok() && (*file)->IsWhole(extent.offset, extent.payload_bytes);
}

absl::StatusOr<bool> RocksTier::IsDamaged(const RecordKey& key) {
  const absl::StatusOr<DiskRecord> record = ReadHeader(key);
  if (absl::IsDataLoss(record.status()) || absl::IsNotFound(record.status())) return true;
  CISTERN_RETURN_IF_ERROR(record.status());
  const absl::Status read = ReadPieces(*record, /*verify=*/true, nullptr);
  if (absl::IsDataLoss(read) || absl::IsNotFound(read)) return true;
  CISTERN_RETURN_IF_ERROR(read);
  return false;
}

}  // namespace cistern::storage
