#include "storage/tier/live_index.h"

#include "storage/tier/record.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kPieceOverhead = 80;  // key, block trailer, index entry; measured 40 to 75

}  // namespace

void LiveIndex::Insert(const RecordKey& key, const Entry& entry) {
  base::MutexLock lock(&mutex_);
  auto [it, added] = by_key_.try_emplace(key, entry);
  if (!added) {
    payload_bytes_ -= it->second.payload_bytes;
    bytes_by_id_.erase(it->second.id);
    it->second = entry;
  }
  bytes_by_id_[entry.id] = entry.payload_bytes;
  payload_bytes_ += entry.payload_bytes;
}

std::optional<LiveIndex::Entry> LiveIndex::Find(const RecordKey& key) const {
  base::MutexLock lock(&mutex_);
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return std::nullopt;
  return it->second;
}

bool LiveIndex::Erase(const RecordKey& key) {
  base::MutexLock lock(&mutex_);
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return false;
  payload_bytes_ -= it->second.payload_bytes;
  bytes_by_id_.erase(it->second.id);
  by_key_.erase(it);
  return true;
}

bool LiveIndex::IsLive(uint64_t id) const {
  base::MutexLock lock(&mutex_);
  return bytes_by_id_.contains(id);
}

uint64_t LiveIndex::LiveBytes(uint64_t first, uint64_t last) const {
  base::MutexLock lock(&mutex_);
  uint64_t bytes = 0;
  for (auto it = bytes_by_id_.lower_bound(first); it != bytes_by_id_.end() && it->first <= last;
       ++it) {
    bytes += it->second + kPieceOverhead * (1 + NumPieces(it->second, kPieceBytes));
  }
  return bytes;
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
