// Messages and frames from a peer: whatever bytes come, reading them is safe, and what is accepted
// keeps the bounds and travels on unchanged.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include "transport/shm/buffer_table.h"
#include "transport/shm/frame_reader.h"
#include "transport/wire/codec.h"

namespace {

using namespace cistern::transport;  // NOLINT(google-build-using-namespace): a program of one page

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "wire_fuzz: %s\n", what);
  std::abort();
}

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

void CheckMessage(std::span<const std::byte> bytes) {
  if (const auto in = DecodeRequest(bytes); in.ok()) {
    Require(CheckBounds(in->request).ok(), "an accepted request is out of bounds");
    const auto again = DecodeRequest(Bytes(EncodeRequest(in->head, in->request)));
    Require(again.ok() && again->request == in->request && again->head.call_id == in->head.call_id,
            "an accepted request does not travel unchanged");
  }
  if (const auto in = DecodeReply(bytes); in.ok()) {
    Require(CheckBounds(in->reply).ok(), "an accepted reply is out of bounds");
    const auto again = DecodeReply(Bytes(EncodeReply(in->head, in->reply)));
    Require(again.ok() && again->reply == in->reply, "an accepted reply does not travel unchanged");
    const auto* error = std::get_if<ErrorReply>(&in->reply);
    Require(error == nullptr || !error->ToStatus().ok(), "an error is OK");
  }
}

// The stream in pieces, as a socket would hand them out.
void CheckStream(std::span<const std::byte> bytes) {
  FrameReader reader;
  BufferTable buffers;
  const size_t given = bytes.size();
  size_t taken = 0;
  while (!bytes.empty()) {
    const std::span<std::byte> space = reader.Space();
    const size_t some = std::min({bytes.size(), space.size(), size_t{100}});
    std::memcpy(space.data(), bytes.data(), some);
    reader.Commit(some);
    bytes = bytes.subspan(some);
    FrameView frame;
    while (true) {
      const auto whole = reader.Next(&frame);
      if (!whole.ok()) return;
      if (!*whole) break;
      taken += sizeof(FrameHeader) + frame.body.size();
      std::span<const std::byte> body = frame.body;
      if ((frame.header.flags & kHasPayload) != 0 && !buffers.Resolve(&body).ok()) return;
      CheckMessage(body);
    }
  }
  Require(taken <= given, "more was taken than there was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  CheckMessage(bytes);
  CheckStream(bytes);
  return 0;
}
