// Objects on disk: the tier below memory, and what a restarted node still knows.
//
// One object is one header record and pieces of at most 2 MiB of payload; the header carries a
// checksum of each piece. storage/FORMAT.md is the law of every byte. An object is there once Write
// has returned OK: not before, wholly after, whatever is killed in between. The room of deleted and
// replaced records is given back in the background.
//
// Thread   any; calls block on the disk and belong on the node's disk threads. Concurrent Writes
//          share their commits
// Errors   NotFound: no such record. DataLoss: a checksum or a length does not match, or a piece is
//          gone; the record stays until it is deleted. ResourceExhausted: the disk is full or the
//          tier's own bound is reached; reads and deletes go on, and writes do once there is room.
//          Unavailable: an I/O error
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
  // Of payload kept; 0 = until the disk is full. The directory takes more: each payload is rounded
  // up to 4 KiB, up to 64 MiB of room are made ahead, and what was deleted goes after a moment.
  uint64_t max_bytes = 0;
  bool direct_io = true;  // falls back where the file system has none
  bool verify_checksums = true;
};

struct DiskStats {
  uint64_t records = 0;
  uint64_t payload_bytes = 0;
  uint64_t file_bytes = 0;       // what payload takes on disk, what is not given back yet included
  uint64_t reclaimed_bytes = 0;  // given back to the file system since the start
  uint64_t writes = 0, write_failures = 0;
  uint64_t reads = 0, read_failures = 0;
  uint64_t checksum_failures = 0;  // reads that ended in DataLoss
  uint64_t commits = 0;            // that carried writes; concurrent ones share
  uint64_t deletes = 0;
  uint64_t dropped_headers = 0;   // unreadable ones; of damaged files, as many as can be told
  uint64_t salvaged_headers = 0;  // kept when the start found a damaged file of them; else 0
  uint64_t reclaim_failures = 0;
};

class DiskTier {
 public:
  // Opens or makes the directory, and reads all headers. Where a file of headers is damaged, those
  // that are whole are kept, the others counted. FailedPrecondition: another process has
  // it, its format is not ours, it is somebody else's, or its file system cannot give back parts of
  // a file. InvalidArgument, PermissionDenied:
  // it cannot be our directory. DataLoss: damaged beyond opening. Each text says what to do.
  static absl::StatusOr<std::unique_ptr<DiskTier>> Open(const DiskOptions& options);
  virtual ~DiskTier() = default;

  virtual absl::Status PutModel(const base::ModelSpec& spec) = 0;
  // A model that is not there is no error.
  virtual absl::Status DeleteModel(const base::Key& fingerprint) = 0;
  virtual absl::Status ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) = 0;
  // Every object's header. Unreadable headers are dropped, deleted and counted.
  virtual absl::Status ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) = 0;

  struct Item {
    base::ObjectHeader header;
    std::vector<std::span<const std::byte>> payload;  // in page order
  };
  // Writes all of `items` and makes them durable together. One status each. A record of the same
  // key is replaced.
  virtual std::vector<absl::Status> Write(const std::vector<Item>& items) = 0;
  // Into `payload`, whose total size must be the record's. After an error its bytes are undefined.
  virtual absl::Status Read(const RecordKey& key,
                            const std::vector<std::span<std::byte>>& payload) = 0;
  // Keys that are not there are no error.
  virtual absl::Status Delete(const std::vector<RecordKey>& keys) = 0;
  // Reads and checks one record without keeping it, whatever verify_checksums says.
  virtual absl::Status Verify(const RecordKey& key) = 0;
  // Gives the room of deleted records back now; without this call it happens in the background.
  virtual absl::Status Reclaim() { return absl::OkStatus(); }
  virtual DiskStats Stats() const = 0;
};

}  // namespace cistern::storage
