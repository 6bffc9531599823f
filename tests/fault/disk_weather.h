// What a disk may do to a tier: calls on files of payload that fail, appends to RocksDB's log that
// are refused, torn or not synced, and a power cut.
//
//   PayloadFaults payload;  LogFaults log;      given to RocksTierOptions (log.calls, env)
//   payload.FailNext(Call::kSync, EIO);         one call, once
//   log.FailNext(LogFaults::How::kTorn, true);
//   CopyAsOfPowerCut(from, to, payload, log)    the directory as it would be found afterwards
//
// Thread   any
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

#include "base/mutex.h"
#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {

class PayloadFaults final : public DiskCalls {
 public:
  enum class Call {
    kNone,
    kOpen,
    kSyncDirectory,
    kWrite,
    kShortWrite,  // no error: half of the bytes, and the caller goes on
    kRead,
    kSync,
    kAllocate,
    kPunchHole
  };
  struct Range {
    uint64_t offset, bytes;
  };
  using Unsynced = std::map<std::string, std::vector<Range>>;

  // The next `times` such calls, `skip` of them later, fail with `error`.
  void FailNext(Call call, int error, int skip = 0, int times = 1) {
    base::MutexLock lock(&mutex_);
    call_ = call;
    error_ = error;
    skip_ = skip;
    times_ = times;
  }
  void Clear() { FailNext(Call::kNone, 0); }
  // What was written and would not survive; files that have no name yet are not told apart.
  Unsynced unsynced() const {
    base::MutexLock lock(&mutex_);
    return unsynced_;
  }
  uint64_t syncs() const { return syncs_.load(); }
  bool HasUnsynced() const {
    base::MutexLock lock(&mutex_);
    return !unsynced_.empty() || !nameless_.empty();
  }
  std::vector<std::string> nameless() const {  // created, and their directory not synced since
    base::MutexLock lock(&mutex_);
    return nameless_;
  }
  void Forget() {
    base::MutexLock lock(&mutex_);
    unsynced_.clear();
    nameless_.clear();
  }

  int Open(const char* path, int flags) override {
    if (Fails(Call::kOpen)) return -1;
    const int fd = DiskCalls::Open(path, flags);
    if (fd < 0) return fd;
    const int error = errno;
    base::MutexLock lock(&mutex_);
    paths_[fd] = path;
    if ((flags & O_CREAT) != 0 && absl::EndsWith(path, ".log")) nameless_.emplace_back(path);
    errno = error;
    return fd;
  }
  int SyncDirectory(const char* path) override {
    if (Fails(Call::kSyncDirectory)) return -1;
    const int result = DiskCalls::SyncDirectory(path);
    base::MutexLock lock(&mutex_);
    if (result == 0) nameless_.clear();
    return result;
  }
  ssize_t Write(int fd, const iovec* parts, int count, uint64_t offset) override {
    if (Fails(Call::kWrite)) return -1;
    iovec first = parts[0];
    if (first.iov_len >= 8192 && Hits(Call::kShortWrite)) {
      first.iov_len = first.iov_len / 8192 * 4096;
      parts = &first;
      count = 1;
    }
    const ssize_t done = DiskCalls::Write(fd, parts, count, offset);
    if (done <= 0) return done;
    base::MutexLock lock(&mutex_);
    unsynced_[paths_[fd]].push_back({offset, static_cast<uint64_t>(done)});
    return done;
  }
  ssize_t Read(int fd, const iovec* parts, int count, uint64_t offset) override {
    return Fails(Call::kRead) ? -1 : DiskCalls::Read(fd, parts, count, offset);
  }
  int Sync(int fd) override {
    if (Fails(Call::kSync)) return -1;
    const int result = DiskCalls::Sync(fd);
    base::MutexLock lock(&mutex_);
    ++syncs_;
    if (result == 0) unsynced_.erase(paths_[fd]);
    return result;
  }
  int Allocate(int fd, uint64_t offset, uint64_t bytes) override {
    return Fails(Call::kAllocate) ? -1 : DiskCalls::Allocate(fd, offset, bytes);
  }
  int PunchHole(int fd, uint64_t offset, uint64_t bytes) override {
    return Fails(Call::kPunchHole) ? -1 : DiskCalls::PunchHole(fd, offset, bytes);
  }

 private:
  bool Hits(Call call) {
    base::MutexLock lock(&mutex_);
    if (call_ != call || skip_-- > 0) return false;
    if (--times_ == 0) call_ = Call::kNone;
    return true;
  }
  bool Fails(Call call) {
    if (!Hits(call)) return false;
    base::MutexLock lock(&mutex_);
    errno = error_;
    return true;
  }

  mutable base::Mutex mutex_;
  std::atomic<uint64_t> syncs_{0};
  Call call_ ABSL_GUARDED_BY(mutex_) = Call::kNone;
  int error_ ABSL_GUARDED_BY(mutex_) = 0;
  int skip_ ABSL_GUARDED_BY(mutex_) = 0, times_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, std::string> paths_ ABSL_GUARDED_BY(mutex_);
  Unsynced unsynced_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> nameless_ ABSL_GUARDED_BY(mutex_);
};

// RocksDB's write-ahead logs, and whether it can make tables.
class LogFaults final : public rocksdb::FileSystemWrapper {
 public:
  enum class How {
    kNothing,
    kRefused,  // no byte of it comes into the log
    kTorn,     // half of them
    kWhole,    // all of them, and an error nevertheless
    kUnsynced  // they come, the sync fails
  };
  struct Sizes {
    uint64_t written = 0, synced = 0;
  };

  LogFaults() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "LogFaults"; }

  void FailNext(How how, bool no_space) {
    base::MutexLock lock(&mutex_);
    how_ = how;
    no_space_ = no_space;
  }
  // No table file can be made, so that a log cannot be left behind.
  void RefuseTables(bool refuse) { refuse_tables_.store(refuse); }
  void Clear() {
    FailNext(How::kNothing, false);
    RefuseTables(false);
  }
  // Called before each append; for tests that watch the order of things.
  void Watch(std::function<void()> before_append) {
    base::MutexLock lock(&mutex_);
    before_append_ = std::move(before_append);
  }
  std::map<std::string, Sizes> sizes() const {
    base::MutexLock lock(&mutex_);
    return sizes_;
  }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;

 private:
  friend class FaultyLog;

  How TakeAppend() {
    base::MutexLock lock(&mutex_);
    if (before_append_) before_append_();
    return how_ == How::kUnsynced ? How::kNothing : std::exchange(how_, How::kNothing);
  }
  bool TakeSync() {
    base::MutexLock lock(&mutex_);
    if (how_ != How::kUnsynced) return false;
    how_ = How::kNothing;
    return true;
  }
  rocksdb::IOStatus Error() const {
    base::MutexLock lock(&mutex_);
    return no_space_ ? rocksdb::IOStatus::NoSpace("No space left on device")
                     : rocksdb::IOStatus::IOError("Input/output error");
  }
  void Wrote(const std::string& name, uint64_t bytes) {
    base::MutexLock lock(&mutex_);
    sizes_[name].written += bytes;
  }
  void Synced(const std::string& name) {
    base::MutexLock lock(&mutex_);
    sizes_[name].synced = sizes_[name].written;
  }

  std::atomic<bool> refuse_tables_{false};
  mutable base::Mutex mutex_;
  How how_ ABSL_GUARDED_BY(mutex_) = How::kNothing;
  bool no_space_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> before_append_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Sizes> sizes_ ABSL_GUARDED_BY(mutex_);
};

class FaultyLog final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultyLog(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name, LogFaults* faults)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), faults_(faults) {}
  using FSWritableFileOwnerWrapper::Append;

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    const LogFaults::How how = faults_->TakeAppend();
    if (how == LogFaults::How::kRefused) return faults_->Error();
    const uint64_t bytes = how == LogFaults::How::kTorn ? data.size() / 2 : data.size();
    const rocksdb::Slice taken(data.data(), bytes);
    const rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Append(taken, options, debug);
    if (status.ok()) faults_->Wrote(name_, bytes);
    return status.ok() && how != LogFaults::How::kNothing ? faults_->Error() : status;
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    if (faults_->TakeSync()) return faults_->Error();
    const rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Sync(options, debug);
    if (status.ok()) faults_->Synced(name_);
    return status;
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Sync(options, debug);
  }

 private:
  const std::string name_;
  LogFaults* const faults_;
};

inline rocksdb::IOStatus LogFaults::NewWritableFile(
    const std::string& name, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSWritableFile>* result, rocksdb::IODebugContext* debug) {
  if (refuse_tables_.load() && absl::EndsWith(name, ".sst"))
    return rocksdb::IOStatus::IOError("Input/output error");
  if (!absl::EndsWith(name, ".log")) return target()->NewWritableFile(name, options, result, debug);
  std::unique_ptr<rocksdb::FSWritableFile> file;
  rocksdb::IOStatus status = target()->NewWritableFile(name, options, &file, debug);
  if (!status.ok()) return status;
  {
    base::MutexLock lock(&mutex_);
    sizes_[name] = {};
  }
  *result = std::make_unique<FaultyLog>(std::move(file), name, this);
  return status;
}

// ---- The directory, as it would be found after the process or the machine died at this moment.

// Holes stay holes. A file that goes away meanwhile is left out, and of one that is cut (RocksDB
// writes tables in whole pages, and cuts them at the end) there is what could still be read.
inline void CopySparse(const std::string& from, const std::string& to) {
  const int in = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return;
  const int out = open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  struct stat before {
  }, after{};
  ASSERT_GE(out, 0);
  ASSERT_EQ(fstat(in, &before), 0);
  std::vector<char> bytes;
  for (off_t at = 0;;) {
    const off_t begin = lseek(in, at, SEEK_DATA);
    const off_t end = begin < 0 ? -1 : lseek(in, begin, SEEK_HOLE);
    if (end < 0) break;
    bytes.resize(static_cast<size_t>(end - begin));
    const ssize_t got = pread(in, bytes.data(), bytes.size(), begin);
    ASSERT_GE(got, 0);
    ASSERT_EQ(pwrite(out, bytes.data(), static_cast<size_t>(got), begin), got);
    at = begin + got;
    if (at < end) break;
  }
  ASSERT_EQ(fstat(in, &after), 0);
  ASSERT_EQ(ftruncate(out, std::min(before.st_size, after.st_size)), 0);
  close(out);
  close(in);
}

// Of an open tier on which nobody works but its own threads. RocksDB's manifest first: what it
// names is not deleted meanwhile.
inline void CopyAsOfKill(const RocksTier& tier, const std::string& from, const std::string& to) {
  ASSERT_TRUE(tier.rocks().db()->DisableFileDeletions().ok());
  std::filesystem::create_directories(to + "/rocksdb");
  const auto copy = [&](bool manifest) {
    for (const std::string sub : {"/rocksdb/", "/"}) {
      for (const auto& entry : std::filesystem::directory_iterator(from + sub)) {
        const std::string name = entry.path().filename();
        const bool is_manifest = absl::StartsWith(name, "MANIFEST") || name == "CURRENT";
        std::error_code gone;
        if (entry.is_regular_file(gone) && is_manifest == manifest)
          CopySparse(entry.path(), to + sub + name);
      }
    }
  };
  copy(true);
  copy(false);
  ASSERT_TRUE(tier.rocks().db()->EnableFileDeletions(/*force=*/false).ok());
}

// Besides, what was not synced is gone: other bytes in place of payload, shorter logs, no names.
inline void CopyAsOfPowerCut(const RocksTier& tier, const std::string& from, const std::string& to,
                             const PayloadFaults& payload, const LogFaults& log) {
  CopyAsOfKill(tier, from, to);
  const auto moved = [&](const std::string& path) { return to + path.substr(from.size()); };
  for (const auto& [path, ranges] : payload.unsynced()) {
    const int fd = open(moved(path).c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) continue;  // removed meanwhile
    for (const PayloadFaults::Range& range : ranges) {
      const std::vector<char> other(range.bytes, '\x5a');
      ASSERT_EQ(pwrite(fd, other.data(), other.size(), static_cast<off_t>(range.offset)),
                static_cast<ssize_t>(other.size()));
    }
    close(fd);
  }
  for (const std::string& path : payload.nameless()) unlink(moved(path).c_str());
  for (const auto& [path, sizes] : log.sizes()) {
    if (absl::StartsWith(path, from + "/") && sizes.synced < sizes.written)
      (void)truncate(moved(path).c_str(), static_cast<off_t>(sizes.synced));
  }
}

}  // namespace cistern::storage
