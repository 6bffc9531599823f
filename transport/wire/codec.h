// Messages to bytes and back. The only door to Cap'n Proto: nothing else includes it, and its
// exceptions end here.
//
// Shape    one Cap'n Proto message in the standard stream framing (segment table, then segments);
//          the schema is cistern.capnp
// Bounds   kMaxMessageBytes per message, kMaxItems per list, ObjectHeader::Validate on every
//          header, enum values known, nesting and traversal limited: decoding takes memory in
//          proportion to the input, whatever it holds
// Needs    nothing of the input's alignment (aligned to 8 it is read in place, else copied first)
// Thread   any
// Errors   InvalidArgument, with what is wrong and where. A version is not judged here: the server
//          compares the hello's with its own
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "transport/wire/messages.h"

namespace cistern::transport {

// What travels in front of every request. Deadlines are durations: clocks of two hosts are
// strangers.
struct RequestHead {
  uint64_t call_id = 0;     // the client's, not zero
  absl::Duration deadline;  // rounded to microseconds; at most kMaxDeadline
  uint64_t send_bytes = 0;  // of the request's payload
  // Of the payload that the caller has room for: exactly this comes back, or an error.
  uint64_t receive_bytes = 0;
};
inline constexpr absl::Duration kMaxDeadline = absl::Hours(1);  // a longer one is cut to it

struct RequestEnvelope {
  RequestHead head;
  Request request;
};

struct ReplyHead {
  uint64_t call_id = 0;
  uint64_t payload_bytes = 0;
};
struct ReplyEnvelope {
  ReplyHead head;
  Reply reply;
};

// Needs CheckBounds to be OK. The sender compares the size with kMaxMessageBytes; the receiver
// checks everything.
std::string EncodeRequest(const RequestHead& head, const Request& request);
std::string EncodeReply(const ReplyHead& head, const Reply& reply);

// `call_id`, if given, is set as soon as it is known (else 0): a request that cannot be read can
// still be answered.
absl::StatusOr<RequestEnvelope> DecodeRequest(std::span<const std::byte> message,
                                              uint64_t* call_id = nullptr);
absl::StatusOr<ReplyEnvelope> DecodeReply(std::span<const std::byte> message,
                                          uint64_t* call_id = nullptr);

// InvalidArgument when a message would be refused for its counts or its texts: what a sender can
// know before it encodes.
absl::Status CheckBounds(const Request& request);
absl::Status CheckBounds(const Reply& reply);

}  // namespace cistern::transport
