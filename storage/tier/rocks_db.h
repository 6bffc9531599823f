// One RocksDB directory of ours: opened, locked, checked for its format, with the options that suit
// it.
//
//   DIR/cistern.lock   held (flock) by the process that has the tier open
//   DIR/rocksdb/       the database: column families default (meta), headers
//   DIR/incoming/      what is being made; emptied at start
//
// It holds small things only: an ordinary LSM tree with a write-ahead log, synced at each commit.
// Payload lies beside it (payload_log.h).
//
// Thread   any, once open
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/mutex.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Env;
class Status;
class WriteBatch;
}  // namespace rocksdb

namespace cistern::storage {

class LogGuard;

inline constexpr uint32_t kDiskFormat = 3;

// `status` with the advice that ends every DataLoss of opening; others as they are.
absl::Status BeyondOpening(const absl::Status& status, const std::string& path);

// The one place where RocksDB's errors become ours. `doing` begins the text, e.g. "writing
// headers".
absl::Status FromRocks(const rocksdb::Status& status, absl::string_view doing);

struct RocksDbOptions {
  std::string path;
  bool direct_io = true;
  rocksdb::Env* env = nullptr;  // null: the default one. Outlives the database
};

class RocksDb {
 public:
  // InvalidArgument: the path cannot be a directory of ours. PermissionDenied. FailedPrecondition:
  // in use, of another format, or somebody else's database. DataLoss: damaged beyond opening. Each
  // text says what to do.
  static absl::StatusOr<std::unique_ptr<RocksDb>> Open(const RocksDbOptions& options);
  ~RocksDb();
  RocksDb(const RocksDb&) = delete;
  RocksDb& operator=(const RocksDb&) = delete;

  rocksdb::DB* db() const { return db_.get(); }
  rocksdb::ColumnFamilyHandle* meta() const { return meta_; }
  // Who still reads with the handle from before ClearHeaders reads what was there then.
  rocksdb::ColumnFamilyHandle* headers() const { return headers_.load(std::memory_order_acquire); }

  // Durable once OK. What failed may lie in the log, whole or torn; every Write heals before it
  // begins, because behind a torn entry nothing of the same log would be found again. When the log
  // fails, `undo` is applied in memory; without it the change stays there (*stays) and becomes
  // durable with the next flush.
  absl::Status Write(rocksdb::WriteBatch* batch, absl::string_view doing,
                     rocksdb::WriteBatch* undo = nullptr, bool* stays = nullptr);
  // Leaves behind a log in which a Write has failed.
  absl::Status Heal();
  // Whether the outcome of what has failed is settled: all logs in which it may lie are worth
  // nothing, and what stayed in memory is durable.
  bool FailedAreGone();

  // Puts an empty column family in place of the headers. May fail half way: then there are none to
  // write to until another call has come to its end.
  absl::Status ClearHeaders();
  bool headers_dropped() const { return headers_dropped_.load(std::memory_order_acquire); }
  // How many there are, about; at once.
  uint64_t EstimateHeaders() const;

  bool direct_io() const { return alignment_ > 1; }
  uint32_t alignment() const { return alignment_; }  // of direct I/O; 1: there is none
  const std::string& path() const { return path_; }

  // Of the file system, for this process. Zero when it cannot be told.
  uint64_t FreeBytes() const;
  // Of the whole file system.
  uint64_t CapacityBytes() const;

 private:
  RocksDb() = default;
  absl::Status TakeDirectory();
  absl::Status OpenDatabase(const RocksDbOptions& options);
  absl::Status CheckCurrent() const;
  absl::Status CheckFormat();
  absl::StatusOr<bool> IsEmpty();
  uint64_t Property(rocksdb::ColumnFamilyHandle* family, const std::string& name) const;
  absl::Status StartFlush(rocksdb::ColumnFamilyHandle* family);
  void SettleFailed();
  absl::Status HealLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);

  base::Mutex write_mutex_;
  bool write_failed_ ABSL_GUARDED_BY(write_mutex_) = false;  // the log may have a torn end
  bool log_in_doubt_ ABSL_GUARDED_BY(write_mutex_) = false;  // so may one that is still needed
  std::chrono::steady_clock::time_point last_flush_ ABSL_GUARDED_BY(write_mutex_);
  bool never_gone_ ABSL_GUARDED_BY(write_mutex_) = false;  // until the next start
  std::string path_;
  int lock_fd_ = -1;
  uint32_t alignment_ = 1;
  std::shared_ptr<LogGuard> guard_;
  std::unique_ptr<rocksdb::Env> env_;  // with the guard in it
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* meta_ = nullptr;
  std::atomic<rocksdb::ColumnFamilyHandle*> headers_{nullptr};
  std::atomic<bool> headers_dropped_{false};
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;  // all there have been
};

}  // namespace cistern::storage
