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

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "storage/tier/tier.h"

namespace cistern::storage {

struct DiskOptions {
  std::string path;
  // Of payload kept; 0 = until the disk is full. The directory takes more: each payload is rounded
  // up to 4 KiB, up to 64 MiB of room are made ahead, and what was deleted goes after a moment.
  uint64_t max_bytes = 0;
  bool direct_io = true;  // falls back where the file system has none
  bool verify_checksums = true;
  // Open leaves the headers to Load: until that has read one, its record is not there.
  bool load_later = false;
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
  bool loading = false;  // Load has not come to its end
  uint64_t to_load = 0;  // headers that Open found, about
  uint64_t loaded = 0;   // of them, by Load so far
};

class DiskTier : public Tier {
 public:
  // Opens or makes the directory, and reads all headers unless load_later. Where a file of headers
  // is damaged, those that are whole are kept, the others counted. FailedPrecondition: another
  // process has it, its format is not ours, it is somebody else's, or its file system cannot give
  // back parts of a file. InvalidArgument, PermissionDenied: it cannot be our directory. DataLoss:
  // damaged beyond opening. Each text says what to do.
  static absl::StatusOr<std::unique_ptr<DiskTier>> Open(const DiskOptions& options);

  // Of a Tier's calls. Write: all items become durable together. ForEachRecord: unreadable headers
  // are dropped, deleted and counted. Verify: whatever verify_checksums says.

  // Reads the headers that Open left, in batches, in no order. Each is there from then on, and
  // given to `each` unless it has been written anew or deleted since Open; no Write or Delete comes
  // between a batch and the return of its `each`, which therefore must call neither. Until the end
  // no room of deleted records is given back, and a Write that might pass max_bytes is
  // DeadlineExceeded. Errors: Cancelled once `stop`; Unavailable, ResourceExhausted: call it
  // again, what has been given is not given twice; while headers are half salvaged Write and Delete
  // are Unavailable. Else those of Open, for good: what passes max_bytes is ResourceExhausted then.
  virtual absl::Status Load(const std::atomic<bool>& stop,
                            absl::FunctionRef<void(std::vector<base::ObjectHeader>)> each);

  // Gives the room of deleted records back now; without this call it happens in the background.
  virtual absl::Status Reclaim() { return absl::OkStatus(); }
  virtual DiskStats Stats() const = 0;
};

}  // namespace cistern::storage
