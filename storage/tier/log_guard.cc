#include "storage/tier/log_guard.h"

#include <atomic>
#include <utility>

#include "absl/strings/match.h"

namespace cistern::storage {

class LogGuard::Log final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  Log(std::unique_ptr<rocksdb::FSWritableFile> file, LogGuard* guard)
      : FSWritableFileOwnerWrapper(std::move(file)), guard_(guard) {}
  ~Log() override {
    base::MutexLock lock(&guard_->mutex_);
    if (guard_->newest_ == this) guard_->newest_ = nullptr;
  }

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    return Guard([&] { return FSWritableFileOwnerWrapper::Append(data, options, debug); });
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& /*verification*/,
                           rocksdb::IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  rocksdb::IOStatus Flush(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Guard([&] { return FSWritableFileOwnerWrapper::Flush(options, debug); });
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    return Guard([&] { return FSWritableFileOwnerWrapper::Sync(options, debug); });
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Guard([&] { return FSWritableFileOwnerWrapper::Fsync(options, debug); });
  }
  rocksdb::IOStatus Close(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    (void)FSWritableFileOwnerWrapper::Close(options, debug);  // all that counts was synced
    return rocksdb::IOStatus::OK();
  }

 private:
  template <typename Work>
  rocksdb::IOStatus Guard(Work work) {
    if (failed_) return rocksdb::IOStatus::OK();
    rocksdb::IOStatus status = work();
    if (status.ok()) return status;
    failed_ = true;
    base::MutexLock lock(&guard_->mutex_);
    if (guard_->newest_ == this) guard_->failure_ = std::move(status);
    return rocksdb::IOStatus::OK();
  }

  LogGuard* const guard_;
  std::atomic<bool> failed_{false};
};

rocksdb::IOStatus LogGuard::failure() const {
  base::MutexLock lock(&mutex_);
  return failure_;
}

rocksdb::IOStatus LogGuard::NewWritableFile(const std::string& name,
                                            const rocksdb::FileOptions& options,
                                            std::unique_ptr<rocksdb::FSWritableFile>* result,
                                            rocksdb::IODebugContext* debug) {
  if (!absl::EndsWith(name, ".log")) return target()->NewWritableFile(name, options, result, debug);
  std::unique_ptr<rocksdb::FSWritableFile> file;
  rocksdb::IOStatus status = target()->NewWritableFile(name, options, &file, debug);
  if (!status.ok()) return status;
  auto log = std::make_unique<Log>(std::move(file), this);
  {
    base::MutexLock lock(&mutex_);
    newest_ = log.get();
    failure_ = rocksdb::IOStatus::OK();
  }
  *result = std::move(log);
  return status;
}

}  // namespace cistern::storage
