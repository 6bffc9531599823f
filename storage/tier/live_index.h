// Which records are live, and where their payload lies: the tier's own memory, rebuilt from the
// header records at start.
//
// Size     about 130 bytes a record
// Thread   any; one mutex inside
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"

#include "base/mutex.h"
#include "storage/store.h"
#include "storage/tier/record.h"

namespace cistern::storage {

class LiveIndex {
 public:
  struct Entry {
    uint64_t id = 0;
    Extent extent;
    uint64_t digest = 0;  // of its pieces (record.h); 0: they are not of kPieceBytes
  };
  static Entry EntryOf(const DiskRecord& record);

  // Adds or replaces; gives what was live before and is garbage now.
  std::optional<Entry> Insert(const RecordKey& key, const Entry& entry);
  std::optional<Entry> Find(const RecordKey& key) const;
  // Gives what was there.
  std::optional<Entry> Erase(const RecordKey& key);

  // Whose payload lies there, which must be somebody's; looks at all.
  std::pair<RecordKey, Entry> At(const Extent& extent) const;

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
  uint64_t payload_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cistern::storage
