// A worker of the comparison: it stores what it needs, then does one kind of work so many times
// and says how long each call took. One is written in C++, one in Python; both make the same calls
// with the same bytes, each under a salt of its own, so that neither profits from the other.
//
//   find          `blobs.find` of 64 stored names of 4 KiB
//   plan          a plan of 64 stored chunks, token ids in an array
//   plan_list     the same, token ids in a Python list
//   fetch         `fetch` and `wait` of 4 KiB of rows, planned before
//   get           `blobs.get` of one blob of 4 KiB
//   put           `blobs.put` of a new blob of 4 KiB
//   publish       4 KiB of rows under new tokens
//   view          a blob of 16 MiB in place: view, one pass over its bytes, the check, the
//                 lease's end
//   publish_rows  16 MiB of rows under new tokens
//
// What comes back is checked outside of the timed part.
//
// Thread  one at a time
// Errors  DataLoss: bytes or answers were wrong. Others: a call failed
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "tools/bench/transfer/transfer_shape.h"

namespace cistern::tools {

inline constexpr uint32_t kLookupKeys = 64;
inline constexpr uint32_t kLookupChunkTokens = 32;  // the shortest chunk
inline constexpr uint64_t kSmallBlobBytes = 4096;
inline constexpr uint64_t kViewBytes = 16ull << 20;
inline constexpr uint32_t kViews = 4;  // more than a cache holds

// What both sides are told.
struct WorkTerms {
  std::string address;
  base::ModelSpec lookup;      // rows of 64 chunks
  TransferShape small, large;  // rows of `fetch` and `publish`, of `publish_rows`
};

struct WorkTimes {
  std::vector<double> us;    // of each call
  uint64_t extra_bytes = 0;  // publish_rows: how far resident memory rose above where it was before
};

class BenchWorker {
 public:
  virtual ~BenchWorker() = default;
  virtual absl::StatusOr<WorkTimes> Measure(absl::string_view work, uint32_t calls) = 0;
};

// The tokens of sequence `seed`: both sides draw the same.
std::vector<base::TokenId> DrawTokens(uint64_t seed, uint32_t count);

}  // namespace cistern::tools
