// What every server does, whatever carries its messages: admits sessions, answers the hello,
// decodes and counts, bounds what is in flight, hands calls to the Service and sees that each is
// answered exactly once.
//
//   ServerCore     one per server: options, counters, the service
//   SessionCore    one per connection, on its lane:  OnMessage* OnDisconnect
//   CallChannel    one per request, made by the carrier: where its payload comes from and where its
//                  reply goes
//   Listener       one kind of connection (unix socket, UCX), hosted on the server's lanes
//
// A carrier writes CallChannel and Listener, calls OnMessage for each whole message and
// OnDisconnect once the connection is gone. Everything else is here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "transport/rpc/callers.h"
#include "transport/rpc/lane.h"
#include "transport/rpc/mono_time.h"
#include "transport/rpc/once.h"
#include "transport/service.h"
#include "transport/wire/codec.h"

namespace cistern::transport {

// One request's way back. Lives as long as the call (which may outlive the session and the server),
// so it holds what it uses by shared_ptr, and after the session's death touches neither its lane
// nor its socket.
//
// Thread   ReceivePayload, SendReply: any, one at a time. Construction: the lane's
class CallChannel {
 public:
  virtual ~CallChannel() = default;

  virtual uint64_t payload_bytes() const = 0;  // of the request's payload, as the carrier sees it

  // See ServerCall::payload_follows.
  virtual bool payload_follows() const { return false; }

  // See ServerCall's.
  virtual bool checks(uint64_t /*payload_bytes*/) const { return false; }
  virtual bool lane_moves() const { return false; }

  // From when on nobody waits for the reply: said once, before the rest.
  virtual void set_deadline(MonoTime /*deadline*/) {}

  // Moves the request's payload into `into`, whose total is payload_bytes() (checked by the
  // caller). At most once.
  virtual void ReceivePayload(std::vector<MutableSlice> into, Received done) = 0;

  // Sends the encoded reply and its payload. Called exactly once, the last call to this channel.
  // `payload` is borrowed until `sent` runs; its total is what the request asked for, or zero
  // (checked by the caller).
  virtual void SendReply(std::string message, std::vector<Slice> payload, Sent sent) = 0;
};

class SessionCore;

class ServerCore : public std::enable_shared_from_this<ServerCore> {
 public:
  // `service` outlives every session.
  ServerCore(const ServerOptions& options, Service* service);

  const ServerOptions& options() const { return options_; }
  ServerStats stats() const;

  // A connection has come. nullptr when there are too many (close it). `lane`: the index of its
  // lane. `can_map`: this carrier can hand over the arena. `peer` as in SessionInfo. Thread: any
  std::shared_ptr<SessionCore> NewSession(uint32_t lane, std::string peer, bool can_map);

  // Those who wait for calls and for answers should sleep: others want the processors (callers.h).
  // Thread: any
  bool Crowded() const { return callers_.Crowded(MonoNow()); }

  // For what a carrier itself finds wrong: a bad frame, a foreign buffer. Thread: any
  void CountBadMessage() { bad_messages_.fetch_add(1, std::memory_order_relaxed); }

 private:
  friend class SessionCore;
  friend class CoreCall;

  // Connections that have not said hello yet, on top of max_sessions.
  static constexpr uint32_t kMaxStrangers = 64;

  const ServerOptions options_;
  Service* const service_;
  Callers callers_;
  std::atomic<uint64_t> next_session_{1};
  std::atomic<uint64_t> connections_{0};
  std::atomic<uint64_t> sessions_open_{0};
  std::atomic<uint64_t> sessions_total_{0};
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> bad_messages_{0};
  std::atomic<uint64_t> payload_bytes_in_{0};
  std::atomic<uint64_t> payload_bytes_out_{0};
};

// Thread   the session's lane, but for closed()
class SessionCore : public std::enable_shared_from_this<SessionCore> {
 public:
  SessionCore(std::shared_ptr<ServerCore> server, SessionId id, SessionInfo info, bool can_map);
  ~SessionCore();

  // One whole message. What is wrong with it is answered where that is possible, and counted. An
  // error means that the connection is of no more use: the carrier sends what it has queued,
  // closes, and calls OnDisconnect. Bytes of `message` are not used after the call.
  absl::Status OnMessage(std::span<const std::byte> message, std::unique_ptr<CallChannel> channel);

  // The connection is gone. Service::OnClose runs here, once, if OnOpen ran. Idempotent.
  void OnDisconnect();

  SessionId id() const { return id_; }
  // It has said hello. The carrier closes it when it has not by ServerOptions::hello_timeout.
  bool opened() const { return opened_; }
  // Valid once opened: the arena goes with the hello's reply.
  bool maps_arena() const { return info_.maps_arena; }
  bool closed() const { return closed_.load(std::memory_order_acquire); }

 private:
  friend class CoreCall;

  absl::Status OnHello(const HelloRequest& hello, const RequestHead& head, CallChannel& channel);
  void Dispatch(RequestEnvelope envelope, std::unique_ptr<CallChannel> channel);

  const std::shared_ptr<ServerCore> server_;
  const SessionId id_;
  const bool can_map_;
  SessionInfo info_;
  bool opened_ = false;
  Callers::Mark called_;
  std::atomic<bool> closed_{false};
  std::atomic<uint32_t> in_flight_{0};
};

// One way into a server. The server calls, in this order: CloseDoor; for every lane CloseSessions
// on that lane's thread; stops the lanes; destroys the listener.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual std::string address() const = 0;  // with the port that was bound
  // After it no new session opens. Thread: the one that stops the server; waits as long as it must
  // (Lane::RunAndWait).
  virtual void CloseDoor() = 0;
  // Closes the lane's sessions: what has been queued for them is given a chance, OnDisconnect runs
  // for each.
  virtual void CloseSessions(uint32_t lane) = 0;
};

}  // namespace cistern::transport
