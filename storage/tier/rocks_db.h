// One RocksDB directory of ours: opened, locked, checked for its format, with the options that suit
// it.
//
//   DIR/cistern.lock   held (flock) by the process that has the tier open
//   DIR/rocksdb/       the database: column families default (meta), headers, pieces
//   DIR/incoming/      piece files being written; emptied at start
//
// Header records are small and random: an ordinary LSM tree with a write-ahead log, synced at each
// commit. Pieces are large and ordered: each file is written once, by us, and handed over whole
// (IngestExternalFile), so that payload passes no log, no memtable and no automatic compaction.
// Measured against memtables without a log: 1.2 to 2.2 times the write rate (storage/FORMAT.md,
// "Disk records").
//
// Thread   any, once open
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Env;
class Status;
}  // namespace rocksdb

namespace cistern::storage {

class LiveIndex;

inline constexpr uint32_t kDiskFormat = 1;

// `status` with the advice that ends every DataLoss of opening; others as they are.
absl::Status BeyondOpening(const absl::Status& status, const std::string& path);

// The one place where RocksDB's errors become ours. `doing` begins the text, e.g. "writing pieces".
absl::Status FromRocks(const rocksdb::Status& status, absl::string_view doing);

struct RocksDbOptions {
  std::string path;
  bool direct_io = true;
  rocksdb::Env* env = nullptr;      // null: the default one. Outlives the database
  const LiveIndex* live = nullptr;  // what compaction keeps. Outlives the database
};

class RocksDb {
 public:
  // InvalidArgument: the path cannot be a directory of ours. PermissionDenied. FailedPrecondition:
  // in use, of a newer format, or somebody else's database. DataLoss: damaged beyond opening. Each
  // text says what to do.
  static absl::StatusOr<std::unique_ptr<RocksDb>> Open(const RocksDbOptions& options);
  ~RocksDb();
  RocksDb(const RocksDb&) = delete;
  RocksDb& operator=(const RocksDb&) = delete;

  rocksdb::DB* db() const { return db_.get(); }
  rocksdb::ColumnFamilyHandle* meta() const { return handles_[0]; }
  rocksdb::ColumnFamilyHandle* headers() const { return handles_[1]; }
  rocksdb::ColumnFamilyHandle* pieces() const { return handles_[2]; }

  // Puts an empty column family in place of the headers.
  absl::Status ClearHeaders();

  bool direct_io() const { return direct_io_; }
  const std::string& path() const { return path_; }
  std::string IncomingPath(uint64_t id) const;  // of the file whose first write is `id`

  // Of the file system, for this process. Zero when it cannot be told.
  uint64_t FreeBytes() const;
  // Of the whole file system.
  uint64_t CapacityBytes() const;
  // Of the piece files that the database holds now.
  uint64_t PieceFileBytes() const;

 private:
  RocksDb() = default;
  absl::Status TakeDirectory();
  absl::Status OpenDatabase(const RocksDbOptions& options);
  absl::Status CheckCurrent() const;
  absl::Status CheckFormat();
  absl::StatusOr<bool> IsEmpty();

  std::string path_;
  int lock_fd_ = -1;
  bool direct_io_ = false;
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* handles_[3] = {nullptr, nullptr, nullptr};
};

}  // namespace cistern::storage
