// What a Store sees below itself: a place for objects that leave its memory, and that they are
// brought back from. Tiers stack: a tier may be a store of its own with another tier below.
//
//   Store ─ Tier                    memory over disk (DiskTier)
//   Store ─ MemoryTier: Store ─ Tier      device memory over host memory over disk
//
// An object is there once Write has returned OK for it: not before, and wholly after. A tier keeps
// what it has been given until it is deleted, unless its own bounds make it drop the object: then
// it is NotFound.
//
// Thread   any; calls may block on a disk or on a tier below
// Errors   NotFound: no such record. DataLoss: a checksum or a length does not match; only that
//          object is concerned. ResourceExhausted: it is of no use to wait for room.
//          Unavailable: not now; the same call may succeed later. DeadlineExceeded: it has waited
//          for room, and nothing is wrong
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/model_spec.h"
#include "base/object.h"
#include "storage/store.h"

namespace cistern::storage {

class Tier {
 public:
  virtual ~Tier() = default;

  // ---- Models. A record is written only after its model.
  virtual absl::Status PutModel(const base::ModelSpec& spec) = 0;
  // A model that is not there is no error.
  virtual absl::Status DeleteModel(const base::Key& fingerprint) = 0;
  virtual absl::Status ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) = 0;

  // ---- Objects
  // Every object's header.
  virtual absl::Status ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) = 0;

  struct Item {
    base::ObjectHeader header;
    std::vector<std::span<const std::byte>> payload;  // in page order
  };
  // One status each. A record of the same key is replaced; one whose whole header is the same may
  // be kept instead: the same name is of the same bytes.
  virtual std::vector<absl::Status> Write(const std::vector<Item>& items) = 0;
  // Into `payload`, whose total size must be the record's. After an error its bytes are undefined.
  virtual absl::Status Read(const RecordKey& key,
                            const std::vector<std::span<std::byte>>& payload) = 0;
  // Whether Read would be a copy from memory, just now: it then waits for no disk.
  virtual bool InMemory(const RecordKey& /*key*/) { return false; }
  // Keys that are not there are no error. After an error the next start may find them again.
  virtual absl::Status Delete(const std::vector<RecordKey>& keys) = 0;
  // Reads and checks one record without keeping it.
  virtual absl::Status Verify(const RecordKey& key) = 0;
};

}  // namespace cistern::storage
