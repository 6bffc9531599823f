// Writing into memory, and waiting for room there.
#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/tier/memory_tier.h"
#include "storage/tier/memory_tier_session.h"
#include "storage/tier/record_slices.h"

namespace cistern::storage {
namespace {

// Room is asked for again so often: what could not be written below may be tried again.
constexpr absl::Duration kAskAgain = absl::Milliseconds(100);

}  // namespace

void MemoryTier::RoomCame() {
  base::MutexLock lock(&mutex_);
  ++rooms_;
  changed_.notify_all();
}

void MemoryTier::StopWaiting() {
  base::MutexLock lock(&mutex_);
  stopping_ = true;
  changed_.notify_all();
}

bool MemoryTier::WaitForRoom(uint64_t seen, absl::Time give_up) {
  const absl::Duration left = give_up - absl::Now();
  if (left <= absl::ZeroDuration()) return false;
  if (parts_.make_room) parts_.make_room();
  base::MutexLock lock(&mutex_);
  changed_.wait_for(mutex_, absl::ToChronoNanoseconds(std::min(left, kAskAgain)),
                    [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_ || rooms_ != seen; });
  return !stopping_;
}

absl::StatusOr<MemoryTier::Attempt> MemoryTier::TryReserve(Store& store, const Item& item,
                                                           Reservation* reservation, Runs* runs) {
  RemoveCondemned(store);
  const RecordKey key{item.header.content, item.header.context};
  if (IsCondemned(store, key)) return Attempt::kWait;
  if (const ObjectView view = FindOwn(store, key); view.where != Where::kMiss) {
    if (*view.header == item.header) return Attempt::kAlreadyThere;
    Remove(store, view.id);
    if (IsCondemned(store, key)) return Attempt::kWait;
  }
  CISTERN_ASSIGN_OR_RETURN(const ObjectShape shape,
                           ShapeOf(store, item.header, options_.blob_block_bytes));
  CISTERN_ASSIGN_OR_RETURN(*reservation,
                           store.Reserve(kTierSession, item.header, parts_.clock->Now()));
  switch (reservation->outcome) {
    case Reservation::Outcome::kReserved:
      break;
    case Reservation::Outcome::kTooLarge:
      return absl::ResourceExhaustedError("larger than the memory of the tier below");
    case Reservation::Outcome::kAlreadyHave:  // being written just now
    case Reservation::Outcome::kNoRoom:
      return Attempt::kWait;
  }
  *runs = RecordSlices(parts_.arena->data(), shape, reservation->blocks);
  if (RunBytes(*runs) != RunBytes(item.payload)) {
    CISTERN_RETURN_IF_ERROR(store.Abort(kTierSession, reservation->id));
    return absl::InvalidArgumentError(absl::StrCat("an object of ", RunBytes(*runs),
                                                   " bytes came with ", RunBytes(item.payload)));
  }
  return Attempt::kReserved;
}

absl::Status MemoryTier::Fill(const Item& item, const Reservation& reservation, const Runs& runs) {
  CopyRuns(item.payload, runs);
  const uint64_t bytes = RunBytes(runs);
  return parts_.store->With([&](Store& store) -> absl::Status {
    CISTERN_ASSIGN_OR_RETURN(const ObjectShape shape,
                             ShapeOf(store, item.header, options_.blob_block_bytes));
    CISTERN_RETURN_IF_ERROR(store.MarkWritten(kTierSession, reservation.id, 0, shape.layers));
    CISTERN_RETURN_IF_ERROR(
        store.Commit(kTierSession, reservation.id, parts_.clock->Now()).status());
    ++counters_.copied_in;
    counters_.copied_in_bytes += bytes;
    return absl::OkStatus();
  });
}

absl::Status MemoryTier::WriteOne(const Item& item, absl::Time give_up) {
  bool waited = false;
  for (;;) {
    uint64_t seen = 0;
    {
      base::MutexLock lock(&mutex_);
      seen = rooms_;
    }
    Reservation reservation;
    Runs runs;
    CISTERN_ASSIGN_OR_RETURN(const Attempt attempt, parts_.store->With([&](Store& store) {
      return TryReserve(store, item, &reservation, &runs);
    }));
    if (attempt == Attempt::kReserved) return Fill(item, reservation, runs);
    if (attempt == Attempt::kAlreadyThere) {
      ++counters_.already_there;
      return absl::OkStatus();
    }
    if (!std::exchange(waited, true)) ++counters_.waits;
    if (!WaitForRoom(seen, give_up)) {
      ++counters_.refused;
      return absl::DeadlineExceededError(
          "the memory of the tier below is full of objects that wait to be written further down");
    }
  }
}

std::vector<absl::Status> MemoryTier::Write(const std::vector<Item>& items) {
  const absl::Time give_up = absl::Now() + options_.patience;
  std::vector<absl::Status> statuses;
  statuses.reserve(items.size());
  for (const Item& item : items) statuses.push_back(WriteOne(item, give_up));
  Look();
  return statuses;
}

}  // namespace cistern::storage
