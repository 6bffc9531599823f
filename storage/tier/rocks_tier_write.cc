// The way down: admission, group commit, headers.
#include <algorithm>
#include <limits>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"

#include "base/status_macros.h"
#include "base/units.h"
#include "storage/tier/byte_runs.h"
#include "storage/tier/payload_pieces.h"
#include "storage/tier/rocks_tier.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kMaxReserveBytes = 256 << 20;
constexpr uint64_t kHashBesideBytes = 4 << 20;  // a commit of more is hashed while it is written
constexpr uint64_t kMaxGroupBytes = 128 << 20;  // a commit takes in no more calls beyond this

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
  {
    base::MutexLock lock(&queue_mutex_);
    queue_.push_back(&request);
  }
  // Whoever leads commits those who came first, and may have to lead again for its own.
  while (!LeadUntilDone(request)) {
  }
  return std::move(request.statuses);
}

bool RocksTier::LeadUntilDone(Request& request) {
  std::vector<Request*> group;
  {
    base::MutexLock lock(&queue_mutex_);
    queue_changed_.wait(queue_mutex_,
                        [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return request.done || !leading_; });
    if (request.done) return true;
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
  return false;
}

void RocksTier::CommitGroup(const std::vector<Request*>& group) {
  std::vector<Pending> pending = Admit(group);
  const absl::Status committed = pending.empty() ? absl::OkStatus() : CommitPending(&pending);
  if (committed.ok() && !pending.empty()) counters_.commits.fetch_add(1, std::memory_order_relaxed);
  for (Pending& write : pending) *write.status = committed;
  for (Request* request : group) {
    for (const absl::Status& status : request->statuses) {
      (status.ok() ? counters_.writes : counters_.write_failures)
          .fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (!committed.ok()) reclaimer_->Wake();
}

std::vector<RocksTier::Pending> RocksTier::Admit(const std::vector<Request*>& group) {
  const uint64_t max_bytes =
      options_.disk.max_bytes == 0 ? std::numeric_limits<uint64_t>::max() : options_.disk.max_bytes;
  const bool loaded = loaded_.load(std::memory_order_acquire);
  // What has not been loaded counts, too.
  uint64_t kept = loaded ? live_.payload_bytes() : log_->file_bytes(), room = RoomForPayload(),
           taken = 0;
  bool gave_back = false;
  const auto fits = [&](uint64_t more) {
    if (taken + more > room && !gave_back) {
      gave_back = true;
      (void)reclaimer_->Run();  // counted
      room = RoomForPayload();
    }
    return taken + more <= room;
  };
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
                                : live                 ? live->extent.payload_bytes
                                                       : 0;
      if (kept - replaced + bytes > max_bytes && !loaded && !load_failed_) {
        status = absl::DeadlineExceededError(
            "disk tier: whether this passes its bound is known once all headers have been read; "
            "try again");
      } else if (kept - replaced + bytes > max_bytes) {
        status = absl::ResourceExhaustedError(
            absl::StrCat("disk tier: ", base::FormatBytes(bytes), " more would pass its bound of ",
                         base::FormatBytes(max_bytes), "; raise the bound, or evict objects"));
      } else if (!fits(Extent::RoomFor(bytes))) {
        status = absl::ResourceExhaustedError(absl::StrCat(
            "disk tier: ", base::FormatBytes(bytes), " do not fit: the file system of ",
            rocks_->path(), " has ", base::FormatBytes(rocks_->FreeBytes()),
            " left; free space on it, evict objects, or give the tier another disk"));
      } else {
        kept = kept - replaced + bytes;
        taken += Extent::RoomFor(bytes);
        earlier[{item.header.content, item.header.context}] = bytes;
        pending.push_back(
            {&item,
             &status,
             {.id = next_id_++, .header = item.header, .extent = {.payload_bytes = bytes}}});
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
  const uint64_t free = rocks_->FreeBytes() + log_->unused_bytes();
  return free > reserve ? free - reserve : 0;
}

absl::Status RocksTier::CommitPending(std::vector<Pending>* pending) {
  uint64_t bytes = 0;
  for (const Pending& write : *pending) bytes += Extent::RoomFor(write.record.extent.payload_bytes);
  CISTERN_RETURN_IF_ERROR(CheckDoubt());
  CISTERN_ASSIGN_OR_RETURN(const auto file, log_->Begin(bytes));
  for (Pending& write : *pending)
    write.record.extent = log_->Take(write.record.extent.payload_bytes);
  absl::Status status = WritePayload(*file, pending);
  if (!status.ok()) {
    log_->Abandon();
    GiveBackFailed(*pending);
    return status;
  }
  status = WriteHeaders(*pending);
  if (!status.ok()) SettleFailed(*pending, status);
  return status;
}

// Headers that failed may lie in the database's log all the same, and be found by the next start.
// Then their payload must be there if they replace a record; if they do not, and room is short,
// the start may as well drop them.
void RocksTier::SettleFailed(const std::vector<Pending>& pending, const absl::Status& why) {
  const bool gone = rocks_->Heal().ok() && rocks_->FailedAreGone();
  std::vector<Pending> worthless;
  {
    base::MutexLock lock(&commit_mutex_);
    for (const Pending& write : pending) {
      const bool replaces = loading_ || live_.Find(KeyOf(write.record.header)).has_value();
      if (gone || (absl::IsResourceExhausted(why) && !replaces)) {
        worthless.push_back(write);
      } else {
        in_doubt_.push_back(write.record.extent);
      }
    }
  }
  GiveBackFailed(worthless);
}

bool RocksTier::FreeInDoubt() {
  if (in_doubt_.empty() || !rocks_->FailedAreGone()) return false;
  for (const Extent& extent : in_doubt_) log_->Free(extent);
  in_doubt_.clear();
  return true;
}

// Payload in doubt must not pile up.
absl::Status RocksTier::CheckDoubt() {
  CISTERN_RETURN_IF_ERROR(rocks_->Heal());
  base::MutexLock lock(&commit_mutex_);
  CISTERN_RETURN_IF_ERROR(CheckSalvaged());
  if (FreeInDoubt()) reclaimer_->Wake();
  uint64_t bytes = 0;
  for (const Extent& extent : in_doubt_) bytes += extent.payload_bytes;
  if (bytes <= kMaxGroupBytes) return absl::OkStatus();
  return absl::UnavailableError(
      "disk tier: the database cannot flush its headers after an error of the disk; check the "
      "disk");
}

absl::Status RocksTier::WritePayload(const PayloadFile& file, std::vector<Pending>* pending) {
  uint64_t bytes = 0;
  for (const Pending& write : *pending) bytes += write.record.extent.payload_bytes;
  if (bytes < kHashBesideBytes) return WritePieces(file, pending, /*hash=*/true);
  std::thread hasher;
  try {
    hasher = std::thread([pending] {
      for (Pending& write : *pending)
        write.record.piece_checksums = HashPieces(write.record, write.item->payload);
    });
  } catch (const std::system_error&) {  // no more threads
    return WritePieces(file, pending, /*hash=*/true);
  }
  absl::Status status = WritePieces(file, pending, /*hash=*/false);
  hasher.join();
  return status;
}

absl::Status RocksTier::WritePieces(const PayloadFile& file, std::vector<Pending>* pending,
                                    bool hash) {
  PieceWriter writer(&file, &buffer_);
  for (Pending& write : *pending) {
    CISTERN_RETURN_IF_ERROR(writer.Append(write.record, write.item->payload,
                                          hash ? &write.record.piece_checksums : nullptr));
  }
  CISTERN_RETURN_IF_ERROR(writer.Flush());
  return log_->Sync();
}

// At once: the disk may be full of it.
void RocksTier::GiveBackFailed(const std::vector<Pending>& pending) {
  for (const Pending& write : pending) log_->Free(write.record.extent);
  (void)reclaimer_->Run();  // counted, and tried again
}

// Headers as they are; few records are replaced, so few are read.
absl::Status RocksTier::PrepareUndo(const std::vector<Pending>& pending,
                                    rocksdb::WriteBatch* undo) const {
  for (const Pending& write : pending) {
    const RecordKey key = KeyOf(write.record.header);
    const std::string encoded = EncodeRecordKey(key);
    std::string value;
    rocksdb::Status got = rocksdb::Status::NotFound();
    if (loading_ || live_.Find(key))
      got = rocks_->db()->Get(rocksdb::ReadOptions(), rocks_->headers(), encoded, &value);
    if (!got.ok() && !got.IsNotFound()) return FromRocks(got, "reading a header");
    if (got.ok()) {
      undo->Put(rocks_->headers(), encoded, value);
    } else {
      undo->Delete(rocks_->headers(), encoded);
    }
  }
  return absl::OkStatus();
}

absl::Status RocksTier::WriteHeaders(const std::vector<Pending>& pending) {
  bool replaced = false;
  {
    base::MutexLock lock(&commit_mutex_);  // a salvage puts another column family in place
    CISTERN_RETURN_IF_ERROR(CheckSalvaged());
    rocksdb::WriteBatch batch, undo;
    for (const Pending& write : pending) {
      batch.Put(rocks_->headers(), EncodeRecordKey(KeyOf(write.record.header)),
                EncodeRecord(write.record));
    }
    if (!start_marked_)
      batch.Put(rocks_->meta(), kStartsKey,
                absl::StrCat(start_));  // before any header with its ids
    CISTERN_RETURN_IF_ERROR(PrepareUndo(pending, &undo));
    CISTERN_RETURN_IF_ERROR(rocks_->Write(&batch, "writing headers", &undo));
    for (const Pending& write : pending) {
      const auto before =
          live_.Insert(KeyOf(write.record.header), LiveIndex::EntryOf(write.record));
      if (!before) continue;
      log_->Free(before->extent);
      replaced = true;
    }
  }
  start_marked_ = true;
  if (replaced) reclaimer_->Wake();
  return absl::OkStatus();
}

}  // namespace cistern::storage
