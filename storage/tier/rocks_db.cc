#include "storage/tier/rocks_db.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/write_batch.h"

#include "base/status_macros.h"
#include "storage/tier/disk_dir.h"
#include "storage/tier/log_guard.h"
#include "storage/tier/rocks_options.h"

namespace cistern::storage {
namespace {

namespace fs = std::filesystem;

constexpr char kFormatKey[] = "format";
constexpr std::chrono::seconds kFlushRetryTime{1};
constexpr std::chrono::seconds kSettleTime{2};
constexpr std::chrono::milliseconds kSettleStep{10};

absl::Status ForeignDatabase(const std::string& path, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat(
      "disk tier: ", path, " ", why, "; give another directory, or run the version that wrote it"));
}

absl::Status OldFormat(const std::string& path, uint32_t format) {
  return absl::FailedPreconditionError(absl::StrCat(
      "disk tier: ", path, " was written in format ", format, "; this version knows format ",
      kDiskFormat, " only. Move the directory away to start with an empty tier (what it held ",
      "will be computed again), give another directory, or run the version that wrote it"));
}

constexpr char kOldPiecesFamily[] = "pieces";  // of format 1

// Families that this version does not know come from another one, or from somebody else.
absl::Status CheckFamilies(const std::string& path, rocksdb::Env* env) {
  rocksdb::DBOptions options;
  if (env != nullptr) options.env = env;
  std::vector<std::string> names;
  if (!rocksdb::DB::ListColumnFamilies(options, path, &names).ok())
    return absl::OkStatus();  // new: none to list
  for (const std::string& name : names) {
    if (name == kOldPiecesFamily) return OldFormat(path, 1);
    if (name != rocksdb::kDefaultColumnFamilyName && name != kHeadersFamily) {
      return ForeignDatabase(
          path, absl::StrCat("holds a column family '", name, "' that this version does not know"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BeyondOpening(const absl::Status& status, const std::string& path) {
  if (!absl::IsDataLoss(status)) return status;
  return absl::DataLossError(absl::StrCat(
      status.message(), "; ", path, " is damaged beyond opening: move the directory away to ",
      "start with an empty tier (what it held will be computed again), and check the disk"));
}

absl::Status FromRocks(const rocksdb::Status& status, absl::string_view doing) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat("disk tier: ", doing, ": ", status.ToString());
  if (status.IsNoSpace() || absl::StrContains(text, "No space left")) {
    return absl::ResourceExhaustedError(absl::StrCat(
        text,
        "; the disk is full: free space on it, evict objects, or give the tier another disk"));
  }
  if (status.IsNotFound()) return absl::NotFoundError(text);
  if (status.IsCorruption() || status.IsPathNotFound()) return absl::DataLossError(text);
  if (status.IsIOError() || status.IsBusy() || status.IsTimedOut() || status.IsTryAgain() ||
      status.IsAborted() || status.IsIncomplete() || status.IsShutdownInProgress()) {
    return absl::UnavailableError(text);
  }
  return absl::InternalError(text);
}

absl::StatusOr<std::unique_ptr<RocksDb>> RocksDb::Open(const RocksDbOptions& options) {
  std::unique_ptr<RocksDb> rocks(new RocksDb());
  rocks->path_ = options.path;
  CISTERN_RETURN_IF_ERROR(rocks->TakeDirectory());
  if (options.direct_io) rocks->alignment_ = DirectIoAlignment(rocks->path_ + "/incoming");
  CISTERN_RETURN_IF_ERROR(BeyondOpening(rocks->CheckCurrent(), rocks->path_));
  CISTERN_RETURN_IF_ERROR(BeyondOpening(rocks->OpenDatabase(options), rocks->path_));
  CISTERN_RETURN_IF_ERROR(BeyondOpening(rocks->CheckFormat(), rocks->path_));
  return rocks;
}

// A disk that works again gets what took failed writes back. Otherwise the next start may find
// these writes, whole, as it may after a kill.
void RocksDb::SettleFailed() {
  const auto give_up = std::chrono::steady_clock::now() + kSettleTime;
  if (!Heal().ok()) return;
  while (!FailedAreGone() && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(kSettleStep);
  }
}

RocksDb::~RocksDb() {
  if (db_ != nullptr) {
    SettleFailed();
    for (rocksdb::ColumnFamilyHandle* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
    db_->Close();
  }
  db_.reset();
  if (lock_fd_ >= 0) close(lock_fd_);
}

absl::Status RocksDb::TakeDirectory() {
  CISTERN_RETURN_IF_ERROR(MakeDirectory(path_));
  CISTERN_ASSIGN_OR_RETURN(lock_fd_, LockFile(path_ + "/cistern.lock"));
  CISTERN_RETURN_IF_ERROR(MakeDirectory(path_ + "/rocksdb"));
  CISTERN_RETURN_IF_ERROR(MakeDirectory(path_ + "/incoming"));
  RemoveFiles(path_ + "/incoming");
  return absl::OkStatus();
}

absl::Status RocksDb::OpenDatabase(const RocksDbOptions& options) {
  const std::string path = path_ + "/rocksdb";
  CISTERN_RETURN_IF_ERROR(CheckFamilies(path, options.env));
  rocksdb::Env* const env = options.env != nullptr ? options.env : rocksdb::Env::Default();
  guard_ = std::make_shared<LogGuard>(env->GetFileSystem());
  env_ = rocksdb::NewCompositeEnv(guard_);
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(DatabaseOptions(direct_io(), env_.get()), path, Families(), &handles_, &db);
  db_.reset(db);
  if (opened.ok()) {
    meta_ = handles_.at(0);
    headers_ = handles_.at(1);
    return absl::OkStatus();
  }
  return FromRocks(opened, absl::StrCat("opening ", path));
}

// Without CURRENT, RocksDB would make a new database and remove the old one's files.
absl::Status RocksDb::CheckCurrent() const {
  std::error_code error;
  if (fs::exists(path_ + "/rocksdb/CURRENT", error)) return absl::OkStatus();
  for (const auto& entry : fs::directory_iterator(path_ + "/rocksdb", error)) {
    const std::string name = entry.path().filename();
    if (absl::StartsWith(name, "MANIFEST-") || absl::EndsWith(name, ".sst")) {
      return absl::DataLossError(absl::StrCat("disk tier: ", path_, "/rocksdb has ", name,
                                              ", but no file CURRENT that names its manifest"));
    }
  }
  return absl::OkStatus();
}

absl::Status RocksDb::CheckFormat() {
  std::string text;
  const rocksdb::Status got = db_->Get(rocksdb::ReadOptions(), meta(), kFormatKey, &text);
  if (got.IsNotFound()) {
    CISTERN_ASSIGN_OR_RETURN(const bool empty, IsEmpty());
    if (!empty) return ForeignDatabase(path_, "holds a database without Cistern's format mark");
    const rocksdb::Status put =
        db_->Put(rocksdb::WriteOptions(), meta(), kFormatKey, absl::StrCat(kDiskFormat));
    CISTERN_RETURN_IF_ERROR(FromRocks(put, "writing the format mark"));
    // Out of the log and into a file: damage to the log must not make the database look foreign.
    return FromRocks(db_->Flush(rocksdb::FlushOptions(), meta()), "writing the format mark");
  }
  CISTERN_RETURN_IF_ERROR(FromRocks(got, "reading the format mark"));
  uint32_t format = 0;
  if (!absl::SimpleAtoi(text, &format) || format == 0) {
    return ForeignDatabase(
        path_, absl::StrCat("has the format mark '", text, "', which is none of Cistern's"));
  }
  if (format > kDiskFormat) {
    return ForeignDatabase(path_, absl::StrCat("was written in format ", format,
                                               "; this version knows formats up to ", kDiskFormat));
  }
  if (format < kDiskFormat) return OldFormat(path_, format);
  return absl::OkStatus();
}

absl::StatusOr<bool> RocksDb::IsEmpty() {
  for (rocksdb::ColumnFamilyHandle* handle : {meta(), headers()}) {
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions(), handle));
    it->SeekToFirst();
    if (it->Valid()) return false;
    CISTERN_RETURN_IF_ERROR(FromRocks(it->status(), "looking whether the database is new"));
  }
  return true;
}

absl::Status RocksDb::Write(rocksdb::WriteBatch* batch, absl::string_view doing,
                            rocksdb::WriteBatch* undo, bool* stays) {
  if (stays != nullptr) *stays = false;
  base::MutexLock lock(&write_mutex_);
  CISTERN_RETURN_IF_ERROR(HealLocked());
  rocksdb::WriteOptions sync, no_log;
  sync.sync = true;
  no_log.disableWAL = true;
  const rocksdb::Status written = db_->Write(sync, batch);
  const rocksdb::Status logged = guard_->failure();
  write_failed_ = !written.ok() || !logged.ok();
  if (!written.ok()) return FromRocks(written, doing);
  if (logged.ok()) return absl::OkStatus();
  if (undo == nullptr) {
    if (stays != nullptr) *stays = true;
  } else if (!db_->Write(no_log, undo).ok()) {
    never_gone_ = true;  // what is in memory comes to the disk some time
  }
  return FromRocks(logged, doing);
}

absl::Status RocksDb::Heal() {
  base::MutexLock lock(&write_mutex_);
  return HealLocked();
}

uint64_t RocksDb::Property(rocksdb::ColumnFamilyHandle* family, const std::string& name) const {
  uint64_t value = 0;
  return db_->GetIntProperty(family, name, &value) ? value : 0;
}

// In the background, since RocksDB tries a flush that fails no second time by itself, and lets who
// waits for it wait for ever. Each adds a memtable if there is something to put into it; with too
// many of them writes would stop.
absl::Status RocksDb::StartFlush(rocksdb::ColumnFamilyHandle* family) {
  if (Property(family, rocksdb::DB::Properties::kNumImmutableMemTable) >= kMaxMemtables / 2 &&
      Property(family, rocksdb::DB::Properties::kNumEntriesActiveMemTable) != 0)
    return absl::UnavailableError(
        "disk tier: the database cannot flush its headers after errors of the disk; check the "
        "disk, and start the server again");
  rocksdb::FlushOptions flush;
  flush.wait = false;
  flush.allow_write_stall = true;
  return FromRocks(db_->Flush(flush, family), "flushing headers");
}

bool RocksDb::FailedAreGone() {
  base::MutexLock lock(&write_mutex_);
  if (write_failed_ || never_gone_) return false;
  if (!log_in_doubt_) return true;
  const auto now = std::chrono::steady_clock::now();
  const bool again = now - last_flush_ >= kFlushRetryTime;  // the first one may have failed
  bool flushed = true;
  for (rocksdb::ColumnFamilyHandle* family : {meta(), headers()}) {
    if (Property(family, rocksdb::DB::Properties::kNumImmutableMemTable) == 0) continue;
    flushed = false;
    if (again) (void)StartFlush(family);
  }
  if (again) last_flush_ = now;
  log_in_doubt_ = !flushed;
  return flushed;
}

// A flush begins a new log at once, and when it has ended the old one is worth nothing; if there is
// anything to flush: so there must be, in both families, and it must not pass through the log.
absl::Status RocksDb::HealLocked() {
  if (!write_failed_) return absl::OkStatus();
  if (headers_dropped()) return absl::UnavailableError("disk tier: its headers are being salvaged");
  (void)db_->Resume();  // what is still wrong shows below
  rocksdb::WriteOptions no_log;
  no_log.disableWAL = true;
  rocksdb::WriteBatch batch;
  batch.Put(meta(), kFormatKey, absl::StrCat(kDiskFormat));
  batch.Delete(headers(), rocksdb::Slice());  // no header has this key
  CISTERN_RETURN_IF_ERROR(FromRocks(db_->Write(no_log, &batch), "leaving a damaged log"));
  for (rocksdb::ColumnFamilyHandle* family : {meta(), headers()})
    CISTERN_RETURN_IF_ERROR(StartFlush(family));
  last_flush_ = std::chrono::steady_clock::now();
  log_in_doubt_ = true;
  write_failed_ = false;
  return absl::OkStatus();
}

absl::Status RocksDb::ClearHeaders() {
  base::MutexLock lock(&write_mutex_);
  if (!headers_dropped()) {
    CISTERN_RETURN_IF_ERROR(
        FromRocks(db_->DropColumnFamily(headers()), "dropping damaged headers"));
    headers_dropped_.store(true, std::memory_order_release);
  }
  rocksdb::ColumnFamilyHandle* empty = nullptr;
  CISTERN_RETURN_IF_ERROR(
      FromRocks(db_->CreateColumnFamily(HeadersOptions(), kHeadersFamily, &empty),
                "making room for headers"));
  handles_.push_back(empty);
  headers_.store(empty, std::memory_order_release);
  headers_dropped_.store(false, std::memory_order_release);
  return absl::OkStatus();
}

uint64_t RocksDb::EstimateHeaders() const {
  return Property(headers(), rocksdb::DB::Properties::kEstimateNumKeys);
}

uint64_t RocksDb::FreeBytes() const { return SpaceOf(path_).free_bytes; }
uint64_t RocksDb::CapacityBytes() const { return SpaceOf(path_).capacity_bytes; }

}  // namespace cistern::storage
