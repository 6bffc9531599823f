// What our active messages look like. Integers are in the host's order, which on every machine that
// this runs on is little-endian, as Cap'n Proto's are.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <string.h>

namespace cistern::transport {

static_assert(std::endian::native == std::endian::little);

// The active messages' ids.
enum class UcxFrameKind : uint16_t {
  kCall = 1,     // header = the message; data = its payload, if it has one
  kMessage = 2,  // header = LongHeader; data = the message, too long for a header
  kPayload = 3,  // header = LateHeader; data = the payload of a kMessage, which may come before it
  // A payload in pieces (README.md). Tags are the sender's of the payload, whoever sends the frame.
  kPiece = 4,      // header = PieceHeader; data = the piece
  kPull = 5,       // header = LateHeader; the receiver: send it
  kRefuse = 6,     // header = LateHeader; the receiver: do not send it, or no more of it
  kWithdrawn = 7,  // header = LateHeader; the sender: no more of it comes
};

// How the payload of a kMessage comes.
enum class PayloadWay : uint64_t {
  kWhole = 0,   // as a kPayload; or there is none
  kPushed = 1,  // in pieces, at once: the receiver has said before that there is room
  kPulled = 2,  // in pieces, after a kPull
};

struct LongHeader {
  uint64_t tag = 0;            // the sender's, new for each message of a connection
  uint64_t payload_bytes = 0;  // of the payload with the same tag; 0: none follows
  PayloadWay way = PayloadWay::kWhole;
};
static_assert(sizeof(LongHeader) == 24);

struct LateHeader {
  uint64_t tag = 0;
};
static_assert(sizeof(LateHeader) == 8);

// All pieces of a payload are of this size, but for the last one: with its header, and UCX's, as
// much as one of UCX's TCP segments holds (ucx_context.cc).
inline constexpr size_t kPieceBytes = (256u << 10) - 512;

// UCX keeps no order among its active messages: pieces come in any, though not before the kMessage
// of their payload.
struct PieceHeader {
  uint64_t tag = 0;
  uint64_t offset = 0;    // of its first byte in the payload
  uint64_t checksum = 0;  // PayloadChecksum of its bytes
};
static_assert(sizeof(PieceHeader) == 24);

template <typename Header>
std::string HeaderBytes(const Header& header) {
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header));
}

// False: `bytes` are of another size.
template <typename Header>
bool ReadHeader(std::span<const std::byte> bytes, Header* header) {
  if (bytes.size() != sizeof(Header)) return false;
  memcpy(header, bytes.data(), sizeof(Header));
  return true;
}

}  // namespace cistern::transport
