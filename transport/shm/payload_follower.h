// The node's side of a payload that is still being written (tickets.h): copies what is there, as it
// comes, while it lies in a cache that both processors share.
//
//   Start ─► (a turn of kTurn at most)* ─► done          Stop: done at once
//
// A follower has no thread. A turn copies, and looks for more for kLookFor after the last byte;
// then the lane serves others and comes back, at once if there was more, and else when the worker
// says that there is (kFilled), or after kPause. So a worker that is stopped in the middle costs a
// look each kPause, until its call's deadline.
//
// Thread   the lane's; construction and destruction: any
// Errors   what `done` gets. InvalidArgument: the worker speaks of more bytes than there are, or of
//          fewer than before. Unavailable: it has given up, or is gone. DeadlineExceeded: not all
//          was there by the call's deadline. Some bytes have been copied then
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"

#include "transport/rpc/lane.h"
#include "transport/rpc/lookout.h"
#include "transport/rpc/mono_time.h"
#include "transport/rpc/once.h"
#include "transport/rpc/stream_copy.h"
#include "transport/shm/buffer_table.h"

namespace cistern::transport {

class PayloadFollower : public std::enable_shared_from_this<PayloadFollower> {
 public:
  static constexpr std::chrono::microseconds kTurn{100};
  static constexpr std::chrono::microseconds kLookFor{20};
  static constexpr absl::Duration kPause = absl::Milliseconds(10);

  // `payload.follow` is set; `into` has as many bytes as `payload.send`. `lane` outlives this.
  // `may_look`: there are processors to look for more with (callers.h).
  PayloadFollower(Lane* lane, const ResolvedPayload& payload, std::vector<MutableSlice> into,
                  MonoTime deadline, bool may_look, Received done);

  void Start();
  // The worker says that there is more.
  void Wake();
  bool ended() const { return ended_; }
  // Ends it with `status`, unless it has ended.
  void Stop(absl::Status status);

 private:
  enum class Next : uint8_t { kMore, kSilent, kEnded };

  void Run();
  Next Turn();
  bool LookOn();  // nothing is there: whether to look once more
  // Copies what is there of what is not copied yet, a step at most. False: nothing is.
  absl::StatusOr<bool> Step();

  Lane* const lane_;
  std::shared_ptr<Mapping> tickets_;
  const Ticket ticket_;
  std::vector<std::shared_ptr<Mapping>> keep_;  // what the payload lies in
  const uint64_t bytes_;
  const MonoTime deadline_;
  const bool may_look_;
  StreamSteps steps_;
  uint64_t filled_ = 0;  // the most that the worker has spoken of
  uint64_t copied_ = 0;
  bool waiting_ = false;  // for more
  Lookout lookout_{kLookFor};
  Lane::TimerId timer_ = 0;  // 0: does not sleep
  bool ended_ = false;
  Received done_;
};

}  // namespace cistern::transport
