// What the stores are told, when a node starts, of what the disk holds: models, then the records of
// objects, batch by batch while the node serves. What has been told is found; what has not is a
// miss, and may be published again: storage/store.h, AddDiskRecord, says what becomes of it.
//
// A record that cannot be used (this node takes no such objects) is deleted: it would take room of
// the tier's bound for ever. Models on disk without records are kept as long as the node has room
// for them, and deleted otherwise.
//
//   Start ─► AwaitLoaded? ─► Stop
//
// Thread   Start, Stop: one. The rest: any. Loading has a thread of its own; a store's lock is held
//          for one batch (at most 128 records, a fraction of a millisecond)
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/mutex.h"
#include "cacheserver/locked_store.h"
#include "cacheserver/log.h"
#include "cacheserver/model_book.h"
#include "storage/tier/disk_tier.h"

namespace cistern::cacheserver {

struct DiskLoad {
  uint64_t objects = 0;
  uint64_t deleted = 0;           // records that no start could use
  uint64_t left_alone = 0;        // records of unknown models, or larger than the memory
  uint64_t replaced = 0;          // stored again before they were come to
  uint64_t forgotten_models = 0;  // deleted
  uint64_t too_large_above = 0;   // larger than the memory above that next to the disk
  absl::Status cleaning;          // of those deletions; not fatal: the next start tries again
};

class DiskLoader {
 public:
  // What it uses; all outlive it.
  struct Parts {
    LockedStore* store;  // next to the disk
    ModelBook* models;   // of the disk
    LockedStore* above;  // whose tier below is that store; nullptr: none
    ModelBook* models_above;
    storage::DiskTier* disk;
    uint32_t max_models;  // of each store
    absl::Time now;       // when what is found counts as used
    const base::Clock* clock;
    Log* log;
    std::string path;  // of the disk, for the log
  };

  explicit DiskLoader(Parts parts) : parts_(std::move(parts)) {}
  ~DiskLoader() { Stop(); }
  DiskLoader(const DiskLoader&) = delete;
  DiskLoader& operator=(const DiskLoader&) = delete;

  void Start();
  // Whether all of it was told within `patience`, or will never be.
  bool AwaitLoaded(absl::Duration patience);
  // Ends loading between two batches. Idempotent.
  void Stop();

  // One pass, on the caller's thread: the tier's error when it cannot be read.
  absl::Status Load(DiskLoad* load);
  // Why it does not go on; OK as long as it does, and at the end.
  absl::Status trouble() const;

 private:
  void Run();
  void ExpectRecords(bool may_come);
  void AddBatch(const std::vector<base::ObjectHeader>& headers, DiskLoad* load);
  bool AddRecord(storage::Store& store, const base::ObjectHeader& header, DiskLoad* load);
  void AddAbove(storage::Store& above, const base::ObjectHeader& header, DiskLoad* load);
  void RegisterModel(storage::Store& store, ModelBook& models, const base::Key& model) const;
  void AddUnused(const base::ModelSpec& spec, DiskLoad* load);
  void LogLoaded(const DiskLoad& load, absl::Duration took) const;
  // False when it has been stopped meanwhile.
  bool Pause(absl::Duration pause);

  const Parts parts_;
  // The loading thread's own.
  std::map<base::Key, base::ModelSpec> known_;   // on disk
  std::map<base::Key, base::ModelSpec> unused_;  // of them, those that no record has named yet
  std::set<base::Key> named_;                    // by records, of any pass
  std::vector<storage::RecordKey> unusable_;

  mutable base::Mutex mutex_;
  base::CondVar changed_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status trouble_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace cistern::cacheserver
