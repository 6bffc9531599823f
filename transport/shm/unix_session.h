// The node's end of one unix socket: frames in, replies out, and the worker's buffers in between.
//
// Thread   the session's lane, but for what channels do: they hold the session by shared_ptr and
//          send from any thread
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "transport/rpc/lane.h"
#include "transport/rpc/server_core.h"
#include "transport/shm/buffer_table.h"
#include "transport/shm/frame_stream.h"
#include "transport/shm/payload_follower.h"
#include "transport/shm/unique_fd.h"

namespace cistern::transport {

class UnixSession : public std::enable_shared_from_this<UnixSession> {
 public:
  // `arena_fd` is borrowed for the server's life; -1 for none. `mapped`: of all
  // sessions' buffers. `on_closed` runs on the lane, once, at the end of Close.
  UnixSession(std::shared_ptr<ServerCore> server, std::shared_ptr<SessionCore> core,
              UniqueFd socket, int arena_fd, std::shared_ptr<ByteBudget> mapped,
              absl::AnyInvocable<void()> on_closed);

  // Begins to serve. On an error the session has been closed.
  absl::Status Start(Lane* lane);

  // Flushes what it can and ends. Idempotent.
  void Close();

  SessionId id() const { return core_->id(); }

  // Any thread; for channels. A session whose queue is full is given up.
  void Send(std::string message);
  // Any thread; for channels.
  void CountBadMessage() { server_->CountBadMessage(); }
  // Any thread; for channels. `done` runs on the lane, at the latest in Close. A payload that is
  // longer on its way than kLongestFill ends by that, whatever its call's deadline: it holds
  // blocks. ResourceExhausted: kMaxFollowers are being followed.
  static constexpr size_t kMaxFollowers = 64;
  static constexpr absl::Duration kLongestFill = absl::Seconds(30);
  void Follow(const ResolvedPayload& payload, std::vector<MutableSlice> into, MonoTime deadline,
              Received done);

 private:
  void Begin(const std::shared_ptr<PayloadFollower>& follower);
  void OnEvents(uint32_t events);
  absl::Status OnFrame(IncomingFrame frame);
  absl::Status OnMessage(IncomingFrame frame);
  absl::Status OnFilled(const IncomingFrame& frame);

  const std::shared_ptr<ServerCore> server_;
  const std::shared_ptr<SessionCore> core_;
  const int arena_fd_;
  FrameStream stream_;
  BufferTable buffers_;
  Lane* lane_ = nullptr;
  Lane::TimerId hello_timer_ = 0;  // 0 = none
  absl::AnyInvocable<void()> on_closed_;
  std::vector<std::shared_ptr<PayloadFollower>> followers_;  // and some that have ended
  bool waking_ = false;                                      // they will be woken
  std::atomic<bool> arena_given_{false};
};

}  // namespace cistern::transport
