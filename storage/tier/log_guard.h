// Keeps errors of the disk away from RocksDB's write-ahead log: RocksDB is told that all went well,
// and RocksDb::Write, which asks here, takes the write back.
//
// Why: RocksDB 7.8 with paranoid checks off goes on writing behind a torn entry, where the next
// start finds nothing; and Debian builds it with assertions, which end the process when a log whose
// writer has seen an error is synced or closed by a flush.
//
// After an error nothing more comes into that log, and it says OK to everything; the next log is
// sound again.
//
// Thread   any
#pragma once

#include <memory>
#include <string>

#include "rocksdb/file_system.h"

#include "base/mutex.h"

namespace cistern::storage {

class LogGuard final : public rocksdb::FileSystemWrapper {
 public:
  explicit LogGuard(const std::shared_ptr<rocksdb::FileSystem>& base) : FileSystemWrapper(base) {}
  const char* Name() const override { return "LogGuard"; }

  // What the newest log has met with; OK: nothing.
  rocksdb::IOStatus failure() const;

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;

 private:
  class Log;

  mutable base::Mutex mutex_;
  const Log* newest_ ABSL_GUARDED_BY(mutex_) = nullptr;
  rocksdb::IOStatus failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::storage
