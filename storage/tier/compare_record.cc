#include "storage/tier/compare_record.h"

#include <cstring>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "storage/tier/record_slices.h"

namespace cistern::storage {
namespace {

using Slices = std::vector<std::span<std::byte>>;

struct HeldForComparison {
  RecordKey key;
  LeaseId lease = 0;
  Slices slices;
};

absl::StatusOr<HeldForComparison> Hold(LockedStore& locked, const Arena& arena, ObjectId id,
                                       SessionId session, uint64_t blob_block_bytes,
                                       absl::Time now) {
  return locked.With([&](Store& store) -> absl::StatusOr<HeldForComparison> {
    const ObjectView view = store.Describe(id);
    if (view.where != Where::kMemory) return absl::AbortedError("it is not in memory");
    CISTERN_ASSIGN_OR_RETURN(const ObjectShape shape, ShapeOf(*view.header, blob_block_bytes));
    HeldForComparison held;
    held.key = {view.header->content, view.header->context};
    absl::StatusOr<Lease> lease = store.Acquire(session, id, now);
    if (!lease.ok()) return absl::AbortedError(lease.status().message());
    held.lease = lease->id;
    held.slices = RecordSlices(arena.data(), shape, lease->blocks);
    return held;
  });
}

bool Equal(const Slices& slices, const std::vector<std::byte>& bytes) {
  size_t at = 0;
  for (const std::span<std::byte> slice : slices) {
    if (std::memcmp(bytes.data() + at, slice.data(), slice.size()) != 0) return false;
    at += slice.size();
  }
  return true;
}

}  // namespace

bool Comparable(const Store& store, const base::ObjectHeader& header) {
  return header.kind == base::ObjectKind::kSegment ||
         header.PayloadBytes(store.FindModel(header.model)) <= kMaxComparedBytes;
}

absl::Status CompareWithRecord(LockedStore& store, const Arena& arena, Tier& below, ObjectId id,
                               SessionId session, uint64_t blob_block_bytes, absl::Time now) {
  CISTERN_ASSIGN_OR_RETURN(const HeldForComparison held,
                           Hold(store, arena, id, session, blob_block_bytes, now));
  size_t bytes = 0;
  for (const std::span<std::byte> slice : held.slices) bytes += slice.size();
  std::vector<std::byte> record(bytes);
  absl::Status status = below.Read(held.key, {record});
  if (status.ok() && !Equal(held.slices, record)) {
    status = below.Verify(held.key);  // the record may have checksums, memory has none
    if (status.ok()) status = absl::InternalError("memory holds other bytes than the tier below");
  }
  store.With([&](Store& locked) { locked.Release(session, held.lease).IgnoreError(); });
  return status;
}

}  // namespace cistern::storage
