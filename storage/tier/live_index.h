// Which writes are live: the tier's own memory of what its files hold, rebuilt from the header
// records at start.
//
// Payload lies in files in the order of the writes' numbers, so "what is still alive in this file"
// is a range of numbers. A number that is neither live nor in flight is garbage, whatever file it
// lies in.
//
// Size     about 150 bytes a record
// Thread   any; one mutex inside
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "absl/container/flat_hash_map.h"

#include "base/mutex.h"
#include "storage/store.h"

namespace cistern::storage {

class LiveIndex {
 public:
  struct Entry {
    uint64_t id = 0;
    uint64_t payload_bytes = 0;
  };

  // Adds or replaces: the write that was live before becomes garbage.
  void Insert(const RecordKey& key, const Entry& entry);
  std::optional<Entry> Find(const RecordKey& key) const;
  // False when there is none.
  bool Erase(const RecordKey& key);

  bool IsLive(uint64_t id) const;
  // What the live writes first..last (both included) take in a file: payload, and about 80 bytes
  // around each piece.
  uint64_t LiveBytes(uint64_t first, uint64_t last) const;

  uint64_t records() const;
  uint64_t payload_bytes() const;

 private:
  struct KeyHash {
    size_t operator()(const RecordKey& key) const {
      return key.content.lo ^ (key.context.lo * 0x9e3779b97f4a7c15);
    }
  };

  mutable base::Mutex mutex_;
  absl::flat_hash_map<RecordKey, Entry, KeyHash> by_key_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, uint64_t> bytes_by_id_ ABSL_GUARDED_BY(mutex_);
  uint64_t payload_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cistern::storage
