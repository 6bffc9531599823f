// The way down: admission, group commit, headers.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"

#include "base/status_macros.h"
#include "base/units.h"
#include "storage/tier/byte_runs.h"
#include "storage/tier/piece_file.h"
#include "storage/tier/rocks_tier.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kMaxReserveBytes = 256 << 20;
constexpr uint64_t kMaxGroupBytes = 128 << 20;  // a commit takes in no more calls beyond this
constexpr uint32_t kCommitsPerWake = 16;        // the reclaimer looks for small files so often

RecordKey KeyOf(const base::ObjectHeader& header) { return {header.content, header.context}; }

absl::Status Valid(const DiskTier::Item& item) {
  CISTERN_RETURN_IF_ERROR(item.header.Validate());
  const uint64_t bytes = TotalBytes(item.payload);
  if (bytes == 0 || bytes > kMaxRecordPayload) {
    return absl::InvalidArgumentError(absl::StrCat(
        "disk tier: a payload of ", bytes, " bytes; it must have 1 to ", kMaxRecordPayload));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<absl::Status> RocksTier::Write(const std::vector<Item>& items) {
  Request request{.items = &items, .statuses = std::vector<absl::Status>(items.size())};
  std::vector<Request*> group;
  {
    base::MutexLock lock(&queue_mutex_);
    queue_.push_back(&request);
    queue_changed_.wait(queue_mutex_,
                        [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return request.done || !leading_; });
    if (request.done) return std::move(request.statuses);
    leading_ = true;
    uint64_t bytes = 0;
    auto end = queue_.begin();
    for (; end != queue_.end() && (end == queue_.begin() || bytes <= kMaxGroupBytes); ++end) {
      for (const Item& item : *(*end)->items) bytes += TotalBytes(item.payload);
    }
    group.assign(queue_.begin(), end);
    queue_.erase(queue_.begin(), end);
  }
  CommitGroup(group);
  {
    base::MutexLock lock(&queue_mutex_);
    for (Request* done : group) done->done = true;
    leading_ = false;
  }
  queue_changed_.notify_all();
  return std::move(request.statuses);
}

void RocksTier::CommitGroup(const std::vector<Request*>& group) {
  std::vector<Pending> pending = Admit(group);
  const absl::Status committed = pending.empty() ? absl::OkStatus() : CommitPending(&pending);
  may_be_stopped_ = !committed.ok();
  if (committed.ok() && !pending.empty()) counters_.commits.fetch_add(1, std::memory_order_relaxed);
  for (Pending& write : pending) *write.status = committed;
  judged_below_.store(next_id_, std::memory_order_release);
  for (Request* request : group) {
    for (const absl::Status& status : request->statuses) {
      (status.ok() ? counters_.writes : counters_.write_failures)
          .fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (!committed.ok() || ++commits_since_wake_ >= kCommitsPerWake) {
    commits_since_wake_ = 0;
    reclaimer_->Wake();
  }
}

std::vector<RocksTier::Pending> RocksTier::Admit(const std::vector<Request*>& group) {
  const uint64_t max_bytes =
      options_.disk.max_bytes == 0 ? std::numeric_limits<uint64_t>::max() : options_.disk.max_bytes;
  uint64_t kept = live_.payload_bytes(), room = RoomForPayload();
  absl::flat_hash_map<std::pair<base::Key, base::Key>, uint64_t>
      earlier;  // of this group, by record key
  std::vector<Pending> pending;
  for (Request* request : group) {
    for (size_t i = 0; i < request->items->size(); ++i) {
      const Item& item = (*request->items)[i];
      absl::Status& status = request->statuses[i];
      status = Valid(item);
      if (!status.ok()) continue;
      const uint64_t bytes = TotalBytes(item.payload);
      const auto live = live_.Find(KeyOf(item.header));
      const auto twice = earlier.find({item.header.content, item.header.context});
      const uint64_t replaced = twice != earlier.end() ? twice->second
                                : live                 ? live->payload_bytes
                                                       : 0;
      if (kept - replaced + bytes > max_bytes) {
        status = absl::ResourceExhaustedError(
            absl::StrCat("disk tier: ", base::FormatBytes(bytes), " more would pass its bound of ",
                         base::FormatBytes(max_bytes), "; raise the bound, or evict objects"));
      } else if (bytes > room) {
        status = absl::ResourceExhaustedError(absl::StrCat(
            "disk tier: ", base::FormatBytes(bytes), " do not fit: the file system of ",
            rocks_->path(), " has ", base::FormatBytes(rocks_->FreeBytes()),
            " left; free space on it, evict objects, or give the tier another disk"));
      } else {
        kept = kept - replaced + bytes;
        room -= bytes;
        earlier[{item.header.content, item.header.context}] = bytes;
        pending.push_back(
            {&item, &status, {.id = next_id_++, .header = item.header, .payload_bytes = bytes}});
      }
    }
  }
  return pending;
}

uint64_t RocksTier::RoomForPayload() const {
  const uint64_t capacity = rocks_->CapacityBytes();
  if (capacity == 0)
    return std::numeric_limits<uint64_t>::max();  // unknown: the write itself will tell
  const uint64_t reserve = options_.reserve_bytes == RocksTierOptions::kDefaultReserve
                               ? std::min(kMaxReserveBytes, capacity / 16)
                               : options_.reserve_bytes;
  const uint64_t free = rocks_->FreeBytes();
  return free > reserve ? free - reserve : 0;
}

absl::Status RocksTier::CommitPending(std::vector<Pending>* pending) {
  if (may_be_stopped_) (void)rocks_->db()->Resume();  // what is still wrong shows below
  PieceFileWriter file(rocks_.get(), &scratch_);
  for (Pending& write : *pending)
    CISTERN_RETURN_IF_ERROR(file.Append(&write.record, write.item->payload));
  CISTERN_RETURN_IF_ERROR(file.Finish());
  return WriteHeaders(*pending);
}

absl::Status RocksTier::WriteHeaders(const std::vector<Pending>& pending) {
  rocksdb::WriteBatch batch;
  for (const Pending& write : pending) {
    batch.Put(rocks_->headers(), EncodeRecordKey(KeyOf(write.record.header)),
              EncodeRecord(write.record));
  }
  rocksdb::WriteOptions sync;
  sync.sync = true;
  base::MutexLock lock(&commit_mutex_);
  CISTERN_RETURN_IF_ERROR(FromRocks(rocks_->db()->Write(sync, &batch), "writing headers"));
  for (const Pending& write : pending) {
    live_.Insert(KeyOf(write.record.header), {write.record.id, write.record.payload_bytes});
  }
  return absl::OkStatus();
}

}  // namespace cistern::storage
