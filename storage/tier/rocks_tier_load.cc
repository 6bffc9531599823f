// The start: which headers name payload that is there, and everything else is garbage.
#include <algorithm>
#include <utility>
#include <vector>

#include "rocksdb/write_batch.h"

#include "base/status_macros.h"
#include "storage/tier/header_salvage.h"
#include "storage/tier/payload_pieces.h"
#include "storage/tier/rocks_tier.h"

namespace cistern::storage {

absl::Status RocksTier::LoadIndex() {
  std::vector<Found> found;
  const auto add = [&](const RecordKey& key, const DiskRecord& record) {
    found.push_back({key, {record.id, record.extent}});
  };
  absl::Status scanned = ScanHeaders(add);
  if (absl::IsDataLoss(scanned)) {
    CISTERN_ASSIGN_OR_RETURN(const SalvagedHeaders salvaged, SalvageHeaders(rocks_.get()));
    counters_.salvaged_headers.store(salvaged.kept, std::memory_order_relaxed);
    counters_.dropped_headers.fetch_add(salvaged.lost, std::memory_order_relaxed);
    found.clear();
    scanned = ScanHeaders(add);
  }
  CISTERN_RETURN_IF_ERROR(scanned);
  for (const Found& record : found) next_id_ = std::max(next_id_, record.entry.id + 1);
  CISTERN_RETURN_IF_ERROR(DropUnusable(&found));
  for (const Found& record : found) {
    log_->Adopt(record.entry.extent);
    live_.Insert(record.key, record.entry);
  }
  log_->FinishLoading();
  return absl::OkStatus();
}

// Of two extents that overlap, one is not what its header says. So may be one with a hole in it;
// some file systems make holes of zeros. In both cases the checksums tell.
absl::Status RocksTier::DropUnusable(std::vector<Found>* found) {
  std::sort(found->begin(), found->end(), [](const Found& a, const Found& b) {
    const Extent &x = a.entry.extent, &y = b.entry.extent;
    return std::pair(x.file, x.offset) < std::pair(y.file, y.offset);
  });
  std::vector<Found> kept;
  std::vector<RecordKey> dropped;
  kept.reserve(found->size());
  for (Found& record : *found) {
    const Extent& extent = record.entry.extent;
    bool lost = !log_->Contains(extent);
    if (!lost && !IsWhole(extent)) {
      CISTERN_ASSIGN_OR_RETURN(lost, IsDamaged(record));
    }
    if (lost) {
      dropped.push_back(record.key);
      continue;
    }
    if (!kept.empty() && kept.back().entry.extent.file == extent.file &&
        kept.back().entry.extent.end() > extent.offset) {
      Found& earlier = kept.back();
      CISTERN_ASSIGN_OR_RETURN(bool keeps_earlier, IsDamaged(record));
      if (!keeps_earlier && earlier.entry.id > record.entry.id) {
        CISTERN_ASSIGN_OR_RETURN(const bool earlier_damaged, IsDamaged(earlier));
        keeps_earlier = !earlier_damaged;
      }
      dropped.push_back(keeps_earlier ? record.key : earlier.key);
      if (!keeps_earlier) earlier = record;
      continue;
    }
    kept.push_back(record);
  }
  *found = std::move(kept);
  if (dropped.empty()) return absl::OkStatus();
  counters_.dropped_headers.fetch_add(dropped.size(), std::memory_order_relaxed);
  rocksdb::WriteBatch batch;
  for (const RecordKey& key : dropped) batch.Delete(rocks_->headers(), EncodeRecordKey(key));
  return rocks_->Write(&batch, "dropping headers whose payload is not there");
}

bool RocksTier::IsWhole(const Extent& extent) const {
  const auto file = log_->FileOf(extent);
  return file.ok() && (*file)->IsWhole(extent.offset, extent.payload_bytes);
}

absl::StatusOr<bool> RocksTier::IsDamaged(const Found& found) {
  const absl::StatusOr<DiskRecord> record = ReadHeader(found.key);
  if (absl::IsDataLoss(record.status()) || absl::IsNotFound(record.status())) return true;
  CISTERN_RETURN_IF_ERROR(record.status());
  const auto file = log_->FileOf(record->extent);
  if (absl::IsNotFound(file.status())) return true;
  CISTERN_RETURN_IF_ERROR(file.status());
  BufferPool::Loan buffer(&buffers_);
  const absl::Status read = ReadPieces(**file, *record, /*verify=*/true, nullptr, &*buffer);
  if (absl::IsDataLoss(read)) return true;
  CISTERN_RETURN_IF_ERROR(read);
  return false;
}

}  // namespace cistern::storage
