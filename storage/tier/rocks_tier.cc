#include "storage/tier/rocks_tier.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/metadata.h"
#include "rocksdb/write_batch.h"

#include "base/status_macros.h"
#include "storage/tier/byte_runs.h"
#include "storage/tier/header_salvage.h"
#include "storage/tier/piece_file.h"

namespace cistern::storage {
namespace {

constexpr char kModelPrefix[] = "model/";
constexpr int kReadAttempts = 4;  // a record replaced while it is read is read again

absl::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

std::span<const std::byte> Bytes(const rocksdb::Slice& slice) {
  return {reinterpret_cast<const std::byte*>(slice.data()), slice.size()};
}

rocksdb::WriteOptions Synced() {
  rocksdb::WriteOptions options;
  options.sync = true;
  return options;
}

// A record under another object's key is as good as none.
absl::StatusOr<DiskRecord> DecodeFor(const RecordKey& key, const rocksdb::Slice& value) {
  CISTERN_ASSIGN_OR_RETURN(DiskRecord record, DecodeRecord(Bytes(value)));
  if (record.header.content != key.content || record.header.context != key.context) {
    return absl::DataLossError("disk record: it lies under another object's key");
  }
  return record;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DiskTier>> DiskTier::Open(const DiskOptions& options) {
  return RocksTier::Open({.disk = options});
}

absl::StatusOr<std::unique_ptr<RocksTier>> RocksTier::Open(const RocksTierOptions& options) {
  std::unique_ptr<RocksTier> tier(new RocksTier(options));
  RocksDbOptions database{
      .path = options.disk.path, .direct_io = options.disk.direct_io, .env = options.env};
  database.live = &tier->live_;
  CISTERN_ASSIGN_OR_RETURN(tier->rocks_, RocksDb::Open(database));
  CISTERN_RETURN_IF_ERROR(BeyondOpening(FinishSalvage(tier->rocks_.get()), options.disk.path));
  CISTERN_RETURN_IF_ERROR(BeyondOpening(tier->LoadIndex(), options.disk.path));
  tier->reclaimer_ = std::make_unique<Reclaimer>(options.reclaim, tier->rocks_.get(), &tier->live_,
                                                 &tier->judged_below_);
  tier->reclaimer_->Wake();  // pieces of writes that did not come to their headers
  return tier;
}

RocksTier::~RocksTier() = default;

absl::Status RocksTier::LoadIndex() {
  uint64_t last_id = 0;
  const auto add = [&](const RecordKey& key, const DiskRecord& record) {
    live_.Insert(key, {record.id, record.payload_bytes});
    last_id = std::max(last_id, record.id);
  };
  absl::Status scanned = ScanHeaders(add);
  if (absl::IsDataLoss(scanned)) {
    CISTERN_ASSIGN_OR_RETURN(const SalvagedHeaders salvaged, SalvageHeaders(rocks_.get()));
    counters_.salvaged_headers.store(salvaged.kept, std::memory_order_relaxed);
    counters_.dropped_headers.fetch_add(salvaged.lost, std::memory_order_relaxed);
    scanned = ScanHeaders(add);
  }
  CISTERN_RETURN_IF_ERROR(scanned);
  // Numbers of writes that did not come to their headers are not used again either.
  rocksdb::ColumnFamilyMetaData pieces;
  rocks_->db()->GetColumnFamilyMetaData(rocks_->pieces(), &pieces);
  for (const auto& level : pieces.levels) {
    for (const auto& file : level.files) {
      if (const auto last = PieceKey::Decode(file.largestkey))
        last_id = std::max(last_id, last->id);
    }
  }
  next_id_ = last_id + 1;
  judged_below_.store(next_id_, std::memory_order_release);
  return absl::OkStatus();
}

absl::Status RocksTier::ScanHeaders(absl::FunctionRef<void(const RecordKey&, DiskRecord)> each) {
  std::vector<std::string> unreadable;
  std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db()->NewIterator(rocksdb::ReadOptions(), rocks_->headers()));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const absl::StatusOr<RecordKey> key = DecodeRecordKey(View(it->key()));
    absl::StatusOr<DiskRecord> record = key.ok() ? DecodeFor(*key, it->value()) : key.status();
    if (record.ok()) {
      each(*key, *std::move(record));
    } else {
      unreadable.push_back(it->key().ToString());
    }
  }
  CISTERN_RETURN_IF_ERROR(FromRocks(it->status(), "reading headers"));
  for (const std::string& key : unreadable) {
    base::MutexLock lock(&commit_mutex_);
    CISTERN_RETURN_IF_ERROR(FromRocks(rocks_->db()->Delete(Synced(), rocks_->headers(), key),
                                      "dropping an unreadable header"));
    if (const auto record_key = DecodeRecordKey(key); record_key.ok()) live_.Erase(*record_key);
    counters_.dropped_headers.fetch_add(1, std::memory_order_relaxed);
  }
  return absl::OkStatus();
}

absl::Status RocksTier::PutModel(const base::ModelSpec& spec) {
  CISTERN_RETURN_IF_ERROR(spec.Validate());
  const std::string key = absl::StrCat(kModelPrefix, spec.Fingerprint().ToHex());
  return FromRocks(rocks_->db()->Put(Synced(), rocks_->meta(), key, spec.ToJson()),
                   "writing a model");
}

absl::Status RocksTier::DeleteModel(const base::Key& fingerprint) {
  return FromRocks(rocks_->db()->Delete(Synced(), rocks_->meta(),
                                        absl::StrCat(kModelPrefix, fingerprint.ToHex())),
                   "deleting a model");
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
  return ScanHeaders([&](const RecordKey&, DiskRecord record) { each(std::move(record.header)); });
}

absl::StatusOr<DiskRecord> RocksTier::ReadRecord(const RecordKey& key) const {
  if (!live_.Find(key)) {
    return absl::NotFoundError(absl::StrCat("disk tier: no record of ", key.content.ToHex(),
                                            " in the context ", key.context.ToHex()));
  }
  rocksdb::PinnableSlice value;
  const rocksdb::Status got =
      rocks_->db()->Get(rocksdb::ReadOptions(), rocks_->headers(), EncodeRecordKey(key), &value);
  CISTERN_RETURN_IF_ERROR(FromRocks(got, "reading a header"));
  return DecodeFor(key, value);
}

absl::Status RocksTier::ReadPayload(const RecordKey& key, bool verify, uint64_t expected_bytes,
                                    const std::vector<std::span<std::byte>>* payload) {
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    CISTERN_ASSIGN_OR_RETURN(const DiskRecord record, ReadRecord(key));
    if (payload != nullptr && expected_bytes != record.payload_bytes) {
      return absl::DataLossError(absl::StrCat("disk tier: the record has ", record.payload_bytes,
                                              " bytes of payload, ", expected_bytes,
                                              " are expected"));
    }
    absl::Status status;
    if (payload != nullptr) {
      RunCursor<std::byte> cursor(*payload);
      status = ReadPieces(*rocks_, record, verify,
                          [&](std::span<const std::byte> piece) { Scatter(cursor, piece); });
    } else {
      status = ReadPieces(*rocks_, record, verify, [](std::span<const std::byte>) {});
    }
    if (!absl::IsNotFound(status)) return status;
    const auto now = live_.Find(key);
    if (now && now->id == record.id) {
      return absl::DataLossError(absl::StrCat(status.message(), "; the record is incomplete"));
    }
  }
  return absl::UnavailableError(
      "disk tier: the record was replaced again and again while it was read; try again");
}

absl::Status RocksTier::CountRead(absl::Status status) {
  if (status.ok()) {
    counters_.reads.fetch_add(1, std::memory_order_relaxed);
  } else if (!absl::IsNotFound(status)) {
    counters_.read_failures.fetch_add(1, std::memory_order_relaxed);
    if (absl::IsDataLoss(status))
      counters_.checksum_failures.fetch_add(1, std::memory_order_relaxed);
  }
  return status;
}

absl::Status RocksTier::Read(const RecordKey& key,
                             const std::vector<std::span<std::byte>>& payload) {
  return CountRead(ReadPayload(key, options_.disk.verify_checksums, TotalBytes(payload), &payload));
}

absl::Status RocksTier::Verify(const RecordKey& key) {
  return CountRead(ReadPayload(key, /*verify=*/true, 0, nullptr));
}

absl::Status RocksTier::Delete(const std::vector<RecordKey>& keys) {
  rocksdb::WriteBatch batch;
  for (const RecordKey& key : keys) batch.Delete(rocks_->headers(), EncodeRecordKey(key));
  {
    base::MutexLock lock(&commit_mutex_);
    CISTERN_RETURN_IF_ERROR(FromRocks(rocks_->db()->Write(Synced(), &batch), "deleting records"));
    for (const RecordKey& key : keys)
      counters_.deletes.fetch_add(live_.Erase(key), std::memory_order_relaxed);
  }
  reclaimer_->Wake();
  return absl::OkStatus();
}

absl::Status RocksTier::Reclaim() { return reclaimer_->Run(/*all=*/true); }

DiskStats RocksTier::Stats() const {
  DiskStats stats;
  stats.records = live_.records();
  stats.payload_bytes = live_.payload_bytes();
  stats.file_bytes = rocks_->PieceFileBytes();
  stats.reclaimed_bytes = reclaimer_->reclaimed_bytes();
  stats.reclaim_failures = reclaimer_->failures();
  stats.writes = counters_.writes.load(std::memory_order_relaxed);
  stats.write_failures = counters_.write_failures.load(std::memory_order_relaxed);
  stats.reads = counters_.reads.load(std::memory_order_relaxed);
  stats.read_failures = counters_.read_failures.load(std::memory_order_relaxed);
  stats.checksum_failures = counters_.checksum_failures.load(std::memory_order_relaxed);
  stats.commits = counters_.commits.load(std::memory_order_relaxed);
  stats.deletes = counters_.deletes.load(std::memory_order_relaxed);
  stats.salvaged_headers = counters_.salvaged_headers.load(std::memory_order_relaxed);
  stats.dropped_headers = counters_.dropped_headers.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace cistern::storage
