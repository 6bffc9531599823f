// A disk tier that fails on request: a wrapper around a real one.
//
//   FaultyDisk disk(std::move(real));
//   disk.FailReads(absl::UnavailableError("..."));   until it is told otherwise
//   disk.CorruptReads(true);                         other bytes, and OK: what a tier without
//   checksums would do disk.Block();                                    calls wait until Release
//
// Thread   any
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"

#include "base/mutex.h"
#include "storage/tier/disk_tier.h"

namespace cistern::storage {

class FaultyDisk final : public DiskTier {
 public:
  static constexpr int kForEver = -1;

  explicit FaultyDisk(std::unique_ptr<DiskTier> real) : real_(std::move(real)) {}

  // The next `times` calls fail with `status`; OK ends it.
  void FailReads(absl::Status status, int times = kForEver) {
    Set(&reads_, std::move(status), times);
  }
  void FailWrites(absl::Status status, int times = kForEver) {
    Set(&writes_, std::move(status), times);
  }
  void FailDeletes(absl::Status status, int times = kForEver) {
    Set(&deletes_, std::move(status), times);
  }
  // Reads give other bytes than were written, and say OK.
  void CorruptReads(bool corrupt) {
    base::MutexLock lock(&mutex_);
    corrupt_reads_ = corrupt;
  }

  // From now on reads, writes and deletes stop at the door, until Release.
  void Block() {
    base::MutexLock lock(&mutex_);
    blocked_ = true;
  }
  void Release() {
    {
      base::MutexLock lock(&mutex_);
      blocked_ = false;
    }
    changed_.notify_all();
  }
  // Returns once `calls` calls stand at the door.
  void AwaitBlocked(int calls) {
    base::MutexLock lock(&mutex_);
    changed_.wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return waiting_ >= calls; });
  }

  absl::Status PutModel(const base::ModelSpec& spec) override {
    const absl::Status fault = Enter(&writes_);
    return fault.ok() ? real_->PutModel(spec) : fault;
  }
  absl::Status DeleteModel(const base::Key& fingerprint) override {
    const absl::Status fault = Enter(&deletes_);
    return fault.ok() ? real_->DeleteModel(fingerprint) : fault;
  }
  absl::Status ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) override {
    const absl::Status fault = Enter(&reads_);
    return fault.ok() ? real_->ForEachModel(each) : fault;
  }
  absl::Status ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) override {
    const absl::Status fault = Enter(&reads_);
    return fault.ok() ? real_->ForEachRecord(each) : fault;
  }
  std::vector<absl::Status> Write(const std::vector<Item>& items) override {
    const absl::Status fault = Enter(&writes_);
    return fault.ok() ? real_->Write(items) : std::vector<absl::Status>(items.size(), fault);
  }
  absl::Status Read(const RecordKey& key,
                    const std::vector<std::span<std::byte>>& payload) override {
    if (absl::Status fault = Enter(&reads_); !fault.ok()) return fault;
    const absl::Status status = real_->Read(key, payload);
    base::MutexLock lock(&mutex_);
    if (!status.ok() || !corrupt_reads_) return status;
    for (std::span<std::byte> run : payload) {
      if (!run.empty()) run[run.size() / 2] ^= std::byte{1};
    }
    return status;
  }
  absl::Status Delete(const std::vector<RecordKey>& keys) override {
    const absl::Status fault = Enter(&deletes_);
    return fault.ok() ? real_->Delete(keys) : fault;
  }
  absl::Status Verify(const RecordKey& key) override {
    const absl::Status fault = Enter(&reads_);
    return fault.ok() ? real_->Verify(key) : fault;
  }
  absl::Status Load(const std::atomic<bool>& stop,
                    absl::FunctionRef<void(std::vector<base::ObjectHeader>)> each) override {
    const absl::Status fault = Enter(&reads_);
    return fault.ok() ? real_->Load(stop, each) : fault;
  }
  absl::Status Reclaim() override { return real_->Reclaim(); }
  DiskStats Stats() const override { return real_->Stats(); }

 private:
  struct Fault {
    absl::Status status;
    int times = 0;
  };

  void Set(Fault* fault, absl::Status status, int times) {
    base::MutexLock lock(&mutex_);
    *fault = {std::move(status), times};
  }
  // Waits at the door, and says how the call fails.
  absl::Status Enter(Fault* fault) {
    base::MutexLock lock(&mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !blocked_; });
    --waiting_;
    if (fault->times == 0) return absl::OkStatus();
    if (fault->times > 0) --fault->times;
    return fault->status;
  }

  const std::unique_ptr<DiskTier> real_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool blocked_ ABSL_GUARDED_BY(mutex_) = false;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  bool corrupt_reads_ ABSL_GUARDED_BY(mutex_) = false;
  Fault reads_ ABSL_GUARDED_BY(mutex_), writes_ ABSL_GUARDED_BY(mutex_),
      deletes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::storage
