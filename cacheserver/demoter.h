// Writes objects from memory to the tier below: above the watermark, when somebody needs room, when
// an administrator or a stop asks for all of it. The only writer of that tier, so that a record
// that was dropped is deleted before its name is written again.
//
//   Kick ─► (TakeRecordDrops, TakeDemotions ─► delete, write ─► FinishDemotion)* ─► idle
//
// A batch that fails as a whole ends the round; the next kick (a timer's at the latest) tries
// again.
//
// Thread   any; the work happens on the demoter's own thread
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/mutex.h"
#include "cacheserver/counters.h"
#include "cacheserver/locked_store.h"
#include "cacheserver/log.h"
#include "cacheserver/model_book.h"
#include "storage/arena.h"
#include "storage/tier/disk_tier.h"

namespace cistern::cacheserver {

struct DemoterOptions {
  uint64_t batch_bytes = 64ull << 20;
  uint64_t blob_block_bytes = 64 << 10;
  bool eager = false;  // write everything soon, whatever the watermark says
  uint64_t disk_max_bytes =
      0;                       // of the disk: at its bound the cheapest records make room; 0 = none
  const char* below = "disk";  // what the tier below is called in the log
  const char* thread_name = "cistern-demote";
};

struct FlushReport {
  uint64_t objects = 0;
  uint64_t bytes = 0;
  uint64_t failures = 0;
  uint64_t dirty_bytes_left = 0;
  absl::Status first_error;
};

class Demoter {
 public:
  // What it uses; all outlive it. `room_came` runs after every batch.
  struct Parts {
    LockedStore* store;
    storage::Arena* arena;
    storage::Tier* below;
    ModelBook* models;
    Counters* counters;
    Log* log;
    const base::Clock* clock;
    absl::AnyInvocable<void()> room_came;
    storage::DiskTier* disk = nullptr;  // the tier below, if it is one with disk_max_bytes
  };

  Demoter(const DemoterOptions& options, Parts parts);
  ~Demoter();  // Stop
  Demoter(const Demoter&) = delete;
  Demoter& operator=(const Demoter&) = delete;

  // Have a look: above the watermark? Records to delete?
  void Kick();
  // Somebody needs room: one batch, whatever the watermark says.
  void MakeRoom();
  // Everything, until `give_up`. `done` runs on the demoter's thread.
  void Flush(absl::Time give_up, absl::AnyInvocable<void(FlushReport)> done);
  // Ends after the batch in progress; flushes that wait are answered. Idempotent.
  void Stop();

 private:
  struct FlushRequest {
    absl::Time give_up;
    absl::AnyInvocable<void(FlushReport)> done;
    FlushReport report;
  };
  struct BatchResult {
    uint64_t taken = 0;
    uint64_t written = 0;
    uint64_t bytes = 0;
    bool disk_full = false;
    absl::Status first_error;
    bool progress() const { return written > 0; }
    // What is on disk may leave memory; what the disk refuses may, too, sooner or later.
    bool room_came() const { return taken > 0; }
  };

  void Run();
  void Round(bool everything);
  BatchResult Batch(bool only_above_watermark);
  void Serve(FlushRequest request);
  void TrimIfBounded();
  std::vector<absl::Status> Write(const std::vector<storage::Demotion>& demotions);

  // Deletes the records of dropped objects; what fails is tried again with the next batch.
  void DeleteDropped(std::vector<storage::RecordKey> drops);

  const DemoterOptions options_;
  std::vector<storage::RecordKey> undeleted_;  // the demoter's thread only
  Parts parts_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool kicked_ ABSL_GUARDED_BY(mutex_) = false;
  bool room_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<FlushRequest> flushes_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace cistern::cacheserver
