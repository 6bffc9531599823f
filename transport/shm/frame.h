// The frames on a unix socket between a worker and its node. Both ends run on one machine, so
// numbers are as the machine has them.
//
//   frame          FrameHeader, then `length` bytes
//   kMessage       [PayloadTable, then its send slices, then its receive slices: if kHasPayload]
//                  then one message (wire/codec.h). With kHasFd: the arena's memfd (hello's reply)
//   kBuffer        BufferNotice; with a memfd of the worker's, in which payloads will lie
//   kDropBuffer    BufferNotice; no later call speaks of this buffer
//   kTickets       BufferNotice; with a memfd of TicketLines (tickets.h). Once, before the first
//   call
//                  with a payload
//   kFilled        nothing: a payload that the node had stopped looking for has grown (tickets.h)
//
// A worker sends all five, a node only kMessage. A payload never travels on the socket: it lies in
// the worker's buffers, where the node reads it from or writes it to.
#pragma once

#include <cstdint>

#include "transport/wire/messages.h"

namespace cistern::transport {

inline constexpr uint32_t kFrameMagic = 0x46545343;  // "CSTF"

enum class FrameKind : uint16_t {
  kMessage = 1,
  kBuffer = 2,
  kDropBuffer = 3,
  kTickets = 4,
  kFilled = 5
};

inline constexpr uint16_t kHasFd = 1;       // one file descriptor rides on the frame
inline constexpr uint16_t kHasPayload = 2;  // a PayloadTable precedes the message
// A node's: so many workers call that they and its lanes share processors. Sleep while you wait.
inline constexpr uint16_t kCrowded = 4;

struct FrameHeader {
  uint32_t magic = kFrameMagic;
  FrameKind kind = FrameKind::kMessage;
  uint16_t flags = 0;
  uint32_t length = 0;    // bytes after this header
  uint32_t reserved = 0;  // zero
};
static_assert(sizeof(FrameHeader) == 16);

// All multiples of 8, so that messages stay aligned in the receiver's buffer.
struct PayloadTable {
  uint32_t send_slices = 0;     // where the request's payload lies
  uint32_t receive_slices = 0;  // where the reply's goes
  // What the node must claim before it writes a reply's payload, and after it has read a request's
  // (there it may be missing: a word of 0) ...
  uint32_t ticket = 0;
  uint32_t flags = 0;        // kFollow, or 0
  uint64_t ticket_word = 0;  // ... and what it looks like until then
};
static_assert(sizeof(PayloadTable) == 24);

// The request's payload is still being written: as much of it is there as the ticket's line says
// (tickets.h), and the node follows.
inline constexpr uint32_t kFollow = 1;

struct WireSlice {
  uint32_t buffer = 0;
  uint32_t reserved = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};
static_assert(sizeof(WireSlice) == 24);

struct BufferNotice {
  uint32_t buffer = 0;  // chosen by the worker; not in use
  uint32_t reserved = 0;
  uint64_t bytes = 0;  // of the memfd
};
static_assert(sizeof(BufferNotice) == 16);

inline constexpr uint32_t kMaxSlices = 4096;   // of one payload
inline constexpr uint32_t kMaxBuffers = 1024;  // of one session
inline constexpr uint64_t kMaxBufferBytes = 1ull << 34;
inline constexpr uint64_t kMaxSessionBytes = 1ull << 36;  // of one session's buffers, all together
inline constexpr uint64_t kMaxFrameBytes =
    kMaxMessageBytes + sizeof(PayloadTable) + 2ull * kMaxSlices * sizeof(WireSlice);

}  // namespace cistern::transport
