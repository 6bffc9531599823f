// Reads: the pieces of one record, and its header where the index does not say enough or what was
// read is not what it says.
#include <utility>

#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"

#include "base/status_macros.h"
#include "storage/tier/byte_runs.h"
#include "storage/tier/rocks_tier.h"

namespace cistern::storage {
namespace {

constexpr int kReadAttempts = 4;  // a record replaced while it is read is read again

absl::Status NoRecord(const RecordKey& key) {
  return absl::NotFoundError(absl::StrCat("disk tier: no record of ", key.content.ToHex(),
                                          " in the context ", key.context.ToHex()));
}

absl::Status CheckSize(uint64_t bytes, const std::vector<std::span<std::byte>>& payload) {
  const uint64_t expected = TotalBytes(payload);
  if (bytes == expected) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("disk tier: the record has ", bytes,
                                          " bytes of payload, ", expected, " are expected"));
}

// The file of a record that lives is gone.
absl::Status Incomplete(const absl::Status& status) {
  if (!absl::IsNotFound(status)) return status;
  return absl::DataLossError(absl::StrCat(status.message(), "; the record is incomplete"));
}

absl::Status ReplacedAgain() {
  return absl::UnavailableError(
      "disk tier: the record was replaced again and again while it was read; try again");
}

}  // namespace

// A record under another object's key is as good as none.
absl::StatusOr<DiskRecord> RocksTier::DecodeFor(const RecordKey& key, absl::string_view value) {
  CISTERN_ASSIGN_OR_RETURN(DiskRecord record,
                           DecodeRecord(std::as_bytes(std::span(value.data(), value.size()))));
  if (record.header.content != key.content || record.header.context != key.context) {
    return absl::DataLossError("disk record: it lies under another object's key");
  }
  return record;
}

absl::StatusOr<DiskRecord> RocksTier::ReadHeader(const RecordKey& key) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status got =
      rocks_->db()->Get(rocksdb::ReadOptions(), rocks_->headers(), EncodeRecordKey(key), &value);
  CISTERN_RETURN_IF_ERROR(FromRocks(got, "reading a header"));
  return DecodeFor(key, {value.data(), value.size()});
}

absl::Status RocksTier::ReadPieces(const DiskRecord& record, bool verify, const Runs* payload) {
  CISTERN_ASSIGN_OR_RETURN(std::shared_ptr<PayloadFile> file, log_->FileOf(record.extent));
  RecordRead read(std::move(file), record.extent, record.piece_bytes, payload, verify, &buffers_);
  read.Work();
  CISTERN_RETURN_IF_ERROR(read.status());
  return verify ? read.Check(record) : absl::OkStatus();
}

absl::Status RocksTier::ReadByHeader(const RecordKey& key, bool verify, const Runs* payload) {
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    if (!live_.Find(key)) return NoRecord(key);
    const absl::StatusOr<DiskRecord> header = ReadHeader(key);
    if (absl::IsNotFound(header.status()) && salvaging_)
      return absl::UnavailableError("disk tier: its headers are being salvaged; try again");
    CISTERN_RETURN_IF_ERROR(header.status());
    if (payload != nullptr)
      CISTERN_RETURN_IF_ERROR(CheckSize(header->extent.payload_bytes, *payload));
    const absl::Status status = ReadPieces(*header, verify, payload);
    // What was replaced or deleted meanwhile may have been given back under the read. A number
    // below the header's: the index is about to learn of it.
    const auto now = live_.Find(key);
    if (now && now->id <= header->id) return Incomplete(status);
  }
  return ReplacedAgain();
}

absl::Status RocksTier::ReadLive(const LiveIndex::Entry& entry, const Runs& payload,
                                 bool* differs) {
  const bool verify = options_.disk.verify_checksums;
  CISTERN_ASSIGN_OR_RETURN(std::shared_ptr<PayloadFile> file, log_->FileOf(entry.extent));
  RecordRead read(std::move(file), entry.extent, kPieceBytes, &payload, verify, &buffers_);
  helpers_.Run([&] { read.Work(); }, read.num_pieces());
  *differs = verify && read.status().ok() && read.digest() != entry.digest;
  return read.status();
}

absl::Status RocksTier::ReadByIndex(const RecordKey& key, const Runs& payload) {
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    const auto entry = live_.Find(key);
    if (!entry) return NoRecord(key);
    CISTERN_RETURN_IF_ERROR(CheckSize(entry->extent.payload_bytes, payload));
    bool differs = entry->digest == 0;
    const absl::Status status = differs ? absl::OkStatus() : ReadLive(*entry, payload, &differs);
    const auto now = live_.Find(key);
    if (!now || now->id != entry->id) continue;  // what was read may have been given back
    if (!differs) return Incomplete(status);
    return ReadByHeader(key, options_.disk.verify_checksums, &payload);
  }
  return ReplacedAgain();
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

absl::Status RocksTier::Read(const RecordKey& key, const Runs& payload) {
  return CountRead(ReadByIndex(key, payload));
}

absl::Status RocksTier::Verify(const RecordKey& key) {
  return CountRead(ReadByHeader(key, /*verify=*/true, nullptr));
}

}  // namespace cistern::storage
