#include "transport/fake/faulty_link.h"

#include <limits>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "transport/rpc/pending_calls.h"

namespace cistern::transport {
namespace {

constexpr uint32_t kNoLimit = std::numeric_limits<uint32_t>::max();

void TurnOneBit(const std::vector<MutableSlice>& received) {
  for (const MutableSlice& slice : received) {
    if (slice.empty()) continue;
    slice[slice.size() / 2] ^= std::byte{0x10};
    return;
  }
}

}  // namespace

// Shared with completions that may come after the link is gone.
struct FaultyLink::State {
  base::Mutex mutex;
  std::vector<Fault> faults ABSL_GUARDED_BY(mutex);
  bool dead ABSL_GUARDED_BY(mutex) = false;
  uint64_t calls ABSL_GUARDED_BY(mutex) = 0;
  uint64_t faults_used ABSL_GUARDED_BY(mutex) = 0;
  PendingCalls passing{kNoLimit};  // with the inner link, and without memory that it may write to
  PendingCalls held{kNoLimit};     // to be completed at their "deadline"

  // The fault that this call meets, if any.
  std::optional<Fault> Next(const Request& request) {
    base::MutexLock lock(&mutex);
    ++calls;
    if (dead) return Fault{.kind = Fault::Kind::kDie};
    std::optional<Fault> met;
    for (auto it = faults.begin(); it != faults.end();) {
      const bool applies = it->applies == nullptr || it->applies(request);
      if (!applies || met.has_value()) {
        ++it;
      } else if (it->after_calls > 0) {
        --it->after_calls;
        ++it;
      } else {
        met = *it;
        it = --it->times == 0 ? faults.erase(it) : it + 1;
      }
    }
    if (met.has_value()) ++faults_used;
    return met;
  }

  bool IsDead() {
    base::MutexLock lock(&mutex);
    return dead;
  }
};

absl::StatusOr<std::unique_ptr<FaultyLink>> FaultyLink::Wrap(std::unique_ptr<Link> inner) {
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<Lane> lane, Lane::Start("faulty-link"));
  return std::unique_ptr<FaultyLink>(new FaultyLink(std::move(inner), std::move(lane)));
}

FaultyLink::FaultyLink(std::unique_ptr<Link> inner, std::unique_ptr<Lane> lane)
    : state_(std::make_shared<State>()), lane_(std::move(lane)), inner_(std::move(inner)) {}

FaultyLink::~FaultyLink() {
  inner_.reset();  // completes all that it has
  const absl::Status closed = absl::CancelledError("the link was closed");
  lane_->Post([ended = state_->held.Close(closed), closed]() mutable {
    for (PendingCall& call : ended) call.done(closed);
  });
  lane_->Stop();
}

void FaultyLink::Inject(Fault fault) {
  base::MutexLock lock(&state_->mutex);
  state_->faults.push_back(std::move(fault));
}

void FaultyLink::Die() {
  {
    base::MutexLock lock(&state_->mutex);
    state_->dead = true;
  }
  const absl::Status gone = absl::UnavailableError("injected: the node is gone");
  for (PendingCalls* calls : {&state_->passing, &state_->held}) {
    lane_->Post([ended = calls->Close(gone), gone]() mutable {
      for (PendingCall& call : ended) call.done(gone);
    });
  }
}

uint64_t FaultyLink::calls() const {
  base::MutexLock lock(&state_->mutex);
  return state_->calls;
}

uint64_t FaultyLink::faults_used() const {
  base::MutexLock lock(&state_->mutex);
  return state_->faults_used;
}

bool FaultyLink::alive() const { return inner_->alive() && !state_->IsDead(); }

void FaultyLink::Call(Request request, CallOptions options, Completion done) {
  options.attended = false;  // who attends this link does not attend the inner one
  const std::optional<Fault> fault = state_->Next(request);
  const MonoTime deadline = After(MonoNow(), options.deadline);
  const absl::Status too_late = absl::DeadlineExceededError("injected: no answer in time");
  if (!fault.has_value()) return Pass(std::move(request), std::move(options), std::move(done));
  switch (fault->kind) {
    case Fault::Kind::kFail:
      return Later(MonoNow(), std::move(done), fault->status);
    case Fault::Kind::kDropRequest:
      return Later(deadline, std::move(done), too_late);
    case Fault::Kind::kDie:
      Die();
      return Later(MonoNow(), std::move(done),
                   absl::UnavailableError("injected: the node is gone"));
    // The reply is waited for in any case: until the inner call ends, its buffers are not the
    // caller's.
    case Fault::Kind::kDropReply:
      done = [this, deadline, too_late,
              done = std::move(done)](const absl::StatusOr<Reply>&) mutable {
        Later(deadline, std::move(done), too_late);
      };
      break;
    case Fault::Kind::kDelay:
      done = [this, deadline, too_late, delay = fault->delay, late = options.late,
              done = std::move(done)](absl::StatusOr<Reply> reply) mutable {
        const MonoTime when = After(MonoNow(), delay);
        if (when > deadline) {
          Later(deadline, std::move(done), too_late);
          if (late && reply.ok()) late(*reply);
          return;
        }
        Later(when, std::move(done), std::move(reply));
      };
      break;
    case Fault::Kind::kGarblePayload:
      done = [received = options.receive,
              done = std::move(done)](absl::StatusOr<Reply> reply) mutable {
        if (reply.ok()) TurnOneBit(received);
        done(std::move(reply));
      };
      break;
  }
  inner_->Call(std::move(request), std::move(options), std::move(done));
}

// Through the inner link, but so that Die can end it: at once, or, if the node may be writing into
// its buffers, when the inner link has ended it.
void FaultyLink::Pass(Request request, CallOptions options, Completion done) {
  Completion inner_done;
  if (options.receive.empty()) {
    PendingCall call;
    call.done = std::move(done);
    const absl::StatusOr<uint64_t> id = state_->passing.Add(call);
    if (!id.ok()) return Later(MonoNow(), std::move(call.done), id.status());
    inner_done = [state = state_, id = *id](absl::StatusOr<Reply> reply) {
      if (auto passed = state->passing.Take(id)) passed->done(std::move(reply));
    };
  } else {
    inner_done = [state = state_, done = std::move(done)](absl::StatusOr<Reply> reply) mutable {
      if (state->IsDead()) reply = absl::UnavailableError("injected: the node is gone");
      done(std::move(reply));
    };
  }
  inner_->Call(std::move(request), std::move(options), std::move(inner_done));
}

void FaultyLink::Later(MonoTime when, Completion done, absl::StatusOr<Reply> result) {
  PendingCall call;
  call.deadline = when;
  call.done = [done = std::move(done),
               result = std::move(result)](absl::StatusOr<Reply> fate) mutable {
    done(fate.ok() ? std::move(result) : std::move(fate));
  };
  const absl::StatusOr<uint64_t> held = state_->held.Add(call);
  if (!held.ok()) {  // dead, or closed just now
    lane_->Post([call = std::move(call), status = held.status()]() mutable { call.done(status); });
    return;
  }
  lane_->Post([this, when] {
    lane_->AddTimer(when, [state = state_] {
      for (PendingCall& call : state->held.TakeExpired(MonoNow())) call.done(Reply(ErrorReply{}));
    });
  });
}

}  // namespace cistern::transport
