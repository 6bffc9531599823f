// Lease: objects in memory at once, objects on disk once they have been read, and Release.
#include <memory>
#include <utility>
#include <vector>

#include "cacheserver/service/handlers.h"

namespace cistern::cacheserver {
namespace {

using storage::Store;
using transport::LeaseOutcome;
using transport::LeaseReply;
using transport::LeaseRequest;
using transport::LeaseResult;

constexpr uint64_t kResultBytes = 48;  // without blocks
constexpr uint64_t kBlockBytes = 20;

// One Lease call. Its state changes under the store's lock; it answers outside of it, once.
class LeaseJob : public std::enable_shared_from_this<LeaseJob> {
 public:
  LeaseJob(const Parts& parts, CallPtr call)
      : parts_(parts), call_(std::move(call)), objects_(call_->request<LeaseRequest>().objects) {
    reply_.results.resize(objects_.size());
    states_.resize(objects_.size(), State::kWantsRoom);
    unsettled_ = objects_.size();
  }

  enum class Tried : uint8_t { kAnswered, kWaitsForReads, kWantsRoom };

  // A look at what is not on its way. `last`: what is not there by now is not given any more. The
  // first try does not ask for room: the parked one, which follows, does.
  Tried Try(bool last, bool want_room) {
    bool wants_room = false;
    bool finished = false;
    {
      AfterLock after;
      parts_.store->With([&](Store& store) {
        finished = answered_;
        if (finished) return;
        for (size_t i = 0; i < objects_.size(); ++i) {
          if (states_[i] == State::kWantsRoom) Take(store, i);
          wants_room |= states_[i] == State::kWantsRoom;
        }
        if (last || (wants_room && HoldsAllItCan())) GiveUpRest();
        FinishIfSettled(after);
        finished = answered_;
      });
    }
    if (finished) return Tried::kAnswered;
    if (!wants_room) return Tried::kWaitsForReads;
    if (want_room) parts_.WantRoom();
    return Tried::kWantsRoom;
  }

  bool Answered() {
    bool answered = false;
    parts_.store->With([&](Store&) { answered = answered_; });
    return answered;
  }

 private:
  enum class State : uint8_t { kWantsRoom, kStaging, kSettled };

  // One object that is neither settled nor on its way. Under the lock.
  void Take(Store& store, size_t i) {
    if (Acquire(store, i, /*from_disk=*/false)) return;
    if (parts_.stager == nullptr) return Settle(i, LeaseOutcome::kGone);
    const auto waiter = [self = shared_from_this(), i](Store& locked, const absl::Status& read,
                                                       AfterLock& after) {
      self->OnRead(locked, i, read, after);
    };
    states_[i] = State::kStaging;
    switch (parts_.stager->Stage(store, objects_[i], parts_.Now(), waiter)) {
      case Stager::Outcome::kStarted:
        return;
      case Stager::Outcome::kNoRoom:
        states_[i] = State::kWantsRoom;
        return;
      case Stager::Outcome::kInMemory:
      case Stager::Outcome::kGone:
        return Settle(i, LeaseOutcome::kGone);
    }
  }

  void OnRead(Store& store, size_t i, const absl::Status& read, AfterLock& after) {
    if (answered_) return;
    if (!read.ok() || !Acquire(store, i, /*from_disk=*/true)) Settle(i, LeaseOutcome::kGone);
    FinishIfSettled(after);
  }

  // True when that settled it: leased, gone, or refused by a limit.
  bool Acquire(Store& store, size_t i, bool from_disk) {
    if (reply_bytes_ > kMaxReplyBytes) {
      Settle(i, LeaseOutcome::kNoRoom);
      return true;
    }
    absl::StatusOr<storage::Lease> lease =
        parts_.sessions->Acquire(store, call_->session(), objects_[i], parts_.Now());
    if (lease.ok()) {
      LeaseResult& result = reply_.results[i];
      result.from_disk = from_disk;
      result.lease = lease->id;
      result.blocks = std::move(lease->blocks);
      reply_bytes_ += kResultBytes + result.blocks.size() * kBlockBytes;
      Settle(i, LeaseOutcome::kLeased);
      return true;
    }
    if (absl::IsFailedPrecondition(lease.status())) return false;  // on disk only
    if (absl::IsResourceExhausted(lease.status())) {
      Counters::Bump(parts_.counters->limited);
      Settle(i, LeaseOutcome::kNoRoom);
    } else {
      Settle(i, LeaseOutcome::kGone);
    }
    return true;
  }

  void Settle(size_t i, LeaseOutcome outcome) {
    reply_.results[i].outcome = outcome;
    states_[i] = State::kSettled;
    --unsettled_;
  }

  // What this very call has leased may fill the memory: the worker gives it back when it has been
  // answered, not before.
  bool HoldsAllItCan() const {
    bool leased = false;
    for (size_t i = 0; i < objects_.size(); ++i) {
      if (states_[i] == State::kStaging) return false;
      leased |= states_[i] == State::kSettled && reply_.results[i].outcome == LeaseOutcome::kLeased;
    }
    return leased;
  }

  void GiveUpRest() {
    for (size_t i = 0; i < objects_.size(); ++i) {
      if (states_[i] == State::kSettled) continue;
      Counters::Bump(parts_.counters->no_room);
      Settle(i, LeaseOutcome::kNoRoom);
    }
  }

  void FinishIfSettled(AfterLock& after) {
    if (unsettled_ > 0 || answered_) return;
    answered_ = true;
    after.Add([self = shared_from_this()] { self->call_->Answer(std::move(self->reply_)); });
  }

  const Parts& parts_;
  const CallPtr call_;
  const std::vector<transport::ObjectId> objects_;

  // Under the store's lock.
  LeaseReply reply_;
  std::vector<State> states_;
  size_t unsettled_ = 0;
  uint64_t reply_bytes_ = 0;
  bool answered_ = false;
};

}  // namespace

void HandleLease(const Parts& parts, const CallPtr& call) {
  auto job = std::make_shared<LeaseJob>(parts, call);
  const LeaseJob::Tried tried = job->Try(/*last=*/false, /*want_room=*/false);
  if (tried == LeaseJob::Tried::kAnswered) return;
  Counters::Bump(parts.counters->parked);
  const auto again = [job](bool last) {
    return job->Try(last, /*want_room=*/true) == LeaseJob::Tried::kAnswered;
  };
  // Also when it only waits for the disk: the queue keeps its deadline.
  const auto first = tried == LeaseJob::Tried::kWantsRoom ? RoomQueue::First::kAtOnce
                                                          : RoomQueue::First::kWhenRoomCame;
  if (!parts.room->Park(call->answer_by(), again, first)) again(/*last=*/true);
  // Its read has ended meanwhile, and found nobody parked.
  if (job->Answered()) parts.room->RoomCame();
}

void HandleRelease(const Parts& parts, const CallPtr& call) {
  const auto& request = call->request<transport::ReleaseRequest>();
  parts.store->With([&](Store& store) {
    for (const transport::LeaseId lease : request.leases)
      parts.sessions->Release(store, call->session(), lease);
  });
  parts.room->RoomCame();
  call->Answer(transport::ReleaseReply{});
}

}  // namespace cistern::cacheserver
