// Objects on disk, in RocksDB: the tier below memory, and what a restarted node still knows.
//
// One object is one header record and pieces of at most 2 MiB of payload; the header carries a
// checksum of all of it. storage/FORMAT.md is the law of every byte. An object is there once Write
// has returned OK: not before, wholly after, whatever is killed in between.
//
// Thread   any; calls block on the disk and belong on the node's disk threads
// Errors   NotFound: no such record. DataLoss: a checksum or a length does not match.
// ResourceExhausted: the disk is
//          full or the tier's own bound is reached. Unavailable: RocksDB reports an I/O error
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/model_spec.h"
#include "base/object.h"
#include "storage/store.h"

namespace cistern::storage {

struct DiskOptions {
  std::string path;
  uint64_t max_bytes = 0;  // of payload kept; 0 = until the disk is full
  bool direct_io = true;   // falls back where the file system has none
  bool verify_checksums = true;
};

struct DiskStats {
  uint64_t records = 0;
  uint64_t payload_bytes = 0;
  uint64_t writes = 0, write_failures = 0, reads = 0, read_failures = 0, checksum_failures = 0,
           deletes = 0;
};

class DiskTier {
 public:
  // Opens or makes the directory. FailedPrecondition when another process has it or its format is
  // newer than ours.
  static absl::StatusOr<std::unique_ptr<DiskTier>> Open(const DiskOptions& options);
  virtual ~DiskTier() = default;

  virtual absl::Status PutModel(const base::ModelSpec& spec) = 0;
  virtual absl::Status ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) = 0;
  // Every object's header. Unreadable headers are dropped, deleted and counted.
  virtual absl::Status ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) = 0;

  struct Item {
    base::ObjectHeader header;
    std::vector<std::span<const std::byte>> payload;  // in page order
  };
  // Writes all of `items` and makes them durable together. One status each.
  virtual std::vector<absl::Status> Write(const std::vector<Item>& items) = 0;
  // Into `payload`, whose total size must be the record's.
  virtual absl::Status Read(const RecordKey& key,
                            const std::vector<std::span<std::byte>>& payload) = 0;
  virtual absl::Status Delete(const std::vector<RecordKey>& keys) = 0;
  // Reads and checks one record without keeping it.
  virtual absl::Status Verify(const RecordKey& key) = 0;
  virtual DiskStats Stats() const = 0;
};

}  // namespace cistern::storage
