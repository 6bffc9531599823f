// A link that misbehaves on request: for tests of whoever uses links.
//
//   link.Inject({.kind = Fault::Kind::kDropReply, .after_calls = 2});   // the third call from now
//
// Each fault is used by one call (or `times` calls), counted from when it was injected. A call that
// no fault awaits goes through untouched.
//
// Thread   any. Completions run on the inner link's thread or on this one's own
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/mutex.h"
#include "transport/link.h"
#include "transport/rpc/lane.h"

namespace cistern::transport {

struct Fault {
  enum class Kind {
    kDropRequest,  // the node never sees it; DeadlineExceeded at the deadline
    kDropReply,    // the node answers, nobody hears it; DeadlineExceeded at the deadline
    kDelay,        // the reply comes `delay` late, or DeadlineExceeded when that is later than the
                   // deadline
    kFail,         // `status` at once; the node never sees it
    kGarblePayload,  // one bit of what was received is turned over; nothing is said
    kDie,            // this call and all later ones: Unavailable; those in flight too
  };
  Kind kind = Kind::kFail;
  uint32_t after_calls = 0;  // let so many pass first
  uint32_t times = 1;
  absl::Duration delay = absl::ZeroDuration();
  absl::Status status = absl::UnavailableError("injected");
  // Of which requests; nullptr = all. Others neither trigger the fault nor count.
  bool (*applies)(const Request& request) = nullptr;
};

class FaultyLink final : public Link {
 public:
  static absl::StatusOr<std::unique_ptr<FaultyLink>> Wrap(std::unique_ptr<Link> inner);
  ~FaultyLink() override;

  void Inject(Fault fault);
  // As Fault::kDie, now.
  void Die();
  uint64_t calls() const;  // that were made through this link
  uint64_t faults_used() const;

  void Call(Request request, CallOptions options, Completion done) override;
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t bytes) override {
    return inner_->Allocate(bytes);
  }
  const std::byte* arena() const override { return inner_->arena(); }
  const HelloReply& node() const override { return inner_->node(); }
  bool alive() const override;

 private:
  struct State;
  FaultyLink(std::unique_ptr<Link> inner, std::unique_ptr<Lane> lane);

  void Pass(Request request, CallOptions options, Completion done);
  // Completes with `result` at `when`.
  void Later(MonoTime when, Completion done, absl::StatusOr<Reply> result);

  const std::shared_ptr<State> state_;
  std::unique_ptr<Lane> lane_;  // for what comes later
  std::unique_ptr<Link> inner_;
};

}  // namespace cistern::transport
