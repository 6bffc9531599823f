// A worker's end of one connection to a node, whatever carries it: a unix socket with the arena
// mapped, UCX to another host, or a call within the process.
//
// Thread   Call, Allocate, Attend: any. Completions run on the link's own thread, or on one that
//          is in Attend or in Call, and must not block; who calls holds no lock that they take.
// Errors   A completion always runs, once, by the call's deadline: Unavailable (peer gone),
// DeadlineExceeded, DataLoss
//          (payload checksum), ResourceExhausted (too many calls in flight), or the node's own
//          error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "transport/slice.h"
#include "transport/wire/messages.h"

namespace cistern::transport {

// Memory that payloads may lie in: shared with the node, registered with the network, or plain, as
// the link needs it.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual MutableSlice bytes() = 0;
};

// Tells a node that follows how much of a call's payload is there.
//
//   Link::CallAhead ─► (write some more ─► Filled)* ─► all of it is there
//
// Thread   one at a time
class PayloadFill {
 public:
  // Dropped before all is there: the node stops, and the call fails with Unavailable.
  virtual ~PayloadFill() = default;
  // So many bytes of the payload, from its front, are there, and stay as they are until they are
  // taken or the call has ended. Never fewer than before.
  virtual void Filled(uint64_t bytes) = 0;
  // So many of them the node has copied: they may change. So a payload may be larger than the
  // memory that it lies in: several of its slices may name the same piece of it.
  virtual uint64_t Taken() = 0;
};

struct CallOptions {
  absl::Duration deadline = absl::Seconds(5);
  std::vector<Slice> send;  // payload of the request; lies in Buffers of this link until completion
  std::vector<MutableSlice>
      receive;  // where the reply's payload goes; likewise. Its size must be what the reply brings
  // Gets the reply if it comes after the call has ended by its deadline (an error reply: not), on
  // the link's thread: it may bring what has to be given back. A link keeps kMaxOrphans such calls,
  // the newest ones. It must not block, and must not call: the link may be closing.
  std::function<void(const Reply& reply)> late;
  // The caller will Attend this link as soon as he has made the call, so that nobody else has to
  // look for its reply. Who then does not may have it as late as the deadline. A link that passes
  // calls on to another one passes Attend on as well, or clears this.
  bool attended = false;
};

inline constexpr size_t kMaxOrphans = 4096;

using Completion = absl::AnyInvocable<void(absl::StatusOr<Reply>)>;

class Link {
 public:
  virtual ~Link() =
      default;  // fails what is in flight with Cancelled, then stops the link's thread

  // Calls may overtake each other, also those of one thread.
  virtual void Call(Request request, CallOptions options, Completion done) = 0;

  // For who waits for a reply anyhow: takes in what the link brings on the calling thread, which
  // saves the way over the link's own, until `done` says so or `longest` is over. Completions of
  // any calls run here meanwhile. Returns early where that is not to be had (somebody else does it,
  // the link is dead, the carrier cannot); the caller waits in his own way then.
  virtual void Attend(absl::FunctionRef<bool()> /*done*/, absl::Duration /*longest*/) {}

  // Whether the carrier itself checks a payload of so many bytes: neither side has to.
  virtual bool checks(uint64_t /*payload_bytes*/) const { return false; }

  // Whether the node can follow a payload that is still being written.
  virtual bool follows() const { return false; }
  // A call that goes ahead of its payload: `options.send`, not empty, is written and told about
  // while the node copies what is there. It is written to until the fill is dropped, also if the
  // call has ended before. Null where the call cannot be made: its completion says why;
  // Unimplemented where the link does not follow.
  virtual std::unique_ptr<PayloadFill> CallAhead(Request request, CallOptions options,
                                                 Completion done);

  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t bytes) = 0;

  // The node's arena, mapped read-only; nullptr when bytes come by Read.
  virtual const std::byte* arena() const = 0;

  virtual const HelloReply& node() const = 0;

  // False once the connection has failed; every call fails at once with Unavailable. A link never
  // reconnects itself.
  virtual bool alive() const = 0;
};

struct LinkOptions {
  std::string client_name = "client";
  absl::Duration connect_timeout = absl::Seconds(5);
  bool want_mapping = true;
  uint32_t max_in_flight = 1024;  // calls; one more fails with ResourceExhausted
};

// "unix:/run/cistern/node.sock" (same host) or "host:port" (UCX chooses the transport).
// InvalidArgument for anything else, Unavailable when nobody answers within connect_timeout,
// FailedPrecondition when the versions do not fit.
absl::StatusOr<std::unique_ptr<Link>> Connect(absl::string_view address,
                                              const LinkOptions& options);

// Waits for the reply and takes it as `ReplyType`; a reply of another type is Internal.
absl::StatusOr<Reply> CallAndWait(Link& link, Request request, CallOptions options = {});

template <typename ReplyType>
absl::StatusOr<ReplyType> CallFor(Link& link, Request request, CallOptions options = {}) {
  absl::StatusOr<Reply> reply = CallAndWait(link, std::move(request), std::move(options));
  if (!reply.ok()) return std::move(reply).status();
  if (auto* typed = std::get_if<ReplyType>(&*reply)) return std::move(*typed);
  if (auto* error = std::get_if<ErrorReply>(&*reply)) return error->ToStatus();
  return absl::InternalError("the node answered with a reply of another kind");
}

}  // namespace cistern::transport
