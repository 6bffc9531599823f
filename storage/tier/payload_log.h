// Payload on disk: files that are appended to, and whose dead parts are given back to the file
// system.
//
//   DIR/payload-NNNNNNNN.log    numbered from 1; a number that a file has or had is not used again
//                               while a process runs, nor while any file is left
//
//   Open ─► Adopt each live extent ─► FinishLoading     what was not adopted is garbage; until then
//                               nothing of the files that were found is given back
//   Begin(bytes) ─► Take each extent ─► write it ─► Sync ─► (its header) ...       the leader alone
//   Free ─► GiveBack    of deleted, replaced and failed writes: punched out; a file without
//                       anything live is removed
//
// An extent lies on 4 KiB boundaries in one file; room that was given back is never written again.
// So a write costs its bytes once, nothing is compacted, and a reader that comes too late finds
// zeros or no file, never another's bytes: whoever reads asks afterwards whether the record lives.
//
// Why not the database's own files: its tables cost two checksums, three copies and fresh memory
// for each piece, and a rewrite for what dies in them. Of what a plain O_DIRECT file does on the
// same disk (`disk_bench /tmp 512 5` of a release build, medians of 5 rounds, the two forms within
// ten minutes of each other; the tables were tuned: log off, direct I/O, pieces of 2 MiB):
//
//   values       64 KiB        2 MiB         16 MiB        18 MiB
//   tables       write 0.55    write 0.64    write 0.59
//                read  0.73    read  0.79    read  0.60
//   these files  write 0.83    write 0.72    write 0.78    write 0.75
//                read  0.82    read  0.90    read  0.89    read  0.93
//
// What is left to the plain file when writing: a second sync for each commit (the headers'), room
// made ahead that turns from unwritten into written, and the checksums on the other core.
//
// Thread   Begin, Take and Sync: one at a time. Others: any. GiveBack: one runs, others wait
// Errors   those of PayloadFile
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "storage/tier/disk_calls.h"
#include "storage/tier/payload_file.h"
#include "storage/tier/record.h"

namespace cistern::storage {

struct PayloadLogOptions {
  std::string path;                         // the tier's directory
  uint32_t alignment = 1;                   // of direct I/O; 1: none
  uint64_t file_bytes = uint64_t{1} << 30;  // a file that has as many is closed
  uint64_t step_bytes = 64 << 20;           // room is made in such steps; at most 1/64 of the disk
  DiskCalls* calls = nullptr;               // null: the system's. Outlives the log
};

class PayloadLog {
 public:
  // FailedPrecondition: the file system cannot give back parts of a file.
  static absl::StatusOr<std::unique_ptr<PayloadLog>> Open(const PayloadLogOptions& options);
  ~PayloadLog();  // gives back the room that was made and not used
  PayloadLog(const PayloadLog&) = delete;
  PayloadLog& operator=(const PayloadLog&) = delete;

  // ---- the start
  // Whether there can be an extent at all: its file was there and does not end before it.
  bool Contains(const Extent& extent) const;
  // In any order, also while others write (into files of their own). An extent that overlaps an
  // adopted one is not adopted: gives the other.
  std::optional<Extent> Adopt(const Extent& extent);
  void FinishLoading();

  // ---- writing
  // Makes room for extents that take `bytes` together, in one file.
  absl::StatusOr<std::shared_ptr<PayloadFile>> Begin(uint64_t bytes);
  Extent Take(uint64_t payload_bytes);
  absl::Status Sync();
  // After a failed write or sync: what comes next goes into another file.
  void Abandon();

  // ---- reading and giving back
  absl::StatusOr<std::shared_ptr<PayloadFile>> FileOf(const Extent& extent) const;
  void Free(const Extent& extent);
  // Ends early, with OK, once `*stop`; what is left waits for the next.
  absl::Status GiveBack(const std::atomic<bool>* stop = nullptr);

  // Live or waiting to be given back; while loading never less than what lives.
  uint64_t file_bytes() const;
  uint64_t unused_bytes() const;  // room that was made for what comes next
  uint64_t reclaimed_bytes() const { return reclaimed_bytes_.load(std::memory_order_relaxed); }

 private:
  using Ranges = std::map<uint64_t, uint64_t>;  // begin -> end; neither touch nor overlap
  struct File {
    uint64_t live_bytes = 0;
    uint64_t end = 0;      // of what was taken, or found at the start
    bool loading = false;  // found at the start, and not yet known what lives
    absl::btree_map<uint64_t, uint64_t> adopted;  // while loading: offset -> payload bytes
    uint64_t disk_bytes = 0;                      // while loading: what it takes, live or dead
    Ranges dead;                                  // to be punched out
    uint64_t dead_bytes = 0;                      // of `dead`, and of what is being punched out
    mutable std::shared_ptr<PayloadFile> open;    // null: opened when it is needed
    mutable uint64_t last_use = 0;
  };

  explicit PayloadLog(const PayloadLogOptions& options) : options_(options) {}
  absl::Status FindFiles();
  absl::Status CheckPunching();
  absl::Status StartFile();
  void CloseCurrent();
  std::string PathOf(uint32_t number) const;
  absl::StatusOr<std::shared_ptr<PayloadFile>> OpenFile(uint32_t number) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CloseLeastUsed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void AddDead(File* file, uint64_t begin, uint64_t end);
  absl::Status RemoveDeadFiles() ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);
  absl::Status PunchFile(uint32_t number, const Ranges& ranges, const std::atomic<bool>* stop)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);

  const PayloadLogOptions options_;
  base::Mutex run_mutex_;  // one GiveBack at a time; before mutex_
  mutable base::Mutex mutex_;
  std::map<uint32_t, File> files_ ABSL_GUARDED_BY(mutex_);
  uint32_t current_ ABSL_GUARDED_BY(mutex_) = 0;  // the file that is appended to; 0: none
  mutable uint64_t uses_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable uint32_t num_open_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> reclaimed_bytes_{0};

  // The leader's own.
  std::shared_ptr<PayloadFile> current_file_;
  uint32_t next_number_ = 1;
  uint64_t position_ = 0;
  std::atomic<uint64_t> allocated_{0}, unused_bytes_{0};  // of the current file
};

}  // namespace cistern::storage
