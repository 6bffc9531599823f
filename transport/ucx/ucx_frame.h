// What our active messages look like. Integers are in the host's order, which on every machine that
// this runs on is little-endian, as Cap'n Proto's are.
#pragma once

#include <bit>
#include <cstdint>

namespace cistern::transport {

static_assert(std::endian::native == std::endian::little);

// The active messages' ids.
enum class UcxFrameKind : uint16_t {
  kCall = 1,     // header = the message; data = its payload, if it has one
  kMessage = 2,  // header = LongHeader; data = the message, too long for a header
  kPayload = 3,  // header = LateHeader; data = the payload of a kMessage, which may come before it
};

struct LongHeader {
  uint64_t tag = 0;            // the sender's, new for each message of a connection
  uint64_t payload_bytes = 0;  // of the kPayload with the same tag; 0: none follows
};
static_assert(sizeof(LongHeader) == 16);

struct LateHeader {
  uint64_t tag = 0;
};
static_assert(sizeof(LateHeader) == 8);

}  // namespace cistern::transport
