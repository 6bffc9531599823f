#include "cacheserver/stager.h"

#include <utility>

#include "cacheserver/layout.h"

namespace cistern::cacheserver {

using storage::Staging;
using storage::Store;

namespace {

constexpr char kTooManyReads[] = "too many disk reads wait";

}  // namespace

Stager::Outcome Stager::Stage(Store& store, storage::ObjectId id, absl::Time now, Waiter waiter) {
  Staging staging = store.BeginStage(id, now);
  switch (staging.outcome) {
    case Staging::Outcome::kInMemory:
      return Outcome::kInMemory;
    case Staging::Outcome::kNoRoom:
      return Outcome::kNoRoom;
    case Staging::Outcome::kGone:
      return Outcome::kGone;
    case Staging::Outcome::kInProgress:
      Counters::Bump(parts_.counters->coalesced_stages);
      waiters_[id].push_back(std::move(waiter));
      return Outcome::kStarted;
    case Staging::Outcome::kBegun:
      break;
  }
  if (!Post(id, std::move(staging))) {
    store.FinishStage(id, absl::ResourceExhaustedError(kTooManyReads));
    return Outcome::kNoRoom;
  }
  waiters_[id].push_back(std::move(waiter));
  return Outcome::kStarted;
}

// Where the object lies is found out without the lock of the store above.
bool Stager::Post(storage::ObjectId id, Staging staging) {
  if (parts_.copy_pool == nullptr) return PostRead(id, std::move(staging));
  return parts_.copy_pool->Post([this, id, staging = std::move(staging)] {
    if (parts_.below->InMemory({staging.header.content, staging.header.context}))
      return Read(id, staging);
    if (!PostRead(id, staging)) Finish(id, absl::ResourceExhaustedError(kTooManyReads));
  });
}

bool Stager::PostRead(storage::ObjectId id, Staging staging) {
  return parts_.disk_pool->Post([this, id, staging = std::move(staging)] { Read(id, staging); });
}

void Stager::Read(storage::ObjectId id, const Staging& staging) {
  if (stopping_) return Finish(id, absl::CancelledError("the node is stopping"));
  const absl::StatusOr<ObjectShape> shape = parts_.store->With(
      [&](Store& store) { return ShapeOf(store, staging.header, parts_.blob_block_bytes); });
  absl::Status read = shape.status();
  if (shape.ok())
    read = parts_.below->Read({staging.header.content, staging.header.context},
                              RecordSlices(parts_.arena->data(), *shape, staging.blocks));
  if (!read.ok()) {
    if (absl::IsDataLoss(read)) Counters::Bump(parts_.counters->corrupt);
    parts_.log->Error("a record could not be read",
                      {{"context", staging.header.context.ToHex()}, {"error", read}});
  }
  Finish(id, read);
}

void Stager::Finish(storage::ObjectId id, const absl::Status& read) {
  {
    AfterLock after;
    parts_.store->With([&](Store& store) { Finish(store, id, read, after); });
  }
  parts_.room_came();
}

void Stager::Finish(Store& store, storage::ObjectId id, const absl::Status& read,
                    AfterLock& after) {
  store.FinishStage(id, read);
  std::vector<Waiter> waiters;
  if (const auto it = waiters_.find(id); it != waiters_.end()) {
    waiters = std::move(it->second);
    waiters_.erase(it);
  }
  for (Waiter& waiter : waiters) waiter(store, read, after);
}

}  // namespace cistern::cacheserver
