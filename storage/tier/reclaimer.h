// Gives the room of deleted records back to the file system.
//
// A deleted or replaced record leaves garbage in a piece file. Files without anything live are
// unlinked at once. Others are rewritten without their garbage, the one with the largest share of
// it first, as long as all garbage together is more than max(slack_bytes, live / 4): so the
// directory takes at most 1.25 of the live payload, or slack_bytes more. Runs of small neighbours,
// as single small writes leave them, are merged.
//
// Thread   Wake, Run, stats: any. One thread of its own works in the background
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"

#include "base/mutex.h"
#include "storage/tier/live_index.h"
#include "storage/tier/record.h"
#include "storage/tier/rocks_db.h"

namespace cistern::storage {

struct ReclaimOptions {
  uint64_t slack_bytes = 64 << 20;  // garbage that is left alone
  uint64_t small_file_bytes = 8 << 20;
  uint32_t small_files = 16;         // so many small neighbours are merged ...
  uint64_t merged_bytes = 64 << 20;  // ... into files of about this size
};

class Reclaimer {
 public:
  // Writes with a number below `judged_below` are either live or garbage; others may be in flight.
  // All outlive this.
  Reclaimer(const ReclaimOptions& options, RocksDb* rocks, const LiveIndex* live,
            const std::atomic<uint64_t>* judged_below);
  ~Reclaimer();  // stops work in progress: the database takes no more compactions after it

  void Wake();  // there may be work

  // Now, in this thread. `all`: leaves next to no garbage, however little there is. DataLoss: a
  // damaged file was passed over, the others were done.
  absl::Status Run(bool all);

  uint64_t reclaimed_bytes() const { return reclaimed_bytes_.load(std::memory_order_relaxed); }
  uint64_t failures() const { return failures_.load(std::memory_order_relaxed); }

 private:
  struct File {
    std::string name;
    std::string first_key, last_key;
    uint64_t bytes = 0;
    uint64_t live_bytes = 0;

    uint64_t garbage_bytes() const { return bytes - live_bytes; }
  };

  void Loop();
  std::vector<File> Files() const;  // judged ones, in key order
  absl::Status DropDeadFiles() ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);
  absl::Status RewriteFiles(bool all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);
  absl::Status MergeSmallFiles(bool all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);
  // Into one file. Files that turn out to be damaged are passed over from then on.
  absl::Status Compact(const std::vector<File>& files) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);

  const ReclaimOptions options_;
  RocksDb* const rocks_;
  const LiveIndex* const live_;
  const std::atomic<uint64_t>* const judged_below_;
  std::atomic<uint64_t> reclaimed_bytes_{0};
  std::atomic<uint64_t> failures_{0};

  base::Mutex run_mutex_;  // one run at a time
  absl::flat_hash_set<std::string> damaged_
      ABSL_GUARDED_BY(run_mutex_);  // by name; they stay until nothing in them lives
  base::Mutex mutex_;
  base::CondVar woken_;
  bool wake_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace cistern::storage
