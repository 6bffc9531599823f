#include "storage/tier/live_index.h"

#include <utility>

namespace cistern::storage {

LiveIndex::Entry LiveIndex::EntryOf(const DiskRecord& record) {
  const bool ours = record.piece_bytes == kPieceBytes;
  return {record.id, record.extent, ours ? DigestOf(record.piece_checksums) : 0};
}

std::optional<LiveIndex::Entry> LiveIndex::Insert(const RecordKey& key, const Entry& entry) {
  base::MutexLock lock(&mutex_);
  payload_bytes_ += entry.extent.payload_bytes;
  const auto [it, added] = by_key_.try_emplace(key, entry);
  if (added) return std::nullopt;
  payload_bytes_ -= it->second.extent.payload_bytes;
  return std::exchange(it->second, entry);
}

std::optional<LiveIndex::Entry> LiveIndex::Find(const RecordKey& key) const {
  base::MutexLock lock(&mutex_);
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return std::nullopt;
  return it->second;
}

std::optional<LiveIndex::Entry> LiveIndex::Erase(const RecordKey& key) {
  base::MutexLock lock(&mutex_);
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return std::nullopt;
  payload_bytes_ -= it->second.extent.payload_bytes;
  const Entry entry = it->second;
  by_key_.erase(it);
  return entry;
}

std::pair<RecordKey, LiveIndex::Entry> LiveIndex::At(const Extent& extent) const {
  base::MutexLock lock(&mutex_);
  for (const auto& [key, entry] : by_key_) {
    if (entry.extent == extent) return {key, entry};
  }
  return {};
}

uint64_t LiveIndex::records() const {
  base::MutexLock lock(&mutex_);
  return by_key_.size();
}

uint64_t LiveIndex::payload_bytes() const {
  base::MutexLock lock(&mutex_);
  return payload_bytes_;
}

}  // namespace cistern::storage
