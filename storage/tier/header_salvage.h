// What can be had of the header records when a file of theirs is damaged on disk.
//
// The database reads a file by blocks, and a damaged block, index or footer hides its neighbours.
// A header record says its own length and carries its own checksum (storage/FORMAT.md), so this
// reads the files as plain bytes and keeps every record that is whole. Where the database itself
// can still tell (this key was deleted, that one has a newer value), it is asked.
//
//   SalvageHeaders: files ─► DIR/salvaged.sst ─► FinishSalvage: in place of the headers ─► removed
//
// A kill before salvaged.sst is complete has changed nothing; after it, the next open finishes. So
// has an error before the headers are touched: the file goes. After that the salvage is pending:
// headers must be neither read nor written until FinishSalvage, which may be tried again, is OK.
//
// Loses    records that lie in damaged bytes. May bring back, of such places, a record that was
//          deleted or replaced: its pieces are checked when it is read
// Memory   all headers at once
// Thread   one; nobody writes headers meanwhile
// Errors   those of the database
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/tier/rocks_db.h"

namespace cistern::storage {

struct SalvagedHeaders {
  uint64_t kept = 0;
  uint64_t lost = 0;  // as far as the files can tell, at least 1
};
absl::StatusOr<SalvagedHeaders> SalvageHeaders(RocksDb* rocks);

// Whether a call has failed after the headers began to change.
bool SalvagePending(const RocksDb& rocks);

// Puts what an earlier call has saved in place of the headers, if there is anything.
absl::Status FinishSalvage(RocksDb* rocks);

}  // namespace cistern::storage
