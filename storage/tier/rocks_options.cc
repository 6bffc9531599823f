#include "storage/tier/rocks_options.h"

#include <cstdarg>
#include <memory>

#include "rocksdb/cache.h"
#include "rocksdb/env.h"
#include "rocksdb/table.h"

namespace cistern::storage {
namespace {

// RocksDB's own log file is no help to anybody here (errors come back as statuses) and a danger on
// a full disk: its logger goes on appending after an error, which packaged RocksDB asserts against.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

}  // namespace

rocksdb::DBOptions DatabaseOptions(bool direct_io, rocksdb::Env* env) {
  rocksdb::DBOptions options;
  if (env != nullptr) options.env = env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = false;  // a damaged or lost file costs its objects, not the whole tier
  // Records of the log do not depend on each other: a damaged one costs itself only.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
  options.use_direct_reads = direct_io;
  options.use_direct_io_for_flush_and_compaction = direct_io;
  options.writable_file_max_buffer_size = 1 << 20;  // larger ones measured slower: fresh memory
  options.compaction_readahead_size = 2 << 20;
  options.max_open_files = 128;  // opening one costs three small reads
  options.max_file_opening_threads = 2;
  options.max_background_jobs = 2;
  options.max_total_wal_size = 64 << 20;
  options.manifest_preallocation_size = 64 << 10;
  // Nothing but what took a failed write back is in no log. Closing would wait for it to be
  // flushed, and after an error of the disk for ever; see ~RocksDb.
  options.avoid_flush_during_shutdown = true;
  options.skip_stats_update_on_db_open = true;  // would read every file at start
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.info_log = std::make_shared<NoLog>();
  options.info_log_level = rocksdb::FATAL_LEVEL;
  return options;
}

rocksdb::ColumnFamilyOptions HeadersOptions() {
  rocksdb::ColumnFamilyOptions options;
  options.compression = rocksdb::kNoCompression;  // keys and checksums; token ids would save a few
                                                  // bytes in a megabyte
  options.write_buffer_size = 8 << 20;
  options.max_write_buffer_number = kMaxMemtables;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(8 << 20);
  table.checksum = rocksdb::kXXH3;
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> Families() {
  rocksdb::ColumnFamilyOptions meta = HeadersOptions();
  meta.write_buffer_size = 1 << 20;
  return {{rocksdb::kDefaultColumnFamilyName, meta}, {kHeadersFamily, HeadersOptions()}};
}

}  // namespace cistern::storage
