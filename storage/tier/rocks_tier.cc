#include "storage/tier/rocks_tier.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"

#include "base/status_macros.h"
#include "storage/tier/header_salvage.h"

namespace cistern::storage {
namespace {

constexpr char kModelPrefix[] = "model/";
constexpr uint64_t kScanReadahead = 2 << 20;

absl::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

}  // namespace

absl::StatusOr<std::unique_ptr<DiskTier>> DiskTier::Open(const DiskOptions& options) {
  return RocksTier::Open({.disk = options});
}

absl::StatusOr<std::unique_ptr<RocksTier>> RocksTier::Open(const RocksTierOptions& options) {
  std::unique_ptr<RocksTier> tier(new RocksTier(options));
  CISTERN_ASSIGN_OR_RETURN(tier->rocks_, RocksDb::Open({.path = options.disk.path,
                                                        .direct_io = options.disk.direct_io,
                                                        .env = options.env}));
  PayloadLogOptions log = options.log;
  log.path = options.disk.path;
  log.alignment = tier->rocks_->alignment();
  CISTERN_ASSIGN_OR_RETURN(tier->log_, PayloadLog::Open(log));
  CISTERN_RETURN_IF_ERROR(BeyondOpening(FinishSalvage(tier->rocks_.get()), options.disk.path));
  CISTERN_RETURN_IF_ERROR(tier->FindFirstId());
  tier->counters_.to_load = tier->rocks_->EstimateHeaders();
  tier->reclaimer_ = std::make_unique<Reclaimer>(tier->log_.get());
  if (!options.disk.load_later) {
    const std::atomic<bool> never{false};
    CISTERN_RETURN_IF_ERROR(tier->Load(never, [](const Headers&) {}));
  }
  return tier;
}

RocksTier::~RocksTier() = default;

absl::Status RocksTier::ScanHeaders(absl::FunctionRef<absl::Status(DiskRecord)> each) {
  std::vector<std::string> unreadable;
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = kScanReadahead;
  std::unique_ptr<rocksdb::Iterator> it;
  {
    base::MutexLock lock(&commit_mutex_);  // between a write that fails and its undoing is no time
    it.reset(rocks_->db()->NewIterator(options, rocks_->headers()));
  }
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const absl::StatusOr<RecordKey> key = DecodeRecordKey(View(it->key()));
    absl::StatusOr<DiskRecord> record =
        key.ok() ? DecodeFor(*key, View(it->value())) : key.status();
    if (record.ok()) {
      CISTERN_RETURN_IF_ERROR(each(*std::move(record)));
    } else {
      unreadable.push_back(it->key().ToString());
    }
  }
  CISTERN_RETURN_IF_ERROR(FromRocks(it->status(), "reading headers"));
  for (const std::string& key : unreadable) CISTERN_RETURN_IF_ERROR(DropUnreadable(key));
  return absl::OkStatus();
}

// Unless somebody has written it anew, or deleted it, since it was seen.
absl::Status RocksTier::DropUnreadable(const std::string& key) {
  const absl::StatusOr<RecordKey> record_key = DecodeRecordKey(key);
  base::MutexLock lock(&commit_mutex_);
  CISTERN_RETURN_IF_ERROR(CheckSalvaged());
  if (record_key.ok()) {
    const absl::Status now = ReadHeader(*record_key).status();
    if (!absl::IsDataLoss(now)) return absl::IsNotFound(now) ? absl::OkStatus() : now;
  }
  rocksdb::WriteBatch batch;
  batch.Delete(rocks_->headers(), key);
  CISTERN_RETURN_IF_ERROR(rocks_->Write(&batch, "dropping an unreadable header"));
  const auto gone = record_key.ok() ? live_.Erase(*record_key) : std::nullopt;
  if (gone) log_->Free(gone->extent);
  counters_.dropped_headers.fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status RocksTier::PutModel(const base::ModelSpec& spec) {
  CISTERN_RETURN_IF_ERROR(spec.Validate());
  const std::string key = absl::StrCat(kModelPrefix, spec.Fingerprint().ToHex());
  rocksdb::WriteBatch batch;
  batch.Put(rocks_->meta(), key, spec.ToJson());
  return rocks_->Write(&batch, "writing a model");
}

absl::Status RocksTier::DeleteModel(const base::Key& fingerprint) {
  rocksdb::WriteBatch batch;
  batch.Delete(rocks_->meta(), absl::StrCat(kModelPrefix, fingerprint.ToHex()));
  return rocks_->Write(&batch, "deleting a model");
}

absl::Status RocksTier::ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) {
  std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db()->NewIterator(rocksdb::ReadOptions(), rocks_->meta()));
  for (it->Seek(kModelPrefix); it->Valid() && it->key().starts_with(kModelPrefix); it->Next()) {
    const absl::StatusOr<base::ModelSpec> spec = base::ModelSpec::FromJson(View(it->value()));
    if (spec.ok() && it->key() == absl::StrCat(kModelPrefix, spec->Fingerprint().ToHex())) {
      each(*spec);
    } else {
      counters_.dropped_headers.fetch_add(1, std::memory_order_relaxed);
    }
  }
  return BeyondOpening(FromRocks(it->status(), "reading models"), rocks_->path());
}

absl::Status RocksTier::ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) {
  return ScanHeaders([&](DiskRecord record) {
    each(std::move(record.header));
    return absl::OkStatus();
  });
}

absl::Status RocksTier::Delete(const std::vector<RecordKey>& keys) {
  absl::Status deleted;
  {
    base::MutexLock lock(&commit_mutex_);  // a salvage puts another column family in place
    CISTERN_RETURN_IF_ERROR(CheckSalvaged());
    rocksdb::WriteBatch batch;
    for (const RecordKey& key : keys) batch.Delete(rocks_->headers(), EncodeRecordKey(key));
    bool stays = false;
    deleted = rocks_->Write(&batch, "deleting records", /*undo=*/nullptr, &stays);
    if (!deleted.ok() && !stays) return deleted;
    FreeInDoubt();
    if (loading_) deleted_.insert(keys.begin(), keys.end());
    for (const RecordKey& key : keys) {
      const auto gone = live_.Erase(key);
      if (!gone) continue;
      counters_.deletes.fetch_add(1, std::memory_order_relaxed);
      if (deleted.ok()) {
        log_->Free(gone->extent);
      } else {
        in_doubt_.push_back(gone->extent);  // the next start may still find the header
      }
    }
  }
  reclaimer_->Wake();
  return deleted;
}

absl::Status RocksTier::Reclaim() {
  {
    base::MutexLock lock(&commit_mutex_);
    FreeInDoubt();
  }
  return reclaimer_->Run();
}

DiskStats RocksTier::Stats() const {
  DiskStats stats;
  stats.records = live_.records();
  stats.payload_bytes = live_.payload_bytes();
  stats.file_bytes = log_->file_bytes();
  stats.reclaimed_bytes = log_->reclaimed_bytes();
  stats.reclaim_failures = reclaimer_->failures();
  stats.writes = counters_.writes.load(std::memory_order_relaxed);
  stats.write_failures = counters_.write_failures.load(std::memory_order_relaxed);
  stats.reads = counters_.reads.load(std::memory_order_relaxed);
  stats.read_failures = counters_.read_failures.load(std::memory_order_relaxed);
  stats.checksum_failures = counters_.checksum_failures.load(std::memory_order_relaxed);
  stats.commits = counters_.commits.load(std::memory_order_relaxed);
  stats.deletes = counters_.deletes.load(std::memory_order_relaxed);
  stats.salvaged_headers = counters_.salvaged_headers.load(std::memory_order_relaxed);
  stats.loading = !loaded_.load(std::memory_order_acquire);
  stats.loaded = counters_.loaded.load(std::memory_order_relaxed);
  stats.to_load = counters_.to_load.load(std::memory_order_relaxed);
  stats.dropped_headers = counters_.dropped_headers.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace cistern::storage
