#include "storage/tier/reclaimer.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "rocksdb/convenience.h"
#include "rocksdb/db.h"
#include "rocksdb/metadata.h"

#include "base/status_macros.h"
#include "base/units.h"

namespace cistern::storage {
namespace {

constexpr int kLastLevel = 1;
constexpr uint64_t kMinGarbageShare = 8;      // a file is rewritten when 1/8 of it is garbage ...
constexpr uint64_t kMinGarbageShareAll = 64;  // ... or 1/64 when all is to go
constexpr uint64_t kFileOverhead = 4 << 10;   // footer, properties, marks

}  // namespace

Reclaimer::Reclaimer(const ReclaimOptions& options, RocksDb* rocks, const LiveIndex* live,
                     const std::atomic<uint64_t>* judged_below)
    : options_(options), rocks_(rocks), live_(live), judged_below_(judged_below), thread_([this] {
        Loop();
      }) {}

Reclaimer::~Reclaimer() {
  {
    base::MutexLock lock(&mutex_);
    stop_ = true;
  }
  woken_.notify_all();
  rocksdb::CancelAllBackgroundWork(rocks_->db(), /*wait=*/false);
  thread_.join();
}

void Reclaimer::Wake() {
  {
    base::MutexLock lock(&mutex_);
    wake_ = true;
  }
  woken_.notify_one();
}

void Reclaimer::Loop() {
  while (true) {
    {
      base::MutexLock lock(&mutex_);
      woken_.wait(mutex_, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return wake_ || stop_; });
      if (stop_) return;
      wake_ = false;
    }
    (void)Run(/*all=*/false);  // counted; tried again at the next change
  }
}

absl::Status Reclaimer::Run(bool all) {
  base::MutexLock lock(&run_mutex_);
  const uint64_t before = rocks_->PieceFileBytes();
  absl::Status status = DropDeadFiles();
  if (status.ok()) status = RewriteFiles(all);
  if (status.ok() || absl::IsDataLoss(status)) status.Update(MergeSmallFiles(all));
  const uint64_t after = rocks_->PieceFileBytes();
  if (after < before) reclaimed_bytes_.fetch_add(before - after, std::memory_order_relaxed);
  if (!status.ok()) failures_.fetch_add(1, std::memory_order_relaxed);
  return status;
}

std::vector<Reclaimer::File> Reclaimer::Files() const {
  const uint64_t judged_below = judged_below_->load(std::memory_order_acquire);
  rocksdb::ColumnFamilyMetaData meta;
  rocks_->db()->GetColumnFamilyMetaData(rocks_->pieces(), &meta);
  std::vector<File> files;
  for (const auto& level : meta.levels) {
    for (const auto& sst : level.files) {
      const auto first = PieceKey::Decode(sst.smallestkey), last = PieceKey::Decode(sst.largestkey);
      if (!first || !last || last->id >= judged_below || sst.being_compacted) continue;
      uint64_t live_bytes = live_->LiveBytes(first->id, last->id);
      if (live_bytes != 0) live_bytes = std::min<uint64_t>(sst.size, live_bytes + kFileOverhead);
      files.push_back({sst.name, sst.smallestkey, sst.largestkey, sst.size, live_bytes});
    }
  }
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.first_key < b.first_key; });
  return files;
}

absl::Status Reclaimer::DropDeadFiles() {
  const std::vector<File> files = Files();
  std::vector<rocksdb::Slice> ends;  // two for each file
  for (const File& file : files) {
    if (file.live_bytes == 0) ends.insert(ends.end(), {file.first_key, file.last_key});
  }
  if (ends.empty()) return absl::OkStatus();
  std::vector<rocksdb::RangePtr> ranges;
  for (size_t i = 0; i < ends.size(); i += 2) ranges.emplace_back(&ends[i], &ends[i + 1]);
  return FromRocks(rocksdb::DeleteFilesInRanges(rocks_->db(), rocks_->pieces(), ranges.data(),
                                                ranges.size(), /*include_end=*/true),
                   "removing files of deleted records");
}

absl::Status Reclaimer::RewriteFiles(bool all) {
  const uint64_t share = all ? kMinGarbageShareAll : kMinGarbageShare;
  absl::Status result;
  for (uint64_t last_garbage = std::numeric_limits<uint64_t>::max();;) {
    uint64_t garbage = 0, live = 0;
    const std::vector<File> files = Files();
    const File* worst = nullptr;
    for (const File& file : files) {
      garbage += file.garbage_bytes();
      live += file.live_bytes;
      if (file.live_bytes == 0 || file.garbage_bytes() < file.bytes / share) continue;
      if (damaged_.contains(file.name)) continue;
      // By share of garbage: a / b > c / d, as products of megabytes.
      if (worst == nullptr || (file.garbage_bytes() >> 10) * worst->bytes >
                                  (worst->garbage_bytes() >> 10) * file.bytes) {
        worst = &file;
      }
    }
    const uint64_t accepted = all ? 0 : std::max(options_.slack_bytes, live / 4);
    if (worst == nullptr || garbage <= accepted || garbage >= last_garbage) return result;
    absl::Status status = Compact({*worst});
    if (!status.ok() && !absl::IsDataLoss(status)) return status;
    result.Update(status);
    if (status.ok()) last_garbage = garbage;
  }
}

absl::Status Reclaimer::MergeSmallFiles(bool all) {
  const size_t wanted = all ? 2 : options_.small_files;
  // Merging needs room in passing; on a nearly full disk it can wait.
  const uint64_t merged_bytes = std::min(options_.merged_bytes, rocks_->FreeBytes() / 2);
  std::vector<File> run;
  uint64_t run_bytes = 0;
  absl::Status result;
  const auto merge = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    absl::Status status = run.size() >= wanted ? Compact(run) : absl::OkStatus();
    run.clear();
    run_bytes = 0;
    return status;
  };
  for (File& file : Files()) {
    const bool small = file.bytes < options_.small_file_bytes && !damaged_.contains(file.name);
    if (!small || run_bytes + file.bytes > merged_bytes) result.Update(merge());
    if (!result.ok() && !absl::IsDataLoss(result)) return result;
    if (!small) continue;
    run_bytes += file.bytes;
    run.push_back(std::move(file));
  }
  result.Update(merge());
  return result;
}

absl::Status Reclaimer::Compact(const std::vector<File>& files) {
  std::vector<std::string> names;
  uint64_t live_bytes = 0;
  for (const File& file : files) {
    names.push_back(file.name);
    live_bytes += file.live_bytes;
  }
  const uint64_t free_bytes = rocks_->FreeBytes();
  if (free_bytes < live_bytes + live_bytes / 16) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "disk tier: rewriting files without their garbage needs ", base::FormatBytes(live_bytes),
        ", the disk has ", base::FormatBytes(free_bytes), "; free space on it"));
  }
  rocksdb::CompactionOptions options;
  options.compression = rocksdb::kNoCompression;
  options.output_file_size_limit = std::numeric_limits<uint64_t>::max();
  absl::Status status =
      FromRocks(rocks_->db()->CompactFiles(options, rocks_->pieces(), names, kLastLevel),
                "rewriting files without their garbage");
  if (absl::IsDataLoss(status)) damaged_.insert(names.begin(), names.end());
  return status;
}

}  // namespace cistern::storage
