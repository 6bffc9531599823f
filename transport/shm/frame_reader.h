// Cuts a stream of bytes into frames. Memory grows with what has arrived, not with what a header
// claims.
//
//   loop { read into Space(); Commit(n); while (Next(&frame)) use frame }
//
// Thread   one
// Errors   Next: InvalidArgument for a wrong magic, kind, flag or length. The stream is of no more
//          use after it
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "transport/shm/frame.h"

namespace cistern::transport {

struct FrameView {
  FrameHeader header;
  std::span<const std::byte> body;  // valid until the next Space()
};

class FrameReader {
 public:
  FrameReader();

  // Room to read into, never empty.
  std::span<std::byte> Space();
  void Commit(size_t bytes) { end_ += bytes; }

  // False when no whole frame is there.
  absl::StatusOr<bool> Next(FrameView* frame);

  // Whether part of a frame waits for the rest.
  bool midway() const { return begin_ != end_; }

 private:
  std::byte* data() { return reinterpret_cast<std::byte*>(words_.data()); }
  size_t capacity() const { return words_.size() * sizeof(uint64_t); }

  std::vector<uint64_t> words_;  // aligned, so that messages can be read in place
  size_t begin_ = 0;             // of the first byte that is not consumed
  size_t end_ = 0;
};

}  // namespace cistern::transport
