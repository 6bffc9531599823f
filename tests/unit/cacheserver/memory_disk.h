// A disk tier in memory, for tests of what the node does around one.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "storage/tier/disk_tier.h"

namespace cistern::cacheserver {

class MemoryDisk final : public storage::DiskTier {
 public:
  absl::Status PutModel(const base::ModelSpec& spec) override {
    base::MutexLock lock(&mutex_);
    models_[spec.Fingerprint()] = spec;
    return absl::OkStatus();
  }
  absl::Status DeleteModel(const base::Key& fingerprint) override {
    base::MutexLock lock(&mutex_);
    models_.erase(fingerprint);
    return absl::OkStatus();
  }
  absl::Status ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) override {
    base::MutexLock lock(&mutex_);
    for (const auto& [key, spec] : models_) each(spec);
    return absl::OkStatus();
  }
  absl::Status ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) override {
    base::MutexLock lock(&mutex_);
    for (const auto& [key, record] : records_) each(record.header);
    return absl::OkStatus();
  }
  std::vector<absl::Status> Write(const std::vector<Item>& items) override {
    base::MutexLock lock(&mutex_);
    std::vector<absl::Status> statuses;
    for (const Item& item : items) {
      const bool known =
          item.header.kind == base::ObjectKind::kBlob || models_.contains(item.header.model);
      statuses.push_back(known ? absl::OkStatus()
                               : absl::InternalError("a record before its model"));
      if (!known) continue;
      Record record{item.header, {}};
      for (const auto& part : item.payload)
        record.bytes.insert(record.bytes.end(), part.begin(), part.end());
      stats_.payload_bytes += record.bytes.size();
      records_[{item.header.content, item.header.context}] = std::move(record);
      ++stats_.writes;
    }
    return statuses;
  }
  absl::Status Read(const storage::RecordKey& key,
                    const std::vector<std::span<std::byte>>& payload) override {
    base::MutexLock lock(&mutex_);
    const auto it = records_.find({key.content, key.context});
    if (it == records_.end()) return absl::NotFoundError("no such record");
    ++stats_.reads;
    size_t at = 0;
    for (const auto& part : payload) at += part.size();
    if (it->second.damaged || at != it->second.bytes.size())
      return absl::DataLossError("the record is damaged");
    at = 0;
    for (const auto& part : payload) {
      std::memcpy(part.data(), it->second.bytes.data() + at, part.size());
      at += part.size();
    }
    return absl::OkStatus();
  }
  absl::Status Delete(const std::vector<storage::RecordKey>& keys) override {
    base::MutexLock lock(&mutex_);
    for (const storage::RecordKey& key : keys)
      stats_.deletes += records_.erase({key.content, key.context});
    return absl::OkStatus();
  }
  absl::Status Verify(const storage::RecordKey& key) override {
    base::MutexLock lock(&mutex_);
    const auto it = records_.find({key.content, key.context});
    if (it == records_.end()) return absl::NotFoundError("no such record");
    return it->second.damaged ? absl::DataLossError("the record is damaged") : absl::OkStatus();
  }
  storage::DiskStats Stats() const override {
    base::MutexLock lock(&mutex_);
    storage::DiskStats stats = stats_;
    stats.records = records_.size();
    return stats;
  }

  // As if headers were still being read.
  void SetLoading(uint64_t loaded, uint64_t to_load) {
    base::MutexLock lock(&mutex_);
    stats_.loading = loaded < to_load;
    stats_.loaded = loaded;
    stats_.to_load = to_load;
  }
  void Damage(const base::ObjectHeader& header) {
    base::MutexLock lock(&mutex_);
    records_.at({header.content, header.context}).damaged = true;
  }
  uint64_t records() const { return Stats().records; }
  uint64_t reads() const { return Stats().reads; }
  size_t models() const {
    base::MutexLock lock(&mutex_);
    return models_.size();
  }

 private:
  struct Record {
    base::ObjectHeader header;
    std::vector<std::byte> bytes;
    bool damaged = false;
  };
  using Name = std::pair<base::Key, base::Key>;

  mutable base::Mutex mutex_;
  std::map<base::Key, base::ModelSpec> models_ ABSL_GUARDED_BY(mutex_);
  std::map<Name, Record> records_ ABSL_GUARDED_BY(mutex_);
  storage::DiskStats stats_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::cacheserver
