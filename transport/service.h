// The node's end: what the transport asks of whoever serves.
//
//   OnOpen (OnCall)* OnClose            per session, all on the session's lane thread
//
// A lane is one thread and everything it serves. OnCall must not block: long work goes to other
// threads, which answer by ServerCall::Reply from wherever they are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "transport/slice.h"
#include "transport/wire/messages.h"

namespace cistern::transport {

using SessionId = uint64_t;  // never reused within a process

struct SessionInfo {
  std::string client_name;
  std::string peer;  // "unix pid 123 uid 0" or "ucx 10.0.0.2:4711": for logs
  bool maps_arena = false;
  uint32_t lane = 0;
};

// One request in progress. Exactly one Reply; a call that is dropped without one answers Internal.
// A reply to a session that has died goes nowhere (`sent` still runs).
class ServerCall {
 public:
  virtual ~ServerCall() = default;

  virtual SessionId session() const = 0;
  virtual Request& request() = 0;
  virtual uint64_t payload_bytes() const = 0;  // of the request's payload; 0 = none
  virtual absl::Time deadline() const = 0;     // after it nobody waits for the reply
  // The payload is still being written: ReceivePayload follows whoever writes it, in short turns on
  // the lane, and blocks no thread. Nothing is gained by calling it on another one.
  virtual bool payload_follows() const { return false; }

  // The carrier itself checks a payload of so many bytes, the request's or the reply's: neither
  // side has to.
  virtual bool checks(uint64_t /*payload_bytes*/) const { return false; }
  // Whichever thread asks for a payload to be moved, the lane moves it: nothing is gained by asking
  // on another one.
  virtual bool lane_moves() const { return false; }

  // Moves the request's payload into `into` (total size = payload_bytes). May be called from any
  // thread; `done` runs on the calling thread or the lane's. At most once. Unavailable when the
  // peer died on the way; of a payload that follows, DeadlineExceeded when it has not come by the
  // call's deadline, InvalidArgument when its writer says what cannot be.
  virtual void ReceivePayload(std::vector<MutableSlice> into,
                              absl::AnyInvocable<void(absl::Status)> done) = 0;

  // Any thread. `payload` must stay valid and unchanged until `sent` runs (on any thread).
  virtual void Reply(transport::Reply reply, std::vector<Slice> payload,
                     absl::AnyInvocable<void()> sent) = 0;

  void Reply(transport::Reply reply) { Reply(std::move(reply), {}, nullptr); }
  void Fail(const absl::Status& status) { Reply(ErrorReply::From(status), {}, nullptr); }
};

class Service {
 public:
  virtual ~Service() = default;
  virtual void OnOpen(SessionId session, const SessionInfo& info) = 0;
  virtual void OnCall(std::unique_ptr<ServerCall> call) = 0;
  virtual void OnClose(SessionId session) = 0;
};

// Counters of one server, all since its start.
struct ServerStats {
  uint64_t sessions_open = 0;
  uint64_t sessions_total = 0;
  uint64_t calls = 0;
  uint64_t bad_messages = 0;  // truncated, oversized, of an unknown kind or version
  uint64_t payload_bytes_in = 0;
  uint64_t payload_bytes_out = 0;
};

inline constexpr uint32_t kMaxLanes = 256;  // of a server

struct ServerOptions {
  std::string unix_path;    // empty: no unix socket
  std::string ucx_address;  // "host:port", empty: no UCX listener; port 0: any
  uint32_t lanes = 2;
  uint32_t max_sessions = 1024;
  uint32_t max_calls_per_session = 1024;  // in flight; further ones are answered ResourceExhausted
  std::string node_name = "cistern";
  uint64_t incarnation = 0;
  int arena_fd = -1;  // a memfd, sealed; -1: nothing to map
  uint64_t arena_bytes = 0;
  const std::byte* arena = nullptr;  // where it is mapped: registered with the network
  bool allow_mapping = true;         // false: every session is served by copy
  uint64_t blob_block_bytes = 0;     // HelloReply's
  absl::Duration hello_timeout =
      absl::Seconds(5);  // a connection that has not said hello by then is closed
  // A payload that a peer on another host does not take, or does not send, for so long closes its
  // connection, whatever else it does: what is sent stays leased until then.
  absl::Duration transfer_timeout = absl::Seconds(120);
  // Buffers of peers on this host that are mapped, in bytes: of one session, and of all. Who
  // announces more is cut off.
  uint64_t max_session_buffer_bytes = 1ull << 36;
  uint64_t max_buffer_bytes = 1ull << 42;
};

class Server {
 public:
  virtual ~Server() = default;  // Stop
  virtual std::string unix_path() const = 0;
  virtual std::string ucx_address() const = 0;  // with the port that was bound
  virtual ServerStats stats() const = 0;
  // Closes the door, then every session (OnClose runs for each), then joins the lanes. Idempotent.
  virtual void Stop() = 0;
};

// Starts listening. AlreadyExists when the port or socket is in use by a living server,
// InvalidArgument for bad addresses. `service` outlives the server.
absl::StatusOr<std::unique_ptr<Server>> StartServer(const ServerOptions& options, Service* service);

}  // namespace cistern::transport
